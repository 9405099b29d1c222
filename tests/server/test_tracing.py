"""Traces reach a collector on loopback, as the standard variables say, and say nothing of what was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from firesteel.errors import ConfigError
from firesteel.server.tracing import is_configured
from tests.server.live import chat_body, serving, wait_for

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Collector(HTTPServer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        every = [
            scope for request in self.requests for resource in request.resource_spans for scope in resource.scope_spans
        ]
        return [span for scope in every for span in scope.spans]

    @property
    def services(self) -> set[str]:
        resources = [resource.resource for request in self.requests for resource in request.resource_spans]
        pairs = [pair for resource in resources for pair in resource.attributes]
        return {pair.value.string_value for pair in pairs if pair.key == "service.name"}


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/traces"
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in span.attributes}


def test_a_request_is_a_span_with_its_stages_in_the_clients_trace() -> None:
    with collecting() as collector:
        env = {ENDPOINT: f"http://127.0.0.1:{collector.server_port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with serving(env=env) as live:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
            answer = live.http.post("/v1/chat/completions", json=chat_body("hello quartz"), headers=headers).json()
            live.http.get("/v1/responses/resp_unknown")
            wait_for(lambda: len(collector.spans) >= 5, "the spans")
    spans = {span.name: span for span in collector.spans}
    whole = spans["POST /v1/chat/completions"]
    assert whole.trace_id.hex() == TRACE
    assert whole.parent_span_id.hex() == PARENT
    said = attributes(whole)
    assert said["gen_ai.usage.output_tokens"] == answer["usage"]["completion_tokens"]
    assert (said["http.response.status_code"], said["firesteel.request_id"]) == (200, "mine")
    for name in ("queue", "prefill", "decode"):
        assert spans[name].parent_span_id == whole.span_id
        assert spans[name].start_time_unix_nano <= spans[name].end_time_unix_nano
    assert "GET /v1/responses/{id}" in spans
    assert collector.services == {"firesteel"}
    assert not [request for request in collector.requests if b"quartz" in request.SerializeToString()]


def test_what_waits_is_sent_at_the_end() -> None:
    with collecting() as collector:
        env = {ENDPOINT: f"http://127.0.0.1:{collector.server_port}", "OTEL_SERVICE_NAME": "mine"}
        with serving(env={**env, "OTEL_BSP_SCHEDULE_DELAY": "60000"}) as live:
            live.chat("hello")
            live.process.terminate()
            assert live.process.wait(20) == 0
        assert "POST /v1/chat/completions" in {span.name for span in collector.spans}
        assert collector.services == {"mine"}


def test_a_collector_that_is_gone_breaks_no_request() -> None:
    with serving(env={ENDPOINT: "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}) as live:
        assert [live.chat("hello").status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({ENDPOINT: "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], wanted: bool) -> None:
    assert is_configured(environment) is wanted


def test_a_protocol_that_is_not_spoken_names_the_remedy() -> None:
    with pytest.raises(ConfigError, match="http/protobuf"):
        is_configured({ENDPOINT: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
