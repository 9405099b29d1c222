from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from firesteel.stream.openai_completions import CompletionStream
from firesteel.types import FillPrompt, Prompt, TextPrompt, TokenPrompt
from tests.stream.stream_cases import (
    CREATED,
    TOKENIZER,
    Run,
    body_of,
    chunks_of,
    completion_request,
    delta,
    finish,
    runs,
    stream_bytes,
)

LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


def put_together(chunks: list[dict[str, Any]], num_choices: int, num_logprobs: int | None) -> dict[str, Any]:
    """Return the response that the chunks make."""
    choices: list[dict[str, Any]] = [
        {"text": "", "index": index, "logprobs": None, "finish_reason": None} for index in range(num_choices)
    ]
    if num_logprobs is not None:
        for choice in choices:
            choice["logprobs"] = {key: [] for key in LISTS}
            choice["logprobs"]["top_logprobs"] = [] if num_logprobs else None
    body: dict[str, Any] = {**chunks[0], "choices": choices}
    for chunk in chunks:
        body |= {key: chunk[key] for key in ("usage", "firesteel") if chunk.get(key) is not None}
        for entry in chunk["choices"]:
            choice = choices[entry["index"]]
            choice["text"] += entry["text"]
            choice["finish_reason"] = entry["finish_reason"] or choice["finish_reason"]
            for key in LISTS:
                if entry["logprobs"] and entry["logprobs"][key] is not None:
                    choice["logprobs"][key] += entry["logprobs"][key]
    return body


@given(
    st.data(),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([(None, True), (None, False), (0, False), (2, False)]),
)
@settings(deadline=None)
def test_chunks_put_together_are_the_whole_response(
    data: st.DataObject, num_prompts: int, n: int, options: tuple[int | None, bool]
) -> None:
    num_logprobs, echo = options
    prompts = [TextPrompt(text=f"prompt {i} é\n") for i in range(num_prompts)]
    request = completion_request(*prompts, n=n, num_logprobs=num_logprobs, include_usage=True, echo=echo)
    run = data.draw(runs(num_prompts * n, logprobs=num_logprobs is not None))
    chunks = chunks_of(stream_bytes(request, run))
    assert put_together(chunks, num_prompts * n, num_logprobs) == body_of(request, run)
    Completion.model_validate(body_of(request, run), strict=True)


class SlowCompletionStream(CompletionStream):
    """Encodes every chunk whole."""

    def _content(self, choice: int, text: str) -> bytes:
        return self._chunk(choice, text)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_hot_path_says_the_same_as_the_slow_one(text: str, include_usage: bool) -> None:
    request = completion_request(include_usage=include_usage, echo=True)
    fast, slow = (
        kind(request, created=CREATED, model="m", tokenizer=TOKENIZER)
        for kind in (CompletionStream, SlowCompletionStream)
    )
    assert fast.begin() == slow.begin()
    assert fast.event(0, delta(text)) == slow.event(0, delta(text))


@pytest.mark.parametrize(
    ("prompt", "echo"),
    [
        (TextPrompt(text="a<|x|>"), "a<|x|>"),
        (FillPrompt(prefix="before", suffix="after"), "before"),
        (TokenPrompt(tokens=tuple(TOKENIZER.encode("né", special=False))), "né"),
    ],
)
def test_echo(prompt: Prompt, echo: str) -> None:
    body = body_of(completion_request(prompt, echo=True), [(0, delta("!")), (0, finish())])
    assert body["choices"][0]["text"] == echo + "!"


def test_prompts_count_once_and_choices_are_numbered_prompt_by_prompt() -> None:
    request = completion_request(TextPrompt(text="a"), TextPrompt(text="b"), n=2)
    run = [
        (3, finish(num_prompt=20, num_cached=19, num_output=1)),
        (2, finish(num_prompt=20, num_cached=0, num_output=1)),
        (0, finish(num_prompt=7, num_cached=2, num_output=3)),
        (1, finish(num_prompt=7, num_cached=6, num_output=4)),
    ]
    body = body_of(request, run)
    assert body["usage"]["prompt_tokens"] == 27
    assert body["usage"]["completion_tokens"] == 9
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]


def test_stream_without_usage_ends_with_our_own_part() -> None:
    run: Run = [(0, delta("x")), (0, finish("length"))]
    text, last = chunks_of(stream_bytes(completion_request(), run))
    assert text == {
        "id": "cmpl-r",
        "object": "text_completion",
        "created": CREATED,
        "model": "m",
        "choices": [{"text": "x", "index": 0, "logprobs": None, "finish_reason": None}],
    }
    assert last["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert last["firesteel"]["noted"] == ["user"]
