"""Options of the command line, made from the table of settings."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.models import OptionInfo

from firesteel.settings.setting import Setting, base, inner, limits
from firesteel.settings.table import SETTINGS

Command = TypeVar("Command", bound=Callable[..., None])


def option(name: str) -> Any:
    """Return the option of the setting `name`: its flags, its limits and its help."""
    setting = SETTINGS[name]
    flag = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.takes is bool else setting.flag
    least, most = (None, None) if setting.is_list else limits(setting.takes)
    return typer.Option(
        flag, *setting.short, help=setting.help, min=least, max=most, show_default=setting.stands_for or True
    )


def takes_settings(function: Command) -> Command:
    """Give a command that takes `invoked` and `**flags` a flag for each setting that has one.

    Only flags that were typed arrive, since a default must not win over the file and the environment: `typed`.
    """
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
    made = [_parameter(setting) for setting in SETTINGS.values() if setting.has_flag]
    function.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *made]}
    return function


def _parameter(setting: Setting) -> inspect.Parameter:
    kind = str if setting.is_list else _plain(setting.takes)
    default = ",".join(setting.default) if setting.is_list else setting.default
    info: OptionInfo = option(setting.name)
    return inspect.Parameter(
        setting.parameter, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _plain(takes: Any) -> Any:
    """Return the type that Typer reads a value with."""
    return base(takes) if inner(takes) is takes else base(takes) | None


def typed(invoked: typer.Context, flags: dict[str, Any]) -> dict[str, Any]:
    """Return those of `flags` that stand on the command line, by the names of their settings."""
    names = {setting.parameter: name for name, setting in SETTINGS.items()}
    given = (name for name in flags if (source := invoked.get_parameter_source(name)) and source.name == "COMMANDLINE")
    return {names[name]: flags[name] for name in given}
