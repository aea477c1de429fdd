"""A stream being read: whole, torn, damaged in every place, or still being written."""

from __future__ import annotations

import itertools
import json
import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import standup
from helpers.builders import AUDIO, PAYLOADS, follow, same
from hypothesis import given, settings
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.capture.frame import check_frame
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES, pack_record
from recall_lab.errors import CaptureNotFound, InvalidArgument
from recall_lab.loading import load, load_recording, verify
from recall_lab.remote.filesystem import filesystem_of
from recall_lab.store.follower import Follower
from recall_lab.store.reader import last_connection, map_samples, release

LENGTHS = [4, 0, 2, 4, 8]  # as kept: half a sample goes over from the third to the fourth
ENDS = list(itertools.accumulate(LENGTHS))


def offsets(capture: Any) -> list[int]:
    return capture.packets["offset"].tolist()


# Whole captures


@pytest.mark.parametrize("name", ["r1.bin", "r1.idx", "r1.json", "r1"])
@pytest.mark.parametrize("kind", [Path, str])
def test_any_of_the_names_loads_it(small: Path, name: str, kind: type) -> None:
    capture = load(kind(small.with_name(name)))
    assert capture.path == small
    assert capture.samples.tobytes() == AUDIO
    assert (capture.packets["samples"] * 2).tolist() == LENGTHS
    assert not capture.damage
    assert capture.info.recording == "r1"
    check_frame(capture.packets)


def test_a_participants_stream_loads_by_each_name(
    tmp_path: Path, open_writer: Any, put: Any
) -> None:
    for participant in (None, 7):
        writer = open_writer(tmp_path, participant=participant)
        put(writer, b"mixd" if participant is None else b"sepa")
        writer.close()
    for name in ("r1.7", "r1.7.bin", "r1.7.idx", "r1.7.json"):
        assert load(tmp_path / name).samples.tobytes() == b"sepa"
    for name in ("r1", "r1.bin"):
        assert load(tmp_path / name).samples.tobytes() == b"mixd"


def test_audio_is_mapped_and_read_only(small: Path) -> None:
    samples = load(small).samples
    owner: object = samples
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, memoryview)
    assert isinstance(owner.obj, mmap.mmap)
    before = samples.copy()
    release(samples)
    assert np.array_equal(samples, before)
    release(before)  # nothing mapped: nothing to do
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        samples.flags.writeable = True


def test_loading_never_changes_a_file(small: Path) -> None:
    with small.with_suffix(".idx").open("ab") as index:
        index.write(b"torn")
    small.with_suffix(".json").write_bytes(b"{")

    def state() -> dict[str, tuple[bytes, int, int]]:
        return {
            path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
            for path in small.parent.iterdir()
        }

    before = state()
    capture = load(small)
    verify(capture)
    repr(capture)
    follower = Follower(small)
    follower.poll()
    follower.capture()
    assert state() == before


def test_a_capture_without_packets_loads(tmp_path: Path, open_writer: Any) -> None:
    open_writer(tmp_path).close()
    capture = load(tmp_path / "r1.bin")
    assert (len(capture.packets), capture.duration, bool(capture.damage)) == (0, 0.0, False)
    check_frame(capture.packets)


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=8),
            st.floats(-1e9, 1e9),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 - 1),
        ),
        max_size=8,
    )
)
@settings(max_examples=50)
def test_every_clock_comes_back_as_it_was(open_writer: Any, rows: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder))
        for row in rows:
            writer.stage(*row)
        writer.commit()
        writer.close()
        packets = load(Path(folder, "r1.bin")).packets
    names = ["relative", "absolute", "received", "monotonic", "connection", "sequence"]
    for position, name in enumerate(names, start=1):
        column = packets[name]
        values = column.array.asi8 if isinstance(column.dtype, pd.DatetimeTZDtype) else column
        assert list(values) == [row[position] for row in rows], name


