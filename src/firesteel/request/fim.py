"""A hole between two texts to tokens, in prefix-suffix-middle order.

PSM order is what Qwen2.5-Coder, StarCoder and most others were trained on (Bavarian et al. 2022,
https://arxiv.org/abs/2207.14255, section 3).
"""

from firesteel.errors import RequestError
from firesteel.request.chat_template import with_prefix
from firesteel.types import FillPrompt, Tokenizer

_NUM_MARKERS = 3


def render_fill(prompt: FillPrompt, tokenizer: Tokenizer, *, limit: int | None = None) -> list[int]:
    """Return the tokens of `prompt`, at most `limit` of them, keeping the text nearest to the hole.

    Raises `RequestError` when the model has no fill-in-the-middle tokens.
    """
    if tokenizer.fim is None:
        message = "`suffix`: this model cannot fill in the middle; remove the field or choose another model"
        raise RequestError(message, param="suffix")
    prefix = tokenizer.encode(prompt.prefix, special=False)
    suffix = tokenizer.encode(prompt.suffix, special=False)
    if limit is not None:
        room = max(limit - len(tokenizer.prompt_prefix()) - _NUM_MARKERS, 0)
        prefix, suffix = _clip(prefix, suffix, room)
    fim = tokenizer.fim
    return with_prefix([fim.prefix, *prefix, fim.suffix, *suffix, fim.middle], tokenizer)


def _clip(prefix: list[int], suffix: list[int], room: int) -> tuple[list[int], list[int]]:
    """Share `room` 3 to 1; what one side does not need goes to the other."""
    num_suffix = min(len(suffix), max(room // 4, room - len(prefix)))
    num_prefix = min(len(prefix), room - num_suffix)
    return prefix[len(prefix) - num_prefix :], suffix[:num_suffix]
