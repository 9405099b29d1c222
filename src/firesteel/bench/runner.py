"""One benchmark from its options to its report."""

from importlib import import_module

from firesteel import machine
from firesteel.bench import peer, pipeline, wire
from firesteel.bench.options import Kind, Options
from firesteel.bench.report import Measurement, Peer, Report, ratio_median
from firesteel.bench.subject import subject_of

MODULES: dict[Kind, str] = {
    "decode": "compare",
    "prefill": "compare",
    "edits": "drafts",
    "fresh": "drafts",
    "agent": "drafts",
    "json": "drafts",
    "ttft": "ttft",
    "steer": "steer",
    "share": "share",
    "cancel": "cancel",
    "restart": "restart",
    "load": "load",
    "churn": "churn",
    "context": "context",
    "step": "step",
}


def run(options: Options) -> Report:
    """Measure and return the report. Raises `ModelError`, `ConfigError` or `EngineFailure`."""
    if options.kind == "pipeline":
        return pipeline.run(options.pairs, options.tokens[0] if options.tokens else None)
    if options.kind == "wire":
        return wire.run(options.pairs)
    peer_name = peer.describe() if options.with_peer else ""
    subject = subject_of(options)
    description, load = machine.describe(), machine.load_average()
    module = import_module(f"firesteel.bench.{MODULES[options.kind]}")
    measured: Measurement = module.measure(options, subject)
    theirs = Peer(measured.peer or peer_name, measured.theirs) if measured.theirs else None
    return Report(
        kind=options.kind,
        workload=measured.workload,
        model=options.model,
        model_sha256=subject.sha256,
        machine=description,
        unit=measured.unit,
        ours=measured.ours,
        peer=theirs,
        ratio_median=ratio_median(measured.ours, theirs),
        ceiling=measured.ceiling,
        details={"threads": subject.num_threads, "load_average_before": load} | measured.details,
    )
