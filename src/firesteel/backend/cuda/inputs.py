"""What a step computes: its rows as tensors of fixed addresses, one set for each bucket of rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from firesteel.backend.base import Rows

Tensor = Any  # torch.Tensor
BUCKETS = (1, 2, 4, 8, 16, 32, 64)  # rows that a graph is captured for; a step of fewer is padded up
MOST_FEW = BUCKETS[-1]  # steps of more rows are computed row by row of the batch, without a graph
TILE = 8  # rows of one sequence that a block of the attention kernel computes together


class Run(NamedTuple):
    """Rows `first` to `first + size` of a step belong to one sequence, whose KV ends before `end` afterwards."""

    sequence: int
    first: int
    size: int
    end: int
    is_exact: bool  # the last row stands at `end` - 1, as far as the host knows


class Inputs(NamedTuple):
    """The rows of a step. Padded rows belong to nobody's table and stand at position 0."""

    tokens: Tensor  # [rows] int64
    positions: Tensor  # [rows] int64
    sequences: Tensor  # [rows] int64: rows of the table of pages
    tiles: Tensor  # [rows, 2] int32: first row and count of each tile; a count of 0 is none
    runs: list[Run]  # for attention without Triton; what is captured in a graph must not read it

    @property
    def num_rows(self) -> int:
        """Rows, padded ones too."""
        return int(self.tokens.shape[0])


def bucket_of(num_rows: int) -> int:
    """Return the rows that a step of `num_rows` is computed with."""
    return next((size for size in BUCKETS if size >= num_rows), num_rows)


def make(num_rows: int, nobody: int, device: Any) -> Inputs:
    """Return inputs of padded rows."""
    zeros = torch.zeros(num_rows, dtype=torch.int64, device=device)
    return Inputs(
        tokens=zeros.clone(),
        positions=zeros.clone(),
        sequences=zeros + nobody,
        tiles=torch.zeros((num_rows, 2), dtype=torch.int32, device=device),
        runs=[],
    )


def fill(inputs: Inputs, batch: Sequence[Rows], nobody: int, *, ahead: int = 0) -> None:
    """Write the rows of a batch; `ahead`: positions that the device may go on by itself."""
    size = inputs.num_rows
    packed = np.zeros((3, size), np.int64)
    packed[2] = nobody
    tiles = np.zeros((size, 2), np.int32)
    inputs.runs.clear()
    first, num_tiles = 0, 0
    for rows in batch:
        count = len(rows.tokens)
        packed[0, first : first + count] = rows.tokens
        packed[1, first : first + count] = np.arange(rows.position, rows.position + count)
        packed[2, first : first + count] = rows.sequence
        inputs.runs.append(Run(rows.sequence, first, count, rows.position + count + ahead, not ahead))
        for begin in range(first, first + count, TILE):
            tiles[num_tiles] = begin, min(TILE, first + count - begin)
            num_tiles += 1
        first += count
    uploaded = torch.from_numpy(packed).to(inputs.tokens.device)
    inputs.tokens.copy_(uploaded[0])
    inputs.positions.copy_(uploaded[1])
    inputs.sequences.copy_(uploaded[2])
    inputs.tiles.copy_(torch.from_numpy(tiles))
