"""The bounded queue counts sequences, and never loses count."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.clock import ManualClock
from firesteel.errors import Overloaded
from firesteel.router.admission import AHEAD_SEQUENCES, MAX_OVERTAKES, Admission


def test_running_plus_queue_and_no_more() -> None:
    admission = Admission(2, 1, ManualClock().now)
    with admission.admitted(1), admission.admitted(2):
        assert admission.num_in_flight == 3
        with pytest.raises(Overloaded, match="3 sequences"):
            admission.require_room()
        with pytest.raises(Overloaded), admission.admitted(1):
            raise AssertionError("a refused request runs")
        assert admission.num_refused == 2
    assert admission.num_in_flight == 0


def test_a_request_that_comes_alone_always_fits() -> None:
    admission = Admission(1, 0, ManualClock().now)
    with admission.admitted(64):
        assert admission.num_in_flight == 64


def test_a_failing_request_gives_its_places_back() -> None:
    admission = Admission(1, 0, ManualClock().now)
    with pytest.raises(ZeroDivisionError), admission.admitted(1):
        raise ZeroDivisionError
    admission.require_room()


def test_retry_after_follows_how_long_requests_take() -> None:
    clock = ManualClock()
    admission = Admission(1, 0, clock.now)
    assert admission.retry_after() == 1.0
    for _ in range(40):
        with admission.admitted(1):
            clock.sleep(30)
    assert admission.retry_after() == pytest.approx(30, rel=0.01)
    with admission.admitted(1), pytest.raises(Overloaded) as caught:
        admission.require_room()
    assert caught.value.retry_after == pytest.approx(30, rel=0.01)
    assert Admission(4, 0, clock.now).retry_after() == 1.0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=30), st.integers(1, 4), st.integers(0, 4))
def test_the_count_is_what_is_inside(steps: list[tuple[bool, int]], max_live: int, max_queue: int) -> None:
    admission = Admission(max_live, max_queue, ManualClock().now)
    inside: list[tuple[int, ExitStack]] = []
    for enters, number in steps:
        if not enters:
            if inside:
                inside.pop(0)[1].close()
        else:
            stack = ExitStack()
            before = admission.num_in_flight
            try:
                stack.enter_context(admission.admitted(number))
                inside.append((number, stack))
            except Overloaded:
                assert before + number > max_live + max_queue
        assert admission.num_in_flight == sum(number for number, _ in inside)
    for _, stack in inside:
        stack.close()
    assert admission.num_in_flight == 0


async def test_turns_come_in_order_of_arrival_and_only_as_places_get_free() -> None:
    admission = Admission(1, 10, ManualClock().now)
    ahead = 1 + AHEAD_SEQUENCES
    stacks = [ExitStack() for _ in range(ahead + 2)]
    tickets = [stack.enter_context(admission.admitted(1)) for stack in stacks]
    assert [await admission.turn(ticket, 0.01) for ticket in tickets] == [True] * ahead + [False] * 2
    waiting = asyncio.create_task(admission.turn(tickets[ahead], 5))
    stacks[1].close()
    assert await waiting
    assert not await admission.turn(tickets[-1], 0.01)
    stacks[-1].close()  # leaves the queue without a turn
    for stack in stacks:
        stack.close()
    with admission.admitted(1) as ticket:
        assert await admission.turn(ticket, 0.01)


async def test_a_request_larger_than_all_places_gets_its_turn_alone() -> None:
    admission = Admission(1, 10, ManualClock().now)
    with ExitStack() as others:
        others.enter_context(admission.admitted(1))
        with admission.admitted(8) as large:
            assert not await admission.turn(large, 0.01)
            others.close()
            assert await admission.turn(large, 1)


async def test_a_cancellation_that_comes_together_with_the_turn_is_not_lost() -> None:
    admission = Admission(1, 10, ManualClock().now)
    stacks = [ExitStack() for _ in range(2 + AHEAD_SEQUENCES)]
    tickets = [stack.enter_context(admission.admitted(1)) for stack in stacks]
    waiting = asyncio.create_task(admission.turn(tickets[-1], 5))
    await asyncio.sleep(0)
    stacks[0].close()  # the turn comes
    waiting.cancel()  # and the client leaves, before the waiter runs again
    with pytest.raises(asyncio.CancelledError):
        await waiting
    for stack in stacks:
        stack.close()


def order_of(kinds: list[bool]) -> list[int]:
    """Return the order in which waiting requests, fast or not, get their turn when one at a time may run."""
    admission = Admission(1, 200, ManualClock().now)
    running = [admission.admitted(1 + AHEAD_SEQUENCES)]
    running[0].__enter__()
    contexts = [admission.admitted(1 + AHEAD_SEQUENCES, is_fast=kind) for kind in kinds]
    tickets = [context.__enter__() for context in contexts]
    waiting, order = set(range(len(kinds))), []
    for _ in kinds:
        running.pop().__exit__(None, None, None)
        (started,) = [number for number in waiting if tickets[number].turn.is_set()]
        waiting.remove(started)
        order.append(started)
        running.append(contexts[started])
    running.pop().__exit__(None, None, None)
    assert admission.num_in_flight == 0
    return order


def test_fast_requests_go_first() -> None:
    assert order_of([False, False, True, True]) == [2, 3, 0, 1]


@given(st.lists(st.booleans(), max_size=40))
def test_nobody_is_overtaken_without_end_and_each_queue_keeps_its_order(kinds: list[bool]) -> None:
    order = order_of(kinds)
    for kind in (True, False):
        assert [n for n in order if kinds[n] is kind] == [n for n, is_fast in enumerate(kinds) if is_fast is kind]
    num_fast = 0
    for place, number in enumerate(order):
        num_fast = num_fast + 1 if kinds[number] else 0
        if num_fast > MAX_OVERTAKES:
            assert all(kinds[later] for later in order[place:])


def test_how_many_wait_before_one() -> None:
    admission = Admission(1, 100, ManualClock().now)
    with ExitStack() as stack:
        first, *others = (
            stack.enter_context(admission.admitted(1 + AHEAD_SEQUENCES, is_fast=is_fast))
            for is_fast in (False, False, False, True)
        )
        assert admission.place(first).num_ahead == 0
        assert [admission.place(ticket).num_ahead for ticket in others] == [1, 2, 0]
