"""A stream being written: what is kept, what is not, and what stands after every way of dying."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import (
    HEADER_BYTES,
    RECORD,
    RECORD_BYTES,
    Flag,
    pack_header,
    pack_record,
)
from recall_lab.errors import CaptureError, CaptureLocked, InvalidArgument, StorageFailed
from recall_lab.loading import load, verify
from recall_lab.store.info_file import read_info
from recall_lab.store.writer import StreamWriter
from recall_lab.wire.messages import Participant, Ref

NEW_YEAR = 1_735_689_600_000_000_000


def index_of(directory: Path, stem: str = "r1") -> np.ndarray:
    """Return the records of an index, read without the package."""
    data = (directory / f"{stem}.idx").read_bytes()
    return np.frombuffer(data, RECORD, offset=HEADER_BYTES)


def flags_of(directory: Path) -> list[Flag]:
    return [Flag(flag) for flag in index_of(directory)["flags"].tolist()]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def put_three(put: Any, writer: StreamWriter) -> None:
    for payload in (b"aaaa", b"bb", b"cccccc"):
        put(writer, payload)


# What is written


def test_golden_files(tmp_path: Path, open_writer: Any) -> None:
    writer = open_writer(tmp_path)
    clocks = {"relative": 1.5, "absolute": 10, "received": 20, "monotonic": 30}
    writer.append(b"\x01\x00\x02\x00", **clocks, connection=4, sequence=5)
    writer.append(b"\x03\x00", **(clocks | {"relative": 2.5}), connection=4, sequence=6)
    writer.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"\x01\x00\x02\x00\x03\x00"
    assert (tmp_path / "r1.idx").read_bytes() == (
        pack_header()
        + pack_record(0, 4, 0, 1.5, 10, 20, 30, 4, 5, zlib.crc32(b"\x01\x00\x02\x00"))
        + pack_record(4, 2, 0, 2.5, 10, 20, 30, 4, 6, zlib.crc32(b"\x03\x00"))
    )
    info = json.loads((tmp_path / "r1.json").read_bytes())
    assert (info["recording"], info["format"]) == ("r1", 1)
    assert info["writer"]["pid"] == os.getpid()


def test_files_are_for_their_owner_only(tmp_path: Path, open_writer: Any, put: Any) -> None:
    before = os.umask(0)
    try:
        writer = open_writer(tmp_path)
        put(writer, b"ab")
        writer.close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"r1.bin": 0o600, "r1.idx": 0o600, "r1.json": 0o600}


def test_what_append_returned_for_is_there_without_sync_or_close(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    for count in range(1, 5):
        put(writer, bytes(4))
        assert len(index_of(tmp_path)) == writer.packets == count
        assert (tmp_path / "r1.bin").stat().st_size == writer.bytes == count * 4
    writer.close()


def test_staging_writes_nothing_until_commit(tmp_path: Path, open_writer: Any) -> None:
    writer = open_writer(tmp_path)
    for number in range(3):
        writer.stage(b"abcd", number, NEW_YEAR, NEW_YEAR, 0, 1, number)
    assert len(index_of(tmp_path)) == writer.packets == writer.bytes == 0
    assert writer.commit() == 3
    assert (writer.packets, writer.bytes, writer.dropped) == (3, 12, 0)
    assert index_of(tmp_path)["offset"].tolist() == [0, 4, 8]
    assert (tmp_path / "r1.bin").read_bytes() == b"abcd" * 3
    assert writer.commit() == 0
    writer.close()


def test_participant_streams_have_files_of_their_own(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writers = [open_writer(tmp_path, participant=who) for who in (None, 1, 2)]
    for number, writer in enumerate(writers):
        put(writer, bytes([number]) * 2)
        writer.close()
    found = {path.name: path.read_bytes() for path in tmp_path.glob("*.bin")}
    assert found == {"r1.bin": b"\0\0", "r1.1.bin": b"\1\1", "r1.2.bin": b"\2\2"}


def test_hostile_recording_id_touches_no_file(tmp_path: Path, open_writer: Any) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for recording in ("../x", "/tmp/x", "a\0", "", ".."):
        with pytest.raises(InvalidArgument):
            open_writer(inside, recording)
    assert [path.name for path in tmp_path.rglob("*")] == ["inside"]


PAYLOADS = st.lists(st.binary(max_size=9), max_size=12)


@given(PAYLOADS)
@settings(max_examples=60)
def test_bin_of_one_connection_is_what_a_plain_appender_would_have_written(
    put: Any, open_writer: Any, payloads: list[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder))
        for payload in payloads:
            put(writer, payload)
        left = writer.half_samples.pop(1, b"")
        writer.close()
        whole = b"".join(payloads)
        assert Path(folder, "r1.bin").read_bytes() + left == whole
        assert len(left) == len(whole) % 2
        capture = load(Path(folder, "r1.bin"))
        assert not capture.damage
        assert len(capture.packets) == len(payloads)
        odd = (capture.packets["flags"] & Flag.ODD != 0).tolist()
        assert odd == [len(payload) % 2 == 1 for payload in payloads]
        empty = (capture.packets["flags"] & Flag.EMPTY != 0).tolist()
        assert empty == [not payload for payload in payloads]
        assert len(verify(capture)) == 0


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.binary(max_size=7), st.booleans()),  # connection, commit?
        max_size=20,
    )
)
@settings(max_examples=60)
def test_interleaved_connections_each_stay_in_step(
    open_writer: Any, messages: list[tuple[int, bytes, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder))
        told: dict[int, int] = {}  # bytes of each connection: its packets follow one another
        stamps = []
        for number, (connection, payload, commit) in enumerate(messages):
            at = NEW_YEAR + number
            stamps.append(told.get(connection, 0) / 32_000)
            told[connection] = told.get(connection, 0) + len(payload)
            writer.stage(payload, stamps[-1], at, at + 5, number * 7, connection, number)
            if commit:
                writer.commit()
        writer.commit()
        left = {connection: writer.half_samples.pop(connection, b"") for connection in (1, 2, 3)}
        writer.close()

        capture = load(Path(folder, "r1.bin"))
        packets = capture.packets
        assert not capture.damage
        assert len(verify(capture)) == 0
        assert packets["relative"].tolist() == stamps
        assert packets["absolute"].astype("int64").tolist() == [
            NEW_YEAR + n for n in range(len(messages))
        ]
        assert packets["received"].astype("int64").tolist() == [
            NEW_YEAR + n + 5 for n in range(len(messages))
        ]
        assert packets["monotonic"].tolist() == [n * 7 for n in range(len(messages))]
        assert packets["sequence"].tolist() == list(range(len(messages)))
        assert packets["connection"].tolist() == [c for c, _, _ in messages]
        for connection in (1, 2, 3):
            mine = packets[packets["connection"] == connection]
            kept = b"".join(
                capture.samples[at : at + count].tobytes()
                for at, count in zip(mine["offset"], mine["samples"], strict=True)
            )
            sent = b"".join(payload for c, payload, _ in messages if c == connection)
            assert kept + left[connection] == sent


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2),
            st.integers(0, 2001),  # bytes
            st.sampled_from([0, 0, 0, 0.019, 0.021, 0.04, -0.019, -0.021, 3, -3]),  # s of silence
            st.booleans(),
        ),
        max_size=20,
    )
)
@settings(max_examples=100)
def test_half_a_sample_is_let_go_where_its_other_half_was_lost(
    open_writer: Any, messages: list[tuple[int, int, float, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder))
        held: dict[int, tuple[bytes, float, float]] = {}
        clock: dict[int, float] = {}
        kept, lost = [], []
        for number, (connection, size, silence, skipped) in enumerate(messages):
            payload = bytes((number + at) % 256 for at in range(size))
            start = clock.get(connection, 0.0) + silence
            clock[connection] = start + size / 32_000
            waits = held.pop(connection, (b"", start, 0.0)) if payload else (b"", start, 0.0)
            byte, end, lasts = waits  # an empty packet leaves the half where it is
            follows = abs(start - end) <= max(lasts / 2, 0.02)
            whole = byte + payload if follows else payload
            if len(whole) % 2:
                # from where this packet's own samples end, the next has to go on
                held[connection] = whole[-1:], start + len(whole) / 32_000, len(whole) / 32_000
            if skipped:  # a packet that is not kept takes its half along, and its connection stays
                writer.skip(payload, start, connection)
                continue
            writer.stage(payload, start, NEW_YEAR, NEW_YEAR, number, connection, number)
            kept.append(whole[: len(whole) // 2 * 2])
            lost.append(bool(byte) and not follows)
        writer.commit()
        left = {connection: writer.half_samples.pop(connection, b"") for connection in (1, 2)}
        writer.close()
        assert left == {one: held.get(one, (b"",))[0] for one in (1, 2)}
        assert Path(folder, "r1.bin").read_bytes() == b"".join(kept)
        assert [bool(flag & Flag.HALF_LOST) for flag in flags_of(Path(folder))] == lost
        capture = load(Path(folder, "r1.bin"))
        assert not capture.damage
        assert len(verify(capture)) == 0


def test_a_lost_half_puts_nothing_after_it_off(tmp_path: Path, open_writer: Any) -> None:
    # the packet with the other half was lost: all that follows has to stay in step
    samples = np.arange(1, 3201, dtype="<i2").tobytes()
    writer = open_writer(tmp_path)
    for number, (start, low, high) in enumerate([(0.0, 0, 2001), (0.1, 3200, 6400)]):
        writer.stage(samples[low:high], start, NEW_YEAR, NEW_YEAR, number, 1, number)
    writer.commit()
    writer.close()
    audio = np.fromfile(tmp_path / "r1.bin", "<i2")
    assert audio.tolist() == [*range(1, 1001), *range(1601, 3201)]
    assert flags_of(tmp_path) == [Flag.ODD, Flag.HALF_LOST]


# Flags


def test_odd_bytes_go_over_to_the_next_packet(tmp_path: Path, open_writer: Any, put: Any) -> None:
    writer = open_writer(tmp_path)
    for payload in (b"abc", b"d", b"ef", b"g", b"", b"hij"):
        put(writer, payload)
    writer.close()
    assert flags_of(tmp_path) == [
        Flag.ODD,
        Flag.ODD | Flag.CARRIED,
        Flag(0),
        Flag.ODD,
        Flag.EMPTY,
        Flag.ODD | Flag.CARRIED,
    ]
    assert index_of(tmp_path)["length"].tolist() == [2, 2, 2, 0, 0, 4]
    assert (tmp_path / "r1.bin").read_bytes() == b"abcdefghij"


def test_forget_returns_half_a_sample_once(tmp_path: Path, open_writer: Any, put: Any) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"abc", connection=1)
    put(writer, b"de", connection=2)
    assert writer.half_samples.pop(2, b"") == b""
    assert writer.half_samples.pop(1, b"") == b"c"
    assert writer.half_samples.pop(1, b"") == b""
    put(writer, b"fg", connection=1)
    writer.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"abdefg"


@pytest.mark.parametrize(
    ("relative", "shift_days", "told", "flag"),
    [
        (0.0, 0, 0, Flag(0)),
        (5.0, 0, 0, Flag(0)),
        (-0.5, 0, 0, Flag.BACKWARD | Flag.NEGATIVE),
        (0.0, 0, 8, Flag.ZONELESS),
        (0.0, 0, 12288, Flag.UNSTAMPED | Flag.UNREAD),
        (0.0, 0.99, 0, Flag(0)),
        (0.0, 1.01, 0, Flag.IMPLAUSIBLE),
        (0.0, -1.01, 0, Flag.IMPLAUSIBLE),
        (0.0, -0.99, 0, Flag(0)),
    ],
)
def test_what_is_odd_is_flagged(
    tmp_path: Path,
    open_writer: Any,
    put: Any,
    relative: float,
    shift_days: float,
    told: int,
    flag: Flag,
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab", 0.0)
    put(writer, b"ab", relative, shift=int(shift_days * 86_400e9), flags=told)
    writer.close()
    assert flags_of(tmp_path) == [Flag(0), flag]


def test_backward_is_against_the_packet_before_not_the_furthest(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    for relative in (1.0, 3.0, 2.0, 2.5, 2.5):
        put(writer, b"ab", relative)
    writer.close()
    backward = [Flag.BACKWARD in flag for flag in flags_of(tmp_path)]
    assert backward == [False, False, True, False, False]
    again = open_writer(tmp_path)
    put(again, b"ab", 2.4)  # before the last packet that the earlier writer kept
    again.close()
    assert Flag.BACKWARD in flags_of(tmp_path)[-1]


# The lock


def test_second_writer_in_this_process_is_told_who_holds_it(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    with pytest.raises(CaptureLocked) as caught:
        open_writer(tmp_path)
    error = caught.value
    assert f"process {os.getpid()} on " in error.holder
    assert error.path == str(tmp_path / "r1.idx")
    assert "stop that receiver, or wait" in str(error)
    put(writer, b"cd")  # the first one is not disturbed
    writer.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"abcd"


def test_another_process_is_kept_out_and_told_the_pid(tmp_path: Path, open_writer: Any) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from recall_lab.capture.info import CaptureInfo\n"
        "from recall_lab.store.writer import StreamWriter\n"
        "from recall_lab.errors import CaptureLocked\n"
        "def attempt():\n"
        "    try:\n"
        "        StreamWriter(Path(sys.argv[1]), CaptureInfo(recording='r1'), 'run-2').close()\n"
        "    except CaptureLocked as error: print(error.holder, flush=True)\n"
        "    else: print('free', flush=True)\n"
        "attempt(); sys.stdin.readline(); attempt()\n"
    )
    writer = open_writer(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        held = other.stdout.readline()
        writer.close()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "free\n"
    assert re.match(rf"process {os.getpid()} on '.+' since \d{{4}}-\d\d-\d\d [\d:]+ UTC\n", held)


def test_the_holder_is_named_though_the_json_is_gone_or_damaged(
    tmp_path: Path, open_writer: Any
) -> None:
    writer = open_writer(tmp_path)
    for text in (None, b"{", b'{"recording": "r1"}'):
        (tmp_path / "r1.json").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "r1.json").write_bytes(text)
        with pytest.raises(CaptureLocked, match="another process"):
            open_writer(tmp_path)
    writer.close()


def test_readers_in_this_process_do_not_drop_the_lock(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    # with POSIX locks, closing any descriptor of the file would
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    load(tmp_path / "r1.bin")
    with (tmp_path / "r1.idx").open("r+b"):
        pass
    with pytest.raises(CaptureLocked):
        open_writer(tmp_path)
    with pytest.raises(CaptureLocked):  # nor does a writer that was refused
        open_writer(tmp_path)
    writer.close()
    open_writer(tmp_path).close()


def test_other_streams_are_not_locked(tmp_path: Path, open_writer: Any) -> None:
    writers = [
        open_writer(tmp_path, recording, who) for recording in ("r1", "r2") for who in (None, 1)
    ]
    for writer in writers:
        writer.close()


def test_a_writer_that_is_refused_leaks_no_descriptor(tmp_path: Path, open_writer: Any) -> None:
    writer = open_writer(tmp_path)
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(CaptureLocked):
            open_writer(tmp_path)
    assert open_descriptors() == before
    writer.close()
    assert open_descriptors() == before - 2


# Closing and going on


def test_close_notes_the_end_and_may_be_called_twice(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    before = time.time_ns()
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    writer.close()
    writer.sync()  # nothing left to sync, and no error
    info, _ = read_info(tmp_path / "r1.json")
    assert info is not None
    assert info.writer is not None
    assert info.writer.closed is not None
    assert before <= info.created <= info.writer.since <= info.writer.closed <= time.time_ns()
    assert (info.writer.pid, info.writer.receiver) == (os.getpid(), "run-1")
    assert writer.synced == writer.packets == 1


def test_going_on_after_close(tmp_path: Path, open_writer: Any, put: Any) -> None:
    first = open_writer(tmp_path)
    assert (first.packets, first.bytes, first.last_connection) == (0, 0, 0)
    put(first, b"aaaa", connection=1)
    put(first, b"bb", connection=7)
    put(first, b"cc", connection=3)
    first.close()
    second = open_writer(tmp_path, receiver="run-2")
    assert (second.packets, second.bytes, second.last_connection) == (3, 8, 7)
    put(second, b"dd", connection=8)
    put(second, b"ee", connection=8)
    second.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"aaaabbccddee"
    assert index_of(tmp_path)["offset"].tolist() == [0, 4, 6, 8, 10]
    assert [Flag.RESUMED in flag for flag in flags_of(tmp_path)] == [False] * 3 + [True, False]


def test_the_same_receiver_going_on_is_no_interruption(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    for _ in range(2):  # it closes idle streams and opens them again
        writer = open_writer(tmp_path, receiver="run-1")
        put(writer, b"ab")
        writer.close()
    assert flags_of(tmp_path) == [Flag(0), Flag(0)]


def test_a_new_receiver_on_an_empty_capture_is_no_interruption(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    open_writer(tmp_path).close()
    writer = open_writer(tmp_path, receiver="run-2")
    put(writer, b"ab")
    writer.close()
    assert flags_of(tmp_path) == [Flag(0)]


def test_resumed_marks_the_first_packet_that_is_kept_not_one_that_was_lost(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    again = open_writer(tmp_path, receiver="run-2")
    with disk_full_after(3), pytest.raises(StorageFailed):
        put(again, b"lost")
    put(again, b"cd")
    put(again, b"ef")
    again.close()
    assert flags_of(tmp_path) == [Flag(0), Flag.RESUMED | Flag.DROPPED, Flag(0)]


def test_only_the_first_packet_of_a_batch_is_resumed(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    again = open_writer(tmp_path, receiver="run-2")
    for number in range(3):
        again.stage(b"ab", 1.0, NEW_YEAR, NEW_YEAR, 0, 2, number)
    again.commit()
    again.close()
    assert flags_of(tmp_path) == [Flag(0), Flag.RESUMED, Flag(0), Flag(0)]


def test_what_an_earlier_info_knew_stays(tmp_path: Path) -> None:
    known = CaptureInfo(
        recording="r1",
        participant=Participant(5, "Zoë"),
        bot=Ref("b1"),
        endpoint=Ref("e1"),
        metadata={"team": "blue"},
    )
    StreamWriter(tmp_path, known, "run-1").close()
    created = json.loads((tmp_path / "r1.5.json").read_bytes())["created"]
    newer = CaptureInfo(recording="r1", participant=Participant(5), bot=Ref("b2"))
    StreamWriter(tmp_path, newer, "run-2").close()
    info, _ = read_info(tmp_path / "r1.5.json")
    assert info is not None
    assert (info.created, info.bot, info.endpoint) == (created, Ref("b2"), Ref("e1"))
    assert info.metadata == {"team": "blue"}
    assert info.writer is not None
    assert info.writer.receiver == "run-2"


@pytest.mark.parametrize("text", [None, b"", b"{", b'{"recording": "../x"}', b"\xff" * 100])
def test_missing_or_damaged_info_does_not_stop_a_writer(
    tmp_path: Path, open_writer: Any, put: Any, text: bytes | None
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    (tmp_path / "r1.json").unlink()
    if text is not None:
        (tmp_path / "r1.json").write_bytes(text)
    again = open_writer(tmp_path, receiver="run-2")
    put(again, b"cd")
    again.close()
    info, problem = read_info(tmp_path / "r1.json")
    assert problem is None
    assert info is not None
    assert info.recording == "r1"
    assert Flag.RESUMED in flags_of(tmp_path)[1]  # who wrote before is not known: say so


KILLED = """
import os, sys
from pathlib import Path
from recall_lab.capture.info import CaptureInfo
from recall_lab.store.writer import StreamWriter

