"""From settings to guards: by default, and by API key."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from firesteel.config import GuardConfig, GuardLevel, ServerConfig
from firesteel.errors import ConfigError
from firesteel.guard.order import Guards
from firesteel.guard.policy import parsed_actions
from firesteel.guard.rules.catalogue import BY_ID
from firesteel.service.keyring import scope_of


class KeyGuard(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The guard of one API key, in the file that `guard_keys` names."""

    level: GuardLevel = "rewrite"
    actions: dict[str, str] = {}
    locked: bool = False


def guards_of(config: ServerConfig) -> Guards:
    """Return how answers are guarded. Raises ConfigError for a rule, an action or a file that is none."""
    level, paths = config.guard, config.guard_ignore
    default = _guard(level, config.guard_actions, ignored_paths=paths, locked=config.guard_lock)
    by_scope = {
        scope_of(key.encode()): _guard(
            guard.level, [f"{rule}={action}" for rule, action in guard.actions.items()], locked=guard.locked
        )
        for key, guard in _keys(config.guard_keys).items()
    }
    return Guards(default if level != "off" else None, by_scope)


def _guard(level: GuardLevel, actions: "tuple[str, ...] | list[str]", **others: Any) -> GuardConfig:
    known = {rule: str(action) for rule, action in parsed_actions(actions, BY_ID, "guard_actions").items()}
    if level == "off":
        return GuardConfig(is_on=False, actions=known, **others)
    return GuardConfig(level=level, actions=known, **others)


def _keys(path: str | None) -> dict[str, KeyGuard]:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, KeyGuard])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"guard_keys {path}: {error}; write {{KEY: {{level, actions, locked}}}}") from None


Need = Literal["off", "on", "required"]
NEEDS: tuple[Need, ...] = ("off", "on", "required")


def guards_after(need: Need, config: ServerConfig) -> Guards:
    """Return how answers are guarded from now on, by an engine that was started for `need`.

    Raises ConfigError as `guards_of` does, and for more than the engine was tried for when it started.
    """
    guards = guards_of(config)
    if NEEDS.index(need_of(guards)) > NEEDS.index(need):
        wanted = "blocks" if need_of(guards) == "required" else "watches"
        raise ConfigError(f"`guard`: the engine was started without a guard that {wanted}; restart the server")
    return guards


def need_of(guards: Guards) -> Need:
    """Return whether the engine needs a guard: required where something is to be blocked."""
    configs = [config for config in (guards.default, *guards.by_scope.values()) if config is not None]
    if not configs:
        return "off"
    blocks = any(config.is_on and (config.level == "block" or "block" in config.actions.values()) for config in configs)
    return "required" if blocks else "on"
