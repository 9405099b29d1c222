"""Which mode is found to pay, and what finding it out costs, on simulated machines."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from firesteel.engine.draft.modes import GAP, Mode, Modes

Step = tuple[float, float]  # tokens on average, seconds
Machine = dict[Mode, Step]

OVERLAP_PAYS: Machine = {"off": (1.0, 1.0), "wait": (2.5, 2.1), "ahead": (2.5, 1.3)}
WAITING_PAYS: Machine = {"off": (1.0, 1.0), "wait": (2.5, 1.6), "ahead": (1.6, 2.0)}
NOTHING_PAYS: Machine = {"off": (1.0, 1.0), "wait": (1.4, 1.9), "ahead": (1.3, 2.2)}


class Simulation:
    """Runs steps in the mode that is chosen; `used` counts them, `rate` is tokens a second over all."""

    def __init__(self, seed: int = 0, noise: float = 0.1) -> None:
        self.modes, self.used = Modes(), Counter[Mode]()
        self._chooser, self._noise = random.Random(seed), noise
        self.tokens, self.seconds = 0, 0.0

    def run(self, machine: Machine, num_steps: int, is_ready: Callable[[int], bool] = lambda step: True) -> None:
        for step in range(num_steps):
            mode = self.modes.mode
            tokens, seconds = machine[mode]
            if mode != "off" and not is_ready(step):
                tokens = 1.0
            whole = int(tokens) + (self._chooser.random() < tokens % 1)
            seconds *= self._chooser.uniform(1 - self._noise, 1 + self._noise)
            self.used[mode] += 1
            self.tokens, self.seconds = self.tokens + whole, self.seconds + seconds
            self.modes.observe(whole, seconds, is_ready=mode == "off" or is_ready(step))

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


@pytest.mark.parametrize("seed", range(5))
def test_overlap_is_found_where_it_pays(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.run(OVERLAP_PAYS, 3_000)
    assert simulation.modes.current == "ahead"
    assert simulation.rate > 0.93 * 2.5 / 1.3


@pytest.mark.parametrize("seed", range(5))
def test_waiting_is_found_where_only_that_pays(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.run(WAITING_PAYS, 3_000)
    assert simulation.modes.current == "wait"
    assert simulation.rate > 0.9 * 2.5 / 1.6


@pytest.mark.parametrize("seed", range(5))
def test_where_nothing_pays_it_is_off_and_plain_speed_is_kept(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.run(NOTHING_PAYS, 4_000)
    assert simulation.modes.current == "off"
    assert simulation.rate > 0.97
    assert simulation.used["off"] > 0.96 * 4_000


@pytest.mark.parametrize("seed", range(5))
def test_plain_speed_is_kept_over_many_short_prompts_that_must_be_read(seed: int) -> None:
    """Each answer of 100 tokens begins with 60 steps in which the draft model reads; drafts pay only after that."""
    simulation = Simulation(seed)
    machine: Machine = {"off": (1.0, 1.0), "wait": (2.0, 1.8), "ahead": (2.0, 1.8)}
    simulation.run(machine, 6_000, is_ready=lambda step: step % 100 >= 60)
    assert simulation.rate > 0.97


def test_a_mode_that_stops_paying_is_given_up_and_found_again() -> None:
    """Another program takes the cores for a while."""
    simulation = Simulation()
    found = []
    for machine, num_steps in ((OVERLAP_PAYS, 1_000), (NOTHING_PAYS, 4 * GAP), (OVERLAP_PAYS, 4_000)):
        simulation.run(machine, num_steps)
        found.append(simulation.modes.current)
    assert found == ["ahead", "off", "ahead"]


def test_a_clock_that_stands_still_teaches_nothing() -> None:
    modes = Modes()
    for _ in range(1_000):
        assert modes.mode == "off"
        modes.observe(1, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_machine_does_not_make_an_idle_draft_model_look_good(seed: int) -> None:
    """Starved of its cores, it proposes nothing: no more tokens a step, so it cannot be what makes steps faster."""
    simulation = Simulation(seed, noise=0.5)
    simulation.run({"off": (1.0, 1.0), "wait": (1.0, 1.5), "ahead": (1.0, 1.2)}, 3_000)
    assert simulation.modes.current == "off"
    assert simulation.used["off"] > 0.93 * 3_000
