"""How often a draft could change a greedy answer on real kernels, and that it does so at ties only.

    .venv/bin/python benchmarks/draft_ties.py MODEL.gguf [--tokens 200] [--save]

A step of another number of rows adds up in another order, so its logits differ a little. Here plain greedy
answers, one row a step, are computed again in steps of 2 to 48 rows, as if every draft were right. Where the
best token differs, the gap between the two tokens, by the plain logits, is compared with the largest difference
of any logit at that position, the rounding noise: up to twice of it the two tokens are tied, since each may have
moved by that much. Ends in one JSON line.
"""

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from firesteel import machine
from firesteel.backend import open_backend
from firesteel.backend.base import Backend, Rows, Want
from firesteel.bench import suite
from firesteel.config import EngineConfig
from firesteel.models.files import sha256_of
from firesteel.request.render import tokens_of
from firesteel.types import ChatPrompt, Message

SIZES = (2, 3, 4, 8, 16, 32, 48)
SUITES = ("edits", "fresh")
RESULTS = Path(__file__).parent / "results"

Logits = npt.NDArray[np.float32]


def rows(backend: Backend, position: int, tokens: list[int], num_draft: int) -> list[Logits]:
    """Compute `tokens`; return copies of the logits of the last `num_draft + 1` of them."""
    backend.submit([Rows(0, position, tokens, Want.LOGITS, num_draft=num_draft)])
    return [logits.copy() for logits in backend.wait()[0].logits]


def prefill(backend: Backend, prompt: list[int]) -> None:
    """Compute all of `prompt` but its last token."""
    backend.trim(0, 0)
    chunk = backend.capabilities.chunk_rows
    for start in range(0, len(prompt) - 1, chunk):
        part = prompt[start : min(start + chunk, len(prompt) - 1)]
        backend.submit([Rows(0, start, part, Want.NONE)])
        backend.wait()


def greedy(backend: Backend, prompt: list[int], max_tokens: int) -> tuple[list[int], list[Logits]]:
    """Return the plain greedy answer, and the logits that chose each token."""
    prefill(backend, prompt)
    tokens: list[int] = []
    chosen: list[Logits] = []
    last = prompt[-1]
    while len(tokens) < max_tokens:
        (logits,) = rows(backend, len(prompt) - 1 + len(tokens), [last], 0)
        last = int(logits.argmax())
        if last in backend.tokenizer.end_tokens:
            break
        tokens.append(last)
        chosen.append(logits)
    return tokens, chosen


def compared(backend: Backend, prompt: list[int], tokens: list[int], plain: list[Logits], size: int) -> dict[str, Any]:
    """Compute `tokens` again, `size` rows a step; return what differs."""
    backend.trim(0, len(prompt) - 1)
    known, noises, differing = [prompt[-1], *tokens[:-1]], [], []
    for start in range(0, len(known), size):
        part = known[start : start + size]
        for at, logits in enumerate(rows(backend, len(prompt) - 1 + start, part, len(part) - 1), start):
            noise = float(np.abs(logits - plain[at]).max())
            noises.append(noise)
            best = int(logits.argmax())
            if best != tokens[at]:
                differing.append({"gap": float(plain[at][tokens[at]] - plain[at][best]), "noise": noise})
    return {"noises": noises, "differing": differing}


def measure(backend: Backend, max_tokens: int) -> dict[str, Any]:
    """Return the figures by size of a step, over all tasks."""
    found: dict[int, dict[str, list[Any]]] = {size: {"noises": [], "differing": []} for size in SIZES}
    num_tokens, gaps = 0, []
    for task in [task for kind in SUITES for task in suite.tasks(kind)]:
        messages = tuple(Message(role="user", content=message["content"]) for message in task.messages)
        prompt = tokens_of(ChatPrompt(messages=messages), backend.tokenizer).tokens
        tokens, plain = greedy(backend, prompt, max_tokens)
        num_tokens += len(tokens)
        gaps += [float(np.diff(np.partition(logits, -2)[-2:])[0]) for logits in plain]
        for size in SIZES:
            for name, values in compared(backend, prompt, tokens, plain, size).items():
                found[size][name] += values
        print(f"{task.name}: {len(tokens)} tokens", file=sys.stderr)
    by_size = {size: summary(parts["noises"], parts["differing"]) for size, parts in found.items()}
    return {"tokens": num_tokens, "median_gap_of_best_two": float(np.median(gaps)), "by_rows_a_step": by_size}


def summary(noises: list[float], differing: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians and extremes of one size."""
    return {
        "noise_median": float(np.median(noises)),
        "noise_largest": max(noises),
        "differing": len(differing),
        "per_thousand": 1000 * len(differing) / len(noises),
        "largest_gap": max((one["gap"] for one in differing), default=0.0),
        "all_ties": all(one["gap"] <= 2 * one["noise"] for one in differing),
    }


def main() -> None:
    """Measure, print, and keep the document where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=200, help="of each answer at most")
    parser.add_argument("--save", action="store_true", help="keep the document in benchmarks/results")
    options = parser.parse_args()
    backend = open_backend(EngineConfig(model=str(options.model), context_tokens=4096, max_live=1))
    try:
        details = measure(backend, options.tokens)
    finally:
        backend.close()
    document = {
        "kind": "draft_ties",
        "workload": " and ".join(SUITES),
        "model": options.model.name,
        "model_sha256": sha256_of(options.model),
        "machine": msgspec.to_builtins(machine.describe()),
        "unit": "differing tokens a thousand",
        "ours": [size["per_thousand"] for size in details["by_rows_a_step"].values()],
        "peer": None,
        "ratio_median": None,
        "ceiling": {"value": 0.0, "what": "exact arithmetic"},
        "details": details,
    }
    if options.save:
        path = RESULTS / f"draft-ties-{date.today().isoformat()}-{options.model.stem.rsplit('-', 1)[-1]}.json"
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
