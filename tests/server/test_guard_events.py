"""The guard over HTTP: what each API says of it, with the stock SDKs' own types."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.live import Live, chat_body, serving, user

SAID = "Here:\n\n```python\nimport os\n\ndef f(x):\n    os.system('ls ' + x)\n    return 1\n```\nDone.\n"
LIVE = {"firesteel": {"guard": {"mode": "live"}}}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Live]:
    with serving(script={"rules": [{"say": SAID}]}) as live:
        yield live


def events(live: Live, path: str, body: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    answer = live.http.post(path, json={**body, "stream": True}, headers=headers)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_a_live_client_that_does_as_it_is_told_holds_the_answer(guarded: Live) -> None:
    text, kinds = "", []
    for chunk in events(guarded, "/v1/chat/completions", chat_body("go", **LIVE)):
        text += "".join(choice["delta"].get("content", "") for choice in chunk["choices"])
        event = chunk.get("firesteel", {}).get("event")
        if event:
            kinds.append(event["type"])
            assert (event["rule"], event["cwe"]) == ("FS211", "CWE-78")
            text = text[: event["to"]] if event["type"].endswith("rewind") else text
    assert kinds[:2] == ["firesteel.guard.rewind", "firesteel.guard.resume"]
    assert "os.system('ls ' + x)" not in text
    assert chunk["firesteel"]["guard"]["mode"] == "live"
    assert chunk["firesteel"]["guard"]["rewinds"] == kinds.count("firesteel.guard.rewind")


def test_a_stock_client_never_sees_it_and_is_told_at_the_end(guarded: Live) -> None:
    client = guarded.openai()
    chunks = list(client.chat.completions.create(model="scripted", messages=user("go"), stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "os.system('ls ' + x)" not in text
    whole = client.chat.completions.create(model="scripted", messages=user("go"))
    guard = whole.to_dict()["firesteel"]["guard"]  # type: ignore[index]
    assert guard["on"] is True
    assert guard["rewinds"] >= 1
    assert guard["failures"] == 0


def test_a_blocked_answer_says_content_filter(guarded: Live) -> None:
    asked = chat_body("go", firesteel={"guard": {"actions": {"FS211": "block"}}})
    answer = guarded.http.post("/v1/chat/completions", json=asked).json()
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert "os.system" not in answer["choices"][0]["message"]["content"]


def test_responses_tell_in_numbered_events_and_annotate(guarded: Live) -> None:
    body = {"model": "scripted", "input": "go"}
    told = events(guarded, "/v1/responses", body, **{"x-firesteel-guard": "warn"})
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert "firesteel.guard.finding" in [event["type"] for event in told]
    response = guarded.openai().responses.create(
        model="scripted", input="go", extra_headers={"x-firesteel-guard": "warn"}
    )
    message = response.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    (citation,) = part.annotations
    assert citation.type == "url_citation"
    assert part.text[citation.start_index : citation.end_index] == "os.system('ls ' + x)"


def test_off_is_off_and_says_so(guarded: Live) -> None:
    asked = chat_body("go")
    answer = guarded.http.post("/v1/chat/completions", json=asked, headers={"x-firesteel-guard": "off"}).json()
    assert answer["choices"][0]["message"]["content"] == SAID
    assert answer["firesteel"]["guard"] == {"on": False}


@pytest.mark.parametrize("guard", [{"mode": "maybe"}, {"actions": {"FS999": "warn"}}, {"actions": {"FS1": "eat"}}])
def test_what_makes_no_sense_is_refused(guarded: Live, guard: dict[str, Any]) -> None:
    answer = guarded.http.post("/v1/chat/completions", json=chat_body("go", firesteel={"guard": guard}))
    assert answer.status_code == 400
    assert "firesteel.guard" in answer.json()["error"]["param"]


def test_so_is_a_header(guarded: Live) -> None:
    answer = guarded.http.post("/v1/chat/completions", json=chat_body("go"), headers={"x-firesteel-guard": "maybe"})
    assert answer.status_code == 400


def test_health_says_whether_it_works(guarded: Live) -> None:
    assert guarded.http.get("/health").json()["guard"] == "on"
