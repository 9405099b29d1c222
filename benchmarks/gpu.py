"""The CUDA backend on a GPU: one run that checks, times, prints a table with the ceilings, and writes JSON.

    python benchmarks/gpu.py --out gpu.json                        random weights of Qwen2.5-Coder-0.5B's shape
    python benchmarks/gpu.py --model FILE.gguf --out gpu.json      the real weights (needs the installed package)
    python benchmarks/gpu.py --device cpu --tiny                   a smoke test: its times mean nothing

Needs PyTorch, Triton, numpy and msgspec; with `PYTHONPATH=src`, no installation, but for the groups of gpu_served.py.
Each group stands for itself: one that fails says why, and the rest go on; results are written as they come. Meant to
take six minutes at most.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu_model import SHAPES, Model, copy_bandwidth, peak, seconds
from gpu_peer import tokens_per_second
from gpu_served import agreement, edits, engine_first_token, http_first_token

from firesteel.backend.cuda.device import look
from firesteel.backend.cuda.kernels.plain import PlainKernels
from firesteel.backend.cuda.model import forward, logits

Row = dict[str, Any]
SHORT = 128  # tokens of a short history
EDITED = 20  # one token in so many is another than predicted


class Run:
    """What the rows share: the device, the model, its ceilings, the results so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        self.is_tiny = options.tiny
        os.environ["FIRESTEEL_TORCH_DEVICE"] = options.device  # for the engine
        if options.tiny:
            torch.set_num_threads(1)
        self.shape = SHAPES["tiny" if options.tiny else options.shape]
        self.history, self.repeats = (96, 2) if options.tiny else (4096, 10)
        self.total = 48 if options.tiny else 512
        self.started = time.perf_counter()
        self.bandwidth = self.peak = 0.0
        self.plain_rate = 0.0
        self.rows: list[Row] = []
        self._models: dict[str, Model] = {}

    def model(self, weights: str = "bf16") -> Model:
        """Return the model with its weights in a form; the last one is kept."""
        if weights not in self._models:
            self.release()
            read = self._read()  # first: the shape is then the file's
            self._models = {weights: Model(self.shape, self.device, weights=weights, read=read)}
        return self._models[weights]

    def release(self) -> None:
        """Free the models: others need the memory."""
        for old in self._models.values():
            old.close()
        self._models = {}

    def _read(self) -> Any:
        if self.options.model is None:
            return None
        from firesteel.backend.cuda.gguf import open_file
        from firesteel.backend.native.description import describe
        from firesteel.models.gguf import read_header

        path = Path(self.options.model)
        description = describe(read_header(path))
        self.shape = description.shape
        return open_file(path, description)

    def tokens(self, count: int) -> list[int]:
        """Return tokens that mean nothing."""
        return [(index * 7919 + index // 13) % (self.shape.vocabulary - 1) for index in range(count)]

    def share(self, bytes_read: int, taken: float) -> float:
        """Return which part of the copy bandwidth so many bytes in so many seconds are."""
        return bytes_read / taken / self.bandwidth if self.bandwidth else 0.0


def ceilings(run: Run) -> Iterator[Row]:
    """What the device does at best, in this very run."""
    run.bandwidth = copy_bandwidth(run.device, (8 if run.is_tiny else 2048) << 20)
    yield {"what": "copy bandwidth", "value": run.bandwidth / 1e9, "unit": "GB/s"}
    run.peak = peak(run.device, 256 if run.is_tiny else 8192)
    yield {"what": "bf16 matrix product", "value": run.peak / 1e12, "unit": "TFLOP/s"}
    model = run.model()
    yield {"what": "bytes of weights a token", "value": model.bytes_per_token / 1e6, "unit": "MB"}
    yield {"what": "operations a token", "value": model.operations_per_token / 1e9, "unit": "GFLOP"}


def checks(run: Run) -> Iterator[Row]:
    """Triton's kernels and graphs against plain PyTorch, at real sizes on this device."""
    model, tokens = run.model(), run.tokens(200)
    for num_rows in (1, 4, 16, 64):
        model.compute(tokens[:130], 0)
        model.compute(tokens[130 : 130 + num_rows], 130, num_draft=num_rows - 1)
        inputs = model.steps.inputs(num_rows)
        graphed = model.steps.graphs.run((num_rows, True), partial(model.steps._few, inputs, True)).clone()
        plain = logits(forward(model.weights, PlainKernels(), model.cache, inputs), model.weights, PlainKernels())
        error = float(((graphed - plain).square().mean().sqrt() / plain.std()).cpu())
        is_right = error <= 0.03
        yield {
            "what": f"kernels against plain ones, {num_rows} rows",
            "value": error,
            "unit": "of spread",
            "ok": is_right,
        }
    model.compute(tokens[:130], 0)
    one = model.say(129, tokens[129], 32, 1, [])
    many = model.say(129, tokens[129], 32, 8, one)
    same = next((at for at in range(32) if one[at] != many[at]), 32)
    yield {"what": "tokens until drafted text differs", "value": same, "unit": "of 32", "ok": same >= 8}


def decode(run: Run) -> Iterator[Row]:
    """One stream, plain greedy: four tokens a launch, none guessed."""
    for weights, history in (("bf16", SHORT), ("bf16", run.history), ("int8", SHORT), ("fp8", SHORT)):
        taken, bytes_read = plain_greedy(run, run.model(weights), history)
        if (weights, history) == ("bf16", SHORT):
            run.plain_rate = 1 / taken
        what = f"plain greedy, {weights}, after {history} tokens"
        share = run.share(bytes_read, taken)
        yield {"what": what, "value": 1 / taken, "unit": "tokens/s", "of bandwidth": share}


def plain_greedy(run: Run, model: Model, history: int) -> tuple[float, int]:
    """Return the seconds of a token, and the bytes that it must read: weights, and KV at half of the way."""
    tokens = run.tokens(history)
    model.compute(tokens, 0)
    taken = seconds(lambda: model.say(history - 1, tokens[-1], run.total, 1, []), run.device, 3) / run.total
    return taken, model.bytes_per_token + (history + run.total // 2) * model.cache.position_bytes


def verify(run: Run) -> Iterator[Row]:
    """What a step of several rows costs: the price of verifying a draft."""
    model, tokens = run.model(), run.tokens(run.history + 64)
    model.compute(tokens[: run.history], 0)
    for num_rows in (1, 2, 4, 8, 16, 32, 64):
        step = partial(model.compute, tokens[run.history : run.history + num_rows], run.history, num_draft=num_rows - 1)
        taken = seconds(step, run.device, run.repeats)
        what = f"step of {num_rows} rows after {run.history} tokens"
        yield {
            "what": what,
            "value": 1e3 * taken,
            "unit": "ms",
            "of bandwidth": run.share(model.bytes_per_token, taken),
        }


def predicted(run: Run) -> Iterator[Row]:
    """A stream whose text is predicted but for one token in twenty, drafted and verified on the device."""
    model, tokens = run.model(), run.tokens(512 if not run.is_tiny else 64)
    model.compute(tokens, 0)
    answer = model.say(len(tokens) - 1, tokens[-1], run.total, 1, [])
    expected = [one if at % EDITED else one + 1 for at, one in enumerate(answer, 1)]
    for num_rows in (8, 16):
        rewrite = partial(model.say, len(tokens) - 1, tokens[-1], run.total, num_rows, expected)
        taken = seconds(rewrite, run.device, 3) / run.total
        what = f"predicted but for 1 token in {EDITED}, {num_rows} rows a round"
        yield {"what": what, "value": 1 / taken, "unit": "tokens/s", "same text": rewrite() == answer}


def first_token(run: Run) -> Iterator[Row]:
    """A warm session: 64 new tokens after a long history, until the host has the next token; without an engine."""
    model, tokens = run.model(), run.tokens(run.history + 64)
    model.compute(tokens[: run.history], 0)
    taken = seconds(lambda: model.compute(tokens[run.history :], run.history), run.device, run.repeats)
    yield {"what": f"first token, 64 new after {run.history}, backend only", "value": 1e3 * taken, "unit": "ms"}


def prefill(run: Run) -> Iterator[Row]:
    """A long prompt from nothing."""
    model, tokens = run.model(), run.tokens(run.history)
    taken = seconds(lambda: model.compute(tokens, 0), run.device, run.repeats)
    layers = model.operations_per_token - 2 * model.weights.head.data.numel()
    attention = 2 * run.shape.layers * run.shape.heads * run.shape.head_size * len(tokens)  # causal: half of all
    share = len(tokens) * (layers + attention) / taken / run.peak if run.peak else 0.0
    yield {"what": f"cold prefill of {len(tokens)} tokens", "value": 1e3 * taken, "unit": "ms", "of peak": share}


def peer(run: Run) -> Iterator[Row]:
    """transformers in the same run, where it is installed."""
    try:
        rate = tokens_per_second(run.shape, run.device, 128 if not run.is_tiny else 16, 256 if not run.is_tiny else 4)
    except ImportError as error:
        yield {"what": "transformers, static cache, compiled", "skipped": f"not installed ({error})"}
        return
    times = run.plain_rate / rate
    yield {"what": "transformers, static cache, compiled", "value": rate, "unit": "tokens/s", "ours is times": times}


GROUPS: tuple[Callable[[Run], Iterator[Row]], ...] = (
    ceilings, checks, decode, verify, predicted, first_token, prefill, engine_first_token, http_first_token, edits,
    agreement, peer,
)  # fmt: skip


def shown(row: Row) -> str:
    """Return a row as people read it."""
    if "error" in row or "skipped" in row:
        return f"{row['what']:<58} {'FAILED: ' + row['error'] if 'error' in row else 'skipped: ' + row['skipped']}"
    rest = {name: value for name, value in row.items() if name not in ("what", "value", "unit", "group")}
    words = ", ".join(
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in rest.items()
    )
    return f"{row['what']:<58} {row['value']:>12,.4g} {row['unit']:<10} {words}"


def save(run: Run) -> None:
    """Write what is known so far."""
    document = {
        "kind": "gpu",
        "weights": run.options.model or "random, of the real shape",
        "shape": "tiny" if run.is_tiny else run.options.shape,
        "machine": json.loads(found_json()),
        "torch_device": str(run.device),
        "seconds": time.perf_counter() - run.started,
        "rows": run.rows,
    }
    Path(run.options.out).write_text(json.dumps(document, indent=1) + "\n")


def found_json() -> str:
    import msgspec

    return msgspec.json.encode(look()).decode()


def run_group(run: Run, group: Callable[[Run], Iterator[Row]]) -> None:
    """Run the rows of a group; what fails is a row, too."""
    try:
        if time.perf_counter() - run.started > run.options.seconds:
            raise TimeoutError(f"not begun: {run.options.seconds:.0f} s had passed")
        with torch.inference_mode():
            for row in group(run):
                run.rows.append({"group": group.__name__} | row)
                print(shown(row), flush=True)
                save(run)
    except Exception as error:
        traceback.print_exc()
        run.rows.append({"group": group.__name__, "what": group.__name__, "error": f"{type(error).__name__}: {error}"})
        print(shown(run.rows[-1]), flush=True)
        save(run)


def main() -> int:
    """Run all groups; 1 where one failed or a check was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", default="0.5b", choices=sorted(set(SHAPES) - {"tiny"}))
    parser.add_argument("--tiny", action="store_true", help="a smoke test; its times mean nothing")
    parser.add_argument("--model", help="a GGUF file; default: random weights")
    parser.add_argument("--out", default="gpu.json")
    parser.add_argument("--seconds", type=float, default=330.0, help="no group begins after so many")
    parser.add_argument("--only", nargs="+", choices=[group.__name__ for group in GROUPS], help="groups; default: all")
    run = Run(parser.parse_args())
    for group in GROUPS:
        if group.__name__ in (run.options.only or group.__name__):
            run_group(run, group)
    return int(any("error" in row or row.get("ok") is False for row in run.rows))


if __name__ == "__main__":
    sys.exit(main())
