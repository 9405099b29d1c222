"""The chat: keys and events in, text above the input line out. One thread, the event loop's, runs all of it."""

import asyncio
import contextlib
import io
import signal
from collections.abc import Callable

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from firesteel.cli.chat import commands, storage
from firesteel.cli.chat.keys import bindings
from firesteel.cli.chat.loading import Settings
from firesteel.cli.chat.mailbox import Mailbox
from firesteel.cli.chat.models import Abandoned, Models
from firesteel.cli.chat.present import greet, present, recall
from firesteel.cli.chat.screen import Screen, terminal
from firesteel.cli.chat.status import Status
from firesteel.cli.chat.window import live_region
from firesteel.errors import FiresteelError, RequestError
from firesteel.events import coalesce
from firesteel.session.conversation import Conversation
from firesteel.session.updates import Ended, Failed, Returned, Update
from firesteel.types import Event

NUM_RECALLED = 3  # exchanges of a resumed conversation that are shown
END_SECONDS = 5.0  # that an interrupted answer gets at the end, so that its exact ids are saved


class ChatApp:
    """A conversation, its model and the terminal."""

    def __init__(
        self,
        settings: Settings,
        *,
        system: str | None,
        save: bool = True,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self.buffer = Buffer(multiline=True, history=InMemoryHistory())
        self.status = Status(settings.name)
        self.app = live_region(
            self.buffer,
            bindings(self),
            lambda: self.screen.visible_line(),
            self._waiting_text,
            lambda: self.status.text(self.app.output.get_size().columns),
            input=input,
            output=output or terminal(),
        )
        self.screen = Screen(self.app)
        self.conversation = Conversation(None, lambda _: None, id=storage.new_id(), system=system)
        self.saved_id: str | None = None  # of the conversation, once it is on disk
        self._system = system
        self._keep = save
        self._models = Models(settings, self._report)
        self._loading: asyncio.Task[None] | None = None
        self._at_rest = asyncio.Event()
        self._escaped = False  # Esc was the latest key
        self.buffer.on_text_changed += lambda _: self._typed()

    async def run(self, resume: str | None) -> None:
        """Chat until the user leaves; whatever happens, the conversation is saved and the engine ended."""
        self._loop = asyncio.get_running_loop()
        greet(self.screen, self.status.model)
        self.open(resume)
        self._load(self._models.settings)
        with contextlib.suppress(NotImplementedError):
            self._loop.add_signal_handler(signal.SIGTERM, self.leave)
            self._loop.add_signal_handler(signal.SIGHUP, self.leave)
        try:
            with contextlib.redirect_stderr(_Notes(self)):
                await self.app.run_async()
        except EOFError:
            pass  # the terminal is gone
        finally:
            await self._end()

    async def _end(self) -> None:
        self.screen.release()
        if self._loading is not None:
            self._models.abandon()
            await self._loading
        if self.conversation.is_running:
            self.show(self.conversation.interrupt())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._at_rest.wait(), END_SECONDS)
        self._save()
        await self._models.close()

    # What keys and commands do.

    def send(self) -> None:
        """Send the input: as a command, as a turn, or to steer the running one."""
        text = self.buffer.text
        if not text.strip():
            return
        self._try(self._send_now, text)

    def _send_now(self, text: str) -> None:
        if commands.is_command(text):
            self.buffer.reset(append_to_history=True)
            commands.run(self, text)
        else:
            updates = self.conversation.steer(text)
            self.buffer.reset(append_to_history=True)
            self.show(updates)

    def enqueue(self) -> None:
        """Let the input be the next turn."""
        text = self.buffer.text
        if text.strip():
            self._try(self._enqueue_now, text)

    def _enqueue_now(self, text: str) -> None:
        updates = self.conversation.queue(text)
        self.buffer.reset(append_to_history=True)
        self.show(updates)

    def _try(self, act: Callable[[str], None], text: str) -> None:
        """Act; what cannot be done is shown, and the chat lives on."""
        try:
            act(text)
        except FiresteelError as error:
            self.screen.error(error.message)

    def escape(self) -> None:
        """Interrupt, or at rest, the second time, clear the input."""
        if self.conversation.is_running:
            self.show(self.conversation.interrupt())
        elif self._escaped:
            self.buffer.reset()
        else:
            self._escaped = True

    def control_c(self) -> None:
        """Interrupt, or at rest clear the input."""
        if self.conversation.is_running:
            self.show(self.conversation.interrupt())
        else:
            self.buffer.reset()
            self.status.hint = "Ctrl-D leaves"

    def leave(self) -> None:
        """End the program."""
        if self.app.is_running and not self.app.is_done:
            self.app.exit()

    def put_into_input(self, text: str) -> None:
        """Put `text` before what the input line holds."""
        typed = self.buffer.text
        self.buffer.text = f"{text}\n\n{typed}" if typed.strip() else text
        self.buffer.cursor_position = len(self.buffer.text)

    def open(self, id: str | None) -> None:
        """Go on with a saved conversation, or a new one. Raises RequestError; then nothing has changed."""
        if self.conversation.is_running:
            raise RequestError("an answer is being written: interrupt it first (Esc)")
        mailbox = Mailbox(self._loop, self._take)
        if id is None:
            following = Conversation(None, mailbox.put, id=storage.new_id(), system=self._system)
        else:
            following = Conversation.from_dict(storage.load(id), mailbox.put)
        self._save()
        self.show(self.conversation.take_back())
        self.conversation = following
        for exchange in following.exchanges:
            self.buffer.history.append_string(exchange.user)
        recall(following, self.screen, NUM_RECALLED)
        self.show(following.take_back())
        if self._models.loaded is not None:
            self.show(following.move_to(self._models.loaded.runtime))

    def switch_model(self, name: str) -> None:
        """Load another model; words that come meanwhile wait for it. Raises RequestError during a turn."""
        if self._loading is not None:
            raise RequestError("a model is being loaded; wait for it")
        self.conversation.move_to(None)
        self._load(self._models.settings.with_model(name))

    # What the engine and the model do.

    def _load(self, settings: Settings) -> None:
        self.status.doing = f"loading {settings.name}"
        self._loading = asyncio.ensure_future(self._load_now(settings))

    async def _load_now(self, settings: Settings) -> None:
        with contextlib.suppress(Abandoned):
            change = await self._models.change(settings)
            self._loading = None
            self.status.doing, self.status.model = "", change.settings.name
            if change.error is not None:
                self.screen.error(change.error.message)
            if change.loaded is not None:
                self.status.context_tokens = change.loaded.runtime.context_tokens
                self.show(self.conversation.move_to(change.loaded.runtime))
            else:
                self.screen.note("no model is loaded: /model NAME loads one")
                self.show(self.conversation.take_back())

    def _report(self, doing: str) -> None:
        """Show what the loading thread does."""
        self._loop.call_soon_threadsafe(self._doing, doing)

    def _doing(self, doing: str) -> None:
        if self._loading is not None:
            self.status.doing = doing
            self.app.invalidate()
        self._replace_engine_if_dead()

    def _take(self, events: list[Event]) -> None:
        updates: list[Update] = []
        for _, event in coalesce((event.id, event) for event in events):
            updates += self.conversation.handle(event)
        self.show(updates)
        self._replace_engine_if_dead()

    def _replace_engine_if_dead(self) -> None:
        """Start another engine when a bug has ended this one, as soon as its last word is in."""
        if self._models.has_crashed and self._loading is None and not self.conversation.is_running:
            self.screen.note("the engine is started again")
            self.conversation.move_to(None)
            self._load(self._models.settings)

    def show(self, updates: list[Update]) -> None:
        """Bring what happened onto the screen, and keep what has been said."""
        for update in updates:
            present(update, self.conversation, self.screen, self.status, self._loop.time())
            if isinstance(update, Returned):
                self.put_into_input("\n\n".join(update.texts))
        self.status.num_tokens = self.conversation.num_tokens
        if any(isinstance(update, Ended | Failed) for update in updates):
            self._save()
        if not self.conversation.is_running:
            self._at_rest.set()
        else:
            self._at_rest.clear()
        self.app.invalidate()

    def _save(self) -> None:
        if not self._keep:
            return
        try:
            self.saved_id = self.conversation.id if storage.save(self.conversation) else None
        except OSError as error:
            self.screen.error(f"the conversation cannot be saved in {storage.folder()}: {error.strerror or error}")

    def _typed(self) -> None:
        self._escaped, self.status.hint = False, ""

    def _waiting_text(self) -> str:
        waiting = self.conversation.waiting
        texts = [("steers", text) for text in waiting.steering] + [("queued", text) for text in waiting.queued]
        return "\n".join(f"{how}: {' '.join(text.split())}" for how, text in texts)


class _Notes(io.TextIOBase):
    """Stands in for stderr, whose text would tear the live region: it is printed above, line by line."""

    def __init__(self, room: ChatApp) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()

    def write(self, text: str) -> int:
        """Print `text`, from whatever thread."""
        if text.strip():
            self._loop.call_soon_threadsafe(self._room.screen.note, text.rstrip())
        return len(text)
