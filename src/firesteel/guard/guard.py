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


Piece = tuple[int, int, int, str]  # where the text begins, its first and last token, the text


def start_of(piece: Piece) -> int:
    """Return the code point at which a piece begins."""
    return piece[0]


def first_token_of(piece: Piece) -> int:
    """Return the first token of a piece."""
    return piece[1]


class Guard:
    """Watches one text. `language` None means Markdown: fenced blocks say what they are.

    `is_live` releases at once and rewinds over what has left; otherwise a rewind reaches back to what was released and
    no further. Without `can_rewind` findings are told only. The result does not depend on how the text is cut.
    """

    def __init__(
        self,
        language: str | None = None,
        *,
        policy: Policy | None = None,
        path: str | None = None,
        is_live: bool = False,
        can_rewind: bool = True,
    ) -> None:
        self.policy = policy or Policy()
        self.findings: list[Finding] = []
        self.num_rewinds = 0
        self._language = language
        self._path = path
        self._is_live = is_live
        self._can_rewind = can_rewind
        self._attempts: dict[tuple[str, int], int] = {}
        self._watch = Watch(language, self.policy, path)
        self._history: list[Piece] = []
        self._fed = 0  # code points
        self._pending: list[Piece] = []  # held, or about to leave

    @property
    def failures(self) -> int:
        """How often the guard itself failed: above 0 its silence means nothing."""
        return self._watch.failures

    def feed(self, text: str, first_token: int, last_token: int) -> Verdict:
        """Take the text of tokens `first_token` to `last_token` (inclusive) and say what may leave."""
        start = self._fed
        self._fed = start + len(text)
        self._history.append((start, first_token, last_token, text))
        found = self._watch.feed(text)
        if not found and not self._pending and self._watch.is_calm:
            return Release(text)
        if len(self._history) > MAX_HISTORY:
            del self._history[: MAX_HISTORY // 2]
        self._pending.append((start, first_token, last_token, text))
        return self._decide(found) if found else self._flow(())

    def _flow(self, findings: tuple[Finding, ...]) -> Verdict:
        """Release what is pending, up to the piece in which the suspect statement begins."""
        suspect = None if self._is_live else self._watch.suspect_since
        count = len(self._pending)
        if suspect is not None:
            count = max(0, bisect_right(self._pending, suspect, key=start_of) - 1)
        text = "".join(piece[3] for piece in self._pending[:count])
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
        target = pieces[index]
        if target[0] >= max(each.end for each in serious):
            return None  # it is out
        has_given_up = self._has_given_up(serious, target[0])
        is_final = worst.action is Action.block or (has_given_up and self.policy.gives_up is Action.block)
        if has_given_up and not is_final:
            return None
        self.findings.extend(found)
        self.num_rewinds += 1
        return Rewind(
            to_token=target[1],
            to=target[0],
            findings=tuple(found),
            hint=worst.hint,
            is_cause_out=cause < target[0],
            is_final=is_final,
        )

    def _has_given_up(self, serious: list[Finding], start: int) -> bool:
        """Count one more attempt at the text from `start` on; say whether that was one too many."""
        keys = {(each.rule, start) for each in serious}
        for key in keys:
            self._attempts[key] = self._attempts.get(key, 0) + 1
        return any(self._attempts[key] > self.policy.max_attempts for key in keys)

    def rewind(self, to_token: int) -> int:
        """Forget everything from token `to_token` on; return the token from which text must be fed again.

        That is `to_token`, unless it lies inside a piece: then it is the first token of that piece.
        """
        index = bisect_left(self._history, to_token, key=first_token_of)
        if index and self._history[index - 1][2] >= to_token:
            index -= 1
        kept = self._history[:index]
        stands_at = kept[-1][2] + 1 if kept else self._history[0][1] if self._history else to_token
        self._restart(kept)
        return min(stands_at, to_token) if index < len(self._history) or not kept else stands_at

    def _restart(self, kept: list[Piece]) -> None:
        failures = self._watch.failures
        self._watch.close()
        self._watch = Watch(self._language, self.policy, self._path)
        self._watch.failures = failures
        self._watch.is_replaying = True
        self._watch.begin_at(kept[0][0] if kept else 0)
        for piece in kept:
            self._watch.feed(piece[3])
        self._watch.is_replaying = False
        end = self._watch.fed
        self._history = kept
        # What was decided later was decided by text that is gone, also where it is about text that stays.
        self.findings = [each for each in self.findings if each.end <= end and each.decided_at <= end]
        self._pending = [piece for piece in self._pending if piece[0] < end]
        self._fed = end

    def finish(self) -> Release | Rewind:
        """Take the end of the text; release what is held, or ask for one more rewind."""
        found = self._watch.finish()
        serious = [each for each in found if each.action.rank >= Action.rewrite.rank]
        if serious and self._can_rewind and self._pending:
            verdict = self._rewound(found, serious)
            if verdict is not None:
                return verdict
        self.findings.extend(found)
        text = "".join(piece[3] for piece in self._pending)
        self._pending = []
        return Release(text=text, findings=tuple(found))

    def close(self) -> None:
        """Give back what the guard holds; it may be called twice."""
        self._watch.close()
