"""Files that lie: each gives a working model or an error that says what is wrong, never a crash and never a hang."""

import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from firesteel.models.gguf import read_header
from tests.backend import tiny_models
from tests.backend.native import oracle
from tests.backend.native.models import in_format
from tests.backend.native.oracle import FORMATS, Floats
from tests.backend.tiny_models import Sizes
from tests.models.gguf_writer import string, value
from tests.server.live import environment

SMALL = Sizes(layers=2, width=32, inner=64, heads=2, kv_heads=1, head=32, experts=4)
SECONDS = 100
ROOT = Path(__file__).parents[3]

Change = Callable[[bytes], bytes]


def outcomes(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """What became of each file; a process that dies is told as the last file's outcome, and another goes on."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    found: dict[str, str] = {}
    while left := [name for name in files if name not in found]:
        command = [sys.executable, "-m", "tests.backend.native.open_files", str(folder), *left]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment({"FIRESTEEL_HOME": str(folder / "home")}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        found |= dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
        if done.returncode:
            culprit = next(name for name in left if name not in found)
            found[culprit] = f"died with {done.returncode}: {done.stderr[-2000:]}"
    return found


def died(found: dict[str, str]) -> dict[str, str]:
    return {name: said for name, said in found.items() if said.startswith("died")}


@pytest.fixture(scope="module", params=["llama", "qwen3moe"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that works: matrices in 8 bits, tensors and metadata in the order of `tiny_models`."""
    path = tmp_path_factory.mktemp("whole") / "whole.gguf"
    return tiny_models.decoder(path, request.param, SMALL, in_format("q8_0")).read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same of the Llama architecture."""
    path = tmp_path_factory.mktemp("plain") / "plain.gguf"
    return tiny_models.decoder(path, "llama", SMALL, in_format("q8_0")).read_bytes()


def data_offset(data: bytes, folder: Path) -> int:
    path = folder / "measured.gguf"
    path.write_bytes(data)
    return read_header(path).data_offset


def vocabulary_of(data: bytes) -> tuple[int, int]:
    """Where the vocabulary stands, which is libllama's to read."""
    return data.index(string("tokenizer.ggml.tokens")), data.index(string("token_embd.weight"))


@pytest.mark.timeout(120)
def test_a_file_that_is_cut_off(whole: bytes, tmp_path: Path) -> None:
    start = data_offset(whole, tmp_path)
    random = np.random.default_rng(1)
    ends = {0, 1, 4, 23, start - 1, start, start + 1, len(whole) - 33, *random.integers(0, start, 30).tolist()}
    ends |= set(random.integers(start, len(whole) - 33, 10).tolist())
    found = outcomes(tmp_path, {f"{end}.gguf": whole[:end] for end in sorted(ends)})
    assert len(found) == len(ends)
    for name, said in found.items():
        assert said.startswith("ModelError"), (name, said)
        assert name in said


@pytest.mark.timeout(120)
def test_bytes_of_the_header_that_are_others(whole: bytes, tmp_path: Path) -> None:
    """Everywhere but in the vocabulary's arrays, one to four bytes at a time."""
    start, (first, last) = data_offset(whole, tmp_path), vocabulary_of(whole)
    places = [*range(8, first), *range(last, start)]
    random = np.random.default_rng(2)
    files = {}
    for number in range(150):
        changed = bytearray(whole)
        for at in random.choice(places, random.integers(1, 5)):
            changed[at] = random.choice([0, 1, 2, 4, 0x7F, 0x80, 0xFF, changed[at] ^ 1 << random.integers(0, 8)])
        files[f"{number}.gguf"] = bytes(changed)
    found = outcomes(tmp_path, files)
    assert not died(found)
    assert len(found) == len(files)


@pytest.mark.timeout(120)
def test_bytes_of_the_weights_that_are_others(whole: bytes, tmp_path: Path) -> None:
    """Noise in place of norms and scales: a model that works, or one that computes invalid numbers and says so."""
    start = data_offset(whole, tmp_path)
    random = np.random.default_rng(3)
    files = {}
    for number in range(40):
        changed = bytearray(whole)
        at, count = int(random.integers(start, len(whole) - 4000)), int(random.integers(1, 4000))
        changed[at : at + count] = random.bytes(count) if number % 2 else bytes([255]) * count
        files[f"{number}.gguf"] = bytes(changed)
    found = outcomes(tmp_path, files)
    assert not died(found)
    assert {said for said in found.values() if said != "works" and "invalid numbers" not in said} == set()


def setting(key: str, kind: str, content: object) -> Change:
    """Another value for a metadata entry of the same width."""

    def change(data: bytes) -> bytes:
        at = data.index(string(key)) + len(string(key))
        new = value(kind, content)
        return data[:at] + new + data[at + len(new) :]

    return change


def described(name: str, at: int, code: str, *numbers: int) -> Change:
    """Another number in a tensor's description, `at` bytes behind its name."""

    def change(data: bytes) -> bytes:
        place = data.index(string(name)) + len(string(name)) + at
        new = struct.pack(f"<{code}", *numbers)
        return data[:place] + new + data[place + len(new) :]

    return change


def shape(name: str, *dimensions: int) -> Change:
    return described(name, 4, f"{len(dimensions)}Q", *dimensions)


def kind(name: str, number: int) -> Change:
    return described(name, 4 + 16, "I", number)


def offset(name: str, number: int) -> Change:
    return described(name, 4 + 16 + 4, "Q", number)


def renamed(name: str, other: str) -> Change:
    """The tensor under another name of the same length."""
    assert len(name) == len(other)
    return lambda data: data.replace(string(name), string(other))


QUERY, KEY, HEAD = "blk.0.attn_q.weight", "blk.0.attn_k.weight", "output.weight"
LIES: dict[str, tuple[Change, str]] = {
    "no layers": (setting("llama.block_count", "u32", 0), "llama.block_count is 0"),
    "layers without tensors": (setting("llama.block_count", "u32", 3), "3 layers|layer 2 is missing"),
    "a billion layers": (setting("llama.block_count", "u32", 1 << 30), "llama.block_count is 1073741824"),
    "many layers": (setting("llama.block_count", "u32", 1 << 24), "announces 16777216 layers"),
    "fewer layers": (setting("llama.block_count", "u32", 1), "belongs to layer 1 of 1"),
    "no width": (setting("llama.embedding_length", "u32", 0), "embedding_length is 0"),
    "another width": (setting("llama.embedding_length", "u32", 64), r"token_embd.weight has the shape \(32, 258\)"),
    "no heads": (setting("llama.attention.head_count", "u32", 0), "head_count is 0"),
    "other heads": (setting("llama.attention.head_count", "u32", 4), r"attn_q.weight has the shape \(32, 64\)"),
    "heads that cannot share": (setting("llama.attention.head_count_kv", "u32", 3), "2 heads cannot share 3"),
    "too many kv heads": (setting("llama.attention.head_count_kv", "u32", 1 << 24), "cannot share"),
    "an odd head": (setting("llama.attention.key_length", "u32", 33), "value_length is not the size|33"),
    "a huge head": (setting("llama.attention.key_length", "u32", 0xFFFFFFFF), "key_length is 4294967295"),
    "a feed-forward part of none": (setting("llama.feed_forward_length", "u32", 0), "feed_forward_length is 0"),
    "another feed-forward part": (setting("llama.feed_forward_length", "u32", 96), "ffn_gate.weight has the shape"),
    "epsilon of zero": (setting("llama.attention.layer_norm_rms_epsilon", "f32", 0.0), "epsilon is 0.0"),
    "epsilon that is none": (setting("llama.attention.layer_norm_rms_epsilon", "f32", float("nan")), "epsilon is nan"),
    "base of infinity": (setting("llama.rope.freq_base", "f32", float("inf")), "freq_base is inf"),
    "base below zero": (setting("llama.rope.freq_base", "f32", -1.0), "freq_base is -1"),
    "a size that is a float": (setting("llama.block_count", "f32", 2.0), "block_count is 2.0"),
    "a shape that is turned": (shape(QUERY, 64, 32), r"attn_q.weight has the shape \(64, 32\)"),
    "a shape of zero": (shape(QUERY, 32, 0), r"attn_q.weight has the shape \(32, 0\)"),
    "a huge shape": (shape(QUERY, 1 << 40, 1 << 40), "cut off"),
    "a shape that overflows": (shape(QUERY, 1 << 63, 2), "cut off"),
    "an embedding of nothing": (shape("token_embd.weight", 32, 0), "output.weight has the shape"),
    "fewer embeddings": (shape("token_embd.weight", 32, 100), "output.weight has the shape"),
    "no dimensions": (described(QUERY, 0, "I", 0), "cannot be read as GGUF"),
    "five dimensions": (described(QUERY, 0, "I", 5), "5 dimensions"),
    "a type unknown": (kind(QUERY, 20), "attn_q.weight is of ggml type 20"),
    "a type from the future": (kind(QUERY, 4_000_000_000), "is of ggml type 4000000000"),
    "a type too large": (kind(HEAD, 0), "offset|cut off"),
    "a type for other rows": (kind(QUERY, 12), "attn_q.weight has rows of 32"),
    "a norm in 8 bits": (described("output_norm.weight", 4 + 8, "I", 8), "output_norm.weight is not of type F32"),
    "an offset behind the end": (offset(QUERY, 1 << 40), "cut off"),
    "an offset that overflows": (offset(QUERY, (1 << 64) - 32), "cut off"),
    "an odd offset": (offset(QUERY, 33), "no multiple of 4|multiple"),
    "a tensor twice": (renamed(KEY, "blk.0.attn_v.weight"), "same name"),
    "a norm missing": (renamed("blk.1.ffn_norm.weight", "blk.1.ffn_nxrm.weight"), "blk.1.ffn_nxrm.weight"),
    "a matrix missing": (renamed(QUERY, "blk.2.attn_q.weight"), "belongs to layer 2 of 2"),
    "no embedding": (renamed("token_embd.weight", "token_embx.weight"), "token_embx.weight"),
    "an architecture unknown": (setting("general.architecture", "str", "lizma"), "lizma"),
    "more tensors": (lambda data: data[:8] + struct.pack("<Q", 1000) + data[16:], "cannot be read as GGUF"),
    "fewer tensors": (lambda data: data[:8] + struct.pack("<Q", 5) + data[16:], "missing|fewer"),
    "countless tensors": (
        lambda data: data[:8] + struct.pack("<Q", 1 << 60) + data[16:],
        "1152921504606846976 tensors",
    ),
}


@pytest.mark.timeout(120)
def test_a_lie_is_named(plain: bytes, tmp_path: Path) -> None:
    files = {f"{lie.replace(' ', '-')}.gguf": change(plain) for lie, (change, _) in LIES.items()}
    files["the-truth.gguf"] = plain
    found = outcomes(tmp_path, files)
    assert found.pop("the-truth.gguf") == "works"
    wrong = {}
    for (lie, (_, told)), said in zip(LIES.items(), found.values(), strict=True):
        if not re.match(rf"(ModelError|ConfigError): .*({told})", said):
            wrong[lie] = (told, said)
    assert wrong == {}


def with_number(architecture: str, tensor: str, number: float, name: str) -> Callable[[Path], bytes]:
    def encode(found: str, weight: Floats) -> tuple[int, bytes]:
        if found == tensor and weight.ndim == 1:
            weight[:] = number
        kind, data = in_format(name)(found, weight)
        if found != tensor or weight.ndim == 1:
            return kind, data
        raw = np.frombuffer(data, np.uint8).copy().reshape(-1, FORMATS[name][3])
        for at in oracle.HALVES.get(name, [0]):
            raw[:, at : at + 2] = np.array([number], np.float16).view(np.uint8)
        return kind, raw.tobytes()

    return lambda path: tiny_models.decoder(path, architecture, SMALL, encode).read_bytes()


@pytest.mark.timeout(120)
def test_numbers_that_are_none(tmp_path: Path) -> None:
    """NaN and infinity in any tensor: said at the start, or by the step that meets them; at most a few work."""
    tensors = ["token_embd.weight", "output.weight", "output_norm.weight", QUERY, KEY, "blk.1.attn_v.weight"]
    tensors += ["blk.0.attn_output.weight", "blk.1.attn_norm.weight", "blk.0.attn_q_norm.weight"]
    tensors += ["blk.0.ffn_gate.weight", "blk.1.ffn_down.weight", "blk.0.ffn_gate_exps.weight"]
    files = {}
    for architecture in ("llama", "qwen3moe"):
        for tensor in tensors:
            for number in (float("nan"), float("inf"), float("-inf")):
                for name in ("f16", "q8_0", "q4_1"):
                    path = tmp_path / f"{architecture}-{tensor}-{number}-{name}.gguf"
                    files[path.name] = with_number(architecture, tensor, number, name)(path)
    found = outcomes(tmp_path, files)
    assert not died(found)
    others = {name: said for name, said in found.items() if said != "works" and "invalid numbers" not in said}
    assert others == {}
    silent = [name for name, said in found.items() if said == "works" and "nan" in name and "token_embd" in name]
    assert silent == []
