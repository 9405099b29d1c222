"""Frames between server and engine process."""

from collections import defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.engine import messages
from firesteel.engine.child import together
from firesteel.engine.shorthand import MIN_SHARED, Receiver, Sender, Shared
from firesteel.types import Delta, Event, Failure, Finish, ModelInfo, Progress, Sampling, TokenLogprob, Usage, Work

ids = st.sampled_from(["a", "b", "c"])
logprobs = st.lists(st.builds(TokenLogprob, st.integers(0, 9), st.floats(-9, 0), st.just([(1, -1.0)])), max_size=2)
usage = Usage(num_prompt_tokens=3, num_cached_tokens=1, num_output_tokens=2)
events = st.lists(
    st.builds(Delta, ids, st.text(max_size=4), st.integers(0, 3), logprobs)
    | st.builds(Progress, ids, st.integers(0, 9), st.just(9))
    | st.builds(Finish, ids, st.sampled_from(["stop", "length", "cancelled"]), st.just(usage))
    | st.builds(Failure, ids, st.just("engine_failure"), st.text(max_size=4)),
    max_size=12,
)


def by_sequence(listed: list[Event]) -> dict[str, list[object]]:
    """Return what each sequence was told: its other events in order, with the text and counts between them."""
    told: dict[str, list[object]] = defaultdict(lambda: [["", 0, []]])
    for event in listed:
        entries = told[event.id]
        if isinstance(event, Delta):
            before = entries[-1]
            assert isinstance(before, list)
            entries[-1] = [before[0] + event.text, before[1] + event.num_tokens, before[2] + event.logprobs]
        else:
            entries.extend([event, ["", 0, []]])
    return told


@given(events)
def test_coalescing_tells_every_sequence_the_same_in_the_same_order(listed: list[Event]) -> None:
    merged = together(listed)
    assert by_sequence(merged) == by_sequence(listed)
    assert together(merged) == merged


@given(events)
def test_events_survive_the_frame(listed: list[Event]) -> None:
    frame = messages.frame(messages.Events(list(listed)))
    (size,) = messages.HEADER.unpack(frame[: messages.HEADER.size])
    body = frame[messages.HEADER.size :]
    assert size == len(body)
    assert messages.report_decoder.decode(body) == messages.Events(list(listed))


prompts = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0, 3, MIN_SHARED, MIN_SHARED + 1, 2_000]), st.integers(0, 5)),
    max_size=30,
)


@given(prompts)
def test_prompts_in_shorthand_are_the_same_on_the_other_side(drawn: list[tuple[int, int, int]]) -> None:
    """Each of several conversations goes on, from any place in it, with any number of new tokens."""
    sender, receiver = Sender(), Receiver()
    said: list[list[int]] = [[], [], [], []]
    for conversation, kept, num_new in drawn:
        tokens = [*said[conversation][:kept], *range(num_new * MIN_SHARED // 4)]
        said[conversation] = tokens
        work = Work(id="a", tokens=tokens, sampling=Sampling(), max_tokens=1)
        sent = messages.frame(messages.Add(*sender.shorten(work)))[messages.HEADER.size :]
        command = messages.command_decoder.decode(sent)
        assert isinstance(command, messages.Add)
        assert receiver.restore(command.work, command.shared) == work


def test_a_prompt_that_goes_on_is_sent_without_its_beginning() -> None:
    sender = Sender()
    first = Work(id="a", tokens=[*range(1_000)], sampling=Sampling(), max_tokens=1)
    assert sender.shorten(first) == (first, None)
    longer = msgspec.structs.replace(first, tokens=[*range(1_010)])
    shortened, shared = sender.shorten(longer)
    assert (shortened.tokens, shared) == ([*range(1_000, 1_010)], Shared(0, 1_000))
    other = msgspec.structs.replace(first, tokens=[7, *range(1_000)])
    assert sender.shorten(other) == (other, None)


@pytest.mark.parametrize(
    "command",
    [
        messages.Add(
            Work(id="ä", tokens=[1, 2], sampling=Sampling(logit_bias=((3, -1.5),)), max_tokens=4, stop=("x",))
        ),
        messages.Cancel("ä"),
        messages.AskStatistics(),
    ],
)
def test_commands_survive_the_frame(command: messages.Command) -> None:
    assert messages.command_decoder.decode(messages.frame(command)[messages.HEADER.size :]) == command


def test_the_first_reports_survive_the_frame() -> None:
    info = ModelInfo(name="m", architecture="a", context_length=8, sampling=Sampling(temperature=0.6, seed=1))
    for report in (messages.Ready(info, 8, 2), messages.Broken("no such file")):
        assert messages.report_decoder.decode(messages.frame(report)[messages.HEADER.size :]) == report
