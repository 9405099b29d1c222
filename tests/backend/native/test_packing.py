"""Packing loses nothing, and the packed file on disk is made once, checked, and remade when it must be."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.native import library, packed
from firesteel.errors import ModelError
from firesteel.models import files
from tests.backend import tiny_models
from tests.backend.native import oracle, probes
from tests.backend.native.models import TOKENS, compute, in_format, model, open_model
from tests.backend.native.oracle import FORMATS, QUANTIZED, Floats
from tests.backend.tiny_models import Sizes

few = settings(max_examples=10, deadline=None, derandomize=True)
SMALL = Sizes(layers=1, width=64, inner=96, heads=2, kv_heads=1, head=32)


@pytest.mark.parametrize("name", FORMATS)
@few
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), groups=st.integers(1, 4), is_any=st.booleans())
def test_rows_stand_for_what_libggml_reads(name: str, seed: int, rows: int, groups: int, is_any: bool) -> None:
    random, columns = np.random.default_rng(seed), max(FORMATS[name][2], 32) * groups
    values = random.standard_normal((rows, columns), np.float32)
    data = oracle.any_bytes(name, rows, columns, random) if is_any else oracle.encoded(name, values)
    assert np.array_equal(probes.decoded(name, data, columns), oracle.decoded(name, data, columns))


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_every_half_is_read_as_libggml_reads_it(name: str) -> None:
    data = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(1, -1)
    found, expected = probes.decoded(name, data, 1 << 16), oracle.decoded(name, data, 1 << 16)
    np.testing.assert_array_equal(found, expected)  # NaN in the same places


@pytest.mark.parametrize("name", QUANTIZED)
@few
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 50), groups=st.integers(1, 3))
def test_every_packed_weight_is_where_it_belongs(name: str, seed: int, rows: int, groups: int) -> None:
    """One activation at a time: 127 is its own code, so the product is the weight, but for float32 rounding."""
    random, block = np.random.default_rng(seed), FORMATS[name][2]
    columns = block * groups
    data = oracle.any_bytes(name, rows, columns, random)
    some = np.sort(random.choice(columns, min(columns, 64), replace=False))
    x = np.zeros((len(some), columns), np.float32)
    x[np.arange(len(some)), some] = 127
    expected = oracle.decoded(name, data, columns)[:, some].T * 127
    scale = np.abs(oracle.decoded(name, data, columns)).max() * 127
    for kernels in library.kernel_sets():
        found = probes.product(kernels, name, data, x)
        assert np.abs(found - expected).max() <= 3e-7 * scale


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Packings:
    """How often weights were packed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = packed.pack_all

        def counting(*arguments: object) -> None:
            self.count += 1
            real(*arguments)  # type: ignore[arg-type]

        patch.setattr(packed, "pack_all", counting)


@pytest.fixture
def packings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Packings:
    return Packings(monkeypatch)


@pytest.fixture
def path(tmp_path: Path, home: Path) -> Iterator[Path]:
    """A small model; whatever happened, no half-written file is left."""
    yield model(tmp_path, name="q8_0", sizes=SMALL)
    assert not list(home.rglob("*.part"))


def logits(path: Path) -> Floats:
    backend = open_model(path)
    found = compute(backend, 0, TOKENS[:5])
    backend.close()
    return found


def test_weights_are_packed_once(path: Path, packings: Packings) -> None:
    first = logits(path)
    (file,) = (packed.folder()).glob("*.packed")
    assert file == packed.path_for(path)
    assert file.stat().st_mode & 0o077 == 0
    written = file.stat().st_mtime_ns
    assert np.array_equal(logits(path), first)
    assert (packings.count, file.stat().st_mtime_ns) == (1, written)


def test_another_file_in_the_same_place_is_packed_anew(path: Path, packings: Packings) -> None:
    first = logits(path)
    tiny_models.decoder(path, "llama", SMALL, in_format("q4_0"))
    second = logits(path)
    assert packings.count == 2
    assert not np.array_equal(first, second)
    tiny_models.decoder(path, "llama", SMALL, in_format("q8_0"))
    assert np.array_equal(logits(path), first)
    assert len(list(packed.folder().glob("*.packed"))) == 1


def test_files_of_the_same_name_do_not_share_a_copy(path: Path, tmp_path: Path, packings: Packings) -> None:
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    tiny_models.decoder(other, "llama", SMALL, in_format("q5_1"))
    before = logits(path), logits(other)
    assert np.array_equal(logits(path), before[0])
    assert np.array_equal(logits(other), before[1])
    assert packings.count == 2


def test_another_layout_of_the_code_is_packed_anew(
    path: Path, packings: Packings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = logits(path)
    now = library.load().fs_layout_version()
    monkeypatch.setattr(library.load(), "fs_layout_version", lambda: now + 1)
    assert np.array_equal(logits(path), first)
    assert np.array_equal(logits(path), first)
    assert packings.count == 2


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow"])
def test_a_damaged_copy_is_made_again(path: Path, packings: Packings, share: float, damage: str) -> None:
    first = logits(path)
    file = packed.path_for(path)
    whole = bytearray(file.read_bytes())
    at = int(share * (len(whole) - 1))
    if damage == "flip":
        used = at >= packed.HEAD_BYTES or at < len(whole[: packed.HEAD_BYTES].rstrip(b"\0"))
        whole[at if used else packed.HEAD_BYTES] ^= 1
    elif damage == "cut":
        del whole[at:]
    else:
        whole[at:at] = b"\0" * 64
    file.write_bytes(whole)
    assert np.array_equal(logits(path), first)
    assert packings.count == 2
    assert np.array_equal(logits(path), first)
    assert packings.count == 2


@pytest.mark.parametrize("head", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"layout":1}', b"{" * 5000])
def test_a_head_that_is_none_is_not_believed(path: Path, packings: Packings, head: bytes) -> None:
    first = logits(path)
    file = packed.path_for(path)
    file.write_bytes(head.ljust(packed.HEAD_BYTES, b"\0") + file.read_bytes()[packed.HEAD_BYTES :])
    assert np.array_equal(logits(path), first)
    assert packings.count == 2


def test_without_a_folder_to_write_in_the_weights_stay_in_memory(path: Path, home: Path, packings: Packings) -> None:
    home.write_bytes(b"a file where the folder should be: not even root can write there")
    first = logits(path)
    assert np.array_equal(logits(path), first)
    assert packings.count == 2
    home.unlink()
    assert np.array_equal(logits(path), first)


def test_a_full_disk_leaves_the_weights_in_memory(
    path: Path, packings: Packings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "require_space", full)
        first = logits(path)
    assert not list(packed.folder().glob("*.packed"))
    assert np.array_equal(logits(path), first)
    assert packings.count == 2


def test_an_error_while_packing_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(packed, "pack_all", fail)
        with pytest.raises(ModelError, match="interrupted"):
            open_model(path)
    assert not list(packed.folder().glob("*.packed"))
    assert logits(path).size


def test_floats_are_not_packed(path: Path, tmp_path: Path, packings: Packings) -> None:
    assert logits(model(tmp_path, name="f16", sizes=SMALL)).size
    assert packings.count == 0
    assert not packed.folder().exists()
