"""Storage: what could not be kept is counted, marked and told once it goes on."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from recall_lab.analysis.time.gaps import gaps
from recall_lab.analysis.verdict.quality import quality
from recall_lab.capture.record import Flag
from recall_lab.control.limits import Limits
from recall_lab.loading import load
from recall_lab.receiver import open_streams as module
from recall_lab.receiver.ingest import Ingest
from recall_lab.receiver.recordings import Recordings
from recall_lab.wire.messages import AudioPacket, Participant, Ref, encode_message

NOW = 1_735_689_600_000_000_000


def packet(number: int, recording: str = "r1", who: int | None = None) -> bytes:
    """One message of 10 ms."""
    return encode_message(
        AudioPacket(
            recording=Ref(recording), payload=b"\1\0" * 160, relative=number * 0.01,
            absolute=NOW + number * 10_000_000,
            participant=None if who is None else Participant(who),
        )
    )  # fmt: skip


class Feed:
    """An Ingest and one connection to it."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.ingest = Ingest(folder, "run-1", sync=1e6, limits=Limits(**limits))
        self.connection = self.ingest.opened("peer:1")
        self.now = 1.0

    def __call__(self, *messages: bytes) -> None:
        self.now += 2.0  # a stream that could not be opened is tried again after a second
        for message in messages:
            received = NOW + int(self.now * 1e9)
            self.ingest.text(self.connection, message, received, int(self.now * 1e9))
        self.ingest.flush()


