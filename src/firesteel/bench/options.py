"""What a benchmark is asked to do."""

from typing import Literal

import msgspec

from firesteel.config import BackendName

Kind = Literal[
    "decode",
    "prefill",
    "pipeline",
    "wire",
    "edits",
    "fresh",
    "agent",
    "json",
    "ttft",
    "steer",
    "share",
    "cancel",
    "restart",
    "load",
    "churn",
    "context",
    "step",
]
KernelName = Literal["llamacpp", "ik"]


class Span(msgspec.Struct, frozen=True):
    """The tokens from position `start` up to `end`."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure, and how often. What a kind does not take is at its default: the command line saw to it.

    `tokens`: to decode, of the prompt, or of history; empty means the kind's own. `pairs`: how often each
    server is asked; in `churn` the rounds.
    """

    kind: Kind
    model: str
    pairs: int
    tokens: tuple[int, ...] = ()
    with_peer: bool = False
    quantize: Literal["q4_0", "q8_0"] | None = None
    kv_type: Literal["f16", "q8_0"] = "f16"  # context
    separate: bool = False  # churn: the conversations share no prefix
    end_to_end: bool = False  # context: one long prompt over HTTP instead of a cache filled by copies
    backend: BackendName = "auto"  # step: ours
    kernels: tuple[KernelName, ...] = ()  # step: beside ours
    rows: tuple[int, ...] = ()  # step
    histories: tuple[int, ...] = ()  # step
    prefills: tuple[Span, ...] = ()  # step

    def num_tokens(self, default: int) -> int:
        """Return the one number of tokens that was asked for, else `default`."""
        return self.tokens[0] if self.tokens else default
