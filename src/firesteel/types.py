"""The values that travel, in this order:
wire JSON → `Request` → (router, session) → `Work` → engine → `Event` → stream → wire JSON
All are frozen: one value type per arrow. The one mutable object, `Sequence`, lives in the engine.
Units: engine offsets are tokens, wire offsets are code points of visible text, times are seconds.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Protocol

import msgspec

from firesteel.verdict import Finding, GuardOrder, GuardReport, GuardWish


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen. `temperature == 0` is greedy."""

    temperature: float = 0.2
    top_k: int = 0  # 0 = off
    top_p: float = 0.95
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    num_logprobs: int | None = None  # None = none asked for; k = the chosen token and its k best rivals


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of a conversation, text only."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    name: str | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()
    tool_call_id: str | None = None


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="chat"):
    """A conversation; the model's own chat template turns it into text."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"  # auto | none | required | the name of a tool
    custom_tools: tuple[str, ...] = ()  # the names of those that take plain text


class TextPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Raw text to be continued; it may hold the model's own special tokens."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="tokens"):
    """Token ids to be continued."""

    tokens: tuple[int, ...]


class FillPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="fill"):
    """A hole to be filled between `prefix` and `suffix` by the model's own FIM tokens.

    `files` (name, text) stand before them, the newest last; `middle` is how the insertion begins.
    """

    prefix: str
    suffix: str
    middle: str = ""
    files: tuple[tuple[str, str], ...] = ()


Prompt = ChatPrompt | TextPrompt | TokenPrompt | FillPrompt


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for, whatever the wire format was. One `Request` yields `n` choices per prompt."""

    id: str
    kind: Literal["chat", "completion", "messages", "infill"]
    model: str
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    max_tokens: int | None  # None = as many as fit
    stop: tuple[str, ...] = ()
    n: int = 1
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    session: str | None = None  # the conversation or document that the client says this belongs to
    prediction: str = ""  # text that the answer is expected to repeat, in parts at least
    constraint: str | None = None  # a grammar that the answer must follow (`Work.constraint`)
    predict_seconds: float | None = None  # an answer ends after this time, once it holds a line break
    response_fields: tuple[str, ...] = ()  # paths of the parts of the response that are wanted; none = all
    truncates: bool = False  # a conversation that is too long loses its beginning, instead of being refused
    tier: Literal["default", "priority"] | None = None  # which queue was asked for; None = not said
    guard: GuardWish | None = None
    noted: tuple[str, ...] = ()  # fields that real clients send and that have no effect here (law 6)


