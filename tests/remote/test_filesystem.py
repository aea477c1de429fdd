"""Captures in object storage: through a real S3 server, whose proxy counts what is served."""

from __future__ import annotations

import os
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from helpers.bucket import Bucket, free_port
from helpers.builders import write_long
from helpers.paths import DATA

import recall_lab as rl
from recall_lab.errors import CaptureNotFound, InvalidArgument, StorageFailed
from recall_lab.remote import filesystem
from recall_lab.remote.filesystem import filesystem_of, is_url, local_path
from recall_lab.remote.listing import find_streams
from recall_lab.surveys.loading import load_many


@pytest.fixture
def lossy(store: Bucket) -> str:
    """URL of a capture in the bucket."""
    store.upload(DATA, "calls/")
    return store.url("calls/standup-lossy.bin")


def test_it_is_the_same_capture(lossy: str) -> None:
    there, here = rl.load(lossy), rl.load(DATA / "standup-lossy.bin")
    assert (there.url, there.path) == (lossy, None)
    assert there.info == here.info
    assert there.duration == here.duration
    pd.testing.assert_frame_equal(there.packets, here.packets)
    pd.testing.assert_frame_equal(there.events, here.events)
    pd.testing.assert_frame_equal(rl.gaps(there), rl.gaps(here))
    assert rl.quality(there).equals(rl.quality(here))
    pd.testing.assert_frame_equal(rl.levels(there), rl.levels(here))
    pd.testing.assert_frame_equal(rl.speech(there), rl.speech(here))
    assert rl.verify(there).empty
    np.testing.assert_array_equal(there.samples, here.samples)
    assert not there.samples.flags.writeable


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".json", ""])
def test_it_is_named_by_any_of_its_files(store: Bucket, lossy: str, suffix: str) -> None:
    assert rl.load(lossy.removesuffix(".bin") + suffix).duration == 11.5


def test_streams_of_a_recording(store: Bucket, lossy: str) -> None:
    found = rl.load_recording(store.url("calls/standup-broken"))
    assert [one.info.stem for one in found] == ["standup-broken.100"]
    with pytest.raises(CaptureNotFound):
        rl.load_recording(store.url("calls/nobody"))


def test_loading_reads_the_index_and_gaps_no_audio(store: Bucket, lossy: str) -> None:
    capture = rl.load(lossy)
    rl.gaps(capture)
    rl.quality(capture, sound=False)
    assert len(capture.audio) == 184_000
    assert store.served["calls/standup-lossy.idx"] == 7424
    assert "calls/standup-lossy.bin" not in store.served
    assert sum(store.requests.values()) <= 9


def test_an_overview_of_eight_hours_reads_every_byte_once(store: Bucket, tmp_path: Path) -> None:
    path = write_long(tmp_path / "long.bin", 8)
    for suffix in (".bin", ".idx"):
        store.link(path.with_suffix(suffix), f"long{suffix}")
    store.latency = 0.03
    capture = rl.load(store.url("long.bin"))
    rl.gaps(capture)
    assert "long.bin" not in store.served
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    served = rl.overview(capture, 400)
    size = path.stat().st_size
    assert size > 900e6
    assert store.served["long.bin"] == size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun
    assert peak < 250 << 10  # KiB
    expected = rl.overview(rl.load(path), 400)
    np.testing.assert_array_equal(served.mean, expected.mean)


@pytest.mark.parametrize("hours", [0.002, 0.4])
def test_of_a_flac_only_its_head_is_read_for_the_clocks(
    store: Bucket, tmp_path: Path, hours: float
) -> None:
    path = write_long(tmp_path / "long.bin", hours)
    rl.archive(path, store.url("calls"), flac=True)
    size = store.client().head_object(Bucket="captures", Key="calls/long.flac")["ContentLength"]
    store.forget()
    capture = rl.load(store.url("calls/long.flac"))
    rl.quality(capture, sound=False)
    assert store.served["calls/long.flac"] <= 16_384
    store.forget()
    with ThreadPoolExecutor(1) as threads:
        found = rl.survey(store.url("calls/"), measures="quality", client=threads, progress=False)
    assert found["packets"].tolist() == [len(capture.packets)]
    assert store.served["calls/long.flac"] <= 16_384
    assert not [name for name in store.requests if name.startswith("HEAD") and "long" in name]
    store.forget()
    served = rl.overview(capture, 400)
    assert size - 16_384 <= store.served["calls/long.flac"] <= size
    np.testing.assert_array_equal(served.mean, rl.overview(rl.load(path), 400).mean)
    np.testing.assert_array_equal(capture.samples, rl.load(path).samples)


def test_what_is_too_large_to_be_ours_is_not_fetched(store: Bucket, tmp_path: Path) -> None:
    for suffix, size in ((".idx", 2 << 30), (".json", 2 << 20)):
        stem = f"large{suffix[1:]}"
        (tmp_path / f"{stem}.bin").write_bytes(bytes(64))
        (tmp_path / f"{stem}{suffix}").write_bytes(b"")
        os.truncate(tmp_path / f"{stem}{suffix}", size)
        for one in (".bin", suffix):
            store.link(tmp_path / f"{stem}{one}", f"{stem}{one}")
        with pytest.raises(StorageFailed, match=f"the {suffix} has {size:,} bytes, at most"):
            rl.load(store.url(stem))
        assert f"{stem}{suffix}" not in store.served


