"""Tokens a second with a draft model: off, waiting for it, overlapping with it, and as measurement chooses.

    .venv/bin/python benchmarks/draft_model.py TARGET.gguf DRAFT.gguf [--runs 3] [--threads N] [--save]

In this process, on the real models: functions written from their docstrings (the workload `fresh`), greedy, 200
tokens each, no other drafter. The modes take turns, prompt by prompt, in one engine, so that a slow spell of the
machine meets them all. `auto` keeps what it has learned from answer to answer, as a server does. The last line
is the JSON document of the benchmarks; `--save` also writes it to benchmarks/results.
"""

import argparse
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from firesteel import machine
from firesteel.backend import open_backend
from firesteel.bench import roofline, workload
from firesteel.config import EngineConfig
from firesteel.engine.draft.model import ModelDrafting
from firesteel.engine.draft.modes import Mode
from firesteel.engine.loop import Engine
from firesteel.models import files, gguf
from firesteel.types import DraftUsage, Event, Finish, Sampling, Work

RESULTS = Path("benchmarks/results")
MAX_TOKENS = 200
CONTEXT = 4_096
SETTINGS: dict[str, Mode | None] = {"off": "off", "wait": "wait", "ahead": "ahead", "auto": None}


class Subject:
    """An engine with a draft model, and what it has emitted."""

    def __init__(self, target: Path, draft: Path, num_threads: int | None) -> None:
        config = EngineConfig(
            model=str(target),
            draft_model=str(draft),
            drafters=("model",),
            context_tokens=CONTEXT,
            num_threads=num_threads,
            cache_bytes=0,  # each answer reads its prompt: nothing that one mode computed serves another
        )
        self.backend = open_backend(config)
        self.events: list[Event] = []
        self.engine = Engine(self.backend, config, self.events.append)
        model = self.engine.drafting.model
        assert model is not None
        self.model: ModelDrafting = model

    def answer(self, id: str, prompt: str, mode: Mode | None) -> dict[str, Any]:
        """Write one answer in `mode` and return what it took; prompts are not timed."""
        self.model.fixed = mode
        model, modes = self.model, Counter[str]()
        before = model.num_hits, model.num_misses, model.thread.num_steps, model.waited_seconds
        tokens = self.backend.tokenizer.encode(prompt, special=True)
        self.engine.add(Work(id=id, tokens=tokens, sampling=Sampling(temperature=0.0), max_tokens=MAX_TOKENS))
        while self.engine.step():
            modes[model.mode] += 1
        model.thread.settle(60)  # what it still prepares must not slow the next answer
        finish = next(event for event in reversed(self.events) if isinstance(event, Finish))
        usage = finish.usage
        drafts = next((one for one in usage.drafts if one.source == "model"), DraftUsage("model", 0, 0, 0))
        return {
            "tokens": finish.tokens,
            "rate": (usage.num_output_tokens - 1) / usage.decode_seconds,
            "steps": usage.num_steps,
            "drafted": drafts.num_drafted,
            "accepted": drafts.num_accepted,
            "hits": model.num_hits - before[0],
            "misses": model.num_misses - before[1],
            "draft_steps": model.thread.num_steps - before[2],
            "waited_seconds": model.waited_seconds - before[3],
            "modes": dict(modes),
        }


def prompts() -> list[str]:
    """Return the prompts of the workload, in the chat format of the default model."""
    talks = msgspec.json.decode(workload.read("fresh.json"))["talks"]
    asked = ["\n".join(talk["turns"][0]["user"]) for talk in talks]
    return [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in asked]


def measure(subject: Subject, texts: list[str], num_runs: int) -> dict[str, list[dict[str, Any]]]:
    """Answer each text in each setting, in turns; the first answer of all is not counted."""
    subject.answer("warm-up", texts[0], "off")
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in range(num_runs):
        for number, text in enumerate(texts):
            for name, mode in SETTINGS.items():
                one = subject.answer(f"{run}-{number}-{name}", text, mode)
                found[name].append(one)
                print(
                    f"run {run} prompt {number:2} {name:5} {one['rate']:6.1f} tok/s {one['steps']:4} steps", flush=True
                )
    return found


