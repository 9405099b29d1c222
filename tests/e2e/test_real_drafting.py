"""Drafting and grammars on the real default model, over HTTP with the official SDK."""

import json
import re
from typing import Any

import openai
import pytest

from firesteel.bench import workload
from tests.e2e.test_real_model import body_of, code_in

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

FILE = workload.read("edits-starlette-setup.py.txt")
TASK = "Change nothing but the word Starlette to Comet. Answer with the whole file in a code block."
REWRITE = f"{TASK}\n\n```python\n{FILE}\n```"
PERSON = {
    "type": "object",
    "properties": {"full_name": {"type": "string"}, "age_in_years": {"type": "integer"}},
    "required": ["full_name", "age_in_years"],
    "additionalProperties": False,
}


def speculation(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.model_extra["firesteel"]["speculation"]
    return found


def test_a_rewritten_file_takes_a_few_steps(client: openai.OpenAI) -> None:
    prediction = {"type": "content", "content": FILE}
    answer = client.chat.completions.create(**body_of(REWRITE, max_tokens=160, prediction=prediction))
    usage = answer.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    accepted = usage.completion_tokens_details.accepted_prediction_tokens
    assert accepted is not None
    assert accepted > 20
    assert speculation(answer)["steps"] < usage.completion_tokens / 2
    lines = code_in(answer.choices[0].message.content or "").splitlines()
    assert len(set(lines) & set(FILE.splitlines())) >= 8


def test_the_answer_that_was_given_before_is_remembered(client: openai.OpenAI) -> None:
    """Past outputs of the same key are drafts, whatever the prompt; the text stays what it was."""
    body = body_of("Write a Python class for a bounded stack with push, pop and peek.", max_tokens=96)
    first = client.chat.completions.create(**body)
    again = client.chat.completions.create(**body)
    assert again.choices[0].message.content == first.choices[0].message.content
    assert speculation(again)["steps"] < speculation(first)["steps"]


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_json_follows_its_schema(client: openai.OpenAI, temperature: float) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    text = "Ada Lovelace was 36 years old when she died. Describe her as JSON."
    body = body_of(text, max_tokens=60, response_format=schema) | {"temperature": temperature, "seed": 5}
    answer = client.chat.completions.create(**body)
    found = json.loads(answer.choices[0].message.content or "")
    assert set(found) == {"full_name", "age_in_years"}
    assert isinstance(found["age_in_years"], int)
    assert answer.choices[0].finish_reason == "stop"
    assert speculation(answer)["forced_tokens"] >= 6


def test_a_pattern_and_a_lark_grammar(client: openai.OpenAI) -> None:
    for syntax, definition in (("regex", r"(yes|no), because [a-z ]{3,40}\."), ("lark", 'start: ("yes" | "no") "!"')):
        form = {"type": "grammar", "syntax": syntax, "definition": definition}
        body = body_of("Is water wet?", max_tokens=60)
        answer = client.chat.completions.create(**body, extra_body={"response_format": form})
        assert re.fullmatch(r"(yes|no)(, because [a-z ]{3,40}\.|!)", answer.choices[0].message.content or "")
