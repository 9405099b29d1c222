"""What each stage of the pipeline costs a token, measured alone and in this process, without sockets."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from firesteel.backend.base import Backend
from firesteel.backend.scripted import ScriptedBackend
from firesteel.backend.scripted.script import Script
from firesteel.clock import Clock, ManualClock, SystemClock
from firesteel.config import EngineConfig
from firesteel.engine import messages
from firesteel.engine.child import together
from firesteel.engine.loop import Engine
from firesteel.request.openai_chat import parse
from firesteel.request.render import tokens_of
from firesteel.stream.mailbox import Mailbox
from firesteel.stream.openai import stream_of
from firesteel.types import Delta, Event, Finish, Request, Sampling, Work

BODY = b'{"model": "scripted", "messages": [{"role": "user", "content": "write"}], "stream": true}'
Result = TypeVar("Result")

NUM_TOGETHER = 32  # deltas that usually share a frame when steps are this fast
NUM_DRAFT = 16
SLOW_STEPS = Script(step_ms=1.0)  # where rows are free beside the step, drafts are worth it


def measure(num_tokens: int) -> dict[str, float]:
    """Return processor microseconds a token by stage; `request` is a whole request's, once."""
    config = EngineConfig(backend="scripted", drafters=())
    backend = ScriptedBackend(None, config, SystemClock())
    request, request_seconds = timed(lambda: parse(BODY, request_id="stages", defaults=Sampling(temperature=0)))
    rendered, render_seconds = timed(lambda: tokens_of(request.prompts[0], backend.tokenizer))
    work = Work(id="stages", tokens=rendered, sampling=request.sampling, max_tokens=num_tokens)
    steps(backend, config, work)  # the endless text is made once; later runs find it
    events, engine_seconds = timed(lambda: steps(backend, config, work))
    frames, send_seconds = timed(lambda: framed(events))
    received, receive_seconds = timed(lambda: [messages.report_decoder.decode(frame[4:]) for frame in frames])
    batches = [report.events for report in received if isinstance(report, messages.Events)]
    taken, mailbox_seconds = timed(lambda: asyncio.run(through_mailbox(batches)))
    _, stream_seconds = timed(lambda: encoded(request, backend, taken))
    seconds = {
        "engine": engine_seconds,
        "send": send_seconds,
        "receive": receive_seconds,
        "mailbox": mailbox_seconds,
        "stream": stream_seconds,
    }
    costs = {stage: value / num_tokens * 1e6 for stage, value in seconds.items()}
    return costs | {"request": (request_seconds + render_seconds) * 1e6}


def drafted(num_tokens: int) -> dict[str, float]:
    """Return what the engine costs a token when every draft of 16 tokens is right, the scripted model's part included.

    `microseconds`: processor time by accepted token. `accepted_a_step`: near 16 when all is well.
    """
    config = EngineConfig(backend="scripted", drafters=("prediction",), max_draft=NUM_DRAFT)
    free = ScriptedBackend(None, config, SystemClock())
    prompt = free.tokenizer.encode("write", special=False)
    plain = Work(id="plain", tokens=prompt, sampling=Sampling(temperature=0), max_tokens=num_tokens)
    said = finish_of(steps(free, config, plain)).tokens
    work = msgspec.structs.replace(plain, id="drafted", prediction=said)
    clock = ManualClock()  # its steps take their time without a sleep, which would cost processor time of its own
    slow = ScriptedBackend(SLOW_STEPS, config, clock)
    events, seconds = timed(lambda: steps(slow, config, work, clock))
    usage = finish_of(events).usage
    accepted = sum(draft.num_accepted for draft in usage.drafts)
    return {"microseconds": seconds / max(1, accepted) * 1e6, "accepted_a_step": accepted / max(1, usage.num_steps)}


def finish_of(events: list[Event]) -> Finish:
    """Return the event that says how a sequence ended."""
    finish = events[-1]
    assert isinstance(finish, Finish), f"the scripted model failed: {finish}"
    return finish


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return what `work` returns, and its processor seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def steps(backend: Backend, config: EngineConfig, work: Work, clock: Clock | None = None) -> list[Event]:
    """Run one sequence to its end."""
    events: list[Event] = []
    engine = Engine(backend, config, events.append, clock)
    engine.add(work)
    while engine.step():
        pass
    return events


def framed(events: list[Event]) -> list[bytes]:
    """Coalesce and encode as the engine process does."""
    batches = (events[i : i + NUM_TOGETHER] for i in range(0, len(events), NUM_TOGETHER))
    return [messages.frame(messages.Events(together(batch))) for batch in batches]


async def through_mailbox(batches: list[list[Event]]) -> list[Event]:
    """Put and take as the server does."""
    mailbox = Mailbox()
    taken: list[Event] = []
    for batch in batches:
        for event in batch:
            mailbox.put(0, event)
        taken += [event for _, event in await mailbox.take(1.0)]
    return taken


def encoded(request: Request, backend: Backend, events: list[Event]) -> int:
    """Encode as SSE; return the bytes."""
    stream = stream_of(request, created=0, model="scripted", tokenizer=backend.tokenizer)
    return sum(len(stream.event(0, event)) for event in events if isinstance(event, Delta | Finish))
