import pytest

from firesteel.errors import RequestError
from firesteel.request.render import check_sampling, tokens_of
from firesteel.types import ChatPrompt, FillPrompt, Message, Prompt, Sampling, TextPrompt, TokenPrompt
from tests.request.byte_tokenizer import ID, ByteTokenizer

BOS = ID["<s>"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (TextPrompt(text="a<|mid|>"), [BOS, ord("a"), ID["<|mid|>"]]),
        (TextPrompt(text="<s>a"), [BOS, ord("a")]),
        (TokenPrompt(tokens=(1, 2)), [1, 2]),
        (FillPrompt(prefix="a", suffix="b"), [BOS, ID["<|pre|>"], 97, ID["<|suf|>"], 98, ID["<|mid|>"]]),
        (ChatPrompt(messages=(Message(role="user", content="hi"),)), [BOS, *b"hi"]),
    ],
)
def test_every_kind_of_prompt(prompt: Prompt, expected: list[int]) -> None:
    tokenizer = ByteTokenizer(bos=True, chat_template="{{ messages[0].content }}")
    rendered = tokens_of(prompt, tokenizer)
    assert rendered == expected


def test_fill_limit() -> None:
    prompt = FillPrompt(prefix="abcdef", suffix="uvwxyz")
    assert len(tokens_of(prompt, ByteTokenizer(), fill_limit=7)) == 7


@pytest.mark.parametrize("prompt", [TextPrompt(text=""), TokenPrompt(tokens=())])
def test_empty_prompt(prompt: Prompt) -> None:
    with pytest.raises(RequestError, match="empty") as caught:
        tokens_of(prompt, ByteTokenizer())
    assert caught.value.param == "prompt"


def test_empty_text_is_fine_where_the_model_has_a_bos() -> None:
    assert tokens_of(TextPrompt(text=""), ByteTokenizer(bos=True)) == [BOS]


@pytest.mark.parametrize("token", [-1, 265])
def test_token_outside_the_vocabulary(token: int) -> None:
    with pytest.raises(RequestError, match=f"no token {token}; this model has the tokens 0 to 264"):
        tokens_of(TokenPrompt(tokens=(0, token)), ByteTokenizer())
    with pytest.raises(RequestError, match="logit_bias"):
        check_sampling(Sampling(logit_bias=((token, 1.0),)), ByteTokenizer())


def test_logit_bias_inside_the_vocabulary() -> None:
    check_sampling(Sampling(logit_bias=((0, 1.0), (262, -1.0))), ByteTokenizer())
    check_sampling(Sampling(), ByteTokenizer())
