import ctypes
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.errors import ModelError
from firesteel.models.gguf import BLOCKS, Header, read_header, read_info
from firesteel.types import Sampling
from tests.models.gguf_writer import gguf, string, value

METADATA: dict[str, tuple[str, Any]] = {
    "general.architecture": ("str", "llama"),
    "tokenizer.ggml.tokens": ("[str]", ["a", "bc", "", "ü"]),
    "tokenizer.ggml.scores": ("[f32]", [0.0, 1.0, 2.0]),
    "tokenizer.ggml.add_bos_token": ("bool", True),
    "llama.context_length": ("u32", 4096),
    "tokenizer.chat_template": ("str", "{{ messages }}"),
}
TENSORS = {"token_embd.weight": (8, 4), "output.weight": (8,)}
HUGE = struct.pack("<Q", 2**64 - 1)
START = b"GGUF" + struct.pack("<I", 3)
MEMORY = 1 << 20  # bytes that reading a tiny file may take at most


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def header_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Header]:
    """Reads a header from bytes, through a file that all examples of a property share."""
    folder = tmp_path_factory.mktemp("gguf")
    return lambda data: read_header(write(folder, data))


@pytest.mark.parametrize("version", [2, 3])
def test_info_of_a_model(tmp_path: Path, version: int) -> None:
    path = write(tmp_path, data := gguf(METADATA, TENSORS, version=version))
    info = read_info(path)
    assert (info.name, info.architecture, info.context_length) == ("model", "llama", 4096)
    assert info.chat_template == "{{ messages }}"
    assert info.sampling == Sampling()
    assert (info.num_parameters, info.file_bytes, info.path) == (40, len(data), str(path))
    assert read_header(path).tensor_bytes == 160


def test_generation_settings_of_the_file_win(tmp_path: Path) -> None:
    settings: dict[str, tuple[str, Any]] = {
        "general.sampling.temp": ("f32", 0.5),
        "general.sampling.top_k": ("i32", 20),
        "general.sampling.top_p": ("f32", 0.75),
        "general.sampling.min_p": ("f32", 0.125),
    }
    info = read_info(write(tmp_path, gguf(METADATA | settings, {})))
    assert info.sampling == Sampling(temperature=0.5, top_k=20, top_p=0.75, min_p=0.125)
    off: dict[str, tuple[str, Any]] = {"general.sampling.top_k": ("i32", -1)}
    assert read_info(write(tmp_path, gguf(METADATA | off, {}))).sampling == Sampling()


@pytest.mark.parametrize(
    ("key", "kind", "content"),
    [
        ("temp", "f32", float("nan")),
        ("temp", "f32", -1.0),
        ("top_p", "f32", 1.5),
        ("top_k", "str", "x"),
        ("min_p", "bool", True),
    ],
)
def test_impossible_generation_settings_are_refused(tmp_path: Path, key: str, kind: str, content: float | str) -> None:
    with pytest.raises(ModelError, match=f"general.sampling.{key}"):
        read_info(write(tmp_path, gguf(METADATA | {f"general.sampling.{key}": (kind, content)}, {})))


@pytest.mark.parametrize("key", ["general.architecture", "llama.context_length"])
def test_what_is_needed_is_named_when_it_is_missing(tmp_path: Path, key: str) -> None:
    metadata = {name: content for name, content in METADATA.items() if name != key}
    with pytest.raises(ModelError, match=key):
        read_info(write(tmp_path, gguf(metadata, TENSORS)))


SCALAR = st.one_of(
    st.tuples(st.just("str"), st.text(max_size=40)),
    st.tuples(st.just("u64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("i32"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("f64"), st.floats(allow_nan=False)),
    st.tuples(st.just("bool"), st.booleans()),
)
ARRAY = st.one_of(
    st.tuples(st.just("[str]"), st.lists(st.text(max_size=8), max_size=8)),
    st.tuples(st.just("[u8]"), st.lists(st.integers(0, 255), max_size=8)),
)
KEY = st.text("abcdef._", min_size=1, max_size=12).filter(lambda key: key != "general.alignment")


@given(metadata=st.dictionaries(KEY, SCALAR | ARRAY, max_size=8))
def test_scalars_and_strings_are_read_and_arrays_left_out(
    header_of: Callable[[bytes], Header], metadata: dict[str, tuple[str, Any]]
) -> None:
    header = header_of(gguf(metadata, TENSORS))
    assert header.metadata == {key: content for key, (kind, content) in metadata.items() if kind[0] != "["}
    assert [(tensor.name, tensor.dimensions) for tensor in header.tensors] == list(TENSORS.items())


@given(st.data())
def test_every_truncation_is_refused(header_of: Callable[[bytes], Header], data: st.DataObject) -> None:
    whole = gguf(METADATA, TENSORS)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with little_memory(), pytest.raises(ModelError):
        header_of(whole[:cut])


@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_give_a_result_or_a_model_error(
    header_of: Callable[[bytes], Header], flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray(gguf(METADATA, TENSORS))
    for place, content in flips:
        damaged[place % len(damaged)] = content
    with little_memory():
        try:
            header = header_of(bytes(damaged))
        except ModelError:
            return
        assert header.num_parameters <= 8 * len(damaged)


@given(st.binary(max_size=200))
def test_noise_behind_the_magic_gives_a_result_or_a_model_error(
    header_of: Callable[[bytes], Header], noise: bytes
) -> None:
    with little_memory(), suppress(ModelError):
        header_of(START + noise)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04", "does not begin with the letters GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(99), "version is 0x1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(99), "big-endian"),
        (START + HUGE + HUGE, "tensors; more than"),
        (START + struct.pack("<QQ", 0, 2**40), "metadata entries; more than"),
        (START + struct.pack("<QQ", 0, 1) + HUGE, "bytes in one string"),
        (START + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1 << 20), "cut off"),
        (START + struct.pack("<QQ", 0, 1) + string("k") + struct.pack("<I", 13), "type 13"),
        (START + struct.pack("<QQ", 0, 1) + string("k") + struct.pack("<II", 9, 8) + HUGE, "array elements"),
        (
            START + struct.pack("<QQ", 0, 1) + string("k") + struct.pack("<IIQ", 9, 9, 1) + bytes(99),
            "arrays of type 9",
        ),
        (
            START + struct.pack("<QQ", 0, 1) + string("k") + struct.pack("<IIQ", 9, 8, 2) + string("x") + HUGE,
            "cut off",
        ),
        (
            START + struct.pack("<QQ", 0, 1) + string("general.alignment") + value("u32", 0),
            "general.alignment",
        ),
        (
            START + struct.pack("<QQ", 1, 0) + string("t") + struct.pack("<I", 2**32 - 1),
            "4294967295 dimensions",
        ),
        (START + struct.pack("<QQ", 1, 0) + string("t") + struct.pack("<IQIQ", 1, 2**63, 99, 0), "cut off"),
        (START + struct.pack("<QQ", 1, 0) + string("t") + struct.pack("<IQIQ", 1, 1, 0, 2**63), "cut off"),
    ],
)
def test_hostile_files(tmp_path: Path, data: bytes, told: str) -> None:
    with little_memory(), pytest.raises(ModelError, match=told):
        read_header(write(tmp_path, data))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_header(tmp_path / "nothing.gguf")
    with pytest.raises(ModelError, match="Is a directory"):
        read_header(tmp_path)


def test_block_sizes_are_those_of_the_library() -> None:
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(next(folder.glob("*ggml-base.*"))))
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    theirs = {kind: (library.ggml_blck_size(kind), library.ggml_type_size(kind)) for kind in BLOCKS}
    assert theirs == BLOCKS
