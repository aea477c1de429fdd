"""Which streams there are, of folders, patterns, lists and URLs."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
from helpers.paths import DATA

import recall_lab as rl
from recall_lab.errors import CaptureNotFound, InvalidArgument
from recall_lab.remote.listing import Stream, find_streams
from recall_lab.surveys.loading import load_many


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings in two folders, one of them with a participant's stream."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for suffix in (".bin", ".idx", ".json", ".events.jsonl"):
        shutil.copy(DATA / f"standup-lossy{suffix}", tmp_path / "a" / f"r1{suffix}")
        shutil.copy(DATA / f"standup-lossy{suffix}", tmp_path / "a" / "b" / f"r2{suffix}")
    for suffix in (".bin", ".idx"):
        shutil.copy(DATA / f"standup-broken.100{suffix}", tmp_path / "a" / f"r1.100{suffix}")
    (tmp_path / "a" / "_receiver.events.jsonl").write_text("{}\n")
    (tmp_path / "a" / "r1.overview.npz").write_bytes(b"x")
    (tmp_path / "a" / "r1.archive.json").write_bytes(b"{}")
    (tmp_path / "notes.txt").write_text("no capture")
    return tmp_path


def stems(streams: list[Stream]) -> list[str]:
    return [stream.stem for stream in streams]


def test_a_folder_is_gone_through_to_its_depths(folder: Path) -> None:
    found = find_streams(folder)
    assert stems(found) == ["r2", "r1.100", "r1"]
    assert [one.source for one in found] == sorted(one.source for one in found)
    assert [(one.recording, one.participant) for one in found][1] == ("r1", 100)
    mixed = found[2]
    assert [file.suffix for file in mixed.files] == [".bin", ".idx", ".json", ".events.jsonl"]
    assert mixed.size(".bin") == (folder / "a" / "r1.bin").stat().st_size
    assert mixed.size(".flac") is None
    assert found[1].url_of(".events.jsonl").endswith("/a/r1.events.jsonl")
    assert pickle.loads(pickle.dumps(found)) == found
    assert len(pickle.dumps(found[0])) < 1000


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("a/r1.bin", ["r1"]),
        ("a/r1", ["r1"]),
        ("a/r1.100.idx", ["r1.100"]),
        ("a/r1*", ["r1.100", "r1"]),
        ("a/*", ["r2", "r1.100", "r1"]),
        ("**/*.bin", ["r2", "r1.100", "r1"]),
        ("a/b", ["r2"]),
    ],
)
@pytest.mark.parametrize("scheme", ["path", "file", "memory"])
def test_what_may_be_named(folder: Path, what: str, expected: list[str], scheme: str) -> None:
    source = f"{folder}/{what}"
    if scheme == "file":
        source = f"file://{source}"
    if scheme == "memory":
        memory = fsspec.filesystem("memory")
        memory.put(str(folder), f"/listing{folder}", recursive=True)
        source = f"memory://listing{folder}/{what}"
    assert stems(find_streams(source)) == expected


def test_lists_and_captures_each_counts_once(folder: Path) -> None:
    path = folder / "a" / "r1.bin"
    found = find_streams([path, str(path), folder / "a" / "b", rl.load(path)])
    assert stems(found) == ["r2", "r1"]
    assert find_streams([]) == []


def test_an_empty_folder_has_none_and_what_is_missing_is_told(tmp_path: Path) -> None:
    assert find_streams(tmp_path) == []
    for missing in (tmp_path / "no", tmp_path / "no*", "memory://not-there/x"):
        with pytest.raises(CaptureNotFound):
            find_streams(missing)
    for wrong in (5, "", [None]):
        with pytest.raises(InvalidArgument, match="source"):
            find_streams(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="loaded from files"):
        find_streams(rl.Capture(np.zeros(4, np.int16)))


def test_a_version_is_another_once_a_file_is(folder: Path) -> None:
    path = folder / "a" / "r1.bin"
    (before,) = find_streams(path)
    assert find_streams(path) == [before]
    os.utime(path.with_suffix(".idx"), ns=(1, 1))
    assert find_streams(path)[0].version != before.version


def test_many_are_loaded_in_order_and_what_fails_is_an_error_in_its_place(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(folder / "a"), "/many/a", recursive=True)
    streams = find_streams([folder, "memory://many"])
    gone = Stream("memory://many/a/gone.bin", streams[0].files)
    lost = Stream(str(folder / "gone.bin"), streams[0].files)
    asked = [streams[0], gone, *streams[1:], lost]
    for audio in (False, True):
        got = list(load_many(asked, audio=audio))
        assert [stream for stream, _ in got] == asked
        for stream, capture in got:
            if stream == lost:
                assert isinstance(capture, CaptureNotFound)
                continue
            if stream == gone:
                assert "it was listed, and is not there any more" in str(capture)
                continue
            assert isinstance(capture, rl.Capture)
            expected = rl.load(folder / "a" / stream.source.partition("/a/")[2])
            np.testing.assert_array_equal(capture.samples, expected.samples)
            assert capture.packets.equals(expected.packets)
            assert len(capture.events) == len(expected.events)
