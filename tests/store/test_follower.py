"""A stream followed while it is written: by this process, by another, in every state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.builders import AUDIO, follow, same

from recall_lab.capture.frame import check_frame
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import RECORD_BYTES, pack_record
from recall_lab.loading import load, verify
from recall_lab.store import follower as module
from recall_lab.store.follower import Follower
from recall_lab.store.info_file import write_info


def test_following_before_there_is_anything(tmp_path: Path, open_writer: Any, put: Any) -> None:
    follower = Follower(tmp_path / "r1.bin")
    assert follower.poll() == 0
    check_frame(follower.frame())
    assert follower.capture().duration == 0.0
    assert list(tmp_path.iterdir()) == []  # following makes no files
    writer = open_writer(tmp_path)
    assert follower.poll() == 0
    put(writer, b"ab")
    assert follower.poll() == 1
    writer.close()


def test_the_last_seconds_are_a_capture_of_their_own(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    follower = Follower(tmp_path / "r1")
    assert follower.last(1.0).duration == 0.0
    for value in range(50):  # of a tenth of a second; one after a gap
        put(writer, bytes([value, 0]) * 1600, relative=value / 10 + 3.0 * (value > 30))
    follower.poll()
    whole = follower.capture()
    np.testing.assert_array_equal(follower.column("relative"), whole.packets["relative"])
    for seconds, packets in ((0.0, 1), (0.05, 1), (0.25, 3), (1.0, 10), (3.0, 30), (99.0, 50)):
        last = follower.last(seconds)
        assert len(last.packets) == packets, seconds
        assert last.span[1] == whole.span[1]
        np.testing.assert_array_equal(last.samples, whole.samples[-1600 * packets :])
        check_frame(last.packets)
        assert last.packets["offset"].iloc[0] == 0
        theirs = whole.packets.iloc[-packets:].reset_index(drop=True)
        assert (last.packets["relative"].to_numpy() == theirs["relative"].to_numpy()).all()
    assert last.info.recording == "r1"
    (tmp_path / "r1.bin").write_bytes(b"")
    assert follower.last(1.0).duration == 0.0  # cut from outside
    writer.close()


def test_packets_are_seen_as_they_are_appended(tmp_path: Path, open_writer: Any, put: Any) -> None:
    writer = open_writer(tmp_path)
    follower = Follower(tmp_path / "r1")
    for count in range(1, 6):
        put(writer, bytes([count]) * 4)
        assert follower.poll() == 1
        assert follower.poll() == 0
        assert follower.packets == len(follower.frame()) == count
        assert follower.capture().samples[-2:].tobytes() == bytes([count]) * 4
    put(writer, b"ab")
    put(writer, b"cd")
    assert follower.poll() == 2
    writer.close()
    same(follower.frame(), load(tmp_path / "r1").packets)


def test_packets_of_another_process_are_seen(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from recall_lab.capture.info import CaptureInfo\n"
        "from recall_lab.store.writer import StreamWriter\n"
        "writer = StreamWriter(Path(sys.argv[1]), CaptureInfo(recording='r1'), 'run-1')\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    writer.append(line.strip().encode(), relative=number, absolute=0, received=0,\n"
        "                  monotonic=0, connection=1, sequence=number)\n"
        "    print('kept', flush=True)\n"
    )
    follower = Follower(tmp_path / "r1.bin")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for count, text in enumerate(("abcd", "ef", "ghij"), start=1):
            other.stdin.write(text + "\n")
            other.stdin.flush()
            assert other.stdout.readline() == "kept\n"
            assert follower.poll() == 1
            assert follower.frame()["sequence"].tolist() == list(range(count))
        assert follower.capture().samples.tobytes() == b"abcdefghij"
        other.kill()
    assert follower.poll() == 0
    assert load(tmp_path / "r1.bin").samples.tobytes() == b"abcdefghij"


def test_while_a_thread_appends_every_moment_is_consistent(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    follower = Follower(tmp_path / "r1")
    moments = []

    def append() -> None:
        for number in range(1_500):  # more than the first arrays hold
            put(writer, number.to_bytes(2, "little") * (number % 4))
        writer.close()

    thread = threading.Thread(target=append)
    thread.start()
    while thread.is_alive():
        follower.poll()
        moments.append(follower.capture())
    thread.join()
    follower.poll()
    moments.append(follower.capture())
    final = load(tmp_path / "r1").packets
    assert len(final) == 1_500
    for moment in moments[-1 :: -max(1, len(moments) // 40)]:
        same(moment.packets, final.iloc[: len(moment.packets)])
        assert len(verify(moment)) == 0
        assert not moment.damage


def test_a_torn_tail_is_not_taken_until_it_is_whole(tmp_path: Path) -> None:
    records = [pack_record(0, 0, 4, float(n), 0, 0, 0, 1, n, 0) for n in range(3)]
    whole = bytes(64) + b"".join(records)
    follower = Follower(tmp_path / "r1")
    index = tmp_path / "r1.idx"
    for length in range(len(whole) + 1):
        index.write_bytes(whole[:length])
        follower.poll()
        assert follower.packets == max(0, length - 64) // 64
    assert follower.frame()["sequence"].tolist() == [0, 1, 2]
    assert follower.damaged == 0


def test_a_damaged_record_is_skipped_once_a_good_one_follows(tmp_path: Path) -> None:
    records = [bytearray(pack_record(0, 0, 4, float(n), 0, 0, 0, 1, n, 0)) for n in range(6)]
    for damaged in (2, 3):
        records[damaged][8] ^= 1
    index = tmp_path / "r1.idx"
    follower = Follower(index)
    index.write_bytes(bytes(64) + b"".join(records[:4]))
    assert follower.poll() == 2
    assert follower.poll() == 0
    assert follower.damaged == 0  # they might only just be being written
    index.write_bytes(bytes(64) + b"".join(records))
    assert follower.poll() == 2
    assert follower.poll() == 0
    assert follower.damaged == 2
    assert follower.frame()["sequence"].tolist() == [0, 1, 4, 5]
    assert follower.capture().damage.damaged_records == 2


def test_a_record_that_was_being_written_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    record = pack_record(0, 0, 4, 1.0, 0, 0, 0, 1, 7, 0)
    index = tmp_path / "r1.idx"
    follower = Follower(index)
    index.write_bytes(bytes(64) + record[:40] + bytes(24))
    assert follower.poll() == 0
    index.write_bytes(bytes(64) + record)
    assert follower.poll() == 1
    assert follower.frame()["sequence"].tolist() == [7]
    assert follower.damaged == 0


@pytest.mark.parametrize("damaged", [[], [0], [3], [4], [0, 1, 2], [3, 4, 9], [17]])
def test_one_poll_reads_all_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: list[int]
) -> None:
    monkeypatch.setattr(module, "_BATCH", 4)
    records = [bytearray(pack_record(0, 0, 4, float(n), 0, 0, 0, 1, n, 0)) for n in range(19)]
    for position in damaged:
        records[position][30] ^= 8
    (tmp_path / "r1.idx").write_bytes(bytes(64) + b"".join(records))
    follower = Follower(tmp_path / "r1")
    assert follower.poll() == 19 - len(damaged)
    expected = [n for n in range(19) if n not in damaged]
    assert follower.frame()["sequence"].tolist() == expected
    assert follower.damaged == len(damaged)


def test_a_poll_costs_what_is_new(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    for _ in range(500):
        put(writer, b"ab")
    read: list[int] = []
    real = os.pread

    def pread(descriptor: int, length: int, at: int) -> bytes:
        data = real(descriptor, length, at)
        read.append(len(data))
        return data

    follower = Follower(tmp_path / "r1")
    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(Path, "read_bytes", None)  # it would be noticed
    for new in (500, 0, 0, 3, 0, 1):
        if new < 500:
            for _ in range(new):
                put(writer, b"ab")
        read.clear()
        assert follower.poll() == new
        follower.frame()
        assert sum(read) == (1 + new) * RECORD_BYTES  # the first, to know it by, and what is new
        assert len(read) <= 3
    monkeypatch.undo()
    writer.close()


def test_snapshots_do_not_change_as_more_arrives(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    follower = Follower(tmp_path / "r1")
    frames, captures, copies = [], [], []
    for turn in range(40):
        for number in range(turn * 3):
            put(writer, bytes([turn, number]))
        follower.poll()
        frames.append(follower.frame())
        captures.append(follower.capture())
        copies.append(frames[-1].copy(deep=True))
    assert follower.packets == sum(range(40)) * 3 > 2_048  # the arrays were outgrown meanwhile
    for frame, capture, copy in zip(frames, captures, copies, strict=True):
        same(frame, copy)
        same(capture.packets, copy)
        assert len(capture.samples) == len(copy)
    writer.close()


@pytest.mark.parametrize("drop", [False, True])
def test_writing_to_a_snapshot_changes_no_other_and_not_the_follower(
    tmp_path: Path, open_writer: Any, put: Any, drop: bool
) -> None:
    writer = open_writer(tmp_path)
    follower = Follower(tmp_path / "r1")
    put(writer, b"ab", 1.0)
    follower.poll()
    mine = follower.frame()
    yours = None if drop else follower.frame()
    put(writer, b"cd", 2.0)
    follower.poll()
    mine.iloc[0, 0] = 99.0
    mine.loc[0, "absolute"] = pd.Timestamp("2000-01-01", tz="UTC")
    assert mine["relative"].tolist() == [99.0]
    assert follower.frame()["relative"].tolist() == [1.0, 2.0]
    same(follower.frame(), load(tmp_path / "r1").packets)
    if yours is not None:
        same(yours, load(tmp_path / "r1").packets.iloc[:1])
    writer.close()


def test_a_frame_is_handed_out_without_a_copy(tmp_path: Path, open_writer: Any, put: Any) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    follower = Follower(tmp_path / "r1")
    follower.poll()
    before = follower.frame()["relative"].to_numpy()
    put(writer, b"cd")
    follower.poll()
    assert np.shares_memory(before, follower.frame()["relative"].to_numpy())
    writer.close()


def test_following_and_loading_give_the_same(small: Path) -> None:
    loaded, followed = load(small), follow(small)
    same(loaded.packets, followed.packets)
    assert loaded.samples.tobytes() == followed.samples.tobytes()
    assert (loaded.info, loaded.damage, loaded.path) == (
        followed.info,
        followed.damage,
        followed.path,
    )


def test_following_shows_no_audio_that_is_not_yet_committed(small: Path) -> None:
    with small.open("ab") as audio:
        audio.write(b"more, whose record is still to come")
    assert follow(small).samples.tobytes() == AUDIO


def test_info_that_comes_late_is_found(small: Path) -> None:
    follower = Follower(small)
    follower.poll()
    write_info(small.with_suffix(".json"), CaptureInfo(recording="r1", metadata={"a": "b"}))
    assert follower.capture().info.metadata == {"a": "b"}
    assert json.loads(small.with_suffix(".json").read_bytes())["metadata"] == {"a": "b"}


def test_a_follower_starts_over_when_the_capture_is_another(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    for number in range(5):
        put(writer, b"ab", relative=float(number))
    follower = Follower(tmp_path / "r1")
    assert follower.poll() == 5
    early = follower.frame()
    writer.close()
    for path in tmp_path.glob("r1.*"):
        path.unlink()
    writer = open_writer(tmp_path)
    for number in range(7):
        put(writer, b"cd", relative=100.0 + number)
    follower.poll()
    assert follower.frame()["relative"].tolist() == [100.0 + number for number in range(7)]
    assert verify(follower.capture()).empty
    assert early["relative"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    writer.close()
    os.truncate(tmp_path / "r1.idx", 64 + 3 * 64)
    follower.poll()
    assert len(follower.frame()) == 3


def test_the_last_seconds_of_records_whose_order_was_changed(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    for number in range(3):
        put(writer, bytes([number, 0]) * 10)
    writer.close()
    index = tmp_path / "r1.idx"
    data = index.read_bytes()
    index.write_bytes(data[:64] + data[192:256] + data[64:192])
    follower = Follower(tmp_path / "r1.bin")
    assert follower.poll() == 3
    last = follower.last(1.0)
    held = [last.samples[row.offset] for row in last.packets.itertuples()]
    assert held == [2, 0, 1][-len(held) :]


def test_room_for_weeks_is_made_once_and_nothing_is_lost_by_it(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MANY", 2_000)
    monkeypatch.setattr(module, "_WEEKS", 50_000)
    writer = open_writer(tmp_path)
    follower = Follower(tmp_path / "r1.bin")
    for number in range(6_000):
        put(writer, b"ab", number * 0.02)
        if number % 500 == 499:
            follower.poll()
    assert follower.frame()["relative"].tolist() == [number * 0.02 for number in range(6_000)]
    assert len(follower._columns["relative"]) == 50_000
    writer.close()
