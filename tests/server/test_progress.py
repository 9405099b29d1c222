"""Long waits are visible: a client hears something at least every second."""

import time
import uuid

from tests.server.live import Live, Wire, chat_body, comments_of, is_done, unchunked

SILENCE_SECONDS = 2.0  # one second, and what a busy machine adds


def longest_silence(wire: Wire) -> tuple[float, bytes]:
    """Read to the end; return the longest time between two reads, and everything read."""
    received, longest, last = b"", 0.0, time.monotonic()
    while data := wire.read():
        received += data
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return longest, received


def test_a_long_prefill_reports_its_progress(server: Live) -> None:
    with Wire(server.port) as wire:
        wire.post(chat_body(f"read slowly {uuid.uuid4()} " + "word " * 150, stream=True, max_tokens=1))
        silence, received = longest_silence(wire)
    _, stream = unchunked(received)
    counts = [tuple(map(int, comment.removeprefix("prefill ").split("/"))) for comment in comments_of(stream)]
    assert counts == sorted(counts)
    assert len({total for _, total in counts}) == 1
    assert any(0 < done < total for done, total in counts)
    assert is_done(stream)
    assert silence < SILENCE_SECONDS


def test_a_silent_model_does_not_make_a_silent_stream(server: Live) -> None:
    with Wire(server.port) as wire:
        wire.post(chat_body("late", stream=True, max_tokens=4))
        silence, received = longest_silence(wire)
    _, stream = unchunked(received)
    assert len(comments_of(stream)) >= 2
    assert is_done(stream)
    assert silence < SILENCE_SECONDS
