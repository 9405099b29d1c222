"""The live region, from top to bottom: unfinished line, words that wait, input, toolbar."""

from collections.abc import Callable

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import BufferControl, ConditionalContainer, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.output import Output

from firesteel.cli.chat.screen import STYLE

MAX_INPUT_ROWS = 10
ESCAPE_SECONDS = 0.03  # an Esc that nothing follows within this time is the key itself


def live_region(
    buffer: Buffer,
    keys: KeyBindings,
    line: Callable[[], str],
    waiting: Callable[[], str],
    toolbar: Callable[[], str],
    *,
    input: Input | None,
    output: Output,
) -> Application[None]:
    """Return the application that draws the live region; the callables say what is in it when it is drawn."""
    window = Window(
        BufferControl(buffer),
        height=Dimension(min=1, max=MAX_INPUT_ROWS),
        dont_extend_height=True,
        wrap_lines=True,
        get_line_prefix=_prompt,
    )
    rows = [_shown(line, ""), _shown(waiting, "class:waiting"), window]
    layout = Layout(HSplit([*rows, _bar(toolbar)]), focused_element=window)
    app: Application[None] = Application(
        layout=layout, key_bindings=keys, style=STYLE, erase_when_done=True, input=input, output=output
    )
    app.ttimeoutlen = app.timeoutlen = ESCAPE_SECONDS
    return app


def _prompt(line_number: int, wrap_count: int) -> StyleAndTextTuples:
    return [("class:mark", "  " if line_number or wrap_count else "› ")]


def _shown(text: Callable[[], str], style: str) -> ConditionalContainer:
    """Return rows that are there while they have something to say."""
    control = FormattedTextControl(lambda: [(style, text())])
    window = Window(control, wrap_lines=True, dont_extend_height=True)
    return ConditionalContainer(window, Condition(lambda: bool(text())))


def _bar(text: Callable[[], str]) -> Window:
    return Window(FormattedTextControl(lambda: [("class:toolbar", text())]), height=1)
