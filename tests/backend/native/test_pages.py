from pathlib import Path

import pytest

from firesteel.backend.blueprint import draw
from firesteel.backend.native import library
from firesteel.backend.native.description import Shape
from firesteel.backend.native.pages import kv_bytes, num_pages
from firesteel.config import EngineConfig
from tests.backend.native.models import model
from tests.backend.native.running import open_native


def shape(**changes: int) -> Shape:
    sizes = {"layers": 1, "embedding": 64, "heads": 1, "kv_heads": 1, "head_size": 64, "feed_forward": 64} | changes
    rest = {"vocabulary": 8, "experts": 0, "experts_used": 0}
    return Shape(**sizes, **rest, interleaved=False, epsilon=1e-6, rope_base=1e4)


@pytest.mark.parametrize(("kv_type", "expected"), [("f16", 64 * (256 + 12)), ("q8_0", 64 * (128 + 12))])
def test_a_page_holds_codes_and_three_scales_a_position(kv_type: str, expected: int) -> None:
    assert kv_bytes(shape(), 1, kv_type) == expected
    assert kv_bytes(shape(layers=3, kv_heads=2), 5, kv_type) == 30 * expected


def test_memory_is_that_of_the_pages_which_the_kernels_get(folder: Path) -> None:
    path = model(folder, "llama", "q4_0")
    blueprint = draw(path, EngineConfig(model=str(path), context_tokens=1000, max_live=3))
    assert blueprint.native is not None
    backend = open_native(path, context_tokens=1000, max_live=3)
    pages = library.load().fs_free_pages(backend._handle)
    assert pages == num_pages(blueprint.sizes.num_cells, 3)
    assert blueprint.memory.kv == kv_bytes(blueprint.native.shape, pages, "f16")
    backend.close()
