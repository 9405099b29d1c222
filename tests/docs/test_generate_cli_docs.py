"""The page shows what a user can type, and only that."""

import runpy
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_cli_docs.py"


class Color(StrEnum):
    """Two of them."""

    red = "red"
    blue = "blue"


def paint(
    wall: Annotated[str, typer.Argument(help="Which wall.")],
    color: Annotated[Color, typer.Option(help="Which color.")] = Color.red,
    coats: Annotated[int | None, typer.Option("--coats", "-c", show_default="two")] = None,
    finish: Annotated[Literal["matt", "gloss"], typer.Option(help="How it shines.")] = "matt",
    dry: Annotated[bool, typer.Option(help="Wait until it is dry.")] = False,
    tools: Annotated[list[str] | None, typer.Option("--tool", help="With what.")] = None,
) -> None:
    """Paint a wall."""


def rendered(app: typer.Typer) -> str:
    page: str = runpy.run_path(str(SCRIPT))["render"](app)
    return page


def test_page_shows_names_values_and_defaults() -> None:
    app, group = typer.Typer(), typer.Typer()
    group.command()(paint)
    app.add_typer(group, name="walls")
    page = rendered(app)
    for line in (
        "## `firesteel walls paint WALL`",
        "Paint a wall.",
        "| `WALL` | text | Which wall. |",
        "| `--color` | `red`, `blue` | Which color. Default: `red`. |",
        "| `--coats, -c` | a whole number |  Default: two. |",
        "| `--finish` | `matt`, `gloss` | How it shines. Default: `matt`. |",
        "| `--dry / --no-dry` | nothing | Wait until it is dry. |",
        "| `--tool` | text, may be repeated | With what. |",
    ):
        assert line in page.splitlines()


def test_options_of_the_whole_program_come_first() -> None:
    app = typer.Typer()
    app.command()(paint)

    @app.callback()
    def everything(loud: Annotated[bool, typer.Option("--loud", help="Say more.")] = False) -> None:
        """Do all sorts of things."""

    page = rendered(app)
    assert page.index("## `firesteel`\n\nDo all sorts") < page.index("| `--loud` |") < page.index("paint WALL")


def test_hidden_commands_stay_hidden() -> None:
    app = typer.Typer()
    app.command(hidden=True)(paint)
    assert "paint" not in rendered(app)