def refusing(code: int) -> Callable[..., NoReturn]:
    """Return what stands for a call that the system refuses."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refuse


Full = Callable[[], None]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Full:
    """Make the disk full; undone by monkeypatch.undo()."""

    return lambda: monkeypatch.setattr(os, "pwrite", refusing(errno.ENOSPC))


def test_a_loss_is_in_the_status_the_flag_the_journal_and_the_gap(
    tmp_path: Path, full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0), packet(1))
    full()
    feed(packet(2), packet(3))
    feed(packet(4))
    monkeypatch.undo()
    feed(packet(5), packet(6))
    status = feed.ingest.status("")
    assert (status.packets, status.dropped, status.dropped_s) == (4, 3, 0.03)
    assert status.rejected == {"storage": 3}
    feed.ingest.close()
    capture = load(tmp_path / "r1")
    assert (capture.packets["flags"] & Flag.DROPPED).tolist() == [0, 0, int(Flag.DROPPED), 0]
    (line,) = capture.events.query("kind == 'dropped'")["detail"]
    assert (line["stream"], line["packets"], line["seconds"]) == ("r1", 3, 0.03)
    found = gaps(capture)
    assert found["cause"].tolist() == ["dropped"]
    assert found["duration"].tolist() == pytest.approx([0.03])
    assert found["evidence"].tolist() == [
        "3 packets came and could not be kept: No space left on device"
    ]


def test_a_stream_that_could_not_be_opened_says_so_when_it_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refusing(errno.ENOSPC))
        feed(packet(0), packet(1))
    feed(packet(2))
    feed.ingest.close()
    capture = load(tmp_path / "r1")
    assert capture.packets["flags"].tolist() == [int(Flag.DROPPED)]
    (line,) = capture.events.query("kind == 'dropped'")["detail"]
    assert (line["packets"], line["since"]) == (2, 0.0)
    assert feed.ingest.status("").dropped == 2


def test_below_the_reserve_no_recording_begins_and_those_under_way_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0))
    earlier = Feed(tmp_path)
    monkeypatch.setattr(feed.ingest.storage.budget, "_limits", Limits(reserve=2**62))
    feed(packet(1), packet(0, "new"))
    feed(packet(0, who=7))  # somebody joins the meeting
    assert feed.ingest.status("").rejected == {"reserve": 1}
    assert not list(tmp_path.glob("new*"))
    feed.ingest.close()
    assert len(load(tmp_path / "r1").packets) == 2
    monkeypatch.setattr(earlier.ingest.storage.budget, "_limits", Limits(reserve=2**62))
    earlier(packet(2))  # a receiver that was started again goes on too
    earlier.ingest.close()
    assert len(load(tmp_path / "r1").packets) == 3


def test_a_refusal_does_not_keep_what_was_refused(tmp_path: Path) -> None:
    large = packet(0, "large").replace(b'"recording":{', b'"recording":{"x":"%s",' % (b"y" * 10**6))
    held = []
    for attempt in range(3):  # what else runs in this process may hold something once
        feed = Feed(tmp_path / str(attempt), reserve=2**62)
        tracemalloc.start()
        for number in range(30):
            feed(large.replace(b"large", b"large%d" % (number // 3)))
            feed.now -= 2.0
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert feed.ingest.status("").rejected == {"reserve": 30}
        feed.ingest.close()
    assert min(held) < 5_000_000


def test_a_quota_ends_a_recording_and_no_other(tmp_path: Path) -> None:
    feed = Feed(tmp_path, recording=60_000)
    for number in range(100):
        feed(packet(number))
        feed(packet(number, "r2") if number < 10 else packet(number))
    status = feed.ingest.status("")
    assert status.rejected["quota"] > 20
    assert "raise limits.recording" in status.last_error
    assert status.packets + status.rejected["quota"] == 200
    feed.ingest.close()
    sizes = {
        name: sum(path.stat().st_size for path in tmp_path.glob(f"{name}.*"))
        for name in ("r1", "r2")
    }
    assert 25_000 < sizes["r1"] < 32_000
    assert len(load(tmp_path / "r2").packets) == 10


def test_what_a_quota_took_is_a_gap_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0), packet(1))
    with monkeypatch.context() as patched:
        patched.setattr(feed.ingest.storage.budget, "_limits", Limits(day=1))
        feed(packet(2), packet(3))
    feed(packet(4))
    feed.ingest.close()
    found = gaps(load(tmp_path / "r1"))
    assert found["cause"].tolist() == ["dropped"]
    assert "2 packets came and could not be kept" in found["evidence"][0]


def test_what_was_lost_at_the_end_of_a_call_is_a_gap_too(
    tmp_path: Path, full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(*map(packet, range(100)))
    with monkeypatch.context() as patched:
        patched.setattr(feed.ingest.storage.budget, "_limits", Limits(day=1))
        for number in range(100, 200):
            feed(packet(number))
            feed.ingest.tick(feed.now)  # it is told while it goes on: it may be killed
        lines = load(tmp_path / "r1").events.query("kind == 'dropped'")
        assert len(lines) > 5
        feed.ingest.close()
    capture = load(tmp_path / "r1")
    (gap,) = gaps(capture).to_dict("records")
    assert (gap["kind"], gap["cause"]) == ("gap", "dropped")
    assert (gap["start"], gap["end"]) == (pytest.approx(1.0), pytest.approx(2.0))
    assert gap["evidence"].startswith("100 packets came and could not be kept: 1 bytes have been")
    found = quality(capture)
    assert found["available_percent"] == pytest.approx(50.0)
    assert found["missing_dropped_s"] == pytest.approx(1.0)
    assert found["verdict"].startswith("poor")


def test_what_was_lost_before_a_restart_is_not_laid_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0), packet(1))
    monkeypatch.setattr(feed.ingest.storage.budget, "_limits", Limits(day=1))
    feed(*map(packet, range(2, 50)))
    feed.ingest.close()
    again = Feed(tmp_path)
    again.ingest.receiver = again.ingest.storage.receiver = "run-2"
    again(packet(52), packet(53))
    again.ingest.close()
    assert gaps(load(tmp_path / "r1"))["cause"].tolist() == ["dropped"]


def test_a_stream_that_can_not_be_opened_is_not_begun_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path, streams=4)
    feed(packet(0))  # a recording, and a stream

    with monkeypatch.context() as patched:
        patched.setattr(module, "StreamWriter", refusing(errno.EROFS))
        for number in range(8):
            feed(packet(number, who=1))
    feed(packet(8, who=1), packet(8, who=2))
    assert feed.ingest.status("").rejected == {"storage": 8}
    assert feed.ingest.status("").packets == 3
    feed.ingest.close()


def test_events_count_for_the_quota_too(tmp_path: Path) -> None:
    feed = Feed(tmp_path, recording=100_000)
    event = b'{"event":"transcript.data","data":{"recording":{"id":"r1"},"data":{"text":"%s"}}}' % (
        b"x" * 10_000
    )
    for _ in range(30):
        feed(event)
    status = feed.ingest.status("")
    assert status.events + status.rejected["quota"] == 30
    feed.ingest.close()
    assert (tmp_path / "r1.events.jsonl").stat().st_size < 120_000


def test_with_few_descriptors_the_quietest_stream_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "streams_at_once", lambda limits: 3)
    feed = Feed(tmp_path)
    for number in range(4):
        feed(*(packet(number, who=who) for who in range(8)))
    assert len(feed.ingest.storage._open) == 3
    feed.ingest.close()
    for who in range(8):
        capture = load(tmp_path / f"r1.{who}")
        assert capture.packets["relative"].tolist() == [0.0, 0.01, 0.02, 0.03]
        assert not capture.packets["flags"].any()
    assert feed.ingest.status("").gaps == 0


def test_half_a_sample_survives_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "streams_at_once", lambda limits: 1)
    feed = Feed(tmp_path)
    for number, payload in enumerate([b"abc", b"def", b"gh"]):
        for who in (1, 2):
            feed(
                encode_message(
                    AudioPacket(
                        recording=Ref("r1"), payload=payload, relative=number * 0.01, absolute=NOW,
                        participant=Participant(who),
                    )
                )
            )  # fmt: skip
    feed.ingest.close()
    for who in (1, 2):
        assert load(tmp_path / f"r1.{who}").samples.tobytes() == b"abcdefgh"


def test_of_very_many_streams_the_gaps_are_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 5)
    monkeypatch.setattr(module, "streams_at_once", lambda limits: 2)
    feed = Feed(tmp_path)
    for who in range(12):
        feed(packet(0, who=who), packet(3, who=who))
    assert len(feed.ingest.storage._continuity) <= 6
    status = feed.ingest.status("")
    assert (status.gaps, status.streams) == (12, 12)
    assert status.missing == pytest.approx(0.24)
    feed.ingest.close()


def test_ids_that_a_disk_takes_for_one_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0, "Call"))
    monkeypatch.setattr(Recordings, "_folds", lambda *_: True)
    feed(packet(1, "call"), packet(1, "Call"))
    status = feed.ingest.status("")
    assert status.packets == 2
    assert "does not tell 'call' from 'Call'" in status.last_error
    feed.ingest.close()


def test_a_disk_that_tells_them_apart_keeps_both(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed(packet(0, "Call"), packet(1, "call"))
    assert feed.ingest.status("").packets == 2
    feed.ingest.close()


Failing = Callable[[], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Let syncs fail; undone by monkeypatch.undo()."""

    return lambda: monkeypatch.setattr(os, "fdatasync", refusing(errno.EIO))