class Work(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sequence for the engine: prompt tokens in, at most `max_tokens` tokens out.

    `max_tokens == 0` computes the prompt and no more, so that what begins with it finds it warm.
    `scope` names whose warm state may be used and added to; nothing is shared between two scopes.
    `prediction`: tokens that the answer may repeat, with edits; it does not change what is chosen.
    `constraint`: a grammar in llguidance's JSON form that the answer follows; it was checked before.
    """

    id: str
    tokens: list[int]
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...] = ()
    scope: str = ""
    prediction: list[int] = []
    constraint: str | None = None
    guard: GuardOrder | None = None  # None: nothing is looked for


class DraftUsage(msgspec.Struct, frozen=True, array_like=True):
    """What one source of drafts did for one sequence."""

    source: str
    num_steps: int  # that verified a draft of this source
    num_drafted: int  # tokens
    num_accepted: int  # tokens


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one sequence cost. `num_cached_tokens` is the part of the prompt that was not computed again."""

    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    num_rewound_tokens: int = 0  # chosen, then taken back; not part of `num_output_tokens`
    num_forced_tokens: int = 0  # output tokens that a grammar left no choice about, which cost no step
    num_steps: int = 0  # that chose output tokens
    drafts: tuple[DraftUsage, ...] = ()  # one entry for each source that was used
    queue_seconds: float = 0.0  # added → first row computed
    prefill_seconds: float = 0.0  # first row computed → first token
    decode_seconds: float = 0.0  # first token → last token
    guard: GuardReport | None = None  # None: it was off


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """Natural log-probability of one chosen token and of its best rivals, before temperature and filters."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


class Delta(msgspec.Struct, frozen=True, tag="delta", array_like=True):
    """Released text of one step. Concatenated, the texts of a sequence are its whole visible answer."""

    id: str
    text: str
    num_tokens: int
    logprobs: list[TokenLogprob] = []


class Progress(msgspec.Struct, frozen=True, tag="progress", array_like=True):
    """The prompt is still being computed (or waits, with `num_computed == 0`)."""

    id: str
    num_computed: int
    num_prompt: int


class Rewind(msgspec.Struct, frozen=True, tag="rewind", array_like=True):
    """Released text is taken back: `num_text` code points of it and `num_tokens` output tokens still stand."""

    id: str
    num_text: int
    num_tokens: int


class Guarded(msgspec.Struct, frozen=True, tag="guarded", array_like=True):
    """What the guard says at this place. Of a `rewind`, which comes to live clients only, `num_text` still stand."""

    id: str
    kind: Literal["finding", "rewind", "resume"]
    finding: Finding
    num_text: int = 0
    num_tokens: int = 0
    attempt: int = 0
    method: Literal["", "ban", "hint", "fix"] = ""  # how it is written differently


FinishReason = Literal["stop", "length", "cancelled", "steered", "content_filter"]


class Finish(msgspec.Struct, frozen=True, tag="finish", array_like=True):
    """The last event of a sequence that ended well; `tokens` are the ids of its answer, an end token not among them.
    `steered`: a successor goes on from exactly these (`EngineClient.steer`); `content_filter`: the guard ended it.
    """

    id: str
    reason: FinishReason
    usage: Usage
    tokens: list[int] = []


class Failure(msgspec.Struct, frozen=True, tag="failure", array_like=True):
    """The last event of a sequence that ended badly; `code` is an OpenAI error code."""

    id: str
    code: str
    message: str


Event = Delta | Progress | Rewind | Guarded | Finish | Failure


class EngineClient(Protocol):
    """An engine, wherever it runs."""

    def add(self, work: Work, deliver: Callable[[Event], None]) -> None:
        """Start a sequence; its events, the last one `Finish` or `Failure`, go to `deliver`."""
        ...

    def cancel(self, id: str) -> None:
        """End a sequence within one step."""
        ...

    def steer(self, id: str, work: Work, deliver: Callable[[Event], None]) -> None:
        """End sequence `id` at the next safe boundary; go on from its tokens, followed by `work.tokens`, as `work`.

        `id` gets `Finish("steered")`. The successor's prompt is all that came before: only `work.tokens` are
        computed. When `id` has ended already, `deliver` gets a `Failure` with the code `not_running`.
        """
        ...

    def rewind(self, id: str, to_token: int, ban: tuple[int, ...] = (), hint: tuple[int, ...] = ()) -> None:
        """Take output tokens back from `to_token` on; then `hint` follows, or else none of `ban` as next token.

        What was released is taken back by a `Rewind` event. `to_token` counts output tokens that stay.
        """
        ...


class State(Enum):
    """Where a sequence is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    PREEMPTED = "preempted"
    FINISHED = "finished"


class FimTokens(msgspec.Struct, frozen=True):
    """The model's fill-in-the-middle token ids (prefix-suffix-middle order).

    `repository` begins a prompt of several files and `file` each of them, where the model was trained so.
    """

    prefix: int
    suffix: int
    middle: int
    repository: int | None = None
    file: int | None = None


class Tokenizer(Protocol):
    """Text to tokens and back. Thread-safe."""

    vocabulary_size: int
    end_tokens: frozenset[int]  # a sequence ends when one of these is chosen
    fim: FimTokens | None
    chat_template: str | None  # Jinja source

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the token ids of `text`; with `special`, control tokens written in it are recognised."""
        ...

    def prompt_prefix(self) -> list[int]:
        """Return the tokens that every prompt begins with (BOS, where the model wants one)."""
        ...

    def piece(self, token: int) -> bytes:
        """Return the visible bytes of `token` (empty for control tokens); may be a part of a character."""
        ...

    def label(self, token: int) -> str:
        """Return the written form of `token`, control tokens included, as templates and logprobs show it."""
        ...


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says about itself."""

    name: str
    architecture: str
    context_length: int
    chat_template: str | None = None
    sampling: Sampling = Sampling()  # the file's own generation settings, else our defaults
    num_parameters: int | None = None
    file_bytes: int = 0
    path: str = ""
