"""What was learned of costs and chances, kept from one process to the next: per model, settings and machine.

Counts and times only, no text. Kept where KV may be kept on disk, and nowhere else.
"""

import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from firesteel import machine
from firesteel.atomic import replace_file
from firesteel.config import EngineConfig, learned_folder
from firesteel.engine.cost import StepCost
from firesteel.engine.draft.calibration import Calibration

VERSION = 1

log = logging.getLogger("firesteel")


class Learned(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    version: int
    cost: list[Any]
    chances: list[Any]


def path_of(config: EngineConfig, fingerprint: str) -> Path | None:
    """Return the file for a model with these settings on this machine; None where nothing may be kept."""
    if not config.disk_bytes:
        return None
    threads = config.num_threads or machine.num_cores()
    name = sha256(f"{fingerprint} {machine.describe()} {threads}".encode()).hexdigest()[:16]
    return learned_folder(config) / f"{name}.json"


def load(path: Path, cost: StepCost, calibration: Calibration) -> None:
    """Take over what the file says; one that is missing, damaged or of another version teaches nothing."""
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Learned)
        if known.version == VERSION:
            cost.restore(known.cost)
            calibration.restore(known.chances)
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        log.warning("%s is ignored, and learned anew: %s", path, error)


def save(path: Path, cost: StepCost, calibration: Calibration) -> None:
    """Write the file, readable by its owner only, in one piece; a failure is logged."""
    text = msgspec.json.encode(Learned(VERSION, cost.dump(), calibration.dump()))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text)
    except OSError as error:
        log.warning("what was learned of step costs could not be kept: %s", error)
