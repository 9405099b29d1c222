"""What the blocks on disk say of earlier conversations: their exact tokens, without their KV."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from firesteel.engine.kv import file


def histories(folder: Path, fingerprint: str, max_tokens: int) -> list[tuple[str, Sequence[int]]]:
    """Return (scope, tokens) of the histories in `folder`, the latest used last, `max_tokens` of them at most.

    Reads headers only, some 80 µs each, without numpy, which the server process does not load. Files that cannot be
    read are passed over: the engine deals with them.
    """
    store = folder / file.store_name(fingerprint)
    headers: dict[str, file.Header] = {}
    used_at: dict[str, float] = {}
    for path, status in file.files(store):
        if file.BLOCK_NAME.fullmatch(path.name) and (header := _header(path)) is not None:
            headers[path.stem], used_at[path.stem] = header, status.st_mtime
    leaves = headers.keys() - {header.parent for header in headers.values()}
    found: list[tuple[str, Sequence[int]]] = []
    for leaf in sorted(leaves, key=used_at.__getitem__, reverse=True):
        tokens = array("i", b"".join([*_pieces(leaf, headers)][::-1]))
        max_tokens -= len(tokens)
        if max_tokens < 0:
            break
        if headers[leaf].position + len(headers[leaf].tokens) // 4 == len(tokens):  # else a block is missing
            found.append((headers[leaf].scope, tokens))
    return found[::-1]


def _header(path: Path) -> file.Header | None:
    try:
        return file.read_header(path)
    except (file.Damaged, OSError):
        return None


def _pieces(id: str, headers: dict[str, file.Header]) -> Iterator[bytes]:
    """Yield the tokens of a block and of those before it, the last ones first."""
    while id in headers:
        yield headers[id].tokens
        id = headers[id].parent
