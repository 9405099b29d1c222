"""Chat without a terminal: each line of stdin is a turn, answers go to stdout whole."""

import sys
from collections.abc import Iterable
from typing import Any

import msgspec
import typer

from firesteel.cli.chat import storage
from firesteel.cli.chat.loading import Settings
from firesteel.cli.guarding import remarks, report_of
from firesteel.cli.local import tokens_per_second
from firesteel.cli.talk import Chat, open_chat
from firesteel.errors import FiresteelError, RequestError
from firesteel.session.updates import Ended, Failed, Update


def run(settings: Settings, *, system: str | None, resume: str | None, json: bool, save: bool) -> int:
    """Answer every line of stdin; return the exit status, 1 when a turn failed."""
    status = 0
    with open_chat(settings, system=system, resume=storage.load(resume) if resume else None) as chat:
        for words in chat.returned:
            typer.echo(f"not sent last time: {words}", err=True)
        if resume is None:
            chat.conversation.id = storage.new_id()
        for line in _lines():
            turn, told = _turn(chat, line)
            status |= "error" in turn
            _print(turn, told, json=json)
            if save:
                storage.save(chat.conversation)
    return status


def _lines() -> Iterable[str]:
    """Yield the lines of stdin that say something. Raises RequestError when it is not UTF-8."""
    for line in sys.stdin.buffer:
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise RequestError(f"stdin is not UTF-8: {error}") from None
        if text:
            yield text


def _turn(chat: Chat, text: str) -> tuple[dict[str, Any], list[str]]:
    """Ask, and return what `--json` prints, times in seconds, and what people are told of the guard."""
    updates: list[Update] = []
    try:
        updates += chat.stream(text)
    except FiresteelError as error:
        updates.append(Failed.of(error))
    last = updates[-1]
    for update in updates:
        if isinstance(update, Failed):
            return {"user": text, "error": {"code": update.code, "message": update.message}}, []
    assert isinstance(last, Ended)
    usage, said = last.usage, chat.conversation.exchanges[-1].answer
    turn = {
        "user": text,
        "text": said,
        "finish_reason": last.reason,
        "prompt_tokens": usage.num_prompt_tokens,
        "cached_tokens": usage.num_cached_tokens,
        "output_tokens": usage.num_output_tokens,
        "ttft_seconds": usage.queue_seconds + usage.prefill_seconds,
        "tokens_per_second": tokens_per_second(usage),
        "guard": report_of(usage),
    }
    return turn, remarks(usage.guard, said)


def _print(turn: dict[str, Any], told: list[str], *, json: bool) -> None:
    if json:
        typer.echo(msgspec.json.encode(turn).decode())
    elif "error" in turn:
        typer.echo(f"error: {turn['error']['message']}", err=True)
    else:
        typer.echo(turn["text"])
        for line in told:
            typer.echo(line, err=True)
