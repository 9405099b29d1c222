import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.bench.client import Answer, Connection, Json, ask, exchange_all, summarise, timed_events, timed_progress
from firesteel.errors import EngineFailure
from tests.bench.sse_server import answering, chunked

TEXTS = ["def f():\n", "", "    return 'é…'\n"]
USAGE = {"completion_tokens": 9, "prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}
EVENTS: list[Json] = [
    *({"choices": [{"index": 0, "text": text}]} for text in TEXTS),
    {"choices": [], "usage": USAGE},
]
STREAM = (
    b": progress\n\n"
    + b"".join(b"data: %s\n\n" % json.dumps(event, ensure_ascii=False).encode() for event in EVENTS)
    + b"data: [DONE]\n\n"
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return `data` in pieces, cut at `places`."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.lists(st.integers(min_value=0)))
def test_events_do_not_depend_on_the_cuts(places: list[int]) -> None:
    pieces = [(float(number), piece) for number, piece in enumerate(cut(STREAM, places))]
    assert [event for _, event in timed_events(pieces)] == EVENTS


def test_an_event_has_the_time_of_its_last_byte() -> None:
    half = STREAM.index(b"def") + 1
    pieces = [(1.0, STREAM[:half]), (2.0, STREAM[half:])]
    assert [seconds for seconds, _ in timed_events(pieces)] == [2.0] * len(EVENTS)


PROGRESS = b": queued\n\n: prefill 64/200\n\n: prefill 128/200\n\n" + STREAM


@given(st.lists(st.integers(min_value=0)))
def test_progress_has_the_time_at_which_its_line_was_complete(places: list[int]) -> None:
    pieces = [(float(number), piece) for number, piece in enumerate(cut(PROGRESS, places))]
    ends = [PROGRESS.index(line) + len(line) for line in (b"64/200\n", b"128/200\n")]
    starts = sorted(place % (len(PROGRESS) + 1) for place in places)
    expected = [float(sum(start < end for start in starts)) for end in ends]
    assert timed_progress(pieces) == list(zip(expected, [64, 128], strict=True))


def test_times_count_from_the_request_to_events_with_text() -> None:
    times = [10.5, 11.0, 12.0, 12.5]
    answer = summarise(list(zip(times, EVENTS, strict=True)), sent=10.0, end=13.0)
    assert (answer.first, answer.last, answer.end) == (0.5, 2.0, 3.0)
    assert answer.longest_gap == 1.5  # the empty event at 11.0 does not count
    assert answer.tokens_per_second == 8 / 1.5
    assert (answer.num_events, answer.num_tokens, answer.num_cached_tokens) == (2, 9, 2)


def test_chat_deltas_are_understood() -> None:
    events: list[tuple[float, Json]] = [
        (1.0, {"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
        (2.0, {"choices": [{"delta": {"content": "hello"}}]}),
        (3.0, {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}),
    ]
    answer = summarise(events, sent=0.0, end=3.0)
    assert (answer.first, answer.text) == (2.0, "hello")


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "no text"),
        ([(0.0, EVENTS[0])], "no usage"),
        ([(0.0, {"error": {"message": "engine failed"}})], "engine failed"),
    ],
)
def test_an_incomplete_stream_is_a_failure(events: list[tuple[float, Json]], words: str) -> None:
    with pytest.raises(EngineFailure, match=words):
        summarise(events, sent=0.0, end=1.0)


def checked(answer: Answer) -> None:
    assert answer.text == "".join(TEXTS)
    assert 0 < answer.first <= answer.last <= answer.end


@pytest.mark.parametrize("places", [[], [3, 60], list(range(len(STREAM)))], ids=["whole", "cut", "bytes"])
def test_over_a_socket(places: list[int]) -> None:
    with answering(chunked(cut(STREAM, places))) as port:
        checked(ask(port, "/v1/completions", {"prompt": "x"}))


def test_a_connection_is_kept_alive() -> None:
    with answering(chunked([STREAM])) as port:
        connection = Connection(port)
        for _ in range(3):
            checked(connection.ask("/v1/completions", {}))
        connection.close()


def test_many_streams_at_once() -> None:
    with answering(chunked(cut(STREAM, [20, 40, 60]))) as port:
        connections = [Connection(port) for _ in range(8)]
        for exchange in exchange_all(connections, "/v1/completions", [{} for _ in connections]):
            checked(exchange.answer())
        for connection in connections:
            connection.close()


def test_an_error_answer_is_a_failure_that_shows_it() -> None:
    body = b'{"error": {"message": "no such model"}}'
    answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with answering(answer) as port, pytest.raises(EngineFailure, match="no such model"):
        ask(port, "/v1/completions", {})


def test_a_server_that_hangs_up_is_a_failure() -> None:
    with answering(b"") as port:
        connection = Connection(port)
        connection.send("/v1/completions", {})
        connection.socket.shutdown(1)  # nothing more is asked, so the server closes
        with pytest.raises(EngineFailure, match="closed the connection"):
            connection.receive()
        connection.close()


def test_what_came_within_a_time_is_there_and_the_rest_is_not_waited_for() -> None:
    half = chunked([STREAM])[:-40]
    with answering(half) as port:
        connection = Connection(port)
        connection.send("/v1/completions", {})
        exchange = connection.receive_for(0.2)
        assert not exchange.complete
        assert timed_events(exchange.pieces)[0][1] == EVENTS[0]
        connection.close()
