"""Responses that nobody waits for, on a fake engine: who is let in, how they end, what is kept of them."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from firesteel.errors import NotReady, RateLimited, UnknownModel
from firesteel.request.response_items import Transcript
from firesteel.responses import background as module
from firesteel.responses.background import Background, EventLog
from firesteel.responses.memory import known_of
from firesteel.session.response_store import Stored
from firesteel.stream.response_events import Events
from firesteel.types import Request
from firesteel.visit import Uncounted
from firesteel.wire.openai_responses import Item, ResponsesBody
from tests.responses.stage import Stage, settle

CLOSING = NotReady("the server is shutting down", retry_after=5.0)


class Counter(Uncounted):
    """A visit that keeps what it is told."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.prompts: list[int] = []
        self.statuses: list[int] = []
        self._refusal = refusal

    async def enter(self, request: Request, model: str, num_prompt_tokens: int, context_tokens: int) -> None:
        self.prompts.append(num_prompt_tokens)
        if self._refusal is not None:
            raise self._refusal

    def close(self, status: int) -> None:
        self.statuses.append(status)


class Backstage(Stage):
    """A stage that runs turns in the background."""

    def __init__(self) -> None:
        super().__init__(max_queue=20)
        self.background = Background()

    async def begin(
        self, text: str | list[Item] = "x", visit: Counter | None = None, scope: str = "", **fields: object
    ) -> str:
        log = EventLog(visit or Counter())
        body = msgspec.convert({"model": "fake", "input": text, "background": True, **fields}, ResponsesBody)
        turn = await self.responses.turn(body, log, request_id="r", scope=scope)
        await self.background.start(turn, log)
        await settle()
        return turn.response.id

    async def short(self, scope: str = "") -> str:
        """Run one whole response."""
        number = len(self.engine.works)
        id = await self.begin(scope=scope)
        self.engine.say("ok", number)
        self.engine.finish(number)
        await settle()
        return id


@pytest.fixture
async def stage() -> AsyncIterator[Backstage]:
    made = Backstage()
    yield made
    await made.background.close(CLOSING)
    made.close()


async def found(stage: Backstage, id: str) -> Stored:
    return await stage.responses.stored(id, "")


async def test_a_refusal_is_raised_and_nothing_is_queued(stage: Backstage) -> None:
    limited = RateLimited("no", type="requests", retry_after=1.0)
    with pytest.raises(RateLimited):
        await stage.begin(visit=Counter(limited))
    with pytest.raises(UnknownModel):
        await stage.begin(model="other")
    assert not stage.responses.active
    assert not stage.background.is_busy


@pytest.mark.parametrize(("code", "status"), [("engine_failure", 500), ("context_length_exceeded", 400)])
async def test_a_failure_on_the_way_is_the_status_of_the_visit(stage: Backstage, code: str, status: int) -> None:
    visit = Counter()
    id = await stage.begin(visit=visit)
    stage.engine.fail(0, code)
    await settle()
    assert visit.statuses == [status]
    assert b'"failed"' in (await found(stage, id)).response


async def test_a_prompt_that_is_too_long_is_the_clients_fault(stage: Backstage) -> None:
    visit = Counter()
    await stage.begin("x" * 2000, visit)
    assert visit.statuses == [400]