# What is not there


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("other.bin", "the folder has r1.bin"),
        ("other", "the folder has r1.bin"),
        ("gone/r1.bin", "the folder has no .bin files"),
        ("r1.bin/x", "the folder has no .bin files"),
        ("", "that is a folder; name one of the .bin files in it"),
        ("a\0b", "the folder has r1.bin"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(small: Path, name: str, hint: str) -> None:
    path = small.parent / name
    with pytest.raises(CaptureNotFound) as caught:
        load(path)
    assert str(caught.value) == f"no capture at {str(path)!r}: {hint}"
    assert caught.value.path == str(path)
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("path", [".", "/", "", ".."])
def test_a_folder_without_a_name_is_told_as_a_folder(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptureNotFound, match="that is a folder"):
        load(path)


def test_a_long_folder_is_not_listed_whole(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"r{number:02}.bin").touch()
    with pytest.raises(CaptureNotFound) as caught:
        load(tmp_path / "other.bin")
    assert str(caught.value).count(".bin") == 1 + 5


# Parts of a capture


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", b"abcd" * 100])
def test_a_bare_bin_loads(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "9f3c.100.bin"
    path.write_bytes(data)
    capture = load(path)
    assert capture.samples.tobytes() == data[: len(data) // 2 * 2]
    assert capture.damage.odd_byte == (len(data) % 2 == 1)
    assert len(capture.packets) == 0
    assert (capture.info.recording, capture.info.stem) == ("9f3c", "9f3c.100")
    assert capture.span == (0.0, capture.duration)


@pytest.mark.parametrize("name", ["my talk.bin", "talk.pcm", "talk.raw", "a.b.c.bin"])
def test_raw_pcm_under_any_name_loads(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"abcd")
    capture = load(tmp_path / name)
    assert capture.samples.tobytes() == b"abcd"
    assert repr(capture) == "<Capture unnamed, audio: 0:00:00.000, packets: no index>" or (
        capture.info.recording == "talk"
    )


def test_without_the_bin_every_record_misses_its_audio(small: Path) -> None:
    small.unlink()
    capture = load(small)
    assert capture.samples.size == 0
    # the empty packet has no audio to miss, but it stands where there is nothing any more
    assert capture.damage.missing_payloads == 5
    assert len(capture.packets) == 0
    assert str(capture.damage) == "5 records without their audio"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"null", b"\xff\xfe", b'{"recording": "../../etc/passwd"}', b"[" * 10_000]
)
def test_damaged_info_falls_back_to_the_name(small: Path, text: bytes) -> None:
    small.with_suffix(".json").write_bytes(text)
    for capture in (load(small), follow(small)):
        assert capture.info == CaptureInfo(recording="r1")
        assert capture.samples.tobytes() == AUDIO
        (note,) = capture.damage.notes
        assert note.startswith("r1.json is damaged (")
        assert "r1.json is damaged" in repr(capture)


def test_missing_info_falls_back_to_the_name_without_a_complaint(small: Path) -> None:
    small.with_suffix(".json").unlink()
    capture = load(small)
    assert capture.info == CaptureInfo(recording="r1")
    assert not capture.damage


def test_a_renamed_capture_keeps_its_ids(small: Path) -> None:
    for suffix in (".bin", ".idx", ".json"):
        small.with_suffix(suffix).rename(small.with_name(f"friday standup{suffix}"))
    capture = load(small.with_name("friday standup.bin"))
    assert capture.info.recording == "r1"
    assert (capture.packets["samples"] * 2).tolist() == LENGTHS


# Truncation and damage, everywhere


def test_index_truncated_at_every_byte(small: Path) -> None:
    whole = load(small).packets.copy()
    index = small.with_suffix(".idx")
    data = index.read_bytes()
    for length in range(len(data) + 1):
        index.write_bytes(data[:length])
        capture = load(small)
        left = max(0, length - HEADER_BYTES) // RECORD_BYTES
        same(capture.packets, whole.iloc[:left])
        assert capture.samples.tobytes() == AUDIO
        damage = capture.damage
        assert damage.torn_bytes == max(0, length - HEADER_BYTES) % RECORD_BYTES
        assert damage.damaged_records == damage.missing_payloads == 0
        claimed = ENDS[left - 1] // 2 if left else 0
        assert damage.orphan_spans == (((claimed, len(AUDIO) // 2),) if claimed < 9 else ())
        cut = f"the header is cut off after {length} of 64 bytes"
        assert damage.notes == ((cut,) if length < HEADER_BYTES else ())
        assert bool(damage) == (length < len(data))
        same(follow(small).packets, whole.iloc[:left])


def test_audio_truncated_at_every_byte(small: Path) -> None:
    whole = load(small).packets.copy()
    for length in range(len(AUDIO) + 1):
        small.write_bytes(AUDIO[:length])
        for capture in (load(small), follow(small)):
            kept = sum(end <= length // 2 * 2 for end in ENDS)
            same(capture.packets, whole.iloc[:kept])
            damage = capture.damage
            assert damage.missing_payloads == 5 - kept
            assert damage.odd_byte == (length % 2 == 1)
            assert bool(damage) == (length < len(AUDIO))
            assert len(verify(capture)) == 0
        orphaned = length // 2 - (ENDS[kept - 1] // 2 if kept else 0)
        assert load(small).damage.orphan_samples == orphaned
        assert load(small).samples.tobytes() == AUDIO[: length // 2 * 2]


@given(st.integers(0, 64 * 6), st.integers(0, len(AUDIO)))
@settings(max_examples=60)
def test_both_truncated_anywhere_invent_nothing(
    open_writer: Any, put: Any, index_length: int, audio_length: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "r1.bin")
        writer = open_writer(path.parent)
        for payload in PAYLOADS:
            put(writer, payload)
        writer.close()
        whole = load(path).packets.copy()
        os.truncate(path, audio_length)
        os.truncate(path.with_suffix(".idx"), index_length)
        capture = load(path)
        kept = len(capture.packets)
        same(capture.packets, whole.iloc[:kept])
        records = max(0, index_length - HEADER_BYTES) // RECORD_BYTES
        assert kept + capture.damage.missing_payloads == records
        assert len(verify(capture)) == 0
        assert capture.samples.tobytes() == AUDIO[: audio_length // 2 * 2]


def test_one_flipped_bit_anywhere_in_the_index_costs_one_record_at_most(small: Path) -> None:
    whole = load(small).packets.copy()
    index = small.with_suffix(".idx")
    data = index.read_bytes()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        index.write_bytes(flipped)
        capture = load(small)
        if at < HEADER_BYTES:
            same(capture.packets, whole)
            assert capture.damage.notes == ("the header is damaged",)
            assert capture.damage.damaged_records == 0
            continue
        lost = (at - HEADER_BYTES) // RECORD_BYTES
        same(capture.packets, whole.drop(index=lost).reset_index(drop=True).rename_axis("packet"))
        assert capture.damage.damaged_records == 1
        assert capture.damage.orphan_samples == LENGTHS[lost] // 2
        assert capture.samples.tobytes() == AUDIO


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12), st.integers(0, 3))
@settings(max_examples=60)
def test_orphans_are_exactly_the_samples_that_no_record_claims(
    packets: list[tuple[int, bool]], tail: int
) -> None:
    index, at, claimed = bytearray(64), 0, []
    for samples, damaged in packets:
        record = bytearray(pack_record(at * 2, samples * 2, 0, 0.0, 0, 0, 0, 1, 0, 0))
        record[20] ^= damaged
        index += record
        claimed += [not damaged] * samples
        at += samples
    claimed += [False] * tail
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "r1.idx").write_bytes(index)
        Path(folder, "r1.bin").write_bytes(bytes(len(claimed) * 2))
        damage = load(Path(folder, "r1")).damage
    found = np.ones(len(claimed), bool)
    for start, end in damage.orphan_spans:
        assert start < end
        assert found[start:end].all()  # no span twice
        found[start:end] = False
    assert found.tolist() == claimed
    starts = [start for start, _ in damage.orphan_spans]
    assert starts == sorted(starts)
    assert damage.orphan_samples == claimed.count(False)
    assert damage.damaged_records == sum(damaged for _, damaged in packets)


def test_zeros_where_records_should_be_are_not_packets(small: Path) -> None:
    with small.with_suffix(".idx").open("ab") as index:
        index.write(bytes(10 * RECORD_BYTES + 7))
    capture = load(small)
    assert len(capture.packets) == 5
    assert capture.damage.damaged_records == 10
    assert capture.damage.torn_bytes == 7


@pytest.mark.parametrize("noise", range(5))
def test_an_index_of_noise_loads(small: Path, noise: int) -> None:
    data = np.random.default_rng(noise).bytes(64 * 40 + noise)
    small.with_suffix(".idx").write_bytes(data)
    capture = load(small)
    assert len(capture.packets) == 0
    assert capture.damage.damaged_records == 39
    assert capture.samples.tobytes() == AUDIO


def test_damage_says_what_in_words(small: Path) -> None:
    data = bytearray(small.with_suffix(".idx").read_bytes())
    data[HEADER_BYTES] ^= 1
    small.with_suffix(".idx").write_bytes(data + b"12345")
    small.write_bytes(AUDIO[:-1])
    small.with_suffix(".json").write_bytes(b"{}")
    assert str(load(small).damage).startswith(
        "5 bytes of a torn record; 1 damaged record; 1 record without its audio; "
        "5 samples that no record claims; half a sample at the end; r1.json is damaged ("
    )


def test_verify_finds_every_changed_byte_of_audio(small: Path) -> None:
    assert len(verify(load(small))) == 0
    for at in range(len(AUDIO)):
        data = bytearray(AUDIO)
        data[at] ^= 0x40
        small.write_bytes(data)
        wrong = verify(load(small))
        assert wrong.index.tolist() == [next(i for i, end in enumerate(ENDS) if at < end)], at


def test_verify_passes_over_what_slice_has_cut(small: Path) -> None:
    capture = load(small).slice(1 / 16_000, 3 / 16_000)
    assert 0 < len(capture.packets) < 5
    assert len(verify(capture)) == 0


def test_verify_of_a_bare_bin_has_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "r1.bin").write_bytes(b"abcd")
    assert len(verify(load(tmp_path / "r1.bin"))) == 0


def test_last_connection_is_the_highest(tmp_path: Path, open_writer: Any, put: Any) -> None:
    assert last_connection(tmp_path / "r1.idx") == 0
    writer = open_writer(tmp_path)
    assert last_connection(tmp_path / "r1.idx") == 0
    for connection in (1, 9, 4):
        put(writer, b"ab", connection=connection)
    writer.close()
    assert last_connection(tmp_path / "r1.idx") == 9


@pytest.mark.parametrize(("size", "count", "odd"), [(0, 0, False), (1, 0, True), (5, 2, True)])
def test_samples_of_a_file(tmp_path: Path, size: int, count: int, odd: bool) -> None:
    assert map_samples(tmp_path / "gone.bin")[0].size == 0
    (tmp_path / "x.bin").write_bytes(bytes(size))
    samples, half = map_samples(tmp_path / "x.bin")
    assert (len(samples), half) == (count, odd)


def test_events_alone_are_a_recording(tmp_path: Path) -> None:
    lines = [
        standup.about("join", 100, 0.0),
        standup.words(100, ("hello", 1.0, 1.5)),
        standup.about("chat_message", 101, 3.0, data={"text": "hi", "to": "everyone"}),
    ]
    journal = tmp_path / "call.events.jsonl"
    journal.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    fs, _ = filesystem_of("memory://x")
    fs.pipe("/events-alone/call.events.jsonl", journal.read_bytes())
    for source in (tmp_path / "call", journal, "memory://events-alone/call",
                   "memory://events-alone/call.events.jsonl"):  # fmt: skip
        (only,) = load_recording(source)
        assert (only.info.recording, len(only.samples), len(only.packets)) == ("call", 0, 0)
        assert rl.participants([only])["name"].tolist() == ["Alice", "Bob"]
        assert rl.transcript([only])["text"].tolist() == ["hello"]
        assert rl.chat([only])["text"].tolist() == ["hi"]
        assert rl.plot_speakers([only], words=True).get_title(loc="left").startswith("call: ")
        plt.close("all")
        with pytest.raises(InvalidArgument, match="where there are no packets"):
            rl.plot_speakers([only], clock="absolute")
    for missing in (tmp_path / "nobody", "memory://events-alone/nobody"):
        with pytest.raises(CaptureNotFound):
            load_recording(missing)


@pytest.mark.parametrize("wrong", [None, 5, ["a.bin"]])
def test_what_is_no_path_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidArgument, match="expected a path or URL"):
        load(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="expected a capture, or the path of one"):
        verify(wrong)  # type: ignore[arg-type]


def test_a_path_is_loaded_and_verified(root: Path) -> None:
    assert verify(root / "data/standup-lossy.bin").empty
