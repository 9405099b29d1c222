"""What the choices of a request cost together."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from firesteel.stream.tally import Tally
from firesteel.types import DraftUsage, Finish, Usage
from tests.stream.stream_cases import chat_request, chunks_of, delta, stream_bytes, usage

SOURCES = ("prediction", "ngram", "model")


def finished(usages: Sequence[Usage]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `usage` and `firesteel` as a client sees them."""
    tally = Tally(chat_request(n=len(usages)))
    for choice, one in enumerate(usages):
        tally.add(choice, Finish("s", "stop", one))
    assert tally.is_complete
    return msgspec.to_builtins(tally.usage()), msgspec.to_builtins(tally.firesteel())


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    drafts = []
    for source in draw(st.lists(st.sampled_from(SOURCES), unique=True)):
        num_drafted = draw(st.integers(1, 20))
        drafts.append(DraftUsage(source, draw(st.integers(1, 5)), num_drafted, draw(st.integers(0, num_drafted))))
    counts = {"num_steps": draw(st.integers(1, 9)), "num_forced_tokens": draw(st.integers(0, 9))}
    return msgspec.structs.replace(usage(), drafts=tuple(drafts), **counts)


@given(st.lists(usages(), min_size=1, max_size=3))
def test_drafts_are_summed_over_choices_by_source(all_usages: list[Usage]) -> None:
    wire, ours = finished(all_usages)
    said = ours["speculation"]
    assert said["steps"] == sum(one.num_steps for one in all_usages)
    assert said["forced_tokens"] == sum(one.num_forced_tokens for one in all_usages)
    by_source = {draft["source"]: draft for draft in said["drafts"]}
    assert len(by_source) == len(said["drafts"])
    drafts = [draft for one in all_usages for draft in one.drafts]
    assert set(by_source) == {draft.source for draft in drafts}
    for source, draft in by_source.items():
        same = [one for one in drafts if one.source == source]
        assert draft["steps"] == sum(one.num_steps for one in same)
        assert draft["drafted_tokens"] == sum(one.num_drafted for one in same)
        assert draft["accepted_tokens"] == sum(one.num_accepted for one in same)
    details = wire["completion_tokens_details"]
    predicted = by_source.get("prediction", {"drafted_tokens": 0, "accepted_tokens": 0})
    assert details["accepted_prediction_tokens"] == predicted["accepted_tokens"]
    assert details["rejected_prediction_tokens"] == predicted["drafted_tokens"] - predicted["accepted_tokens"]


def test_an_engine_that_counts_no_steps_says_nothing_of_speculation() -> None:
    _, ours = finished([usage(), usage()])
    assert "speculation" not in ours


def test_the_last_chunk_tells_what_was_drafted() -> None:
    cost = msgspec.structs.replace(usage(), num_steps=2, drafts=(DraftUsage("prediction", 2, 9, 7),))
    request = chat_request(include_usage=True)
    *_, last = chunks_of(stream_bytes(request, [(0, delta("a")), (0, Finish("s", "stop", cost))]))
    assert last["usage"]["completion_tokens_details"]["accepted_prediction_tokens"] == 7
    assert last["usage"]["completion_tokens_details"]["rejected_prediction_tokens"] == 2
    draft = {"source": "prediction", "steps": 2, "drafted_tokens": 9, "accepted_tokens": 7}
    assert json.dumps(last["firesteel"]["speculation"]) == json.dumps(
        {"steps": 2, "forced_tokens": 0, "drafts": [draft]}
    )
