"""A conversation to tokens, by the model's own Jinja template.

The environment is the one that Hugging Face templates are written for
(https://huggingface.co/docs/transformers/chat_templating_writing).
"""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn
from uuid import uuid4

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from firesteel.errors import RequestError
from firesteel.types import ChatPrompt, Message, Tokenizer
from firesteel.wire import tool_calls

FALLBACK = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\nYou may call one or more of these functions:\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
{{- '\\n</tools>\\n\\nFor each call, answer with a JSON object within <tool_call></tool_call> tags:\\n' }}
{{- '<tool_call>\\n{"name": <name>, "arguments": <arguments>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if not (tools and loop.first and message.role == 'system') %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""ChatML with Hermes tools, for models that bring no template."""

# What a template can raise, as data from a model file that meets any conversation.
_TEMPLATE_ERRORS = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError)


def render(prompt: ChatPrompt, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of `prompt`, ending where the assistant's turn begins.

    Raises `RequestError` that names the messages when the template does not take them, and the tools when
    the model's template knows none or has a syntax for calls that we do not parse.
    """
    source = tokenizer.chat_template or FALLBACK
    tools = () if prompt.tool_choice == "none" else prompt.tools
    if tools and not ("tools" in source and tool_calls.OPEN in source):
        message = f"`tools`: this model does not write {tool_calls.OPEN}; remove them or choose another model"
        raise RequestError(message, param="tools")
    text = _render_text(source, prompt, tools, tokenizer)
    return with_prefix(tokenizer.encode(text, special=True), tokenizer)


def render_tail(messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...], tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that go on from an assistant's turn that is in the KV as it is, broken off or complete.

    The turn is the last one of the assistant's; after it come the user's new words, or what tools answered.
    The tokens close the turn and write what follows, up to where the next answer begins; the turn's text
    itself is not looked at. Raises `RequestError` when the messages do not end like that, or when the template
    does not write the text of an assistant's turn exactly once.
    """
    place = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=len(messages))
    if place >= len(messages) - 1:
        message = "`messages` must end with the assistant's turn and the user's new words; send both"
        raise RequestError(message, param="messages")
    mark = uuid4().hex
    turn = msgspec.structs.replace(messages[place], content=mark, tool_calls=())
    prompt = ChatPrompt(messages=(*messages[:place], turn, *messages[place + 1 :]), tools=tools)
    parts = _render_text(tokenizer.chat_template or FALLBACK, prompt, tools, tokenizer).split(mark)
    if len(parts) != 2:
        message = "`messages`: the model's chat template does not write an answer as it is; send them as a new request"
        raise RequestError(message, param="messages")
    return tokenizer.encode(parts[1], special=True)


def with_prefix(tokens: list[int], tokenizer: Tokenizer) -> list[int]:
    """Return `tokens` with the tokens that every prompt begins with (BOS), which stand there only once."""
    prefix = tokenizer.prompt_prefix()
    return tokens if tokens[: len(prefix)] == prefix else prefix + tokens


def _render_text(source: str, prompt: ChatPrompt, tools: tuple[dict[str, Any], ...], tokenizer: Tokenizer) -> str:
    try:
        return _compile(source).render(
            messages=[_fields(message) for message in prompt.messages],
            tools=list(tools) or None,
            tool_choice=prompt.tool_choice if tools else None,
            add_generation_prompt=True,
            bos_token="".join(map(tokenizer.label, tokenizer.prompt_prefix())),
            # Which of several end tokens a template means is not known; the oldest one closes texts.
            eos_token=tokenizer.label(min(tokenizer.end_tokens)) if tokenizer.end_tokens else "",
        )
    except _TEMPLATE_ERRORS as error:
        message = f"`messages`: the model's chat template does not take them: {error or type(error).__name__}"
        raise RequestError(message, param="messages") from error


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        fields["name"] = message.name
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        fields["tool_calls"] = [_call_fields(call) for call in message.tool_calls]
    return fields


def _call_fields(call: dict[str, Any]) -> dict[str, Any]:
    """Return `call` with its arguments as an object, which is how templates write them out."""
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


@lru_cache(maxsize=16)
def _compile(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@lru_cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks text for training; here it is plain text."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own declaration

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the statements inside the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike Jinja's own filter: no HTML escapes, keys in their order."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
