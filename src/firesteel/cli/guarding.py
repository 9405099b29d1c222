"""The guard of commands that run a model in their own process: what it is asked, and what people are told of it."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from firesteel.cli.options import option
from firesteel.config import GuardLevel
from firesteel.errors import GuardFailure
from firesteel.types import FinishReason, Prompt, Usage
from firesteel.verdict import Finding, GuardOrder, GuardReport

if TYPE_CHECKING:
    from firesteel.verdict import OpenGuard

GuardOption = Annotated[GuardLevel, option("guard")]


def opener(level: GuardLevel) -> "OpenGuard | None":
    """Return what opens guards, None where none is wanted. Raises GuardFailure for `block` with a broken guard."""
    if level == "off":
        return None
    from firesteel.guard.answer import open_guard
    from firesteel.guard.canary import missed

    if level == "block" and (broken := missed()):
        raise GuardFailure(f"the guard does not find its own examples of {', '.join(broken)}; use another --guard")
    return open_guard


def order_of(level: GuardLevel, prompt: Prompt, path: str | None = None) -> GuardOrder | None:
    """Return how the answer to `prompt` is guarded; `path` is the file that it is written into."""
    if level == "off":
        return None
    from firesteel.guard.order import placed

    return placed(GuardOrder(level=level, path=path), prompt)


def remarks(report: GuardReport | None, text: str, before: str = "", reason: FinishReason = "stop") -> list[str]:
    """Return what people are told of a guarded answer, a line each; nothing where all was well.

    Lines count from that of `before`, the code that the answer was written behind. `reason` is why it ended.
    """
    if report is None:
        return []
    told = [f"guard: took back vulnerable code {times(report.num_rewinds)}"] if report.num_rewinds else []
    told += [_found(finding, text, before) for finding in report.findings]
    if reason == "content_filter":
        told.append("guard: the answer ends here, since it could not be repaired")
    if report.num_failures:
        told.append("guard: it broke, so its silence means nothing; please report it")
    return told


def report_of(usage: Usage) -> Any:
    """Return what `--json` says of the guard, in the words of the HTTP API."""
    from firesteel.wire.guard import guard_of

    return msgspec.to_builtins(guard_of([usage.guard] if usage.guard is not None else []))


def times(number: int) -> str:
    """Return how often, in words."""
    return "once" if number == 1 else f"{number} times"


def _found(finding: Finding, text: str, before: str) -> str:
    line = before.count("\n") + text.count("\n", 0, max(0, finding.start)) + 1
    return f"guard: line {line}: {finding.reason} ({finding.rule}, {finding.cwe}); {finding.hint}"
