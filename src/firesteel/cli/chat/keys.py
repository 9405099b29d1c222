"""The keys: Enter steers, Tab queues, Esc interrupts; nothing of it needs the mouse."""

from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent


class Actions(Protocol):
    """What the keys do."""

    @property
    def buffer(self) -> Buffer:
        """The input line."""
        ...

    def send(self) -> None:
        """Send the input: as a turn, or to steer the running one."""
        ...

    def enqueue(self) -> None:
        """Let the input be the next turn."""
        ...

    def escape(self) -> None:
        """Interrupt, or at rest, the second time, clear the input."""
        ...

    def control_c(self) -> None:
        """Interrupt, or at rest clear the input."""
        ...

    def leave(self) -> None:
        """End the program."""
        ...


def bindings(actions: Actions) -> KeyBindings:
    """Return the keys that do something other than edit the input line."""
    keys = KeyBindings()

    def bind(action: Callable[[], None], *names: str) -> None:
        for name in names:
            keys.add(name)(lambda _: action())

    bind(actions.send, "enter")
    bind(actions.enqueue, "tab")
    bind(actions.escape, "escape")
    bind(actions.control_c, "c-c", "<sigint>")

    @keys.add("c-d", filter=Condition(lambda: not actions.buffer.text))
    def _leave(_: KeyPressEvent) -> None:
        actions.leave()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _newline(_: KeyPressEvent) -> None:
        actions.buffer.newline(copy_margin=False)

    return keys
