import os
import sys
from enum import Enum
from types import SimpleNamespace

import psutil
import pytest

from firesteel.bench import peer, servers
from firesteel.errors import ConfigError, EngineFailure

SERVER = """
METRICS = b'''# TYPE firesteel_engine gauge
firesteel_engine{what="step_seconds"} 2.5
firesteel_engine{what="native_seconds"} 2.0
firesteel_engine{what="num_steps"} 7.0
'''
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_GET(self):
        Handler.count += 1
        self.send_response(503 if Handler.count < 3 else 200)
        self.end_headers()
        found = {"/metrics": METRICS, "/word": os.environ.get("WORD", "").encode()}
        self.wfile.write(found.get(self.path, b""))
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_block_is_entered_when_healthy_and_leaves_no_process() -> None:
    port = servers.free_port()
    with servers.running([sys.executable, "-c", SERVER, str(port)], port) as server:
        assert server.get("/metrics").startswith("# TYPE")
        assert server.engine_seconds() == (2.5, 2.0)
        assert server.cpu_seconds()["gateway"] > 0
        assert server.cpu_seconds()["engine"] == 0
    assert server.process.returncode is not None
    with pytest.raises(OSError, match="refused"):
        server.get("/health")


def test_a_killed_server_leaves_no_process_and_can_be_started_again() -> None:
    port = servers.free_port()
    for word in ("first", "second"):
        with servers.running([sys.executable, "-c", SERVER, str(port)], port, {"WORD": word}) as server:
            assert server.get("/word") == word
            server.kill()
            assert not psutil.pid_exists(server.process.pid)


def test_our_server_keeps_nothing_on_disk_unless_it_is_asked_to() -> None:
    command = servers.serve_command(1, ["--model", "m"])
    assert command[command.index("--disk-cache") + 1] == "0"
    assert command[-2:] == ["--model", "m"]
    assert servers.serve_command(1, ["--disk-cache", "9"])[-2:] == ["--disk-cache", "9"]
    assert servers.serve_command(1, ["--disk-cache", "9"]).count("--disk-cache") == 1


def test_peak_memory_is_at_least_what_is_occupied_now() -> None:
    port = servers.free_port()
    with servers.running([sys.executable, "-c", SERVER, str(port)], port) as server:
        assert server.peak_bytes() > 1_000_000
    assert servers.peak_bytes(os.getpid()) >= servers.resident_bytes() * 0.9


def test_settings_reach_the_peer_and_unknown_ones_are_refused() -> None:
    assert peer.command("m", 1, 2, {"n_ctx": 2048})[-1] == '{"n_ctx": 2048}'
    params = SimpleNamespace(n_ctx=0)
    peer.configure(params, {"n_ctx": 2048})
    assert params.n_ctx == 2048
    with pytest.raises(AttributeError, match="cache_ram"):
        peer.configure(params, {"cache_ram": 1})


def test_settings_reach_the_parts_of_the_parameters_and_members_go_by_name() -> None:
    Kind = Enum("Kind", ["NONE", "NGRAM"])
    params = SimpleNamespace(speculative=SimpleNamespace(types=[Kind.NONE], n_max=3))
    peer.configure(params, {"speculative.types": ["NGRAM"], "speculative.n_max": 16})
    assert params.speculative == SimpleNamespace(types=[Kind.NGRAM], n_max=16)
    with pytest.raises(KeyError, match="LOOKUP"):
        peer.configure(params, {"speculative.types": ["LOOKUP"]})


def test_a_server_that_ends_early_is_quoted() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(EngineFailure, match="no such model"), servers.running(command, servers.free_port()):
        raise AssertionError("the block must not be entered")


def test_a_missing_peer_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError, match="pip install"):
        peer.describe()
