"""What is recalled says what plain encoding says, and keeps the tokens that the model chose."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.session.recall import TokenRecall, common_length
from firesteel.types import Tokenizer
from tests.session.toy_tokenizer import FIRST_CONTROL, UNKNOWN, ToyTokenizer, written

Turn = tuple[str, str]  # role, text

words = st.sampled_from(
    ["a", "b", "abc", "bca", "\n", " ", "🦊", "é", "<|", "end", "|>", "<|end|>", "<|user|>", "ß", "<unk>"]
)
texts = st.lists(words, max_size=6).map("".join)
controls = st.integers(FIRST_CONTROL, ToyTokenizer().vocabulary_size - 1)
spelled = words.map(lambda word: ToyTokenizer().encode(word, special=False))
toy_answers = st.lists(  # tokens as encoding gives them, single bytes, control tokens, broken characters
    spelled | words.map(lambda word: list(word.encode())) | controls.map(lambda token: [token]) | st.just([0xF0]),
    max_size=8,
).map(lambda parts: [token for part in parts for token in part])


def rendered(turns: list[Turn]) -> str:
    """Return a conversation as a template writes it, up to where the answer begins."""
    return "<s>" + "".join(f"<|{role}|>\n{text}<|end|>\n" for role, text in turns) + "<|assistant|>\n"


def visible(tokens: list[int], tokenizer: Tokenizer) -> str:
    """Return what a client sees of an answer."""
    return b"".join(map(tokenizer.piece, tokens)).decode(errors="ignore")


def ask(recall: TokenRecall, text: str, answer: list[int] | None = None, **owner: Any) -> list[int]:
    """Return the tokens of a prompt, and remember it with an answer."""
    tokenizer = recall.tokenizer(**owner)
    tokens = tokenizer.encode(text, special=True)
    if answer is not None:
        tokenizer.remember(answer)
    return tokens


steps = st.tuples(
    st.sampled_from(["", "", "", "scope"]),
    st.sampled_from([None, "one", "two"]),
    st.integers(0, 2),  # which conversation goes on
    st.sampled_from(["", "a", "abc"]) | texts,
    st.sampled_from(["go on", "edit", "undo", "cut", "strip", "regenerate"]),
    toy_answers,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, min_size=2, max_size=12), st.integers(1, 6))
def test_any_history_says_what_plain_encoding_says(listed: list[Any], max_entries: int) -> None:
    """The law: whatever clients did to the conversations, the recalled tokens spell the prompt exactly."""
    plain = ToyTokenizer()
    recall = TokenRecall(plain, max_entries=max_entries)
    conversations: list[list[Turn]] = [[], [], []]
    for scope, session, number, text, action, answer in listed:
        turns = changed(conversations[number], action)
        turns.append(("user", text))
        prompt = rendered(turns)
        tokens = ask(recall, prompt, answer, scope=scope, session=session)
        # An answer may spell byte by byte what encoding cannot spell at all; its own tokens are kept.
        assert written(tokens, plain).replace(UNKNOWN, "<unk>") == written(plain.encode(prompt, special=True), plain)
        conversations[number] = [*turns, ("assistant", visible(answer, plain))]


def changed(turns: list[Turn], action: str) -> list[Turn]:
    """Return what a client makes of its conversation before the next turn."""
    if not turns or action == "go on":
        return list(turns)
    *before, (role, text) = turns
    if action in ("undo", "regenerate"):
        return before[:-1]
    edited = {"edit": text + "a", "cut": text[: len(text) // 2], "strip": text.strip()}[action]
    return [*before, (role, edited)]


@given(texts, st.booleans(), st.booleans())
def test_without_memory_it_is_plain_encoding(text: str, bos: bool, space: bool) -> None:
    plain = ToyTokenizer(bos=bos, space=space)
    tokenizer = TokenRecall(plain).tokenizer()
    for special in (True, False):
        assert tokenizer.encode(text, special=special) == plain.encode(text, special=special)
    assert tokenizer.prompt_prefix() == plain.prompt_prefix()


@given(texts, texts, texts, st.booleans())
def test_what_was_encoded_only_keeps_every_token_of_plain_encoding(
    text: str, answer: str, more: str, space: bool
) -> None:
    """Cuts before control tokens change nothing, also where the tokenizer puts a space before text."""
    plain = ToyTokenizer(space=space)
    recall = TokenRecall(plain)
    ask(recall, rendered([("user", text)]), [])
    follow_up = rendered([("user", text), ("assistant", answer), ("user", more)])
    assert ask(recall, follow_up) == plain.encode(follow_up, special=True)


@pytest.mark.parametrize("session", [None, "s"])
def test_a_follow_up_begins_with_exactly_what_was_computed(session: str | None) -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    turns = [("user", "abc " * 500)]
    answer = list(b"abcabc\n\n")  # single bytes, where encoding would merge them
    prompt = ask(recall, rendered(turns), answer, session=session)
    turns += [("assistant", "abcabc\n\n"), ("user", "more")]
    plain.num_encoded = 0
    follow_up = ask(recall, rendered(turns), session=session)
    assert follow_up[: len(prompt) + len(answer)] == prompt + answer
    assert follow_up != plain.encode(rendered(turns), special=True)
    assert plain.num_encoded - len(rendered(turns)) == len("<|end|>\n<|user|>\nmore<|end|>\n<|assistant|>\n")


@pytest.mark.parametrize(
    ("sent_back", "expected"),
    [
        ("bcab", list(b"bcab")),  # a stop string, or an interruption, took the rest
        ("bcabca  ", list(b"bcabca  ")),
        ("bcabca", list(b"bcabca")),  # a template that trims
        ("bcax", ToyTokenizer().encode("bcax", special=False)),  # edited: the turn is encoded anew
        ("", []),
    ],
)
def test_an_answer_that_comes_back_shorter(sent_back: str, expected: list[int]) -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    prompt = ask(recall, rendered([("user", "x")]), list(b"bcabca  "))
    tokens = ask(recall, rendered([("user", "x"), ("assistant", sent_back), ("user", "y")]))
    begin = [*prompt, *expected, *plain.end_tokens]
    assert tokens[: len(begin)] == begin


def test_a_character_that_was_never_completed_does_not_come_back() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    prompt = ask(recall, rendered([("user", "x")]), [*b"ok", *"🦊".encode()[:3]])
    tokens = ask(recall, rendered([("user", "x"), ("assistant", "ok"), ("user", "y")]))
    assert tokens[: len(prompt) + 3] == [*prompt, *b"ok", *plain.end_tokens]


def test_a_changed_last_turn_keeps_what_stands_before_it() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    long = ("user", "abc " * 1000)
    ask(recall, rendered([long, ("assistant", "a"), ("user", "first")]), [])
    plain.num_encoded = 0
    text = rendered([long, ("assistant", "a"), ("user", "second")])
    tokens = ask(recall, text)
    assert plain.num_encoded < 60
    assert tokens == plain.encode(text, special=True)


def test_the_beginning_of_a_call_may_be_part_of_the_prompt() -> None:
    plain = shared_tokenizer()
    recall = TokenRecall(plain)
    prompt = '<|user|>weather?<|end|><|assistant|><tool_call>\n{"name": "f", "arguments": '
    answer = plain.encode('{"x": 1}}\n', special=False)
    answer += [token for letter in "</tool_call>" for token in plain.encode(letter, special=False)]
    first = ask(recall, prompt, answer)
    follow_up = ask(recall, prompt + '{"x": 1}}\n</tool_call><|end|><|tool|>rain<|end|><|assistant|>')
    assert follow_up[: len(first) + len(answer)] == first + answer


def test_a_session_prefers_its_own_tokens() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    text = rendered([("user", "x")])
    ask(recall, text, list(b"abc"), session="one")
    ask(recall, text, plain.encode("abc", special=False), session="two")
    follow_up = rendered([("user", "x"), ("assistant", "abc"), ("user", "y")])
    begin = len(plain.encode(text, special=True))
    assert ask(recall, follow_up, session="one")[begin : begin + 3] == list(b"abc")
    assert ask(recall, follow_up, session="two")[begin] == plain.encode("abc", special=False)[0]
    assert ask(recall, follow_up, session="three")[begin] == plain.encode("abc", special=False)[0]


def test_nothing_is_shared_between_scopes() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    ask(recall, rendered([("user", "x")]), list(b"abc"), scope="one", session="s")
    follow_up = rendered([("user", "x"), ("assistant", "abc"), ("user", "y")])
    assert ask(recall, follow_up, scope="two", session="s") == plain.encode(follow_up, special=True)
    assert ask(recall, follow_up, scope="one") != plain.encode(follow_up, special=True)


def test_the_least_recently_used_leaves_first() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain, max_entries=2)
    follow_ups = {}
    for name in "abc":
        ask(recall, rendered([("user", name)]), list(b"abc"))
        follow_ups[name] = rendered([("user", name), ("assistant", "abc"), ("user", "y")])
        ask(recall, follow_ups.get("a", ""))
    recalled = {name: ask(recall, text) != plain.encode(text, special=True) for name, text in follow_ups.items()}
    assert recalled == {"a": True, "b": False, "c": True}


def test_bytes_are_bounded() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain, max_bytes=4_000)
    text = rendered([("user", "x" * 10_000)])
    ask(recall, text, [])
    plain.num_encoded = 0
    ask(recall, text)
    assert plain.num_encoded == len(text)
    for number in range(100):
        ask(recall, rendered([("user", str(number))]), list(b"abc"))
    assert sum(recalls(recall, str(number)) for number in range(100)) in range(1, 20)


def recalls(recall: TokenRecall, text: str) -> bool:
    follow_up = rendered([("user", text), ("assistant", "abc"), ("user", "y")])
    return ask(recall, follow_up) != recall.plain.encode(follow_up, special=True)


def test_a_conversation_is_one_entry_however_long() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain, max_entries=2)
    other = rendered([("user", "other")])
    ask(recall, other, list(b"abc"))
    turns: list[Turn] = []
    for number in range(20):
        turns.append(("user", str(number)))
        ask(recall, rendered(turns), list(b"bca"))
        turns.append(("assistant", "bca"))
    assert recalls(recall, "other")


def test_a_text_without_control_tokens_is_not_kept() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    ask(recall, "abc", list(b"abc"))
    assert ask(recall, "abcabc") == plain.encode("abcabc", special=True)


@given(st.text("ab", max_size=20), st.text("ab", max_size=20))
def test_common_length(first: str, second: str) -> None:
    length = common_length(first, second)
    assert first[:length] == second[:length]
    assert first[length : length + 1] != second[length : length + 1] or length == min(len(first), len(second))


@given(texts, toy_answers, texts, st.booleans())
@example("", [*b"abc", 240], "", False)
def test_what_is_restored_by_its_tokens_is_recalled_as_if_it_had_been_remembered(
    text: str, answer: list[int], more: str, space: bool
) -> None:
    plain = ToyTokenizer(space=space)
    recall = TokenRecall(plain)
    turns = [("user", text), ("assistant", visible(answer, plain)), ("user", more)]
    history = [*plain.encode(rendered(turns[:1]), special=True), *answer, *plain.encode("<|end|>", special=True)]
    restored = TokenRecall(plain)
    restored.restore(history, "")
    ask(recall, rendered(turns[:1]), answer)
    tokens = ask(restored, rendered(turns))
    plainly = plain.encode(rendered(turns), special=True)
    assert written(tokens, plain).replace(UNKNOWN, "<unk>") == written(plainly, plain)
    if not space and UNKNOWN not in text and "<" not in visible(answer, plain):
        assert tokens == ask(recall, rendered(turns))


def test_what_is_restored_ends_where_its_bytes_are_no_text() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    prompt = plain.encode(rendered([("user", "x")]), special=True)
    recall.restore([*prompt, *b"abc", *"🦊".encode()[:2], *plain.encode("<|end|>", special=True)], "")
    tokens = ask(recall, rendered([("user", "x"), ("assistant", "abc"), ("user", "y")]))
    assert tokens[: len(prompt) + 4] == [*prompt, *b"abc", *plain.end_tokens]


def test_what_is_restored_is_found_by_its_own_scope_only() -> None:
    plain = ToyTokenizer()
    recall = TokenRecall(plain)
    prompt = rendered([("user", "abc"), ("assistant", "abcabc"), ("user", "more")])
    history = [*plain.encode(rendered([("user", "abc")]), special=True), *b"abcabc"]
    recall.restore([*history, *plain.encode("<|end|>", special=True)], "mine")
    assert ask(recall, prompt, scope="mine")[: len(history)] == history
    assert ask(recall, prompt, scope="theirs") == plain.encode(prompt, special=True)