def summary(answers: list[dict[str, Any]], plain: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a setting yielded, against plain decoding, answer by answer."""
    drafted, hits = sum(one["drafted"] for one in answers), sum(one["hits"] for one in answers)
    asked = hits + sum(one["misses"] for one in answers)
    tokens = sum(len(one["tokens"]) for one in answers)
    modes = Counter[str]()
    for one in answers:
        modes.update(one["modes"])
    return {
        "tokens_per_second": median(one["rate"] for one in answers),
        "ratio_median": median(one["rate"] / off["rate"] for one, off in zip(answers, plain, strict=True)),
        "tokens_per_step": tokens / sum(one["steps"] for one in answers),
        "acceptance": sum(one["accepted"] for one in answers) / drafted if drafted else None,
        "hit_rate": hits / asked if asked else None,
        "draft_steps_per_token": sum(one["draft_steps"] for one in answers) / tokens,
        "waited_seconds": sum(one["waited_seconds"] for one in answers),
        "same_text": sum(one["tokens"] == off["tokens"] for one, off in zip(answers, plain, strict=True)),
        "steps_by_mode": dict(modes),
    }


def document(found: dict[str, list[dict[str, Any]]], target: Path, draft: Path) -> dict[str, Any]:
    """Return the document of the benchmarks. `ours` is what measurement chooses, the peer is plain decoding."""
    settings = {name: summary(answers, found["off"]) for name, answers in found.items()}
    header, threads = gguf.read_header(target), machine.num_cores()
    return {
        "kind": "draft-model",
        "workload": f"functions from docstrings, greedy, {MAX_TOKENS} tokens",
        "model": target.name,
        "model_sha256": files.sha256_of(target),
        "machine": msgspec.to_builtins(machine.describe()),
        "unit": "tokens/s",
        "ours": [one["rate"] for one in found["auto"]],
        "peer": {"name": "off, the same engine", "values": [one["rate"] for one in found["off"]]},
        "ratio_median": settings["auto"]["ratio_median"],
        "ceiling": msgspec.to_builtins(roofline.decode_ceiling(header, threads)),
        "details": {
            "draft_model": draft.name,
            "draft_sha256": files.sha256_of(draft),
            "weights_ratio": roofline.bytes_per_token(gguf.read_header(draft)) / roofline.bytes_per_token(header),
            "load_average": machine.load_average(),
            "settings": settings,
        },
    }


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("draft", type=Path)
    parser.add_argument("--runs", type=int, default=2, help="passes over all prompts")
    parser.add_argument("--prompts", type=int, help="take only so many of the prompts")
    parser.add_argument("--threads", type=int, help="of the target; the draft model gets the cores that it leaves")
    parser.add_argument("--save", action="store_true", help=f"write the document to {RESULTS}")
    arguments = parser.parse_args()
    subject = Subject(arguments.target, arguments.draft, arguments.threads)
    started = time.perf_counter()
    try:
        found = measure(subject, prompts()[: arguments.prompts], arguments.runs)
    finally:
        subject.engine.close()
    made = document(found, arguments.target, arguments.draft)
    made["details"]["threads"] = arguments.threads
    made["details"]["seconds"] = time.perf_counter() - started
    print_table(made)
    if arguments.save:
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"draft-model-{arguments.draft.stem}-{time.strftime('%Y-%m-%d')}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    print(msgspec.json.encode(made).decode())


def print_table(made: dict[str, Any]) -> None:
    """Print a line for each setting, and the ceiling."""
    for name, one in made["details"]["settings"].items():
        accepted, hit = one["acceptance"] or 0.0, one["hit_rate"] or 0.0
        print(
            f"{name:5} {one['tokens_per_second']:6.1f} tok/s, {one['ratio_median']:.3f} of off, "
            f"{one['tokens_per_step']:.2f} tokens a step, {accepted:.0%} accepted, {hit:.0%} hits, "
            f"{one['same_text']} texts the same; steps: {one['steps_by_mode']}"
        )
    ceiling = made["ceiling"]
    print(f"ceiling of plain decoding: {ceiling['value']:.1f} tok/s ({ceiling['what']})")


if __name__ == "__main__":
    main()
