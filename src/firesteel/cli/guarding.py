"""The options of `serve` that say how answers are guarded."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from firesteel.config import EngineConfig, GuardConfig, ServerConfig
from firesteel.errors import ConfigError

GuardLevel = Literal["off", "observe", "warn", "rewrite", "block"]
GuardOption = Annotated[
    GuardLevel,
    typer.Option(
        "--guard",
        help="What is done about vulnerable code: rewrite leaves it to each rule, observe and warn do no more than "
        "that, block ends an answer that cannot be repaired. See docs/how-to/guard.md.",
    ),
]
GuardActionOption = Annotated[
    list[str] | None,
    typer.Option("--guard-action", help="RULE=ACTION, for a rule or all that begin so: FS251=observe, FS1=block."),
]
GuardIgnoreOption = Annotated[
    list[str] | None,
    typer.Option("--guard-ignore", help="A glob of paths that are not guarded, where a request names its path."),
]
GuardLockOption = Annotated[bool, typer.Option("--guard-lock", help="Let no request weaken or change the guard.")]
GuardKeysOption = Annotated[
    str | None, typer.Option("--guard-keys", help="JSON file of guards by API key, in place of these options.")
]


class KeyGuard(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The guard of one API key, in the file of `--guard-keys`."""

    level: GuardLevel = "rewrite"
    actions: dict[str, str] = {}
    ignored_paths: tuple[str, ...] = ()
    locked: bool = False


def guarded(
    engine: EngineConfig,
    server: ServerConfig,
    level: GuardLevel,
    actions: list[str] | None,
    ignored: list[str] | None,
    lock: bool,
    keys: str | None,
) -> tuple[EngineConfig, ServerConfig]:
    """Return both configurations with the guard that the options describe. Raises ConfigError."""
    guard = None if level == "off" else guard_config(level, actions, ignored, lock)
    server = msgspec.structs.replace(server, guard=guard, key_guards=key_guards(keys))
    return msgspec.structs.replace(engine, guard=need_of(server)), server


def guard_config(level: GuardLevel, actions: list[str] | None, ignored: list[str] | None, lock: bool) -> GuardConfig:
    """Return what the options say. Raises ConfigError."""
    from firesteel.guard.policy import parsed_actions
    from firesteel.guard.rules.catalogue import BY_ID

    known = {rule: str(action) for rule, action in parsed_actions(actions or (), BY_ID).items()}
    paths = tuple(ignored or ())
    if level == "off":
        return GuardConfig(is_on=False, actions=known, ignored_paths=paths, locked=lock)
    return GuardConfig(level=level, actions=known, ignored_paths=paths, locked=lock)


def key_guards(path: str | None) -> dict[str, GuardConfig]:
    """Return the guards in the file at `path`, by the scope of their key. Raises ConfigError."""
    if path is None:
        return {}
    from firesteel.server.auth import scope_of_key

    try:
        keys = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, KeyGuard])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"--guard-keys {path}: {error}; write {{KEY: {{level, actions, locked}}}}") from None
    made = {}
    for key, guard in keys.items():
        actions = [f"{rule}={action}" for rule, action in guard.actions.items()]
        config = guard_config(guard.level, actions, list(guard.ignored_paths), guard.locked)
        made[scope_of_key(key.encode())] = config
    return made


def need_of(server: ServerConfig) -> Literal["off", "on", "required"]:
    """Return whether the engine needs a guard: required where something is to be blocked."""
    guards = [guard for guard in (server.guard, *server.key_guards.values()) if guard is not None]
    if not guards:
        return "off"
    blocks = any(guard.is_on and (guard.level == "block" or "block" in guard.actions.values()) for guard in guards)
    return "required" if blocks else "on"
