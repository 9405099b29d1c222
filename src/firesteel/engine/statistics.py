"""What the engine counts."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from firesteel.engine.draft.drafting import Drafting
    from firesteel.engine.kv.warm import WarmKV
    from firesteel.engine.schedule import Scheduler


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the engine; times in seconds since the start."""

    num_waiting: int
    num_running: int
    num_steps: int
    num_rows: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    num_preemptions: int
    num_cells: int
    num_cells_leased: int
    num_host_tokens: int
    host_bytes: int
    num_disk_tokens: int  # read back from the disk
    num_drafted_tokens: int
    num_accepted_tokens: int  # of those
    draft_seconds: float  # spent on guessing, a part of `step_seconds`
    step_seconds: float
    native_seconds: float  # the part of `step_seconds` inside the backend's own code
    verify_costs: list[tuple[int, float]] = []  # (rows, seconds) of a step that carries streams only, as learned


class Counters(msgspec.Struct):
    """What only grows. Owned by the engine."""

    num_steps: int = 0
    num_rows: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_output_tokens: int = 0
    step_seconds: float = 0.0

    def snapshot(
        self, scheduler: "Scheduler", warm: "WarmKV", drafting: "Drafting", native_seconds: float
    ) -> Statistics:
        """Return these counters beside what is live and warm now."""
        cells = scheduler.residence.cells
        return Statistics(
            num_waiting=len(scheduler.waiting),
            num_running=len(scheduler.running),
            num_preemptions=scheduler.num_preemptions,
            num_cells=cells.total,
            num_cells_leased=cells.num_leased,
            num_host_tokens=warm.num_tokens,
            host_bytes=warm.num_bytes,
            num_disk_tokens=warm.num_tokens_from_disk,
            num_drafted_tokens=drafting.num_drafted,
            num_accepted_tokens=drafting.num_accepted,
            draft_seconds=drafting.seconds,
            verify_costs=drafting.cost.table(scheduler.num_tokens),
            native_seconds=native_seconds,
            **msgspec.structs.asdict(self),
        )
