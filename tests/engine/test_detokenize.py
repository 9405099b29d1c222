import random

from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.scripted import ScriptedTokenizer
from firesteel.engine.detokenize import Detokenizer

tokenizer = ScriptedTokenizer()


@given(st.text(), st.integers())
def test_text_comes_back_whole_however_the_tokens_are_grouped(text: str, seed: int) -> None:
    tokens = tokenizer.encode(text, special=False)
    chooser = random.Random(seed)
    groups: list[list[int]] = [[]]
    for token in tokens:
        groups[-1].append(token)
        if chooser.random() < 0.5:
            groups.append([])
    for grouping in (groups, [tokens], [[token] for token in tokens]):
        detokenizer = Detokenizer(tokenizer.piece)
        assert "".join(detokenizer.feed(group) for group in grouping) == text


def test_half_a_character_never_leaves() -> None:
    detokenizer = Detokenizer(tokenizer.piece)
    tokens = tokenizer.encode("🦊", special=False)
    assert len(tokens) == 4
    assert [detokenizer.feed([token]) for token in tokens] == ["", "", "", "🦊"]


def test_bytes_that_are_no_character_become_the_replacement_character() -> None:
    detokenizer = Detokenizer(lambda token: bytes([token]))
    assert detokenizer.feed([0xFF, 0x41]) == "\ufffdA"
