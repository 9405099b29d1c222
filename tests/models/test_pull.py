import errno
import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from firesteel.errors import ModelError, PullError
from firesteel.models import catalogue, files, pull
from firesteel.models.catalogue import Entry
from firesteel.models.files import Partial
from tests.models.hub_server import Hub, serving

CONTENT = random.Random(1).randbytes(1_500_000)
REPOSITORY = "someone/some-model"
BAD = "http://127.0.0.1:9"  # nothing listens on the discard port


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("FIRESTEEL_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as hub:
        hub.files[f"/{REPOSITORY}/resolve/r1/model.gguf"] = CONTENT
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setattr(catalogue, "CATALOGUE", (entry(),))
        yield hub


def entry(*revisions: str, content: bytes = CONTENT) -> Entry:
    return Entry(
        name="tiny",
        file="tiny.gguf",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        sources=tuple(catalogue.Hub(REPOSITORY, revision, "model.gguf") for revision in revisions or ("r1",)),
    )


def partial_path() -> Path:
    return files.folder() / "tiny.gguf.part"


def visible() -> set[str]:
    return {path.name for path in files.folder().iterdir() if not path.name.startswith(".")}


def interrupt_after(count: int) -> files.Progress:
    def progress(done: int, total: int, label: str) -> None:
        if done >= count:
            raise KeyboardInterrupt

    return progress


def test_full_pull_reports_progress_and_leaves_only_the_file(hub: Hub) -> None:
    reports: list[tuple[int, int]] = []
    path = pull.pull("tiny", lambda done, total, label: reports.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert path == pull.resolve("tiny")
    assert visible() == {"tiny.gguf", "tiny.gguf.stamp"}
    assert (len(CONTENT), len(CONTENT)) in reports


def test_second_pull_touches_neither_network_nor_file(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pull.pull("tiny")
    hub.seen.clear()
    before = path.stat()
    monkeypatch.setattr(files, "sha256_of", lambda *_: pytest.fail("hashed again"))
    assert pull.pull("tiny") == path
    assert hub.seen == []
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_interrupted_pull_leaves_the_part_and_resumes_from_it(hub: Hub) -> None:
    with pytest.raises(KeyboardInterrupt):
        pull.pull("tiny", interrupt_after(len(CONTENT) // 2))
    assert visible() == {"tiny.gguf.part"}
    have = partial_path().stat().st_size
    assert len(CONTENT) // 2 <= have < len(CONTENT)
    with pytest.raises(ModelError, match="firesteel models pull tiny"):
        pull.resolve("tiny")
    assert pull.pull("tiny").read_bytes() == CONTENT
    assert hub.downloads()[-1].range == f"bytes={have}-"


def test_broken_connection_is_resumed_within_one_pull(hub: Hub) -> None:
    hub.cuts = [600_000, 300_000]
    assert pull.pull("tiny").read_bytes() == CONTENT
    ranges = [seen.range for seen in hub.downloads()]
    assert len(ranges) == 3
    assert ranges[0] is None
    assert all(ranges[1:])


def test_server_without_ranges_starts_over(hub: Hub) -> None:
    with pytest.raises(KeyboardInterrupt):
        pull.pull("tiny", interrupt_after(100_000))
    hub.ranges = False
    assert pull.pull("tiny").read_bytes() == CONTENT
    assert hub.downloads()[-1].range is not None


def test_corrupted_file_is_dropped_and_the_next_source_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    hub.files[f"/{REPOSITORY}/resolve/bad/model.gguf"] = flipped
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry("bad", "r1"),))
    assert pull.pull("tiny").read_bytes() == CONTENT
    assert [seen.range for seen in hub.downloads()] == [None, None]


def test_corrupted_part_is_dropped_and_the_same_source_used_again(hub: Hub) -> None:
    files.folder().mkdir(parents=True)
    partial_path().write_bytes(b"x" * 1000)
    assert pull.pull("tiny").read_bytes() == CONTENT
    assert [seen.range for seen in hub.downloads()] == ["bytes=1000-", None]


def test_corruption_everywhere_leaves_no_part(hub: Hub) -> None:
    hub.corrupt = True
    with pytest.raises(PullError, match=r"sha256 [0-9a-f]{16}… instead of [0-9a-f]{16}…"):
        pull.pull("tiny")
    assert visible() == set()


def test_wrong_size_is_refused_before_anything_is_written(hub: Hub) -> None:
    hub.files[f"/{REPOSITORY}/resolve/r1/model.gguf"] = b"<html>log in here</html>"
    with pytest.raises(PullError, match="offers 24 bytes instead of 1500000"):
        pull.pull("tiny")
    assert visible() == set()


def test_disk_that_fills_up_keeps_the_part(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Partial.append

    def failing(self: Partial, data: bytes) -> None:
        if self.size + len(data) > 500_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, data)

    monkeypatch.setattr(catalogue, "CATALOGUE", (entry("r1", "r1"),))
    with monkeypatch.context() as patch:
        patch.setattr(Partial, "append", failing)
        with pytest.raises(PullError, match=r"No space left.*make room.*FIRESTEEL_HOME.*pulled so far are kept"):
            pull.pull("tiny")
    assert len(hub.downloads()) == 1
    have = partial_path().stat().st_size
    assert 0 < have <= 500_000
    assert pull.pull("tiny").read_bytes() == CONTENT
    assert hub.downloads()[-1].range == f"bytes={have}-"


def test_too_little_space_is_told_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    with pytest.raises(PullError, match="35 MB are needed, 2 MB are free"):
        pull.pull("tiny")
    assert hub.downloads() == []


def test_two_processes_pull_once(hub: Hub) -> None:
    script = "import sys; from firesteel.models.pull import pull; print(pull(sys.argv[1], print))"
    command = [sys.executable, "-u", "-c", script, f"hf:{REPOSITORY}@r1/model.gguf"]
    hub.pause.clear()
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert hub.started.wait(30)
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert "waiting for another process" in second.stdout.readline()
    hub.pause.set()
    paths = {process.communicate(timeout=30)[0].splitlines()[-1] for process in (first, second)}
    assert [first.returncode, second.returncode] == [0, 0]
    assert [Path(path).read_bytes() for path in paths] == [CONTENT]
    assert len(hub.downloads()) == 1


@pytest.mark.parametrize("variable", ["FIRESTEEL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_names_the_variable_and_needs_no_network_for_what_is_here(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(PullError, match=variable):
        pull.pull("tiny")
    assert hub.seen == []
    monkeypatch.delenv(variable)
    path = pull.pull("tiny")
    monkeypatch.setenv(variable, "1")
    assert pull.pull("tiny") == path


def test_file_put_there_by_hand_is_verified_and_adopted(hub: Hub) -> None:
    files.folder().mkdir(parents=True)
    path = files.folder() / "tiny.gguf"
    path.write_bytes(CONTENT)
    assert pull.resolve("tiny") == path
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ModelError, match="damaged; get it with: firesteel models pull tiny"):
        pull.resolve("tiny")
    assert pull.pull("tiny").read_bytes() == CONTENT


def test_every_failure_is_listed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry("r2", "r3"),))
    with pytest.raises(PullError) as caught:
        pull.pull("tiny")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(f"({REPOSITORY}): it answered 404" in line for line in lines[1:])
    monkeypatch.setenv("HF_ENDPOINT", BAD)
    with pytest.raises(PullError, match=f"{BAD} .*refused"):
        pull.pull("tiny")


@pytest.mark.parametrize(("status", "remedy"), [(401, "HF_TOKEN"), (403, "gated"), (500, "500")])
def test_refusals_say_what_to_do(hub: Hub, status: int, remedy: str) -> None:
    hub.status = status
    with pytest.raises(PullError, match=remedy):
        pull.pull("tiny")
    with pytest.raises(PullError, match=remedy):
        pull.pull(f"hf:{REPOSITORY}@r1/model.gguf")


def test_token_is_sent_as_bearer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull.pull("tiny")
    assert hub.seen[0].authorization == "Bearer hf_secret"


def test_unusable_proxy_setting_is_an_error_of_the_source(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(PullError, match="network settings cannot be used"):
        pull.pull("tiny")


def test_hub_name_takes_its_sha256_from_the_hub(hub: Hub) -> None:
    name = f"hf:{REPOSITORY}@r1/model.gguf"
    path = pull.pull(name)
    stamp = files.read_stamp(path)
    assert path.read_bytes() == CONTENT
    assert path.name == "someone--some-model@r1--model.gguf"
    assert stamp is not None
    assert stamp.sha256 == hashlib.sha256(CONTENT).hexdigest()
    hub.seen.clear()
    assert pull.pull(name) == path == pull.resolve(name)
    assert hub.seen == []


def test_hub_name_is_checked_against_that_sha256(hub: Hub) -> None:
    hub.corrupt = True
    with pytest.raises(PullError, match="sha256"):
        pull.pull(f"hf:{REPOSITORY}@r1/model.gguf")


def test_hub_file_without_sha256_must_at_least_be_gguf(hub: Hub) -> None:
    hub.tells_sha256 = False
    with pytest.raises(PullError, match="cannot be read as GGUF"):
        pull.pull(f"hf:{REPOSITORY}@r1/model.gguf")
    assert visible() == set()


def test_unwritable_home_is_a_clear_error(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path / "file"))
    with pytest.raises(PullError, match=r"cannot pull 'tiny': Not a directory \(.*file/models\)"):
        pull.pull("tiny")


def test_remove_deletes_all_that_belongs_to_a_model_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    path = pull.pull("tiny")
    (files.folder() / "tiny.firesteel-q4_0.gguf").write_bytes(b"copy")
    (files.folder() / "other.gguf").write_bytes(b"other")
    assert path in pull.remove("tiny")
    assert visible() == {"other.gguf"}
    assert pull.remove("tiny") == []
    elsewhere = tmp_path / "mine.gguf"
    elsewhere.write_bytes(b"mine")
    with pytest.raises(ModelError, match=r"was not pulled by Firesteel"):
        pull.remove(str(elsewhere))
    assert elsewhere.exists()
