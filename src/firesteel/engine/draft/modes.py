"""Whether a draft model pays on this machine, and how: found out by trying, at a price that has a limit.

Drafts computed beside the target cost nothing where the draft model has a device or cores of its own, and slow
the target down where it has not. No table knows which; tokens a second of wall time do.
"""

from typing import Literal

Mode = Literal["off", "wait", "ahead"]
CHALLENGERS: tuple[Mode, ...] = ("ahead", "wait", "off")  # in the order in which they are tried

PHASE = 8  # steps that a trial stays in one mode before it changes to the other
PAIRS = 2  # of phases in a trial
SETTLE = 1  # first step of a phase, which the mode before it may still disturb: not counted
GAP = 64  # steps between two trials, at least
BUDGET = 0.015  # of what plain decoding yields: what trials may cost
FIRST_BUDGET, LARGEST_BUDGET = 24.0, 64.0  # tokens
NEED = 12.0  # tokens that must be saved up before a trial
MAX_LOSS = 16.0  # tokens by which a mode may fall behind plain decoding before it is given up
BETTER, HOPELESS = 1.03, 0.9  # ratios of tokens a second: to change the mode, and to end a trial early
KEEP = 0.9  # weight of what was known of a mode's rate, against the newest step


class Rate:
    """Tokens a second, the newest steps counting most."""

    def __init__(self, keep: float = KEEP) -> None:
        self._keep = keep
        self.num_tokens = self._seconds = 0.0
        self.count = 0  # steps

    def add(self, num_tokens: int, seconds: float) -> None:
        """Take in one step."""
        self.num_tokens = self._keep * self.num_tokens + num_tokens
        self._seconds = self._keep * self._seconds + seconds
        self.count += 1

    @property
    def value(self) -> float:
        """Tokens a second; 0 before any step."""
        return self.num_tokens / self._seconds if self._seconds else 0.0


class Trial:
    """Compares a challenger with the mode in use, in turns, so that both see the same text and the same machine."""

    def __init__(self, challenger: Mode, current: Mode) -> None:
        self.modes: tuple[Mode, Mode] = (challenger, current)
        self._rates = (Rate(keep=1.0), Rate(keep=1.0))
        self._num_steps = 0  # of this phase
        self._phase = 0
        self.verdict: bool | None = None  # whether the challenger is better; None: not known yet

    @property
    def mode(self) -> Mode:
        """The mode of the next step."""
        return self.modes[self._phase % 2]

    @property
    def _has_a_reason(self) -> bool:
        """Whether more tokens a step can explain that the challenger is faster; else the machine was."""
        return self.modes[0] == "off" or self._rates[0].num_tokens * self._rates[1].count > (
            self._rates[1].num_tokens * self._rates[0].count
        )

    def add(self, num_tokens: int, seconds: float) -> None:
        """Take in a step of `mode`."""
        self._num_steps += 1
        if self._num_steps > SETTLE:
            self._rates[self._phase % 2].add(num_tokens, seconds)
        if self._num_steps < SETTLE + PHASE:
            return
        self._phase, self._num_steps = self._phase + 1, 0
        if self._phase % 2 == 0:
            ratio = self._rates[0].value / self._rates[1].value
            if ratio < HOPELESS or self._phase == 2 * PAIRS:
                self.verdict = ratio > BETTER and self._has_a_reason


class Modes:
    """Chooses the mode for one number of streams, since what pays for one need not pay for four.

    The unit of prices is the token that the step's time would have yielded otherwise.
    """

    def __init__(self) -> None:
        self.current: Mode = "off"
        self._rates: dict[Mode, Rate] = {mode: Rate() for mode in CHALLENGERS}
        self._trial: Trial | None = None
        self._budget = FIRST_BUDGET
        self._need = NEED
        self._lead = 0.0  # tokens that `current` is ahead of plain decoding, within limits
        self._num_steps = 0  # since the last trial
        self._gap = PHASE  # the first trial comes early
        self._num_trials = 0

    @property
    def mode(self) -> Mode:
        """The mode of the next step."""
        return self._trial.mode if self._trial is not None else self.current

    def observe(self, num_tokens: int, seconds: float, *, is_ready: bool = True) -> None:
        """Take in a step of `mode`: what it yielded, and what it took of wall time.

        `is_ready`: the draft model has read what it needs; until then a step has a price, but says nothing.
        """
        if seconds <= 0:
            return
        mode = self.mode
        if is_ready:
            self._rates[mode].add(num_tokens, seconds)
        plain = self._rates["off"].value * seconds
        self._budget = min(LARGEST_BUDGET, self._budget + BUDGET * plain)
        if self._trial is not None:
            self._try(self._trial, num_tokens, seconds, is_ready=is_ready)
        elif mode != "off":
            self._follow(num_tokens - plain)
        self._num_steps += 1
        if self._trial is None and self._num_steps >= self._gap and self._budget >= self._need:
            self._trial = Trial(self._challenger(), self.current)

    def _challenger(self) -> Mode:
        others: list[Mode] = [mode for mode in CHALLENGERS if mode != self.current]
        self._num_trials += 1
        return others[(self._num_trials - 1) % len(others)]

    def _try(self, trial: Trial, num_tokens: int, seconds: float, *, is_ready: bool) -> None:
        if trial.mode != self.current:
            self._budget -= max(self._rates["off"].value, self._rates[self.current].value) * seconds - num_tokens
        if is_ready:
            trial.add(num_tokens, seconds)
        if trial.verdict is not None:
            self._need = NEED
            self._end_trial(trial.modes[0] if trial.verdict else self.current)
        elif self._budget < 0:  # it takes longer than expected, as after a long prompt: save more for the next
            self._need = min(2 * self._need, LARGEST_BUDGET)
            self._end_trial(self.current)

    def _end_trial(self, mode: Mode) -> None:
        if mode != self.current:
            self.current, self._lead = mode, 0.0
        self._trial, self._num_steps, self._gap = None, 0, GAP

    def _follow(self, gained: float) -> None:
        """Watch a mode in use, reading prompts included; give it up when it loses, whatever its trial said."""
        self._lead = min(MAX_LOSS, self._lead + gained)
        if self._lead < -MAX_LOSS:
            self._budget -= MAX_LOSS
            self._need = min(2 * self._need, LARGEST_BUDGET)
            self._end_trial("off")
