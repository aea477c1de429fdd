"""What others do at the same place while a capture is archived: nobody's files are lost."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.archives import DATA, STEM, captured, files_of
from helpers.bucket import Bucket

import recall_lab as rl
from recall_lab.archives import buckets, destinations, stream_copy
from recall_lab.errors import InvalidArgument, StorageFailed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one stream of a participant."""
    return captured(tmp_path)


def journal_of(*lines: dict[str, object]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_two_at_once_do_not_harm_each_other(folder: Path, store: Bucket) -> None:
    for place in (store.url("kept"), str(folder.parent / "kept")):
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(rl.archive, folder / STEM, place) for _ in range(3)]
            done = [future.result() for future in futures]
        assert done[0].source == done[1].source == done[2].source
        kept = rl.load(done[0].source)
        np.testing.assert_array_equal(kept.samples, rl.load(folder / STEM).samples)
        assert rl.archive(folder / STEM, place).copied == ()


def put_meanwhile(monkeypatch: pytest.MonkeyPatch, name: str, put: Callable[[], object]) -> None:
    """Have something happen after everything was looked up, right before a file is written."""
    for kind in (destinations.LocalFolder, buckets.RemoteFolder):
        create = kind.create

        def and_put(self: object, of: str, pieces: object, size: int, create: Any = create) -> None:
            if of == name:
                put()
            create(self, of, pieces, size)

        monkeypatch.setattr(kind, "create", and_put)


@pytest.mark.parametrize("content", ["a file", "a link", "a pipe", "a link to nothing", "a folder"])
def test_what_is_put_there_meanwhile_is_not_replaced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    kept, other = tmp_path / "kept", tmp_path / "other"
    other.write_bytes(b"another's only copy")
    path = kept / f"{STEM}.bin"
    put = {
        "a file": lambda: shutil.copy(other, path),
        "a link": lambda: path.symlink_to(other),
        "a pipe": lambda: os.mkfifo(path),
        "a link to nothing": lambda: path.symlink_to("nothing"),
        "a folder": path.mkdir,
    }[content]
    put_meanwhile(monkeypatch, path.name, put)
    with pytest.raises(InvalidArgument, match=r"has no other standup-broken\.100\.bin"):
        rl.archive(folder / STEM, kept)
    there = path.lstat()
    with pytest.raises(InvalidArgument, match=r"has no other standup-broken\.100\.bin"):
        rl.archive(folder / STEM, kept)
    assert path.lstat() == there
    assert other.read_bytes() == b"another's only copy"
    assert not (kept / "standup-broken.events.jsonl").exists()


@pytest.mark.parametrize("large", [False, True])
def test_nor_in_a_bucket(
    folder: Path, store: Bucket, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    client, name = store.client(), f"kept/{STEM}.bin"
    if large:
        monkeypatch.setattr(buckets, "PART", 5 << 20)
        (folder / f"{STEM}.bin").write_bytes(bytes(6 << 20))
        # after it was looked for once more, right before the parts are joined
        info = buckets.RemoteFolder._info
        monkeypatch.setattr(
            buckets.RemoteFolder,
            "_info",
            lambda self, of: (
                None if of == f"{STEM}.bin" and not store.requests[f"POST {name}"] else
                info(self, of)
            ),
        )  # fmt: skip
    else:
        monkeypatch.setattr(buckets.RemoteFolder, "_info", lambda *_: None)
        monkeypatch.setattr(buckets.RemoteFolder, "told", told_directly)
    put = lambda: client.put_object(Bucket="captures", Key=name, Body=b"another's")  # noqa: E731
    put_meanwhile(monkeypatch, f"{STEM}.bin", put)
    with pytest.raises(InvalidArgument, match=r"has no other standup-broken\.100\.bin"):
        rl.archive(folder / STEM, store.url("kept"))
    assert client.get_object(Bucket="captures", Key=name)["Body"].read() == b"another's"


def told_directly(self: Any, name: str) -> tuple[int, str] | None:
    """What a store tells of an object, though nobody looks before writing."""
    try:
        info = self._fs.info(self._at(name))
    except FileNotFoundError:
        return None
    return info["size"], info["ETag"].strip('"')


@pytest.mark.parametrize("flacs", [(False, False), (True, True), (False, True)])
def test_two_captures_of_one_name_at_once_never_both_count_as_archived(
    tmp_path: Path, store: Bucket, flacs: tuple[bool, bool]
) -> None:
    sources = [tmp_path / "a", tmp_path / "b"]
    for source, of in zip(sources, ("standup-broken.100", "standup-lossy"), strict=True):
        source.mkdir()
        for suffix in (".bin", ".idx", ".json"):
            shutil.copy(DATA / f"{of}{suffix}", source / f"call{suffix}")
    originals = [rl.load(source / "call.bin") for source in sources]
    for place in [*(str(tmp_path / f"kept{n}") for n in range(15)), store.url("1"), store.url("2")]:
        ready = threading.Barrier(2)

        def go(index: int, ready: threading.Barrier = ready, place: str = place) -> Any:
            ready.wait()
            try:
                return rl.archive(sources[index] / "call.bin", place, flac=flacs[index])
            except (InvalidArgument, StorageFailed) as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(go, (0, 1)))
        good = [n for n in (0, 1) if not isinstance(answers[n], Exception)]
        assert len(good) < 2
        for n in good:
            kept = rl.load(answers[n].source)
            np.testing.assert_array_equal(kept.samples, originals[n].samples)
            pd.testing.assert_frame_equal(kept.packets, originals[n].packets)


