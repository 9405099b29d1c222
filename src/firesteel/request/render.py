"""Any prompt to tokens."""

from firesteel.errors import RequestError
from firesteel.request.chat_template import render, with_prefix
from firesteel.request.fim import render_fill
from firesteel.types import ChatPrompt, FillPrompt, Prompt, Sampling, TextPrompt, Tokenizer


def tokens_of(prompt: Prompt, tokenizer: Tokenizer, *, fill_limit: int | None = None) -> list[int]:
    """Return the tokens of `prompt`; a fill prompt is clipped to `fill_limit` tokens.

    Raises `RequestError` for a prompt that the model cannot take, or that is empty.
    """
    if isinstance(prompt, ChatPrompt):
        return render(prompt, tokenizer)
    if isinstance(prompt, FillPrompt):
        return render_fill(prompt, tokenizer, limit=fill_limit)
    if isinstance(prompt, TextPrompt):
        tokens = with_prefix(tokenizer.encode(prompt.text, special=True), tokenizer)
    else:
        tokens = list(prompt.tokens)
        _check_ids(tokens, tokenizer, "prompt")
    if not tokens:
        raise RequestError("`prompt` is empty; send at least one character or token", param="prompt")
    return tokens


def check_sampling(sampling: Sampling, tokenizer: Tokenizer) -> None:
    """Raise `RequestError` when `logit_bias` names a token that the model does not have."""
    _check_ids([token for token, _ in sampling.logit_bias], tokenizer, "logit_bias")


def _check_ids(tokens: list[int], tokenizer: Tokenizer, param: str) -> None:
    size = tokenizer.vocabulary_size
    if tokens and not (min(tokens) >= 0 and max(tokens) < size):
        wrong = next(token for token in tokens if not 0 <= token < size)
        message = f"`{param}`: there is no token {wrong}; this model has the tokens 0 to {size - 1}"
        raise RequestError(message, param=param)
