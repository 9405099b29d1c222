"""The law of recall on the default model's own tokenizer."""

import random
from pathlib import Path

import pytest

from firesteel.backend import open_tokenizer
from firesteel.config import EngineConfig
from firesteel.request.chat_template import render
from firesteel.session.recall import TokenRecall
from firesteel.types import ChatPrompt, Message
from tests.session.toy_tokenizer import written

pytestmark = pytest.mark.model

CODE = Path(__file__).with_name("test_recall.py").read_text()


def test_a_conversation_whose_answers_are_not_in_the_usual_tokens() -> None:
    plain = open_tokenizer(EngineConfig())
    recall = TokenRecall(plain)
    chance = random.Random(0)
    messages: list[Message] = []
    known: list[int] = []
    for number in range(8):
        messages.append(Message(role="user", content=CODE[500 * number :][:400]))
        tokenizer = recall.tokenizer("", "s")
        prompt = ChatPrompt(messages=tuple(messages))
        tokens = render(prompt, tokenizer)
        assert tokens[: len(known)] == known
        assert written(tokens, plain) == written(render(prompt, plain), plain)
        text = CODE[500 * number + 400 :][:600]
        cuts = sorted(chance.sample(range(len(text)), 20))
        parts = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        answer = [token for part in parts for token in plain.encode(part, special=False)]
        tokenizer.remember(answer)
        known = tokens + answer
        messages.append(Message(role="assistant", content=text))
