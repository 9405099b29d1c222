"""Conversations on disk: `home()/conversations/<id>.json`, for their owner's eyes only."""

import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from firesteel import config
from firesteel.atomic import replace_file
from firesteel.errors import RequestError
from firesteel.session.conversation import Conversation
from firesteel.session.transcript import Saved

ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


class Summary(NamedTuple):
    """One saved conversation, as a list shows it; `age` in seconds."""

    id: str
    age: float
    words: str
    num_exchanges: int


def folder() -> Path:
    """Return the folder of all conversations; it may not exist yet."""
    return config.home() / "conversations"


def new_id() -> str:
    """Return an id that sorts by time and that no other conversation has."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def save(conversation: Conversation) -> bool:
    """Write the conversation whole or not at all; False: nothing was said, so there is none. Raises OSError."""
    path = path_of(conversation.id)
    document = conversation.to_dict()
    if not (document.get("exchanges") or document.get("waiting") or path.exists()):
        return False
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, msgspec.json.encode(document))
    return True


def load(id: str) -> dict[str, Any]:
    """Return what was saved. Raises RequestError when there is no such conversation, or it is damaged."""
    try:
        document: dict[str, Any] = msgspec.json.decode(path_of(id).read_bytes())
    except FileNotFoundError:
        raise RequestError(f"there is no conversation {id!r} in {folder()}; /resume lists them") from None
    except (OSError, msgspec.DecodeError) as error:
        raise RequestError(f"conversation {id!r} cannot be read: {error}") from None
    Saved.of(document)
    return document


def recent(now: float) -> list[Summary]:
    """Return the conversations, newest first; files that are not readable as one are left out."""
    found = []
    for path in folder().glob("*.json"):
        try:
            saved = Saved.of(load(path.stem))
            age = now - path.stat().st_mtime
        except (RequestError, OSError):
            continue
        words = saved.exchanges[0].user if saved.exchanges else "".join(saved.waiting[:1])
        found.append(Summary(saved.id, max(age, 0.0), words, len(saved.exchanges)))
    return sorted(found, key=lambda summary: (summary.age, summary.id))


def path_of(id: str) -> Path:
    """Return where conversation `id` is kept. Raises RequestError for what is no id."""
    if not ID.fullmatch(id):
        raise RequestError(f"{id!r} is no conversation's id; /resume lists them")
    return folder() / f"{id}.json"


def told(seconds: float) -> str:
    """Return an age as people say it."""
    for length, name in UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
