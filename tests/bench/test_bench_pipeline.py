import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from firesteel.backend.scripted.script import parse_script
from firesteel.bench import pipeline, workload
from firesteel.bench.servers import Server
from tests.bench.sse_server import answering, chunked

USAGE = {"completion_tokens": 40, "prompt_tokens": 5}
EVENTS = [{"choices": [{"delta": {"content": "x = 1\n"}}]}, {"choices": [], "usage": USAGE}]
STREAM = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in EVENTS) + b"data: [DONE]\n\n"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose answers are canned and whose process does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    with answering(chunked([STREAM])) as port:
        yield Server(port, process)
    process.stdin.close()
    process.wait()


def test_report_holds_all_measurements(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "NUM_TTFT_REQUESTS", 10)
    monkeypatch.setattr(pipeline, "NUM_STREAMS", 4)
    report = pipeline.measure(server, runs=3, tokens=40)
    assert len(report.ours) == len(report.details["one_stream_16_tokens_a_step"]) == 3
    assert len(report.details["4_streams_sum"]) == 3
    assert 0 < report.details["ttft_ms"]["p50"] <= report.details["ttft_ms"]["p99"]
    assert set(report.details["cpu_microseconds_per_token"]) == {"gateway", "engine", "client"}
    assert report.ceiling.value > 0
    assert report.peer is None


def test_script_tells_the_two_paces_apart() -> None:
    script = parse_script(workload.read("pipeline.json"))
    assert script.tokens_per_step == 1
    assert [(rule.match, rule.tokens_per_step) for rule in script.rules] == [("sixteen tokens a step", 16)]
