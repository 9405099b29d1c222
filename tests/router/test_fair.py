"""Turns are fair between owners, in order within one, and nobody waits without end."""

import asyncio
from collections import Counter
from contextlib import ExitStack
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.clock import ManualClock
from firesteel.errors import Overloaded
from firesteel.router.admission import AHEAD_SEQUENCES, Admission
from firesteel.router.fair import FairQueue, Ticket

OWNERS = st.sampled_from("abc")
# Somebody comes (with so many sequences), leaves without a turn, or gets a turn.
STEPS = st.lists(st.one_of(st.tuples(OWNERS, st.integers(1, 4)), st.sampled_from(["leave", "turn"])), max_size=80)


def play(steps: list[tuple[str, int] | str]) -> tuple[list[tuple[Ticket, list[Ticket]]], FairQueue]:
    """Return the turns in their order, each with who waited at that moment."""
    queue, waiting, turns = FairQueue(), [], []
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            waiting.append(Ticket(*step, number))
            queue.add(waiting[-1])
        elif step == "leave" and waiting:
            queue.remove(waiting.pop(number % len(waiting)))
        elif step == "turn" and waiting:
            ticket = queue.heads()[0]
            assert queue.order()[0] is ticket
            turns.append((ticket, list(waiting)))
            queue.start(ticket)
            waiting.remove(ticket)
        assert len(queue) == len(waiting)
        assert sorted(queue.order(), key=id) == sorted(waiting, key=id)
    return turns, queue


@settings(deadline=None)
@given(STEPS)
def test_the_order_within_an_owner_is_kept(steps: list[tuple[str, int] | str]) -> None:
    turns, _ = play(steps)
    for owner in "abc":
        numbers = [ticket.number for ticket, _ in turns if ticket.owner == owner]
        assert numbers == sorted(numbers)


@settings(deadline=None)
@given(STEPS)
def test_nobody_who_waits_is_left_behind(steps: list[tuple[str, int] | str]) -> None:
    """While an owner waits, any other one gets at most a largest request more than he does, and a first one."""
    turns, _ = play(steps)
    largest = 4
    for owner in "abc":
        for other in set("abc") - {owner}:
            ahead = 0
            for ticket, waiting in turns:
                if not any(one.owner == owner for one in waiting):
                    ahead = 0  # has nothing to wait for
                elif ticket.owner == other:
                    ahead += ticket.num_sequences
                elif ticket.owner == owner:
                    ahead = max(0, ahead - ticket.num_sequences)
                assert ahead <= 2 * largest


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 5))
def test_a_newcomer_waits_for_no_second_turn(num_greedy: int, num_taken: int) -> None:
    queue = FairQueue()
    for number in range(num_greedy):
        queue.add(Ticket("greedy", 1, number))
    for _ in range(min(num_taken, num_greedy - 1)):
        queue.start(queue.heads()[0])
    queue.add(Ticket("new", 1, num_greedy))
    place = [ticket.owner for ticket in queue.order()].index("new")
    assert place <= 1
    assert num_taken == 0 or place == 0 or num_greedy == 1


@settings(deadline=None)
@given(STEPS)
def test_the_order_that_is_told_is_the_order_that_comes(steps: list[tuple[str, int] | str]) -> None:
    _, queue = play(steps)
    told = list(queue.order())
    came = []
    while queue.heads():
        came.append(queue.heads()[0])
        queue.start(came[-1])
    assert came == told


async def test_one_key_with_a_hundred_requests_delays_another_by_one_turn() -> None:
    admission = Admission(1, 200, ManualClock().now)
    with ExitStack() as stack:
        many = [stack.enter_context(admission.admitted(1, owner="greedy")) for _ in range(101)]
        assert sum(ticket.turn.is_set() for ticket in many) == 1 + AHEAD_SEQUENCES
        other = stack.enter_context(admission.admitted(1, owner="other"))
        assert other.turn.is_set()  # prepared; the engine takes it when what runs has ended
        second = stack.enter_context(admission.admitted(1, owner="other"))
        assert not second.turn.is_set()
        assert admission.place(second).num_ahead <= 1
        assert admission.place(many[-1]).num_ahead == 98


@settings(deadline=None)
@given(
    st.lists(st.tuples(OWNERS, st.integers(1, 6), st.booleans()), max_size=25),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_everybody_s_turn_comes(requests: list[tuple[str, int, bool]], max_live: int, random: Random) -> None:
    """Whoever ends first, however large or fast requests are; and nobody is started who need not be."""
    admission = Admission(max_live, 1000, ManualClock().now)
    inside: list[tuple[Ticket, ExitStack]] = []
    for owner, num_sequences, is_fast in requests:
        stack = ExitStack()
        ticket = stack.enter_context(admission.admitted(num_sequences, owner=owner, is_fast=is_fast))
        inside.append((ticket, stack))
    while inside:
        started = [entry for entry in inside if entry[0].turn.is_set()]
        assert started
        owners = Counter(ticket.owner for ticket, _ in started)
        excess = sum(ticket.num_sequences for ticket, _ in started) - max_live - AHEAD_SEQUENCES
        firsts = {owner: max(t.num_sequences for t, _ in started if t.owner == owner) for owner in owners}
        assert excess <= sum(firsts.values())
        done = random.choice(started)
        inside.remove(done)
        done[1].close()
    assert admission.num_in_flight == 0


async def test_a_full_queue_is_no_wall_for_somebody_else() -> None:
    admission = Admission(1, 2, ManualClock().now)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(admission.admitted(1, owner="greedy"))
        with pytest.raises(Overloaded):
            admission.require_room(1, "greedy")
        stack.enter_context(admission.admitted(1, owner="other"))
        with pytest.raises(Overloaded):
            admission.require_room(1, "other")
    assert admission.num_in_flight == 0


async def test_the_estimate_follows_what_requests_take_and_who_is_ahead() -> None:
    clock = ManualClock()
    admission = Admission(1, 100, clock.now)
    for _ in range(40):
        with admission.admitted(1):
            clock.sleep(10)
    with ExitStack() as stack:
        tickets = [stack.enter_context(admission.admitted(1)) for _ in range(6)]
        places = [admission.place(ticket) for ticket in tickets[1 + AHEAD_SEQUENCES :]]
    assert [place.num_ahead for place in places] == [0, 1, 2]
    assert [place.seconds for place in places] == pytest.approx([10, 20, 30], rel=0.01)
    await asyncio.sleep(0)
