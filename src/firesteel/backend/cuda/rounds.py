"""Several tokens without the host: rounds of draft, verify, accept and append, all on the device.

A launch is `NUM_ROUNDS` rounds for some sequences, the lanes. The host says where they stand, and reads once what came
of it. Without drafts a round is a plain step, so that a launch is several of those.
"""

from typing import Any, NamedTuple

import torch

from firesteel.backend.cuda import lookup, sample
from firesteel.backend.cuda.inputs import MOST_FEW, TILE, Inputs, Run, make
from firesteel.backend.cuda.lookup import Lanes
from firesteel.backend.cuda.lookup_plain import Place
from firesteel.backend.cuda.model import best, forward, logits
from firesteel.backend.cuda.pages import PAGE
from firesteel.backend.cuda.sample import Settings
from firesteel.backend.cuda.steps import Steps
from firesteel.types import Sampling

Tensor = Any  # torch.Tensor
NUM_ROUNDS = 4
MOST_ROWS = 16  # of one lane in one round: the last token and its draft
MOST_TOKENS = NUM_ROUNDS * MOST_ROWS  # that one launch yields for one sequence
SMALLEST = 256  # tokens that texts on the device have room for


Key = tuple[int, int, int, int, int | None]  # see `key_of`


class Lane(NamedTuple):
    """What the host says of a sequence: its newest token, number `num_known` - 1, has no KV yet."""

    sequence: int
    num_known: int
    token: int
    limit: int  # tokens to come at most
    expected: list[int]
    place: Place
    num_unfollowed: int  # the last tokens, over which the place must still be moved
    sampling: Sampling | None
    random: list[float]  # for the tokens to come, `limit` of them; empty when greedy


class Yield(NamedTuple):
    """What came of a lane; `tokens` all have KV but the last. A token of -1: invalid numbers."""

    tokens: list[int]
    place: Place


class Launch(NamedTuple):
    """Tensors of launches of one shape."""

    lanes: Lanes
    inputs: Inputs
    start: Tensor  # [lanes]: `count` at the beginning
    random: Tensor  # [lanes, MOST_TOKENS + MOST_ROWS]
    settings: Settings | None  # [lanes × rows]; None: all are greedy
    ordered: int  # see `sample.num_ordered`


