"""One stream in one row."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.paths import DATA
from hypothesis import given
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.errors import (
    CaptureNotFound,
    InvalidAudio,
    MissingExtra,
    MissingTimestamps,
    StorageFailed,
)
from recall_lab.remote.listing import File, Stream, find_streams
from recall_lab.surveys import measures
from recall_lab.surveys.measures import (
    MEASURES,
    PASSING,
    columns_of,
    failure,
    frame_of_rows,
    key_of,
    measure_stream,
    measure_streams,
)

STREAM = Stream("/calls/9f3c.100.bin", (File(".bin", 640, ""), File(".idx", 128, "")))


def test_every_figure_of_quality_is_a_column() -> None:
    capture = rl.load(DATA / "standup-lossy.bin")
    found = rl.quality(capture)
    assert set(found.index) <= set(columns_of(["quality"]))
    assert "duration" in columns_of([])


def test_a_row_is_small_and_travels() -> None:
    rows = measure_streams(find_streams(DATA), MEASURES)
    assert [row["recording"] for row in rows] == ["standup-broken", "standup-lossy"]
    assert [row["participant"] for row in rows] == [100, None]
    data = pickle.dumps(rows)
    assert len(data) < 8000
    pd.testing.assert_frame_equal(
        frame_of_rows(pickle.loads(data), MEASURES), frame_of_rows(rows, MEASURES)
    )
    stream = find_streams(DATA)[0]
    assert len(pickle.dumps(stream)) < 1000


def test_a_name_is_that_of_the_participant() -> None:
    frame = frame_of_rows(measure_streams(find_streams(DATA), ["quality"]), ["quality"])
    for _, row in frame.iterrows():
        who = rl.load(row["source"]).info.participant
        assert row["name"] == ("" if who is None else who.name or "")


def test_checksums_count_what_verify_returns(tmp_path: Path) -> None:
    for path in DATA.glob("standup-lossy.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    streams = find_streams(tmp_path)
    (row,) = measure_streams(streams, ["checksums"])
    assert (row["damaged_packets"], row["damage"]) == (0, "")
    with (tmp_path / "standup-lossy.bin").open("r+b") as file:
        for at in (100, 50_000, 50_002):
            file.seek(at)
            file.write(b"\x55\xaa")
    (row,) = measure_streams(streams, ["checksums"])
    wrong = rl.verify(rl.load(tmp_path / "standup-lossy.bin"))
    assert row["damaged_packets"] == len(wrong) == 2
    assert row["damage"] == "2 packets with other audio than received"
    (tmp_path / "standup-lossy.idx").unlink()  # nothing says any more what it should be
    (row,) = measure_streams(find_streams(tmp_path), ["checksums"])
    assert "damaged_packets" not in row


def test_a_call_whose_audio_is_gone_lasts_as_long_as_it_did(tmp_path: Path) -> None:
    for name in ("standup-lossy.bin", "standup-lossy.idx"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    (before,) = measure_streams(find_streams(tmp_path), ["quality"])
    with (tmp_path / "standup-lossy.bin").open("r+b") as file:
        file.truncate(64_000)
    (cut,) = measure_streams(find_streams(tmp_path), ["quality"])
    (tmp_path / "standup-lossy.bin").unlink()
    (gone,) = measure_streams(find_streams(tmp_path), ["quality"])
    for row in (cut, gone):
        assert row["duration"] == pytest.approx(before["duration"], abs=0.001)
        assert row["missing_dropped_s"] > 0
    found = rl.gaps(rl.load(tmp_path / "standup-lossy.idx"))
    assert found["cause"].tolist() == ["dropped"]
    assert found["absolute"].isna().all()  # nothing that is left tells it


def test_one_measure_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: object) -> dict[str, object]:
        raise InvalidAudio("no such thing")

    capture = rl.load(DATA / "standup-lossy.bin")
    monkeypatch.setitem(measures._WORK, "quality", failing)
    row = measure_stream(STREAM, capture, MEASURES)
    assert row["error"].startswith("InvalidAudio: ")
    assert row["rms_dbfs"] < 0 < row["speech_share"] < 1
    assert "packets" not in row
    frame = frame_of_rows([row], MEASURES)
    assert pd.isna(frame["packets"].iloc[0]) and frame["rms_dbfs"].notna().all()


def test_a_capture_that_can_not_be_had() -> None:
    row = measure_stream(STREAM, CaptureNotFound("/calls/9f3c.100.bin", "gone"), MEASURES)
    assert (row["recording"], row["participant"], row["bytes"]) == ("9f3c", 100, 768)
    assert "gone" in row["error"] and row[PASSING]


def test_what_is_told_of_an_error_is_safe_and_short() -> None:
    error = InvalidAudio(f"at s3://x/?token=abc \x1b[31m\n{'x' * 1000}")
    told = failure(error, error)["error"]
    assert "abc" not in told and "token=***" in told
    assert told.isprintable() and len(told) <= 300
    assert failure() == {"error": "", PASSING: False}


def test_which_errors_may_pass() -> None:
    busy = StorageFailed("s3://x", OSError(5, "slow down"), "read")
    passing = [busy, TimeoutError(), ConnectionResetError(), MemoryError()]
    # a folder that is not mounted, rights that a chmod gives, a worker without the extra
    passing += [FileNotFoundError("no"), CaptureNotFound("/x", "no"), PermissionError("no")]
    passing += [MissingExtra("scale", "fsspec"), OSError(116, "stale file handle")]
    for error in passing:
        assert failure(ValueError("no"), error)[PASSING]
    for lasting in (ValueError("no"), InvalidAudio("no"), MissingTimestamps("x", "no times")):
        assert not failure(lasting)[PASSING]


def test_a_file_beside_that_may_not_be_read_may_be_another_time(tmp_path: Path) -> None:
    for name in ("standup-lossy.bin", "standup-lossy.idx"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    info = tmp_path / "standup-lossy.json"
    info.symlink_to(info)  # can't be opened, whoever runs the tests
    (row,) = measure_streams(find_streams(tmp_path), ["quality"])
    assert "can't be read" in row["damage"] and row[PASSING]
    info.unlink()
    info.write_text("{")
    (row,) = measure_streams(find_streams(tmp_path), ["quality"])
    assert "is damaged" in row["damage"] and not row[PASSING]


@given(st.lists(st.sampled_from(["\\", "u", "d", "c", "f", "005c", "\udcff", "\u00e9"])))
def test_each_source_has_a_text_of_its_own(parts: list[str]) -> None:
    source = "".join(parts)
    key = key_of(source)
    key.encode()
    escaped = re.compile(r"\\u(d[89a-f]..|005c)")
    assert escaped.sub(lambda found: chr(int(found[1], 16)), key) == source


def test_dtypes_are_the_same_whatever_is_in_it() -> None:
    odd = {
        "source": "a", "participant": 2**63, "gaps": -(2**63), "packets": 2**63 - 1,
        "start": 0, "bytes": 1, "name": "\udc80",
    }  # fmt: skip
    rows = [odd, {"source": "b", "bytes": 2, "start": None, "clips": np.int64(3)}]
    for some in ([], rows[:1], rows[1:], rows):
        frame = frame_of_rows(some, MEASURES)
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == columns_of(MEASURES)
        assert isinstance(frame.index, pd.RangeIndex) and len(frame) == len(some)
    assert frame["participant"].isna().all() and frame["gaps"].isna().all()
    assert frame["packets"].dropna().tolist() == [2**63 - 1]
    assert frame["start"].iloc[0] == pd.Timestamp(0, tz="UTC") and pd.isna(frame["start"].iloc[1])
    assert frame["name"].iloc[0] == "\\udc80"


def test_the_sound_of_a_row_is_about_the_sound_alone() -> None:
    (stream,) = find_streams(DATA / "standup-lossy.bin")
    lossy = rl.load(stream.source)
    row = measure_stream(stream, lossy, ["quality", "sound"])
    assert row["verdict"].startswith("poor: ")  # of what is missing
    assert row["sound"] == "good: nothing is wrong with its sound"
    swapped = rl.Capture(lossy.samples.byteswap(), lossy.packets, lossy.info)
    row = measure_stream(stream, swapped, ["quality", "sound"])
    assert row["sound"].startswith("poor: the two bytes of each sample are swapped")
    nothing = rl.Capture(lossy.samples[:0])
    assert measure_stream(stream, nothing, ["sound"])["sound"] == "empty: there is no audio"
