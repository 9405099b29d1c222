"""Which conversation a request belongs to, and what clients put before it that differs from run to run."""

import re
from collections.abc import Mapping
from hashlib import blake2b

SESSION_HEADERS = ("session-id", "x-session-affinity", "x-session-id", "x-claude-code-session-id")
"""Headers in which clients name the conversation, unasked; the first one that is there counts."""

MAX_KEY_CHARACTERS = 128
NO_HEADERS: Mapping[str, str] = {}
BILLING_NOTE = "x-anthropic-billing-header"
"""How `firesteel.noted` names a billing line that was dropped."""

_BILLING = "x-anthropic-billing-header: cc_version="
_BILLING_LINE = re.compile(r"x-anthropic-billing-header:(?:[ \t]*[\w-]+=[^\s;]*(?:;[^\s=;]*(?=\s|$))?;?)*[ \t]*\n?")


def session_of(prompt_cache_key: str | None, headers: Mapping[str, str]) -> str | None:
    """Return the key of the conversation that the client says this is; None when it says nothing.

    `headers` has lower-case names or ignores case. A key is opaque; of a long one only a hash is kept.
    """
    given = (prompt_cache_key, *map(headers.get, SESSION_HEADERS))
    key = next((key for key in given if key), None)
    if key is None or len(key) <= MAX_KEY_CHARACTERS:
        return key
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def without_billing(system: str) -> tuple[str, bool]:
    """Return `system` without a leading billing line, and whether there was one.

    Claude Code's first system block is `x-anthropic-billing-header: cc_version=…`, meant for a meter and not
    for the model. It differs from run to run, so every prefix that was computed before would be lost.
    """
    if not system.startswith(_BILLING):
        return system, False
    return _BILLING_LINE.sub("", system, count=1), True
