"""The journal read back: what the receiver wrote, and what nobody should have."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from recall_lab.capture.capture import Capture
from recall_lab.capture.events import STALLED, no_events, payload_of
from recall_lab.errors import CaptureNotFound
from recall_lab.loading import load, load_recording
from recall_lab.store.journal import Journal, read_events


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("r1", "connected", connection=1, peer="p", receiver="run-1")
    left = {
        "event": "participant_events.leave",
        "data": {"data": {"participant": {"id": 7}, "timestamp": {"relative": 12.5}}},
    }
    journal.write("r1", "event", connection=1, event=left["event"], message=left)
    journal.write(None, STALLED, seconds=0.75)
    journal.write(None, "rejected", reason="json")
    journal.write("r1", "disconnected", connection=1, code=1006)
    journal.write("r2", "connected", connection=1)
    found = read_events(tmp_path / "r1.100.bin")
    assert found["kind"].tolist() == ["connected", "event", STALLED, "disconnected"]
    assert found["received"].is_monotonic_increasing
    assert found["receiver"][0] == "run-1"
    assert (found["participant"][1], found["relative"][1]) == (7, 12.5)
    assert found["event"][1] == "participant_events.leave"
    assert found["seconds"][2] == 0.75
    assert found["detail"][3]["code"] == 1006
    assert found["connection"].isna().tolist() == [False, False, True, False]
    assert found.dtypes.to_dict() == no_events().dtypes.to_dict()


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"kind":',
    ],
)  # fmt: skip
def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path, line: bytes) -> None:
    good = b'{"kind":"connected","connection":3}\n'
    (tmp_path / "r1.events.jsonl").write_bytes(good + line + b"\n" + good)
    assert read_events(tmp_path / "r1.bin")["connection"].tolist() == [3, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"connection": "one"}, {"connection": 2**70}, {"connection": True}, {"received": -1},
        {"received": 2**80}, {"received": "now"}, {"monotonic": None}, {"seconds": "long"},
        {"seconds": 10**400}, {"message": 3}, {"message": {"data": []}}, {"receiver": {"a": 1}},
        {"message": {"data": {"data": {"participant": 5, "timestamp": {"relative": "x"}}}}},
        {"message": {"data": {"data": {"participant": {"id": 1.5}, "timestamp": 3}}}},
        {"kind": None}, {"event": []}, {"received": -(2**63)}, {"kind": 10**300},
        {"receiver": [[[[[]]]]]},
    ],
)  # fmt: skip
def test_fields_of_any_kind_are_taken(tmp_path: Path, fields: dict[str, object]) -> None:
    line = {"kind": "event", "received": 5, "monotonic": 5, **fields}
    (tmp_path / "r1.events.jsonl").write_text(json.dumps(line) + "\n")
    found = read_events(tmp_path / "r1.bin")
    assert len(found) == 1
    assert found.dtypes.to_dict() == no_events().dtypes.to_dict()


def test_without_a_journal_or_a_name_of_ours_there_are_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "r1.bin").empty
    assert read_events(tmp_path / "no name of ours.bin").empty


def test_a_capture_reads_its_events_when_asked_and_its_parts_have_them_too(root: Path) -> None:
    capture = load(root / "data/standup-broken.100.bin")
    assert capture.events["kind"].tolist().count("connected") == 2
    pd.testing.assert_frame_equal(capture.slice(25, 30).events, capture.events)
    mine = capture.events
    mine["kind"] = "mine"
    assert "mine" not in set(capture.events["kind"])
    assert Capture(np.empty(0, np.int16)).events.empty


def test_all_streams_of_a_recording(tmp_path: Path) -> None:
    for name in ("r1", "r1.7", "r1.100", "r12", "other"):
        (tmp_path / f"{name}.bin").write_bytes(bytes(320))
    (tmp_path / "r1.events.jsonl").write_text("{}\n")
    for given in ("r1", "r1.bin", "r1.100", "r1.7.bin", "r1.events.jsonl"):
        found = load_recording(tmp_path / given)
        assert [one.info.stem for one in found] == ["r1", "r1.7", "r1.100"], given
    for wrong in ("r3", "not a name.bin", "."):
        with pytest.raises(CaptureNotFound):
            load_recording(tmp_path / wrong)


def test_a_transcript_was_when_its_first_word_was(tmp_path: Path) -> None:
    def said(*words: object, **more: object) -> str:
        payload = {"words": words, "participant": {"id": 7}, **more}
        message = {"event": "transcript.data", "data": {"data": payload}}
        line = {"kind": "event", "received": 5, "event": "transcript.data", "message": message}
        return json.dumps(line) + "\n"

    one = {"text": "one", "start_timestamp": {"relative": 3.5}, "end_timestamp": None}
    two = {"text": "two", "start_timestamp": {"relative": 4.5}}
    lines = [
        said(one, two), said({"text": "?"}, two), said(one, timestamp={"relative": 9.0}),
        said(), said(3, None, [], {"start_timestamp": 3}),
        said({"start_timestamp": {"relative": "soon"}}, {"start_timestamp": {"relative": 10**400}}),
    ]  # fmt: skip
    (tmp_path / "r1.events.jsonl").write_text("".join(lines))
    found = read_events(tmp_path / "r1.bin")
    expected = [3.5, 4.5, 9.0, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(found["relative"], expected)
    assert found["participant"].tolist() == [7] * 6
    assert payload_of(found["detail"][0])["words"][0]["text"] == "one"
    for line in (None, [], {}, {"message": []}, {"message": {"data": {"data": 3}}}):
        assert payload_of(line) == {}


def test_an_id_of_63_bits_is_read_to_the_last_digit(tmp_path: Path) -> None:
    ids = [2**63 - 1, 2**53 + 1, None, 7]
    lines = [
        {"kind": "event", "received": 1, "monotonic": 1, "event": "participant_events.join",
         "message": {"data": {"data": {"participant": {"id": id_}}}}}
        for id_ in ids
    ]  # fmt: skip
    (tmp_path / "r1.events.jsonl").write_bytes(b"\n".join(msgspec.json.encode(x) for x in lines))
    events = read_events(tmp_path / "r1.bin")
    assert events["participant"].dtype == "Int64"
    assert [None if pd.isna(x) else int(x) for x in events["participant"]] == ids
