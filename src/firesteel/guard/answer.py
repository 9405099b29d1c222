"""The guard of one answer, as an engine asks it: after what stands before, with the time it takes, and never silent.

A defect of the guard ends no answer, unless the policy is to block: then nothing may go on unguarded.
"""

from time import perf_counter

import msgspec

from firesteel.errors import GuardFailure
from firesteel.guard import languages
from firesteel.guard.finding import Action, Finding, Hold, Release, Rewind, Verdict
from firesteel.guard.guard import VERSION, Guard
from firesteel.guard.policy import Policy
from firesteel.guard.retry import retry_of
from firesteel.verdict import GuardOrder, GuardReport

MAX_CONTEXT = 12_000  # code points before the answer that the guard knows of
CAPS = {"observe": Action.observe, "warn": Action.warn}


def policy_of(order: GuardOrder) -> Policy:
    """Return the policy that `order` asks for."""
    return Policy(
        actions=order.actions,
        ignored_paths=order.ignored_paths,
        honours_comments=order.honours_comments,
        gives_up=Action.block if order.level == "block" else Action.warn,
        at_most=CAPS.get(order.level, Action.block),
    )


class AnswerGuard:
    """A `Watcher`. Without `may_retry`, what is found is told, or ends the answer. Offsets are those of the answer.

    Raises GuardFailure where the policy blocks and the guard itself failed.
    """

    def __init__(self, order: GuardOrder, *, may_retry: bool = True) -> None:
        policy = policy_of(order)
        self._order = order
        self._blocks = order.blocks
        self._is_off = policy.ignores(order.path)
        self._failures = order.num_broken_rules
        self._seconds = 0.0
        language = languages.of_file(order.path) if order.path and order.language is None else order.language
        self._guard = Guard(
            languages.named(language), policy=policy, path=order.path, is_live=order.is_live, may_retry=may_retry
        )
        self._base = min(len(order.context), MAX_CONTEXT)
        if self._base:
            self._try(lambda: self._guard.begin_after(order.context[-self._base :]))

    def feed(self, text: str) -> Verdict:
        """Take the text of one more token; say what may leave."""
        if self._is_off:
            return Release(text)
        started = perf_counter()
        try:
            verdict = self._guard.feed(text)
        except Exception:
            return self._broke()
        self._seconds += perf_counter() - started
        if type(verdict) is Release and not verdict.findings:
            return verdict
        return self._told(verdict)

    def finish(self) -> Release | Rewind:
        """Take the end of the text; release what is held, or ask for one more rewind."""
        if self._is_off:
            return Release("")
        started = perf_counter()
        try:
            verdict = self._guard.finish()
        except Exception:
            return self._broke()
        self._seconds += perf_counter() - started
        told = self._told(verdict)
        assert not isinstance(told, Hold)
        return told

    def rewind(self, to: int) -> None:
        """Forget all text from code point `to` on."""
        if not self._is_off:
            started = perf_counter()
            self._try(lambda: self._guard.rewind(to + self._base))
            self._seconds += perf_counter() - started

    def report(self, num_retry_tokens: int) -> GuardReport:
        """Return what was done so far."""
        return GuardReport(
            version=VERSION,
            is_live=self._order.is_live,
            findings=tuple(self._moved(self._guard.findings)),
            num_rewinds=self._guard.num_rewinds,
            num_retry_tokens=num_retry_tokens,
            seconds=self._seconds,
            num_failures=self._failures + self._guard.failures,
        )

    def close(self) -> None:
        """Give back what the guard holds; it may be called twice."""
        self._guard.close()

    def _try(self, act: object) -> None:
        try:
            act()  # type: ignore[operator]
        except Exception:
            self._broke()

    def _broke(self) -> Release:
        """Stop guarding, or the answer; what was held leaves."""
        self._is_off = True
        self._failures += 1
        self._require_sound()
        return Release(self._guard.pending)

    def _require_sound(self) -> None:
        if self._blocks and self._failures + self._guard.failures:
            raise GuardFailure("the guard failed, and its policy is to let nothing pass unguarded; please report it")

    def _told(self, verdict: Verdict) -> Verdict:
        """Return `verdict` with offsets of the answer, and with a way to do it differently."""
        self._require_sound()
        findings = tuple(self._moved(verdict.findings))
        if isinstance(verdict, Release):
            return Release(verdict.text, findings)
        if isinstance(verdict, Hold):
            return Hold(since=verdict.since - self._base, findings=findings)
        retry = None
        if not verdict.is_final:
            retry = retry_of(verdict, self._guard, self._base)
            retry = msgspec.structs.replace(retry, hidden_at=max(0, retry.hidden_at - self._base))
        return msgspec.structs.replace(verdict, to=verdict.to - self._base, findings=findings, retry=retry)

    def _moved(self, findings: "tuple[Finding, ...] | list[Finding]") -> "list[Finding]":
        base = self._base
        if not base:
            return list(findings)
        return [
            msgspec.structs.replace(
                each,
                start=max(0, each.start - base),
                end=max(0, each.end - base),
                cause=max(0, each.cause - base),
                decided_at=each.decided_at - base,
            )
            for each in findings
        ]


class NoGuard:
    """Stands where a guard could not even begin: lets everything pass, and says that it is broken."""

    def __init__(self, order: GuardOrder) -> None:
        self._report = GuardReport(version=VERSION, is_live=order.is_live, num_failures=1)

    def feed(self, text: str) -> Verdict:
        """Let `text` pass."""
        return Release(text)

    def finish(self) -> Release | Rewind:
        """Let everything pass."""
        return Release("")

    def rewind(self, to: int) -> None:
        """Do nothing."""

    def report(self, num_retry_tokens: int) -> GuardReport:
        """Say that it is broken."""
        return self._report

    def close(self) -> None:
        """Do nothing."""


def open_guard(order: GuardOrder, may_retry: bool) -> AnswerGuard | NoGuard:
    """Return the guard of one answer. Raises GuardFailure where it cannot begin, and nothing may pass unguarded."""
    try:
        return AnswerGuard(order, may_retry=may_retry)
    except Exception as error:
        if order.blocks:
            raise GuardFailure(f"the guard cannot begin ({error!r}), and its policy is to block") from error
        return NoGuard(order)
