"""What is done about a finding: the rule's own action, unless a setting or a suppression says otherwise."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch

from firesteel.errors import ConfigError
from firesteel.guard.finding import Action

SUPPRESSED = re.compile(r"(?:#|//|--|/\*|<!--|;)[^\n]*\bfiresteel:\s*ignore(?:\[(?P<rules>[\w\s,]*)\])?")


@dataclass(frozen=True, slots=True)
class Policy:
    """`actions` by rule id or by its beginning (`FS1`); `ignored_paths` are globs in which nothing is reported.

    Comments `firesteel: ignore[FS201]` count only where `honours_comments`: a model must not be able to switch its own
    guard off. `gives_up` is what happens to a finding that comes back after `max_attempts` rewinds. `at_most` caps the
    rules' own actions, not those that were set.
    """

    actions: dict[str, Action] = field(default_factory=dict)
    ignored_paths: tuple[str, ...] = ()
    honours_comments: bool = False
    max_attempts: int = 3
    gives_up: Action = Action.warn
    at_most: Action = Action.block

    def action(self, rule: str, default: Action) -> Action:
        """Return what to do about a finding of `rule`; the longest name that fits decides."""
        for length in range(len(rule), 1, -1):
            if rule[:length] in self.actions:
                return self.actions[rule[:length]]
        return min(default, self.at_most, key=lambda action: action.rank)

    def ignores(self, path: str | None) -> bool:
        """Whether nothing is reported for a file."""
        return path is not None and any(fnmatch(path, glob) for glob in self.ignored_paths)


def suppressed(line: str, rule: str) -> bool:
    """Whether a comment in `line` says that `rule` is to be ignored."""
    found = SUPPRESSED.search(line)
    if found is None:
        return False
    named = found["rules"]
    return named is None or any(rule.startswith(each.strip()) for each in named.split(",") if each.strip())


def parsed_actions(written: Iterable[str], known: Iterable[str], option: str = "--action") -> dict[str, Action]:
    """Return settings as they are written: `FS201=warn`, `FS1=block`. Raises ConfigError that names `option`."""
    rules, found = tuple(known), {}
    for each in written:
        rule, _, action = each.partition("=")
        if action not in list(Action):
            raise ConfigError(
                f"`{option}`: {each!r} is none; write RULE=ACTION, with {', '.join(Action)} as the action",
                param="action",
            )
        if not any(known_rule.startswith(rule) for known_rule in rules):
            raise ConfigError(f"`{option}`: no rule begins with {rule!r}; see `firesteel guard rules`", param="action")
        found[rule] = Action(action)
    return found
