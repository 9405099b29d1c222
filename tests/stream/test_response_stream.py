"""The events of a response: what the SDK's types say, however the answer was cut, and put together the answer."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import TypeAdapter

from firesteel.stream import sse
from firesteel.stream.openai_responses import ResponseWriter
from firesteel.stream.response_events import Events
from firesteel.stream.response_events import sse as framed
from firesteel.types import ChatPrompt, Delta, Finish, FinishReason, Message, Request, Sampling, TokenLogprob, Usage
from firesteel.wire.response_object import ResponseObject
from firesteel.wire.response_tools import Tool, custom_call
from tests.stream.stream_cases import TOKENIZER

ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)
USAGE = Usage(num_prompt_tokens=5, num_cached_tokens=2, num_output_tokens=3)
RAW = msgspec.Raw(b"{}")
SHOWN: dict[str, Any] = {"function": {"parameters": {}}}
TOOLS = {
    "run": Tool(name="run", own_name="run", kind="function", shown=SHOWN),
    "ns.go": Tool(name="ns.go", own_name="go", kind="function", shown=SHOWN, namespace="ns"),
    "patch": Tool(name="patch", own_name="patch", kind="custom", shown=SHOWN),
    "tool_search": Tool(name="tool_search", own_name="tool_search", kind="tool_search", shown=SHOWN),
}


def call(name: str, arguments: str = '{"x": 1}') -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


PARTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from([call("run"), call("ns.go"), call("go"), call("unknown"), call("tool_search", '{"query": "q"}')]),
    st.sampled_from([call("patch", '{"input": "+x"}'), custom_call("patch", "+a\n-b"), "<tool_call>\n{", "\n"]),
)
REASONS: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length", "steered", "cancelled"])


def writer(*, tools: bool = True, stream_id: str | None = None) -> ResponseWriter:
    prompt = ChatPrompt(messages=(Message(role="user", content="hi"),))
    request = Request(id="r", kind="chat", model="m", prompts=(prompt,), sampling=Sampling(), max_tokens=None)
    response = ResponseObject(
        id="resp_1",
        created_at=1,
        model="m",
        temperature=0.2,
        top_p=0.9,
        text=msgspec.Raw(b'{"format":{"type":"text"}}'),
        tool_choice=msgspec.Raw(b'"auto"'),
        tools=msgspec.Raw(b"[]"),
        reasoning=RAW,
    )
    return ResponseWriter(response, request, TOOLS if tools else {}, Events(stream_id), TOKENIZER)


def events_of(texts: list[str], reason: FinishReason = "stop", **options: Any) -> list[dict[str, Any]]:
    made = writer(**options)
    out = [made.created(), made.in_progress()]
    for text in texts:
        out += made.write(Delta("r", text, 1))
    out += made.finish(Finish("r", reason, USAGE), cancelled="cancelled")
    return [json.loads(data) for _, data in out]


def joined(events: list[dict[str, Any]], kind: str) -> dict[str, str]:
    """Return the deltas of each item, put together."""
    found: dict[str, str] = {}
    for event in events:
        if event["type"] == kind:
            found[event["item_id"]] = found.get(event["item_id"], "") + event["delta"]
    return found


@given(st.lists(PARTS, max_size=6), REASONS, st.sampled_from([None, "lane"]))
def test_every_event_is_one_of_the_sdk(parts: list[str], reason: FinishReason, stream_id: str | None) -> None:
    events = events_of(parts, reason, stream_id=stream_id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert all(event.get("stream_id") == stream_id for event in events)
    for event in events:
        ADAPTER.validate_python(event)


@given(st.lists(PARTS, max_size=6), REASONS, st.data())
def test_the_output_does_not_depend_on_the_cuts(parts: list[str], reason: FinishReason, data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    whole = events_of([text], reason)[-1]["response"]["output"]
    cut = events_of([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)], reason)
    assert cut[-1]["response"]["output"] == whole
    assert events_of(list(text), reason)[-1]["response"]["output"] == whole


@given(st.lists(PARTS, max_size=6), REASONS)
def test_deltas_put_together_are_the_items(parts: list[str], reason: FinishReason) -> None:
    events = events_of(parts, reason)
    texts = joined(events, "response.output_text.delta")
    arguments = joined(events, "response.function_call_arguments.delta")
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["id"] for item in done] == added
    assert done == events[-1]["response"]["output"]
    for item in done:
        if item["type"] == "message":
            assert texts[item["id"]] == item["content"][0]["text"]
        elif item["type"] == "function_call":
            assert arguments.get(item["id"], "") == item["arguments"]
            assert item["status"] == "incomplete" or json.loads(item["arguments"]) is not None


@given(st.text(max_size=40))
def test_without_tools_all_of_it_is_text(text: str) -> None:
    events = events_of(list(text), tools=False)
    assert "".join(joined(events, "response.output_text.delta").values()) == text


def test_a_call_is_named_as_the_client_knows_it() -> None:
    items = events_of([call("ns.go") + "\n" + call("go") + "\n" + call("run")])[-1]["response"]["output"]
    assert [(item["name"], item.get("namespace")) for item in items] == [("go", "ns"), ("go", "ns"), ("run", None)]


def test_a_custom_tool_called_like_a_function_gets_its_text_all_the_same() -> None:
    (item,) = events_of([call("patch", '{"input": "+x\\n"}')])[-1]["response"]["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "+x\n")


def test_the_beginning_of_a_call_is_dropped_where_the_answer_was_broken_off() -> None:
    events = events_of(["Now. ", "<tool_call>\n", '{"na'], "steered")
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message"]
    assert "tool_call" not in json.dumps(joined(events, "response.output_text.delta"))


def test_logprobs_go_with_the_text() -> None:
    made = writer(tools=False)
    logprob = TokenLogprob(100, -0.5, [(101, -1.0)])
    events = [json.loads(data) for _, data in made.write(Delta("r", "x", 1, [logprob]))]
    assert events[-1]["logprobs"][0]["logprob"] == -0.5
    last = [json.loads(data) for _, data in made.finish(Finish("r", "stop", USAGE))][-1]
    assert len(last["response"]["output"][0]["content"][0]["logprobs"]) == 1


@given(st.text(max_size=20))
def test_an_event_is_framed_as_one_message(text: str) -> None:
    event = Events().event("response.output_text.delta", delta=text)
    decoder = sse.SSEDecoder()
    (message,) = decoder.feed(framed(event))
    decoder.finish()
    assert isinstance(message, sse.SSEMessage)
    assert message.event == "response.output_text.delta"
    assert json.loads(message.data)["delta"] == text
