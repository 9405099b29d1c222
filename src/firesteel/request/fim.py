"""A hole between two texts to tokens, in prefix-suffix-middle order.

PSM order is what Qwen2.5-Coder, StarCoder and most others were trained on (Bavarian et al. 2022,
https://arxiv.org/abs/2207.14255, section 3).
"""

from firesteel.errors import RequestError
from firesteel.request.chat_template import with_prefix
from firesteel.types import FillPrompt, FimTokens, Tokenizer

_NUM_MARKERS = 3
_REPOSITORY = "repository\n"
_THIS_FILE = "current file\n"


def render_fill(prompt: FillPrompt, tokenizer: Tokenizer, *, limit: int | None = None) -> list[int]:
    """Return the tokens of `prompt`, at most `limit` of them, keeping the text nearest to the hole.

    Other files come first, so that what is typed leaves their KV as it is; those that do not fit are left
    out, the oldest first. Raises `RequestError` when the model has no fill-in-the-middle tokens.
    """
    if tokenizer.fim is None:
        message = "`suffix`: this model cannot fill in the middle; remove the field or choose another model"
        raise RequestError(message, param="suffix")
    prefix = tokenizer.encode(prompt.prefix, special=False)
    suffix = tokenizer.encode(prompt.suffix, special=False)
    middle = tokenizer.encode(prompt.middle, special=False) if prompt.middle else []
    room = None
    if limit is not None:
        room = max(limit - len(tokenizer.prompt_prefix()) - _NUM_MARKERS - len(middle), 0)
        prefix, suffix = _clip(prefix, suffix, room)
        room -= len(prefix) + len(suffix)
    fim = tokenizer.fim
    files = _files(prompt, fim, tokenizer, room) if prompt.files else []
    return with_prefix([*files, fim.prefix, *prefix, fim.suffix, *suffix, fim.middle, *middle], tokenizer)


def _files(prompt: FillPrompt, fim: FimTokens, tokenizer: Tokenizer, room: int | None) -> list[int]:
    """Return the tokens of the files that fit into `room`, as repositories stand in the training data.

    That form is Qwen2.5-Coder's (https://arxiv.org/abs/2409.12186, section 3.2.2) and StarCoder2's. Models
    without its tokens see the files as plain text.
    """

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, special=False)

    head = [] if fim.repository is None else [fim.repository, *encode(_REPOSITORY)]
    tail = [] if fim.file is None else [fim.file, *encode(_THIS_FILE)]
    begin = encode("# ") if fim.file is None else [fim.file]
    room = None if room is None else room - len(head) - len(tail)
    kept: list[list[int]] = []
    for name, text in reversed(prompt.files):
        tokens = [*begin, *encode(f"{name}\n{text}\n")]
        if room is not None and len(tokens) > room:
            break
        room = None if room is None else room - len(tokens)
        kept.append(tokens)
    if not kept:
        return []
    return [*head, *(token for tokens in reversed(kept) for token in tokens), *tail]


def _clip(prefix: list[int], suffix: list[int], room: int) -> tuple[list[int], list[int]]:
    """Share `room` 3 to 1; what one side does not need goes to the other."""
    num_suffix = min(len(suffix), max(room // 4, room - len(prefix)))
    num_prefix = min(len(prefix), room - num_suffix)
    return prefix[len(prefix) - num_prefix :], suffix[:num_suffix]
