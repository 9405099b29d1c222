"""The script: a JSON file that tells the scripted model what to say, how fast, and when to fail."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from firesteel.errors import ConfigError

Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
TokenIndex = Annotated[int, msgspec.Meta(ge=0)]
StepTokens = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when `match` is found in the last user text. `None`: as the script says, or not at all."""

    match: str = ""  # regular expression, searched; empty matches everything
    when: Literal["any", "user", "tool"] = "any"  # only if the last message is the user's, or a tool's result
    say: str | None = None  # None: what the model would say without a script
    mode: Literal["plan", "hash"] = "plan"  # hash: every token is a hash of the whole history
    tokens_per_step: StepTokens | None = None
    step_ms: Milliseconds | None = None
    prefill_ms_per_row: Milliseconds | None = None
    stall_at: TokenIndex | None = None  # before this token of the reply, wait for `stall_ms`
    stall_ms: Milliseconds = 0
    fail_at: TokenIndex | None = None  # instead of this token, `EngineFailure`
    crash_at: TokenIndex | None = None  # instead of this token, the process kills itself


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The defaults of every step, and the rules; the first rule that matches wins."""

    tokens_per_step: StepTokens = 1
    step_ms: Milliseconds = 0
    prefill_ms_per_row: Milliseconds = 0
    rules: tuple[Rule, ...] = ()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule, or the script where none matches, makes of time. Units: seconds and reply tokens."""

    tokens_per_step: int
    step_seconds: float
    prefill_seconds_per_row: float
    stall_at: int | None = None
    stall_seconds: float = 0.0
    fail_at: int | None = None
    crash_at: int | None = None
    halts: tuple[int, ...] = ()  # the three above that are set: a step of several tokens ends before them

    @property
    def is_free(self) -> bool:
        """Return whether steps take no time and never fail."""
        return not (self.step_seconds or self.prefill_seconds_per_row or self.halts)


def pace(script: Script, rule: Rule | None) -> Pace:
    """Return the pace of `rule`, completed by the script's defaults."""
    rule = rule or Rule()
    step_ms = script.step_ms if rule.step_ms is None else rule.step_ms
    row_ms = script.prefill_ms_per_row if rule.prefill_ms_per_row is None else rule.prefill_ms_per_row
    return Pace(
        tokens_per_step=rule.tokens_per_step or script.tokens_per_step,
        step_seconds=step_ms / 1000,
        prefill_seconds_per_row=row_ms / 1000,
        stall_at=rule.stall_at,
        stall_seconds=rule.stall_ms / 1000,
        fail_at=rule.fail_at,
        crash_at=rule.crash_at,
        halts=tuple(at for at in (rule.stall_at, rule.fail_at, rule.crash_at) if at is not None),
    )


def max_step_tokens(script: Script) -> int:
    """Return the most tokens that any step of `script` may yield."""
    return max(script.tokens_per_step, *(rule.tokens_per_step or 1 for rule in script.rules), 1)


def parse_script(data: bytes | str, *, source: str = "script") -> Script:
    """Return the script that the JSON in `data` describes.

    Raises `ConfigError` that names `source`, the key at fault and the remedy.
    """
    try:
        script = msgspec.json.decode(data, type=Script)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{source}: {error}. Correct this key; docs/reference/script.md lists all.") from None
    for number, rule in enumerate(script.rules):
        _check(rule, f"{source}: rules[{number}]")
    return script


def _check(rule: Rule, where: str) -> None:
    """Raise `ConfigError` for what the types cannot say."""
    try:
        re.compile(rule.match)
    except re.error as error:
        message = f"{where}.match: {rule.match!r} is no regular expression ({error}). Escape or correct it."
        raise ConfigError(message) from None
    if rule.mode == "hash" and rule.say is not None:
        raise ConfigError(f"{where}.say: has no effect when mode is 'hash'. Remove `say` or `mode`.")
    if (rule.stall_at is None) != (rule.stall_ms == 0):
        raise ConfigError(f"{where}.stall_at and stall_ms only work together. Set both, or neither.")


def load_script(path: str | Path) -> Script:
    """Read a script file. Raises `ConfigError` that names the path, the key at fault and the remedy."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{path}: cannot read the script ({reason}). Give --script a readable JSON file."
        raise ConfigError(message) from None
    return parse_script(data, source=str(path))