def test_credentials_that_come_later_are_found(
    store: Bucket, lossy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.reconnect()
    with monkeypatch.context() as without:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            without.delenv(name)
        without.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        with pytest.raises(StorageFailed, match=r"set AWS_ACCESS_KEY_ID and"):
            rl.load(lossy)
    assert rl.load(lossy).duration == 11.5


def test_a_store_that_nobody_answers_for(
    store: Bucket, lossy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(filesystem, "_TRIES", 2)
    store.reconnect()
    with pytest.raises(StorageFailed, match="Could not connect to the endpoint"):
        rl.load(lossy)


def test_pictures_and_files_are_made_of_it(lossy: str, tmp_path: Path) -> None:
    capture = rl.load(lossy)
    rl.plot_overview(capture)
    rl.plot_waveform(capture)
    rl.report(capture, tmp_path / "report.html")
    rl.save(capture, tmp_path / "a.flac")
    rl.save(capture, tmp_path / "b.wav", aligned=False)
    raw, _ = rl.read_audio(tmp_path / "b.wav"), None
    np.testing.assert_array_equal(raw, rl.load(DATA / "standup-lossy.bin").samples)
    assert capture.slice(2, 3).duration > 0
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "a.flac", "b.wav"}


def test_the_store_is_busy_now_and_then(store: Bucket, lossy: str) -> None:
    store.busy = 0.3
    capture = rl.load(lossy)
    assert rl.quality(capture)["gaps"] == 6
    assert len(capture.samples) == 184_000
    assert store.refused


def test_what_is_not_there(store: Bucket, lossy: str) -> None:
    with pytest.raises(CaptureNotFound, match="there is no such object: name a"):
        rl.load(store.url("calls/nothing.bin"))
    with pytest.raises(InvalidArgument, match="fsspec knows"):
        rl.load("gopher://a/b.bin")


def test_damage_is_told_as_of_files(store: Bucket, tmp_path: Path) -> None:
    for suffix in (".bin", ".idx", ".json"):
        shutil.copy(DATA / f"standup-lossy{suffix}", tmp_path / f"r1{suffix}")
    data = bytearray((tmp_path / "r1.idx").read_bytes())
    data[64 * 9 + 3] ^= 1
    (tmp_path / "r1.idx").write_bytes(data[:-7])
    (tmp_path / "r1.json").write_bytes(b"{")
    with (tmp_path / "r1.bin").open("r+b") as file:
        file.truncate(300_001)
    store.upload(tmp_path, "d/")
    there, here = rl.load(store.url("d/r1")), rl.load(tmp_path / "r1.bin")
    assert there.damage == here.damage
    assert there.damage.missing_payloads and there.damage.odd_byte and there.damage.notes


def test_a_file_url_is_a_path() -> None:
    assert not is_url("file:///a/b.bin")
    assert local_path("file:///a/b.bin") == Path("/a/b.bin")
    assert is_url("s3://a/b.bin")
    assert rl.load(f"file://{DATA / 'standup-lossy.bin'}").path == DATA / "standup-lossy.bin"


@pytest.mark.parametrize("size", [3 << 20, 6 << 20, 1000])
@pytest.mark.parametrize("many", [False, True])
def test_an_object_that_was_replaced_is_never_mixed(store: Bucket, size: int, many: bool) -> None:
    client = store.client()
    client.put_object(Bucket="captures", Key="r.bin", Body=b"\1\0" * (3 << 19))
    url = store.url("r.bin")
    capture = next(load_many(find_streams(url), audio=False))[1] if many else rl.load(url)
    assert isinstance(capture, rl.Capture)
    assert set(capture.audio[:10].tolist()) == {1}
    client.put_object(Bucket="captures", Key="r.bin", Body=b"\2\0" * (size // 2))
    with pytest.raises(StorageFailed, match="it was replaced after it was loaded"):
        capture.audio[:]
    assert set(capture.audio[:10].tolist()) == {1}  # what was read before is of one version
    assert set(rl.load(url).samples.tolist()) == {2}
    client.delete_object(Bucket="captures", Key="r.bin")
    client.close()
    with pytest.raises(StorageFailed, match="it was deleted after it was loaded"):
        capture.audio[1 << 20 :]


def test_buckets_that_are_empty_or_are_not(store: Bucket) -> None:
    assert find_streams(store.url()) == []
    for call in (rl.load, find_streams):
        with pytest.raises(CaptureNotFound, match="there is no bucket 'no-such-bucket-here'"):
            call("s3://no-such-bucket-here/a.bin")
    with pytest.raises(CaptureNotFound, match="no such object"):
        find_streams(store.url("nothing"))
    assert find_streams(store.url("nothing/")) == []  # a folder, by its name
    with pytest.raises(CaptureNotFound, match="there is no bucket"):
        find_streams("s3://no-such-bucket-here/calls/")
    with pytest.raises(CaptureNotFound, match="there is no bucket"):
        find_streams("s3://no-such-bucket-here/calls*")


def test_names_that_look_like_patterns_and_urls_that_slipped(store: Bucket, tmp_path: Path) -> None:
    for suffix in (".bin", ".idx"):
        shutil.copy(DATA / f"standup-lossy{suffix}", tmp_path / f"call [1]{suffix}")
    store.upload(tmp_path, "odd//")
    store.upload(tmp_path, "odd/")
    for place in (store.url("odd/call [1].bin"), str(tmp_path / "call [1]")):
        (stream,) = find_streams(place)
        assert stream.stem == "call [1]"
    with ThreadPoolExecutor(1) as threads:
        found = rl.survey(store.url("odd/"), measures="quality", client=threads, progress=False)
    assert found["packets"].tolist() == [115, 115]
    for call in (rl.load, find_streams):
        with pytest.raises(InvalidArgument, match="two slashes after the colon"):
            call("s3:/captures/odd/call.bin")
        with pytest.raises(InvalidArgument, match="without '::'"):
            call("simplecache::s3://captures/odd/call.bin")


# blocks, without a network


def test_listings_are_never_old() -> None:
    fs, _ = filesystem_of("memory://x")
    assert isinstance(fs, fsspec.get_filesystem_class("memory"))
