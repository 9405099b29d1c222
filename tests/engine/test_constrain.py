"""A constraint agrees with slow twins: each token tried alone, Python's own regular expressions, a fresh constraint."""

import json
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from firesteel.backend import open_tokenizer
from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.config import EngineConfig
from firesteel.engine.constrain import MAX_GRAMMARS, Constraint, Grammars, Mask
from firesteel.errors import EngineFailure
from firesteel.types import Tokenizer

TOKENIZER = shared_tokenizer()
(END,) = TOKENIZER.end_tokens
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "count": {"type": "integer"}, "ok": {"type": "boolean"}},
    "required": ["name", "count"],
    "additionalProperties": False,
}
LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
GRAMMARS = {
    "json": LLMatcher.grammar_from_json_schema(json.dumps(SCHEMA), overrides=LAYOUT),  # type: ignore[arg-type]
    "regex": LLMatcher.grammar_from_regex(r"def [a-c]{1,3}\(\):\n(    return [0-9]+\n)+"),
    "lark": LLMatcher.grammar_from_lark('start: ("x = " NUMBER "\\n")*\nNUMBER: /[0-9]{1,2}/'),
    "cannot roll back": LLMatcher.grammar_from_lark('start: word "!"\nword[max_tokens=4]: /[a-z]*/'),
    "utf-8": LLMatcher.grammar_from_regex("[äöü]+ß?"),
}


@cache
def grammars() -> Grammars:
    return Grammars(TOKENIZER)


def start(name: str) -> Constraint:
    return grammars().constraint(GRAMMARS[name])


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, special=False)


def fed(constraint: Constraint, tokens: list[int]) -> Constraint:
    for token in tokens:
        constraint.consume(token)
    return constraint


def allowed(constraint: Constraint, size: int = TOKENIZER.vocabulary_size) -> set[int]:
    logits = np.zeros(size, np.float32)
    constraint.apply(logits)
    return set(np.isfinite(logits).nonzero()[0].tolist())


def state(constraint: Constraint) -> tuple[set[int], list[int], bool]:
    return allowed(constraint), constraint.forced(), constraint.is_complete


def walk(constraint: Constraint, choices: list[int]) -> list[int]:
    """Consume a token that is allowed for every choice, up to an end token; return them."""
    tokens: list[int] = []
    for choice in choices:
        can = sorted(allowed(constraint))
        if not can:
            break  # it has ended
        tokens.append(can[choice % len(can)])
        constraint.consume(tokens[-1])
    return tokens


names = st.sampled_from(sorted(GRAMMARS))
choices = st.lists(st.integers(0, 10_000), max_size=25)


