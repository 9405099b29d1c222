"""`/v1/responses` as a WebSocket against a live server: order, lanes, continuation, and what goes wrong."""

import json
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.live import Live, Wire, serving, wait_for
from tests.server.sockets import Socket, socket_to, text_of

HELLO = "Hello. What shall we write? 🦊 ok"


@pytest.fixture
def socket(server: Live) -> Iterator[Socket]:
    with socket_to(server) as made:
        yield made


def test_turns_without_a_lane_are_served_one_after_the_other(socket: Socket) -> None:
    for _ in range(3):
        socket.create("hello")
    for _ in range(3):
        events = socket.until()
        assert len({event["response"]["id"] for event in events if "response" in event}) == 1
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert text_of(events[-1]["response"]) == HELLO


def test_lanes_run_side_by_side(socket: Socket) -> None:
    socket.create("slow", stream_id="a", max_output_tokens=2000)  # at least 42 steps of 10 ms, whatever is guessed
    socket.create("hello", stream_id="b")
    socket.create("hello", stream_id="a")
    ends = [event["stream_id"] for _ in range(3) for event in socket.until()[-1:]]
    assert ends == ["b", "a", "a"]


def test_continuation_without_storing(socket: Socket, server: Live) -> None:
    first = socket.turn("hello", store=False)["response"]["id"]
    second = socket.turn("hello", store=False, previous_response_id=first)
    assert second["response"]["previous_response_id"] == first
    with socket_to(server) as other:
        lost = other.turn("hello", previous_response_id=first)
        assert (lost["type"], lost["status"]) == ("error", 400)
        assert lost["error"]["code"] == "previous_response_not_found"


def test_stored_responses_are_found_from_another_connection(socket: Socket, server: Live) -> None:
    first = socket.turn("hello")["response"]["id"]
    with socket_to(server) as other:
        assert other.turn("hello", previous_response_id=first)["type"] == "response.completed"


def test_a_failed_continuation_evicts_its_parent_unless_it_is_a_fork(socket: Socket) -> None:
    first = socket.turn("hello", store=False, stream_id="a")["response"]["id"]
    bad = {"store": False, "previous_response_id": first, "tool_choice": "required"}
    assert socket.turn("x", stream_id="b", **bad)["type"] == "error"
    assert socket.turn("x", stream_id="a", **bad)["error"]["param"] == "tool_choice"
    gone = socket.turn("hello", stream_id="a", store=False, previous_response_id=first)
    assert gone["error"]["code"] == "previous_response_not_found"


def test_a_fork_leaves_its_source_alone(socket: Socket) -> None:
    first = socket.turn("hello", store=False, stream_id="a")["response"]["id"]
    for lane in ("b", "a"):
        done = socket.turn("hello", store=False, stream_id=lane, previous_response_id=first)
        assert done["type"] == "response.completed"


def test_a_warm_up_and_what_codex_sends_in_vain(socket: Socket) -> None:
    warm = socket.turn([], generate=False, store=False, stream=True)
    assert (warm["type"], warm["response"]["output"]) == ("response.completed", [])
    done = socket.turn("hello", store=False, previous_response_id=warm["response"]["id"])
    assert text_of(done["response"]) == HELLO


def test_steering(socket: Socket) -> None:
    socket.create("slow", max_output_tokens=2000)
    first = socket.until("response.output_text.delta")[0]["response"]["id"]
    socket.send({"type": "response.steer", "previous_response_id": first, "input": "hello"})
    events = socket.until("response.completed")
    order = ["response.steer.accepted", "response.incomplete", "response.created", "response.completed"]
    assert [event["type"] for event in events if event["type"] in order] == order
    assert text_of(events[-1]["response"]) == HELLO
    socket.send({"type": "response.steer", "previous_response_id": first, "input": "late"})
    failed = socket.receive()
    assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", "response_already_completed")