class Rounds:
    """Runs launches."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._launches: dict[Key, Launch] = {}
        self._standing: tuple[Key, list[tuple[int, int, int]]] | None = None  # where the lanes of a launch stand now

    def run(self, lanes: list[Lane], num_rows: int) -> list[Yield]:
        """Return what each lane says; `num_rows` of a lane in a round, 1 drafts nothing.

        Pages must have been reserved up to each lane's known tokens + limit + rows.
        """
        key = key_of(lanes, num_rows)
        launch = self._launches.get(key) or self._made(key)
        if self._standing != (key, [(lane.sequence, lane.num_known, lane.token) for lane in lanes]):
            rest(launch, self._steps.cache.nobody)
            self._steps.graphs.record(("rounds", key), lambda: self._round(launch, num_rows))
            self._fill(launch, lanes, num_rows)
        self._begin(launch, lanes, num_rows)
        for _ in range(num_rounds_of(lanes)):
            self._steps.graphs.run(("rounds", key), lambda: self._round(launch, num_rows))
        found = self._read(launch, len(lanes))
        self._standing = (key, [(lane.sequence, lane.num_known + len(one.tokens), one.tokens[-1])
                                for lane, one in zip(lanes, found, strict=True)])  # fmt: skip
        return found

    def forget(self) -> None:
        """Bring everything to the device anew in the next launch: KV or tokens were changed by others."""
        self._standing = None

    def _made(self, key: Key) -> Launch:
        num_lanes, num_rows, text_size, expected_size, ordered = key
        device = self._steps.device
        launch = Launch(
            lanes=lookup.make(num_lanes, text_size, expected_size, device),
            inputs=make(num_lanes * num_rows, self._steps.cache.nobody, device),
            start=torch.ones(num_lanes, dtype=torch.int64, device=device),
            random=torch.zeros((num_lanes, MOST_TOKENS + MOST_ROWS), dtype=torch.float64, device=device),
            settings=sample.settings([None] * num_lanes * num_rows, device) if ordered is not None else None,
            ordered=ordered or 0,
        )
        tiles = [(begin, min(TILE, first + num_rows - begin)) for first in range(0, num_lanes * num_rows, num_rows)
                 for begin in range(first, first + num_rows, TILE)]  # fmt: skip
        launch.inputs.tiles[: len(tiles)] = torch.tensor(tiles, dtype=torch.int32, device=device)
        self._launches[key] = launch
        return launch

    def _begin(self, launch: Launch, given: list[Lane], num_rows: int) -> None:
        """Say how far each lane may go from where it stands."""
        lanes, nobody = launch.lanes, self._steps.cache.nobody
        self._steps.cache.upload_tables()
        launch.start.copy_(lanes.count)
        limits = torch.tensor([lane.limit for lane in given], device=lanes.count.device)
        lanes.end[: len(given)] = lanes.count[: len(given)] + limits
        launch.inputs.runs.clear()
        for index in range(lanes.count.shape[0]):
            lane = given[index] if index < len(given) else None
            sequence, end = (
                (nobody, num_rows) if lane is None else (lane.sequence, lane.num_known + lane.limit + num_rows)
            )
            launch.inputs.runs.append(Run(sequence, index * num_rows, num_rows, end, False))
        self._fill_sampling(launch, given, num_rows)

    def _fill(self, launch: Launch, given: list[Lane], num_rows: int) -> None:
        """Bring what the host knows to the device; the texts are there already, in the pages."""
        lanes, device = launch.lanes, self._steps.device
        self._steps.cache.upload_tables()
        for index, lane in enumerate(given):
            launch.inputs.sequences[index * num_rows : (index + 1) * num_rows] = lane.sequence
            self._fill_lane(lanes, index, lane)
        numbers = [[lane.num_known, len(lane.expected), *lane.place] for lane in given]
        count, size, at, is_sure = torch.tensor(numbers, device=device).unbind(1)
        for tensor, values in ((lanes.count, count), (lanes.expected_size, size), (lanes.at, at)):
            tensor[: len(given)] = values
        lanes.is_sure[: len(given)] = is_sure.bool()
        if num_rows > 1:
            self._follow(lanes, given)

    def _fill_lane(self, lanes: Lanes, index: int, lane: Lane) -> None:
        cache, known = self._steps.cache, lane.num_known - 1
        pages = cache.tables[lane.sequence, : -(-known // PAGE)].long()
        lanes.text[index, :known] = cache.tokens[pages].flatten()[:known].long()
        lanes.text[index, known] = lane.token
        if lane.expected:
            lanes.expected[index, : len(lane.expected)] = torch.tensor(lane.expected, device=lanes.text.device)

    def _follow(self, lanes: Lanes, given: list[Lane]) -> None:
        most = max(lane.num_unfollowed for lane in given)
        if most:
            num_new = torch.zeros_like(lanes.count)
            num_new[: len(given)] = torch.tensor([lane.num_unfollowed for lane in given], device=num_new.device)
            lookup.follow(lanes, num_new, most)

    def _fill_sampling(self, launch: Launch, given: list[Lane], num_rows: int) -> None:
        if launch.settings is None:
            return
        num_lanes = launch.lanes.count.shape[0]
        samplings: list[Sampling | None] = [lane.sampling for lane in given] + [None] * (num_lanes - len(given))
        rows = [one for one in samplings for _ in range(num_rows)]
        for target, values in zip(launch.settings, sample.settings(rows, self._steps.device), strict=True):
            target.copy_(values)
        for index, lane in enumerate(given):
            if lane.random:
                numbers = torch.tensor(lane.random, dtype=torch.float64)
                launch.random[index, : len(lane.random)] = numbers.to(self._steps.device)

    def _round(self, launch: Launch, num_rows: int) -> Tensor:
        """Draft, verify, accept, append, follow. All on the device. What a plain step does not need is left out."""
        lanes, inputs, steps = launch.lanes, launch.inputs, self._steps
        draft, num_drafted = lookup.propose(lanes, num_rows - 1) if num_rows > 1 else lookup.nothing(lanes)
        newest = lanes.text.gather(1, lanes.count[:, None] - 1)
        inputs.tokens.copy_(torch.cat([newest, draft], 1).clamp(min=0).flatten())
        ahead = torch.arange(num_rows, device=draft.device)
        inputs.positions.copy_((lanes.count[:, None] - 1 + ahead).flatten())
        x = forward(steps.weights, steps.kernels, steps.cache, inputs)
        if launch.settings is None:
            chosen = best(x, steps.weights, steps.kernels)
        else:
            place = lanes.count[:, None] - launch.start[:, None] + ahead
            random = launch.random.gather(1, place.clamp(max=launch.random.shape[1] - 1)).flatten()
            chosen = sample.choose(logits(x, steps.weights, steps.kernels), launch.settings, random, launch.ordered)
        num_new = lookup.accept(lanes, draft, num_drafted, chosen.view(draft.shape[0], num_rows))
        if num_rows > 1 and lanes.expected.shape[1] > 1:
            lookup.follow(lanes, num_new, num_rows)
        return num_new

    def _read(self, launch: Launch, num_lanes: int) -> list[Yield]:
        lanes = launch.lanes
        places = launch.start[:, None] + torch.arange(MOST_TOKENS, device=lanes.text.device)
        tokens = lanes.text.gather(1, places.clamp(max=lanes.text.shape[1] - 1))
        numbers = torch.stack([lanes.count - launch.start, lanes.at, lanes.is_sure.long()], 1)
        rows = torch.cat([numbers, tokens], 1)[:num_lanes].cpu().tolist()
        return [Yield(row[3 : 3 + row[0]], Place(row[1], bool(row[2]))) for row in rows]


def rest(launch: Launch, nobody: int) -> None:
    """Let all lanes stand still, in nobody's pages: so a graph can be recorded, and lanes without a sequence run."""
    launch.lanes.count.fill_(1)
    launch.lanes.end.fill_(1)
    launch.lanes.expected_size.fill_(0)
    launch.lanes.at.fill_(0)
    launch.start.fill_(1)
    launch.inputs.sequences.fill_(nobody)
    launch.inputs.runs.clear()


def num_rounds_of(lanes: list[Lane]) -> int:
    """Return the rounds of a launch: each yields a token at least."""
    return min(NUM_ROUNDS, max(lane.limit for lane in lanes))


def rows_for(num_lanes: int, wanted: int) -> int:
    """Return the rows of each of `num_lanes` lanes, a power of two: `wanted`, unless there are too many lanes."""
    return max(1, min(wanted, MOST_FEW // power_of_two(num_lanes)))


def key_of(lanes: list[Lane], num_rows: int) -> Key:
    """Return the shape of a launch: lanes, rows of each, room for text and expected text, `num_ordered`.

    The last is None where all are greedy.
    """
    text_size = max(lane.num_known + lane.limit for lane in lanes) + num_rows + 1
    expected_size = max(len(lane.expected) for lane in lanes)
    samplings = [lane.sampling for lane in lanes if lane.sampling is not None]
    return (
        power_of_two(len(lanes)),
        num_rows,
        power_of_two(max(text_size, SMALLEST)),
        power_of_two(max(expected_size, 1)),
        sample.num_ordered(samplings) if samplings else None,
    )


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not less."""
    return 1 << (number - 1).bit_length()
