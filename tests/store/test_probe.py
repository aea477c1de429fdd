"""Where nothing can be kept is told before the first packet comes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from recall_lab.errors import ReceiverFailed
from recall_lab.store.probe import probe


def refusal(folder: Path, **options: int) -> str:
    with pytest.raises(ReceiverFailed) as caught:
        probe(folder, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_folder_that_will_do_is_left_as_it_was(tmp_path: Path) -> None:
    assert probe(tmp_path / "new" / "folder", reserve=1) == ""
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700


NOBODY = """
import os, sys
from pathlib import Path
from recall_lab.errors import ReceiverFailed
from recall_lab.store.probe import probe
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
try:
    probe(Path(sys.argv[1]))
except ReceiverFailed as error:
    print(error)
"""


@pytest.mark.parametrize(("name", "made"), [("there", True), ("there/new", False)])
def test_a_folder_that_may_not_be_written_to(tmp_path: Path, name: str, made: bool) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o555)
    told = subprocess.run(
        [sys.executable, "-c", NOBODY, str(tmp_path / name)], capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert "nothing can be kept in the folder" in told
    assert "Permission denied" in told
    assert "with the mode 0555: name one that you may write to" in told


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "that is a file: name another directory" in refusal(tmp_path / "file")
    assert "a part of its path is a file" in refusal(tmp_path / "file" / "x")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="Linux has one for everybody")
def test_a_file_system_that_takes_no_files() -> None:
    assert "nothing can be kept in the folder '/proc/self'" in refusal(Path("/proc/self"))


def test_less_free_than_the_reserve(tmp_path: Path) -> None:
    told = refusal(tmp_path, reserve=1 << 60)
    assert "no new one is begun, and there is none under way; make room" in told
    (tmp_path / "r1.idx").touch()  # what has begun goes on
    assert "no new one is begun" in probe(tmp_path, reserve=1 << 60)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, how: int) -> None:  # there is no such disk to be had
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "two receivers" in refusal(tmp_path)
    assert "locks=False" in refusal(tmp_path)
    assert "two receivers" in probe(tmp_path, locks=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "cure"), [(errno.EROFS, "read-only"), (errno.ENOSPC, "full"), (errno.EIO, "fails")]
)
def test_a_disk_that_takes_the_file_and_not_what_is_in_it(
    tmp_path: Path, code: int, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    assert cure in refusal(tmp_path)
    assert list(tmp_path.iterdir()) == []
