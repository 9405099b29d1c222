import json
from datetime import datetime
from typing import Any

import pytest

from firesteel.errors import RequestError
from firesteel.request.chat_template import FALLBACK, render
from firesteel.types import ChatPrompt, Message
from tests.request.byte_tokenizer import ID, ByteTokenizer

USER = (Message(role="user", content="hi"),)
TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "function": {"name": "f", "description": "<é>", "parameters": {"b": 1, "a": 2}}},
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def rendered(
    source: str | None, *messages: Message, tools: tuple[dict[str, Any], ...] = (), tool_choice: str = "auto"
) -> str:
    """Return the rendered prompt as text."""
    tokenizer = ByteTokenizer(chat_template=source)
    prompt = ChatPrompt(messages=messages or USER, tools=tools, tool_choice=tool_choice)
    return tokenizer.text(render(prompt, tokenizer))


def test_fallback_is_chatml() -> None:
    assert rendered(None, Message(role="system", content="s"), *USER) == (
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_fallback_shows_tools_and_calls() -> None:
    text = rendered(
        None,
        Message(role="system", content="s"),
        Message(role="assistant", content="ok", tool_calls=(CALL,)),
        Message(role="tool", content="7", tool_call_id="c"),
        tools=TOOLS,
    )
    assert text.startswith("<|im_start|>system\ns\n\n# Tools")
    assert text.count("<|im_start|>system") == 1
    assert json.dumps(TOOLS[0], ensure_ascii=False) in text
    assert 'ok\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>' in text
    assert "<|im_start|>tool\n7<|im_end|>\n" in text


def test_control_tokens_of_the_template_are_recognised() -> None:
    tokenizer = ByteTokenizer()
    tokens = render(ChatPrompt(messages=USER), tokenizer)
    assert tokens[0] == ID["<|im_start|>"]


@pytest.mark.parametrize("source", ["{{ bos_token }}{{ messages[0].content }}", "{{ messages[0].content }}"])
def test_bos_stands_once(source: str) -> None:
    tokenizer = ByteTokenizer(bos=True, chat_template=source)
    assert render(ChatPrompt(messages=USER), tokenizer) == [ID["<s>"], *b"hi"]


def test_unknown_bos_is_empty_and_eos_is_the_first_end_token() -> None:
    assert rendered("[{{ bos_token }}][{{ eos_token }}]") == "[][</s>]"


def test_what_templates_of_hugging_face_use() -> None:
    source = """
{%- for message in messages %}
    {%- if loop.index > 1 %}{% break %}{% endif %}
    {%- generation %}{{ message.role }}{% endgeneration %}
{%- endfor %} {{ {"b": "<é>", "a": 1} | tojson }}
{{ [1] | tojson(indent=2) }}
{{ strftime_now("%Y") }} {{ add_generation_prompt }} {{ tools is none }}
"""
    first, *rest = rendered(source).splitlines()
    assert first == 'user {"b": "<é>", "a": 1}'
    assert rest[:3] == ["[", "  1", "]"]
    assert rest[3].split()[1:] == ["True", "True"]
    assert abs(int(rest[3].split()[0]) - datetime.now().year) <= 1


def test_name_and_call_id_reach_the_template() -> None:
    source = "{{ messages[0].name }}/{{ messages[0].tool_call_id }}"
    assert rendered(source, Message(role="tool", content="", name="n", tool_call_id="c")) == "n/c"


def test_arguments_that_are_no_json_stay_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
    assert rendered(
        "{{ messages[0].tool_calls[0].function.arguments }}", Message(role="assistant", tool_calls=(call,))
    ) == ("{")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{% if %}", "Expected an expression"),
        ("{{ messages[0].content + 1 }}", "str"),
        ("{{ nothing.here }}", "nothing"),
        ("{{ 1 // 0 }}", "zero"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
    ],
)
def test_template_that_fails_names_the_messages(source: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        rendered(source)
    assert caught.value.param == "messages"
    assert says in caught.value.message


def test_tools_that_nest_too_deeply_are_a_request_error() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(RequestError):
        rendered(None, tools=({"type": "function", "function": {"name": "f", "parameters": deep}},))


@pytest.mark.parametrize("source", ["{{ messages[0].content }}", "{{ tools }}[TOOL_CALLS]", "<tool_call>"])
def test_tools_need_a_template_that_knows_them(source: str) -> None:
    with pytest.raises(RequestError, match="does not write <tool_call>") as caught:
        rendered(source, tools=TOOLS)
    assert caught.value.param == "tools"


def test_tools_that_may_not_be_called_need_no_such_template() -> None:
    assert rendered("{{ messages[0].content }}", tools=TOOLS, tool_choice="none") == "hi"


def test_no_tools_are_shown_when_none_may_be_called() -> None:
    assert rendered(None, tools=TOOLS, tool_choice="none") == rendered(None)


def test_the_template_is_told_the_tool_choice_when_there_are_tools() -> None:
    source = "{{ tool_choice }}{% if tools %}<tool_call>{% endif %}"
    assert rendered(source, tools=TOOLS) == "auto<tool_call>"
    assert rendered(source) == "None"


def test_fallback_closes_every_turn() -> None:
    assert FALLBACK.count("<|im_start|>") == 3
    assert rendered(None, *USER * 3).count("<|im_end|>") == 3
