"""What the tests of the encoders share: requests, random runs of events, and putting chunks together."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from hypothesis import strategies as st

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.stream.openai import collector_of, stream_of
from firesteel.stream.sse import SSEComment, SSEDecoder, SSEMessage
from firesteel.types import (
    ChatPrompt,
    Delta,
    Event,
    Finish,
    FinishReason,
    Message,
    Prompt,
    Request,
    Sampling,
    TextPrompt,
    TokenLogprob,
    Usage,
)

TOKENIZER = shared_tokenizer()
CREATED = 1_700_000_000
TOOLS: tuple[dict[str, Any], ...] = ({"type": "function", "function": {"name": "f"}},)
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'

Run = list[tuple[int, Event]]


def chat_request(
    *,
    n: int = 1,
    tools: tuple[dict[str, Any], ...] = (),
    tool_choice: str = "auto",
    num_logprobs: int | None = None,
    include_usage: bool = False,
    max_tokens: int | None = None,
) -> Request:
    """Return a chat request."""
    prompt = ChatPrompt(messages=(Message(role="user", content="hi"),), tools=tools, tool_choice=tool_choice)
    request = _request("chat", (prompt,), n, num_logprobs, include_usage)
    return msgspec.structs.replace(request, max_tokens=max_tokens)


def completion_request(
    *prompts: Prompt,
    n: int = 1,
    num_logprobs: int | None = None,
    include_usage: bool = False,
    echo: bool = False,
) -> Request:
    """Return a completion request."""
    request = _request("completion", prompts or (TextPrompt(text="ab"),), n, num_logprobs, include_usage)
    return msgspec.structs.replace(request, echo=echo)


def _request(
    kind: Literal["chat", "completion"],
    prompts: tuple[Prompt, ...],
    n: int,
    num_logprobs: int | None,
    include_usage: bool,
) -> Request:
    return Request(
        id="r",
        kind=kind,
        model="m",
        prompts=prompts,
        sampling=Sampling(num_logprobs=num_logprobs),
        max_tokens=None,
        n=n,
        stream=True,
        include_usage=include_usage,
        noted=("user",),
    )


def usage(num_prompt: int = 5, num_cached: int = 3, num_output: int = 2) -> Usage:
    """Return what one sequence cost."""
    return Usage(
        num_prompt_tokens=num_prompt,
        num_cached_tokens=num_cached,
        num_output_tokens=num_output,
        queue_seconds=0.25,
        prefill_seconds=0.5,
        decode_seconds=num_output / 8,
    )


def finish(reason: FinishReason = "stop", **counts: int) -> Finish:
    """Return the last event of a sequence."""
    return Finish("s", reason, usage(**counts))


def delta(text: str, *, logprobs: bool = False) -> Delta:
    """Return the release of `text`, with a logprob for each of its tokens."""
    tokens = TOKENIZER.encode(text, special=False)
    entries = [TokenLogprob(token, -0.5, [(token, -0.5), (token + 1, -2.0)]) for token in tokens]
    return Delta("s", text, len(tokens), entries if logprobs else [])


TEXTS = st.sampled_from(
    [
        "def f():\n",
        " ",
        "\n",
        "é",
        "",
        '"',
        "\\",
        "\x00",
        "\u2028",
        "<",
        "<tool_call>",
        "{",
        "}",
        CALL,
        "data: x\n\n",
    ]
)


@st.composite
def runs(draw: st.DrawFn, num_choices: int, *, logprobs: bool) -> Run:
    """Return random events of all choices, interleaved."""
    queues: list[list[Event]] = []
    for choice in range(num_choices):
        texts = draw(st.lists(TEXTS, max_size=6))
        reason: FinishReason = draw(st.sampled_from(["stop", "length", "cancelled", "steered"]))
        queues.append([*(delta(text, logprobs=logprobs) for text in texts), finish(reason, num_output=choice)])
    run: Run = []
    while any(queues):
        choice = draw(st.sampled_from([i for i, queue in enumerate(queues) if queue]))
        run.append((choice, queues[choice].pop(0)))
    return run


def stream_bytes(request: Request, run: Sequence[tuple[int, Event]]) -> bytes:
    """Return the whole SSE stream."""
    stream = stream_of(request, created=CREATED, model="m", tokenizer=TOKENIZER)
    return stream.begin() + b"".join([stream.event(choice, event) for choice, event in run]) + stream.end()


def body_of(request: Request, run: Sequence[tuple[int, Event]]) -> dict[str, Any]:
    """Return the response in one body."""
    collector = collector_of(request, created=CREATED, model="m", tokenizer=TOKENIZER)
    for choice, event in run:
        collector.event(choice, event)
    body: dict[str, Any] = json.loads(collector.body())
    return body


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """Return the chunks of a stream that ended well."""
    decoder = SSEDecoder()
    items = decoder.feed(stream)
    decoder.finish()
    messages = [item for item in items if not isinstance(item, SSEComment)]
    assert messages[-1] == SSEMessage("[DONE]")
    return [json.loads(message.data) for message in messages[:-1]]
