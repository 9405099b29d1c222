"""What both OpenAI endpoints parse alike."""

from typing import Literal

import msgspec

from firesteel.errors import RequestError
from firesteel.types import Sampling
from firesteel.wire import fields
from firesteel.wire.openai_common import MAX_CHOICES, GenerationBody
from firesteel.wire.openai_responses import PromptBody


def sampling_of(body: GenerationBody, defaults: Sampling, num_logprobs: int | None) -> Sampling:
    """Return `defaults` with what `body` says in their place."""
    names = ("temperature", "top_p", "min_p", "seed", "presence_penalty", "frequency_penalty")
    given = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    if body.top_k is not None:
        given["top_k"] = max(body.top_k, 0)  # vLLM's clients write "off" as -1
    if body.logit_bias is not None:
        given["logit_bias"] = tuple(body.logit_bias.items())
    return msgspec.structs.replace(defaults, num_logprobs=num_logprobs, **given)


def stop_of(body: GenerationBody) -> tuple[str, ...]:
    """Return the stop strings."""
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())


def noted_of(body: GenerationBody) -> tuple[str, ...]:
    """Return the fields without effect. Raises `RequestError` for a field that cannot be honoured."""
    idle = ("stream_options",) if body.stream_options is not None and not body.stream else ()
    return idle + fields.examine(body)


def tier_of(body: GenerationBody | PromptBody) -> Literal["default", "priority"] | None:
    """Return the queue that serves the request, by OpenAI's names for it; None when it names none."""
    if body.service_tier is None:
        return None
    return "priority" if body.service_tier in ("priority", "fast", "ultrafast") else "default"


def includes_usage(body: GenerationBody) -> bool:
    """Return whether the stream ends with a usage chunk."""
    return bool(body.stream and body.stream_options and body.stream_options.include_usage)


def num_choices_of(body: GenerationBody, num_prompts: int) -> int:
    """Return `n`. Raises `RequestError` when prompts and `n` together make too many choices."""
    n = body.n or 1
    if n * num_prompts > MAX_CHOICES:
        message = f"`prompt`: {num_prompts} prompts with n = {n} make more than {MAX_CHOICES} choices; send fewer"
        raise RequestError(message, param="prompt")
    return n
