"""Calls without the tags that say so: an answer that is nothing but JSON which names known tools.

Small models leave the tags out, or put the call into a fence. Such an answer is held back from its first character
on, for as long as it may be one, and read when it has ended. Anything else goes on at once: code, prose, and JSON
that begins otherwise.
"""

import json
import re

from firesteel.wire.json_repair import repair_json
from firesteel.wire.one_call import CLOSE, Call, CallBegin, Parsed

FENCE = "```"
_BETWEEN = " \t\r\n,;"
_FENCES = ("", "json", "tool_call", "tool_code", "tool")
_KEYS = ("name", "arguments", "parameters", "function", "type", "id")
_KEY = re.compile(r"""["']?(\w*)(.?)""", re.DOTALL)
_TYPE = re.compile(r"""\{\s*["']?type["']?\s*:\s*(["'])((?:(?!\1)[^\\])*)\1""")
_NAME = re.compile(r"""\{\s*["']?name["']?\s*:\s*(["'])((?:(?!\1)[^\\])*)\1""")
_FENCED = re.compile(r"\s*```\w*[ \t]*\n(.*?)(?:\n?[ \t]*```\s*)?", re.DOTALL)


def may_be_calls(text: str, names: frozenset[str]) -> bool:
    """Return whether an answer that begins with `text` may turn out to be calls of tools called `names`."""
    text = text.lstrip()
    if text.startswith("`"):
        inside = _in_fence(text)
        if inside is None:
            return False
        text = inside
    text = text.removeprefix("[").lstrip()
    if not text:
        return True
    name, kind = _NAME.match(text), _TYPE.match(text)
    if (name is not None and name[2] not in names) or (kind is not None and kind[2] != "function"):
        return False
    return text.startswith("{") and _begins_call(text[1:].lstrip())


def _in_fence(text: str) -> str | None:
    """Return what follows the line that opens a fence, "" while that is not complete; None when it opens no call."""
    if not text.startswith(FENCE):
        return "" if FENCE.startswith(text) else None
    label, line_break, inside = text[len(FENCE) :].partition("\n")
    if line_break:
        return inside.lstrip() if label.strip() in _FENCES else None
    return "" if any(fence.startswith(label.strip()) for fence in _FENCES) else None


def _begins_call(text: str) -> bool:
    """Return whether `text`, which follows a brace, begins with a key that calls have, or may do so."""
    key = _KEY.match(text)
    assert key is not None, "it matches the empty text"
    return key[1] in _KEYS if key[2] else any(known.startswith(key[1]) for known in _KEYS)


def read_bare(text: str, names: frozenset[str], prefix: str, *, is_single: bool, is_cut: bool) -> list[Parsed]:
    """Return the calls that the whole answer `text` is, the first one only if it `is_single`; none if it is no such.

    `is_cut`: the answer did not end by itself, so that nothing is completed.
    """
    rest, pieces, num_calls = _objects(text), list[Parsed](), 0
    while rest.startswith("{"):
        call, found = Call(num_calls, f"{prefix}_{num_calls}"), list[Parsed]()
        before, rest = rest, call.feed(rest, found, is_last=True)
        call.finish(found, is_cut=is_cut)
        is_named = isinstance(found[0], CallBegin) and found[0].name in names
        if not is_named or not _has_keys_of_call(before[: len(before) - len(rest)]):
            return []
        rest = rest.lstrip(_BETWEEN).removeprefix(CLOSE).lstrip(_BETWEEN)
        num_calls += 1
        pieces += found if num_calls == 1 or not is_single else []
    return [] if rest else pieces


def _has_keys_of_call(text: str) -> bool:
    """Return whether an object has no keys but those of a call; one that is no JSON is believed to be one."""
    written = repair_json(text)
    return written is None or json.loads(written).keys() <= set(_KEYS)


def _objects(text: str) -> str:
    """Return `text` without the fence and the bracket around its objects."""
    fenced = _FENCED.fullmatch(text)
    text = (fenced[1] if fenced else text).strip()
    return text.removeprefix("[").removesuffix("]").strip() if text.startswith("[") else text
