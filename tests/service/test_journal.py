"""Rows on their way to the database: whoever is killed, and whenever, each is entered once."""

import errno
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.service.journal import Journal
from firesteel.service.ledger import Ledger
from firesteel.service.ledger_row import Row
from tests.server.live import wait_for
from tests.service.test_ledger import Flaky, row


def ids(rows: Sequence[Row]) -> list[str]:
    return sorted(made.id for made in rows)


def killed(journal: Journal) -> None:
    """Let go of what the system takes from a process that is killed, and of nothing else."""
    os.close(journal._file)
    journal._lock.release()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_the_rows_of_a_killed_process_are_taken_over_once(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    for number in range(3):
        first.append(row(number, model='a "name"\nof two lines'))
    second = Journal(tmp_path)
    assert second.adopt() == []  # the first one lives
    killed(first)
    assert second.adopt() == [row(number, model='a "name"\nof two lines') for number in range(3)]
    assert second.adopt() == []
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600] * 2
    second.cut()
    second.drop()
    second.close()
    assert names(tmp_path) == []


STEPS = st.lists(st.sampled_from(["row", "row", "cut", "drop", "kill"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_was_not_dropped_is_there_after_any_death(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal, number = Journal(folder), 0
    fresh: list[str] = []  # since the last cut
    finished: list[str] = []  # before it
    for step in steps:
        if step == "row":
            journal.append(row(number))
            fresh.append(row(number).id)
            number += 1
        elif step == "cut":
            journal.cut()
            finished, fresh = finished + fresh, []
        elif step == "drop":
            journal.drop()
            finished = []
        else:
            killed(journal)
            journal = Journal(folder)
            assert ids(journal.adopt()) == sorted(finished + fresh)
            fresh, finished = finished + fresh, []
    journal.close()


def test_a_row_that_was_cut_short_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    journal.append(row(1))
    with monkeypatch.context() as patch:
        write = os.write
        patch.setattr(os, "write", lambda file, data: write(file, data[:20]))
        assert not journal.append(row(2))
    journal.append(row(3))
    killed(journal)
    assert ids(Journal(tmp_path).adopt()) == [row(1).id, row(3).id]
    assert caplog.text.count("a row was cut short and is not entered") == 1


def test_a_row_that_does_not_fit_is_not_said_to_be_cut_short(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    made = row(1)
    made.cost = math.inf  # JSON has none
    journal.append(made)
    journal.append(row(2))
    killed(journal)
    assert ids(Journal(tmp_path).adopt()) == [row(2).id]
    assert "$.cost" in caplog.text
    assert "cut short" not in caplog.text


def test_files_that_cannot_be_removed_keep_no_row_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in our own file, which the next `drop` removes: it must be in the queue, too."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    first = Journal(tmp_path)
    first.append(row(1))
    killed(first)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        second = Journal(tmp_path)
        assert ids(second.adopt()) == [row(1).id]
        second.cut()
        second.drop()


def test_nobody_waits_while_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, is_removing, may_remove = Flaky(), threading.Event(), threading.Event()
    database.works.set()
    drop = Journal.drop

    def slow(journal: Journal) -> None:
        is_removing.set()
        may_remove.wait()
        drop(journal)

    monkeypatch.setattr(Journal, "drop", slow)
    ledger = Ledger(lambda: database, journal=Journal(tmp_path))
    ledger.put(row(1))
    is_removing.wait()
    putting = threading.Thread(target=ledger.put, args=(row(2),), daemon=True)
    putting.start()
    wait_for(lambda: not putting.is_alive(), "the row is put")
    may_remove.set()
    ledger.close()
    assert ids(list(database.kept.values())) == [row(1).id, row(2).id]
    assert names(tmp_path) == []


@pytest.mark.parametrize("begins_with_a_part", [False, True])  # of a row, that is all that fits
def test_a_full_disk_is_said_once_and_loses_nothing_while_the_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, begins_with_a_part: bool
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    database, write = Flaky(), os.write
    ledger = Ledger(lambda: database, journal=Journal(tmp_path))
    with monkeypatch.context() as patch:
        if begins_with_a_part:
            patch.setattr(os, "write", lambda file, data: write(file, data[:20]))
            ledger.put(row(0))
        patch.setattr(os, "write", full)
        for number in range(begins_with_a_part, 5):
            ledger.put(row(number))
    database.works.set()
    wait_for(lambda: len(database.kept) == 5, "all rows are entered")
    ledger.close()
    assert caplog.text.count("takes no rows") == 1
    assert names(tmp_path) == []


def test_what_a_database_did_not_take_is_entered_by_the_next_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    down = Flaky()
    ledger = Ledger(lambda: down, journal=Journal(tmp_path))
    for number in range(1_200):
        ledger.put(row(number))
    ledger.close(0.5)
    assert ledger.num_lost == 0
    assert "the next server enters them" in caplog.text
    up = Flaky()
    up.works.set()
    ledger = Ledger(lambda: up, journal=Journal(tmp_path))
    wait_for(lambda: len(up.kept) == 1_200, "all rows are entered")
    ledger.close()
    down.works.set()
    assert names(tmp_path) == []


PROGRAM = """
import sys
from pathlib import Path
from firesteel.service.journal import Journal
from firesteel.service.ledger import Ledger
from tests.service.test_ledger import Flaky, row

ledger = Ledger(Flaky, journal=Journal(Path(sys.argv[1])))
for number in range(10**6):
    ledger.put(row(number))
    print(number, flush=True)
"""


def test_a_real_kill_loses_nothing_that_was_put(tmp_path: Path) -> None:
    line = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 700:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        said = [int(text) for text in process.stdout.read().splitlines() if text]
    last = max(said, default=700)
    found = ids(Journal(tmp_path).adopt())
    assert found[: last + 1] == [row(number).id for number in range(last + 1)]


def test_the_rows_of_one_ledger_never_get_into_another() -> None:
    from firesteel.service.ledger_store import name_of, url_of

    one, other = "postgresql://anna:secret@host/one", "postgresql://anna:new@host/one"
    assert name_of(url_of(one)) == name_of(url_of(other))
    places = [one, "postgresql://anna@host/two", "postgresql://bert@host/one", "/a/ledger.db", "/b/ledger.db"]
    assert len({name_of(url_of(place)) for place in places}) == len(places)
    assert name_of(url_of("ledger.db")) == name_of(url_of(str(Path("ledger.db").absolute())))
