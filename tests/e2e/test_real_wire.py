"""The real model behind the wire formats: calls obey their schemas, and what the model was trained for is used."""

import json
from typing import Any

import anthropic
import openai
import pytest

from firesteel.models.catalogue import DEFAULT
from tests.server.live import Live, user

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
QUESTION = "What will the weather be in Oslo for the next 3 days, in celsius?"


def obeys(arguments: dict[str, Any]) -> bool:
    is_whole = set(arguments) == {"city", "unit", "days"}
    return is_whole and arguments["unit"] in ("celsius", "fahrenheit") and 1 <= arguments["days"] <= 7


@pytest.mark.parametrize("choice", ["required", "named"])
def test_a_call_obeys_the_schema(client: openai.OpenAI, choice: str) -> None:
    tool: Any = {"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}}
    named: Any = {"type": "function", "function": {"name": "forecast"}}
    answer: Any = client.chat.completions.create(
        model=DEFAULT,
        messages=user(QUESTION),
        tools=[tool],
        tool_choice=named if choice == "named" else "required",
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=120,
    )
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "forecast"
    arguments = json.loads(call.function.arguments)
    assert obeys(arguments), arguments
    assert arguments["city"] == "Oslo"
    assert answer.firesteel["speculation"]["forced_tokens"] > 10, "what the grammar forces costs no step"


def test_anthropics_sdk_streams_and_calls(real: Live) -> None:
    asked: Any = {"model": DEFAULT, "max_tokens": 120, "extra_body": {"temperature": 0}}
    sdk: Any = anthropic.Anthropic(base_url=real.url, api_key="any", max_retries=0, timeout=200)
    with sdk:
        with sdk.messages.stream(messages=user("Say hello."), **asked) as stream:
            assert "hello" in "".join(stream.text_stream).lower()
        tools = [{"name": "forecast", "input_schema": SCHEMA}]
        choice = {"type": "tool", "name": "forecast"}
        answer = sdk.messages.create(messages=user(QUESTION), tools=tools, tool_choice=choice, **asked)
    assert answer.stop_reason == "tool_use"
    (call,) = answer.content
    assert obeys(dict(call.input))
    real.wait_idle()


def test_infill_uses_another_file_and_stays_warm(real: Live) -> None:
    """The name of the function stands in the other file only."""
    other = {"filename": "colours.py", "text": 'def to_hexadecimal(red, green, blue):\n    return "#%02x%02x%02x"\n'}
    asked: dict[str, Any] = {
        "input_prefix": "from colours import to_hexadecimal\n\n\n",
        "input_suffix": "\n\nprint(text)\n",
        "input_extra": [other],
        "prompt": "text = to_hex",
        "n_predict": 24,
        "temperature": 0,
        "stop": ["\n"],
    }
    first = real.http.post("/infill", json=asked, timeout=200).json()
    assert first["content"].startswith("adecimal(")
    typed = real.http.post("/infill", json={**asked, "prompt": "text = to_hexad"}, timeout=200).json()
    assert typed["content"].startswith("ecimal(")
    assert typed["timings"]["prompt_n"] <= 6, "only what was typed is computed"
    real.wait_idle()
