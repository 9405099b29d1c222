import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend import open_backend
from firesteel.backend.sizes import MIN_CHUNK, SCORE_BYTES, SCORES_BYTES, prices, sizes, stretched
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from firesteel.models.dimensions import Dimensions
from firesteel.models.gguf import Context

PLAIN = Context(trained=32_768, limit=32_768, scaling=None)
DOCUMENTED = Context(trained=32_768, limit=131_072, scaling="yarn")
LONGROPE = Context(trained=4096, limit=131_072, scaling="longrope")


def dimensions(num_heads: int = 14) -> Dimensions:
    return Dimensions(
        weight_bytes=485_452_288,
        vocabulary=151_936,
        num_heads=num_heads,
        cached_elements=6144,
        state_bytes=0,
        widest_row=4864,
    )


def test_defaults() -> None:
    found = sizes(EngineConfig(), PLAIN, dimensions())
    assert (found.num_cells, found.num_live, found.chunk_rows) == (16_384, 16, 64)
    assert (found.max_rows, found.num_reserved) == (80, 17)
    assert sizes(EngineConfig(), Context(trained=512, limit=512, scaling=None), dimensions()).num_cells == 512


@given(
    num_cells=st.integers(64, 131_072),
    live=st.integers(1, 64),
    heads=st.integers(1, 128),
    chunk=st.none() | st.integers(1, 4096),
)
def test_the_chunk_is_what_was_asked_for_or_keeps_the_scores_small(
    num_cells: int, live: int, heads: int, chunk: int | None
) -> None:
    config = EngineConfig(context_tokens=num_cells, max_live=live, chunk_tokens=chunk)
    found = sizes(config, DOCUMENTED, dimensions(heads))
    if chunk is not None:
        assert found.chunk_rows == min(chunk, num_cells)
    else:
        small = found.max_rows * num_cells * heads * SCORE_BYTES <= SCORES_BYTES
        assert small or found.chunk_rows == MIN_CHUNK
        assert MIN_CHUNK <= found.chunk_rows <= 64


def test_the_chunk_of_128k_is_halved_and_with_flash_attention_it_is_not() -> None:
    long = EngineConfig(context_tokens=131_072)
    assert sizes(long, DOCUMENTED, dimensions()).chunk_rows == 32
    assert sizes(EngineConfig(context_tokens=131_072, kv_type="q8_0"), DOCUMENTED, dimensions()).chunk_rows == 64


@pytest.mark.parametrize(
    ("context", "yarn", "limit"),
    [(PLAIN, None, 32_768), (PLAIN, 4.0, 131_072), (PLAIN, 1.5, 49_152), (DOCUMENTED, None, 131_072),
     (DOCUMENTED, 8.0, 262_144), (LONGROPE, None, 131_072)],
)  # fmt: skip
def test_the_limit_is_the_documented_one_or_the_stretched(context: Context, yarn: float | None, limit: int) -> None:
    assert stretched(EngineConfig(yarn=yarn), context) == limit
    assert sizes(EngineConfig(yarn=yarn, context_tokens=limit), context, dimensions()).num_cells == limit


@pytest.mark.parametrize(
    ("context", "config", "words"),
    [
        (PLAIN, {"context_tokens": 40_000}, r"40000 is more than the 32768 tokens .* --yarn 2"),
        (PLAIN, {"context_tokens": 40_000, "yarn": 1.1}, r"model's 32768 tokens times --yarn 1.1; .* --yarn 2"),
        (PLAIN, {"context_tokens": 1_000_000}, "ask for at most 32768$"),
        (LONGROPE, {"context_tokens": 200_000}, "ask for at most 131072$"),
        (LONGROPE, {"yarn": 2.0}, "already scales its positions"),
        (PLAIN, {"yarn": 1.0}, "must be more than 1 and at most 8"),
        (PLAIN, {"yarn": 8.5}, "must be more than 1 and at most 8"),
        (PLAIN, {"yarn": float("nan")}, "must be more than 1 and at most 8"),
    ],
)
def test_what_is_not_documented_is_refused(context: Context, config: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sizes(EngineConfig(**config), context, dimensions())  # type: ignore[arg-type]


def test_the_scripted_model_has_neither_kv_nor_positions() -> None:
    for config in (EngineConfig(backend="scripted", kv_type="q8_0"), EngineConfig(backend="scripted", yarn=2.0)):
        with pytest.raises(ConfigError, match="need a real model"):
            open_backend(config)


def test_only_what_costs_has_a_price() -> None:
    assert prices(EngineConfig()) == []
    assert len(prices(EngineConfig(kv_type="q8_0", yarn=4.0))) == 2
