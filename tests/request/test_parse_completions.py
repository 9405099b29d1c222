import json

import pytest

from firesteel.errors import RequestError
from firesteel.request.openai_completions import parse
from firesteel.types import FillPrompt, Prompt, Request, Sampling, TextPrompt, TokenPrompt


def parsed(**fields: object) -> Request:
    body = json.dumps({"model": "m", "prompt": "x", **fields}).encode()
    return parse(body, request_id="r", defaults=Sampling())


def refused(**fields: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": "a"}, [TextPrompt(text="a")]),
        ({"prompt": ["a", "b"]}, [TextPrompt(text="a"), TextPrompt(text="b")]),
        ({"prompt": [1, 2]}, [TokenPrompt(tokens=(1, 2))]),
        ({"prompt": [[1], [2, 3]]}, [TokenPrompt(tokens=(1,)), TokenPrompt(tokens=(2, 3))]),
        ({"prompt": "a", "suffix": "z"}, [FillPrompt(prefix="a", suffix="z")]),
        ({"prompt": "a", "suffix": ""}, [FillPrompt(prefix="a", suffix="")]),
        ({"prompt": ["a", "b"], "suffix": "z"}, [FillPrompt(prefix=p, suffix="z") for p in "ab"]),
    ],
)
def test_prompts(fields: dict[str, object], expected: list[Prompt]) -> None:
    assert list(parsed(**fields).prompts) == expected


def test_settings() -> None:
    request = parsed(echo=True, n=3, best_of=3, max_tokens=7, stream=True, user="u")
    assert request.kind == "completion"
    assert (request.echo, request.n, request.max_tokens, request.stream) == (True, 3, 7, True)
    assert request.noted == ("user",)
    assert parsed(logprobs=0).sampling.num_logprobs == 0
    assert parsed().sampling == Sampling()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], "a"]}, "prompt"),
        ({"prompt": [[1.5]]}, "prompt[0][0]"),
        ({"prompt": None}, "prompt"),
        ({"prompt": [1], "suffix": "z"}, "suffix"),
        ({"prompt": ["a"] * 33, "n": 2}, "prompt"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True, "logprobs": 0}, "echo"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"response_format": {"type": "json"}}, "response_format.type"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ],
)
def test_what_cannot_be_honoured_names_the_field(fields: dict[str, object], param: str) -> None:
    error = refused(**fields)
    assert error.param == param
    assert error.status == 400
