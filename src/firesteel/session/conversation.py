"""A conversation that can be steered, without threads, clocks or a terminal.

Three intents for words that come while an answer is being written:

- **steer**: they break in. The answer ends at the next safe boundary and stays in history, then come the words,
  then a new answer. Only one steer is on its way at a time: words that come before it was taken up wait, and
  break in together, as one message, as soon as it was. An answer that ends before it can be steered is followed
  by an ordinary turn with those words.
- **queue**: they wait, and begin the next turn when the answer has ended by itself, one message a turn.
- **interrupt**: the answer ends at once and stays in history. All words that wait are returned, and so is the
  question itself when nothing of its answer had been said.

Going on never tokenises again what the model wrote: the next prompt is the exact ids so far and the ids of what
is new. Whoever drives this calls everything from one thread, and hands `handle` every event that the engine
delivered, in its order; an event of a sequence comes after the last one of the sequence that it steered.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from firesteel.errors import ContextTooLong, FiresteelError, RequestError
from firesteel.session.transcript import VERSION, Exchange, Reason, Saved, Transcript
from firesteel.session.turn import Runtime, Turn, Waiting, next_turn, require_text, steering_turn
from firesteel.session.updates import Ended, Failed, QueueChanged, Returned, Started, Update
from firesteel.types import Event, Failure, Finish, Guarded, Message

RETRIED = ("not_running", "context_length_exceeded")  # failures of a steer that an ordinary turn may not meet


class Conversation:
    """Messages, their exact ids, at most one running turn, and the words that wait.

    Intents raise ContextTooLong (or another RequestError) before anything has changed. `deliver` is handed to
    the engine, which calls it on a thread of its own.
    """

    def __init__(
        self,
        runtime: Runtime | None,
        deliver: Callable[[Event], None],
        *,
        id: str = "conversation",
        system: str | None = None,
    ) -> None:
        self.id = id
        self._runtime = runtime
        self._model = runtime.model if runtime else ""  # the identity that the transcript's ids belong to
        self._deliver = deliver
        self._transcript = Transcript(system=system)
        self._running: Turn | None = None
        self._successor: Turn | None = None  # a steer that the engine has not taken up yet
        self._waiting = Waiting()
        self._num_turns = 0

    @property
    def is_running(self) -> bool:
        """Whether an answer is being written, or a steer waits for the engine's word."""
        return self._running is not None or self._successor is not None

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What has been said, the running turn left out."""
        return tuple(self._transcript.exchanges)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What has been said, the running turn with as much of its answer as came."""
        return self._transcript.messages + (self._running.messages if self._running else ())

    @property
    def waiting(self) -> QueueChanged:
        """The words that wait."""
        in_flight = (self._successor.user,) if self._successor else ()
        return QueueChanged(steering=(*in_flight, *self._waiting.steers), queued=tuple(self._waiting.queue))

    @property
    def ids(self) -> list[int] | None:
        """The exact ids of what has been said; `None` where the next prompt will be rendered as a whole."""
        return self._transcript.ids

    @property
    def num_tokens(self) -> int:
        """Tokens of context in use, as far as they are known."""
        return self._running.num_known if self._running else len(self.ids or ())

    @property
    def rerendered(self) -> bool:
        """Whether the latest prompt had to be rendered as a whole although something had been said before."""
        exchanges, turn = self._transcript.exchanges, self._running
        if turn is not None:
            return turn.fresh and bool(exchanges)
        return len(exchanges) > 1 and exchanges[-1].fresh

    @property
    def system(self) -> str | None:
        """The system message; setting it means that the next prompt is rendered as a whole."""
        return self._transcript.system

    @system.setter
    def system(self, text: str | None) -> None:
        self._require_idle()
        self._transcript.system = text
        self._transcript.forget_ids()

    def ask(self, text: str) -> list[Update]:
        """Start a turn. Raises RequestError while one is running; without an engine the words wait for one."""
        self._require_idle()
        return self.queue(text)

    def queue(self, text: str) -> list[Update]:
        """Start a turn when the running one has ended by itself; at once where none is running."""
        require_text(text)
        if self._runtime is None or self.is_running:
            self._waiting.queue.append(text)
            return [self.waiting]
        return self._begin(self._runtime, text)

    def steer(self, text: str) -> list[Update]:
        """Break into the answer that is being written; where there is none, start an ordinary turn."""
        require_text(text)
        turn = self._running
        if not self.is_running or self._runtime is None:
            return self.queue(text)
        if turn is None or turn.interrupted or self._successor is not None or self._waiting.steers:
            self._waiting.steers.append(text)
        else:
            self._send_steer(self._runtime, turn, text)
        return [self.waiting]

    def interrupt(self) -> list[Update]:
        """End the answer at once; what waits is returned. The turn is over when the engine says so."""
        turn, successor = self._running, self._successor
        for sequence in (turn, successor):
            if sequence is not None and self._runtime is not None:
                self._runtime.engine.cancel(sequence.id)
        if turn is not None:
            turn.interrupted = True
        return self._give_up_steer() + self.take_back()

    def take_back(self) -> list[Update]:
        """Return all words that wait; the answer goes on, and a steer that is on its way too."""
        texts = self._waiting.take_all()
        return [Returned(texts=texts), self.waiting] if texts else []

    def undo(self) -> str | None:
        """Take the last exchange back and return its user's words; `None` when nothing was said.

        Raises RequestError while a turn is running.
        """
        self._require_idle()
        return self._transcript.exchanges.pop().user if self._transcript.exchanges else None

    def move_to(self, runtime: Runtime | None) -> list[Update]:
        """Let another engine answer from now on; `None`: none for the time being, so words wait.

        Raises RequestError while a turn is running.
        """
        self._require_idle()
        self._runtime = runtime
        if runtime is not None and runtime.model != self._model:
            self._model = runtime.model
            self._transcript.forget_ids()
        return self._go_on()

    def to_dict(self) -> dict[str, Any]:
        """Return the conversation in types that JSON knows; a running turn counts as broken off."""
        exchanges, turn = [*self.exchanges], self._running
        unsent = [*self.waiting.steering, *self.waiting.queued]
        if turn is not None and turn.parts:
            exchanges.append(Exchange(user=turn.user, answer=turn.text, reason="cancelled"))
        elif turn is not None:
            unsent.insert(0, turn.user)
        saved = Saved(
            version=VERSION, id=self.id, model=self._model, system=self.system, exchanges=exchanges, waiting=unsent
        )
        document: dict[str, Any] = msgspec.to_builtins(saved)
        return document

    @classmethod
    def from_dict(cls, data: Any, deliver: Callable[[Event], None]) -> "Conversation":
        """Return what `to_dict` described, without an engine: `move_to` gives it one. Raises RequestError."""
        saved = Saved.of(data)
        conversation = cls(None, deliver, id=saved.id, system=saved.system)
        conversation._model = saved.model
        conversation._transcript.exchanges = saved.exchanges
        conversation._waiting.queue = saved.waiting
        return conversation

    def handle(self, event: Event) -> list[Update]:
        """Take in one event of the engine; return what changed. Late words of turns given up change nothing."""
        turn, successor = self._running, self._successor
        if successor is not None and event.id == successor.id:
            if turn is not None or isinstance(event, Failure):
                return self._refused(successor)
            return self._take_up(successor) + self.handle(event)
        if turn is None or event.id != turn.id:
            return []
        if isinstance(event, Finish):
            return self._finished(turn, event)
        if isinstance(event, Guarded) and event.kind != "rewind":
            return []
        return self._failed(turn, event) if isinstance(event, Failure) else [turn.take(event)]

    def _begin(self, runtime: Runtime, text: str) -> list[Update]:
        turn, work = next_turn(runtime, self._transcript, self._next_id(), text)
        self._running = turn
        runtime.engine.add(work, self._deliver)
        return [Started(user=text)]

    def _send_steer(self, runtime: Runtime, turn: Turn, text: str) -> None:
        """Steer the running turn; where no tail can be had, end it, so that the words follow as a turn."""
        try:
            successor, work = steering_turn(runtime, self._transcript, turn, self._next_id(), text)
        except ContextTooLong:
            raise
        except RequestError:
            self._waiting.steers.append(text)
            runtime.engine.cancel(turn.id)
            return
        self._successor = successor
        runtime.engine.steer(turn.id, work, self._deliver)

    def _finished(self, turn: Turn, event: Finish) -> list[Update]:
        """The answer is history. A steer has taken over, or the engine's next word about it says so."""
        updates: list[Update] = [Ended(reason=event.reason, usage=event.usage)]
        successor = self._successor
        if turn.interrupted and not turn.text:
            updates.append(self._give_up(turn))
        else:
            cut = turn.interrupted and event.reason == "steered"
            self._close(turn, "cancelled" if cut else event.reason, event.tokens)
        if successor is not None:
            successor.start = turn.start + len(turn.prompt) + len(event.tokens)
            return updates + self._take_up(successor) if event.reason == "steered" else updates
        return updates + self._go_on()

    def _failed(self, turn: Turn, event: Failure) -> list[Update]:
        """Keep what was said. Nothing more is sent to an engine that failed: what waits is returned."""
        if turn.steered and not turn.interrupted and not turn.text and event.code in RETRIED:
            self._waiting.steers[:0] = [turn.user, *self.waiting.steering[: bool(self._successor)]]
            self._running = self._successor = None
            return self._go_on()
        updates: list[Update] = [Failed(code=event.code, message=event.message)]
        if turn.text:
            self._close(turn, "failed", None)
        else:
            updates.append(self._give_up(turn))
        return updates + self._give_up_steer() + self.take_back()

    def _close(self, turn: Turn, reason: Reason, tokens: list[int] | None) -> None:
        self._running = None
        self._transcript.exchanges.append(turn.exchange(reason, tokens))

    def _give_up(self, turn: Turn) -> Returned:
        """Forget a turn of which nothing was said."""
        self._running = None
        return Returned(texts=(turn.user,))

    def _give_up_steer(self) -> list[Update]:
        """Return the words of a steer that the engine has not taken up."""
        successor, self._successor = self._successor, None
        return [Returned(texts=(successor.user,)), self.waiting] if successor else []

    def _take_up(self, successor: Turn) -> list[Update]:
        """The successor's answer begins; words that waited for it break in now."""
        self._running, self._successor = successor, None
        updates: list[Update] = [Started(user=successor.user, steered=True)]
        if self._runtime is not None and (text := self._waiting.take_steers()):
            try:
                self._send_steer(self._runtime, successor, text)
            except ContextTooLong as error:
                updates += [Failed.of(error), Returned(texts=(text,))]
        return [*updates, self.waiting]

    def _refused(self, successor: Turn) -> list[Update]:
        """A steer that came too late: its words make the next ordinary turn."""
        self._successor = None
        self._waiting.steers.insert(0, successor.user)
        return [self.waiting] if self._running is not None else self._go_on()

    def _go_on(self) -> list[Update]:
        """Begin the next turn, if words wait and nothing runs."""
        if self.is_running or self._runtime is None or (text := self._waiting.take_next()) is None:
            return []
        try:
            return [*self._begin(self._runtime, text), self.waiting]
        except FiresteelError as error:
            return [Failed.of(error), Returned(texts=(text,)), *self.take_back(), self.waiting]

    def _next_id(self) -> str:
        self._num_turns += 1
        return f"{self.id}/{self._num_turns}"

    def _require_idle(self) -> None:
        if self.is_running:
            raise RequestError("an answer is being written: steer it, queue your words, or interrupt it first")
