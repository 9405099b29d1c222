"""The watcher of one answer: text in, and one of three answers out: release, hold, rewind.

Ordinary text flows at once. From the first token of what may become vulnerable, text is held until its statement has
ended. What is found then is told, or taken back, as the policy says. Nothing here knows a clock, a thread or a socket.
"""

from bisect import bisect_left, bisect_right

from firesteel.guard.finding import Action, Finding, Hold, Release, Rewind, Verdict
from firesteel.guard.policy import Policy
from firesteel.guard.watch import Watch

VERSION = "1"
MAX_HISTORY = 1 << 18  # pieces that a rewind can reach back over
MAX_REWINDS = 64  # of one answer; beyond, findings are told
EPISODE = 300  # code points from the first attempt within which another one is an attempt at the same


Piece = tuple[int, str]  # where the text begins, and the text


def start_of(piece: Piece) -> int:
    """Return the code point at which a piece begins."""
    return piece[0]


class Guard:
    """Watches one text. `language` None means Markdown: fenced blocks say what they are.

    `is_live` releases at once and rewinds over what has left; otherwise a rewind reaches back to what was released and
    no further. Without `can_rewind` findings are told only; without `may_retry`, a rewind only ends an answer.
    The result does not depend on how the text is cut.
    """

    def __init__(
        self,
        language: str | None = None,
        *,
        policy: Policy | None = None,
        path: str | None = None,
        is_live: bool = False,
        can_rewind: bool = True,
        may_retry: bool = True,
    ) -> None:
        self.policy = policy or Policy()
        self.findings: list[Finding] = []
        self.num_rewinds = 0
        self._language = language
        self._path = path
        self._is_live = is_live
        self._can_rewind = can_rewind
        self._may_retry = may_retry
        self._attempts: dict[str, tuple[int, int]] = {}  # by rule: where the first attempt began, and how many followed
        self._watch = Watch(language, self.policy, path)
        self._history: list[Piece] = []
        self._fed = self._base = 0  # code points; what stands before `_base` is not the answer's
        self._pending: list[Piece] = []  # held, or about to leave

    @property
    def language(self) -> str | None:
        """The language that is being written, None for one without rules."""
        return self._watch.language

    def text_from(self, start: int) -> str:
        """Return what was fed from code point `start` on, as far as it is remembered."""
        index = max(0, bisect_right(self._history, start, key=start_of) - 1)
        pieces = self._history[index:]
        return "".join([text for _, text in pieces])[start - pieces[0][0] :] if pieces else ""

    @property
    def pending(self) -> str:
        """What is held."""
        return "".join([text for _, text in self._pending])

    @property
    def failures(self) -> int:
        """How often the guard itself failed: above 0 its silence means nothing."""
        return self._watch.failures

    def begin_after(self, context: str) -> None:
        """Take what stands right before the text: it is known, but never told of nor taken back.

        Offsets count from its beginning.
        """
        self._history, self._base = [(0, context)], len(context)
        self._restart(self._history)

    def feed(self, text: str) -> Verdict:
        """Take more text and say what may leave. A rewind goes back to the beginning of such a piece."""
        start = self._fed
        self._fed = start + len(text)
        self._history.append((start, text))
        found = self._watch.feed(text)
        if not found and not self._pending and self._watch.is_calm:
            return Release(text)
        if len(self._history) > MAX_HISTORY:
            del self._history[: MAX_HISTORY // 2]
        self._pending.append((start, text))
        return self._decide(found) if found else self._flow(())

    def _flow(self, findings: tuple[Finding, ...]) -> Verdict:
        """Release what is pending, up to the piece in which the suspect statement begins."""
        suspect = None if self._is_live else self._watch.suspect_since
        count = len(self._pending)
        if suspect is not None:
            count = max(0, bisect_right(self._pending, suspect, key=start_of) - 1)
        text = "".join(piece[1] for piece in self._pending[:count])
        del self._pending[:count]
        if self._pending and not text:
            return Hold(since=self._pending[0][0], findings=findings)
        return Release(text=text, findings=findings)

    def _decide(self, found: list[Finding]) -> Verdict:
        serious = [each for each in found if each.action.rank >= Action.rewrite.rank]
        if serious and self._can_rewind:
            verdict = self._rewound(found, serious)
            if verdict is not None:
                return verdict
        self.findings.extend(found)
        return self._flow(tuple(found))

    def _rewound(self, found: list[Finding], serious: list[Finding]) -> Rewind | None:
        """Return the rewind that `serious` findings ask for, None when nothing of them can be taken back (any more)."""
        worst = max(serious, key=lambda each: each.action.rank)
        cause = min(each.cause for each in serious)
        pieces = self._history if self._is_live else self._pending
        index = max(0, bisect_right(pieces, cause, key=start_of) - 1)
        target = max(pieces[index][0], self._base)
        if target >= max(each.end for each in serious):
            return None  # it is out
        attempt = self._attempt(serious, target)
        has_given_up = attempt > self.policy.max_attempts or self.num_rewinds >= MAX_REWINDS or not self._may_retry
        is_final = worst.action is Action.block or (has_given_up and self.policy.gives_up is Action.block)
        if has_given_up and not is_final:
            return None
        self.findings.extend(found)
        self.num_rewinds += 1
        return Rewind(
            to=target,
            findings=tuple(found),
            hint=worst.hint,
            is_cause_out=cause < target,
            is_final=is_final,
            attempt=attempt,
        )

    def _attempt(self, serious: list[Finding], start: int) -> int:
        """Count one more attempt at the text from `start` on; return the highest number of any of its rules."""
        highest = 1
        for rule in {each.rule for each in serious}:
            first, count = self._attempts.get(rule, (start, 0))
            if abs(start - first) > EPISODE:
                first, count = start, 0
            self._attempts[rule] = first, count + 1
            highest = max(highest, count + 1)
        return highest

    def rewind(self, to: int) -> None:
        """Forget everything from code point `to` on."""
        index = bisect_left(self._history, to, key=start_of)
        kept = self._history[:index]
        if kept and kept[-1][0] + len(kept[-1][1]) > to:
            start, text = kept[-1]
            kept[-1] = (start, text[: to - start])
        self._restart(kept)

    def _restart(self, kept: list[Piece]) -> None:
        failures = self._watch.failures
        self._watch.close()
        self._watch = Watch(self._language, self.policy, self._path)
        self._watch.failures = failures
        self._watch.is_replaying = True
        self._watch.begin_at(kept[0][0] if kept else 0)
        for piece in kept:
            self._watch.feed(piece[1])
        self._watch.is_replaying = False
        end = self._watch.fed
        self._history = kept
        # What was decided later was decided by text that is gone, also where it is about text that stays.
        self.findings = [each for each in self.findings if each.end <= end and each.decided_at <= end]
        self._pending = [(start, text[: end - start]) for start, text in self._pending if start < end]
        self._fed = end

    def finish(self) -> Release | Rewind:
        """Take the end of the text; release what is held, or ask for one more rewind."""
        found = self._watch.finish()
        serious = [each for each in found if each.action.rank >= Action.rewrite.rank]
        if serious and self._can_rewind and (self._pending or self._is_live):
            verdict = self._rewound(found, serious)
            if verdict is not None:
                return verdict
        self.findings.extend(found)
        text = self.pending
        self._pending = []
        return Release(text=text, findings=tuple(found))

    def close(self) -> None:
        """Give back what the guard holds; it may be called twice."""
        self._watch.close()
