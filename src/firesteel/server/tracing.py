"""OpenTelemetry traces, where the standard OTEL_* variables configure an exporter: a span a request, with its stages.

Needs the extra `otel`. Times of the stages come from what the engine measured, so that nothing is traced in the loop.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from firesteel.errors import ConfigError
from firesteel.server.record import Record
from firesteel.types import Usage

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
NS = 1_000_000_000

_log = logging.getLogger("firesteel")


def is_configured(environment: Mapping[str, str]) -> bool:
    """Return whether traces are wanted. Raises ConfigError for a protocol that is not spoken here."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    if not any(environment.get(name) for name in ENDPOINTS):
        return False
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; set it to http/protobuf")
    return True


class Tracing:
    """Exports a span for each request. `close` sends what waits."""

    def __init__(self) -> None:
        """Raise ConfigError when the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise ConfigError(
                "OTEL_* variables ask for traces: install `firesteel[otel]`, or set OTEL_TRACES_EXPORTER=none"
            ) from None
        is_named = "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or "OTEL_SERVICE_NAME" in os.environ
        resource = Resource.create({} if is_named else {"service.name": "firesteel"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer: Tracer = self._provider.get_tracer("firesteel")

    def close(self) -> None:
        """Send what waits, within the exporter's own time limit."""
        self._provider.shutdown()

    def __call__(self, record: Record, headers: Headers) -> None:
        """Export the span of a request that is over, as a part of the client's trace where it has one."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(dict(headers))
        span = self._tracer.start_span(
            f"{record.method} {record.route}".rstrip(),
            context=parent,
            kind=trace.SpanKind.SERVER,
            start_time=int(record.started_at * NS),
            attributes=_attributes(record),
        )
        if max(record.status, record.outcome or 0) >= 500:
            span.set_status(trace.StatusCode.ERROR)
        for ended_at, usage in record.usages:
            self._stages(span, ended_at, usage)
        span.end()

    def _stages(self, span: "Span", ended_at: float, usage: Usage) -> None:
        """Add the stages of a sequence, backwards from its end."""
        from opentelemetry import trace

        context = trace.set_span_in_context(span)
        seconds = {"queue": usage.queue_seconds, "prefill": usage.prefill_seconds, "decode": usage.decode_seconds}
        began_at = ended_at - sum(seconds.values())
        for name, length in seconds.items():
            stage = self._tracer.start_span(name, context=context, start_time=int(began_at * NS))
            began_at += length
            stage.end(int(began_at * NS))


def _attributes(record: Record) -> dict[str, Any]:
    """Return what a span says, in the words of OpenTelemetry where it has some."""
    fields = record.fields()
    names = {
        "prompt_tokens": "gen_ai.usage.input_tokens",
        "output_tokens": "gen_ai.usage.output_tokens",
        "cached_tokens": "firesteel.cached_tokens",
        "accepted_tokens": "firesteel.accepted_tokens",
        "ttft_seconds": "firesteel.ttft_seconds",
    }
    told = {name: fields[field] for field, name in names.items() if field in fields}
    return told | {
        "http.request.method": record.method,
        "http.route": record.route,
        "url.path": record.path,
        "http.response.status_code": record.status,
        "firesteel.request_id": record.id,
    }


def log_request(record: Record, _: Headers) -> None:
    """Log one line for a request that is over."""
    _log.info("request", extra={"fields": {"request_id": record.id, **record.fields()}})
