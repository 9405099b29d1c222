"""Prometheus metrics. Every name is documented in docs/reference/metrics.md; a test checks that."""

from collections.abc import Mapping

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from firesteel.clock import time_per_output_token
from firesteel.engine.statistics import Statistics
from firesteel.server.pace import Gaps, Pace
from firesteel.server.record import current
from firesteel.types import Delta, Usage
from firesteel.verdict import GuardReport

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOKEN_SECONDS = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("firesteel_requests", "Requests answered", ["endpoint", "status"], registry=registry)
        self._sockets = Counter("firesteel_sockets", "WebSocket connections taken", registry=registry)
        self._tokens = Counter("firesteel_tokens", "Tokens of finished sequences", ["kind"], registry=registry)
        self._drafts = Counter(
            "firesteel_draft_tokens",
            "Tokens guessed, and accepted",
            ["source", "outcome"],
            registry=registry,
        )
        self.gaps = Gaps()
        registry.register(self.gaps)
        self._ttft = Histogram(
            "firesteel_ttft_seconds", "Request to first text sent", buckets=SECONDS, registry=registry
        )
        self._tpot = Histogram(
            "firesteel_tpot_seconds",
            "Time per output token after the first",
            buckets=TOKEN_SECONDS,
            registry=registry,
        )
        self._queue = Histogram(
            "firesteel_queue_seconds", "Added to first row computed", buckets=SECONDS, registry=registry
        )
        self._refused = Gauge(
            "firesteel_refused_requests", "Requests refused because the queue was full", registry=registry
        )
        self._restarts = Gauge("firesteel_engine_restarts", "Times the engine process was restarted", registry=registry)
        self._engine = Gauge("firesteel_engine", "Engine counters and states", ["what"], registry=registry)
        self._findings = Counter(
            "firesteel_guard_findings", "Findings in text that stayed", ["rule", "action"], registry=registry
        )
        self._guard = Counter("firesteel_guard", "What the guard did", ["counts"], registry=registry)
        self._service = Gauge("firesteel_service", "Queue, limits and ledger", ["what"], registry=registry)
        self._verify = Gauge("firesteel_verify_seconds", "Learned cost of a step", ["rows"], registry=registry)

    def answered(self, endpoint: str, status: int) -> None:
        """Count a response, by how it ended: a stream that breaks off has another status than its head said."""
        self._requests.labels(endpoint, str(status)).inc()
        if (record := current.get()) is not None:
            record.outcome = status

    def socket_opened(self) -> None:
        """Count a WebSocket."""
        self._sockets.inc()

    def text(self, pace: Pace, delta: Delta, now: float) -> None:
        """Record that an answer's text came at `now`: a TTFT, or gaps between tokens."""
        seconds = pace.text(delta.id, delta.num_tokens, now)
        if seconds is not None:
            self._ttft.observe(seconds)
            if (record := current.get()) is not None:
                record.first_text_seconds = seconds

    def finished(self, usage: Usage) -> None:
        """Count what a finished sequence cost, wherever its reader is."""
        self._tokens.labels("prompt").inc(usage.num_prompt_tokens)
        self._tokens.labels("cached").inc(usage.num_cached_tokens)
        self._tokens.labels("output").inc(usage.num_output_tokens)
        self._queue.observe(usage.queue_seconds)
        for draft in usage.drafts:
            self._drafts.labels(draft.source, "drafted").inc(draft.num_drafted)
            self._drafts.labels(draft.source, "accepted").inc(draft.num_accepted)
        if usage.guard is not None:
            self._guarded(usage.guard)
        if usage.num_output_tokens > 1:
            self._tpot.observe(time_per_output_token(0.0, usage.decode_seconds, usage.num_output_tokens))

    def _guarded(self, report: GuardReport) -> None:
        for finding in report.findings:
            self._findings.labels(finding.rule, finding.action).inc()
        self._guard.labels("answers").inc()
        self._guard.labels("rewinds").inc(report.num_rewinds)
        self._guard.labels("retry_tokens").inc(report.num_retry_tokens)
        self._guard.labels("seconds").inc(report.seconds)
        self._guard.labels("failures").inc(report.num_failures)

    def render(
        self, statistics: Statistics | None, service: Mapping[str, float], *, num_refused: int, num_restarts: int
    ) -> bytes:
        """Return the exposition text, with what the service says, and the engine's own numbers if it answers."""
        for name, value in service.items():
            self._service.labels(name).set(value)
        self._refused.set(num_refused)
        self._restarts.set(num_restarts)
        if statistics is not None:
            for name, value in msgspec.structs.asdict(statistics).items():
                if name != "verify_costs":
                    self._engine.labels(name).set(value)
            for rows, seconds in statistics.verify_costs:
                self._verify.labels(str(rows)).set(seconds)
        return generate_latest(self._registry)
