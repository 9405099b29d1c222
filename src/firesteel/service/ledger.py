"""The ledger's writer: a bounded queue, and a thread that brings what is in it to the database."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from firesteel.service.journal import Journal
from firesteel.service.ledger_row import Row

log = logging.getLogger("firesteel")

MAX_WAITING = 20_000  # rows; about 10 MB
BATCH_ROWS = 500
LINGER_SECONDS = 0.05  # rows that come together are written together: the writer shares the interpreter with streams
FIRST_RETRY_SECONDS = 0.25
LAST_RETRY_SECONDS = 5.0
CLOSE_SECONDS = 3.0


class Store(Protocol):
    """Where rows end. Its methods block, and raise when they cannot be done now."""

    def insert(self, rows: Sequence[Row]) -> int:
        """Keep `rows`, each once; return how many of them it will never take, for what is in them."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Ledger:
    """Takes rows without ever waiting. `open_store` is called on the writer's thread, again after a failure.

    With a `journal`, which it then owns, rows that wait outlive the process, and those of ended ones are written.
    """

    def __init__(
        self, open_store: Callable[[], Store], max_waiting: int = MAX_WAITING, journal: Journal | None = None
    ) -> None:
        self._open_store = open_store
        self._max_waiting = max_waiting
        self._store: Store | None = None
        self._journal = journal
        self._changing = threading.Lock()  # the queue and the journal, together
        self._waiting: deque[Row] = deque(journal.adopt() if journal is not None else ())
        self._num_cut = 0  # of those that wait: in finished files of the journal
        self._more = threading.Event()
        self._closing = threading.Event()
        self.num_lost = 0  # rows that could not be kept
        self.num_written = 0
        self.num_failures = 0  # of the database
        if self._waiting:
            self._more.set()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._waiting)

    def put(self, row: Row) -> None:
        """Keep `row`, soon. When the queue is full it is lost, and counted."""
        with self._changing:
            if len(self._waiting) >= self._max_waiting or self._closing.is_set():
                self.num_lost += 1
                return
            if self._journal is not None:
                self._journal.append(row)
            self._waiting.append(row)
        self._more.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, as far as the database takes it within `seconds`; the rest waits for the next process.

        Without a journal it is lost, and counted.
        """
        self._closing.set()
        self._more.set()
        self._thread.join(seconds)
        with self._changing:  # the writer may still be at it
            num_left = len(self._waiting)
            journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
        if num_left and journal is not None:
            log.warning("the ledger's database did not take %d requests; the next server enters them", num_left)
        elif num_left:
            self.num_lost += num_left
            log.error("the ledger lost %d requests: the database did not take them", num_left)

    def _run(self) -> None:
        delay = 0.0
        while not (self._closing.is_set() and (delay or not self._waiting)):
            self._more.wait()
            self._more.clear()
            while self._waiting and not (delay and self._closing.is_set()):
                self._closing.wait(delay or LINGER_SECONDS)
                delay = 0.0 if self._write() else min(LAST_RETRY_SECONDS, 2 * delay or FIRST_RETRY_SECONDS)
        if self._store is not None:
            self._store.close()

    def _write(self) -> bool:
        """Write a batch; it leaves the queue when it is in the database, and not before."""
        if not self._num_cut:
            self._cut()
        rows = [self._waiting[place] for place in range(min(BATCH_ROWS, self._num_cut))]
        try:
            if self._store is None:
                self._store = self._open_store()
            num_refused = self._store.insert(rows)
        except Exception as error:  # whatever the driver raises, the requests must go on
            self._failed(error)
            return False
        self._written(len(rows), num_refused)
        return True

    def _cut(self) -> None:
        with self._changing:
            self._num_cut = len(self._waiting)
            if self._journal is not None:
                self._journal.cut()

    def _written(self, num_rows: int, num_refused: int) -> None:
        with self._changing:
            self.num_written += num_rows - num_refused
            self.num_lost += num_refused
            for _ in range(num_rows):
                self._waiting.popleft()
            self._num_cut -= num_rows
            journal = None if self._num_cut else self._journal
        if journal is not None:  # it removes files, for which nobody is to wait
            journal.drop()

    def _failed(self, error: Exception) -> None:
        self.num_failures += 1
        reason = str(error).partition("\n")[0]  # what follows is the statement
        kind = type(error).__name__
        log.warning("the ledger's database fails (%s: %s); %d requests wait", kind, reason, self.num_waiting)
