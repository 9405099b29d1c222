"""Writes tiny GGUF files, right or wrong in chosen places."""

import math
import struct
from typing import Any

CODES = {
    "u8": (0, "B"),
    "i32": (5, "i"),
    "u32": (4, "I"),
    "f32": (6, "f"),
    "bool": (7, "?"),
    "u64": (10, "Q"),
    "f64": (12, "d"),
}


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(kind: str, content: Any) -> bytes:
    """Type and content of one metadata value; `kind` may be `[kind]` for an array."""
    if kind.startswith("["):
        items = [value(kind[1:-1], item) for item in content]
        return struct.pack("<IIQ", 9, 8 if kind == "[str]" else CODES[kind[1:-1]][0], len(content)) + b"".join(
            item[4:] for item in items
        )
    if kind == "str":
        return struct.pack("<I", 8) + string(content)
    number, code = CODES[kind]
    return struct.pack(f"<I{code}", number, content)


def gguf(metadata: dict[str, tuple[str, Any]], tensors: dict[str, tuple[int, ...]], *, version: int = 3) -> bytes:
    """A file whose tensors are all of type F32 and hold small random-looking numbers."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, (kind, content) in metadata.items():
        header += string(key) + value(kind, content)
    data = b""
    for name, dimensions in tensors.items():
        header += string(name) + struct.pack("<I", len(dimensions))
        header += struct.pack(f"<{len(dimensions)}QIQ", *dimensions, 0, len(data))
        count = math.prod(dimensions)
        data += struct.pack(f"<{count}f", *(((n * 37) % 101 - 50) / 500 for n in range(count)))
        data += b"\0" * (-len(data) % 32)
    return header + b"\0" * (-len(header) % 32) + data
