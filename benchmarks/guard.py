"""What the guard finds, what it finds in vain, what it costs, and how soon it decides.

    .venv/bin/python benchmarks/guard.py quality SET.jsonl... [--peers peers/bin/python] [--model MODEL.gguf] [--save]
    .venv/bin/python benchmarks/guard.py ordinary FOLDER [--save]
    .venv/bin/python benchmarks/guard.py cost FOLDER [--rounds 3] [--save]

A SET holds lines {"language", "cwe", "file", "vulnerable", "fixed", "vulnerable_spans"}; a finding counts only with a
fitting CWE. FOLDER holds unpacked packages. `--peers` runs CodeShield and Bandit on the same texts in the same run, see
guard_peers.py; `--model` counts delays in tokens of its vocabulary. Each ends in one JSON line.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from guard_cost import cost, sources, spread

from firesteel import machine
from firesteel.guard import Finding, Guard
from firesteel.guard.languages import named
from firesteel.guard.scan import scan, tokens_of

RESULTS = Path(__file__).parent / "results"
GROUPS = (
    {22, 23, 29, 36, 73},
    {77, 78, 88},
    {79, 80, 116},
    {89},
    {94, 95, 1336},
    {502},
    {326, 327, 328, 916},
    {377, 379},
    {611, 776},
    {295, 297},
    {330, 338},
    {119, 120, 121, 122, 134, 242, 676, 787},
    {601},
    {918},
    {732},
    {798, 259},
)
KNOWN = frozenset().union(*GROUPS)
Split = Callable[[str], list[str]]


def number(cwe: str) -> int:
    found = re.search(r"\d+", cwe)
    return int(found[0]) if found else -1


def fits(found: str, wanted: str) -> bool:
    """Whether a CWE is the wanted one or of its class."""
    first, second = number(found), number(wanted)
    return first == second or any(first in group and second in group for group in GROUPS)


def cases_of(paths: list[str]) -> list[dict[str, Any]]:
    """Return the pairs whose class the guard has rules for, each with a name."""
    cases = []
    for path in paths:
        for index, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines()):
            case = json.loads(line)
            if number(case["cwe"]) in KNOWN:
                cases.append(case | {"id": f"{Path(path).stem}-{index}", "set": Path(path).stem})
    return cases


def asked_peers(python: str, cases: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the peers say of both sides of every pair; `python` may also name a file of their answers."""
    sides = [(case, side) for case in cases for side in ("vulnerable", "fixed")]
    lines = "\n".join(
        json.dumps({"id": f"{case['id']}-{side}", "language": case["language"], "text": case[side]})
        for case, side in sides
    )
    if python.endswith(".jsonl"):
        answers = Path(python).read_text(encoding="utf-8")
    else:
        command = [python, str(Path(__file__).with_name("guard_peers.py"))]
        answers = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    return {answer["id"]: answer for answer in map(json.loads, answers.splitlines())}


def scored(cases: list[dict[str, Any]], says: Callable[[dict[str, Any], str], bool]) -> dict[str, Any]:
    """Return precision, recall and false-positive rate in all, by class and by language."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for case in cases:
        for key in (("all", ""), ("class", case["cwe"]), ("language", case["language"])):
            counts[key]["pairs"] += 1
            counts[key]["found"] += says(case, "vulnerable")
            counts[key]["false"] += says(case, "fixed")
    return {" ".join(key).strip(): figures(count) for key, count in sorted(counts.items())}


def figures(count: Counter[str]) -> dict[str, Any]:
    told = count["found"] + count["false"]
    return {
        "pairs": count["pairs"],
        "found": count["found"],
        "false": count["false"],
        "precision": round(count["found"] / told, 3) if told else None,
        "recall": round(count["found"] / count["pairs"], 3),
        "false_positive_rate": round(count["false"] / count["pairs"], 3),
    }


def quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every set, ours and the peers'."""
    cases = cases_of(arguments.paths)
    split = splitter(arguments.model)
    ours = {
        (case["id"], side): found_in(case[side], case["language"], split)
        for case in cases
        for side in ("vulnerable", "fixed")
    }
    peers = asked_peers(arguments.peers, cases) if arguments.peers else {}
    sets = {}
    for name in sorted({case["set"] for case in cases}):
        sets[name] = of_set([case for case in cases if case["set"] == name], ours, peers)
    details = {"sets": sets, "delay": delays(cases, ours, split), "tokenizer": arguments.model or "pieces of scan.py"}
    recalls = [sets[name]["ours"]["all"]["recall"] for name in sets]
    return {"unit": "recall", "ours": recalls, "peer": peer_values(sets), "details": details}


def found_in(text: str, language: str, split: Split) -> list[Finding]:
    guard = Guard(named(language), can_rewind=False)
    for piece in split(text):
        guard.feed(piece)
    guard.finish()
    assert guard.failures == 0, "the guard failed"
    return guard.findings


