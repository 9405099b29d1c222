"""Requantised copies of model files, made once and kept.

On a machine without fast K-quant kernels Q4_0 decodes and prefills faster than the official files. The work
is done by `llama_model_quantize` in a child process: it cannot be interrupted from Python, may abort the
process, and reports how far it is only in its log.
"""

import ctypes
import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Literal

from firesteel.errors import ModelError
from firesteel.models import files
from firesteel.models.files import Progress, silent
from firesteel.models.gguf import read_info
from firesteel.types import ModelInfo

Kind = Literal["q4_0", "q8_0"]

FILE_TYPES: dict[Kind, int] = {"q4_0": 2, "q8_0": 7}  # LLAMA_FTYPE_MOSTLY_Q4_0, …_Q8_0
BYTES_PER_PARAMETER: dict[Kind, float] = {"q4_0": 0.85, "q8_0": 1.1}  # upper bounds; some tensors stay wider
TENSOR_LINE = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")


def quantized(path: Path, kind: Kind, progress: Progress = silent) -> Path:
    """Return a copy of the model file `path` in `kind`, made first if there is none of this very file.

    It lies in the models folder; making it takes seconds per GB. A second call touches nothing.
    Raises `ModelError`.
    """
    target = files.folder() / f"{path.stem}.firesteel-{kind}.gguf"
    if is_copy(target, path):
        return target
    info = read_info(path)
    try:
        with files.locked(target, progress):
            if not is_copy(target, path):  # another process may have been faster
                make(info, target, kind, progress)
    except OSError as error:
        raise ModelError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def is_copy(target: Path, path: Path) -> bool:
    """Return whether `target` was made from `path` as it is now, judged by sizes and times."""
    stamp = files.read_stamp(target)
    return stamp is not None and stamp.source is not None and path.is_file() and stamp.source.matches(path)


def make(info: ModelInfo, target: Path, kind: Kind, progress: Progress) -> None:
    """Write `target` and its stamp; a failure leaves neither."""
    path, part = Path(info.path), files.beside(target, ".part")
    files.require_space(target.parent, int((info.num_parameters or 0) * BYTES_PER_PARAMETER[kind]))
    known = files.read_stamp(path)
    source = files.stamp_of(path, known.sha256 if known else files.sha256_of(path, progress))
    try:
        run_child(info, part, kind, progress)
        read_info(part)
        digest = files.sha256_of(part, progress)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    files.write_stamp(target, files.stamp_of(target, digest, source))


def run_child(info: ModelInfo, part: Path, kind: Kind, progress: Progress) -> None:
    """Requantise in a child process. Raises `ModelError` with the last line of its log."""
    command = [sys.executable, "-P", "-m", "firesteel.backend.quantize", info.path, str(part), kind]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            last = follow(process, info, f"requantising to {kind}", progress)
        finally:
            process.kill()
    if process.returncode:
        raise ModelError(f"{info.path} cannot be requantised (status {process.returncode}): {last}")


def follow(process: "subprocess.Popen[str]", info: ModelInfo, label: str, progress: Progress) -> str:
    """Turn the log of the child into progress until it ends; wait for it and return the log's last line."""
    assert process.stderr is not None
    last: deque[str] = deque(["it said nothing"], maxlen=1)
    for line in process.stderr:
        if os.environ.get("FIRESTEEL_DEBUG"):
            sys.stderr.write(line)
        if match := TENSOR_LINE.search(line):
            done, total = int(match[1]), int(match[2])
            progress(info.file_bytes * done // max(total, 1), info.file_bytes, label)
        elif line.strip():
            last.append(line.strip())
    process.wait()
    return last[0]


def main(path: str, part: str, kind: Kind) -> int:
    """Requantise `path` into `part` in this process; llama.cpp logs to stderr. Return 0 on success."""
    from firesteel.backend.llamacpp.library import functions

    llama_cpp = functions()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[kind]
    parameters.allow_requantize = True
    status: int = llama_cpp.llama_model_quantize(os.fsencode(path), os.fsencode(part), ctypes.byref(parameters))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3]))  # type: ignore[arg-type]  # `run_child` wrote them
