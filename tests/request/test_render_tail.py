"""Going on from an answer that was broken off: nothing of what is in the KV is written again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.errors import RequestError
from firesteel.request.chat_template import render, render_tail
from firesteel.types import ChatPrompt, Message, Tokenizer
from tests.request.byte_tokenizer import ByteTokenizer

QWEN = """\
{%- if tools %}{{- '<|im_start|>system\\n' + (messages[0].content if messages[0].role == 'system' else 'Be helpful.') }}
{{- '\\n\\n# Tools\\n<tools>' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{{- '</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}{{- '<|im_start|>system\\nBe helpful.<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant' }}{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}{{- '\\n<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

LLAMA3 = """\
{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' \
+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}\
{% endif %}{{ content }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}\
{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

TEMPLATES: list[Tokenizer] = [
    ByteTokenizer(),  # ChatML
    ByteTokenizer(chat_template=QWEN),
    ByteTokenizer(bos=True, chat_template=LLAMA3),
    ByteTokenizer(bos=True, chat_template=GEMMA),
    shared_tokenizer(),
]
TOOLS: tuple[dict[str, Any], ...] = ({"type": "function", "function": {"name": "f"}},)
ASK = Message(role="user", content="Write a function.")
MORE = Message(role="user", content="No, a class.")


def written(tokens: list[int], tokenizer: Tokenizer) -> str:
    return b"".join(tokenizer.piece(token) or tokenizer.label(token).encode() for token in tokens).decode()


def said(text: str) -> Message:
    return Message(role="assistant", content=text)


words = st.sampled_from(["def", " f(", "\n", "é", "🦊", "{{ x }}", "<tool_call>"])
partial_answers = st.lists(words).map(lambda texts: "x" + "".join(texts) + "y")  # templates may trim


@pytest.mark.parametrize("tokenizer", TEMPLATES, ids=["chatml", "qwen", "llama3", "gemma", "scripted"])
@settings(max_examples=30, deadline=None)
@given(partial_answers, st.booleans())
def test_prompt_answer_and_tail_are_the_whole(tokenizer: Tokenizer, answer: str, longer: bool) -> None:
    before = (ASK, said("Which?"), MORE) if longer else (ASK,)
    whole = (*before, said(answer), MORE)
    prompt = render(ChatPrompt(messages=before), tokenizer)
    ids = tokenizer.encode(answer, special=False)
    tail = render_tail(whole, (), tokenizer)
    full = render(ChatPrompt(messages=whole), tokenizer)
    assert written(prompt + ids + tail, tokenizer) == written(full, tokenizer)


@pytest.mark.parametrize("tokenizer", [TEMPLATES[0], TEMPLATES[1], TEMPLATES[4]], ids=["chatml", "qwen", "scripted"])
def test_tools_and_calls_stay_where_they_are(tokenizer: Tokenizer) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = Message(role="assistant", content="Let me", tool_calls=(call,))
    messages = (Message(role="system", content="s"), ASK, turn, MORE)
    tail = written(render_tail(messages, TOOLS, tokenizer), tokenizer)
    full = written(render(ChatPrompt(messages=messages, tools=TOOLS), tokenizer), tokenizer)
    assert "tool_call" not in tail
    assert full.endswith(tail)


@pytest.mark.parametrize("text", ["", " ", "ends in space \n"])
def test_the_broken_text_itself_does_not_matter(text: str) -> None:
    for tokenizer in TEMPLATES:
        expected = render_tail((ASK, said("x"), MORE), (), tokenizer)
        assert render_tail((ASK, said(text), MORE), (), tokenizer) == expected


@pytest.mark.parametrize("messages", [(), (MORE,), (ASK, MORE), (ASK, said("x"))])
def test_messages_that_end_otherwise(messages: tuple[Message, ...]) -> None:
    with pytest.raises(RequestError, match="must end with") as caught:
        render_tail(messages, (), ByteTokenizer())
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_write_an_answer_once(source: str) -> None:
    with pytest.raises(RequestError, match="as a new request") as caught:
        render_tail((ASK, said("x"), MORE), (), ByteTokenizer(chat_template=source))
    assert caught.value.param == "messages"


def test_a_template_that_fails() -> None:
    with pytest.raises(RequestError, match="System role"):
        render_tail((Message(role="system", content="s"), said("x"), MORE), (), TEMPLATES[3])
