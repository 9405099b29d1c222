"""`response_format`: what an answer must look like; and `prediction`: what it is expected to repeat."""

from typing import Any, Literal

import msgspec


class JsonSchemaFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`response_format.json_schema`. The schema is obeyed whether `strict` is set or not."""

    schema: dict[str, Any] | None = None
    strict: bool | None = None
    name: Any = None
    description: Any = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`response_format`. `syntax` and `definition` belong to the type `grammar`, `json_schema` to its own."""

    type: Literal["text", "json_object", "json_schema", "grammar"]
    json_schema: JsonSchemaFormat | None = None
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class PredictionPart(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of a prediction."""

    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: Any = None


class Prediction(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`prediction`: text that much of the answer is expected to repeat."""

    type: Literal["content"]
    content: str | list[PredictionPart]
