"""How to write differently what was taken back: another first token, a hint, the rule's own example."""

from firesteel.guard.finding import Retry, Rewind
from firesteel.guard.guard import Guard
from firesteel.guard.rules.catalogue import BY_ID

MAX_INDENT = 200
HASHED = frozenset(("python", "ruby", "bash"))


def retry_of(rewind: Rewind, guard: Guard) -> Retry:
    """Return what to try after `rewind`, the more the more often it was tried."""
    around = _around(rewind.to, guard)
    if rewind.attempt == 1 or around is None or guard.language is None:
        return Retry(method="ban", bans=True)
    rule = BY_ID[rewind.worst.rule]
    lines = [f"Secure way: {rule.hint}."]
    if rewind.attempt > 2:
        example = next((each for each in rule.examples if each.language == guard.language), None)
        if example is not None:
            lines += ["For example:", *example.good.rstrip().split("\n")]
    return Retry(method="hint" if rewind.attempt == 2 else "fix", hidden=_comment(lines, guard.language, *around))


def _comment(lines: list[str], language: str, begun: str, indent: str) -> str:
    """Return comment lines that go on from `begun`, the blanks that the line begins with, and leave it begun so."""
    mark = "# " if language in HASHED else "// "
    text = "".join([f"{indent}{mark}{line}\n" for line in lines])
    return text[len(begun) :] + begun


def _around(to: int, guard: Guard) -> tuple[str, str] | None:
    """Return the blanks before `to` in its line, and the line's indentation; None where code stands before."""
    before = guard.text_from(max(0, to - MAX_INDENT))[: min(to, MAX_INDENT)]
    begun = before[before.rfind("\n") + 1 :]
    if begun.strip(" \t"):
        return None
    line = guard.text_from(to).lstrip("\n")
    return begun, begun + line[: len(line) - len(line.lstrip(" \t"))]
