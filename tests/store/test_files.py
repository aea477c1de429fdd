"""Files that may have been planted: what is no plain file of its own is not written to."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recall_lab.errors import CaptureError, CaptureNotFound, StorageFailed
from recall_lab.loading import load
from recall_lab.store.files import open_own, open_plain, read_small
from recall_lab.store.info_file import read_info
from recall_lab.store.journal import Journal, read_events


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def soft(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def hard(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def listening(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


PLANTED = [fifo, soft, hard, folder, listening]
Plant = Callable[[Path, Path], None]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("suffix", [".idx", ".bin", ".json", ".events.jsonl"])
def test_what_was_planted_is_not_written_to(
    tmp_path: Path, open_writer: Any, put: Any, plant: Plant, suffix: str
) -> None:
    captures, victim = tmp_path / "captures", tmp_path / "victim"
    captures.mkdir()
    victim.write_text("precious")
    plant(captures / f"r1{suffix}", victim)
    if suffix == ".events.jsonl":
        with pytest.raises(OSError):
            Journal(captures).write("r1", "connected")
    elif suffix == ".json" and plant is not folder:  # it is replaced, not written to
        writer = open_writer(captures)
        put(writer, b"ab")
        writer.close()
        assert read_info(captures / "r1.json")[0] is not None
    else:
        with pytest.raises(StorageFailed, match="r1"):
            open_writer(captures)
    assert victim.read_text() == "precious"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("plant", [fifo, folder, listening])
def test_what_was_planted_does_not_keep_a_reader_waiting(
    tmp_path: Path, small: Path, plant: Plant
) -> None:
    for suffix in (".idx", ".json", ".events.jsonl"):
        path = small.with_name(small.stem + suffix)
        path.unlink(missing_ok=True)
        plant(path, tmp_path)
    capture = load(small)
    assert capture.info.recording == "r1"
    assert read_events(small).empty


@pytest.mark.timeout(10)
def test_a_link_to_itself_is_no_capture(tmp_path: Path) -> None:
    for suffix in (".bin", ".idx"):
        (tmp_path / f"x{suffix}").symlink_to(tmp_path / f"x{suffix}")
    with pytest.raises(CaptureNotFound):
        load(tmp_path / "x.bin")


def test_hard_links_are_named_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="hard links"):
        open_own(tmp_path / "b", os.O_RDWR)


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    descriptor = open_own(tmp_path / "x", os.O_RDWR)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
    os.close(descriptor)


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    fifo(tmp_path / "x", tmp_path)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "x")
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)


def test_metadata_is_not_read_whatever_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="too large"):
        read_small(path)
    assert read_info(path) == (None, "x.json can't be read (it is too large)")


def test_files_of_another_recording_are_left_alone(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path, "Call")
    put(writer, b"ab")
    writer.close()
    for path in list(tmp_path.iterdir()):  # as a disk does that takes small for capital letters
        path.rename(path.with_name(path.name.replace("Call", "call")))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CaptureError, match="those of 'Call'"):
        open_writer(tmp_path, "call")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