def test_a_refused_steer_takes_no_number_of_a_response_that_others_read(socket: Socket, server: Live) -> None:
    body = {"model": "scripted", "input": "slow", "background": True, "max_output_tokens": 2000}
    id = server.http.post("/v1/responses", json=body).json()["id"]
    for _ in range(2):
        bad = [{"role": "assistant", "content": "no"}]
        socket.send({"type": "response.steer", "previous_response_id": id, "input": bad})
        failed = socket.receive()
        assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", "invalid_input")
        assert failed["sequence_number"] == 0
    server.http.post(f"/v1/responses/{id}/cancel")
    lines = server.http.get(f"/v1/responses/{id}?stream=true").text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_an_interrupt_ends_at_once_and_the_conversation_goes_on(socket: Socket) -> None:
    socket.create("slow", store=False)
    id = socket.until("response.output_text.delta")[0]["response"]["id"]
    socket.send({"type": "response.interrupt", "response_id": id, "mode": "discard_partial_items"})
    last = socket.until("response.incomplete")[-1]["response"]
    assert (last["incomplete_details"], last["end_turn"], last["output"]) == ({"reason": "interrupted"}, False, [])
    assert socket.turn("hello", store=False, previous_response_id=id)["type"] == "response.completed"
    socket.send({"type": "response.interrupt", "response_id": id})
    assert socket.receive()["error"]["code"] == "response_not_found"


def test_a_client_that_leaves_ends_its_responses(server: Live) -> None:
    with socket_to(server) as socket:
        for lane in ("a", "b", "c"):
            socket.create("slow", stream_id=lane)
        socket.until("response.output_text.delta")
    server.wait_idle()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{nonsense", "invalid_json"),
        ("[]", "invalid_value"),
        ("", "invalid_json"),
        ('{"type": "response.cancel"}', "invalid_value"),
        ('{"type": "response.create", "model": "scripted", "input": "x", "colour": 1}', "unknown_parameter"),
        ('{"type": "response.create", "model": "other", "input": "x"}', "model_not_found"),
        ('{"type": "response.create", "model": "scripted", "input": "x", "background": true}', "invalid_value"),
        ('{"type": "response.create", "model": "scripted", "input": "x", "stream_id": "a b"}', "invalid_stream_id"),
        ('{"type": "response.create", "model": "scripted", "input": "x", "stream_id": ""}', "invalid_stream_id"),
        ('{"type": "response.steer", "previous_response_id": "x"}', "missing_required_parameter"),
        ('{"type": "response.interrupt", "response_id": "x", "mode": "politely"}', "invalid_value"),
    ],
)
def test_what_is_wrong_is_said_and_the_connection_lives(socket: Socket, frame: str, code: str) -> None:
    socket.raw.send(frame)
    error = socket.receive()
    assert (error["type"], error["error"]["code"]) == ("error", code)
    assert set(error["error"]) >= {"type", "code", "message", "param"}
    assert socket.turn("hello")["type"] == "response.completed"


def test_binary_frames_are_read_as_well(socket: Socket) -> None:
    socket.raw.send(json.dumps({"type": "response.create", "model": "scripted", "input": "hello"}).encode())
    assert socket.until()[-1]["type"] == "response.completed"


def test_there_is_a_limit_to_lanes(socket: Socket) -> None:
    for lane in range(32):
        assert socket.turn("hello", stream_id=f"lane-{lane}")["type"] == "response.completed"
    refused = socket.turn("hello", stream_id="one-more")
    assert (refused["error"]["code"], refused["stream_id"]) == ("websocket_stream_limit_reached", "one-more")
    assert socket.turn("hello")["type"] == "response.completed"


def test_compressed_connections(server: Live) -> None:
    with socket_to(server, compression="deflate") as socket:
        assert text_of(socket.turn("hello " + "x" * 10_000)["response"]) == HELLO


def test_a_reader_that_is_slow_gets_everything(server: Live) -> None:
    with socket_to(server, max_queue=1) as socket:
        socket.create("burst", max_output_tokens=4000)
        time.sleep(0.5)
        events = socket.until()
        deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        assert deltas == text_of(events[-1]["response"])


