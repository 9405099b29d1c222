"""Our server and the peer, in one setting or several, asked in turns for the next words of conversations."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import msgspec

from firesteel.bench import client, servers
from firesteel.bench.client import Answer
from firesteel.bench.conversation import PATH, Conversation
from firesteel.bench.options import Options
from firesteel.bench.servers import Server
from firesteel.bench.subject import Subject

DEFAULT_CONTEXT = 16_384  # our server's; only a longer history asks for more
S = TypeVar("S")
ROOM_TOKENS = 1_024  # beside the history, for what is said in a benchmark


class Side(msgspec.Struct, frozen=True):
    """A server and what a benchmark calls it: `ours`, `peer`, or one of them in a setting of its own."""

    name: str
    model_id: str
    server: Server

    def ask(self, conversation: Conversation, max_tokens: int) -> Answer:
        """Stream the next `max_tokens` tokens of `conversation`, which stays as it is."""
        return client.ask(self.server.port, PATH, conversation.body(self.model_id, max_tokens))


@contextmanager
def ours(
    subject: Subject, arguments: Sequence[str] = (), env: dict[str, str] | None = None, *, name: str = "ours"
) -> Iterator[Side]:
    """Run our server until the block ends."""
    port = servers.free_port()
    with servers.running(subject.serve_command(port, *arguments), port, env) as server:
        yield Side(name, subject.model_id, server)


@contextmanager
def theirs(subject: Subject, settings: dict[str, Any] | None = None, *, name: str = "peer") -> Iterator[Side]:
    """Run the peer until the block ends; `settings` are those of `peer.configure`."""
    port = servers.free_port()
    with servers.running(subject.peer_command(port, **settings or {}), port) as server:
        yield Side(name, subject.model_id, server)


@contextmanager
def both(
    options: Options, subject: Subject, arguments: Sequence[str] = (), settings: dict[str, Any] | None = None
) -> Iterator[list[Side]]:
    """Run our server, and the peer where it is asked for, until the block ends."""
    with ExitStack() as stack:
        found = [stack.enter_context(ours(subject, arguments))]
        if options.with_peer:
            found.append(stack.enter_context(theirs(subject, settings)))
        yield found


def in_turns(pairs: int, sides: Sequence[S]) -> Iterator[tuple[int, S]]:
    """Yield the number of each pair, from 1, with each side: A B B A …, so that a slow spell favours neither."""
    for number in range(1, pairs + 1):
        for side in sides if number % 2 else reversed(sides):
            yield number, side


def context_for(num_tokens: int) -> int:
    """Return the context in which a history of `num_tokens` has room; the default where that is enough."""
    needed = num_tokens + ROOM_TOKENS
    return max(DEFAULT_CONTEXT, -(-needed // 256) * 256)
