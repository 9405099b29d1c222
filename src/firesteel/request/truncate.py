"""A conversation that does not fit → its end, which does: `truncation: "auto"` of the Responses API."""

from bisect import bisect_left
from collections.abc import Callable

import msgspec

from firesteel.types import ChatPrompt, Prompt

NUM_PLACES = 8  # what is left begins at one of about so many places, so that it stays warm while the end grows


def fitted(prompt: Prompt, encode: Callable[[Prompt], list[int]], limit: int) -> tuple[list[int], bool]:
    """Return the tokens of `prompt`, and whether its beginning was left out so that there are `limit` at most."""
    tokens = encode(prompt)
    if isinstance(prompt, ChatPrompt) and len(tokens) > limit:
        return truncated(prompt, encode, limit), True
    return tokens, False


def truncated(prompt: ChatPrompt, encode: Callable[[Prompt], list[int]], limit: int) -> list[int]:
    """Return the tokens of the longest end of `prompt` that has at most `limit`; the shortest one if none has.

    System messages before everything stay. What is left begins with a message of the user or the assistant, so that
    no output of a tool stands without its call.
    """
    messages = prompt.messages
    num_system = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    starts = [i for i in range(num_system, len(messages)) if messages[i].role in ("user", "assistant")]
    if not starts:
        return encode(prompt)
    step = 1 << max(0, (len(starts) // NUM_PLACES).bit_length() - 1)  # a power of two: places are kept for long

    def tokens_from(start: int) -> list[int]:
        return encode(msgspec.structs.replace(prompt, messages=(*messages[:num_system], *messages[start:])))

    *places, last = sorted({*starts[step::step], starts[-1]})
    found = bisect_left(places, True, key=lambda start: len(tokens_from(start)) <= limit)
    return tokens_from([*places, last][found])
