"""`POST /infill`, `GET /props` and `GET /slots`, as llama.cpp's editor clients use them.

Spec: https://github.com/ggml-org/llama.cpp/tree/master/tools/server, and what llama.vim and llama.vscode send.
Fields of type `Any` have no effect here: each stands in one of the two tables.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from firesteel.wire.fields import Fates, Refusal
from firesteel.wire.guard import FiresteelBody
from firesteel.wire.openai_common import MAX_INT64, Firesteel, Penalty, StopString, Unit

NOTED: dict[str, str] = {
    "id_slot": "places are found by the prompt itself",
    "input_extra.time": "the order of the list counts",
    "n_indent": "the model follows the indentation that it sees",
    "samplers": "the order of the filters is fixed",
    "t_max_prompt_ms": "a prompt is always computed; leave to end it",
}

REFUSED: dict[str, Refusal] = {
    "cache_prompt": Refusal("the prefix cache is always on; remove the field", (True,)),
    "grammar": Refusal("remove the field, or send `response_format` to /v1/completions", ("",)),
    "json_schema": Refusal("remove the field, or send `response_format` to /v1/completions", ({},)),
    "n_probs": Refusal("send `logprobs` to /v1/completions instead", (0,)),
    "repeat_penalty": Refusal("send `frequency_penalty` or `presence_penalty` instead", (1,)),
}

FATES = Fates(NOTED, REFUSED)

Milliseconds = Annotated[float, Meta(ge=0)]


class ExtraFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A piece of another file."""

    text: str
    filename: str = "file"
    time: Any = None


class InfillBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /infill`."""

    input_prefix: str
    input_suffix: str
    input_extra: list[ExtraFile] | None = None
    prompt: str | None = None
    n_predict: Annotated[int, Meta(ge=-1, le=MAX_INT64)] | None = None
    n_cmpl: Annotated[int, Meta(ge=1, le=16)] | None = None
    t_max_predict_ms: Milliseconds | None = None
    stop: list[StopString] | None = None
    stream: bool | None = None
    response_fields: list[str] | None = None
    model: str | None = None
    firesteel: FiresteelBody | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=MAX_INT64)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Unit | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=MAX_INT64)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None

    cache_prompt: Any = None
    grammar: Any = None
    id_slot: Any = None
    json_schema: Any = None
    n_indent: Any = None
    n_probs: Any = None
    repeat_penalty: Any = None
    samplers: Any = None
    t_max_prompt_ms: Any = None


class InfillTimings(msgspec.Struct, kw_only=True):
    """llama.cpp's `timings`, in milliseconds and tokens a second."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class InfillPart(msgspec.Struct, kw_only=True):
    """What a stream's event adds to one insertion."""

    index: int
    content: str
    stop: Literal[False] = False


class Infill(msgspec.Struct, kw_only=True):
    """One insertion, or the last event of its stream, whose content is empty."""

    index: int
    content: str
    stop: Literal[True] = True
    id_slot: int = 0
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int
    has_new_line: bool
    truncated: bool
    stop_type: Literal["eos", "limit", "word"]
    stopping_word: str
    timings: InfillTimings
    firesteel: Firesteel | UnsetType = UNSET


class SamplingParams(msgspec.Struct, kw_only=True):
    """The model's own sampling settings."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float


class GenerationSettings(msgspec.Struct, kw_only=True):
    """What a request gets that says nothing."""

    n_ctx: int
    params: SamplingParams


class Modalities(msgspec.Struct, kw_only=True):
    """What besides text is read."""

    vision: bool = False
    audio: bool = False


class Props(msgspec.Struct, kw_only=True):
    """The body of `GET /props`."""

    default_generation_settings: GenerationSettings
    total_slots: int
    model_alias: str
    model_path: str
    chat_template: str
    modalities: Modalities
    build_info: str


class Slot(msgspec.Struct, kw_only=True):
    """One place for a sequence; the body of `GET /slots` is a list of them."""

    id: int
    n_ctx: int
    is_processing: bool
