"""Waiting sequences start in turns between scopes, in order of arrival within one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.helpers import Bench

SCOPES = st.sampled_from("abc")


def starts(bench: Bench, num: int) -> list[str]:
    """Return the ids in the order in which their sequences began to be computed."""
    order: list[str] = []
    for _ in range(100_000):
        order += [s.work.id for s in bench.engine.scheduler.running if s.work.id not in order]
        if not bench.engine.step():
            break
    assert len(order) == num
    return order


@settings(deadline=None)
@given(st.lists(SCOPES, min_size=1, max_size=12), st.integers(1, 3))
def test_order_within_a_scope_and_no_second_turn_before_a_first(scopes: list[str], max_live: int) -> None:
    bench = Bench(max_live=max_live)
    for number, scope in enumerate(scopes):
        bench.add(f"{scope}{number}", f"prompt {number} of {scope}", 3, scope=scope)
    order = starts(bench, len(scopes))
    for scope in set(scopes):
        numbers = [int(id[1:]) for id in order if id[0] == scope]
        assert numbers == sorted(numbers)
    firsts = [order.index(next(id for id in order if id[0] == scope)) for scope in set(scopes)]
    assert max(firsts) < len(set(scopes)) + max_live


def test_somebody_new_goes_before_what_was_handed_over_before() -> None:
    bench = Bench(max_live=1)
    for number in range(4):
        bench.add(f"greedy{number}", f"prompt {number}", 5, scope="greedy")
    bench.engine.step()
    bench.add("new", "another prompt", 5, scope="new")
    assert starts(bench, 5)[:2] == ["greedy0", "new"]
