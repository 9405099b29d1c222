"""The fate of every request field (law 6): it changes something, or is refused, or is noted.

`NOTED` and `REFUSED` are the whole truth about fields without effect; every other field is honoured.
Paths are dotted, without list indexes. docs/reference/http.md repeats these tables, and tests compare them.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, get_args, get_type_hints

import msgspec

from firesteel.errors import RequestError

NOTED: dict[str, str] = {
    "client_metadata": "has no meaning here",
    "id_slot": "places are found by the prompt itself",
    "metadata": "nothing is stored that it could label",
    "prompt_cache_options": "the prefix cache is always on",
    "prompt_cache_retention": "what is least likely to be wanted again leaves the cache first",
    "reasoning_effort": "the models served have no reasoning phase",
    "samplers": "the order of the filters is fixed",
    "safety_identifier": "no user accounts are kept",
    "store": "no response is stored",
    "stream_options": "without `stream: true` there is no stream to shape",
    "stream_options.include_obfuscation": "chunks carry no padding",
    "user": "no user accounts are kept",
    "verbosity": "the models served do not know it; say it in a message",
    "messages.annotations": "not shown to the model",
    "messages.audio": "text only",
    "messages.cache_control": "the prefix cache is always on",
    "messages.content.cache_control": "the prefix cache is always on",
    "messages.content.file": "text only: the model is told that a file was left out",
    "messages.content.image_url": "text only: the model is told that an image was left out",
    "messages.content.input_audio": "text only: the model is told that an audio clip was left out",
    "messages.content.prompt_cache_breakpoint": "the prefix cache is always on",
    "messages.reasoning": "earlier reasoning is not shown to the model",
    "messages.reasoning_content": "earlier reasoning is not shown to the model",
    "messages.parsed": "`content` counts",
    "messages.tool_calls.function.parsed_arguments": "`arguments` counts",
    "messages.tool_calls.index": "the order of the list counts",
    "prediction.content.prompt_cache_breakpoint": "the prefix cache is always on",
    "response_format.json_schema.description": "not shown to the model; say it in a message",
    "response_format.json_schema.name": "the schema alone counts",
    "tools.cache_control": "the prefix cache is always on",
}
"""Fields that real clients send, that are accepted without effect and named in `firesteel.noted`: why."""


class Refusal(msgspec.Struct, frozen=True):
    """A field that cannot be honoured: what to do instead, and the values that ask for nothing."""

    remedy: str
    neutral: tuple[Any, ...] = ()


_NO_REPETITION = "send `frequency_penalty` or `presence_penalty` instead"

REFUSED: dict[str, Refusal] = {
    "audio": Refusal("only text can be made; remove the field"),
    "cache_prompt": Refusal("the prefix cache is always on; remove the field", (True,)),
    "chat_template_kwargs": Refusal("templates take no options here; remove the field", ({},)),
    "function_call": Refusal("it is the legacy form; send `tool_choice` instead", ("none", "auto")),
    "functions": Refusal("it is the legacy form; send `tools` instead", ([],)),
    "grammar": Refusal("send `response_format` of type `grammar` (Lark or a regular expression) instead", ("",)),
    "ignore_eos": Refusal("an answer always ends at the model's end token; remove the field", (False,)),
    "min_tokens": Refusal("an answer always ends at the model's end token; remove the field", (0,)),
    "modalities": Refusal('only text can be made; remove the field or send ["text"]', (["text"],)),
    "moderation": Refusal("no moderation is done; remove the field"),
    "repeat_penalty": Refusal(_NO_REPETITION, (1,)),
    "repetition_penalty": Refusal(_NO_REPETITION, (1,)),
    "web_search_options": Refusal("there is no web search; remove the field"),
    "messages.function_call": Refusal("it is the legacy form; send `tool_calls` instead"),
}
"""Fields that are a 400 unless they are null or hold a neutral value."""


class Fates(msgspec.Struct, frozen=True, eq=False):
    """The tables of one wire format. What is `conditional` is noted only where the request's parser says so."""

    noted: dict[str, str]
    refused: dict[str, Refusal]
    conditional: frozenset[str] = frozenset()


OPENAI = Fates(NOTED, REFUSED, frozenset({"stream_options"}))


def examine(body: msgspec.Struct, fates: Fates = OPENAI) -> tuple[str, ...]:
    """Return the paths of the noted fields that `body` holds, each once, in order of the structs.

    Raises `RequestError` for the first field that cannot be honoured.
    """
    return tuple(dict.fromkeys(_examine(body, "", fates)))


def _examine(value: msgspec.Struct, parent: str, fates: Fates) -> Iterator[str]:
    for name, path in _relevant_fields(type(value), parent, fates):
        found = getattr(value, name)
        if found is None:
            continue
        if path in fates.refused:
            _check_refused(path, found, fates.refused[path])
        elif path in fates.noted and path not in fates.conditional:
            if found or (found == 0 and found is not False):  # empty and false ask for nothing
                yield path
        else:
            for item in found if isinstance(found, list) else (found,):
                if isinstance(item, msgspec.Struct):
                    yield from _examine(item, path, fates)


def _check_refused(path: str, found: object, refusal: Refusal) -> None:
    if not any(
        found == neutral and isinstance(found, bool) is isinstance(neutral, bool) for neutral in refusal.neutral
    ):
        raise RequestError(f"`{path}` cannot be honoured: {refusal.remedy}", param=path)


@lru_cache
def _relevant_fields(struct: type[msgspec.Struct], parent: str, fates: Fates) -> tuple[tuple[str, str], ...]:
    """Return (name, path) of the fields that stand in a table, or that hold fields which do."""
    tables = (*fates.noted, *fates.refused)
    paths = ((name, f"{parent}.{name}" if parent else name) for name in struct.__struct_fields__)
    return tuple(
        (name, path) for name, path in paths if path in tables or any(t.startswith(path + ".") for t in tables)
    )


@lru_cache
def annotations(struct: type[msgspec.Struct], parent: str = "") -> dict[str, Any]:
    """Return the type of every field of `struct` and of the structs inside it, by dotted path."""
    found = {}
    for name, annotation in get_type_hints(struct).items():
        path = f"{parent}.{name}" if parent else name
        found[path] = annotation
        for inner in _structs_in(annotation):
            found |= annotations(inner, path)
    return found


def honoured(struct: type[msgspec.Struct], fates: Fates = OPENAI) -> tuple[str, ...]:
    """Return the paths of all fields of `struct` that have an effect."""
    without_effect = (set(fates.noted) - fates.conditional) | set(fates.refused)
    return tuple(path for path in annotations(struct) if path not in without_effect)


def _structs_in(annotation: object) -> Iterator[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in get_args(annotation):
        yield from _structs_in(argument)
