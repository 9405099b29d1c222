"""Each visit comes to one row, however it ends."""

from pathlib import Path

import pytest

from firesteel.config import ServerConfig
from firesteel.service.desk import open_desk
from firesteel.service.keyring import ANYONE
from firesteel.service.ledger_row import Row
from firesteel.service.metered import Metered


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_visit_that_is_abandoned_is_settled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    """Closed or not: a sequence of it that has not ended keeps it open."""
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    rows: list[Row] = []
    desk = open_desk(ServerConfig(ledger=str(tmp_path / "ledger.db")))
    settled = desk.settled

    def noted(visit: Metered, row: Row) -> None:
        rows.append(row)
        settled(visit, row)

    monkeypatch.setattr(desk, "settled", noted)
    visit = desk.visit(ANYONE, "chat", "r1")
    visit.started()
    if is_closed:
        visit.close(200)
    assert not rows
    await desk.close()
    assert [row.status for row in rows] == [200 if is_closed else 500]
    assert desk.figures()["num_ledger_written"] == 1
