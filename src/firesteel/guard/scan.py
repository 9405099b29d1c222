"""Whole texts through the guard: files, standard input, lines of an evaluation."""

import re
from collections.abc import Iterator

from firesteel.errors import GuardFailure
from firesteel.guard.finding import Finding
from firesteel.guard.guard import Guard
from firesteel.guard.policy import Policy

TOKEN = re.compile(r"\n|[ \t]*\w{1,12}|[ \t]*[^\w\s]{1,3}|[ \t]+|\s")  # about four characters, as a model's tokens are


def tokens_of(text: str) -> Iterator[str]:
    """Yield pieces of `text` about as long as a model's tokens."""
    return (found[0] for found in TOKEN.finditer(text))


def scan(
    text: str, language: str | None, *, policy: Policy | None = None, path: str | None = None, by_token: bool = False
) -> list[Finding]:
    """Return what the guard finds in a whole text, in order. `by_token` makes `decided_at` mean something.

    Raises GuardFailure where the guard itself failed: what it did not find then means nothing.
    """
    guard = Guard(language, policy=policy, path=path, can_rewind=False)
    pieces = tokens_of(text) if by_token else text.splitlines(keepends=True)
    for piece in pieces:
        guard.feed(piece)
    guard.finish()
    guard.close()
    if guard.failures:
        raise GuardFailure(
            f"{path or 'the text'}: the guard failed on {guard.failures} of its statements; please report it"
        )
    return sorted(guard.findings, key=lambda finding: (finding.start, finding.rule))
