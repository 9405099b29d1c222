"""A conversation that is too long keeps its end, its instructions, and calls beside their outputs."""

from hypothesis import given
from hypothesis import strategies as st

from firesteel.request.truncate import fitted
from firesteel.types import ChatPrompt, Message, Prompt, TextPrompt

conversations = st.lists(st.sampled_from(["user", "assistant", "tool"]), min_size=1, max_size=60)


def encode(prompt: Prompt) -> list[int]:
    """Ten tokens a message, whose number is their id."""
    assert isinstance(prompt, ChatPrompt)
    return [int(message.content) for message in prompt.messages for _ in range(10)]


def prompt_of(roles: list[str]) -> ChatPrompt:
    return ChatPrompt(
        messages=tuple(Message(role=role, content=str(i)) for i, role in enumerate(["system", *roles]))  # type: ignore[arg-type]
    )


@given(conversations, st.integers(0, 700))
def test_what_is_left_is_the_system_message_and_an_end(roles: list[str], limit: int) -> None:
    prompt = prompt_of(roles)
    tokens, is_truncated = fitted(prompt, encode, limit)
    kept = list(dict.fromkeys(tokens))
    assert is_truncated == (10 * len(prompt.messages) > limit)
    assert kept[0] == 0
    assert kept[1:] == list(range(len(prompt.messages) - len(kept) + 1, len(prompt.messages)))
    if is_truncated and {"user", "assistant"} & set(roles):
        assert prompt.messages[kept[1]].role != "tool"
        starts = [i for i, message in enumerate(prompt.messages) if message.role in ("user", "assistant")]
        assert len(tokens) <= limit or kept[1] == starts[-1]


def test_the_place_stays_while_the_end_grows() -> None:
    """Of 32 turns that are added to a conversation that is too long, few move the beginning of what is left."""
    roles = ["user", "assistant"] * 64
    first = {fitted(prompt_of(roles[: 64 + n]), encode, 400)[0][10] for n in range(64)}
    assert len(first) <= 12


def test_what_is_no_conversation_stays_as_it_is() -> None:
    assert fitted(TextPrompt(text="x"), lambda _: [1] * 9, 3) == ([1] * 9, False)
