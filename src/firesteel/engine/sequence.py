"""The one mutable object: a sequence of tokens on its way through the engine."""

from typing import Any

from firesteel.backend.base import Output, Rows, Want
from firesteel.engine.detokenize import Detokenizer
from firesteel.engine.kv.host import token_array
from firesteel.engine.sample import Sampler, logprob_of
from firesteel.engine.stop import StopStrings
from firesteel.types import Delta, FinishReason, State, Tokenizer, TokenLogprob, Usage, Work


class Sequence:
    """Prompt and output tokens of one `Work`, and how far they are computed.

    `tokens[:num_computed]` have KV in `slot`; the rest is known but not computed. Owned by the engine.
    """

    def __init__(self, work: Work, arrival: int, tokenizer: Tokenizer, now: float) -> None:
        self.id = work.id
        self.work = work
        self.arrival = arrival
        self.tokens = list(work.tokens)
        self.num_prompt = len(work.tokens)
        self.prompt = token_array(work.tokens)
        self.num_computed = 0
        self.num_cached = 0
        self.state = State.WAITING
        self.slot = -1
        self.awaits: Sequence | None = None  # computes a prefix that this one will fork
        self.parked: Any = None  # own KV in host memory while preempted
        self.reason: FinishReason | None = None
        self.sampler = Sampler(work.sampling)
        self.want = self.sampler.want
        self._end_tokens = tokenizer.end_tokens
        self._detokenizer = Detokenizer(tokenizer.piece)
        self._stops = StopStrings(work.stop) if work.stop else None
        self._num_text = 0  # code points fed to the watchers so far
        self._num_released = 0
        self._num_reported = 0  # output tokens reported in deltas so far
        self._logprobs: list[tuple[int, TokenLogprob]] = []  # (end of its text, logprob), not yet released
        self.added_at = now
        self.started_at: float | None = None
        self.first_token_at: float | None = None
        self.last_token_at = now

    @property
    def num_output(self) -> int:
        """Tokens chosen so far, an end token not counted."""
        return len(self.tokens) - self.num_prompt

    @property
    def num_remaining(self) -> int:
        """Output tokens that may still be chosen."""
        return self.work.max_tokens - self.num_output

    @property
    def num_uncomputed(self) -> int:
        """Known tokens that have no KV yet: 1 while a sequence streams, many while it reads its prompt."""
        return len(self.tokens) - self.num_computed

    def rows(self, num_rows: int, max_step_tokens: int) -> Rows:
        """Return the next `num_rows` rows; the last one wants an output if it is the last known token."""
        start, end = self.num_computed, self.num_computed + num_rows
        if end < len(self.tokens):
            return Rows(self.slot, start, self.tokens[start:end], Want.NONE)
        return Rows(self.slot, start, self.tokens[start:end], self.want, self.step_limit(max_step_tokens))

    def step_limit(self, max_step_tokens: int) -> int:
        """Return how many tokens one step may yield at most."""
        return min(max_step_tokens, self.num_remaining) if max_step_tokens > 1 else 1

    def verify(self, output: Output) -> list[int]:
        """Return the tokens that a step yields: the backend's own, or one drawn from its logits."""
        logits = output.logits
        if logits is None:
            return output.tokens
        token = self.sampler.choose(logits, len(self.tokens))
        num_top = self.work.sampling.num_logprobs
        if num_top is not None and token not in self._end_tokens:
            self._logprobs.append((-1, logprob_of(token, logits, num_top)))
        return [token]

    def accept(self, tokens: list[int]) -> Delta | None:
        """Append `tokens` up to an end token, a stop string or the limit; return the text they release.

        Sets `reason` when the sequence is finished; usage and KV then end at the last token that counts.
        """
        room = self.num_remaining
        if len(tokens) > room:
            tokens = tokens[:room]
        end = next((i for i, token in enumerate(tokens) if token in self._end_tokens), None)
        if end is not None:
            tokens, self.reason = tokens[:end], "stop"
        elif len(tokens) == room:
            self.reason = "length"
        text = self._append_until_stop(tokens) if self._stops else self._append(tokens)
        return self._release(text)

    def _append(self, tokens: list[int]) -> str:
        self.tokens += tokens
        text = self._detokenizer.feed(tokens)
        self._num_text += len(text)
        if self._logprobs and self._logprobs[-1][0] < 0:
            self._logprobs[-1] = (self._num_text, self._logprobs[-1][1])
        return text

    def _append_until_stop(self, tokens: list[int]) -> str:
        """Feed one token at a time, so that tokens after the one that completes a stop string do not count."""
        assert self._stops is not None
        released = ""
        for token in tokens:
            released += self._stops.feed(self._append([token]))
            if self._stops.stopped:
                self.reason = "stop"
                return released
        return released + self._stops.finish() if self.reason else released

    def _release(self, text: str) -> Delta | None:
        if not text and self.reason is None:
            return None
        self._num_released += len(text)
        num_tokens, self._num_reported = self.num_output - self._num_reported, self.num_output
        if not self._logprobs:
            return Delta(self.id, text, num_tokens) if text or num_tokens else None
        out = [logprob for end, logprob in self._logprobs if end <= self._num_released]
        self._logprobs = self._logprobs[len(out) :]
        return Delta(self.id, text, num_tokens, out)

    def usage(self) -> Usage:
        """Return what the sequence cost so far; times in seconds."""
        started = self.started_at if self.started_at is not None else self.last_token_at
        first = self.first_token_at if self.first_token_at is not None else self.last_token_at
        return Usage(
            num_prompt_tokens=self.num_prompt,
            num_cached_tokens=self.num_cached,
            num_output_tokens=self.num_output,
            queue_seconds=started - self.added_at,
            prefill_seconds=first - started,
            decode_seconds=self.last_token_at - first,
        )
