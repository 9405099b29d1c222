"""What is kept of each sequence for steps of several tokens: what is expected, where it is, how far to guess."""

from firesteel.backend.base import Rows, Want, uniform
from firesteel.backend.cuda.lookup_plain import Place
from firesteel.backend.cuda.rounds import MOST_ROWS, MOST_TOKENS, Lane, Yield
from firesteel.config import EngineConfig

FIRST_ROWS = 8  # of a round, before anything is known of its guesses
POOR, GOOD = 1.25, 0.6  # tokens a round below which fewer are guessed; share of the rows above which more are
PATIENCE = 8  # launches without guesses before they are tried again
MOST_UNFOLLOWED = 64  # tokens over which a place is looked for after a rewind


class Ahead:
    """One sequence."""

    def __init__(self, expected: list[int], start: int) -> None:
        """`start`: the position at which the answer begins."""
        self._expected, self._start = expected, start
        self._count, self._place = start, Place()  # tokens over which the place was followed
        self.num_rows = FIRST_ROWS  # of a round
        self._num_plain = 0  # launches since guesses were given up

    def lane(self, rows: Rows) -> Lane:
        """Return the lane of a row."""
        count = rows.position + 1
        if count < self._count:  # rewound
            self._place, self._count = Place(0, False), max(self._start, count - MOST_UNFOLLOWED)
        limit = min(rows.limit, MOST_TOKENS)
        drawn = [uniform(rows.seed, count + ahead) for ahead in range(limit)] if rows.sampling is not None else []
        num_unfollowed = min(max(0, count - self._count), MOST_UNFOLLOWED) if self._expected else 0
        return Lane(
            rows.sequence,
            count,
            rows.tokens[0],
            limit,
            self._expected,
            self._place,
            num_unfollowed,
            rows.sampling,
            drawn,
        )

    def learn(self, lane: Lane, found: Yield, num_rows: int, num_rounds: int) -> None:
        """Take in what a launch yielded, and decide how many rows the next one shall have."""
        pace = len(found.tokens) / num_rounds
        if num_rows > 1:  # else the place was not followed
            self._count, self._place = lane.num_known + len(found.tokens), found.place
        if num_rows == 1:
            self._num_plain += 1
            if self._num_plain >= PATIENCE:
                self.num_rows, self._num_plain = FIRST_ROWS // 2, 0
        elif pace < POOR:
            self.num_rows = max(1, num_rows // 2)
        elif pace >= GOOD * num_rows or len(found.tokens) == lane.limit:
            self.num_rows = min(MOST_ROWS, 2 * num_rows)


def may_go_ahead(batch: list[Rows]) -> bool:
    """Return whether a batch is nothing but streams that may yield several tokens."""
    return all(rows.want is Want.BEST and rows.limit > 1 and len(rows.tokens) == 1 for rows in batch)


def drafts_here(config: EngineConfig) -> bool:
    """Return whether the device guesses: unless nobody may, or a draft model is to."""
    return bool({"prediction", "ngram"} & set(config.drafters)) and config.draft_model is None and config.max_draft > 0
