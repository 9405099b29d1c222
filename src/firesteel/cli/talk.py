"""A steerable conversation for scripts: `docs/how-to/steer.md` shows it from end to end."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from firesteel.cli.common import ensure_model
from firesteel.session.conversation import Conversation
from firesteel.session.turn import Runtime
from firesteel.session.updates import Returned, Update
from firesteel.types import Event

if TYPE_CHECKING:
    from firesteel.cli.chat.loading import Settings

Command = Callable[[], list[Update]]


class Chat:
    """A conversation driven by whoever iterates `stream`; the intents may come from any thread meanwhile."""

    def __init__(self, runtime: Runtime, *, system: str | None = None, resume: Any = None) -> None:
        """`resume` is what `Conversation.to_dict` returned, perhaps in another process.

        Words that waited there are in `returned`: they were not sent.
        """
        self.returned: tuple[str, ...] = ()
        self._mailbox: queue.SimpleQueue[Event | Command] = queue.SimpleQueue()
        if resume is None:
            self.conversation = Conversation(runtime, self._mailbox.put, system=system)
        else:
            self.conversation = Conversation.from_dict(resume, self._mailbox.put)
            taken = [update for update in self.conversation.take_back() if isinstance(update, Returned)]
            self.returned = tuple(text for update in taken for text in update.texts)
            self.conversation.move_to(runtime)

    def stream(self, text: str) -> Iterator[Update]:
        """Ask, and yield what happens until nothing runs and nothing waits; closing the iterator interrupts.

        Raises RequestError for words that cannot be sent, be it here or by an intent in the meantime.
        """
        try:
            yield from self.conversation.ask(text)
            while self.conversation.is_running or not self._mailbox.empty():
                yield from self._take()
        finally:
            if self.conversation.is_running:
                self.conversation.interrupt()
            while self.conversation.is_running:
                self._take()

    def steer(self, text: str) -> None:
        """Break into the running answer with `text`."""
        self._mailbox.put(lambda: self.conversation.steer(text))

    def queue(self, text: str) -> None:
        """Let `text` be the next turn when the running one has ended by itself."""
        self._mailbox.put(lambda: self.conversation.queue(text))

    def interrupt(self) -> None:
        """End the running answer at once."""
        self._mailbox.put(self.conversation.interrupt)

    def undo(self) -> str | None:
        """Take the last exchange back; return its user's words. Raises RequestError during a turn."""
        return self.conversation.undo()

    def _take(self) -> list[Update]:
        item = self._mailbox.get()
        return item() if callable(item) else self.conversation.handle(item)


@contextmanager
def open_chat(settings: "Settings", *, system: str | None = None, resume: Any = None) -> Iterator[Chat]:
    """Yield a conversation with a model that is loaded, and pulled if need be; the engine ends with the context."""
    from firesteel.cli.chat.loading import load

    ensure_model(settings.engine)
    loaded = load(settings)
    try:
        yield Chat(loaded.runtime, system=system, resume=resume)
    finally:
        loaded.worker.close()
