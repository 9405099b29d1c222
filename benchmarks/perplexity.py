"""Perplexity of a GGUF file on a text that no model was trained on; prints one JSON document.

    .venv/bin/python benchmarks/perplexity.py MODEL.gguf [--text FILE] [--window 1024]

States what requantising costs. The text is cut into windows that share nothing; within each, every token but
the first is predicted from all before it. Lower is better; compare only figures of the same text and window.
"""

import argparse
import ctypes
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt

from firesteel.bench import workload
from firesteel.machine import num_cores

TEXT = "heldout.py.txt"
ROWS = 256  # logits of 256 rows at a vocabulary of 152k: 155 MB


class Model:
    """A model with a context of one window, through libllama's low-level functions."""

    def __init__(self, path: Path, window: int) -> None:
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path} cannot be loaded")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = window, ROWS, ROWS
        params.n_threads = params.n_threads_batch = num_cores()
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary_size = llama_cpp.llama_vocab_n_tokens(self.vocabulary)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of `text`, without BOS and with control tokens taken as text."""
        data = text.encode()
        buffer = (llama_cpp.llama_token * len(data))()
        count = llama_cpp.llama_tokenize(self.vocabulary, data, len(data), buffer, len(data), False, False)
        return list(buffer[:count])

    def logits(self, tokens: list[int]) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the logits [rows, vocabulary_size] of one window, at most `ROWS` rows at a time."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        batch = llama_cpp.llama_batch_init(ROWS, 0, 1)
        for start in range(0, len(tokens), ROWS):
            part = tokens[start : start + ROWS]
            fill(batch, part, start)
            if llama_cpp.llama_decode(self.context, batch) != 0:
                raise SystemExit(f"llama_decode failed at token {start}")
            pointer = llama_cpp.llama_get_logits(self.context)
            yield np.ctypeslib.as_array(pointer, shape=(len(part), self.vocabulary_size))
        llama_cpp.llama_batch_free(batch)


def fill(batch: llama_cpp.llama_batch, tokens: list[int], start: int) -> None:
    """Put `tokens` at positions from `start` on into `batch`; all rows want logits."""
    batch.n_tokens = len(tokens)
    for row, token in enumerate(tokens):
        batch.token[row], batch.pos[row] = token, start + row
        batch.n_seq_id[row], batch.logits[row] = 1, True
        ctypes.cast(batch.seq_id[row], ctypes.POINTER(ctypes.c_int32))[0] = 0


def negative_log_likelihoods(logits: npt.NDArray[np.float32], targets: list[int]) -> npt.NDArray[np.float64]:
    """Return −ln p(target) for each row of `logits` [rows, vocabulary_size]."""
    rows = logits[: len(targets)].astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    return np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(targets)), targets]


def measure(path: Path, text: str, window: int) -> dict[str, object]:
    """Return the document that is printed."""
    model = Model(path, window)
    tokens = model.tokens(text)
    losses: list[npt.NDArray[np.float64]] = []
    started = time.perf_counter()
    for start in range(0, len(tokens) - 1, window):
        part = tokens[start : start + window]
        targets = part[1:]
        for number, logits in enumerate(model.logits(part)):
            losses.append(negative_log_likelihoods(logits, targets[number * ROWS : (number + 1) * ROWS]))
    all_losses = np.concatenate(losses)
    error = float(all_losses.std() / math.sqrt(len(all_losses)))
    perplexity = math.exp(all_losses.mean())
    return {
        "model": path.name,
        "bytes": path.stat().st_size,
        "tokens": len(all_losses),
        "window": window,
        "perplexity": perplexity,
        "standard_error": perplexity * error,
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, help="UTF-8 text (default: 2,800 tokens of Python written for this)")
    parser.add_argument("--window", type=int, default=1024, help="tokens that are predicted together")
    arguments = parser.parse_args()
    text = arguments.text.read_text(encoding="utf-8") if arguments.text else workload.read(TEXT)
    print(json.dumps(measure(arguments.model, text, arguments.window)))


if __name__ == "__main__":
    main()
