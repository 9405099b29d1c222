"""Findings as people and machines read them: places in lines and columns, JSON, SARIF 2.1.0."""

from bisect import bisect_right
from typing import Any
from urllib.parse import quote

import msgspec

from firesteel.guard.finding import Action, Finding, Severity
from firesteel.guard.rules.base import Rule

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {Action.observe: "note", Action.warn: "warning", Action.rewrite: "error", Action.block: "error"}
SCORES = {Severity.low: "3.0", Severity.medium: "5.5", Severity.high: "8.0", Severity.critical: "9.5"}


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in a file; lines and columns count from 1, columns in code points."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    excerpt: str  # the first line of the place
    finding: Finding

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        whole: dict[str, Any] = msgspec.to_builtins(self)
        finding: dict[str, Any] = whole.pop("finding")
        return whole | finding


def located(path: str, text: str, findings: list[Finding]) -> list[Located]:
    """Return the findings of a text with their lines and columns."""
    starts = [0]
    for each_line in text.split("\n"):
        starts.append(starts[-1] + len(each_line) + 1)
    found = []
    for each in findings:
        line, end_line = bisect_right(starts, each.start), bisect_right(starts, max(each.start, each.end - 1))
        begin = starts[line - 1]
        found.append(
            Located(
                path=path,
                line=line,
                column=each.start - begin + 1,
                end_line=end_line,
                end_column=each.end - starts[end_line - 1] + 1,
                excerpt=text[begin : starts[line] - 1][:400],
                finding=each,
            )
        )
    return found


def human(each: Located) -> str:
    """Return a finding with its excerpt and the way to do it right, several lines."""
    finding = each.finding
    gutter = f"{each.line:>6} | "
    shown = each.excerpt.replace("\t", " ")
    width = max(
        1, min(len(shown), (each.end_column if each.end_line == each.line else len(shown) + 1) - 1) - each.column + 1
    )
    return "\n".join(
        (
            f"{each.path}:{each.line}:{each.column}: {finding.rule} {finding.severity} {finding.cwe}: "
            f"{finding.reason} [{finding.action}]",
            f"{gutter}{shown}",
            f"{' ' * (len(gutter) - 2)}| {' ' * (each.column - 1)}{'^' * width}",
            f"{' ' * (len(gutter) - 2)}= {finding.hint}",
        )
    )


def sarif(found: list[Located], rules: tuple[Rule, ...], version: str) -> dict[str, Any]:
    """Return a SARIF 2.1.0 log of one run."""
    order = {rule.id: index for index, rule in enumerate(rules)}
    driver = {
        "name": "firesteel guard",
        "semanticVersion": version,
        "rules": [_sarif_rule(rule) for rule in rules],
    }
    results = [_sarif_result(each, order) for each in found]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.title.split()),
        "shortDescription": {"text": rule.title},
        "help": {"text": rule.hint},
        "defaultConfiguration": {"level": LEVELS[rule.action]},
        "properties": {"tags": ["security", *rule.cwe], "security-severity": SCORES[rule.severity]},
    }


def _sarif_result(each: Located, order: dict[str, int]) -> dict[str, Any]:
    finding = each.finding
    region = {
        "startLine": each.line, "startColumn": each.column, "endLine": each.end_line, "endColumn": each.end_column,
        "snippet": {"text": each.excerpt},
    }  # fmt: skip
    place = {"artifactLocation": {"uri": quote(each.path.replace("\\", "/"))}, "region": region}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": LEVELS[finding.action],
        "message": {"text": f"{finding.reason}. {finding.hint}"},
        "locations": [{"physicalLocation": place}],
    }
    if finding.rule in order:
        result["ruleIndex"] = order[finding.rule]
    return result
