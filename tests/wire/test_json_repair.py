import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.wire.json_repair import JsonRepair, repair_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
anything = st.text(st.sampled_from("{}[]\",:'\\u019dDc \n-.etrufalsn")) | st.text()


@given(JSON)
def test_valid_json_is_left_as_it_is(value: object) -> None:
    for in_ascii in (True, False):
        text = json.dumps(value, ensure_ascii=in_ascii)
        assert repair_json(text) == text


@given(anything)
def test_what_comes_out_is_valid_json_that_can_be_sent(text: str) -> None:
    repaired = repair_json(text)
    if repaired is not None:
        json.dumps(json.loads(repaired), ensure_ascii=False).encode()


@given(anything)
def test_all_that_json_knows_is_taken(text: str) -> None:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except ValueError:
        return
    repaired = repair_json(text)
    assert repaired is not None
    assert json.loads(repaired) == value or "\\ufffd" in repaired


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("{'a': 'b\"c'}", '{"a": "b\\"c"}'),
        ("{a: True, b: False, c: None,}", '{"a": true, "b": false, "c": null}'),
        ("[1, 2,\n ]", "[1, 2]"),
        ('{"a": "b\nc\td"}', '{"a": "b\\nc\\td"}'),
        ('"\\d\\\'\\u12 \\ud83e\\udd8a \\ud83e"', '"\\\\d\'\\\\u12 \\ud83e\\udd8a \\ufffd"'),
        ('{"a": [1, {"b": 2', '{"a": [1, {"b": 2}]}'),
        ('{"a": 1,', '{"a": 1}'),
        ("", None),
        ("{,}", None),
        ('{"a"}', None),
        ('{"a": 1 "b": 2}', None),
        ('{"a": "b', None),
        ('{"a": ', None),
        ("[1}", None),
        ("01", None),
        ("NaN", None),
        ("{} x", None),
    ],
)
def test_examples(text: str, repaired: str | None) -> None:
    assert repair_json(text) == repaired


@given(anything)
def test_every_step_goes_on_or_breaks(text: str) -> None:
    """Else a reader would never return."""
    repair, at = JsonRepair(), 0
    for _ in range(3 * len(text) + 3):
        if at == len(text) or repair.is_complete or repair.is_broken:
            return
        at, _ = repair.step(text, at)
    raise AssertionError("no end")
