"""Calls of functions and of custom tools in one answer of chat completions."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionMessageCustomToolCall

from firesteel.request.openai_chat import parse
from firesteel.stream.chat_calls import ChatCalls
from firesteel.stream.openai import collector_of, stream_of
from firesteel.types import Delta, Finish, Request, Sampling
from firesteel.wire.response_tools import custom_call
from firesteel.wire.tool_calls import CallArguments, CallBegin, Content, Parsed
from tests.flow.test_transcripts import Letters
from tests.pipeline.fake_engine import USAGE

PATCH: dict[str, Any] = {"type": "custom", "custom": {"name": "patch", "description": "Edits."}}
RUN: dict[str, Any] = {"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}
TEXT = "*** Begin Patch\n*** End Patch"
FUNCTION = '<tool_call>\n{"name": "run", "arguments": {"x": 1}}\n</tool_call>'
AS_FUNCTION = '<tool_call>\n{"name": "patch", "arguments": {"input": "a\\nb"}}\n</tool_call>'


def request(**fields: Any) -> Request:
    messages = [{"role": "user", "content": "x"}]
    body = {"model": "m", "messages": messages, "tools": [PATCH, RUN], **fields}
    return parse(json.dumps(body).encode(), request_id="1", defaults=Sampling())


def read(*texts: str, is_cut: bool = False) -> list[Parsed]:
    parser = ChatCalls(("patch",), prefix="call", names=["patch", "run"], single=False)
    pieces: list[Parsed] = []
    for piece in [piece for text in texts for piece in parser.feed(text)] + parser.finish(is_cut=is_cut):
        last = pieces[-1] if pieces else None
        if isinstance(piece, Content) and isinstance(last, Content):
            pieces[-1] = Content(last.text + piece.text)
        elif isinstance(piece, CallArguments) and isinstance(last, CallArguments) and piece.index == last.index:
            pieces[-1] = CallArguments(piece.index, last.text + piece.text, piece.is_custom)
        else:
            pieces.append(piece)
    assert parser.num_calls == sum(isinstance(piece, CallBegin) for piece in pieces)
    return pieces


def test_calls_of_both_kinds_are_numbered_together() -> None:
    assert read(f"I do.\n{FUNCTION}\n{custom_call('patch', TEXT)}\n{FUNCTION}\n{AS_FUNCTION}") == [
        Content("I do."),
        CallBegin(0, "call_0", "run"),
        CallArguments(0, '{"x": 1}'),
        CallBegin(1, "call_1", "patch", is_custom=True),
        CallArguments(1, TEXT, is_custom=True),
        CallBegin(2, "call_2", "run"),
        CallArguments(2, '{"x": 1}'),
        CallBegin(3, "call_3", "patch", is_custom=True),
        CallArguments(3, "a\nb", is_custom=True),
    ]


fragments = st.sampled_from(
    [
        FUNCTION,
        AS_FUNCTION,
        custom_call("patch", TEXT),
        "text",
        "\n",
        "<tool_call>",
        "</tool_call>",
        '{"name": "patch"}\n',
    ]
)


@given(st.lists(fragments, max_size=6).map("".join), st.lists(st.integers(0, 300)), st.booleans())
def test_pieces_do_not_depend_on_the_cuts(text: str, cuts: list[int], is_cut: bool) -> None:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    assert read(*[text[a:b] for a, b in pairwise(places)], is_cut=is_cut) == read(text, is_cut=is_cut)


def test_the_sdk_reads_the_answer_and_the_stream_says_the_same() -> None:
    asked = request()
    events = (Delta("1", custom_call("patch", TEXT), 3), Finish("1", "stop", USAGE))
    collector = collector_of(asked, created=1, model="m", tokenizer=Letters())
    stream = stream_of(request(stream=True), created=1, model="m", tokenizer=Letters())
    for event in events:
        collector.event(0, event)
    answer = ChatCompletion.model_validate_json(collector.body())
    assert answer.choices[0].message.tool_calls is not None
    (call,) = answer.choices[0].message.tool_calls
    assert isinstance(call, ChatCompletionMessageCustomToolCall)
    assert (call.custom.name, call.custom.input, answer.choices[0].finish_reason) == ("patch", TEXT, "tool_calls")
    lines = b"".join(stream.event(0, event) for event in events).decode().split("\n\n")
    deltas = [json.loads(line.removeprefix("data: "))["choices"][0]["delta"] for line in lines if "tool_calls" in line]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert (calls[0]["id"], calls[0]["type"], calls[0]["custom"]["name"]) == (call.id, "custom", "patch")
    assert "".join(piece["custom"]["input"] for piece in calls) == TEXT


def test_a_call_in_the_history_is_shown_as_the_model_wrote_it() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": TEXT}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    (prompt,) = request(messages=messages).prompts
    assert prompt.messages[1].content == custom_call("patch", TEXT)  # type: ignore[union-attr]  # it is a chat


@pytest.mark.parametrize(
    ("choice", "shown", "read_as"),
    [
        ({"type": "custom", "custom": {"name": "patch"}}, ["patch", "run"], "patch"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "run"}}]},
            },
            ["run"],
            "required",
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "patch"}}]},
            },
            ["patch"],
            "auto",
        ),
    ],
)
def test_choices(choice: dict[str, Any], shown: list[str], read_as: str) -> None:
    (prompt,) = request(tool_choice=choice).prompts
    assert [tool["function"]["name"] for tool in prompt.tools] == shown  # type: ignore[union-attr]
    assert prompt.tool_choice == read_as  # type: ignore[union-attr]


def test_a_grammar_is_followed() -> None:
    form = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[0-9]+"}}
    tool = {"type": "custom", "custom": {"name": "number", "format": form}}
    constraint = request(tools=[tool], tool_choice="required").constraint
    assert constraint is not None
    assert "[0-9]+" in constraint
