"""`POST /v1/completions` → `Request`. A `suffix`, even an empty one, asks for fill in the middle."""

from collections.abc import Mapping

from firesteel.errors import RequestError
from firesteel.request.affinity import NO_HEADERS, session_of
from firesteel.request.common import includes_usage, noted_of, num_choices_of, sampling_of, stop_of, tier_of
from firesteel.request.constraint import constraint_of
from firesteel.request.guard import guard_of
from firesteel.types import FillPrompt, Prompt, Request, Sampling, TextPrompt, TokenPrompt
from firesteel.wire.decode import decode
from firesteel.wire.openai_completions import CompletionBody


def parse(body: bytes, *, request_id: str, defaults: Sampling, headers: Mapping[str, str] = NO_HEADERS) -> Request:
    """Return the request that `body` makes; `defaults` are the model's own sampling settings.

    `headers` may say which conversation this is, where the body does not.

    Raises `RequestError` that names the field and the remedy for whatever cannot be honoured.
    """
    completion = decode(body, CompletionBody)
    prompts = _prompts(completion)
    n = num_choices_of(completion, len(prompts))
    _check_combinations(completion, n)
    return Request(
        id=request_id,
        kind="completion",
        model=completion.model,
        prompts=prompts,
        sampling=sampling_of(completion, defaults, completion.logprobs),
        max_tokens=completion.max_tokens,
        stop=stop_of(completion),
        n=n,
        echo=bool(completion.echo),
        stream=bool(completion.stream),
        include_usage=includes_usage(completion),
        session=session_of(completion.prompt_cache_key, headers),
        guard=guard_of(completion.firesteel, headers),
        constraint=constraint_of(completion.response_format),
        tier=tier_of(completion),
        noted=noted_of(completion),
    )


def _prompts(completion: CompletionBody) -> tuple[Prompt, ...]:
    given = completion.prompt
    items: list[str | int | list[int]] = [given] if isinstance(given, str) else given
    ids = [item for item in items if isinstance(item, int)]
    if len(ids) == len(items):
        items = [ids]
    if len({type(item) for item in items}) > 1:
        message = "`prompt` mixes kinds; send strings only, token ids only, or lists of token ids only"
        raise RequestError(message, param="prompt")
    return tuple(_prompt(item, completion.suffix) for item in items)


def _prompt(item: str | int | list[int], suffix: str | None) -> Prompt:
    assert not isinstance(item, int)
    if isinstance(item, str):
        return TextPrompt(text=item) if suffix is None else FillPrompt(prefix=item, suffix=suffix)
    if suffix is not None:
        raise RequestError("`suffix` needs a `prompt` of text; send strings, not token ids", param="suffix")
    return TokenPrompt(tokens=tuple(item))


def _check_combinations(completion: CompletionBody, n: int) -> None:
    if completion.best_of is not None and completion.best_of != n:
        message = f"`best_of` cannot differ from `n` ({n}), since every choice is returned; remove the field"
        raise RequestError(message, param="best_of")
    if completion.echo and completion.logprobs is not None:
        message = "`echo` cannot go with `logprobs`: the prompt's own are not computed; remove one of the two"
        raise RequestError(message, param="echo")
