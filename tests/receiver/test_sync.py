"""The syncing thread: every stream in its turn, failures told, nothing after the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from recall_lab.capture.info import CaptureInfo
from recall_lab.receiver.sync import Syncer
from recall_lab.store.writer import StreamWriter


def keep(writer: StreamWriter, count: int = 1) -> None:
    for number in range(count):
        writer.stage(b"\1\0", 0.0, 0, 0, 0, 1, number)
        writer.commit()


def until(met: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def writers(folder: Path, count: int) -> list[StreamWriter]:
    return [StreamWriter(folder, CaptureInfo(recording=f"r{n}")) for n in range(count)]


def test_every_stream_is_synced_again_and_again(tmp_path: Path) -> None:
    streams = writers(tmp_path, 20)
    syncer = Syncer(0.05, lambda *_: None)
    for writer in streams:
        keep(writer)
        syncer.add(writer)
    until(lambda: all(writer.synced == 1 for writer in streams))
    for writer in streams:
        keep(writer, 2)
    until(lambda: all(writer.synced == 3 for writer in streams))
    syncer.stop()
    for writer in streams:
        writer.close()


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError("no room")])
def test_a_failure_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bad, good = writers(tmp_path, 2)
    told: list[str] = []
    done = threading.Event()

    def broken() -> None:
        raise error

    def failed(writer: StreamWriter, error: Exception) -> None:
        told.append(f"{writer.stem}: {error}")
        done.set()

    monkeypatch.setattr(bad, "sync", broken)
    syncer = Syncer(0.02, failed)
    for writer in (bad, good):
        keep(writer)
        syncer.add(writer)
    assert done.wait(5)
    until(lambda: good.synced == 1)
    assert told[0] == f"r0: {error}"
    assert bad.synced == 0  # never reported as durable
    syncer.stop()
    monkeypatch.undo()
    bad.close()
    good.close()


def test_a_removed_stream_is_left_alone_and_may_be_closed(tmp_path: Path) -> None:
    (writer,) = writers(tmp_path, 1)
    syncer = Syncer(0.01, lambda *_: None)
    keep(writer)
    syncer.add(writer)
    until(lambda: writer.synced == 1)
    syncer.remove(writer)
    keep(writer)
    time.sleep(0.1)
    assert writer.synced == 1
    writer.close()
    before = threading.active_count()
    syncer.stop()
    assert threading.active_count() == before - 1


def test_stopping_without_ever_having_started_is_no_mistake() -> None:
    Syncer(1.0, lambda *_: None).stop()