def test_what_was_replaced_before_the_end_does_not_count(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    put = lambda: (kept / f"{STEM}.bin").write_bytes(b"another's")  # noqa: E731
    put_meanwhile(monkeypatch, f"{STEM}.idx", put)
    with pytest.raises(StorageFailed, match="replaced it there meanwhile"):
        rl.archive(folder / STEM, kept)
    assert (kept / f"{STEM}.bin").read_bytes() == b"another's"
    assert not json.loads((kept / f"{STEM}.archive.json").read_text())["complete"]


def test_what_another_has_archived_meanwhile_is_not_taken_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, twin = tmp_path / "kept", tmp_path / "twin"
    shutil.copytree(folder, twin)
    changed = stream_copy.Copying._raise_if_changed

    def and_another(self: stream_copy.Copying) -> None:
        monkeypatch.undo()
        rl.archive(twin / STEM, kept)
        with (folder / f"{STEM}.bin").open("ab") as file:
            file.write(bytes(2))
        changed(self)

    monkeypatch.setattr(stream_copy.Copying, "_raise_if_changed", and_another)
    with pytest.raises(StorageFailed, match="changed while it was copied"):
        rl.archive(folder / STEM, kept)
    assert rl.archive(twin / STEM, kept).copied == ()


def test_a_refused_capture_leaves_the_journal_alone(folder: Path, tmp_path: Path) -> None:
    kept, other = tmp_path / "kept", tmp_path / "other"
    shutil.copytree(folder, other)
    rl.archive(folder / STEM, kept)
    before = files_of(kept)
    index = bytearray((other / f"{STEM}.idx").read_bytes())
    index[100] ^= 1
    (other / f"{STEM}.idx").write_bytes(index)
    with (other / "standup-broken.events.jsonl").open("ab") as file:
        file.write(journal_of({"kind": "refused", "received": 5, "monotonic": 5}))
    with pytest.raises(InvalidArgument, match=r"has no other standup-broken\.100\.idx"):
        rl.archive(other / STEM, kept)
    assert files_of(kept) == before


def test_journals_of_streams_archived_at_once_lose_no_line(tmp_path: Path, store: Bucket) -> None:
    for who in (100, 101):
        (tmp_path / f"{who}").mkdir()
        (tmp_path / f"{who}/rec.{who}.bin").write_bytes(bytes(640))
        lines = [{"kind": "k", "received": at, "who": who} for at in range(20)]
        (tmp_path / f"{who}/rec.events.jsonl").write_bytes(journal_of(*lines))
    both = [(tmp_path / f"{who}/rec.events.jsonl").read_bytes() for who in (100, 101)]
    for place in [*(str(tmp_path / f"kept{n}") for n in range(10)), store.url("1"), store.url("2")]:
        with ThreadPoolExecutor(2) as pool:
            go = [
                pool.submit(rl.archive, tmp_path / f"{who}/rec.{who}.bin", place)
                for who in (100, 101)
            ]
            for future in go:
                future.result()
        there = destinations.store_of(place).read(["rec.events.jsonl"])["rec.events.jsonl"]
        assert isinstance(there, bytes)
        assert sorted(there.splitlines()) == sorted(b"".join(both).splitlines())
