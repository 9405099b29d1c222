"""What is going on, on stderr: these measurements take minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[str], None]  # says what begins now


@contextmanager
def steps(total: int) -> Iterator[Step]:
    """Yield a function that announces each of `total` steps: a bar on a terminal, else one line a step."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console, total) as step:
            yield step
    else:
        yield _lines(console, total)


@contextmanager
def _bar(console: object, total: int) -> Iterator[Step]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:  # type: ignore[arg-type]
        task = bar.add_task("", total=total, completed=-1)
        yield lambda what: bar.update(task, advance=1, description=what)


def _lines(console: object, total: int) -> Step:
    number = 0

    def step(what: str) -> None:
        nonlocal number
        number += 1
        console.print(f"{number}/{total} {what}", highlight=False, markup=False)  # type: ignore[attr-defined]

    return step
