"""What waits for a slow reader is merged, and nothing else about it changes."""

import asyncio
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.stream.mailbox import Mailbox
from firesteel.types import Delta, Finish
from tests.pipeline.fake_engine import USAGE

TAKE = None  # in a list of actions: the reader comes

puts = st.tuples(st.integers(0, 2), st.text(max_size=3) | st.none())
actions = st.lists(st.none() | puts, max_size=30)


@settings(max_examples=100, deadline=None)
@given(actions)
def test_any_interleaving_of_put_and_take_gives_the_same(listed: list[tuple[int, str | None] | None]) -> None:
    """Each choice's text between its other events is the same, and a batch holds at most one run of it."""
    put, taken = asyncio.run(interleave(listed))
    assert taken == put


async def interleave(
    listed: list[tuple[int, str | None] | None],
) -> tuple[dict[int, list[object]], dict[int, list[object]]]:
    """Return what was put and what was taken, by choice."""
    mailbox = Mailbox()
    put: dict[int, list[object]] = defaultdict(lambda: [""])
    taken: dict[int, list[object]] = defaultdict(lambda: [""])
    for action in [*listed, TAKE]:
        if action is None:
            for choice, event in await mailbox.take(0):
                note(taken[choice], event.text if isinstance(event, Delta) else None)
            continue
        choice, text = action
        mailbox.put(choice, Finish("x", "stop", USAGE) if text is None else Delta(str(choice), text, 1))
        note(put[choice], text)
    return dict(put), dict(taken)


def note(entries: list[object], text: str | None) -> None:
    if text is None:
        entries.extend([None, ""])
    else:
        entries[-1] = f"{entries[-1]}{text}"


async def test_a_batch_holds_one_delta_for_each_choice() -> None:
    mailbox = Mailbox()
    for number in range(10):
        mailbox.put(number % 2, Delta(str(number % 2), str(number), 1))
    assert await mailbox.take(1) == [(0, Delta("0", "02468", 5)), (1, Delta("1", "13579", 5))]


async def test_nothing_comes_within_the_time() -> None:
    mailbox = Mailbox()
    assert await mailbox.take(0.01) == []
    mailbox.put(0, Delta("a", "late", 1))
    assert await mailbox.take(0.01) == [(0, Delta("a", "late", 1))]


async def test_who_waits_is_woken() -> None:
    mailbox = Mailbox()
    taking = asyncio.ensure_future(mailbox.take(60))
    await asyncio.sleep(0)
    mailbox.put(0, Delta("a", "x", 1))
    mailbox.put(0, Delta("a", "y", 1))
    assert await asyncio.wait_for(taking, 1) == [(0, Delta("a", "xy", 2))]


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    mailbox = Mailbox()
    taking = asyncio.ensure_future(mailbox.take(60))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    mailbox.put(0, Delta("a", "x", 1))
    assert await mailbox.take(1) == [(0, Delta("a", "x", 1))]
