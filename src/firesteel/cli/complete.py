"""`firesteel complete`: fill in the middle at a cursor."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from firesteel.cli.common import (
    DEFAULT_MODEL,
    BackendOption,
    ContextOption,
    JsonOption,
    KvTypeOption,
    ModelOption,
    QuantizeOption,
    ScriptOption,
    ThreadsOption,
    YarnOption,
    engine_config,
    print_json,
)
from firesteel.cli.guarding import GuardOption, order_of, remarks, report_of
from firesteel.config import EngineConfig, GuardLevel
from firesteel.errors import RequestError
from firesteel.types import Delta, FillPrompt, Finish, Sampling
from firesteel.verdict import GuardOrder

MIN_STOP_CHARACTERS = 4  # a shorter line, such as a closing bracket, may well stand in the insertion too

PlaceArgument = Annotated[
    str, typer.Argument(metavar="FILE:LINE[:COL]", help="The cursor, counted from 1; without COL, the line's end.")
]


def complete(
    place: PlaceArgument,
    model: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = "auto",
    script: ScriptOption = None,
    quantize: QuantizeOption = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the insertion at most.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    kv_type: KvTypeOption = "f16",
    yarn: YarnOption = None,
    guard: GuardOption = "rewrite",
    json: JsonOption = False,
) -> None:
    """Print what the model would insert at the cursor, given the text before and after it."""
    path, line, column = parse_place(place)
    prompt = split_at(read_text(path), line, column)
    options = (model, backend, script, quantize, threads, context, kv_type, yarn)
    config = engine_config(*options, cache_bytes=0)  # one prompt: nothing could come back to what is idle
    order = order_of(guard, prompt, str(path))
    text, finish = fill(config, prompt, Sampling(temperature=temperature), max_tokens, guard, order, quiet=json)
    if json:
        column = column or len(prompt.prefix.rsplit("\n", 1)[-1]) + 1
        print_json({"file": str(path), "line": line, "column": column, "insertion": text, **figures(finish)})


def fill(
    config: EngineConfig,
    prompt: FillPrompt,
    sampling: Sampling,
    max_tokens: int,
    guard: GuardLevel,
    order: GuardOrder | None,
    *,
    quiet: bool,
) -> tuple[str, Finish]:
    """Stream the insertion to stdout unless `quiet`; return it whole, and how it ended."""
    from firesteel.cli.local import generate, open_engine

    text = ""
    with open_engine(config, guard) as worker:
        for event in generate(worker, prompt, sampling, max_tokens, stop_before(prompt.suffix), order):
            if isinstance(event, Delta):
                text += event.text
                if not quiet:
                    sys.stdout.write(event.text)
                    sys.stdout.flush()
    assert isinstance(event, Finish)
    if not quiet:
        for line in remarks(event.usage.guard, text, prompt.prefix, event.reason):
            typer.echo(line, err=True)
    return text, event


def stop_before(suffix: str) -> tuple[str, ...]:
    """Return the stop string that keeps the insertion from repeating the text after the cursor's line, if any."""
    following = suffix.split("\n")[1:]
    line = next((line for line in following if len(line.strip()) >= MIN_STOP_CHARACTERS), None)
    return (f"\n{line}",) if line is not None else ()


def figures(finish: Finish) -> dict[str, object]:
    """Return what `--json` says beside the insertion; times in seconds."""
    usage = finish.usage
    return {
        "finish_reason": finish.reason,
        "output_tokens": usage.num_output_tokens,
        "ttft_seconds": usage.queue_seconds + usage.prefill_seconds,
        "guard": report_of(usage),
    }


def parse_place(place: str) -> tuple[Path, int, int | None]:
    """Split `FILE:LINE[:COL]`; file names may hold colons. Raises RequestError that shows the form."""
    parts = place.rsplit(":", 2)
    for num_numbers in (2, 1):
        numbers = parts[-num_numbers:]
        if len(parts) > num_numbers and all(number.isascii() and number.isdigit() for number in numbers):
            line, column = [*map(int, numbers), None][:2]
            path = ":".join(parts[:-num_numbers])
            if path and line and column != 0:
                return Path(path), line, column
    raise RequestError(f"{place!r} is not FILE:LINE[:COL], with numbers from 1, as in app.py:12:5", param="place")


def read_text(path: Path) -> str:
    """Return the file's text. Raises RequestError when it cannot be read as UTF-8."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read {path}: {error}", param="place") from None


def split_at(text: str, line: int, column: int | None) -> FillPrompt:
    """Return the text before and after the cursor. Raises RequestError when it lies outside the text."""
    lines = text.split("\n")
    if line > len(lines):
        raise RequestError(f"line {line} is beyond the file's {len(lines)} lines", param="place")
    width = len(lines[line - 1].removesuffix("\r"))
    offset = width if column is None else column - 1
    if offset > width:
        raise RequestError(f"column {column} is beyond line {line}, which has {width} characters", param="place")
    start = sum(len(before) + 1 for before in lines[: line - 1]) + offset
    return FillPrompt(prefix=text[:start], suffix=text[start:])
