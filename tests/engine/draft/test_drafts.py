"""What is learned of proposals, and when nobody is asked."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.engine.draft.base import Draft, Evidence
from firesteel.engine.draft.calibration import MEMORY, Calibration
from firesteel.engine.draft.drafts import FIRST_REST, LONGEST_REST, Drafts
from firesteel.engine.draft.evidence import believed, run_bucket, share_bucket
from tests.engine.draft.drafters import install
from tests.engine.helpers import Bench


class Canned:
    """Always proposes the same."""

    source = "ngram"

    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.seen = tokens, list[int]()

    def propose(self, max_tokens: int) -> Draft | None:
        evidence: list[Evidence] = [4] * len(self.tokens)
        return Draft(self.source, self.tokens[:max_tokens], evidence[:max_tokens])

    def accept(self, tokens: list[int]) -> None:
        self.seen += tokens

    def rewind(self, output: list[int]) -> None:
        self.seen = output


@given(st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_calibration_comes_to_the_true_chance(chance: float, seed: int) -> None:
    import random

    chooser, calibration = random.Random(seed), Calibration(believed)
    for _ in range(2_000):
        calibration.learn("ngram", 3, right=chooser.random() < chance)
    spread = (chance * (1 - chance) / (MEMORY / 2)) ** 0.5
    assert abs(calibration.chance("ngram", 3) - chance) < 6 * spread + 0.03
    assert calibration.chance("ngram", 4) == believed("ngram", 4)


def test_what_was_learned_survives_as_json() -> None:
    calibration = Calibration(believed)
    for right in (True, False, True):
        calibration.learn("suffix", (3, 2), right=right)
        calibration.learn("ngram", 5, right=right)
    restored = Calibration(believed)
    restored.restore(json.loads(json.dumps(calibration.dump())))
    for source, evidence in (("suffix", (3, 2)), ("ngram", 5)):
        assert restored.chance(source, evidence) == calibration.chance(source, evidence)


@pytest.mark.parametrize("dumped", [[["ngram", 1, 3, 2]], [["ngram", "x", 1, 2]], [[1]], [["ngram", 1, -1, 2]]])
def test_what_cannot_have_been_learned_is_refused(dumped: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Calibration(believed).restore(dumped)


def test_every_proposal_is_scored_up_to_its_first_wrong_token() -> None:
    calibration = Calibration(lambda source, evidence: 0.5)
    drafts = Drafts([Canned([1, 2, 3, 4])], [calibration])
    for _ in range(100):
        drafts.propose(4)
        drafts.learn([1, 2, 9])
    assert calibration.chance("ngram", 4) == pytest.approx((200 + 3) / (300 + 6), abs=0.02)


def test_drafters_see_all_output_whoever_was_asked() -> None:
    canned = Canned([1])
    drafts = Drafts([canned], [Calibration(believed)])
    drafts.learn([5, 6])
    drafts.accept([7])
    assert canned.seen == []
    drafts.propose(1)
    assert canned.seen == [5, 6, 7]
    drafts.rewind([5])
    assert canned.seen == [5]


def test_drafters_that_cost_more_than_they_bring_rest_longer_and_longer() -> None:
    drafts = Drafts([Canned([1])], [Calibration(believed)])
    drafts.weigh(seconds=9.0, saved=0.0, step_seconds=1.0)
    assert not drafts.is_resting()  # the first time is spent on tables
    rests = []
    for _ in range(8):
        drafts.weigh(seconds=1.0, saved=0.0, step_seconds=1.0)
        count = 0
        while drafts.is_resting():
            count += 1
        rests.append(count)
    assert rests[0] == FIRST_REST
    assert rests[-1] == LONGEST_REST
    assert rests == sorted(rests)
    for _ in range(40):
        drafts.weigh(seconds=1.0, saved=5.0, step_seconds=1.0)
        while drafts.is_resting():
            pass
    drafts.weigh(seconds=1.0, saved=5.0, step_seconds=1.0)
    assert not drafts.is_resting()


def test_drafters_that_cost_next_to_nothing_never_rest() -> None:
    drafts = Drafts([Canned([1])], [Calibration(believed)])
    for _ in range(100):
        drafts.weigh(seconds=0.0002, saved=0.0, step_seconds=0.05)
        assert not drafts.is_resting()


@given(st.integers(0, 10_000))
def test_longer_runs_are_believed_more(run: int) -> None:
    assert run_bucket(run) <= run_bucket(run + 1)
    for source in ("prediction", "reference", "ngram"):
        assert 0 < believed(source, run_bucket(run)) <= believed(source, run_bucket(run + 1)) < 1


@given(st.integers(1, 50), st.data())
def test_more_votes_are_believed_more(num_votes: int, data: st.DataObject) -> None:
    votes = data.draw(st.integers(1, num_votes))
    assert 0 <= share_bucket(votes - 1, num_votes) <= share_bucket(votes, num_votes) < 4
    assert share_bucket(1, 1) < share_bucket(5, 5)
    assert believed("suffix", (4, share_bucket(1, 1))) < believed("suffix", (4, share_bucket(5, 5)))


def test_a_draft_for_one_of_several_streams_keeps_the_step_short() -> None:
    """Steps of 20 ms and 2 ms a row: alone a stream may verify 48 tokens, beside another 18 or so (60 ms)."""
    bench = Bench(json.dumps({"rules": [{"mode": "hash"}]}), max_draft=48)
    for rows in (1, 2, 4, 8, 16, 32, 48):
        for _ in range(20):
            bench.engine.drafting.cost.observe(rows, 0.02 + 0.002 * rows, 10)
    install(bench, Canned([1] * 48))
    for id in ("a", "b"):
        bench.add(id, [30, 31], max_tokens=200)
    bench.run_until("a", 3)
    sequences = [bench.engine._sequences[id] for id in ("a", "b")]
    for number, most in ((1, 48), (2, 20)):
        room = bench.engine.drafting.room(
            sequences[:number], sequences[0], num_rows=number, num_free=500, num_tokens=10
        )
        assert most - 4 <= room <= most