async def test_a_bug_ends_the_response_too(stage: Backstage, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Counter()
    monkeypatch.setattr(stage.engine, "add", lambda *_: 1 / 0)
    id = await stage.begin(visit=visit)
    assert visit.statuses == [500]
    assert b"ZeroDivisionError" in (await found(stage, id)).response


async def test_what_ends_well_is_a_200(stage: Backstage) -> None:
    visit = Counter()
    await stage.begin(visit=visit)
    stage.engine.say("ok")
    stage.engine.finish()
    await settle()
    assert visit.statuses == [200]


async def test_at_the_end_of_the_server_all_are_stored_with_the_reason(stage: Backstage) -> None:
    running = [await stage.begin() for _ in range(9)]
    visit = Counter()
    queued = await stage.begin(visit=visit)
    assert len(stage.engine.works) < 10
    await stage.background.close(CLOSING)
    assert not stage.background.is_busy
    assert visit.statuses == [503]
    for id in (*running, queued):
        stored = (await found(stage, id)).response
        assert b'"failed"' in stored
        assert b"shutting down" in stored
    log = stage.background.log("", queued)
    assert log is not None
    kinds = [kind async for events in log.read(-1, 1.0) for kind, _ in events]
    assert kinds == ["response.created", "response.queued", "response.in_progress", "response.failed"]


async def test_a_log_goes_with_its_response(stage: Backstage) -> None:
    kept, gone = await stage.short(), await stage.short()
    stage.background.forget("other", gone)
    assert stage.background.log("", gone)
    stage.background.forget("", gone)
    assert stage.background.log("", gone) is None
    assert stage.background.log("", kept)


async def test_a_log_goes_with_any_response_that_it_tells_of(stage: Backstage) -> None:
    id = await stage.begin()
    turn = stage.responses.active[id]
    await stage.steer(turn)
    stage.engine.finish(0, "steered")
    stage.engine.say("secret", 1)
    stage.engine.finish(1)
    await settle()
    assert len(turn.ids) == 2
    stage.background.forget("", turn.ids[1])
    assert stage.background.log("", id) is None


async def test_nobody_pushes_out_what_runs_or_is_anothers(stage: Backstage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOGS", 2)
    running = await stage.begin()
    ended = await stage.short()
    others = [await stage.short("other") for _ in range(4)]
    assert stage.background.log("", running)
    assert stage.background.log("", ended)
    assert [bool(stage.background.log("other", id)) for id in others] == [False, False, True, True]


async def test_logs_are_bounded_in_bytes(stage: Backstage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await stage.short()
    log = stage.background.log("", first)
    assert log is not None
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 2 * log.num_bytes)
    ids = [first, await stage.short(), await stage.short()]
    assert [bool(stage.background.log("", id)) for id in ids] == [False, True, True]


async def test_history_counts_before_it_is_tokenised(stage: Backstage) -> None:
    id = await stage.begin()
    stage.engine.say("x" * 4000)
    stage.engine.finish()
    await settle()
    response = msgspec.json.decode((await found(stage, id)).response)
    total = response["usage"]["total_tokens"]
    visit, other = Counter(), Counter()
    await stage.begin(visit=visit, previous_response_id=id)
    stage.responses._recent.drop("", id)  # as after a restart
    await stage.begin(visit=other, previous_response_id=id)
    assert visit.prompts == other.prompts == [total]


def test_history_that_was_never_computed_counts_by_its_size() -> None:
    said = Transcript().said([{"role": "user", "content": "x" * 4000}])
    assert known_of("r", said, 0, is_stored=True).num_tokens >= 1000
    assert known_of("r", said, 7, is_stored=True).num_tokens == 7


async def test_an_item_that_is_only_named_counts(stage: Backstage) -> None:
    id = await stage.begin()
    stage.engine.say("x" * 4000)
    stage.engine.finish()
    await settle()
    item = msgspec.json.decode((await found(stage, id)).response)["output"][0]["id"]
    visit = Counter()
    await stage.begin([{"type": "item_reference", "id": item}], visit)
    assert visit.prompts[0] >= 1000


async def test_a_log_is_read_by_numbers_whatever_is_missing_among_them() -> None:
    log, events = EventLog(), Events()
    made = [events.event("x") for _ in range(6)]
    await log.send([made[0], made[3], made[5]])
    log.end()
    for after, left in ((-1, [0, 3, 5]), (0, [3, 5]), (1, [3, 5]), (3, [5]), (5, []), (9, [])):
        assert [event async for part in log.read(after, 1.0) for event in part] == [made[number] for number in left]
