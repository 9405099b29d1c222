"""The one mutable object: a sequence of tokens on its way through the engine."""

from collections.abc import Callable
from typing import Any

import numpy as np

from firesteel.backend.base import Output, Rows, Want
from firesteel.engine.constrain import Constraint
from firesteel.engine.draft.base import Draft
from firesteel.engine.draft.drafts import Drafts
from firesteel.engine.kv.prefix import TokenArray, token_array
from firesteel.engine.steer import Steer
from firesteel.engine.verify import Verifier
from firesteel.engine.watch import Watchers
from firesteel.types import Delta, FinishReason, Rewind, State, Tokenizer, TokenLogprob, Usage, Work
from firesteel.verdict import GuardReport

MAX_STREAM_ROWS = 32  # uncomputed tokens with which an answer still counts as a stream: grammars may force some


class Sequence:
    """Prompt and output tokens of one `Work`, and how far they are computed.

    `tokens[:num_computed]` have KV in `slot`; the rest is known but not computed. Owned by the engine.
    """

    def __init__(
        self,
        work: Work,
        arrival: int,
        tokenizer: Tokenizer,
        now: float,
        *,
        constraint: Constraint | None = None,
        drafts: Drafts,
    ) -> None:
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
        self.verifier = Verifier(work.sampling, tokenizer.end_tokens, constraint)
        self.drafts = drafts
        self.draft: Draft | None = None  # what the next step verifies
        self.draft_seconds = 0.0  # that choosing it took
        self._end_tokens = tokenizer.end_tokens
        self._watchers = Watchers(tokenizer, work.stop)
        self._num_rewound = self._num_forced = self._num_steps = self._num_reported = 0  # reported: in deltas so far
        self._logprobs: list[tuple[int, TokenLogprob]] = []  # (end of its text, logprob), not yet released
        self.added_at = self.last_token_at = now
        self.started_at: float | None = None
        self.first_token_at: float | None = None

    @property
    def num_output(self) -> int:
        """Tokens chosen so far, an end token not counted."""
        return len(self.tokens) - self.num_prompt

    def array(self, end: int) -> TokenArray:
        """Return the first `end` tokens in the form that prefixes are compared in.

        Turning a prompt of 20,000 tokens into an array takes 0.2 ms, so that is done once.
        """
        if end <= self.num_prompt:
            return self.prompt[:end]
        return np.concatenate((self.prompt, token_array(self.tokens[self.num_prompt : end])))

    @property
    def num_remaining(self) -> int:
        """Output tokens that may still be chosen."""
        return self.work.max_tokens - self.num_output

    @property
    def num_uncomputed(self) -> int:
        """Known tokens that have no KV yet: 1 while a sequence streams, many while it reads its prompt."""
        return len(self.tokens) - self.num_computed

    @property
    def num_drafted(self) -> int:
        """Tokens of the draft that the next step verifies."""
        return len(self.draft.tokens) if self.draft is not None else 0

    @property
    def is_stream(self) -> bool:
        """Whether it has begun to answer, and a step computes all that it knows."""
        num_uncomputed = len(self.tokens) - self.num_computed
        return num_uncomputed == 1 or (num_uncomputed <= MAX_STREAM_ROWS and len(self.tokens) > self.num_prompt)

    @property
    def want(self) -> Want:
        """What is to be computed for the next token."""
        return Want.NONE if self.work.max_tokens == 0 else self.verifier.want(len(self.tokens))

    def rows(self, num_rows: int, max_step_tokens: int, *, can_sample: bool = False) -> Rows:
        """Return the next `num_rows` rows; the last one wants an output if it is the last known token.

        `can_sample`: the backend may draw the token itself, where nothing but the sampling decides it.
        """
        start, end = self.num_computed, self.num_computed + num_rows
        tokens = self.tokens[start:end]
        if end < len(self.tokens):
            return Rows(self.slot, start, tokens, Want.NONE)
        guesses = self.draft.tokens if self.draft is not None else []
        limit = 1 if guesses else self.step_limit(max_step_tokens)
        at = len(self.tokens)
        if can_sample and self.want is Want.LOGITS and self.verifier.is_plain_sampling(at, self.draft):
            sampler = self.verifier.sampler
            drawn = (sampler.sampling, sampler.seed)
            return Rows(self.slot, start, tokens + guesses, Want.BEST, limit, len(guesses), *drawn)
        window = self.verifier.window(at)
        return Rows(self.slot, start, tokens + guesses, self.want, limit, len(guesses), window=window)

    def step_limit(self, max_step_tokens: int) -> int:
        """Return how many tokens one step may yield at most."""
        return max(1, min(max_step_tokens, self.num_remaining)) if max_step_tokens > 1 else 1

    def verify(self, output: Output) -> list[int]:
        """Return the tokens that a step yields."""
        if self.work.max_tokens == 0:
            return []
        self._num_steps += 1
        return self.verifier.verify(output, len(self.tokens), self.draft)

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
        if self.work.sampling.num_logprobs is not None:
            return "".join([self._feed_one(token) for token in tokens])
        num_fed, text = self._watchers.feed(tokens)
        self.tokens += tokens if num_fed == len(tokens) else tokens[:num_fed]
        if self._watchers.stopped:
            self.reason = "stop"
        return text

    def _feed_one(self, token: int) -> str:
        """Feed a token alone, to know where its text ends; one that was not chosen has no log-probability."""
        num_fed, text = self._watchers.feed([token])
        self.tokens += [token][:num_fed]
        logprobs = self.verifier.logprobs
        if num_fed and logprobs and logprobs[0].token == token:
            self._logprobs.append((self._watchers.num_text, logprobs.pop(0)))
        if self._watchers.stopped:
            self.reason = "stop"
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
        self.verifier.rewind(output, num_dropped)
        self.verifier.forbid(len(self.tokens), ban)
        self.drafts.rewind(output)
        self.num_computed = min(self.num_computed, len(self.tokens) - 1)
        if self._watchers.num_released == num_released:
            return None  # what was held back has not left: nobody needs to know
        self._num_reported = min(self._num_reported, to_token)
        return Rewind(self.id, self._watchers.num_released, to_token)

    def insert(self, hint: tuple[int, ...]) -> Delta | None:
        """Append tokens as if they had been chosen; one token of the limit stays for what follows."""
        text = self._insert(list(hint))
        return self._release(text) if text else None

    def _insert(self, tokens: list[int]) -> str:
        del tokens[max(0, self.num_remaining - 1) :]
        if not tokens:
            return ""
        self.verifier.insert(tokens)
        text = self._feed(tokens)
        self.drafts.accept(tokens)
        return text

    def jump(self) -> Delta | None:
        """Append what the grammar leaves no choice about: it costs a row each, but no step.

        Ends the sequence where only an end token may follow. Tokens whose log-probabilities are asked for are chosen.
        """
        constraint = self.verifier.constraint
        if constraint is None or self.reason is not None or self.work.max_tokens == 0:
            return None
        if self.work.sampling.num_logprobs is not None or self.successor is not None:
            return None
        num_before = len(self.tokens)
        text = self._insert(constraint.forced())
        self._num_forced += len(self.tokens) - num_before
        if constraint.is_complete:
            self.reason = "stop"
        return self._release(text) if text or self.reason is not None else None

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

    def close(self) -> None:
        """Give back what the sequence holds beside KV; it has ended."""

    def usage(self, guard: GuardReport | None = None) -> Usage:
        """Return what the sequence cost so far; times in seconds."""
        started = self.started_at if self.started_at is not None else self.last_token_at
        first = self.first_token_at if self.first_token_at is not None else self.last_token_at
        return Usage(
            num_prompt_tokens=self.num_prompt,
            num_cached_tokens=self.num_cached,
            num_output_tokens=self.num_output,
            num_rewound_tokens=self._num_rewound,
            num_forced_tokens=self._num_forced,
            num_steps=self._num_steps,
            drafts=self.drafts.usage(),
            queue_seconds=started - self.added_at,
            prefill_seconds=first - started,
            decode_seconds=self.last_token_at - first,
            guard=guard,
        )