@given(st.data(), st.integers(1, 300), st.floats(0, 1))
def test_a_mask_sets_what_is_not_in_it_to_minus_infinity(data: st.DataObject, size: int, density: float) -> None:
    chance = np.random.default_rng(data.draw(st.integers(0, 99)))
    size *= data.draw(st.sampled_from([1, 100]))
    keep = chance.random(size) < density
    mask = Mask(size)
    mask.words.view(np.uint8)[: (size + 7) // 8] = np.packbits(keep, bitorder="little")
    logits = chance.normal(size=size).astype(np.float32)
    expected = np.where(keep, logits, np.float32(-np.inf))
    mask.apply(logits)
    assert np.array_equal(logits, expected)


@settings(max_examples=30)
@given(names, choices)
def test_the_mask_holds_the_tokens_that_may_be_consumed(name: str, choices: list[int]) -> None:
    constraint = start(name)
    tokens = walk(constraint, choices)
    can = allowed(constraint)
    others = {token for token in range(TOKENIZER.vocabulary_size) if constraint.allows(token)} - can
    if others:  # where text is forced, the mask has its usual token only
        text = TOKENIZER.piece(can.pop())
        assert not can
        assert all(text.startswith(piece) or piece.startswith(text) for piece in map(TOKENIZER.piece, others))
        can = allowed(constraint)
    assert all(map(constraint.allows, can))
    for token in sorted(can)[:: max(1, len(can) // 5)]:
        fed(start(name), [*tokens, token])
    refused = next(token for token in range(TOKENIZER.vocabulary_size) if token not in can | others)
    before = state(constraint)
    with pytest.raises(EngineFailure, match=str(refused)):
        constraint.consume(refused)
    assert state(constraint) == before


@given(st.text("ab", max_size=8))
def test_an_end_token_may_come_exactly_where_the_grammar_is_satisfied(text: str) -> None:
    pattern = "a(ba)*b?|bb+"
    constraint = grammars().constraint(LLMatcher.grammar_from_regex(pattern))
    tokens = [encode(character)[0] for character in text]
    num_valid = constraint.num_valid(tokens)
    fed(constraint, tokens[:num_valid])
    assert constraint.allows(END) == bool(re.fullmatch(pattern, text[:num_valid]))
    assert constraint.is_complete == (constraint.allows(END) and allowed(constraint) == {END})
    if num_valid < len(text):
        assert not any(re.fullmatch(pattern, text[: num_valid + 1] + rest) for rest in ("", "a", "b", "ab", "ba"))


@settings(max_examples=60)
@given(names, choices, st.lists(st.tuples(st.integers(0, 30), choices), max_size=4))
def test_after_a_rollback_all_is_as_if_only_what_stays_had_come(
    name: str, first: list[int], rounds: list[tuple[int, list[int]]]
) -> None:
    constraint = start(name)
    tokens = walk(constraint, first)
    for num_dropped, more in rounds:
        num_dropped = min(num_dropped, len(tokens))
        constraint.rollback(num_dropped)
        tokens = tokens[: len(tokens) - num_dropped]
        assert state(constraint) == state(fed(start(name), tokens))
        if END not in tokens:
            tokens += walk(constraint, more)


@settings(max_examples=60)
@given(names, choices)
def test_forced_text_is_what_every_way_on_begins_with(name: str, choices: list[int]) -> None:
    constraint = start(name)
    walk(constraint, choices)
    forced = constraint.forced()
    text = b"".join(map(TOKENIZER.piece, forced))
    for token in forced:
        for other in allowed(constraint):
            piece = TOKENIZER.piece(other)
            assert piece
            assert text.startswith(piece) or piece.startswith(text)
        constraint.consume(token)
        text = text[len(TOKENIZER.piece(token)) :]
    assert END not in forced


@settings(max_examples=60)
@given(names, choices, choices, st.lists(st.integers(0, TOKENIZER.vocabulary_size - 1), max_size=3), st.booleans())
def test_num_valid_is_how_many_can_be_consumed(
    name: str, first: list[int], more: list[int], wrong: list[int], ends: bool
) -> None:
    if name == "cannot roll back":
        return  # its limit is in tokens, which llguidance checks for the next one only
    tokens = walk(start(name), first)
    draft = walk(fed(start(name), tokens), more) + [END] * ends + wrong
    constraint = fed(start(name), tokens)
    before = state(constraint)
    num_valid = constraint.num_valid(draft)
    assert state(constraint) == before
    for number, token in enumerate(draft):
        assert constraint.allows(token) == (number < num_valid)
        if number == num_valid:
            break
        constraint.consume(token)


def test_keys_and_punctuation_of_the_fixed_layout_are_forced() -> None:
    constraint = fed(start("json"), encode('{"name": "ab",'))
    assert TOKENIZER.decode(constraint.forced()) == ' "count":'


def test_an_answer_ends_where_nothing_may_follow_and_can_be_taken_back() -> None:
    constraint = fed(start("json"), encode('{"name": "", "count": 12, "ok": true}'))
    assert (constraint.is_complete, constraint.forced(), allowed(constraint)) == (True, [], {END})
    constraint.consume(END)
    assert (constraint.is_complete, constraint.allows(END), allowed(constraint)) == (True, False, set())
    constraint.rollback(0)
    assert not constraint.allows(END)
    constraint.rollback(1)
    assert constraint.allows(END)
    constraint.rollback(1)
    assert not constraint.allows(END)
    assert constraint.allows(encode("}")[0])


def test_control_tokens_never_come() -> None:
    constraint = grammars().constraint(LLMatcher.grammar_from_regex(r"(?s:.*)"))
    visible = {token for token in range(TOKENIZER.vocabulary_size) if TOKENIZER.piece(token)}
    assert allowed(constraint) <= visible | {END}
    assert allowed(constraint) >= {token for token in visible if TOKENIZER.piece(token).isascii()}


@pytest.mark.parametrize(
    "grammar",
    [LLMatcher.grammar_from_regex("a(("), LLMatcher.grammar_from_lark("start: missing"), "{}", "not a grammar", ""],
)
def test_a_grammar_that_does_not_compile(grammar: str) -> None:
    with pytest.raises(EngineFailure, match="does not compile") as caught:
        grammars().constraint(grammar)
    assert caught.value.code == "invalid_value"


def test_a_grammar_that_leads_nowhere_fails_instead_of_breaking_it() -> None:
    nowhere = LLMatcher.grammar_from_lark('start: "a" /[^\\s\\S]/')
    with pytest.raises(EngineFailure) as caught:
        walk(grammars().constraint(nowhere), [0, 0])
    assert caught.value.code == "invalid_value"


def test_constraints_of_one_grammar_do_not_meet() -> None:
    one, two = start("regex"), start("regex")
    fed(one, encode("def a"))
    assert state(two) == state(start("regex")) != state(one)


def test_more_grammars_than_are_kept() -> None:
    few = Grammars(TOKENIZER)
    first = few.constraint(GRAMMARS["cannot roll back"])
    fed(first, encode("ab"))
    for number in range(MAX_GRAMMARS + 1):
        few.constraint(LLMatcher.grammar_from_regex(f"a{{{number + 1}}}"))
    first.rollback(1)
    assert state(first) == state(fed(start("cannot roll back"), encode("ab")[:-1]))


@pytest.mark.model
def test_the_default_models_tokenizer_writes_json() -> None:
    tokenizer: Tokenizer = open_tokenizer(EngineConfig())
    real = Grammars(tokenizer)
    text = '{"name": "a\\n \\" ü", "count": -12, "ok": false}'
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "name": {"type": "string"}}}  # type: ignore[dict-item]
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=LAYOUT)  # type: ignore[arg-type]
    constraint = real.constraint(grammar)
    chosen: list[int] = []
    num_forced = 0
    tokens = tokenizer.encode(text, special=False)
    while not constraint.is_complete:
        forced = constraint.forced()
        assert forced == tokens[len(chosen) :][: len(forced)], "forced tokens are those that the tokenizer writes"
        num_forced += len(forced)
        chosen += forced
        fed(constraint, forced)
        for token in tokens[len(chosen) : len(chosen) + 1]:
            assert token in allowed(constraint, tokenizer.vocabulary_size)
            constraint.consume(token)
            chosen.append(token)
    assert chosen == tokens
    assert num_forced >= len(tokens) // 4
    assert allowed(constraint, tokenizer.vocabulary_size) == tokenizer.end_tokens
    control = {token for token in range(tokenizer.vocabulary_size) if not tokenizer.piece(token)}
    constraint.rollback(len(tokens))
    assert not control & allowed(constraint, tokenizer.vocabulary_size)
    anything = real.constraint(LLMatcher.grammar_from_regex(r"(?s:.*)"))
    assert control & allowed(anything, tokenizer.vocabulary_size) == tokenizer.end_tokens
