"""`firesteel run`: stream an answer to one prompt."""

import os
import sys
from typing import Annotated

import typer

from firesteel.cli.common import (
    DEFAULT_MODEL,
    BackendOption,
    ContextOption,
    JsonOption,
    KvTypeOption,
    MaxTokensOption,
    ModelOption,
    QuantizeOption,
    ScriptOption,
    SeedOption,
    SystemOption,
    TemperatureOption,
    ThreadsOption,
    YarnOption,
    engine_config,
    print_json,
)
from firesteel.cli.guarding import GuardOption, order_of, remarks, report_of
from firesteel.config import EngineConfig, GuardLevel
from firesteel.errors import RequestError
from firesteel.types import ChatPrompt, Delta, Finish, Message, Sampling


def run(
    prompt: Annotated[
        str | None, typer.Argument(help="What to write. Without it, the prompt is read from stdin.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Put what is piped in after PROMPT.")] = False,
    model: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = "auto",
    script: ScriptOption = None,
    quantize: QuantizeOption = None,
    system: SystemOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    kv_type: KvTypeOption = "f16",
    yarn: YarnOption = None,
    guard: GuardOption = "rewrite",
    json: JsonOption = False,
) -> None:
    """Stream the model's answer to PROMPT, then say how fast it came.

    The first use pulls the model (491 MB for the default one). The text goes to stdout, the figures to stderr.
    """
    options = (model, backend, script, quantize, threads, context, kv_type, yarn)
    config = engine_config(*options, cache_bytes=0)  # one prompt: nothing could come back to what is idle
    messages = [Message(role="system", content=system)] if system else []
    messages.append(Message(role="user", content=read_prompt(prompt, stdin=stdin)))
    prompted = ChatPrompt(messages=tuple(messages))
    text, finish = answer(config, prompted, max_tokens, temperature, seed, guard, quiet=json)
    if json:
        show_json(text, finish)


def read_prompt(prompt: str | None, *, stdin: bool) -> str:
    """Return the prompt: the argument, what is piped in where that is wanted, or both, in this order.

    With an argument stdin is left alone unless asked for: it may be a loop's, or a pipe that nobody closes.
    Raises RequestError when there is neither, or when it is not UTF-8.
    """
    wants_stdin = (stdin or not prompt) and sys.stdin is not None and not sys.stdin.isatty()
    piped = sys.stdin.buffer.read() if wants_stdin else b""
    parts = (os.fsencode(prompt or ""), piped.strip())
    try:
        text = b"\n\n".join(filter(None, parts)).decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"the prompt is not UTF-8: {error}", param="prompt") from None
    if not text:
        raise RequestError('there is no prompt; say what to write: firesteel run "..."', param="prompt")
    return text


def answer(
    config: EngineConfig,
    prompt: ChatPrompt,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    guard: GuardLevel,
    *,
    quiet: bool,
) -> tuple[str, Finish | None]:
    """Stream the answer to stdout unless `quiet`; return it whole, and how it ended. Ctrl-C keeps what was printed."""
    import msgspec

    from firesteel.cli.local import generate, open_engine, summary

    parts: list[str] = []
    finish = None
    with open_engine(config, guard) as worker:
        changed = {name: value for name, value in (("temperature", temperature), ("seed", seed)) if value is not None}
        sampling: Sampling = msgspec.structs.replace(worker.backend.info.sampling, **changed)
        try:
            for event in generate(worker, prompt, sampling, max_tokens, guard=order_of(guard, prompt)):
                if isinstance(event, Delta):
                    parts.append(event.text)
                    if not quiet:
                        sys.stdout.write(event.text)
                        sys.stdout.flush()
                elif isinstance(event, Finish):
                    finish = event
        finally:
            if parts and not quiet:
                typer.echo()
    text = "".join(parts)
    if finish is not None and not quiet:
        for line in (*remarks(finish.usage.guard, text, reason=finish.reason), summary(finish.usage)):
            typer.echo(line, err=True)
    return text, finish


def show_json(text: str, finish: Finish | None) -> None:
    """Print the answer and its figures as one JSON document; times in seconds."""
    from firesteel.cli.local import tokens_per_second

    assert finish is not None
    usage = finish.usage
    figures = {
        "text": text,
        "finish_reason": finish.reason,
        "prompt_tokens": usage.num_prompt_tokens,
        "output_tokens": usage.num_output_tokens,
        "ttft_seconds": usage.queue_seconds + usage.prefill_seconds,
        "tokens_per_second": tokens_per_second(usage),
        "guard": report_of(usage),
    }
    print_json(figures)
