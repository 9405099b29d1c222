"""Where each setting comes from: its default, the configuration file, the environment, the flags; later ones win."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from firesteel.config import EngineConfig, ServerConfig
from firesteel.errors import ConfigError
from firesteel.settings.kept import STRICT
from firesteel.settings.setting import PREFIX, Setting
from firesteel.settings.table import SETTINGS

FILE_NAME = "firesteel.toml"
FILE_VARIABLE = "FIRESTEEL_CONFIG"
OTHER_VARIABLES = frozenset(  # that are no setting of the server: docs/reference/environment.md
    PREFIX + name
    for name in ("CONFIG", "HOME", "OFFLINE", "DEBUG", "KERNELS", "PIN_THREADS", "NATIVE_LIBRARY", "TORCH_DEVICE")
)
READABLE_BY_OTHERS = 0o077

Kind = Literal["default", "file", "environment", "flag"]


class Value(msgspec.Struct, frozen=True):
    """What a setting is, and where that was said: the file's path, the variable, the flag."""

    setting: Setting
    value: Any
    kind: Kind = "default"
    where: str = ""

    @property
    def made(self) -> Any:
        """What the field of the config holds. Raises ConfigError."""
        return self.setting.make(self.value)


class Settings(msgspec.Struct, frozen=True):
    """All values, by name; the file they were read from; what is odd but no error."""

    values: dict[str, Value]
    file: Path | None = None
    warnings: tuple[str, ...] = ()

    def engine(self) -> EngineConfig:
        """Return what the engine needs to know. Raises ConfigError."""
        return EngineConfig(**self._fields("engine"))

    def server(self) -> ServerConfig:
        """Return what the server needs to know. Raises ConfigError."""
        return ServerConfig(**self._fields("server"))

    def _fields(self, owner: str) -> dict[str, Any]:
        parts = [(value.setting.field.partition("."), value) for value in self.values.values()]
        return {field: value.made for (config, _, field), value in parts if config == owner}

    def changed(self, other: "Settings") -> list[Setting]:
        """Return the settings whose value is another one in `other`."""
        return [v.setting for name, v in self.values.items() if v.value != other.values[name].value]


def resolve(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ, config: str | None = None
) -> Settings:
    """Return all settings. `flags` are the values of those that were given; `config` is the file that was named.

    Raises ConfigError that names the setting, where it stands and the remedy.
    """
    file = find_file(config, environment)
    values = {name: Value(setting, setting.default) for name, setting in SETTINGS.items()}
    warnings = list(_unknown_variables(environment))
    if file is not None:
        values |= {value.setting.name: value for value in _from_file(file)}
        warnings += _exposed(file, values)
    values |= {value.setting.name: value for value in _from_environment(environment)}
    for name, given in (flags or {}).items():
        setting = SETTINGS[name]
        values[name] = Value(setting, setting.convert(given, setting.flag, is_text=True), "flag", setting.flag)
    settings = Settings(_private(values), file, tuple(warnings))
    settings.engine(), settings.server()  # what cannot be is said now
    return settings


def _private(values: dict[str, Value]) -> dict[str, Value]:
    """Return `values` with what strict privacy turns off. Raises ConfigError where one of it was asked for."""
    privacy = values["privacy"]
    if privacy.value != "strict":
        return values
    for name, off in STRICT.items():
        asked = values[name]
        if asked.kind != "default" and asked.value != off:
            raise ConfigError(f"{asked.where}: `{name}` would keep what strict privacy forbids; remove one of them")
    where = f"privacy ({privacy.where})"
    return values | {name: Value(SETTINGS[name], off, privacy.kind, where) for name, off in STRICT.items()}


def places(environment: Mapping[str, str]) -> list[Path]:
    """Return where a configuration file is looked for when none is named; the first that is there is read."""
    user = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home(), ".config")
    return [Path(FILE_NAME), Path(user, "firesteel", FILE_NAME), Path("/etc/firesteel", FILE_NAME)]


def find_file(config: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the configuration file: the one that was named, else the first of `places`. Raises ConfigError."""
    named = config or environment.get(FILE_VARIABLE)
    if not named:
        return next((place for place in places(environment) if place.is_file()), None)
    if not Path(named).is_file():
        raise ConfigError(f"there is no configuration file {named}; correct {'--config' if config else FILE_VARIABLE}")
    return Path(named)


def look_up(name: str, config: str | None = None, environment: Mapping[str, str] = os.environ) -> Value:
    """Return one setting; what is wrong with others is not looked at. Raises ConfigError."""
    setting = SETTINGS[name]
    if text := environment.get(setting.variable):
        return Value(setting, setting.convert(text, setting.variable, is_text=True), "environment", setting.variable)
    file = find_file(config, environment)
    found = dict(_items(file)) if file is not None else {}
    return _in_file(file, name, found[name]) if file and name in found else Value(setting, setting.default)


def _from_file(file: Path) -> list[Value]:
    return [_in_file(file, name, value) for name, value in _items(file)]


def _items(file: Path) -> list[tuple[str, Any]]:
    """Return what a file says, `table.key` and value. Raises ConfigError."""
    try:
        return list(_flat(tomllib.loads(file.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); correct the file or its permissions") from None
    except ValueError as error:  # of TOML, and of numbers with thousands of digits
        raise ConfigError(f"{file} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply; no setting needs more than a table and a list") from None


def _in_file(file: Path, name: str, value: Any) -> Value:
    setting = SETTINGS.get(name)
    if setting is None:
        raise ConfigError(f"{file}: there is no setting `{name:.200}`; {_remedy(name)}")
    return Value(setting, setting.convert(value, str(file)), "file", str(file))


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of all tables, `table.key`."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _remedy(name: str) -> str:
    near = difflib.get_close_matches(name.replace("-", "_").lower(), SETTINGS, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else "remove it; `firesteel config show` lists all"


def _from_environment(environment: Mapping[str, str]) -> Iterator[Value]:
    for setting in SETTINGS.values():
        if text := environment.get(setting.variable):
            yield Value(setting, setting.convert(text, setting.variable, is_text=True), "environment", setting.variable)


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that looks like ours and is not: it may be another program's."""
    known = {setting.variable for setting in SETTINGS.values()} | OTHER_VARIABLES
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            yield f"{name} is no variable of Firesteel and has no effect" + (
                f"; did you mean {near[0]}?" if near else ""
            )


def _exposed(file: Path, values: Mapping[str, Value]) -> Iterator[str]:
    secrets = [
        f"`{value.setting.name}`"
        for value in values.values()
        if value.kind == "file" and value.setting.hides(value.value)
    ]
    if secrets and file.stat().st_mode & READABLE_BY_OTHERS:
        yield f"{file} holds {', '.join(secrets)} and can be read by other users; chmod 600 {file}"
