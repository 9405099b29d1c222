"""Laws 2, 3 and 5 for the guard in the engine: on the scripted backend, for texts that are full of findings."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.engine.detokenize import Detokenizer
from firesteel.guard.scan import scan
from firesteel.types import Delta, Guarded, Sampling
from firesteel.verdict import GuardOrder
from tests.engine.helpers import Bench, chat
from tests.guard.snippets import LANGUAGES, texts

SOME = st.sampled_from(LANGUAGES)
STOP = st.text("\n ;)(e", min_size=1, max_size=3)
PENALISED = Sampling(temperature=0, frequency_penalty=1.9, presence_penalty=1.0)


def answer(say: str, order: GuardOrder | None, *, step: int = 1, can_trim: bool = True, **work: Any) -> Bench:
    script = {"tokens_per_step": step, "rules": [{"say": say}]}
    bench = Bench(json.dumps(script), can_trim=can_trim, context_tokens=8_000)
    bench.add("a", chat("go"), max_tokens=400, guard=order, **work)
    bench.run()
    bench.check_rest()
    return bench


def shown(bench: Bench) -> str:
    """What a client holds in the end that does as the events say."""
    text = ""
    for event in bench.events["a"]:
        if isinstance(event, Delta):
            text += event.text
        elif isinstance(event, Guarded) and event.kind == "rewind":
            text = text[: event.num_text]
    return text


def decoded(bench: Bench) -> str:
    return Detokenizer(bench.backend.tokenizer.piece).feed(bench.finish("a").tokens)


def drawn(data: st.DataObject, language: str) -> str:
    return data.draw(texts(language)).replace("\ud800", "")


@settings(max_examples=40, deadline=None)
@given(data=st.data(), language=SOME, is_live=st.booleans(), step=st.sampled_from([1, 3, 16]), can_trim=st.booleans())
def test_whoever_follows_the_events_holds_the_answer(
    data: st.DataObject, language: str, is_live: bool, step: int, can_trim: bool
) -> None:
    order = GuardOrder(language=language, is_live=is_live)
    bench = answer(drawn(data, language), order, step=step, can_trim=can_trim, sampling=data.draw(sampled))
    assert shown(bench) == decoded(bench)
    if not is_live:  # nothing that left is ever taken back
        assert not [e for e in bench.events["a"] if isinstance(e, Guarded) and e.kind != "finding"]


sampled = st.sampled_from([Sampling(temperature=0), PENALISED])


@settings(max_examples=40, deadline=None)
@given(data=st.data(), language=SOME, is_live=st.booleans())
def test_text_without_findings_is_as_without_a_guard(data: st.DataObject, language: str, is_live: bool) -> None:
    say = drawn(data, language)
    told = GuardOrder(language=language, is_live=is_live, level="observe")
    assert answer(say, told).finish("a").tokens == answer(say, None).finish("a").tokens
    if not scan(say, language):
        free, watched = answer(say, None), answer(say, GuardOrder(language=language, is_live=is_live))
        assert watched.finish("a").tokens == free.finish("a").tokens
        assert shown(watched) == shown(free)
        if is_live:  # not even later
            assert watched.events["a"][:-1] == free.events["a"][:-1]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), language=SOME, is_live=st.booleans())
def test_how_many_tokens_a_step_yields_changes_nothing(data: st.DataObject, language: str, is_live: bool) -> None:
    say, order = drawn(data, language), GuardOrder(language=language, is_live=is_live)
    one, many = answer(say, order), answer(say, order, step=data.draw(st.integers(2, 30)))
    assert one.finish("a").tokens == many.finish("a").tokens
    assert shown(one) == shown(many)
    first, second = one.finish("a").usage.guard, many.finish("a").usage.guard
    assert first is not None
    assert second is not None
    assert (first.findings, first.num_rewinds) == (second.findings, second.num_rewinds)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), language=SOME, is_live=st.booleans())
def test_what_stays_vulnerable_is_told(data: st.DataObject, language: str, is_live: bool) -> None:
    """Whatever the scanner finds in the text that stands in the end, the report names."""
    bench = answer(drawn(data, language), GuardOrder(language=language, is_live=is_live))
    report = bench.finish("a").usage.guard
    assert report is not None
    assert report.num_failures == 0
    told = {(each.rule, each.start) for each in report.findings}
    assert {(each.rule, each.start) for each in scan(shown(bench), language)} <= told


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(), language=SOME, stops=st.lists(st.text("\n ;)(e", min_size=1, max_size=3), min_size=1, max_size=3)
)
def test_stop_strings_come_first(data: st.DataObject, language: str, stops: list[str]) -> None:
    bench = answer(drawn(data, language), GuardOrder(language=language), stop=tuple(stops))
    assert not any(stop in shown(bench) for stop in stops)
    assert decoded(bench).startswith(shown(bench))
