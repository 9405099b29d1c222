"""What a guard finds and what it answers: where the engine and the guard meet, without knowing one another.

Offsets are code points of the text that was fed, `end` exclusive.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Literal, Protocol

import msgspec


class Action(StrEnum):
    """What happens to a finding, mildest first."""

    observe = "observe"  # counted
    warn = "warn"  # told to the client
    rewrite = "rewrite"  # taken back and written again
    block = "block"  # the answer ends

    @property
    def rank(self) -> int:
        """How far the action goes; 0 is the mildest."""
        return list(Action).index(self)


class Severity(StrEnum):
    """How bad it is when the finding is right."""

    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One vulnerable place. `cause` is where the statement begins that made it so, at or before `start`."""

    rule: str
    cwe: str
    severity: Severity
    action: Action
    start: int
    end: int
    cause: int
    decided_at: int  # how much text had been fed
    reason: str
    hint: str  # one line: how to do it right


class Release(msgspec.Struct, frozen=True, gc=False):
    """`text` may leave now. `findings` are those that do not stop it."""

    text: str
    findings: tuple[Finding, ...] = ()


class Hold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nothing leaves: the statement that began at `since` is under suspicion until it closes."""

    since: int
    findings: tuple[Finding, ...] = ()


Method = Literal["ban", "hint", "fix"]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How what was taken back is to be written differently.

    `bans`: the token that stood there must not stand there again. `hidden` is text that the model reads and nobody
    else; it stands before code point `hidden_at`. `text` is what is written next, as if the model had chosen it.
    """

    method: Method
    bans: bool = False
    hidden: str = ""
    hidden_at: int = 0
    text: str = ""


class Rewind(msgspec.Struct, frozen=True, kw_only=True):
    """Take the answer back to `to` code points, and write on differently.

    `is_cause_out`: the statement of the cause has been released, so the rewind reaches back only to what is held.
    `is_final`: the policy forbids another attempt, and the answer ends there.
    """

    to: int
    findings: tuple[Finding, ...]
    hint: str
    is_cause_out: bool = False
    is_final: bool = False
    attempt: int = 1
    retry: Retry | None = None

    @property
    def worst(self) -> Finding:
        """The finding for which text is taken back."""
        return max(self.findings, key=lambda each: each.action.rank)


Verdict = Release | Hold | Rewind
OpenGuard = Callable[["GuardOrder", bool], "Watcher"]  # the bool says whether text may be written differently
Level = Literal["observe", "warn", "rewrite", "block"]
"""How far the guard goes at most: `block` ends an answer that cannot be repaired, and needs a guard that works."""


class GuardOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one answer is to be guarded.

    `language` None: Markdown, whose fences say what they hold. `context` is code that stands right before the answer.
    `is_live`: the client can take text back, so it gets it at once.
    """

    language: str | None = None
    context: str = ""
    path: str | None = None
    is_live: bool = False
    level: Level = "rewrite"
    actions: dict[str, Action] = {}
    ignored_paths: tuple[str, ...] = ()
    honours_comments: bool = False
    num_broken_rules: int = 0  # at the start of the engine

    @property
    def blocks(self) -> bool:
        """Whether nothing may pass unguarded."""
        return self.level == "block" or Action.block in self.actions.values()


class GuardWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about its guard; what it leaves out is as the server has it."""

    mode: Literal["on", "live", "off"] | None = None
    level: Level | None = None
    actions: dict[str, Action] = {}
    language: str | None = None
    path: str | None = None


class GuardReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a guard did for one answer. Findings are those of the text that stayed."""

    version: str
    is_live: bool
    findings: tuple[Finding, ...] = ()
    num_rewinds: int = 0
    num_retry_tokens: int = 0  # chosen and taken back, or read as hints
    seconds: float = 0.0
    num_failures: int = 0  # of the guard itself: its silence then means nothing


class Watcher(Protocol):
    """A guard of one answer, as the engine sees it. No method raises."""

    def feed(self, text: str) -> Verdict:
        """Take the text of one more token; say what may leave."""
        ...

    def rewind(self, to: int) -> None:
        """Forget all text from code point `to` on."""
        ...

    def finish(self) -> Release | Rewind:
        """Take the end of the text; release what is held, or ask for one more rewind. It may go on afterwards."""
        ...

    def report(self, num_retry_tokens: int) -> GuardReport:
        """Return what was done so far."""
        ...

    def close(self) -> None:
        """Give back what the guard holds; it may be called twice."""
        ...
