"""What requests say of their guard, and what responses and events say of what it did."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from firesteel.types import Guarded
from firesteel.verdict import Action, Finding, GuardReport, Level

RulePrefix = Annotated[str, Meta(pattern="^FS[0-9]{0,3}$")]


class GuardBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`firesteel.guard` of a request. `language` and `path` say what the answer is, where its text does not."""

    mode: Literal["on", "live", "off"] | None = None
    level: Level | None = None
    actions: dict[RulePrefix, Action] | None = None
    language: Annotated[str, Meta(max_length=64)] | None = None
    path: Annotated[str, Meta(max_length=4096)] | None = None


class FiresteelBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`firesteel` of a request: what other servers do not have."""

    guard: GuardBody | None = None


class WireFinding(msgspec.Struct, kw_only=True):
    """One vulnerable place: code points of the answer, the end exclusive."""

    rule: str
    cwe: str
    severity: str
    action: str
    start: int
    end: int
    reason: str
    hint: str


class WireGuard(msgspec.Struct, kw_only=True):
    """What the guard did for a response. `findings` are those of the text that stayed; `choice` 0 has none of its own.

    `retry_tokens` were taken back or read as hints. `failures` above 0: the guard broke, and its silence means nothing.
    """

    on: bool
    version: str | UnsetType = UNSET
    mode: Literal["plain", "live"] | UnsetType = UNSET
    findings: list[WireFinding] | UnsetType = UNSET
    rewinds: int | UnsetType = UNSET
    retry_tokens: int | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    failures: int | UnsetType = UNSET


class GuardEvent(msgspec.Struct, kw_only=True):
    """What the guard says at this place of a stream. Of a rewind, `to` code points of the visible text still stand."""

    type: Literal["firesteel.guard.finding", "firesteel.guard.rewind", "firesteel.guard.resume"]
    rule: str
    cwe: str
    severity: str
    action: str
    reason: str
    hint: str
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    to: int | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    method: str | UnsetType = UNSET


def finding_of(finding: Finding, shift: int = 0) -> WireFinding:
    """Return a finding as it is sent; `shift` code points stand before the answer."""
    return WireFinding(
        rule=finding.rule,
        cwe=finding.cwe,
        severity=finding.severity,
        action=finding.action,
        start=finding.start + shift,
        end=finding.end + shift,
        reason=finding.reason,
        hint=finding.hint,
    )


def event_of(event: Guarded, shift: int = 0) -> GuardEvent:
    """Return an event as it is sent; `shift` code points stand before the answer."""
    finding = event.finding
    is_finding = event.kind == "finding"
    return GuardEvent(
        type=f"firesteel.guard.{event.kind}",  # type: ignore[arg-type]
        rule=finding.rule,
        cwe=finding.cwe,
        severity=finding.severity,
        action=finding.action,
        reason=finding.reason,
        hint=finding.hint,
        start=finding.start + shift if is_finding else UNSET,
        end=finding.end + shift if is_finding else UNSET,
        to=event.num_text + shift if event.kind == "rewind" else UNSET,
        attempt=event.attempt or UNSET,
        method=event.method or UNSET,
    )


def guard_of(reports: list[GuardReport]) -> WireGuard:
    """Return what the guards of all choices did together; none of them means that it was off."""
    if not reports:
        return WireGuard(on=False)
    return WireGuard(
        on=True,
        version=reports[0].version,
        mode="live" if reports[0].is_live else "plain",
        findings=[finding_of(finding) for report in reports for finding in report.findings],
        rewinds=sum(report.num_rewinds for report in reports),
        retry_tokens=sum(report.num_retry_tokens for report in reports),
        seconds=sum(report.seconds for report in reports),
        failures=sum(report.num_failures for report in reports),
    )
