"""Trains the sentinel, measures it on held-out folds, and lets it do what those figures allow."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from firesteel.guard.finding import Action
from firesteel.guard.rules.learned import LEARNED
from firesteel.guard.sentinel import BUCKETS, Head, Sentinel, packed
from firesteel.train.samples import NUM_FOLDS, Sample, of_examples, of_ordinary, of_pairs, read_pairs
from firesteel.train.softmax import fit

VERSION = 1
WIDTH = len(LEARNED) + 1
THRESHOLDS = tuple(each / 100 for each in range(20, 100, 5))
SHOWN = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
DOUBTS = tuple(each / 100 for each in range(1, 31))
MAX_LOST = 0.03  # of the true rewrites, that doubt may turn into warnings
LADDER = (  # what held-out precision, and how many findings of pairs, earn
    (Action.rewrite, 0.95, 30),
    (Action.warn, 0.85, 10),
    (Action.observe, 0.6, 2),
)
Scored = list[tuple[Sample, list[float]]]


def train(data: Path, ordinary: Path, called: str, say: Callable[[str], None]) -> tuple[bytes, Head]:
    """Return a file of weights and its head; `called` is what the card says about `ordinary`. Raises ConfigError."""
    pairs = read_pairs(data)
    say(f"{len(pairs)} pairs; looking at statements")
    of_data = [*of_pairs(pairs), *of_examples()]
    samples = of_data + list(of_ordinary(ordinary))
    scored: Scored = []
    for fold in range(NUM_FOLDS):
        say(f"fold {fold + 1} of {NUM_FOLDS}")
        kept = fitted([each for each in samples if each.fold != fold])
        scored += [(each, kept.chances(list(each.features))) for each in samples if each.fold == fold]
    say("all samples")
    final = fitted(samples)
    head = measured(final, scored, {"pairs": len(pairs), "ordinary": called}, samples)
    return packed(head, final.weights), head


def fitted(samples: Sequence[Sample]) -> Sentinel:
    """Return a sentinel that has learnt from `samples`, with no leave to do anything."""
    taught = [each for each in samples if each.label >= 0]
    importance = [4.0 if each.label else 1.0 if each.case else 0.5 for each in taught]
    weights, scale = fit(
        [each.features for each in taught], [each.label for each in taught], importance, BUCKETS, WIDTH
    )
    head = Head(
        version=VERSION,
        scale=scale,
        checksum=zlib.crc32(weights),
        find_at=None,
        find_action=Action.observe,
        doubt_below=0.0,
        figures={},
    )
    return Sentinel(head, weights)


def measured(final: Sentinel, scored: Scored, about: dict[str, Any], samples: Sequence[Sample]) -> Head:
    """Return the head: thresholds chosen on what each fold's sentinel said of statements that it had not seen."""
    finds = [found_at(scored, at) for at in THRESHOLDS]
    doubts = [doubted_below(scored, below) for below in DOUBTS]
    action, chosen = next(
        ((action, each) for action, least, count in LADDER for each in finds if earns(each, least, count)),
        (Action.observe, None),
    )
    doubt = max((each for each in doubts if each["lost"] <= MAX_LOST * each["true"]), key=lambda each: each["below"])
    figures = about | {
        "folds": NUM_FOLDS,
        "statements": counted(samples),
        "finds": finds,
        "doubts": [each for each in doubts if each["below"] in (*SHOWN, doubt["below"])],
        "chosen": {"find": chosen, "doubt": doubt},
    }
    return Head(
        version=VERSION,
        scale=final.head.scale,
        checksum=final.head.checksum,
        find_at=None if chosen is None else chosen["at"],
        find_action=action,
        doubt_below=doubt["below"],
        figures=figures,
    )


def counted(samples: Sequence[Sample]) -> dict[str, int]:
    """Return how many statements of each kind there are."""
    return {
        "vulnerable": sum(each.label > 0 for each in samples),
        "mended or good": sum(each.label == 0 and not each.is_ordinary for each in samples),
        "ordinary": sum(each.is_ordinary for each in samples),
    }


def earns(found: dict[str, Any], precision: float, count: int) -> bool:
    """Whether findings are right often enough, and enough of them."""
    return bool(found["right"] >= count and found["precision"] >= precision)


def found_at(scored: Scored, at: float) -> dict[str, Any]:
    """Return how the sentinel fares alone, where no rule speaks: pairs, and statements of ordinary code."""
    known = {(each.case, each.side) for each, _ in scored if each.case and each.found}
    sides: dict[str, set[str]] = {"vulnerable": set(), "fixed": set()}
    ordinary = 0
    for each, chances in scored:
        likeliest = max(range(1, WIDTH), key=chances.__getitem__)
        if not each.silent or chances[likeliest] < at:
            continue
        if each.is_ordinary:
            ordinary += 1
        elif each.case and likeliest == each.wanted and (each.case, each.side) not in known:
            sides[each.side].add(each.case)
    right, wrong = len(sides["vulnerable"]), len(sides["fixed"])
    precision = round(right / (right + wrong), 3) if right + wrong else 0.0
    return {"at": at, "right": right, "wrong": wrong, "precision": precision, "ordinary": ordinary}


def doubted_below(scored: Scored, below: float) -> dict[str, Any]:
    """Return how many rewrites of rules the sentinel would turn into warnings: right ones, and others."""
    true = [1 - chances[0] for each, chances in scored if is_true(each)]
    false = [1 - chances[0] for each, chances in scored if each.rewritten and each.label == 0]
    return {
        "below": below,
        "true": len(true),
        "lost": sum(each < below for each in true),
        "false": len(false),
        "removed": sum(each < below for each in false),
    }


def is_true(sample: Sample) -> bool:
    """Whether a rule rightly takes a statement back."""
    return sample.rewritten and sample.label > 0
