"""Items that stand for items of stored responses: `item_reference`."""

import re

from firesteel.errors import ResponseNotFound
from firesteel.responses.memory import output_of
from firesteel.session.response_store import ResponseStore
from firesteel.wire.openai_responses import Item

_ID = re.compile(r"[a-z]+_([0-9a-f]{32})_\d+")  # as `stream.response_output` makes them: the response's id is in it


async def resolved(given: str | list[Item] | None, store: ResponseStore, scope: str) -> str | list[Item] | None:
    """Return `given` with items in place of references to them. Raises ResponseNotFound."""
    if not isinstance(given, list) or not any(map(_is_reference, given)):
        return given
    return [
        await _found(item, store, scope, f"input[{index}].id") if _is_reference(item) else item
        for index, item in enumerate(given)
    ]


def _is_reference(item: Item) -> bool:
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and item.keys() <= {"type", "id"} and "id" in item)


async def _found(reference: Item, store: ResponseStore, scope: str, path: str) -> Item:
    id = reference.get("id")
    match = _ID.fullmatch(id) if isinstance(id, str) else None
    stored = await store.get(scope, f"resp_{match[1]}") if match is not None else None
    for item in output_of(stored) if stored is not None else ():
        if item["id"] == id:
            return item
    message = f"`{path}`: there is no item {id!r} here; send the item itself, since not all responses are kept"
    raise ResponseNotFound(message, param=path, code="item_not_found")