def test_the_same_request_twice_has_two_responses(server: Live) -> None:
    named = {"additional_headers": {"x-request-id": "same"}}
    with socket_to(server, **named) as one, socket_to(server, **named) as two:
        for socket in (one, two):
            socket.create("slow", max_output_tokens=30)
        ids = {socket.until()[-1]["response"]["id"] for socket in (one, two)}
    assert len(ids) == 2


def test_keys_open_the_socket_and_an_oversized_frame_closes_it() -> None:
    with serving("--max-body-mb", "1", env={"FIRESTEEL_API_KEY": "k"}) as live:
        live.http.headers["authorization"] = "Bearer k"
        with pytest.raises(InvalidStatus) as refused, socket_to(live):
            pass
        assert refused.value.response.status_code == 401
        assert b"invalid_api_key" in (refused.value.response.body or b"")
        with socket_to(live, additional_headers={"authorization": "Bearer k"}) as socket:
            assert socket.turn("hello")["type"] == "response.completed"
            with pytest.raises(ConnectionClosed) as closed:
                socket.turn("x" * 1_100_000)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        live.wait_idle()


HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
SLOW = b'{"type": "response.create", "model": "scripted", "input": "slow"}'


def masked(text: bytes) -> bytes:
    """Return a text frame of less than 126 bytes, masked with zeros."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


def test_a_thousand_sockets_opened_and_dropped(server: Live) -> None:
    before = num_files(server)
    for number in range(1000):
        with Wire(server.port) as wire:
            wire.socket.sendall(HANDSHAKE)
            if number % 3:
                assert wire.read().startswith(b"HTTP/1.1 101")
            if number % 20 == 0:
                wire.socket.sendall(masked(SLOW))
            if number % 2:
                wire.reset()
    server.wait_idle()
    with socket_to(server) as socket:
        assert socket.turn("hello")["type"] == "response.completed"
    wait_for(lambda: num_files(server) <= before + 5, "the sockets are closed")


def num_files(server: Live) -> int:
    return int(psutil.Process(server.process.pid).num_fds())


def test_events_between_lanes_say_where_they_belong(socket: Socket) -> None:
    for lane in ("a", "b"):
        socket.create("slow", stream_id=lane, max_output_tokens=20)
    seen: dict[Any, list[int]] = {"a": [], "b": []}
    for _ in range(2):
        for event in socket.until():
            seen[event["stream_id"]].append(event["sequence_number"])
    assert all(numbers == list(range(len(numbers))) for numbers in seen.values())


def test_a_compacted_conversation_begins_a_chain_of_its_own(socket: Socket, server: Live) -> None:
    first = socket.turn("hello")["response"]["id"]
    body = {"model": "scripted", "previous_response_id": first}
    compacted = server.http.post("/v1/responses/compact", json=body).json()["output"]
    message = {"type": "message", "role": "user", "content": "hello"}
    begun = socket.turn([*compacted, message], store=False)["response"]
    assert (begun["status"], begun["previous_response_id"]) == ("completed", None)
    assert socket.turn("hello", store=False, previous_response_id=begun["id"])["type"] == "response.completed"


def test_a_second_connection_gets_a_title_while_the_first_one_answers(socket: Socket, server: Live) -> None:
    """As Codex does at the start of a conversation."""
    socket.create("slow", max_output_tokens=300)
    socket.until("response.output_text.delta")
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string", "maxLength": 36}},
        "required": ["title"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "title", "strict": True, "schema": schema}
    with socket_to(server) as other:
        create = {"type": "response.create", "model": "scripted", "input": "Name it.", "text": {"format": form}}
        other.send({**create, "store": False})
        title = other.until()[-1]["response"]
    assert title["status"] == "completed"
    assert 0 <= len(json.loads(text_of(title))["title"]) <= 36
    assert socket.until()[-1]["type"] == "response.incomplete", "it was not kept from going on"
