"""What the server and the engine process say to each other: length-prefixed msgpack lists of messages."""

import struct

import msgspec

from firesteel.engine.shorthand import Shared
from firesteel.engine.statistics import Statistics
from firesteel.types import Delta, Failure, Finish, Guarded, ModelInfo, Progress, Rewind, Work

HEADER = struct.Struct("<I")  # bytes of the frame that follows


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Start a sequence. Its prompt begins with `shared`, which its `work` leaves out; see `shorthand`."""

    work: Work
    shared: Shared | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """End a sequence."""

    id: str


class Steer(msgspec.Struct, frozen=True, tag="steer"):
    """End a sequence at the next safe boundary; go on with `work`."""

    id: str
    work: Work


class TakeBack(msgspec.Struct, frozen=True, tag="rewind"):
    """Take output tokens of a sequence back."""

    id: str
    to_token: int
    ban: tuple[int, ...] = ()
    hint: tuple[int, ...] = ()


class AskStatistics(msgspec.Struct, frozen=True, tag="statistics"):
    """Send one `Snapshot`."""


Command = Add | Cancel | Steer | TakeBack | AskStatistics


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded."""

    info: ModelInfo
    num_cells: int
    max_live: int
    state_fingerprint: str = ""  # under which KV rests on disk
    broken_rules: tuple[str, ...] = ()  # of the guard, which does not find their own examples


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The model cannot be loaded; the process ends."""

    message: str


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The answer to `AskStatistics`."""

    statistics: Statistics


class Events(msgspec.Struct, frozen=True, tag="events"):
    """The events of one or more steps, in order."""

    events: list[Delta | Progress | Rewind | Guarded | Finish | Failure]


Report = Ready | Broken | Snapshot | Events

_encoder = msgspec.msgpack.Encoder()
command_decoder = msgspec.msgpack.Decoder(Command)
report_decoder = msgspec.msgpack.Decoder(Report)


def frame(message: Command | Report) -> bytes:
    """Return `message` as one frame."""
    body = _encoder.encode(message)
    return HEADER.pack(len(body)) + body
