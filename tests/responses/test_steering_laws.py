"""Whatever the engine, the model and the user do, in whatever order: the events are right and no words are lost."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.responses.steering import SteerRefused
from firesteel.responses.turn import Turn
from firesteel.types import Failure
from tests.responses.stage import CALL, TOOL, Stage, check, settle

TEXTS = st.sampled_from(["word ", "line\n", CALL, CALL[:30], CALL[30:], "<tool_call>", "🦊", ""])
ACTIONS = st.one_of(
    st.tuples(st.just("say"), TEXTS),
    st.tuples(st.just("steer"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("boundary"), st.none()),
    st.tuples(st.sampled_from(["interrupt", "stop", "length", "fail"]), st.none()),
)


class Play:
    """Plays an engine that keeps to its protocol: a steered sequence ends, and its successor begins or fails."""

    def __init__(self, stage: Stage, turn: Turn) -> None:
        self.stage, self.turn = stage, turn
        self.live = 0  # the number of the sequence that writes
        self.num_seen = 1
        self.accepted = 0

    async def act(self, action: str, what: Any) -> None:
        engine = self.stage.engine
        if action == "say":
            engine.say(what, self.live)
        elif action == "steer":
            await self._steer(what)
        elif action == "interrupt":
            self.turn.stop("interrupted", keep_partial=False)
            await self._end("cancelled")
        elif action == "boundary":
            if len(engine.works) > self.num_seen:
                await self._end("steered")
        elif action == "fail":
            engine.fail(self.live)
            if len(engine.works) > self.num_seen:
                engine.fail(len(engine.works) - 1)
        else:
            await self._end(action)
        await settle()

    async def _steer(self, words: str) -> None:
        try:
            await self.stage.steer(self.turn, words)
            self.accepted += 1
        except SteerRefused:
            pass

    async def _end(self, reason: Any) -> None:
        """End the sequence; a successor that waits goes on, unless the end was cancelled."""
        engine = self.stage.engine
        has_successor = len(engine.works) > self.num_seen
        engine.finish(self.live, reason)
        if has_successor:
            self.live = len(engine.works) - 1
            if reason == "cancelled":
                engine.tell(self.live, lambda id: Failure(id, "not_running", "over"))
        await settle()
        if has_successor and reason != "cancelled" and engine.works[self.live].id in engine.cancelled:
            engine.finish(self.live, "cancelled")
        self._follow(has_successor)

    def _follow(self, has_successor: bool) -> None:
        """Turn to a request of its own, if the words came too late for the engine."""
        if not has_successor and len(self.stage.engine.works) > self.num_seen:
            self.live = len(self.stage.engine.works) - 1
        self.num_seen = max(self.num_seen, self.live + 1)


async def play(actions: list[tuple[str, Any]]) -> None:
    stage = Stage(context_tokens=100_000)
    try:
        turn, task = await stage.start(tools=[TOOL])
        game = Play(stage, turn)
        for action, what in actions:
            if task.done():
                break
            await game.act(action, what)
        for _ in range(8):
            if not task.done():
                await game.act("stop", None)
        await asyncio.wait_for(task, 5)
        check(stage.out.events)
        committed = [event["steer"]["id"] for event in stage.out.of("response.steer.pending")]
        given_back = [event["steer"]["id"] for event in stage.out.of("response.steer.failed")]
        known = await committed_words(stage)
        assert len(committed) + len(given_back) + known == game.accepted
    finally:
        stage.close()


async def committed_words(stage: Stage) -> int:
    """Return how many submissions stand in the conversations that began with a successor."""
    chain = await stage.responses.store.chain("", stage.out.of("response.created")[-1]["response"]["id"])
    return sum(stored.input.count(b'"role":"user"') for stored in chain) - 1 if chain else 0


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=12))
def test_no_words_are_lost_and_every_event_is_right(actions: list[tuple[str, Any]]) -> None:
    asyncio.run(play(actions))
