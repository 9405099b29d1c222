"""A conversation → a shorter one: the user's messages, and a summary of all else in the model's own words."""

import time
from uuid import uuid4

import msgspec

from firesteel.errors import RequestError
from firesteel.request.response_items import shrink, user_items
from firesteel.responses.memory import listed
from firesteel.responses.references import resolved
from firesteel.responses.service import Responses
from firesteel.responses.turn import Turn
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Event, Progress
from firesteel.visit import Place, Visit
from firesteel.wire.openai_responses import CompactBody, Item, ResponsesBody
from firesteel.wire.response_object import Compaction, OutputMessage

SUMMARY_TOKENS = 1024
ASK = (
    "Summarise this conversation for someone who must go on with it and has not read it: what was asked, what was "
    "found and decided, which files and names matter, what is done, and what comes next. Write the summary only."
)


class Nobody:
    """A transport whose events nobody reads."""

    is_eager = False

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    async def send(self, events: list[WireEvent]) -> None:
        """Drop them."""

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Say nothing."""

    def observe(self, event: Event) -> None:
        """Count nothing."""


async def compact(
    responses: Responses, body: CompactBody, nobody: Nobody, *, request_id: str, scope: str, num_bytes: int
) -> Compaction:
    """Return what is left of the conversation of `body`. Raises RequestError as a turn does."""
    known = await responses.known(body.previous_response_id, scope, None)
    items = user_items(await resolved(body.input, responses.store, scope) or [])
    if not items and not known.id:
        raise RequestError("`input` is missing; send the conversation", param="input")
    ask: Item = {"type": "message", "role": "user", "content": ASK}
    create = ResponsesBody(
        model=body.model,
        input=[*items, ask],
        instructions=body.instructions,
        previous_response_id=body.previous_response_id,
        prompt_cache_key=body.prompt_cache_key,
        max_output_tokens=SUMMARY_TOKENS,
        store=False,
    )
    turn = await responses.turn(create, nobody, request_id=request_id, scope=scope, num_bytes=num_bytes)
    await turn.run()
    return _compaction(turn, [*await responses.history(known.id, scope), *items])


def _compaction(turn: Turn, items: list[Item]) -> Compaction:
    response = turn.response
    if response.error is not None:
        raise RequestError(f"the conversation could not be summarised: {response.error.message}", param="input")
    summary = "".join(part.text for item in response.output if isinstance(item, OutputMessage) for part in item.content)
    assert response.usage is not None
    assert response.firesteel is not msgspec.UNSET
    kept = [listed(item, f"msg_{uuid4().hex}") for item in items if item.get("role") == "user"]
    compaction: Item = {"type": "compaction", "id": f"cmp_{uuid4().hex}", "encrypted_content": shrink(summary)}
    return Compaction(
        id=turn.response.id,
        created_at=int(time.time()),
        output=[*kept, compaction],
        usage=response.usage,
        firesteel=response.firesteel,
    )
