"""The scripted tokenizer: every text comes back, control tokens only where they are asked for."""

from itertools import pairwise

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.scripted import ScriptedTokenizer, endless, vocabulary

TOKENIZER = ScriptedTokenizer()
texts = st.text() | st.lists(
    st.sampled_from([*vocabulary.CONTROLS, "<|", "|>", " <", "é", "def f(x):\n    ", "🙂"])
).map("".join)


@given(texts, st.booleans())
def test_the_labels_of_a_text_are_the_text(text: str, special: bool) -> None:
    tokens = TOKENIZER.encode(text, special=special)
    labels = (
        TOKENIZER.piece(token) or TOKENIZER.label(token).encode() if special else TOKENIZER.piece(token)
        for token in tokens
    )
    assert b"".join(labels).decode() == text
    assert all(0 <= token < TOKENIZER.vocabulary_size for token in tokens)


@given(texts)
def test_decode_gives_back_what_was_encoded(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text, special=False)) == text


@given(texts)
def test_control_tokens_are_found_wherever_they_stand(text: str) -> None:
    tokens = TOKENIZER.encode(text, special=True)
    written = sum(text.count(control) for control in vocabulary.CONTROLS)
    assert sum(token < vocabulary.NUM_CONTROLS for token in tokens) == written


@given(texts, st.data())
def test_the_tail_after_any_token_encodes_to_the_same_tail(text: str, data: st.DataObject) -> None:
    tokens = TOKENIZER.encode_bytes(text.encode())
    cut = data.draw(st.integers(0, len(tokens)))
    tail = b"".join(map(TOKENIZER.piece, tokens[cut:]))
    assert TOKENIZER.encode_bytes(tail) == tokens[cut:]


def test_no_piece_hides_the_start_of_a_control_token_or_of_a_function() -> None:
    for piece in vocabulary.pieces():
        assert not piece.endswith(("<", "<|"))
        assert not any(after.isalpha() for end, after in pairwise(piece) if end == "\n")


def test_vocabulary_ids_are_in_the_documented_order() -> None:
    assert [TOKENIZER.label(token) for token in range(vocabulary.NUM_CONTROLS)] == list(vocabulary.CONTROLS)
    assert TOKENIZER.encode("<|end|>", special=True) == [vocabulary.END]
    assert TOKENIZER.end_tokens == {vocabulary.END}
    assert TOKENIZER.piece(vocabulary.END) == b""
    assert TOKENIZER.fim is not None
    assert TOKENIZER.label(TOKENIZER.fim.middle) == "<|fim_middle|>"
    assert TOKENIZER.prompt_prefix() == []


def test_a_character_outside_ascii_is_several_tokens() -> None:
    tokens = TOKENIZER.encode("é🙂", special=False)
    assert [TOKENIZER.label(token) for token in tokens[:2]] == ["<0xC3>", "<0xA9>"]
    assert len(tokens) == 6


def test_code_takes_about_a_token_for_three_characters() -> None:
    text = "".join(map(endless.function, range(50)))
    assert 2.8 < len(text) / len(TOKENIZER.encode(text, special=False)) < 4.5


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b", special=True)) == "a?b"


def render(**variables: object) -> str:
    return jinja2.Environment().from_string(str(TOKENIZER.chat_template)).render(**variables)


def test_the_template_writes_turns_tools_and_choice() -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    call = {"id": "1", "type": "function", "function": function}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sunny"},
    ]
    assert render(messages=messages, tools=[{"name": "f"}], tool_choice="auto", add_generation_prompt=True) == (
        '<|tools|>[{"name": "f"}]<|end|><|tool_choice|>auto<|end|>'
        "<|system|>Be brief.<|end|><|user|>Weather?<|end|>"
        '<|assistant|><tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
        "<|end|>"
        "<|tool|>sunny<|end|><|assistant|>"
    )


@pytest.mark.parametrize("variables", [{}, {"tools": None}, {"tools": [], "tool_choice": None}])
def test_the_template_leaves_out_what_is_not_given(variables: dict[str, object]) -> None:
    assert render(messages=[{"role": "user", "content": "hi"}], **variables) == "<|user|>hi<|end|>"
