"""The one mutable object: a sequence of tokens on its way through the engine."""

from collections.abc import Callable
from typing import Any

from firesteel.backend.base import Output, Rows, Want
from firesteel.engine.kv.prefix import token_array
from firesteel.engine.sample import Sampler, logprob_of
from firesteel.engine.steer import Steer
from firesteel.engine.watch import Watchers
from firesteel.types import Delta, FinishReason, Rewind, State, Tokenizer, TokenLogprob, Usage, Work

NO_BAN: frozenset[int] = frozenset()


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
        self.num_kept = 0  # positions saved for later while the sequence goes on
        self.state = State.WAITING
        self.slot = -1
        self.awaits: Sequence | None = None  # computes a prefix that this one will fork
        self.is_fetching = False  # its prefix is on its way from the disk
        self.has_fetched = False
        self.release_prefix: Callable[[], None] | None = None  # ends the lease of what was fetched for it
        self.parked: Any = None  # own KV in host memory while preempted
        self.num_parked = 0  # positions in it
        self.successor: Steer | None = None
        self.reason: FinishReason | None = None
        self.sampler = Sampler(work.sampling)
        self._base_want = Want.NONE if work.max_tokens == 0 else self.sampler.want
        self.want = self._base_want
        self._bans: dict[int, frozenset[int]] = {}  # length of `tokens` → what must not come next
        self._end_tokens = tokenizer.end_tokens
        self._watchers = Watchers(tokenizer, work.stop)
        self._num_rewound = 0
        self._num_reported = 0  # output tokens reported in deltas so far
        self._logprobs: list[tuple[int, TokenLogprob]] = []  # (end of its text, logprob), not yet released
        self._fresh_logprob: TokenLogprob | None = None
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
        return max(1, min(max_step_tokens, self.num_remaining)) if max_step_tokens > 1 else 1

    def verify(self, output: Output) -> list[int]:
        """Return the tokens that a step yields: the backend's own, or one drawn from its logits."""
        logits = output.logits
        if logits is None:
            return output.tokens
        token = self.sampler.choose(logits, len(self.tokens), self._bans.get(len(self.tokens), NO_BAN))
        num_top = self.work.sampling.num_logprobs
        if num_top is not None and token not in self._end_tokens:
            self._fresh_logprob = logprob_of(token, logits, num_top)
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
        return self._release(self._feed(tokens))

    def _feed(self, tokens: list[int]) -> str:
        num_fed, text = self._watchers.feed(tokens)
        self.tokens += tokens if num_fed == len(tokens) else tokens[:num_fed]
        if self._fresh_logprob is not None:
            self._logprobs.append((self._watchers.num_text, self._fresh_logprob))
            self._fresh_logprob = None
        if self._watchers.stopped:
            self.reason = "stop"
        if self._bans:
            self.want = Want.LOGITS if len(self.tokens) in self._bans else self._base_want
        return text

    def _release(self, text: str) -> Delta | None:
        if self.reason is not None:
            text += self._watchers.finish()
        elif not text:
            return None
        num_tokens = max(0, self.num_output - self._num_reported)
        self._num_reported = max(self._num_reported, self.num_output)
        if not self._logprobs:
            return Delta(self.id, text, num_tokens) if text or num_tokens else None
        num_released = self._watchers.num_released
        out = [logprob for end, logprob in self._logprobs if end <= num_released]
        self._logprobs = self._logprobs[len(out) :]
        return Delta(self.id, text, num_tokens, out)

    def end(self, reason: FinishReason) -> Delta | None:
        """End the sequence from outside; return what was still held back."""
        self.reason = reason
        return self._release("")

    def rewind(self, to_token: int, ban: tuple[int, ...]) -> Rewind | None:
        """Keep `to_token` output tokens; none of `ban` follows them. What was released beyond is taken back.

        At least one token is left to compute, for its logits.
        """
        to_token = max(0, min(to_token, self.num_output))
        num_released = self._watchers.num_released
        self._num_rewound += self.num_output - to_token
        num_dropped = self.num_output - to_token
        if num_dropped:
            del self._logprobs[max(0, len(self._logprobs) - num_dropped) :]
        del self.tokens[self.num_prompt + to_token :]
        output = self.tokens[self.num_prompt :]
        self._watchers.rewind(output)
        self.sampler.rewind(output)
        self.num_computed = min(self.num_computed, len(self.tokens) - 1)
        self._forbid(ban)
        if self._watchers.num_released == num_released:
            return None  # what was held back has not left: nobody needs to know
        self._num_reported = min(self._num_reported, to_token)
        return Rewind(self.id, self._watchers.num_released, to_token)

    def _forbid(self, ban: tuple[int, ...]) -> None:
        """Ban tokens at this place, beside those that an earlier rewind banned here."""
        self._bans = {length: tokens for length, tokens in self._bans.items() if length <= len(self.tokens)}
        if ban:
            self._bans[len(self.tokens)] = self._bans.get(len(self.tokens), NO_BAN) | frozenset(ban)
        self.want = Want.LOGITS if len(self.tokens) in self._bans else self._base_want

    def insert(self, hint: tuple[int, ...]) -> Delta | None:
        """Append tokens as if they had been chosen; one token of the limit stays for what follows."""
        if not hint:
            return None
        text = self._feed(list(hint[: max(0, self.num_remaining - 1)]))
        self.sampler.rewind(self.tokens[self.num_prompt :])  # the hint counts for penalties
        return self._release(text)

    @property
    def may_end_while_preempted(self) -> bool:
        """Whether it waits for a place in the context, so that the next boundary may be far away."""
        return self.state is State.PREEMPTED and self._watchers.is_complete

    def is_at_boundary(self, now: float) -> bool:
        """Return whether the answer may be broken off here in favour of the successor."""
        steer = self.successor
        assert steer is not None
        if self.num_output == 0 or self._watchers.is_at_boundary:
            return True
        return self._watchers.is_complete and (now >= steer.deadline or self.num_output >= steer.max_output)

    def usage(self) -> Usage:
        """Return what the sequence cost so far; times in seconds."""
        started = self.started_at if self.started_at is not None else self.last_token_at
        first = self.first_token_at if self.first_token_at is not None else self.last_token_at
        return Usage(
            num_prompt_tokens=self.num_prompt,
            num_cached_tokens=self.num_cached,
            num_output_tokens=self.num_output,
            num_rewound_tokens=self._num_rewound,
            queue_seconds=started - self.added_at,
            prefill_seconds=first - started,
            decode_seconds=self.last_token_at - first,
        )
