"""`POST /v1/chat/completions` → `Request`."""

from collections.abc import Mapping

import msgspec

from firesteel.errors import RequestError
from firesteel.request.affinity import BILLING_NOTE, NO_HEADERS, session_of, without_billing
from firesteel.request.chat_tools import offer_of, present, tooling
from firesteel.request.common import includes_usage, noted_of, num_choices_of, sampling_of, stop_of, tier_of
from firesteel.request.constraint import constraint_of
from firesteel.request.guard import guard_of
from firesteel.types import ChatPrompt, Message, Request, Sampling
from firesteel.wire import tool_calls
from firesteel.wire.decode import decode
from firesteel.wire.openai_chat import ChatBody, ChatMessage, ContentPart
from firesteel.wire.response_format import Prediction
from firesteel.wire.response_tools import custom_call

_LEFT_OUT = {"image_url": "An image", "input_audio": "An audio clip", "file": "A file"}


def parse(body: bytes, *, request_id: str, defaults: Sampling, headers: Mapping[str, str] = NO_HEADERS) -> Request:
    """Return the request that `body` makes; `defaults` are the model's own sampling settings.

    `headers` may say which conversation this is, where the body does not.

    Raises `RequestError` that names the field and the remedy for whatever cannot be honoured.
    """
    chat = decode(body, ChatBody)
    messages, is_billed = _unbilled(tuple(_message(m, f"messages[{i}]") for i, m in enumerate(chat.messages)))
    offer = offer_of(chat.tools or [], chat.tool_choice or "auto")
    prompt = ChatPrompt(
        messages=messages,
        tools=tuple(tool.shown for tool in offer.tools.values()),
        tool_choice=offer.choice,
        custom_tools=offer.customs,
    )
    single = chat.parallel_tool_calls is False
    tools = tooling(offer, prompt, constraint_of(chat.response_format), single=single)
    return Request(
        id=request_id,
        kind="chat",
        model=chat.model,
        prompts=(prompt,),
        sampling=sampling_of(chat, defaults, _num_logprobs(chat)),
        max_tokens=_max_tokens(chat),
        stop=stop_of(chat) + _stop_of_single_call(chat, prompt),
        n=num_choices_of(chat, 1),
        stream=bool(chat.stream),
        include_usage=includes_usage(chat),
        session=session_of(chat.prompt_cache_key, headers),
        guard=guard_of(chat.firesteel, headers),
        prediction=_prediction(chat.prediction),
        constraint=tools.constraint,
        tier=tier_of(chat),
        noted=noted_of(chat) + tools.noted + (BILLING_NOTE,) * is_billed,
    )


def _unbilled(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], bool]:
    """Drop a billing line before the system text, and the message if it held nothing else."""
    first, *rest = messages
    content, is_billed = without_billing(first.content) if first.role == "system" else ("", False)
    if not is_billed:
        return messages, False
    kept = (msgspec.structs.replace(first, content=content),) if content or not rest else ()
    return (*kept, *rest), True


def _message(message: ChatMessage, path: str) -> Message:
    if message.role == "tool" and not message.tool_call_id:
        raise _missing(f"{path}.tool_call_id", "send the id of the call that this message answers")
    if message.tool_calls and message.role != "assistant":
        raise RequestError(
            f"`{path}.tool_calls` belongs in an assistant message; remove it", param=f"{path}.tool_calls"
        )
    content = message.refusal or "" if message.content is None else _text(message.content, f"{path}.content")
    if message.content is None and message.role != "assistant":
        raise _missing(f"{path}.content", "send a string or a list of parts")
    customs, calls = _calls(message, path)
    return Message(
        role="system" if message.role == "developer" else message.role,
        content="\n".join([text for text in (content, *customs) if text]),
        name=message.name,
        tool_calls=tuple(calls),
        tool_call_id=message.tool_call_id,
    )


def _missing(path: str, remedy: str) -> RequestError:
    return RequestError(f"`{path}` is missing; {remedy}", param=path, code="missing_required_parameter")


def _text(content: str | list[ContentPart], path: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_part_text(part, f"{path}[{i}]") for i, part in enumerate(content))


def _part_text(part: ContentPart, path: str) -> str:
    if part.type not in ("text", "refusal"):
        return f"[{_LEFT_OUT[part.type]} was left out: this model reads text only.]"
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise _missing(f"{path}.{part.type}", "send a string")
    return text


def _calls(message: ChatMessage, path: str) -> tuple[list[str], list[dict[str, object]]]:
    """Return the calls of custom tools as the model wrote them, since no template knows such, and the others."""
    customs, functions = list[str](), list[dict[str, object]]()
    for i, call in enumerate(message.tool_calls or ()):
        if call.type == "custom":
            custom = present(call.custom, f"{path}.tool_calls[{i}].custom")
            customs.append(custom_call(custom.name, custom.input))
        else:
            read = present(call.function, f"{path}.tool_calls[{i}].function")
            function = {"name": read.name, "arguments": read.arguments}
            functions.append({"id": call.id, "type": "function", "function": function})
    return customs, functions


def _num_logprobs(chat: ChatBody) -> int | None:
    if chat.logprobs:
        return chat.top_logprobs or 0
    if chat.top_logprobs:
        message = "`top_logprobs` needs `logprobs: true`; send both or neither"
        raise RequestError(message, param="top_logprobs")
    return None


def _max_tokens(chat: ChatBody) -> int | None:
    first, second = chat.max_completion_tokens, chat.max_tokens
    if first is not None and second is not None and first != second:
        message = "`max_tokens` and `max_completion_tokens` differ; send `max_completion_tokens` only"
        raise RequestError(message, param="max_tokens")
    return second if first is None else first


def _prediction(prediction: Prediction | None) -> str:
    if prediction is None:
        return ""
    content = prediction.content
    return content if isinstance(content, str) else "".join([part.text for part in content])


def _stop_of_single_call(chat: ChatBody, prompt: ChatPrompt) -> tuple[str, ...]:
    """Stop after the first call where only one is wanted."""
    single = chat.parallel_tool_calls is False and prompt.tool_choice != "none"
    return (tool_calls.CLOSE,) if single and prompt.tools else ()
