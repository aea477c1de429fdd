"""After a failed sync: what may be lost is written anew, and looked at on the disk itself."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES
from recall_lab.loading import load, verify
from recall_lab.store import writer as writing
from recall_lab.store.fsync_recovery import not_on_disk, write_again
from recall_lab.store.writer import StreamWriter


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The next so many syncs fail, as counted down in the list."""
    left = [0]
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    yield left


def fail(writer: StreamWriter, failing: list[int]) -> None:
    """Let a sync fail."""
    failing[0] = 1
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
        os.fsync(file.fileno())


@pytest.mark.parametrize("size", [2, 640, 5_000, 300_000])
def test_written_again_it_is_the_same(
    tmp_path: Path, open_writer: Any, put: Any, size: int
) -> None:
    writer = open_writer(tmp_path)
    for number in range(12):
        put(writer, bytes([number + 1, 0]) * (size // 2))
    before = writer.audio_path.read_bytes(), writer.index_path.read_bytes()
    assert write_again(writer._audio, writer._index, 3, 12, writer.bytes) == 0
    assert (writer.audio_path.read_bytes(), writer.index_path.read_bytes()) == before
    writer.sync()
    assert not_on_disk(writer.audio_path, writer.index_path, 0, 12) == 0
    writer.close()


def test_what_is_not_as_it_was_written_is_counted(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    for number in range(2_000):  # two batches
        put(writer, bytes([number % 250 + 1, 0]) * 100)
    writer.sync()
    flip(writer.audio_path, 200 * 7 + 5)
    flip(writer.index_path, HEADER_BYTES + RECORD_BYTES * 1_500 + 20)
    assert not_on_disk(writer.audio_path, writer.index_path, 0, 2_000) == 2
    assert not_on_disk(writer.audio_path, writer.index_path, 8, 1_500) == 0
    assert write_again(writer._audio, writer._index, 0, 2_000, writer.bytes) == 2
    writer.close()


def test_a_disk_that_can_not_be_read_past_the_cache_is_believed(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    real = os.open

    def no_direct(path: Any, flags: int, *rest: Any) -> int:
        if flags & getattr(os, "O_DIRECT", 0):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", no_direct)
    assert not_on_disk(writer.audio_path, writer.index_path, 0, 1) == 0


def test_after_a_failed_sync_all_of_it_is_written_before_the_next(
    tmp_path: Path,
    open_writer: Any,
    put: Any,
    failing: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    writer.sync()
    put(writer, b"efgh")
    put(writer, b"ijkl")
    fail(writer, failing)
    assert (writer.sync_failed, writer.synced) == (True, 1)
    written: list[str] = []

    def noting(real: Callable[..., int]) -> Callable[..., int]:
        def note(descriptor: int, data: Any, at: int) -> int:
            written.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)
            return real(descriptor, data, at)

        return note

    for name in ("pwrite", "pwritev"):  # by the cache, past it
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    failing[0] = 1  # the disk is still not well: nothing is durable yet
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()
    assert (writer.sync_failed, writer.synced) == (True, 1)
    writer.sync()
    assert (writer.sync_failed, writer.synced) == (False, 3)
    assert written == [".bin", ".idx"]
    written.clear()
    writer.sync()
    assert written == []
    writer.close()
    assert load(tmp_path / "r1").samples.tobytes() == b"abcdefghijkl"


def test_what_the_disk_does_not_hold_is_not_durable_however_often_it_is_synced(
    tmp_path: Path,
    open_writer: Any,
    put: Any,
    failing: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    fail(writer, failing)
    with monkeypatch.context() as patched:
        patched.setattr(writing, "not_on_disk", lambda *_: 1)
        for _ in range(3):
            with pytest.raises(OSError, match="does not hold 1 packet"):
                writer.sync()
            assert (writer.sync_failed, writer.synced) == (True, 0)
    writer.sync()
    assert (writer.sync_failed, writer.synced) == (False, 1)
    writer.close()


def test_what_a_failed_sync_has_spoiled_is_told_once(
    tmp_path: Path, open_writer: Any, put: Any, failing: list[int]
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    put(writer, b"efgh")
    fail(writer, failing)
    flip(writer.audio_path, 5)
    with pytest.raises(OSError, match="has spoiled 1 packet"):
        writer.sync()
    assert (writer.sync_failed, writer.synced, writer.unsynced) == (False, 2, 1)
    writer.sync()
    assert writer.unsynced == 1  # what is spoiled will never be durable
    writer.close()
    assert verify(load(tmp_path / "r1")).index.tolist() == [1]


def test_appending_waits_while_it_is_written_anew(
    tmp_path: Path,
    open_writer: Any,
    put: Any,
    failing: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    fail(writer, failing)
    inside, go_on = threading.Event(), threading.Event()
    real = writing.write_again

    def slow(*arguments: int) -> int:
        inside.set()
        go_on.wait(5)
        return real(*arguments)

    monkeypatch.setattr(writing, "write_again", slow)
    syncing = threading.Thread(target=writer.sync)
    syncing.start()
    assert inside.wait(5)
    appending = threading.Thread(target=lambda: put(writer, b"efgh"))
    appending.start()
    time.sleep(0.05)
    assert writer.packets == 1
    go_on.set()
    appending.join(5)
    syncing.join(5)
    assert writer.packets == 2
    writer.close()
    assert writer.synced == 2
    assert load(tmp_path / "r1").samples.tobytes() == b"abcdefgh"


def test_closing_writes_anew_too(
    tmp_path: Path, open_writer: Any, put: Any, failing: list[int]
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    failing[0] = 1
    writer.close()
    assert (writer.sync_failed, writer.synced) == (False, 1)


@pytest.mark.parametrize("way", ["past the cache", "by the cache"])
@pytest.mark.parametrize("size", [2, 640, 300_000])
def test_it_is_written_anew_while_somebody_looks_at_it(
    tmp_path: Path, open_writer: Any, put: Any, size: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    for number in range(9):
        put(writer, bytes([number + 1, 0]) * (size // 2))
    seen = load(writer.audio_path)
    before = seen.samples.tobytes()
    lengths = writer.audio_path.stat().st_size, writer.index_path.stat().st_size
    if way == "by the cache":
        monkeypatch.delattr(os, "O_DIRECT")
    assert write_again(writer._audio, writer._index, 0, 9, writer.bytes) == 0
    assert lengths == (writer.audio_path.stat().st_size, writer.index_path.stat().st_size)
    put(writer, b"\7\0")
    assert seen.samples.tobytes() == before
    writer.close()
    capture = load(writer.audio_path)
    assert (len(capture.packets), bool(capture.damage)) == (10, False)
    assert verify(capture).empty


def test_zeros_that_filled_up_the_last_block_are_cut_off(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    index = tmp_path / "r1.idx"
    before = index.read_bytes()
    index.write_bytes(before.ljust(4_096, b"\0"))  # killed before it was cut
    assert len(load(index).packets) == 1
    again = open_writer(tmp_path)
    assert index.read_bytes() == before
    put(again, b"cd")
    again.close()
    assert not load(index).damage


@pytest.mark.parametrize("way", ["past the cache", "by the cache"])
def test_a_disk_that_refuses_while_it_is_mended_costs_nothing_that_is_in_the_cache(
    tmp_path: Path, open_writer: Any, put: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    for number in range(9):
        put(writer, bytes([number + 1, 0]) * 3_000)
    before = writer.audio_path.read_bytes()
    refused = []

    def refusing(real: Callable[..., int]) -> Callable[..., int]:
        def refuse(descriptor: int, data: Any, at: int) -> int:
            if not refused:
                refused.append(at)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(descriptor, data, at)

        return refuse

    if way == "by the cache":
        monkeypatch.delattr(os, "O_DIRECT")
    for name in ("pwrite", "pwritev"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    written: list[tuple[int, bytes]] = []
    real_write = os.pwrite

    def note(descriptor: int, data: bytes, at: int) -> int:
        written.append((at, bytes(data)))
        return real_write(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", note)
    with pytest.raises(OSError, match="Input/output error"):
        write_again(writer._audio, writer._index, 0, 9, writer.bytes)
    assert (0, before) in written  # what had been dropped is put back
    assert writer.audio_path.read_bytes() == before
    writer.close()
