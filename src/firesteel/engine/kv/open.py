"""The warm KV that suits a backend and a configuration."""

from collections.abc import Callable

from firesteel.backend.base import Backend
from firesteel.config import EngineConfig, kv_folder
from firesteel.engine.kv.disk import DiskThread
from firesteel.engine.kv.snapshots import SnapshotCache
from firesteel.engine.kv.store import BlockStore
from firesteel.engine.kv.warm import BlockCache, WarmKV


def open_warm(
    backend: Backend,
    config: EngineConfig,
    deliver: Callable[[Callable[[], None]], None],
    now: Callable[[], float],
) -> WarmKV:
    """Return the warm KV, with what earlier processes left on disk.

    `deliver` runs a callback on the engine's thread, soon; `now` is the engine's clock, in seconds.
    """
    if not backend.capabilities.can_trim:
        return SnapshotCache(backend, config.cache_bytes)
    warm = BlockCache(backend, config.cache_bytes, now)
    if config.disk_bytes and config.cache_bytes:
        store = BlockStore(
            kv_folder(config),
            backend.state_fingerprint,
            max_bytes=config.disk_bytes,
            max_seconds=config.disk_seconds,
            model=backend.info.name,
        )
        blocks = store.scan()  # before the first request may ask for them; headers only, some 80 µs each
        warm.attach(DiskThread(store, deliver=deliver, on_removed=warm.on_removed), blocks)
    return warm
