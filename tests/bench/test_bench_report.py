import io
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from firesteel.bench import report
from firesteel.bench.report import Peer, Report
from firesteel.bench.roofline import Ceiling
from firesteel.machine import Machine

MACHINE = Machine(
    processor="Example(R) CPU @ 2 GHz",
    num_cores=2,
    instructions=("avx2",),
    memory_bytes=1 << 34,
    cache_bytes=1 << 25,
    system="Linux",
)


def example(**changes: object) -> Report:
    whole = Report(
        kind="decode",
        workload="continue-python",
        model="m",
        model_sha256="00",
        machine=MACHINE,
        unit="tokens/s",
        ours=[10.0, 12.0, 30.0],
        peer=Peer("llama-server", [10.0, 10.0, 10.0]),
        ratio_median=1.2,
        ceiling=Ceiling(48.0, "bandwidth"),
        details={"ttft_ms": {"p50": 1.5}, "runs": [1.0, 2000.0]},
    )
    return msgspec.structs.replace(whole, **changes)


def test_document_has_the_fixed_keys() -> None:
    document = json.loads(report.encode(example()))
    keys = "kind workload model model_sha256 machine unit ours peer ratio_median ceiling details"
    assert list(document) == keys.split()
    assert document["peer"] == {"name": "llama-server", "values": [10.0, 10.0, 10.0]}
    assert document["ceiling"] == {"value": 48.0, "what": "bandwidth"}
    assert "\n" not in report.encode(example())


def test_ratio_is_the_median_of_the_pairs_and_not_of_the_medians() -> None:
    assert report.ratio_median([1.0, 10.0, 3.0], Peer("p", [1.0, 5.0, 1.0])) == 2.0
    assert report.ratio_median([1.0], None) is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_percentile_is_a_value_that_enough_others_do_not_exceed(values: list[float], percent: int) -> None:
    found = report.percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@pytest.mark.parametrize("peer", [None, Peer("llama-server", [10.0, 10.0, 10.0])], ids=["alone", "beside"])
def test_table_shows_the_median_the_ceiling_and_the_peer(peer: Peer | None) -> None:
    out = io.StringIO()
    Console(width=200, file=out).print(report.table(example(peer=peer)))
    text = out.getvalue()
    assert "12.0 tokens/s (median of 3)" in text
    assert "25% of the ceiling" in text
    assert "p50 1.5" in text
    assert ("llama-server" in text) == (peer is not None)


def test_saved_file_is_named_after_kind_model_date_and_machine(tmp_path: Path) -> None:
    path = report.save(example(), tmp_path / "results")
    assert path.name.startswith("decode-m-2")
    assert path.name.endswith("-example-r-cpu-2-ghz-2-core.json")
    assert msgspec.json.decode(path.read_bytes(), type=Report) == example()


def shown(document: Report) -> str:
    out = io.StringIO()
    Console(width=200, file=out).print(report.table(document))
    return out.getvalue()


def test_of_times_the_limit_is_a_floor() -> None:
    text = shown(example(unit="ms", ceiling=Ceiling(6.0, "bare"), peer=None))
    assert "floor" in text
    assert "2.00 × the floor" in text
    assert "ceiling" not in text


def test_rows_in_the_details_become_a_table_of_their_own() -> None:
    rows = [{"history": 1024, "ttft_ms": 12.5}, {"history": 131072, "ttft_ms": 99.5}]
    text = shown(example(details={"by_history": rows, "target": "none"}))
    assert "ttft ms" in text
    assert "131072" in text
    assert "target" in text
