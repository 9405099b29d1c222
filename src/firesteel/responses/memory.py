"""What is known of earlier responses: on a connection, in this process, or in the store."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec

from firesteel.errors import RequestError
from firesteel.pipeline import BYTES_PER_TOKEN
from firesteel.request.openai_responses import Asked
from firesteel.request.response_items import Transcript
from firesteel.session.response_store import ResponseStore, Stored
from firesteel.types import ChatPrompt, Usage
from firesteel.wire.openai_responses import Item

MAX_RECENT = 512  # conversations whose stored text is at hand in this process
MAX_EXACT = 8  # conversations of a connection whose tokens are kept: some 200 kB each
MAX_CONNECTION = 256  # responses that one connection goes on from
NEW = Transcript()
NO_USAGE = Usage(num_prompt_tokens=0, num_cached_tokens=0, num_output_tokens=0)


class Exact(msgspec.Struct, frozen=True):
    """The tokens of a conversation as they were computed, and what stood before it in them."""

    tokens: list[int]
    instructions: str | None
    tools: tuple[dict[str, Any], ...]

    def goes_on(self, asked: Asked) -> bool:
        """Return whether the prompt of `asked` begins with these tokens: nothing before what was said has changed."""
        prompt = asked.request.prompts[0]
        assert isinstance(prompt, ChatPrompt)
        return asked.body.instructions == self.instructions and prompt.tools == self.tools


class Known(msgspec.Struct, frozen=True):
    """A conversation up to and with the response `id`; "" is the empty one."""

    id: str = ""
    transcript: Transcript = NEW
    is_stored: bool = False
    num_tokens: int = 0  # about


def known_of(id: str, transcript: Transcript, num_tokens: int, *, is_stored: bool) -> Known:
    """Return a conversation, whose size is guessed where its `num_tokens` are 0: they were not computed."""
    num_tokens = num_tokens or len(msgspec.json.encode(transcript.messages)) // BYTES_PER_TOKEN
    return Known(id, transcript, is_stored, num_tokens)


def previous_not_found(id: str) -> RequestError:
    """Return what is said about a `previous_response_id` that cannot be gone on from."""
    message = (
        f"`previous_response_id`: there is no response {id!r} here to go on from; send the whole conversation as "
        "`input` without it"
    )
    return RequestError(message, param="previous_response_id", code="previous_response_not_found")


class Recent:
    """The conversations that were used last. A connection has one, and so has the process for stored ones."""

    def __init__(self, max_known: int) -> None:
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._max_known = max_known
        self._exact: dict[tuple[str, str], Exact] = {}

    def put(self, scope: str, known: Known) -> None:
        """Keep `known` as the most recent one."""
        self._known[scope, known.id] = known
        self._known.move_to_end((scope, known.id))
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)

    def get(self, scope: str, id: str) -> Known | None:
        """Return the conversation that ends with `id`, if it is here."""
        return self._known.get((scope, id))

    def keep_exact(self, scope: str, id: str, exact: Exact) -> None:
        """Keep the tokens of the conversation that ends with `id`, and of a few others."""
        self._exact[scope, id] = exact
        if len(self._exact) > MAX_EXACT:
            del self._exact[next(iter(self._exact))]

    def exact(self, scope: str, id: str | None) -> Exact | None:
        """Return the tokens of the conversation that ends with `id`, if they are here."""
        return self._exact.get((scope, id or ""))

    @property
    def kept(self) -> dict[tuple[str, str], Exact]:
        """The tokens that are here, by scope and id."""
        return self._exact

    def drop(self, scope: str, id: str) -> None:
        """Forget it."""
        self._known.pop((scope, id), None)


class Origin(msgspec.Struct, frozen=True):
    """Where a request comes from: whose it is, how long, over which socket, after what."""

    scope: str
    num_bytes: int
    connection: Recent | None
    known: Known


async def restore(store: ResponseStore, scope: str, id: str) -> Known | None:
    """Read a conversation from the store; None when it is not there, or a part of it is not any more."""
    chain = await store.chain(scope, id)
    if not chain or chain[0].previous is not None:
        return None
    last = msgspec.json.decode(chain[-1].response)
    if last["status"] == "failed":
        return None
    return known_of(id, _read(chain), (last["usage"] or {}).get("total_tokens", 0), is_stored=True)


def _read(chain: Iterable[Stored]) -> Transcript:
    transcript = NEW
    for stored in chain:
        transcript = transcript.said([*input_of(stored), *output_of(stored)])
    return transcript


def input_of(stored: Stored) -> list[Item]:
    """Return the items that the request of `stored` added."""
    return msgspec.json.decode(stored.input, type=list[Item])


def output_of(stored: Stored) -> list[Item]:
    """Return the items of the answer."""
    items: list[Item] = msgspec.json.decode(stored.response)["output"]
    return items


def listed(item: Item, id: str) -> Item:
    """Return `item` as clients read it: with an id, and a message with its type, status and list of parts."""
    if item.get("type", "message") != "message":
        return {"id": id, **item}
    content = item["content"]
    kind = "output_text" if item["role"] == "assistant" else "input_text"
    parts = [{"type": kind, "text": content}] if isinstance(content, str) else content
    return {"type": "message", "id": id, "status": "completed", **item, "content": parts}
