"""How to write differently what was taken back: a hint, the rule's own fix, an example and another first token."""

import re

from firesteel.guard.finding import Action, Retry, Rewind
from firesteel.guard.fixes import fixed
from firesteel.guard.guard import Guard
from firesteel.guard.rules.catalogue import BY_ID

MAX_BEFORE = 4_000  # code points that are looked at before a rewind's place
HASHED = frozenset(("python", "ruby", "bash"))
FENCE = re.compile(r"^[ \t>]*(?:```|~~~).*\n", re.MULTILINE)


def retry_of(rewind: Rewind, guard: Guard, first: int) -> Retry:
    """Return what to try after `rewind`: the more the more often it was tried. The answer begins at `first`."""
    before = guard.text_from(max(0, rewind.to - MAX_BEFORE))[: min(rewind.to, MAX_BEFORE)]
    before = FENCE.split(before)[-1]
    begun = before[before.rfind("\n") + 1 :]  # of the line, and out
    line = rewind.to - len(begun)
    if guard.language is None:
        return Retry(method="ban", bans=True)
    if rewind.attempt > 1:
        rules = [each.rule for each in rewind.findings if each.action.rank >= Action.rewrite.rank]
        head = before[: len(before) - len(begun)]
        text = fixed(begun, guard.text_from(rewind.to), head, guard.language, rules)
        if text is not None:
            return Retry(method="fix", text=text)
    if line < first:
        return Retry(method="ban", bans=True)
    is_last = rewind.attempt > 2
    hidden = _hint(rewind, guard, begun)
    return Retry(method="ban" if is_last else "hint", bans=is_last, hidden=hidden, hidden_at=line)


def _hint(rewind: Rewind, guard: Guard, begun: str) -> str:
    """Return comment lines, indented like the line that they stand before: the rule's hint, later its example, too."""
    rule, language = BY_ID[rewind.worst.rule], guard.language
    lines = [f"Secure way: {rule.hint}."]
    example = next((each for each in rule.examples if each.language == language), None)
    if rewind.attempt > 1 and example is not None:
        lines += ["For example:", *example.good.rstrip().split("\n")]
    whole = begun + guard.text_from(rewind.to).lstrip("\n")
    indent = whole[: len(whole) - len(whole.lstrip(" \t"))]
    mark = "# " if language in HASHED else "// "
    return "".join([f"{indent}{mark}{line}\n" for line in lines])
