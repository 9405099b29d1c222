"""Keys and values on the device, in pages, and beside them the tokens that they were computed from."""

import struct
from typing import Any

import numpy as np
import torch

from firesteel.backend.cuda.pages import PAGE, Pages, num_pages
from firesteel.backend.native.description import Shape
from firesteel.errors import EngineFailure

Tensor = Any  # torch.Tensor: torch is optional, so types are not checked against it
STATE_HEAD = struct.Struct("<4sIII")  # magic, first position, positions, bytes of each
STATE_MAGIC = b"FSGK"
KV_TYPE = torch.float16  # more exact than bfloat16, and keys and values are far from its limits


class Cache:
    """KV of all sequences: `kv` is [layer, key or value, page, position in it, head, size], `tokens` [page, position].

    Tokens travel with their KV through fork, trim, save and load, so that a drafter on the device finds them.
    """

    def __init__(self, shape: Shape, num_cells: int, num_sequences: int, device: Any) -> None:
        count = num_pages(num_cells, num_sequences)
        self.kv = torch.zeros(
            (shape.layers, 2, count, PAGE, shape.kv_heads, shape.head_size), dtype=KV_TYPE, device=device
        )
        self.tokens = torch.zeros((count, PAGE), dtype=torch.int32, device=device)
        self.pages = Pages(count, num_sequences, self._copy)
        self.width = -(-num_cells // PAGE) + 2  # pages of one sequence at most
        self.tables = torch.zeros((num_sequences + 1, self.width), dtype=torch.int32, device=device)
        self.nobody = num_sequences  # the table of padded rows: every position is in the dump
        self.position_bytes = 4 + shape.layers * 2 * shape.kv_heads * shape.head_size * KV_TYPE.itemsize

    def _copy(self, source: int, target: int) -> None:
        self.kv[:, :, target] = self.kv[:, :, source]
        self.tokens[target] = self.tokens[source]

    def upload_tables(self) -> None:
        """Bring the device's tables up to date with the host's."""
        for sequence in self.pages.changed:
            row = np.zeros(self.width, np.int32)
            table = self.pages.tables[sequence]
            row[: len(table)] = table
            self.tables[sequence] = torch.from_numpy(row).to(self.tables.device)
        self.pages.changed.clear()

    def save(self, sequence: int, start: int, end: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """Return the positions `start` to `end` in host memory: a head, the tokens, then position by position."""
        length = self.pages.lengths[sequence]
        assert 0 <= start <= end <= length, f"sequence {sequence} holds {length} positions, not {start} to {end}"
        head = STATE_HEAD.pack(STATE_MAGIC, start, end - start, self.position_bytes)
        state = np.empty(STATE_HEAD.size + (end - start) * self.position_bytes, np.uint8)
        state[: STATE_HEAD.size] = np.frombuffer(head, np.uint8)
        if start < end:
            page, offset = self._places(sequence, start, end)
            tokens = self.tokens[page, offset].cpu().numpy().view(np.uint8)
            kv = self.kv[:, :, page, offset].movedim(2, 0).contiguous().cpu().numpy().view(np.uint8)
            body = state[STATE_HEAD.size :]
            body[: tokens.size] = tokens
            body[tokens.size :] = kv.reshape(-1)
        return state

    def load(self, sequence: int, state: Any) -> bool:
        """Append a saved state; False when it is damaged, of another shape, or finds no page."""
        buffer = np.frombuffer(state, np.uint8)
        if buffer.size < STATE_HEAD.size:
            return False
        magic, start, count, each = STATE_HEAD.unpack(buffer[: STATE_HEAD.size].tobytes())
        if (magic, each, buffer.size) != (STATE_MAGIC, self.position_bytes, STATE_HEAD.size + count * each):
            return False
        length = self.pages.lengths[sequence]
        assert start == length, f"sequence {sequence} holds {length} positions; the state was saved at {start}"
        if not self.have_room([(sequence, length + count)]):
            return False
        if count:
            self._write(sequence, start, count, buffer[STATE_HEAD.size :].copy())
        return True

    def have_room(self, wanted: list[tuple[int, int]]) -> bool:
        """Reserve pages for each (sequence, end); False where there are too few."""
        try:
            self.pages.reserve(wanted)
        except EngineFailure:
            return False
        return True

    def _write(self, sequence: int, start: int, count: int, body: "np.ndarray[Any, np.dtype[np.uint8]]") -> None:
        page, offset = self._places(sequence, start, start + count)
        tokens = torch.from_numpy(body[: 4 * count].view(np.int32))
        kv = torch.from_numpy(body[4 * count :]).view(KV_TYPE)
        layers, _, _, _, heads, size = self.kv.shape
        self.tokens[page, offset] = tokens.to(self.tokens.device)
        self.kv[:, :, page, offset] = kv.view(count, layers, 2, heads, size).movedim(0, 2).to(self.kv.device)
        self.pages.lengths[sequence] = start + count

    def _places(self, sequence: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Return page and offset of each position."""
        positions = np.arange(start, end)
        pages = np.array(self.pages.tables[sequence], np.int64)[positions // PAGE]
        device = self.kv.device
        return torch.from_numpy(pages).to(device), torch.from_numpy(positions % PAGE).to(device)
