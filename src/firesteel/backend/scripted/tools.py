"""Tool calls of the scripted model: which offered tool, and arguments that its schema accepts."""

import json
import re
from typing import Any

_STOP_WORDS = set(
    """
    and are but can could for from get given has have how its may not please return returns set should some
    that the then there these they this tool use used using was were what when where which who will with would
    you your function def write code make call all any one new into out about here me
    """.split()  # noqa: SIM905 - a text is easier to read than seventy quoted words
)
JSON = Any  # any decoded JSON value
_MAX_DEPTH = 12
_LOWER = ("minimum", "exclusiveMinimum")
_UPPER = ("maximum", "exclusiveMaximum")


def function_of(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the function part of an offered tool; OpenAI wraps it, others do not."""
    inner = tool.get("function")
    return inner if isinstance(inner, dict) else tool


def choose_tool(tools: list[dict[str, Any]], choice: str | None, text: str, *, answered: bool) -> dict[str, Any] | None:
    """Return the function to call, or `None`.

    `choice` is auto, none, required or a name. Under auto a tool is called when `text` shares a word with its
    name or description and the last message is not already a tool result (`answered`).
    """
    functions = [function_of(tool) for tool in tools]
    named = next((function for function in functions if function.get("name") == choice), None)
    if named is not None or choice == "none" or not functions:
        return named
    scores = [_affinity(function, text) for function in functions]
    best = max(scores)
    if choice == "required" or (best > 0 and not answered):
        return functions[scores.index(best)]
    return None


def _affinity(function: dict[str, Any], text: str) -> int:
    """Return how many words `text` shares with the function; a word of its name counts twice."""
    asked = _words(text)
    name = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(function.get("name", "")))
    return 2 * len(asked & _words(name)) + len(asked & _words(str(function.get("description", ""))))


def _words(text: str) -> set[str]:
    """Return the telling words of `text`, in lower case and without a plural s."""
    found = re.findall(r"[a-z]{3,}", text.lower())
    return {word.removesuffix("s") for word in found if word not in _STOP_WORDS}


def call_text(function: dict[str, Any]) -> str:
    """Return the call as the model writes it, with arguments that the function's schema accepts."""
    schema = function.get("parameters") or function.get("input_schema") or {"type": "object"}
    name = json.dumps(function.get("name", ""), ensure_ascii=False)
    arguments = json.dumps(example(schema), ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'


def example(schema: JSON, *, name: str = "value", root: JSON = None, depth: int = 0) -> JSON:
    """Return the same value for the same JSON schema, valid under it.

    Knows const, enum, anyOf/oneOf (the first), $ref to #/$defs or #/definitions, type and its bounds;
    formats and patterns are not obeyed. Optional properties are left out.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        return example(_resolve(str(schema["$ref"]), root), name=name, root=root, depth=depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return example(schema[union][0], name=name, root=root, depth=depth + 1)
    return _typed_example(schema, name, root, depth)


def _resolve(reference: str, root: JSON) -> JSON:
    """Return the part of `root` that a local reference points to, or `None`."""
    part = root
    for key in reference.removeprefix("#").split("/")[1:]:
        part = part.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(part, dict) else None
    return part


def _typed_example(schema: dict[str, Any], name: str, root: JSON, depth: int) -> JSON:
    """Return a value of the schema's (first) type."""
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties", {})
        needed = schema.get("required", [])
        needed = [*filter(needed.__contains__, properties), *(key for key in needed if key not in properties)]
        return {key: example(properties.get(key, {}), name=key, root=root, depth=depth + 1) for key in needed}
    if kind == "array":
        item = example(schema.get("items", {}), name=name, root=root, depth=depth + 1)
        return [item] * schema.get("minItems", 0)
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    if kind == "boolean":
        return True
    return None if kind == "null" else _string(schema, name)


def _string(schema: dict[str, Any], name: str) -> str:
    """Return the property's name, made as long as the schema wants it."""
    text = (name or "text").ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    """Return 1, or a number near a bound of the schema, that obeys its bounds and `multipleOf`."""
    bounds = [schema[key] for key in (*_LOWER, *_UPPER) if isinstance(schema.get(key), int | float)]
    step = schema.get("multipleOf") or (1 if whole else None)
    if step is None:
        near = [bound + shift for bound in bounds for shift in (0, 1, -1)] + [sum(bounds) / max(len(bounds), 1)]
    else:
        near = [(bound // step + shift) * step for bound in (1, *bounds) for shift in (0, 1, -1)]
    value = next((value for value in (1, *near) if _is_within(value, schema, step)), 1)
    return int(value) if whole else value


def _is_within(value: int | float, schema: dict[str, Any], step: int | float | None) -> bool:
    """Return whether `value` obeys the bounds of the schema and is a multiple of `step`."""
    return (
        all(value >= schema.get(key, value) for key in _LOWER)
        and all(value <= schema.get(key, value) for key in _UPPER)
        and value != schema.get(_LOWER[1])
        and value != schema.get(_UPPER[1])
        and (step is None or abs(value / step - round(value / step)) < 1e-9)
    )
