"""The tensors of a GGUF file as floats, decoded by the C++ that the native backend reads embeddings with."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from firesteel.backend.cuda.weights import Read
from firesteel.backend.native import library
from firesteel.backend.native.description import Description, Part, Role
from firesteel.backend.native.packed import Bytes, map_source
from firesteel.errors import ModelError


def open_file(path: Path, description: Description) -> Read:
    """Return a `Read` of the file's tensors; each is decoded when it is asked for. Raises ModelError, ConfigError."""
    library.load()
    try:
        source = map_source(str(path))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    parts = {(part.role, part.layer): part for part in description.parts}
    is_tied = parts[Role.OUTPUT, 0].offset == parts[Role.EMBEDDING, 0].offset

    def read(role: Role, layer: int) -> Any:
        part = parts.get((role, layer))
        return None if part is None or (is_tied and role is Role.OUTPUT) else decoded(part, source)

    return read


def decoded(part: Part, source: Bytes) -> Any:
    """Return a tensor as float32 [experts,] rows, columns. Blocks never cross rows, so all rows are decoded as one."""
    count = part.experts * part.rows * part.columns
    out = np.empty(count, np.float32)
    each = part.rows * part.columns
    step = part.bytes // part.experts
    for expert in range(part.experts):  # the C interface counts in 32 bits
        begin = part.offset + expert * step
        library.load().fs_decode_row(
            part.format, source[begin : begin + step].ctypes.data, each, out[expert * each :].ctypes.data
        )
    shape = (part.experts, part.rows, part.columns) if part.experts > 1 else (part.rows, part.columns)
    values = torch.from_numpy(out).view(shape)
    return values.flatten() if part.rows == 1 else values
