"""What the guard finds and what it answers: the values that leave `firesteel.guard`.

Offsets are code points of the text that was fed, `end` exclusive.
"""

from enum import StrEnum

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


class Rewind(msgspec.Struct, frozen=True, kw_only=True):
    """Take the answer back to `to_token` tokens, that is to `to` code points, and write on differently.

    `is_cause_out`: the statement of the cause has been released, so the rewind reaches back only to what is held.
    `is_final`: the policy forbids another attempt, and the answer ends there.
    """

    to_token: int
    to: int
    findings: tuple[Finding, ...]
    hint: str
    is_cause_out: bool = False
    is_final: bool = False


Verdict = Release | Hold | Rewind
