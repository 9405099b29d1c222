from firesteel.bench import load
from firesteel.bench.options import Options
from firesteel.bench.subject import Subject


def test_measured_on_the_scripted_backend(subject: Subject) -> None:
    measured = load.measure(Options(kind="load", model="scripted", pairs=2, with_peer=True), subject)
    assert len(measured.ours) == len(measured.theirs) == 2
    ours, theirs = measured.details["starts"]
    assert (ours["server"], theirs["server"]) == ("ours", "peer")
    assert all(0 < row["ready_s"] < row["first_token_s"] for row in (ours, theirs))
