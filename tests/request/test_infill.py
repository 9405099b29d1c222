"""llama.cpp's infill requests become ours, or an error that names the field."""

import json
from typing import Any

import pytest

from firesteel.errors import RequestError
from firesteel.request.infill import parse
from firesteel.types import FillPrompt, Request, Sampling
from firesteel.wire.fields import annotations
from firesteel.wire.infill import NOTED, REFUSED, InfillBody

LLAMA_VIM: dict[str, Any] = {  # as llama.vim a1c8e6e sends it
    "id_slot": 0,
    "input_prefix": "def f():\n",
    "input_suffix": "\n",
    "input_extra": [{"text": "x = 1", "filename": "a.py", "time": 1.5}],
    "prompt": "    ret",
    "n_predict": 128,
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.9,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 250,
    "n_cmpl": 2,
    "stop": [],
    "response_fields": ["content", "timings/prompt_n"],
    "model": "",
}


def parsed(**fields: Any) -> Request:
    return parse(json.dumps({**LLAMA_VIM, **fields}).encode(), request_id="r", defaults=Sampling(top_p=0.5))


def test_what_llama_vim_sends() -> None:
    request = parsed()
    assert request.prompts == (
        FillPrompt(prefix="def f():\n", suffix="\n", middle="    ret", files=(("a.py", "x = 1"),)),
    )
    assert (request.max_tokens, request.n, request.predict_seconds, request.model) == (128, 2, 0.25, "")
    assert (request.sampling.top_k, request.sampling.top_p) == (40, 0.9)
    assert request.response_fields == ("content", "timings/prompt_n")
    assert set(request.noted) == {"id_slot", "input_extra.time", "n_indent", "samplers", "t_max_prompt_ms"}


def test_the_warm_up_computes_the_prompt_only() -> None:
    request = parsed(n_predict=0, input_prefix="", input_suffix="", prompt="", samplers=[], t_max_predict_ms=1)
    assert request.max_tokens == 0
    assert parsed(n_predict=-1).max_tokens is None


def test_a_field_has_no_effect_exactly_if_it_stands_in_a_table() -> None:
    untyped = {path for path, kind in annotations(InfillBody).items() if kind is Any}
    assert untyped == set(NOTED) | set(REFUSED)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_prefix": None}, "input_prefix"),
        ({"n_predict": -2}, "n_predict"),
        ({"n_cmpl": 0}, "n_cmpl"),
        ({"cache_prompt": False}, "cache_prompt"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"n_probs": 3}, "n_probs"),
        ({"input_extra": [{"filename": "a"}]}, "input_extra[0].text"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_what_cannot_be_honoured_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    assert caught.value.param == param
