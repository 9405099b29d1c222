"""Taking back what was said: asked for from outside, or by the guard, which then has it written differently."""

from collections.abc import Callable

from firesteel.engine.checks import may_rewind_to
from firesteel.engine.guarded_sequence import GuardedSequence
from firesteel.engine.residence import Residence
from firesteel.engine.sequence import Sequence
from firesteel.errors import EngineFailure
from firesteel.types import Delta, Event, Guarded, Tokenizer
from firesteel.verdict import Finding, Retry, Rewind

MIN_ROOM = 256  # tokens of the context that must be free behind a hint: more than are written before it leaves


class TakeBack:
    """Lets text, KV, penalties, grammar, drafts and usage of a sequence go back together."""

    def __init__(
        self, tokenizer: Tokenizer, residence: Residence, emit: Callable[[Event], None], max_tokens: int
    ) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens  # of one sequence
        self._residence = residence
        self._emit = emit

    def asked(self, sequence: Sequence, to_token: int, ban: tuple[int, ...], hint: tuple[int, ...]) -> None:
        """Do what `EngineClient.rewind` says. Raises EngineFailure for tokens that cannot be."""
        if not may_rewind_to(ban, hint, self._tokenizer):
            raise EngineFailure("`ban` or `hint` holds a token that this model cannot say")
        if isinstance(sequence, GuardedSequence):
            sequence.reveal()
        rewound = sequence.rewind(to_token, ban)
        self._residence.rewind(sequence)
        if rewound is not None:
            self._emit(rewound)
        self._emit_delta(sequence.insert(hint))

    def judge(self, sequence: GuardedSequence) -> None:
        """Do what the guard said of the tokens of the last step. May end the sequence: its `reason` is then set."""
        if sequence.is_quiet:
            return
        for finding in sequence.take_told():
            self._emit(Guarded(sequence.id, "finding", finding))
        verdict = sequence.verdict
        if verdict is not None:
            self._take_back(sequence, verdict)
        elif sequence.is_hint_over:
            self.reveal(sequence)

    def reveal(self, sequence: GuardedSequence) -> None:
        """Remove a hint from the context, behind which the answer has been written."""
        if sequence.reveal():
            self._residence.drop(sequence)

    def end(self, sequence: GuardedSequence) -> None:
        """Leave nothing of the guard's behind in a sequence that has ended."""
        sequence.reveal()
        self._residence.rewind(sequence)
        for finding in sequence.take_told():
            self._emit(Guarded(sequence.id, "finding", finding))

    def _take_back(self, sequence: GuardedSequence, verdict: Rewind) -> None:
        """Take text back as `verdict` says, and let it be written differently, or end the answer there."""
        num_released = sequence.num_released
        sequence.take_back(verdict)
        self._residence.drop(sequence)
        is_visible = sequence.num_released < num_released
        if is_visible:
            self._tell("rewind", sequence, verdict, verdict.worst)
        if verdict.is_final:
            self._tell("finding", sequence, verdict, verdict.worst)
            return self._emit_delta(sequence.end("content_filter"))
        if verdict.is_cause_out:
            for finding in verdict.findings:
                self._tell("finding", sequence, verdict, finding)
        if verdict.retry is not None:
            self._emit_delta(self._retry(sequence, verdict.retry))
        if is_visible:
            self._tell("resume", sequence, verdict, verdict.worst)
        return self._take_back(sequence, sequence.verdict) if sequence.verdict is not None else None

    def _tell(self, kind: str, sequence: GuardedSequence, verdict: Rewind, finding: Finding) -> None:
        method = verdict.retry.method if verdict.retry is not None else ""
        place = (sequence.num_released, sequence.num_output, verdict.attempt, method)
        self._emit(Guarded(sequence.id, kind, finding, *place))  # type: ignore[arg-type]

    def _retry(self, sequence: GuardedSequence, retry: Retry) -> Delta | None:
        hidden = self._tokenizer.encode(retry.hidden, special=False) if retry.hidden else []
        if hidden and len(sequence.tokens) + len(hidden) + MIN_ROOM <= self._max_tokens:
            sequence.hide(hidden, retry.hidden_at)
            self._residence.drop(sequence)
        if retry.bans or (hidden and not sequence.is_hinted):
            sequence.ban_next()
        return sequence.insert(tuple(self._tokenizer.encode(retry.text, special=False))) if retry.text else None

    def _emit_delta(self, delta: Delta | None) -> None:
        if delta is not None:
            self._emit(delta)
