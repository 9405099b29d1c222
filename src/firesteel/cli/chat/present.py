"""What happened in the conversation, brought onto the screen."""

from firesteel.cli.chat.screen import Screen
from firesteel.cli.chat.status import Status
from firesteel.cli.guarding import remarks
from firesteel.session.conversation import Conversation
from firesteel.session.updates import (
    Ended,
    Failed,
    PromptProgress,
    QueueChanged,
    Started,
    TextAdded,
    TextTakenBack,
    Update,
)

REMARKS = {
    "cancelled": "(interrupted)",
    "length": "(cut: the context is full, or --max-tokens is reached)",
    "content_filter": "(ended by the guard)",
}


def present(update: Update, conversation: Conversation, screen: Screen, status: Status, now: float) -> None:
    """Show one update; `now` in seconds."""
    if isinstance(update, TextAdded):
        status.streamed(update, now)
        screen.add(update.text)
    elif isinstance(update, Started):
        status.begin()
        screen.user(update.user, steered=update.steered)
        screen.begin_answer()
    elif isinstance(update, TextTakenBack):
        screen.take_back(conversation.messages[-1].content[: update.num_text])
    elif isinstance(update, PromptProgress):
        status.progress(update)
    elif isinstance(update, Ended):
        status.end(update.usage)
        screen.end_answer()
        if remark := REMARKS.get(update.reason):
            screen.note(remark)
        for line in remarks(update.usage.guard, conversation.exchanges[-1].answer if conversation.exchanges else ""):
            screen.note(line)
    elif isinstance(update, Failed):
        status.end(None)
        screen.end_answer()
        screen.error(update.message)
    elif isinstance(update, QueueChanged):
        status.waiting = update


def greet(screen: Screen, name: str) -> None:
    """Say where the user is."""
    screen.note(f"firesteel chat · {name} · /help shows keys and commands")


def recall(conversation: Conversation, screen: Screen, most: int) -> None:
    """Show the last exchanges of a resumed conversation."""
    if (left_out := len(conversation.exchanges) - most) > 0:
        screen.note(f"({left_out} earlier exchanges; /save FILE writes all)")
    for exchange in conversation.exchanges[-most:]:
        screen.user(exchange.user, steered=False)
        screen.print([("", exchange.answer.rstrip("\n") + "\n")])