def of_set(
    cases: list[dict[str, Any]], ours: dict[tuple[str, str], list[Finding]], peers: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    def guard(at_least: int) -> Callable[[dict[str, Any], str], bool]:
        return lambda case, side: any(
            fits(each.cwe, case["cwe"]) and each.action.rank >= at_least for each in ours[case["id"], side]
        )

    def peer(name: str) -> Callable[[dict[str, Any], str], bool]:
        return lambda case, side: any(fits(cwe, case["cwe"]) for cwe in peers[f"{case['id']}-{side}"][name])

    found = {"ours": scored(cases, guard(0)), "ours at warn": scored(cases, guard(1))["all"]}
    found["ours at rewrite"] = scored(cases, guard(2))["all"]
    if peers:
        found |= {name: scored(cases, peer(name)) for name in ("codeshield", "bandit")}
        found["codeshield_ms"] = spread([each["codeshield_ms"] for each in peers.values() if each["codeshield_ms"]])
    python = [case for case in cases if case["language"] == "python"]
    found["python only"] = {"ours": scored(python, guard(0))["all"]} if python else {}
    for name in ("codeshield", "bandit") if peers and python else ():
        found["python only"][name] = scored(python, peer(name))["all"]
    found["missed"] = [
        f"{case['id']} {case['cwe']} {case['language']}" for case in cases if not guard(0)(case, "vulnerable")
    ]
    return found


def peer_values(sets: dict[str, Any]) -> dict[str, Any] | None:
    if not all("bandit" in each for each in sets.values()):
        return None
    return {
        "name": "codeshield, bandit",
        "values": [[each[n]["all"]["recall"] for n in ("codeshield", "bandit")] for each in sets.values()],
    }


def splitter(model: str | None) -> Split:
    """Return what cuts text into tokens: the model's own, or pieces about as long."""
    if model is None:
        return lambda text: list(tokens_of(text))
    from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer
    from firesteel.engine.detokenize import Detokenizer

    tokenizer = LlamaTokenizer(model)

    def split(text: str) -> list[str]:
        detokenizer = Detokenizer(tokenizer.piece)
        return [piece for token in tokenizer.encode(text, special=False) if (piece := detokenizer.feed([token]))]

    return split


def delays(cases: list[dict[str, Any]], ours: dict[tuple[str, str], list[Finding]], split: Split) -> dict[str, Any]:
    """Return, by class, tokens from the first vulnerable character to the decision, and to the end of its line."""
    waits: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for case in cases:
        spans = case["vulnerable_spans"]
        if not spans:
            continue
        begin, text = spans[0][0], case["vulnerable"]
        decided = [each for each in ours[case["id"], "vulnerable"] if fits(each.cwe, case["cwe"]) and each.end > begin]
        if decided:
            first = min(decided, key=lambda each: each.decided_at)
            length = len(split(text[min(first.cause, first.start) : first.decided_at]))
            wait = len(split(text[begin : first.decided_at])) if first.decided_at > begin else 0
            waits[case["cwe"]].append((wait, length))
            waits["all"].append((wait, length))
    return {
        cwe: {
            "pairs": len(each),
            "tokens": spread([wait for wait, _ in each]),
            "tokens of cause to decision": spread([length for _, length in each]),
        }
        for cwe, each in sorted(waits.items())
    }


def ordinary(arguments: argparse.Namespace) -> dict[str, Any]:
    """Count findings in code that is believed to be good."""
    lines: Counter[str] = Counter()
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for path, text in sources(arguments.paths[0]):
        relative = path.relative_to(arguments.paths[0])
        package = relative.parts[0]
        lines[package] += text.count("\n")
        for each in scan(text, "python", path=str(relative)):
            found[package][each.action] += 1
            found["rules"][f"{each.rule} {each.action}"] += 1
    total = sum(lines.values())
    rules = dict(found.pop("rules", Counter()).most_common())
    counts = {action: sum(each[action] for each in found.values()) for action in ("observe", "warn", "rewrite")}
    rates = {action: round(count / total * 1000, 4) for action, count in counts.items()}
    packages = {name: {"lines": lines[name], **found[name]} for name in sorted(lines)}
    details = {"lines": total, "counts": counts, "per 1,000 lines": rates, "rules": rules, "packages": packages}
    return {"unit": "findings at rewrite in 1,000 lines", "ours": [rates["rewrite"]], "peer": None, "details": details}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("quality", "ordinary", "cost"))
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--peers", help="a Python with codeshield, semgrep 1.78 and bandit")
    parser.add_argument("--model", help="a GGUF file whose tokens count delays")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="of the files, take each n-th")
    parser.add_argument("--save", action="store_true", help="keep the document in benchmarks/results")
    arguments = parser.parse_args()
    report = {"quality": quality, "ordinary": ordinary, "cost": cost}[arguments.kind](arguments)
    document = (
        {
            "kind": f"guard-{arguments.kind}",
            "workload": [Path(each).name for each in arguments.paths],
            "model": None,
            "machine": msgspec.to_builtins(machine.describe()),
        }
        | {"ceiling": None}
        | report
    )
    if arguments.save:
        path = RESULTS / f"guard-{arguments.kind}-{date.today().isoformat()}.json"
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"kept in {path}", file=sys.stderr)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
