from firesteel.bench import stages
from firesteel.engine import messages
from firesteel.types import Delta, Finish


def test_every_stage_is_measured_on_a_whole_answer() -> None:
    costs = stages.measure(200)
    assert set(costs) == {"request", "engine", "send", "receive", "mailbox", "stream"}
    assert all(cost >= 0 for cost in costs.values())


def test_drafts_that_are_right_are_accepted_sixteen_at_a_time() -> None:
    found = stages.drafted(600)
    assert found["microseconds"] > 0
    assert 8 < found["accepted_a_step"] <= 16


def test_events_survive_the_way_from_the_engine_to_the_stream() -> None:
    import asyncio

    events = [*(Delta("a", str(i), 1) for i in range(100))]
    frames = stages.framed([*events])
    batches = []
    for frame in frames:
        report = messages.report_decoder.decode(frame[4:])
        assert isinstance(report, messages.Events)
        batches.append(list(report.events))
    taken = asyncio.run(stages.through_mailbox([list(batch) for batch in batches]))
    assert "".join(event.text for event in taken if isinstance(event, Delta)) == "".join(map(str, range(100)))
    assert not any(isinstance(event, Finish) for event in taken)
