"""`firesteel setup CLIENT`."""

import difflib
import sys
from datetime import datetime
from typing import Annotated, Literal

import typer

from firesteel.cli.common import DEFAULT_MODEL
from firesteel.cli.setup.clients import Plan, Target, plan_of
from firesteel.cli.setup.files import Settings, merged, snippet, write
from firesteel.config import api_keys
from firesteel.errors import ConfigError

DEFAULT_CONTEXT = 16_384
ASK_SECONDS = 2.0

ClientArgument = Annotated[
    Literal["codex", "claude", "opencode", "continue", "aider", "copilot", "llm", "zed", "nvim", "vscode"],
    typer.Argument(help="Whose configuration is written.", show_default=False),
]
UrlOption = Annotated[str, typer.Option(help="Where `firesteel serve` listens.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Name of the model.", show_default="what the server says")
]
ContextOption = Annotated[
    int | None, typer.Option(min=1024, help="Its context in tokens.", show_default="what the server says")
]
PrintOption = Annotated[bool, typer.Option("--print", help="Only print the settings; change nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Change existing files without asking.")]


def setup(
    client: ClientArgument,
    url: UrlOption = "http://127.0.0.1:8080",
    model: ModelOption = None,
    context: ContextOption = None,
    only_print: PrintOption = False,
    yes: YesOption = False,
) -> None:
    """Point a client at this server: write its configuration, asking before an existing file is changed.

    A running server is asked for its model and context; FIRESTEEL_API_KEY, where it is set, goes into the
    configuration. Whatever is changed has a backup beside it.
    """
    target = target_of(url, model, context)
    plan = plan_of(client, target)
    if only_print:
        print_plan(plan)
        return
    for settings in plan.settings:
        apply(settings, yes=yes)
    typer.echo(f"now: {plan.then}", err=True)


def target_of(url: str, model: str | None, context: int | None) -> Target:
    """Return the server that is meant; what was not said is asked from it, or else assumed. Raises ConfigError."""
    url = url.rstrip("/").removesuffix("/v1")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url {url!r}: send the address of the server, as in http://127.0.0.1:8080")
    keys = api_keys()
    key = keys[0] if keys else None
    if model is None or context is None:
        found = ask_server(url, key)
        if found is None:
            assumed = f"{model or DEFAULT_MODEL} with {context or DEFAULT_CONTEXT} tokens of context"
            typer.echo(f"nobody answers at {url}: assuming {assumed} (--model, --context)", err=True)
        name, size = found or (DEFAULT_MODEL, DEFAULT_CONTEXT)
        model, context = model or name, context or size
    return Target(url=url, model=model, context=context, api_key=key)


def ask_server(url: str, key: str | None) -> tuple[str, int] | None:
    """Return name and context of the model that is served at `url`; None when nobody answers as we do."""
    import httpx

    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.get(f"{url}/v1/models", headers=headers, timeout=ASK_SECONDS)
        card = response.raise_for_status().json()["data"][0]
        return str(card["id"]), int(card["max_model_len"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None


def print_plan(plan: Plan) -> None:
    """Print the settings on stdout, the paths and the rest on stderr."""
    for settings in plan.settings:
        typer.echo(f"# {settings.path}", err=True)
        typer.echo(snippet(settings))
    typer.echo(f"then: {plan.then}", err=True)


def apply(settings: Settings, *, yes: bool) -> None:
    """Bring the settings into their file. Raises ConfigError when that needs a yes and nobody can give it."""
    old, new = merged(settings)
    if old == new:
        typer.echo(f"{settings.path}: already says so", err=True)
        return
    if old is not None and not yes:
        _ask(settings, old, new)
    backup = write(settings.path, new, now=datetime.now())
    kept = f"; what was there is in {backup.name}" if backup else ""
    typer.echo(f"{settings.path}: written{kept}", err=True)


def _ask(settings: Settings, old: str, new: str) -> None:
    """Show the change, and go on with the user's yes only. Raises ConfigError without a terminal, Abort on a no."""
    for line in difflib.unified_diff(old.splitlines(), new.splitlines(), "now", "then", lineterm=""):
        typer.echo(line, err=True)
    if not _is_terminal():
        raise ConfigError(f"{settings.path} exists and would be changed as above: say --yes, or --print and do it")
    typer.confirm(f"change {settings.path}?", abort=True, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()
