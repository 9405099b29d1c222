"""Hyperscan databases, kept in the cache folder: compiling one takes 50 to 500 ms, loading it 1 ms.

A database belongs to the expressions, to the library and to the processor, which all are in its file's name. The
library checks what it loads; whatever it does not take is compiled anew.
"""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from firesteel import config, machine
from firesteel.atomic import replace_file


def database(name: str, expressions: Sequence[str]) -> Any:
    """Return a database for streams whose hits carry the place in `expressions`; `name` tells its file from others."""
    path = config.home() / "guard" / f"{name}-{_key(expressions)}.hs"
    return _kept(path) or _made(path, name, expressions)


def _key(expressions: Sequence[str]) -> str:
    parts = (version("hyperscan"), machine.processor_fields().get("flags", ""), *expressions)
    return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _kept(path: Path) -> Any | None:
    import hyperscan

    try:
        kept = hyperscan.loadb(path.read_bytes(), hyperscan.HS_MODE_STREAM)
        kept.scratch = hyperscan.Scratch(kept)  # the library leaves it out
    except (OSError, hyperscan.error):  # not there, cut short, of another build
        return None
    return kept


def _made(path: Path, name: str, expressions: Sequence[str]) -> Any:
    import hyperscan

    made = hyperscan.Database(mode=hyperscan.HS_MODE_STREAM)
    encoded, count = [expression.encode() for expression in expressions], len(expressions)
    made.compile(expressions=encoded, ids=list(range(count)), elements=count, flags=[0] * count)
    with suppress(OSError):  # a folder that cannot be written costs the time again, and nothing else
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, hyperscan.dumpb(made))
        for other in path.parent.glob(f"{name}-*.hs"):
            if other != path:
                other.unlink(missing_ok=True)
    return made