# each case: which write of the third packet is the last (1 audio, 2 record), how much of it lands
real = os.pwrite
for case in sys.argv[2:]:
    which, part = map(int, case.split("-"))
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
        continue
    directory = Path(sys.argv[1], case)
    directory.mkdir()
    writer = StreamWriter(directory, CaptureInfo(recording="r1"), "run-1")
    clocks = dict(absolute=0, received=0, monotonic=0)
    for number in range(2):
        writer.append(b"abcd", relative=number, connection=number + 4, sequence=number, **clocks)
    writes = 0
    def pwrite(descriptor, data, at):
        global writes
        writes += 1
        if writes == which:
            real(descriptor, data[:part], at)
            os._exit(9)
        return real(descriptor, data, at)
    os.pwrite = pwrite
    writer.append(b"efghij", relative=2, connection=6, sequence=2, **clocks)
    os._exit(1)
"""
CASES = ["1-0", "1-1", "1-4", "1-6", "2-0", "2-1", "2-63", "2-64"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures whose writers died within an append, one folder for each moment of dying."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-c", KILLED, str(folder), *CASES], check=True, timeout=60)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_going_on_after_being_killed_within_an_append(
    killed: Path, open_writer: Any, put: Any, case: str
) -> None:
    directory = killed / case
    which, part = map(int, case.split("-"))
    committed = case == "2-64"
    before = load(directory / "r1.bin")
    assert before.packets["sequence"].tolist() == [0, 1] + [2] * committed
    assert before.damage.torn_bytes == (part % 64 if which == 2 else 0)
    landed = part if which == 1 else 6
    assert before.damage.odd_byte == (landed % 2 == 1)
    orphaned = 0 if committed else landed // 2
    assert before.damage.orphan_samples == orphaned

    writer = open_writer(directory, receiver="run-2")
    assert writer.packets == 2 + committed
    assert writer.last_connection == 5 + committed
    assert writer.bytes == 8 + landed + landed % 2
    put(writer, b"KLMN", 3.0, connection=9)
    writer.close()

    after = load(directory / "r1.bin")
    assert after.packets["sequence"].tolist()[:-1] == before.packets["sequence"].tolist()
    assert after.packets["connection"].tolist()[-1] == 9
    last = after.packets.iloc[-1]
    assert last["flags"] & Flag.RESUMED
    assert after.samples[last["offset"] :].tobytes() == b"KLMN"
    assert after.samples[:4].tobytes() == b"abcdabcd"
    assert after.damage.torn_bytes == 0
    assert not after.damage.odd_byte
    assert len(verify(after)) == 0


# Repair on opening


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("r1.[bi]*")}


@pytest.mark.parametrize("tail", [0, 1, 32, 63])
@pytest.mark.parametrize("extra", [b"", b"x", b"orphan"])
def test_repair_twice_gives_the_same_bytes(
    tmp_path: Path, open_writer: Any, put: Any, tail: int, extra: bytes
) -> None:
    writer = open_writer(tmp_path)
    put_three(put, writer)
    writer.close()
    whole = contents(tmp_path)
    with (tmp_path / "r1.idx").open("ab") as index, (tmp_path / "r1.bin").open("ab") as audio:
        index.write(b"\x55" * tail)
        audio.write(extra)
    open_writer(tmp_path).close()
    once = contents(tmp_path)
    assert once["r1.idx"] == whole["r1.idx"]  # the torn record is gone, nothing else
    assert once["r1.bin"] == whole["r1.bin"] + extra  # audio is never cut
    open_writer(tmp_path).close()
    assert contents(tmp_path) == once


def test_audio_that_no_record_claims_is_not_written_over(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    (tmp_path / "r1.bin").write_bytes(b"orphan")
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    writer.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"orphanabcd"
    capture = load(tmp_path / "r1.bin")
    assert capture.packets["offset"].tolist() == [3]
    assert capture.damage.orphan_spans == ((0, 3),)


def test_after_an_odd_tail_packets_begin_on_a_sample(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    (tmp_path / "r1.bin").write_bytes(b"odd")
    writer = open_writer(tmp_path)
    put(writer, b"abcd")
    writer.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"odd\0abcd"
    assert load(tmp_path / "r1.bin").packets["offset"].tolist() == [2]


def test_bytes_that_a_record_claims_are_not_given_to_another_packet(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put_three(put, writer)
    writer.close()
    os.truncate(tmp_path / "r1.bin", 4)  # the audio of two packets is lost
    again = open_writer(tmp_path, receiver="run-2")
    assert again.bytes == 12
    put(again, b"dd")
    again.close()
    capture = load(tmp_path / "r1.bin")
    assert capture.packets["offset"].tolist() == [0, 2, 3, 6]
    assert verify(capture).index.tolist() == [1, 2]  # and it shows that theirs is gone


def test_a_damaged_record_in_the_middle_is_left_where_it_is(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put_three(put, writer)
    writer.close()
    data = bytearray((tmp_path / "r1.idx").read_bytes())
    data[HEADER_BYTES + RECORD_BYTES + 3] ^= 4
    (tmp_path / "r1.idx").write_bytes(data)
    again = open_writer(tmp_path, receiver="run-2")
    assert (again.packets, again.bytes) == (3, 12)
    put(again, b"dd")
    again.close()
    assert (tmp_path / "r1.idx").read_bytes()[: len(data)] == data
    capture = load(tmp_path / "r1.bin")
    assert capture.damage.damaged_records == 1
    assert capture.packets["offset"].tolist() == [0, 3, 6]


@pytest.mark.parametrize("length", [0, 1, 63])
def test_an_index_without_a_whole_header_gets_one(
    tmp_path: Path, open_writer: Any, put: Any, length: int
) -> None:
    (tmp_path / "r1.idx").write_bytes(b"\x99" * length)
    writer = open_writer(tmp_path)
    put(writer, b"ab")
    writer.close()
    assert (tmp_path / "r1.idx").read_bytes()[:HEADER_BYTES] == pack_header()
    assert not load(tmp_path / "r1.bin").damage


def test_an_index_of_another_release_is_not_touched(tmp_path: Path, open_writer: Any) -> None:
    head = pack_header()[:8] + (2).to_bytes(4, "little") + pack_header()[12:60]
    foreign = head + zlib.crc32(head).to_bytes(4, "little") + b"what we do not know" * 10
    (tmp_path / "r1.idx").write_bytes(foreign)
    (tmp_path / "r1.bin").write_bytes(b"abc")
    with pytest.raises(CaptureError, match=r"r1\.idx can't be appended to: .* version 2"):
        open_writer(tmp_path)
    assert (tmp_path / "r1.idx").read_bytes() == foreign
    assert (tmp_path / "r1.bin").read_bytes() == b"abc"
    with pytest.raises(CaptureError, match="version 2"):  # and the lock was let go
        open_writer(tmp_path)


def test_a_damaged_header_does_not_cost_the_records(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put_three(put, writer)
    writer.close()
    data = bytearray((tmp_path / "r1.idx").read_bytes())
    data[9] ^= 0xFF
    (tmp_path / "r1.idx").write_bytes(data)
    again = open_writer(tmp_path, receiver="run-2")
    put(again, b"dd")
    again.close()
    capture = load(tmp_path / "r1.bin")
    assert capture.packets["offset"].tolist() == [0, 2, 3, 6]
    assert capture.damage.notes == ("the header is damaged",)


# Files that are not what they should be


@pytest.mark.parametrize("suffix", ["idx", "bin"])
def test_a_link_in_place_of_a_file_is_refused(
    tmp_path: Path, open_writer: Any, suffix: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / f"r1.{suffix}"
    link.symlink_to(victim)
    with pytest.raises(StorageFailed) as caught:
        open_writer(tmp_path)
    assert caught.value.errno == errno.ELOOP
    assert caught.value.path == str(link)
    assert victim.read_text() == "precious"
    link.unlink()
    link.symlink_to(tmp_path / "not there")  # nor is a file made through one
    with pytest.raises(StorageFailed):
        open_writer(tmp_path)
    assert not (tmp_path / "not there").exists()


@pytest.mark.parametrize("suffix", ["idx", "bin"])
def test_a_folder_in_place_of_a_file_is_refused(
    tmp_path: Path, open_writer: Any, suffix: str
) -> None:
    (tmp_path / f"r1.{suffix}").mkdir()
    with pytest.raises(StorageFailed, match="Is a directory") as caught:
        open_writer(tmp_path)
    assert caught.value.path == str(tmp_path / f"r1.{suffix}")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, open_writer: Any) -> None:
    with pytest.raises(StorageFailed, match="No such file or directory") as caught:
        open_writer(tmp_path / "gone")
    assert isinstance(caught.value, OSError)
    assert caught.value.path == str(tmp_path / "gone" / "r1.idx")


# A disk that fails


@contextmanager
def disk_full_after(room: int) -> Iterator[None]:
    """Let `room` more bytes be written, the last of them as a short write; then no more."""
    real = os.pwrite
    left = room

    def pwrite(descriptor: int, data: bytes, at: int) -> int:
        nonlocal left
        if data and not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = real(descriptor, data[:left], at)
        left -= done
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        yield


@pytest.mark.parametrize("room", range(6 + RECORD_BYTES))
def test_disk_full_at_every_byte_of_a_packet(
    tmp_path: Path, open_writer: Any, put: Any, room: int
) -> None:
    writer = open_writer(tmp_path)
    put_three(put, writer)
    whole = contents(tmp_path)
    with disk_full_after(room), pytest.raises(StorageFailed) as caught:
        put(writer, b"dddddd")
    assert caught.value.errno == errno.ENOSPC
    assert "No space left" in str(caught.value)
    assert caught.value.path.endswith(".bin" if room < 6 else ".idx")
    assert contents(tmp_path) == whole  # cut back to what was committed
    assert (writer.packets, writer.bytes, writer.dropped) == (3, 12, 1)
    put(writer, b"ee")  # and there is room again
    assert writer.dropped == 0
    writer.close()
    capture = load(tmp_path / "r1.bin")
    assert not capture.damage
    assert capture.samples.tobytes() == b"aaaabbccccccee"
    assert len(verify(capture)) == 0


def test_disk_full_within_a_batch_keeps_what_is_whole_and_nothing_else(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put_three(put, writer)
    whole = contents(tmp_path)
    for number in range(4):
        writer.stage(b"lost", 1.0, NEW_YEAR, NEW_YEAR, 0, 1, number)
    with disk_full_after(16 + 2 * RECORD_BYTES + 5), pytest.raises(StorageFailed):
        writer.commit()
    assert writer.dropped == 2
    part = contents(tmp_path)
    # records that are whole may have been read by a follower: they are not taken back
    assert writer.packets == 5
    assert len(part["r1.bin"]) == len(whole["r1.bin"]) + 8
    assert len(part["r1.idx"]) == len(whole["r1.idx"]) + 2 * RECORD_BYTES
    assert writer.commit() == 0  # it is not tried again
    assert contents(tmp_path) == part
    writer.close()
    capture = load(tmp_path / "r1.bin")
    assert not capture.damage
    assert verify(capture).empty


@pytest.mark.parametrize("step", [1, 2, 7])
def test_short_writes_are_completed(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    writer = open_writer(tmp_path)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:step], at))
    put_three(put, writer)
    writer.close()
    capture = load(tmp_path / "r1.bin")
    assert not capture.damage
    assert capture.samples.tobytes() == b"aaaabbcccccc"
    assert len(verify(capture)) == 0


@pytest.mark.parametrize("limit", [100, 1_001, 1_030])
def test_a_real_limit_of_the_file_size(
    tmp_path: Path, open_writer: Any, put: Any, limit: int
) -> None:
    # the kernel writes up to the limit, short, and refuses the rest
    writer = open_writer(tmp_path)
    kept = 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageFailed) as caught:
            for _ in range(1_000):
                put(writer, bytes(range(40)))
                kept += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert contents(tmp_path) == {
        "r1.bin": bytes(range(40)) * kept,
        "r1.idx": (tmp_path / "r1.idx").read_bytes()[: HEADER_BYTES + kept * RECORD_BYTES],
    }
    put(writer, b"abcd")
    writer.close()
    capture = load(tmp_path / "r1.bin")
    assert not capture.damage
    assert len(capture.packets) == kept + 1


def test_a_lost_packet_does_not_put_its_connection_out_of_step(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"aab", connection=1)  # b is the first half of a sample
    put(writer, b"AAB", connection=2)
    with disk_full_after(1), pytest.raises(StorageFailed):
        put(writer, b"bcc" + b"d", connection=1)  # lost; d is the first half of the next sample
    put(writer, b"dee" + b"f", connection=1)
    put(writer, b"B", connection=2)  # had nothing to do with it
    assert writer.half_samples.pop(1, b"") == b"f"
    writer.close()
    assert (tmp_path / "r1.bin").read_bytes() == b"aa" + b"AA" + b"ddee" + b"BB"
    assert len(verify(load(tmp_path / "r1.bin"))) == 0


def test_no_room_for_the_header(tmp_path: Path, open_writer: Any) -> None:
    with disk_full_after(10), pytest.raises(StorageFailed) as caught:
        open_writer(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    writer = open_writer(tmp_path)  # neither locked nor spoilt
    writer.close()
    assert (tmp_path / "r1.idx").read_bytes() == pack_header()


def test_no_room_for_the_info_when_closing_still_lets_go(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "r1.json"))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageFailed, match="No space left") as caught:
        writer.close()
    assert caught.value.path == str(tmp_path / "r1.json")
    monkeypatch.undo()
    open_writer(tmp_path).close()
    assert load(tmp_path / "r1.bin").samples.tobytes() == b"ab"


# Making it durable


def test_sync_flushes_audio_before_index_and_counts(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    flushed: list[str] = []
    for name in ("fdatasync", "fsync"):
        real = getattr(os, name)

        def note(descriptor: int, real: Any = real) -> None:
            flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            real(descriptor)

        monkeypatch.setattr(os, name, note)
    put(writer, b"ab")
    put(writer, b"cd")
    assert writer.synced == 0
    writer.sync()
    assert writer.synced == 2
    assert flushed == ["r1.bin", "r1.idx", "r1.json", tmp_path.name]
    flushed.clear()
    put(writer, b"ef")
    writer.sync()
    assert writer.synced == 3
    assert flushed == ["r1.bin", "r1.idx"]  # the names are durable already
    writer.close()
    assert tmp_path.name in flushed  # close has replaced the info


def test_a_sync_that_fails_makes_nothing_durable(
    tmp_path: Path, open_writer: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    put(writer, b"ab")

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()
    assert writer.synced == 0
    monkeypatch.undo()
    writer.close()
    assert writer.synced == 1


def test_sync_from_another_thread_while_appending_and_closing(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    writer = open_writer(tmp_path)
    stop = threading.Event()
    errors: list[BaseException] = []

    def keep_syncing() -> None:
        try:
            while not stop.is_set():
                writer.sync()
        except BaseException as error:  # told below
            errors.append(error)

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    for number in range(300):
        put(writer, number.to_bytes(2, "little"))
    writer.close()
    stop.set()
    thread.join()
    assert errors == []
    assert load(tmp_path / "r1.bin").samples.tolist() == list(range(300))


def test_many_streams_of_one_process_do_not_mix(tmp_path: Path, open_writer: Any, put: Any) -> None:
    writers = [open_writer(tmp_path, f"r{number}") for number in range(20)]
    for turn, (number, writer) in itertools.product(range(5), enumerate(writers)):
        put(writer, bytes([number, turn]))
    for number, writer in enumerate(writers):
        writer.close()
        expected = b"".join(bytes([number, turn]) for turn in range(5))
        assert (tmp_path / f"r{number}.bin").read_bytes() == expected
