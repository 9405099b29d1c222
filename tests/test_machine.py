import os

from firesteel import machine


def test_description_is_plausible() -> None:
    found = machine.describe()
    assert 1 <= found.num_cores <= (os.cpu_count() or 1)
    assert found.memory_bytes > 1 << 28
    assert found.cache_bytes > 1 << 18
    assert found.processor


def test_peaks_are_of_the_right_order() -> None:
    # From a slow board to a server with HBM: outside of this, the unit or the measurement is wrong.
    assert 5e8 < machine.read_bandwidth(1, runs=1) < 5e12
    assert 1e8 < machine.matrix_rate(runs=1) < 1e14


def test_best_seconds_is_the_shortest_after_the_cold_run() -> None:
    calls: list[int] = []
    assert machine.best_seconds(lambda: calls.append(1), 3) >= 0
    assert len(calls) == 4
