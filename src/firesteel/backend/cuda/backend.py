"""The CUDA backend: the engine's `Backend` over PyTorch and Triton, with libllama's tokenizer."""

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from firesteel.backend.base import Capabilities, Output, Rows, State, Want
from firesteel.backend.blueprint import Blueprint
from firesteel.backend.cuda import gguf
from firesteel.backend.cuda.ahead import Ahead, drafts_here, may_go_ahead
from firesteel.backend.cuda.cache import Cache
from firesteel.backend.cuda.device import first_line
from firesteel.backend.cuda.kernels import select
from firesteel.backend.cuda.memory import require_on_device
from firesteel.backend.cuda.pages import PAGE
from firesteel.backend.cuda.rounds import MOST_TOKENS, Rounds, num_rounds_of, rows_for
from firesteel.backend.cuda.safetensors import open_folder
from firesteel.backend.cuda.steps import Steps
from firesteel.backend.cuda.weights import Assembler
from firesteel.backend.llamacpp.fingerprint import identity
from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer
from firesteel.backend.native.description import Description
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, EngineFailure, ModelError
from firesteel.models.folder import weight_files

INVALID = "the model computed invalid numbers; its file may be damaged"
LAYOUT = 1  # of saved states; raise it when old ones must not be read any more


class CudaBackend:
    """`backend.base.Backend` in PyTorch: on a GPU by Triton kernels in CUDA graphs, on a processor for tests.

    What a sequence gets depends on the shape of the batch by rounding only.
    """

    def __init__(self, blueprint: Blueprint, description: Description, config: EngineConfig, device: Any) -> None:
        """Load the weights to the device and make room for KV. Raises ModelError, ConfigError."""
        self.info, self._config = blueprint.info, config
        self._device = device
        self.tokenizer = LlamaTokenizer(self.info.path)
        try:
            self._set_up(blueprint, description)
        except torch.OutOfMemoryError as error:
            self.tokenizer.close()
            raise ConfigError(f"the GPU's memory is full: {first_line(error)}; ask for a smaller --context") from None
        except BaseException:
            self.tokenizer.close()
            raise

    def _set_up(self, blueprint: Blueprint, description: Description) -> None:
        shape, sizes = description.shape, blueprint.sizes
        self._drafts = drafts_here(self._config)
        self._files = weight_files(blueprint.folder) if blueprint.folder else [Path(self.info.path)]
        if self.tokenizer.vocabulary_size != shape.vocabulary:
            raise ModelError(
                f"{self.info.path} has {shape.vocabulary} rows of embeddings for "
                f"{self.tokenizer.vocabulary_size} tokens"
            )
        self.capabilities = Capabilities(
            num_cells=sizes.num_cells,
            max_sequences=sizes.num_live,
            max_rows=sizes.max_rows,
            max_wanted_rows=sizes.num_wanted,
            chunk_rows=sizes.chunk_rows,
            max_step_tokens=MOST_TOKENS,
            can_sample=True,
            can_draft=self._drafts,
        )
        require_on_device(self._device, shape, sizes, self._config)
        is_gpu = self._device.type == "cuda"
        if not is_gpu and self._config.num_threads is not None:
            torch.set_num_threads(self._config.num_threads)
        self._dtype = torch.bfloat16 if is_gpu else torch.float32
        read = open_folder(blueprint.folder) if blueprint.folder else gguf.open_file(Path(self.info.path), description)
        weights = Assembler(shape, read, self._device, self._dtype, self._config.weights).weights()
        cache = Cache(shape, sizes.num_cells, sizes.num_live, self._device)
        self._steps = Steps(weights, select(self._device), cache, self._device)
        self._pages, self._rounds = cache.pages, Rounds(self._steps)
        self._ahead: dict[int, Ahead] = {}
        self._submitted: list[Rows] = []
        self.native_seconds = 0.0
        self._warm_up()

    @property
    def _cache(self) -> Cache:
        return self._steps.cache

    def _warm_up(self) -> None:
        """Run one step, which also finds models whose numbers are invalid."""
        self.submit([Rows(0, 0, [0], Want.BEST)])
        try:
            self.wait()
        except EngineFailure as error:
            raise ModelError(f"{self.info.path} cannot be used: {error}") from error
        self.trim(0, 0)
        self.native_seconds = 0.0

    def submit(self, batch: list[Rows]) -> None:
        """Take a batch; see `Backend.submit`."""
        self._submitted = batch

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def wait(self) -> list[Output]:
        """Compute the batch; see `Backend.wait`."""
        batch, started = self._submitted, time.perf_counter()
        self._check(batch)
        outputs = self._go_ahead(batch) if may_go_ahead(batch) else None
        if outputs is None:
            self._rounds.forget()
            self._pages.reserve((rows.sequence, rows.position + len(rows.tokens)) for rows in batch)
            tokens, logits = self._steps.compute(batch)
            outputs = outputs_of(batch, tokens.cpu().tolist(), None if logits is None else logits.cpu().numpy())
        self.native_seconds += time.perf_counter() - started
        for rows, output in zip(batch, outputs, strict=True):
            num_ahead = 0 if rows.num_draft else max(0, len(output.tokens) - 1)
            self._pages.lengths[rows.sequence] = rows.position + len(rows.tokens) + num_ahead
        return outputs

    def _go_ahead(self, batch: list[Rows]) -> list[Output] | None:
        """Let the device say several tokens of each sequence; None where room is short."""
        aheads = [self._ahead.setdefault(rows.sequence, Ahead([], rows.position)) for rows in batch]
        wanted = max(ahead.num_rows for ahead in aheads) if self._drafts else 1
        num_rows = rows_for(len(batch), wanted)
        lanes = [ahead.lane(rows) for ahead, rows in zip(aheads, batch, strict=True)]
        ends = [(lane.sequence, lane.num_known + lane.limit + num_rows) for lane in lanes]
        width = self._cache.width * PAGE
        if any(end > width for _, end in ends) or not self._cache.have_room(ends):
            return None
        found = self._rounds.run(lanes, num_rows)
        num_rounds = num_rounds_of(lanes)
        for ahead, lane, one in zip(aheads, lanes, found, strict=True):
            ahead.learn(lane, one, num_rows, num_rounds)
        if any(token < 0 for one in found for token in one.tokens):
            raise EngineFailure(INVALID)
        return [Output(one.tokens) for one in found]

    def expect(self, sequence: int, tokens: list[int], start: int) -> None:
        """See `DeviceDrafting.expect`."""
        expected = tokens if "prediction" in self._config.drafters else []
        self._ahead[sequence] = Ahead(expected, start)
        self._rounds.forget()

    def _check(self, batch: list[Rows]) -> None:
        """Refuse what would write outside of a sequence's pages or read outside of the vocabulary."""
        limit = self.capabilities
        vocabulary, lengths = self.tokenizer.vocabulary_size, self._pages.lengths
        good = all(
            0 <= rows.sequence < limit.max_sequences
            and rows.tokens
            and rows.position == lengths[rows.sequence]
            and 0 <= min(rows.tokens) <= max(rows.tokens) < vocabulary
            and rows.num_draft < len(rows.tokens)
            and rows.position + len(rows.tokens) <= PAGE * self._cache.width
            for rows in batch
        )
        num_rows, num_wanted = sum(len(rows.tokens) for rows in batch), sum(rows.num_wanted for rows in batch)
        if not good or not batch or num_rows > limit.max_rows or num_wanted > limit.max_wanted_rows:
            raise EngineFailure("the backend refused a batch: its rows do not continue its sequences, or are too many")

    def abort(self) -> None:
        """Do nothing: a step on a device is short, and cannot be interrupted."""

    def trim(self, sequence: int, to: int) -> None:
        """Drop KV from position `to` on."""
        self._pages.trim(sequence, to)
        self._rounds.forget()
        if not to:
            self._ahead.pop(sequence, None)

    def fork(self, source: int, target: int, to: int) -> None:
        """Share the first `to` positions; a page is copied when one of the two writes into it."""
        self._rounds.forget()
        self._pages.fork(source, target, to)

    @functools.cached_property
    def state_fingerprint(self) -> str:
        """See `Backend.state_fingerprint`."""
        where = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu"
        parts = f"firesteel-kv=cuda-{LAYOUT} kernels={self._steps.kernels.name} torch={torch.__version__}"
        model = "+".join(identity(str(file)) for file in self._files)
        return f"{parts} on={where} weights={self._config.weights} model={model}"

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def save(self, sequence: int, start: int = 0, end: int | None = None) -> State:
        """Copy KV of `sequence` to host memory; see `Backend.save`."""
        return self._cache.save(sequence, start, self._pages.lengths[sequence] if end is None else end)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def load(self, sequence: int, state: State) -> bool:
        """Append a saved KV, any contiguous buffer; see `Backend.load`."""
        self._rounds.forget()
        return self._cache.load(sequence, state)

    def state_bytes(self, state: State) -> int:
        """Return the size of a saved KV."""
        return memoryview(state).nbytes

    def close(self) -> None:
        """Free the device's memory and the vocabulary."""
        self._steps.close()
        del self._steps
        self.tokenizer.close()


def outputs_of(batch: list[Rows], tokens: list[int], logits: "npt.NDArray[np.float32] | None") -> list[Output]:
    """Return the outputs of a batch. Raises EngineFailure where a token that is wanted does not exist."""
    outputs, start = [], 0
    for rows in batch:
        mine = slice(start, start + rows.num_wanted)
        start += rows.num_wanted
        if rows.want is Want.LOGITS:
            assert logits is not None
            outputs.append(Output(logits=list(logits[mine])))
            continue
        if min(tokens[mine], default=0) < 0:
            raise EngineFailure(INVALID)
        outputs.append(Output(tokens[mine]))
    return outputs
