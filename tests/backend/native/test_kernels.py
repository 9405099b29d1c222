"""Every kernel of every instruction set that runs here: against numpy, against the portable twin, against itself.

Bounds are stated where they are used. "The same" is always to the last bit: that is what makes the engine's results
independent of batch, chunk and draft.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.native import library
from tests.backend.native import oracle, probes
from tests.backend.native.oracle import FORMATS, QUANTIZED, Floats, Ints

SETS = library.kernel_sets()
few = settings(max_examples=6, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
kernels_of_all = pytest.mark.parametrize("kernels", SETS)
all_formats = pytest.mark.parametrize("name", FORMATS)


def test_the_portable_kernels_are_always_there_and_the_best_are_the_last() -> None:
    assert SETS[0] == "portable"
    assert library.best_kernels() == SETS[-1]


def columns_of(name: str, groups: int, odd: int) -> int:
    """A number of columns that a format can hold; of floats any."""
    block = FORMATS[name][2]
    return block * groups if block > 1 else 32 * groups - odd


def product_error(weights: Floats, x: Floats) -> Floats:
    """The bound for a product, [tokens, rows]: 5e-7 of the largest that it could be, some roundings of float32."""
    largest = np.abs(weights).max(axis=1)
    bound: Floats = 5e-7 * np.abs(x).sum(axis=1)[:, None] * largest[None, :] + 1e-30
    return bound


@kernels_of_all
@all_formats
@few
@given(seed=seeds, rows=st.integers(1, 70), groups=st.integers(1, 5), odd=st.integers(0, 31), tokens=st.integers(1, 64))
def test_products_are_those_of_numpy_and_do_not_depend_on_other_rows(
    kernels: str, name: str, seed: int, rows: int, groups: int, odd: int, tokens: int
) -> None:
    random, columns = np.random.default_rng(seed), columns_of(name, groups, odd)
    weights = oracle.any_bytes(name, rows, columns, random)
    x = random.standard_normal((tokens, columns), np.float32) * np.float32(10 ** random.uniform(-3, 3))
    found = probes.product(kernels, name, weights, x)
    used = probes.quantised(kernels, x) if name in QUANTIZED else x
    plain = probes.decoded(name, weights, columns)
    expected = used.astype(np.float64) @ plain.astype(np.float64).T
    assert (np.abs(found - expected) <= product_error(plain, used)).all()
    if kernels != "portable":
        twin = probes.product("portable", name, weights, x)
        assert (np.abs(found - twin) <= 2 * product_error(plain, used)).all()
    alone = np.concatenate([probes.product(kernels, name, weights, x[i : i + 1]) for i in range(tokens)])
    assert np.array_equal(found, alone)


@kernels_of_all
@pytest.mark.parametrize("name", QUANTIZED)
def test_products_of_extreme_codes_do_not_overflow(kernels: str, name: str) -> None:
    """All codes and activations at their limits, in every combination of signs: sums of 16 bits just hold them."""
    block, size = FORMATS[name][2:]
    for code in (0x00, 0xFF, 0x80, 0x7F, 0x08, 0xF0, 0x0F):
        weights = np.full((16, size), code, np.uint8)
        for at in oracle.HALVES[name]:
            weights[:, at : at + 2] = np.array([0.5], np.float16).view(np.uint8)
        plain = probes.decoded(name, weights, block)
        for sign in (1, -1):
            x = np.full((3, block), sign, np.float32)
            x[1, ::2] *= -1
            x[2, : block // 2] *= -1
            bound = product_error(plain, x)
            assert (np.abs(probes.product(kernels, name, weights, x) - x @ plain.T) <= bound).all()


@kernels_of_all
@few
@given(seed=seeds, rows=st.integers(1, 40), groups=st.integers(1, 20), aligned=st.booleans())
def test_the_coarse_product_is_within_its_slack(kernels: str, seed: int, rows: int, groups: int, aligned: bool) -> None:
    random, columns = np.random.default_rng(seed), 32 * groups
    weights = oracle.any_bytes("q8_0", rows, columns, random)
    x = random.standard_normal((6, columns), np.float32)
    if aligned:  # along what the plane leaves out of the first row: the worst case, which reaches the bound
        blocks = weights[0].reshape(-1, 34)
        scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
        x[0] = (((blocks[:, 2:] & 15) - np.float32(7.5)) * scales).ravel()
        x[1] = -x[0]
    exact = probes.product(kernels, "q8_0", weights, x)
    coarse = probes.product(kernels, "q8_0", weights, x, coarse=True)
    norms = np.linalg.norm(probes.quantised(kernels, x).astype(np.float64), axis=1)
    allowed = probes.slack(kernels, weights, columns)[None, :] * norms[:, None] * 1.00001
    assert (np.abs(coarse - exact) <= allowed).all()
    alone = [probes.product(kernels, "q8_0", weights, row[None], coarse=True)[0] for row in x]
    assert np.array_equal(coarse, np.array(alone))


@kernels_of_all
@given(seed=seeds, groups=st.integers(1, 9), power=st.integers(-25, 30))
@few
def test_activations_lose_at_most_half_a_step(kernels: str, seed: int, groups: int, power: int) -> None:
    x = np.random.default_rng(seed).standard_normal((1, 32 * groups), np.float32) * np.float32(10.0**power)
    step = np.abs(x.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    lost = np.abs(probes.quantised(kernels, x) - x).reshape(-1, 32)
    assert (lost <= step * 0.50001).all()


@kernels_of_all
@given(seed=seeds, sixteens=st.integers(1, 60), power=st.integers(-6, 6))
@few
def test_norm_and_activation_are_those_of_numpy(kernels: str, seed: int, sixteens: int, power: int) -> None:
    """Norm: relative 1e-5. Activation: relative 1e-5, which the exponential reaches everywhere but below e^-87."""
    random = np.random.default_rng(seed)
    x, other = (random.standard_normal(16 * sixteens, np.float32) for _ in range(2))
    x *= np.float32(10.0**power)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean() + 1e-6) * other
    np.testing.assert_allclose(probes.normalised(kernels, x, other, 1e-6), expected, rtol=1e-5, atol=1e-30)
    with np.errstate(over="ignore"):
        expected = wide / (1 + np.exp(-wide)) * other
    np.testing.assert_allclose(probes.gated(kernels, x, other), expected, rtol=1e-5, atol=1e-28)


def attention(keys: Floats, values: Floats, queries: Floats, positions: Ints) -> Floats:
    """Attention in float64."""
    rows = []
    for query, position in zip(queries.astype(np.float64), positions, strict=True):
        scores = keys[: position + 1] @ query / np.sqrt(len(query))
        weights = np.exp(scores - scores.max())
        rows.append(weights @ values[: position + 1] / weights.sum())
    return np.array(rows, np.float32)


def history(seed: int, size: int, num_keys: int, count: int) -> tuple[Floats, Floats, Floats, Ints]:
    """Keys with some channels that are far off, as trained models have them; values, queries; positions."""
    random = np.random.default_rng(seed)
    keys, values = (random.standard_normal((num_keys, size), np.float32) for _ in range(2))
    keys[:, random.integers(0, size, 2)] += np.float32(random.uniform(-60, 60))
    values[random.integers(0, num_keys)] *= 5
    queries = random.standard_normal((count, size), np.float32)
    positions = np.sort(random.integers(0, num_keys, count)).astype(np.int32)
    return keys, values, queries, positions


# Error of attention as a share of the largest value, where keys have channels of ±60 among others of ±1; measured: a
# quarter of these for f16 (codes of 15, 13 and 13 bits), half for q8_0 (of 8 bits).
SHARE = {"f16": 0.002, "q8_0": 0.08}


@kernels_of_all
@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
@few
@given(seed=seeds, size=st.sampled_from([32, 64, 96, 128]), num_keys=st.integers(1, 400), count=st.integers(1, 19))
def test_attention_is_that_of_numpy_and_of_each_query_alone(
    kernels: str, kv_type: str, seed: int, size: int, num_keys: int, count: int
) -> None:
    keys, values, queries, positions = history(seed, size, num_keys, count)
    expected, largest = attention(keys, values, queries, positions), np.abs(values).max()
    results = []
    for range_pages in (1, 2, 100):
        found = probes.attended(kernels, kv_type, keys, values, queries, positions, range_pages)
        for i in range(count):
            one = slice(i, i + 1)
            alone = probes.attended(kernels, kv_type, keys, values, queries[one], positions[one], range_pages)
            assert np.array_equal(found[one], alone)
        seen = positions[0] + 1  # what stands behind it does not exist for the first query
        first = probes.attended(kernels, kv_type, keys[:seen], values[:seen], queries[:1], positions[:1], range_pages)
        assert np.array_equal(found[:1], first)
        assert np.abs(found - expected).max() <= SHARE[kv_type] * largest
        results.append(found)
    twin = probes.attended("portable", kv_type, keys, values, queries, positions)
    for found in results:
        assert np.abs(found - twin).max() <= 1e-4 * largest


@kernels_of_all
@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
@pytest.mark.parametrize("scale", [0.0, 1e-36, 1e-20, 1e6, 1e15])
def test_attention_of_extreme_numbers_is_finite(kernels: str, kv_type: str, scale: float) -> None:
    keys, values, queries, positions = history(3, 64, 200, 7)
    for changed in (keys, values, queries):
        kept = changed.copy()
        changed *= np.float32(scale)
        found = probes.attended(kernels, kv_type, keys, values, queries, positions)
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= np.abs(values).max() * 1.01
        changed[:] = kept


@kernels_of_all
@all_formats
def test_products_with_zeros_are_zero_and_with_large_numbers_finite(kernels: str, name: str) -> None:
    columns = columns_of(name, 2, 0)
    weights = oracle.any_bytes(name, 17, columns, np.random.default_rng(5))
    assert (probes.product(kernels, name, weights, np.zeros((3, columns), np.float32)) == 0).all()
    nothing = oracle.encoded(name, np.zeros((17, columns), np.float32))
    assert (probes.product(kernels, name, nothing, np.ones((3, columns), np.float32)) == 0).all()
    assert np.isfinite(probes.product(kernels, name, weights, np.full((3, columns), 1e30, np.float32))).all()


@kernels_of_all
def test_pointwise_kernels_of_extreme_numbers_are_finite(kernels: str) -> None:
    x = np.array([0, -0.0, 1e-38, -1e-38, 90, -90, 1e4, -1e4, 1e15, -1e15, 1, -1, 88, -88, 87, -87], np.float32)
    ones = np.ones(16, np.float32)
    assert np.isfinite(probes.gated(kernels, x, ones)).all()
    assert np.isfinite(probes.normalised(kernels, x, ones, 1e-6)).all()
    assert (probes.normalised(kernels, np.zeros(16, np.float32), ones, 1e-6) == 0).all()
    assert (probes.quantised(kernels, np.zeros((1, 64), np.float32)) == 0).all()
