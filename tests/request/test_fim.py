import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.errors import RequestError
from firesteel.request.fim import render_fill
from firesteel.types import FillPrompt
from tests.request.byte_tokenizer import ID, ByteTokenizer

PRE, SUF, MID = ID["<|pre|>"], ID["<|suf|>"], ID["<|mid|>"]


def test_prefix_suffix_middle() -> None:
    tokens = render_fill(FillPrompt(prefix="ab", suffix="yz"), ByteTokenizer(bos=True))
    assert tokens == [ID["<s>"], PRE, *b"ab", SUF, *b"yz", MID]


def test_control_tokens_in_the_file_are_text() -> None:
    tokens = render_fill(FillPrompt(prefix="<|mid|>", suffix=""), ByteTokenizer())
    assert tokens == [PRE, *b"<|mid|>", SUF, MID]


def test_model_without_fim_tokens() -> None:
    with pytest.raises(RequestError, match="choose another model") as caught:
        render_fill(FillPrompt(prefix="", suffix=""), ByteTokenizer(fim=False))
    assert caught.value.param == "suffix"


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 140), st.booleans())
def test_clipping_keeps_the_nearest_text(before: bytes, after: bytes, limit: int, bos: bool) -> None:
    prefix, suffix = before.decode("latin-1"), after.decode("latin-1")
    tokenizer = ByteTokenizer(bos=bos)
    whole = render_fill(FillPrompt(prefix=prefix, suffix=suffix), tokenizer)
    tokens = render_fill(FillPrompt(prefix=prefix, suffix=suffix), tokenizer, limit=limit)
    start = 1 + int(bos)
    at = tokens.index(SUF)
    kept_prefix, kept_suffix = tokens[start:at], tokens[at + 1 : -1]
    assert prefix.encode().endswith(bytes(kept_prefix))
    assert suffix.encode().startswith(bytes(kept_suffix))
    assert len(tokens) == min(len(whole), max(limit, 3 + int(bos)))


def test_shares_are_three_to_one_and_what_is_spare_goes_to_the_other() -> None:
    def sizes(num_prefix: int, num_suffix: int) -> tuple[int, int]:
        prompt = FillPrompt(prefix="p" * num_prefix, suffix="s" * num_suffix)
        tokens = render_fill(prompt, ByteTokenizer(), limit=43)
        return tokens.count(ord("p")), tokens.count(ord("s"))

    assert sizes(100, 100) == (30, 10)
    assert sizes(5, 100) == (5, 35)
    assert sizes(100, 5) == (35, 5)
    assert sizes(5, 5) == (5, 5)


def test_files_stand_before_the_hole_and_the_beginning_after_it() -> None:
    tokenizer = ByteTokenizer(files=True)
    prompt = FillPrompt(prefix="ab", suffix="yz", middle="c", files=(("a.py", "A"), ("b.py", "B")))
    assert tokenizer.text(render_fill(prompt, tokenizer)) == (
        "<|repo|>repository\n<|file|>a.py\nA\n<|file|>b.py\nB\n<|file|>current file\n<|pre|>ab<|suf|>yz<|mid|>c"
    )
    plain = ByteTokenizer()
    assert plain.text(render_fill(prompt, plain)) == "# a.py\nA\n# b.py\nB\n<|pre|>ab<|suf|>yz<|mid|>c"


ASCII = st.text(alphabet=st.characters(codec="ascii"), max_size=20)  # a cut inside a character could not be read


@given(st.lists(st.text(max_size=20), max_size=5), ASCII, st.integers(0, 200), st.booleans())
def test_what_does_not_fit_is_left_out_the_oldest_file_first(
    texts: list[str], prefix: str, limit: int, files: bool
) -> None:
    tokenizer = ByteTokenizer(files=files)
    prompt = FillPrompt(prefix=prefix, suffix="", middle="m", files=tuple((f"{i}", t) for i, t in enumerate(texts)))
    tokens = render_fill(prompt, tokenizer, limit=limit)
    assert len(tokens) <= max(limit, 4)
    whole = render_fill(prompt, tokenizer)
    if len(whole) <= limit:
        assert tokens == whole
    kept = tokenizer.text(tokens)
    written = [f"{i}\n{t}\n" for i, t in enumerate(texts)]
    shown = [text in kept for text in written]
    assert shown == sorted(shown) or len(set(written)) < len(written) or any(a in b for a in texts for b in texts)


def test_typing_changes_nothing_before_the_beginning() -> None:
    """What llama.vim types is `middle`, so that everything before it stays warm."""
    tokenizer = ByteTokenizer(files=True)
    files = (("a.py", "A"),)
    first, second = (
        render_fill(FillPrompt(prefix="ab", suffix="yz", middle=middle, files=files), tokenizer)
        for middle in ("c", "cd")
    )
    assert second[: len(first)] == first
