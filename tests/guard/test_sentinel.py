"""The sentinel: what it says, what it may do, and that damage is noticed."""

import math
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.guard import Action, Guard, Policy, canary, sentinel
from firesteel.guard.analyse import Result, analyse
from firesteel.guard.rules.learned import CLASS_OF, CLASSES, LEARNED
from firesteel.guard.scan import scan
from firesteel.guard.sentinel import BUCKETS, Head, Sentinel, features_of, packed, reviewed, shipped, unpacked
from tests.guard.snippets import LANGUAGES, texts

WIDTH = len(LEARNED) + 1
BAD = b'def f(x):\n    os.system("ls " + x)\n'
GOOD = b'def f(x):\n    return execute("SELECT a FROM t WHERE b = ?", (x,))\n'


def made(favoured: int, *, find_at: float | None = None, doubt_below: float = 0.0, action: str = "warn") -> Sentinel:
    """Return a sentinel that takes every statement of Python for class `favoured`."""
    weights = bytearray(BUCKETS * WIDTH)
    weights[(zlib.crc32(b"l:python") % BUCKETS) * WIDTH + favoured] = 127
    head = Head(
        version=1,
        scale=1.0,
        checksum=zlib.crc32(bytes(weights)),
        find_at=find_at,
        find_action=Action(action),
        doubt_below=doubt_below,
        figures={},
    )
    return Sentinel(head, bytes(weights))


def found(window: bytes) -> tuple[int, list[Result]]:
    start = window.index(b"\n") + 1
    return start, analyse("python", window, b"", start, at_end=False)


@settings(max_examples=100, deadline=None)
@given(before=st.text(max_size=200), data=st.data(), language=st.sampled_from(LANGUAGES))
def test_chances_are_those_of_the_slow_way(before: str, data: st.DataObject, language: str) -> None:
    features = features_of(language, before, data.draw(texts(language)), (("FS201", "warn"),))
    assert features == sorted(set(features))
    assert all(0 <= each < BUCKETS for each in features)
    rows = np.frombuffer(shipped().weights, np.int8).reshape(BUCKETS, WIDTH)[features].astype(float)
    scores = rows.sum(axis=0) * shipped().head.scale / math.sqrt(len(features))
    wanted = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert shipped().chances(features) == pytest.approx(list(wanted), abs=1e-9)


def test_only_the_end_of_what_stands_before_counts() -> None:
    assert features_of("python", "far " + "x" * 2_000, "f(a)", ()) == features_of("python", "x" * 2_000, "f(a)", ())


def test_doubt_turns_a_rewrite_into_a_warning_and_nothing_else() -> None:
    start, results = found(BAD)
    assert [each.match.action or each.rule.action for each in results] == [Action.rewrite]
    [milder] = reviewed(made(0, doubt_below=0.5), "python", BAD, start, results)
    assert milder.match.action is Action.warn
    assert milder.match.reason.endswith("(the sentinel doubts it)")
    assert (milder.rule, milder.start, milder.end) == (results[0].rule, results[0].start, results[0].end)
    assert reviewed(made(0, doubt_below=0.5), "python", BAD, start, [milder]) == [milder]


def test_what_is_likely_is_not_doubted() -> None:
    start, results = found(BAD)
    assert reviewed(made(2, doubt_below=0.5), "python", BAD, start, results) == results


def test_settings_decide_over_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel, "shipped", lambda: made(0, doubt_below=0.5))
    assert [each.action for each in scan(BAD.decode(), "python")] == [Action.warn]
    strict = Policy(actions={"FS211": Action.rewrite})
    assert [each.action for each in scan(BAD.decode(), "python", policy=strict)] == [Action.rewrite]


def test_it_speaks_up_only_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    start, results = found(GOOD)
    assert results == []
    assert reviewed(made(2), "python", GOOD, start, []) == []
    assert reviewed(made(0, find_at=0.5), "python", GOOD, start, []) == []
    monkeypatch.setattr(sentinel, "shipped", lambda: made(2, find_at=0.5))
    [finding] = scan(GOOD.decode(), "python")
    assert (finding.rule, finding.cwe, finding.action) == ("FS902", "CWE-78", Action.warn)
    assert GOOD.decode()[finding.start : finding.end] == GOOD.decode().splitlines()[1].strip()


def test_the_shipped_one_is_small_and_keeps_to_its_figures() -> None:
    data = packed(shipped().head, shipped().weights)
    assert len(data) <= 1_000_000
    assert unpacked(data).head == shipped().head
    head = shipped().head
    chosen = head.figures["chosen"]
    assert head.find_at == (chosen["find"] and chosen["find"]["at"])
    assert head.doubt_below == chosen["doubt"]["below"]
    assert chosen["doubt"]["lost"] <= 0.03 * chosen["doubt"]["true"]


def test_damaged_weights_are_refused() -> None:
    whole = packed(shipped().head, shipped().weights)
    for data in (b"", b"{}\n", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"\n" + whole):
        with pytest.raises(ValueError, match="weights"):
            unpacked(data)


def test_a_sentinel_that_does_not_load_is_a_guard_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Sentinel:
        raise ValueError("the sentinel's weights are damaged")

    monkeypatch.setattr(sentinel, "shipped", broken)
    guard = Guard("python", can_rewind=False)
    guard.feed(BAD.decode())
    assert guard.failures == 1
    canary.missed.cache_clear()
    assert "FS211" in canary.missed()
    canary.missed.cache_clear()


def test_classes_are_told_apart_by_their_weaknesses() -> None:
    assert [CLASS_OF[number] for _, _, numbers, _, _ in CLASSES for number in numbers[:1]] == list(range(1, WIDTH))
    assert len({rule.id for rule in LEARNED}) == len(LEARNED)
    assert msgspec.json.encode(shipped().head)