def test_what_was_in_doubt_when_it_was_closed_is_so_when_it_is_opened_again(
    tmp_path: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0))
    failing()
    feed.ingest.storage._close(("r1", None))
    monkeypatch.undo()
    status = feed.ingest.status("")
    assert "Input/output error" in status.last_error
    assert status.unsynced == 1
    feed(packet(1))
    writer = feed.ingest.storage._open["r1", None].writer
    assert (writer.sync_failed, writer.synced) == (True, 0)
    writer.sync()
    assert (writer.sync_failed, writer.synced) == (False, 2)
    feed.ingest.close()
    assert feed.ingest.status("").unsynced == 0


def test_what_was_closed_in_doubt_is_tried_again_though_nothing_more_comes(
    tmp_path: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0), packet(1))
    failing()
    feed.ingest.storage._close(("r1", None))
    feed.ingest.tick(100.0)
    assert feed.ingest.status("").unsynced == 2
    monkeypatch.undo()
    feed.ingest.tick(101.0)
    assert feed.ingest.status("").unsynced == 2  # not at once: the disk may be ill for long
    feed.ingest.tick(120.0)
    assert feed.ingest.status("").unsynced == 0
    feed.ingest.close()


def test_doubts_about_files_that_are_gone_are_gone_too(
    tmp_path: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path / "captures")
    feed(*map(packet, range(50)))
    failing()
    with pytest.raises(OSError, match="Input/output error"):
        feed.ingest.storage._open["r1", None].writer.sync()
    shutil.rmtree(tmp_path / "captures")
    feed.ingest.tick(1.0)
    monkeypatch.undo()
    feed(packet(50))
    assert feed.ingest.status("").unsynced == 1
    feed.ingest.storage._open["r1", None].writer.sync()
    assert feed.ingest.status("").unsynced == 0
    feed.ingest.close()


def test_a_capture_whose_info_can_not_be_written_is_synced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path)
    feed(packet(0))
    stream = feed.ingest.storage._open["r1", None]

    monkeypatch.setattr("recall_lab.store.writer.write_info", refusing(errno.ENOSPC))
    feed.ingest.close()
    assert "No space left" in feed.ingest.status("").last_error
    assert stream.writer.synced == 1
