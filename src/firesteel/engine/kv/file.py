"""One block of KV as a file, and the folder that such files lie in.

    folder/DIGEST OF THE FINGERPRINT/about.json    which model and settings these blocks belong to
                                     ID.kv         a block
                                     *.tmp         a file that a process is writing

A block's file:

    preamble   magic, format version, length of the header, digest of the fingerprint, checksum of preamble and header
    header     msgpack: what `Header` says
    payload    KV as the backend saved it

The id names the content: a hash over the scope, the parent's id and the tokens, and so over the whole prefix, as
in vLLM's automatic prefix caching. Whoever can read a file knows the prompt, so only the owner can.
"""

import os
import re
import secrets
import struct
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b, sha256
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import psutil

FORMAT = 1
MAGIC = b"FSTEELKV"
PREAMBLE = struct.Struct("<8sII16s")  # without its checksum
DIGEST_BYTES = 16

ABOUT_NAME = "about.json"
STORE_NAME = re.compile(r"[0-9a-f]{32}")
BLOCK_NAME = re.compile(r"[0-9a-f]{32}\.kv")
TEMPORARY_NAME = re.compile(r".+\.(\d{1,9})-([0-9a-f]{8})-\d+\.tmp")

_RUN = secrets.token_hex(4)  # tells this process from an earlier one that had the same number
_numbers = count()


class Damaged(Exception):
    """A file that is not the block its name promises; the message says in what way."""


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a block's file says about its payload. `tokens` are little-endian int32."""

    parent: str
    scope: str
    position: int
    tokens: bytes
    num_bytes: int
    sha256: bytes  # of the payload; with a processor's help twice as fast as blake2b


class About(msgspec.Struct, frozen=True):
    """What `about.json` says: for people, and for `firesteel cache`."""

    model: str
    fingerprint: str
    format: int = FORMAT


def digest(data: bytes) -> bytes:
    """Return 128 bits of BLAKE2b."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def store_name(fingerprint: str) -> str:
    """Return the name of the folder of a fingerprint; another format version has another one."""
    return digest(msgspec.msgpack.encode((FORMAT, fingerprint))).hex()


def block_id(scope: str, parent: str, tokens: bytes) -> str:
    """Return the id of a block of `tokens` (little-endian int32) that follows the block `parent`, "" for none."""
    return digest(msgspec.msgpack.encode((FORMAT, scope, parent, tokens))).hex()


def head_of(path: Path, header: Header) -> bytes:
    """Return preamble and header of the file at `path`."""
    encoded = msgspec.msgpack.encode(header)
    preamble = PREAMBLE.pack(MAGIC, FORMAT, len(encoded), bytes.fromhex(path.parent.name))
    return preamble + digest(preamble + encoded) + encoded


def read_header(path: Path) -> Header:
    """Return the header of a block's file, without looking at its payload. Raises Damaged and OSError."""
    with path.open("rb", buffering=0) as file:
        return _header(path, file)


def read_payload(path: Path) -> bytes:
    """Return the payload of a block's file; all of it is verified. Raises Damaged and OSError."""
    with path.open("rb") as file:
        header = _header(path, file)
        payload = file.read(header.num_bytes)
    if sha256(payload).digest() != header.sha256:
        raise Damaged("its KV does not have the checksum that it was written with")
    return payload


def _header(path: Path, file: BinaryIO) -> Header:
    size = os.fstat(file.fileno()).st_size
    start = file.read(PREAMBLE.size + DIGEST_BYTES)
    if len(start) < PREAMBLE.size + DIGEST_BYTES:
        raise Damaged("it is cut short")
    preamble, checksum = start[: PREAMBLE.size], start[PREAMBLE.size :]
    magic, version, length, owner = PREAMBLE.unpack(preamble)
    if (magic, version) != (MAGIC, FORMAT):
        raise Damaged("it is not a block of this format")
    if owner.hex() != path.parent.name:
        raise Damaged("it belongs to another model or other settings")
    encoded = file.read(min(length, size))
    if digest(preamble + encoded) != checksum:
        raise Damaged("its header does not have the checksum that it was written with")
    try:
        header = msgspec.msgpack.decode(encoded, type=Header)
    except msgspec.DecodeError as error:
        raise Damaged(f"its header is not understood: {error}") from None
    if len(header.tokens) % 4 or block_id(header.scope, header.parent, header.tokens) != path.stem:
        raise Damaged("its name is not the one that its tokens have")
    if size != len(start) + length + header.num_bytes:
        raise Damaged("it is cut short, or something was appended")
    return header


def write_private(path: Path, *parts: Any) -> None:
    """Write buffers as a file that only the owner can read, in a folder that exists: whole or not at all.

    Raises OSError, and then leaves nothing. Not synced: a loss of power may tear it, its checksum tells.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{_RUN}-{next(_numbers)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def make_private_folder(path: Path) -> None:
    """Make a folder that only the owner can enter, and those above it that are missing. Raises OSError."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def stores(folder: Path) -> list[Path]:
    """Return the folders of all fingerprints; what else lies in `folder` is not ours."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        Path(entry) for entry in entries if STORE_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    ]


def remove_if_empty(store: Path) -> None:
    """Remove the folder of a store unless something is left in it, or a server has just written something."""
    with suppress(OSError):
        store.rmdir()


def files(store: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files of one store as they are now; those that vanish meanwhile are left out."""
    try:
        entries = list(os.scandir(store))
    except OSError:
        return
    for entry in entries:
        with suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False):
                yield Path(entry), entry.stat(follow_symlinks=False)


def about(store: Path) -> About:
    """Return what is known about a store."""
    try:
        return msgspec.json.decode((store / ABOUT_NAME).read_bytes(), type=About)
    except (OSError, msgspec.DecodeError):
        return About(model="", fingerprint="", format=0)


def is_ours(name: str) -> bool:
    """Return whether a file of a store is one that we made; `firesteel cache clear` leaves others alone."""
    return name == ABOUT_NAME or any(pattern.fullmatch(name) for pattern in (BLOCK_NAME, TEMPORARY_NAME))


def is_left_over(name: str) -> bool:
    """Return whether a temporary file's process has ended, so that nobody will finish it."""
    match = TEMPORARY_NAME.fullmatch(name)
    if match is None:
        return False
    process, run = int(match[1]), match[2]
    return run != _RUN if process == os.getpid() else not psutil.pid_exists(process)
