"""Captures copied to where they are kept, and back; with real S3 where the store matters."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.archives import DATA, FILES, STEM, captured, files_of
from helpers.bucket import Bucket

import recall_lab as rl
from recall_lab.archives import destinations, file_copy
from recall_lab.errors import CaptureLocked, CaptureNotFound, InvalidArgument, StorageFailed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one stream of a participant."""
    return captured(tmp_path)


@pytest.mark.parametrize("flac", [False, True])
@pytest.mark.parametrize("scheme", ["folder", "file", "memory"])
def test_there_and_back_every_byte_is_the_same(
    folder: Path, tmp_path: Path, scheme: str, flac: bool
) -> None:
    before = files_of(folder)
    place = {
        "folder": str(tmp_path / "kept"),
        "file": f"file://{tmp_path / 'kept'}",
        "memory": f"memory://kept-{tmp_path.name}-{flac}",
    }[scheme]
    done = rl.archive(folder / f"{STEM}.bin", place, flac=flac)
    audio = f"{STEM}.{'flac' if flac else 'bin'}"
    assert done.source.endswith(audio)
    assert set(done.copied) == {audio, *FILES[1:]}
    kept = rl.load(done.source)
    original = rl.load(folder / f"{STEM}.bin")
    np.testing.assert_array_equal(kept.samples, original.samples)
    pd.testing.assert_frame_equal(rl.gaps(kept), rl.gaps(original))
    assert kept.info == original.info
    assert not kept.damage

    back = rl.archive(done.source, tmp_path / "back")
    assert set(back.copied) == set(FILES)
    restored = files_of(tmp_path / "back")
    assert {name: restored[name] for name in FILES} == before
    assert files_of(folder) == before  # nothing was changed


def test_the_manifest_says_what_is_there(folder: Path, tmp_path: Path) -> None:
    done = rl.archive(folder / STEM, tmp_path / "kept", flac=True)
    told = json.loads((tmp_path / "kept" / f"{STEM}.archive.json").read_text())
    assert told["complete"] is True
    for name, copy in told["files"].items():
        data = (tmp_path / "kept" / name).read_bytes()
        assert (copy["size"], copy["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    of = told["files"][f"{STEM}.flac"]["of"]
    assert of == hashlib.sha256((folder / f"{STEM}.bin").read_bytes()).hexdigest()
    assert done.bytes == sum(copy["size"] for copy in told["files"].values())


def test_half_a_sample_at_the_end_comes_back_from_flac(folder: Path, tmp_path: Path) -> None:
    path = folder / f"{STEM}.bin"
    with path.open("ab") as file:
        file.write(b"\x7f")
    done = rl.archive(path, tmp_path / "kept", flac=True)
    rl.archive(done.source, tmp_path / "back")
    assert (tmp_path / "back" / f"{STEM}.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("audio", [b"", b"\x00", b"\x01\x02" * 5])
def test_captures_with_next_to_no_audio(tmp_path: Path, audio: bytes) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "r1.bin").write_bytes(audio)
    for flac in (False, True):
        done = rl.archive(tmp_path / "a" / "r1.bin", tmp_path / f"kept{flac}", flac=flac)
        rl.archive(done.source, tmp_path / f"back{flac}")
        assert (tmp_path / f"back{flac}" / "r1.bin").read_bytes() == audio


def test_a_second_time_nothing_is_copied(folder: Path, tmp_path: Path) -> None:
    for flac in (False, True):
        into = tmp_path / f"kept{flac}"
        first = rl.archive(folder / STEM, into, flac=flac)
        again = rl.archive(folder / STEM, into, flac=flac)
        assert (again.copied, again.bytes) == ((), 0)
        assert again.files == first.files


def test_what_is_there_and_differs_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / f"{STEM}.bin").write_bytes(b"somebody else's")
    with pytest.raises(InvalidArgument, match=r"has no other standup-broken.100.bin"):
        rl.archive(folder / STEM, kept)
    assert (kept / f"{STEM}.bin").read_bytes() == b"somebody else's"


def test_a_capture_that_is_written_is_refused_and_one_whose_writer_died_is_not(
    folder: Path, tmp_path: Path
) -> None:
    program = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'rb')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    index = folder / f"{STEM}.idx"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(index)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(CaptureLocked, match="stop that receiver, or wait"):
                rl.archive(folder / STEM, tmp_path / "kept")
        finally:
            holder.send_signal(signal.SIGKILL)
    assert not (tmp_path / "kept").exists()
    assert rl.archive(folder / STEM, tmp_path / "kept").copied


def test_a_receivers_writer_is_seen_too(tmp_path: Path) -> None:
    with rl.receive(0, directory=tmp_path / "captures", mode="thread") as receiver:
        rl.simulate(DATA / "standup.wav", receiver.url, speed=50, recording="r1")
        receiver.wait(idle=0.3)
        with pytest.raises(CaptureLocked):
            rl.archive(tmp_path / "captures" / "r1.bin", tmp_path / "kept")
    assert rl.archive(tmp_path / "captures" / "r1.bin", tmp_path / "kept").copied


def test_a_source_that_changes_meanwhile_is_noticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = destinations.LocalFolder.create

    def and_grow(self: destinations.LocalFolder, name: str, pieces: object, size: int) -> None:
        create(self, name, pieces, size)  # type: ignore[arg-type]
        if name.endswith(".json") and "archive" not in name:
            with (folder / f"{STEM}.bin").open("ab") as file:
                file.write(bytes(2))

    monkeypatch.setattr(destinations.LocalFolder, "create", and_grow)
    with pytest.raises(StorageFailed, match="changed while it was copied"):
        rl.archive(folder / STEM, tmp_path / "kept")
    told = json.loads((tmp_path / "kept" / f"{STEM}.archive.json").read_text())
    assert told["complete"] is False
    monkeypatch.undo()
    rl.archive(folder / STEM, tmp_path / "kept")  # nothing of the other version is in the way
    grown = (folder / f"{STEM}.bin").read_bytes()
    assert (tmp_path / "kept" / f"{STEM}.bin").read_bytes() == grown


def test_what_comes_back_is_compared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations.LocalFolder, "sha256", lambda *_: "0" * 64)
    with pytest.raises(StorageFailed, match="what comes back is not what was sent"):
        rl.archive(folder / STEM, tmp_path / "kept")
    monkeypatch.undo()
    assert rl.archive(folder / STEM, tmp_path / "kept").copied  # what was wrong is not in the way


def test_what_can_not_be_archived(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptureNotFound):
        rl.archive(tmp_path / "nothing.bin", tmp_path / "kept")
    with pytest.raises(InvalidArgument, match="loaded from files"):
        rl.archive(rl.Capture(np.zeros(10, np.int16)), tmp_path / "kept")
    with pytest.raises(InvalidArgument, match="one stream; these are 2"):
        rl.archive(DATA, tmp_path / "kept")
    with pytest.raises(InvalidArgument, match="a folder"):
        rl.archive(folder / STEM, "")


def test_a_flac_that_was_swapped_is_no_archive_of_the_capture(folder: Path, tmp_path: Path) -> None:
    done = rl.archive(folder / STEM, tmp_path / "kept", flac=True)
    other = rl.archive(DATA / "standup-lossy.bin", tmp_path / "other", flac=True)
    shutil.copy(other.source, done.source)
    with pytest.raises(StorageFailed, match="not what was archived"):
        rl.archive(done.source, tmp_path / "back")


def test_a_flac_that_decodes_to_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    done = rl.archive(folder / STEM, tmp_path / "kept", flac=True)
    path = tmp_path / "kept" / f"{STEM}.archive.json"
    of = done.files[f"{STEM}.flac"].of
    path.write_text(path.read_text().replace(of, "0" * 64))
    with pytest.raises(StorageFailed, match="not what was archived"):
        rl.archive(done.source, tmp_path / "back")


def test_in_s3_with_errors_now_and_then(folder: Path, store: Bucket, tmp_path: Path) -> None:
    store.busy = 0.15
    done = rl.archive(folder / STEM, store.url("kept"), flac=True)
    assert rl.archive(folder / STEM, store.url("kept"), flac=True).copied == ()
    rl.archive(done.source, tmp_path / "back")
    assert store.refused
    store.busy = 0
    store.forget()
    assert rl.archive(folder / STEM, store.url("kept"), flac=True).copied == ()
    assert store.served[f"kept/{STEM}.flac"] == 0  # the store's tag is that of what was read back
    assert not any(name.startswith("PUT") for name in store.requests)
    assert (tmp_path / "back" / f"{STEM}.bin").read_bytes() == (folder / f"{STEM}.bin").read_bytes()


def test_killed_in_the_middle_of_a_large_file_it_goes_on(
    store: Bucket, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "a").mkdir()
    audio = np.random.default_rng(1).bytes(22 << 20)
    (tmp_path / "a" / "r1.bin").write_bytes(audio)
    program = (
        "import os, sys\n"
        "from recall_lab import archive\n"
        "from recall_lab.archives import buckets\n"
        "buckets.PART = 5 << 20\n"
        "put, done = buckets.RemoteFolder._put, []\n"
        "def and_die(self, name, data):\n"
        "    put(self, name, data)\n"
        "    done.extend([name] * ('.parts/' in name))\n"
        "    if len(done) == 2 and 'die' in sys.argv:\n"
        "        os.kill(os.getpid(), 9)\n"
        "buckets.RemoteFolder._put = and_die\n"
        "archive(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a" / "r1.bin"), store.url("kept")]
    ended = subprocess.run([*command, "die"], env=os.environ, cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    store.client().put_object(Bucket="captures", Key="kept/r1.bin.parts/00001-old", Body=b"x")
    store.forget()
    store.busy = 0.05
    done = subprocess.run(
        command, env=os.environ, cwd=root, capture_output=True, text=True, check=False
    )
    store.busy = 0
    assert done.returncode == 0, done.stderr
    sent = {name for name in store.requests if ".parts/" in name and name.startswith("PUT")}
    assert 0 < len(sent) <= 3  # of five parts, those that were there were not sent again
    assert rl.load(store.url("kept/r1.bin")).samples.tobytes() == audio
    left = store.client().list_objects_v2(Bucket="captures", Prefix="kept/")["Contents"]
    assert sorted(one["Key"] for one in left) == ["kept/r1.archive.json", "kept/r1.bin"]


def journal_of(*lines: dict[str, object]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_the_journal_of_a_recording_is_brought_together(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    name = "standup-broken.events.jsonl"
    rl.archive(folder / STEM, kept)
    late = journal_of({"kind": "refused", "received": 5, "monotonic": 5})
    with (folder / name).open("ab") as file:
        file.write(late)
    shutil.copy(DATA / "standup-broken.100.bin", folder / "standup-broken.101.bin")
    done = rl.archive(folder / "standup-broken.101.bin", kept)
    assert set(done.copied) == {"standup-broken.101.bin", name}
    assert (kept / name).read_bytes() == (folder / name).read_bytes()
    older = (DATA / name).read_bytes()
    (folder / name).write_bytes(older[:-30])  # with a torn line
    rl.archive(folder / STEM, kept)
    assert set(older.splitlines()) <= set((kept / name).read_bytes().splitlines())
    assert late in (kept / name).read_bytes()


def test_stalls_of_the_receiver_go_along_and_causes_stay(folder: Path, tmp_path: Path) -> None:
    original = rl.load(folder / STEM)
    received = int(original.packets["received"].astype("int64").iloc[30])
    stall = {"kind": "stalled", "received": received, "monotonic": 7, "receiver": "run",
             "seconds": 0.5}  # fmt: skip
    far = stall | {"received": received - 10**15}
    other = {"kind": "refused", "received": received, "monotonic": 1}
    (folder / "_receiver.events.jsonl").write_bytes(journal_of(far, stall, other))
    before = rl.load(folder / STEM)
    done = rl.archive(folder / STEM, tmp_path / "kept", flac=True)
    after = rl.load(done.source)
    assert (after.events["kind"] == "stalled").sum() == 1
    pd.testing.assert_frame_equal(rl.gaps(after), rl.gaps(before))
    assert rl.archive(folder / STEM, tmp_path / "kept", flac=True).copied == ()
    assert rl.archive(done.source, folder).copied == ()  # the receiver's own journal is there
    pd.testing.assert_frame_equal(rl.load(folder / STEM).events, before.events)


def test_odd_bytes_and_orphans_are_told_of_the_archive_as_of_the_capture(
    folder: Path, tmp_path: Path, store: Bucket
) -> None:
    with (folder / f"{STEM}.bin").open("ab") as file:
        file.write(bytes(range(101)))
    index = folder / f"{STEM}.idx"
    data = bytearray(index.read_bytes()[:-10])
    data[300] ^= 1
    index.write_bytes(data)
    before = rl.load(folder / STEM)
    assert before.damage.odd_byte and before.damage.orphan_spans and before.damage.damaged_records
    for place in (str(tmp_path / "kept"), store.url("kept")):
        kept = rl.load(rl.archive(folder / STEM, place, flac=True).source)
        assert kept.damage == before.damage
        pd.testing.assert_frame_equal(
            pd.DataFrame(rl.quality(kept)), pd.DataFrame(rl.quality(before))
        )
        assert rl.verify(kept).equals(rl.verify(before))


def test_flac_and_bin_do_not_come_to_stand_beside_each_other(folder: Path, tmp_path: Path) -> None:
    rl.archive(folder / STEM, tmp_path / "kept")
    with pytest.raises(InvalidArgument, match="is there already"):
        rl.archive(folder / STEM, tmp_path / "kept", flac=True)
    before = files_of(folder)
    for flac in (False, True):
        with pytest.raises(InvalidArgument, match="another folder than the capture's own"):
            rl.archive(folder / STEM, folder, flac=flac)
    assert files_of(folder) == before


def test_a_copy_that_has_rotted_is_not_taken_for_the_capture(folder: Path, tmp_path: Path) -> None:
    done = rl.archive(folder / STEM, tmp_path / "kept")
    with open(done.source, "r+b") as file:
        file.seek(5000)
        file.write(b"\xaa\xbb")
    with pytest.raises(StorageFailed, match="not what was archived there"):
        rl.archive(done.source, tmp_path / "back")
    with pytest.raises(InvalidArgument, match=r"has no other standup-broken\.100\.bin"):
        rl.archive(folder / STEM, tmp_path / "kept")


def test_a_receiver_that_was_killed_leaves_a_capture_that_is_taken(tmp_path: Path) -> None:
    receiver = rl.receive(0, directory=tmp_path / "captures")
    rl.simulate(DATA / "standup.wav", receiver.url, speed=50, recording="r1")
    receiver.wait(idle=0.3)
    with pytest.raises(CaptureLocked, match=r"r1\.idx.*process \d+"):
        rl.archive(tmp_path / "captures" / "r1.bin", tmp_path / "kept")
    writer = rl.load(tmp_path / "captures" / "r1.bin").info.writer
    assert writer is not None
    os.kill(writer.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            done = rl.archive(tmp_path / "captures" / "r1.bin", tmp_path / "kept", flac=True)
            break
        except CaptureLocked:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    receiver.stop()
    kept, before = rl.load(done.source), rl.load(tmp_path / "captures" / "r1.bin")
    assert before.info.writer is not None
    assert before.info.writer.closed is None
    np.testing.assert_array_equal(kept.samples, before.samples)
    pd.testing.assert_frame_equal(kept.packets, before.packets)


def test_a_writer_on_another_machine_is_told_by_files_that_change(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / f"{STEM}.json"
    info = json.loads(path.read_text())
    info["writer"] = {"receiver": "r", "pid": 1, "host": "elsewhere", "since": 1}
    path.write_text(json.dumps(info))
    os.utime(folder / f"{STEM}.idx")
    with pytest.raises(CaptureLocked, match="elsewhere"):
        rl.archive(folder / STEM, tmp_path / "kept")
    os.utime(folder / f"{STEM}.idx", (time.time() - 300,) * 2)
    assert rl.archive(folder / STEM, tmp_path / "kept").copied


def test_killed_while_it_writes_to_a_folder_only_hidden_files_are_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    audio = np.random.default_rng(1).bytes(3 << 20)
    (tmp_path / "a" / "r1.bin").write_bytes(audio)
    program = (
        "import os, sys\n"
        "from recall_lab.archives import destinations\n"
        "os.fsync = lambda fd: os.kill(os.getpid(), 9) if os.fstat(fd).st_size > 10**6 else None\n"
        "from recall_lab import archive\n"
        "archive(sys.argv[1], sys.argv[2])\n"
    )
    kept = tmp_path / "kept"
    command = [sys.executable, "-c", program, str(tmp_path / "a" / "r1.bin"), str(kept)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [path.name for path in kept.glob("[!.]*")] == ["r1.archive.json"]
    assert not json.loads((kept / "r1.archive.json").read_text())["complete"]
    for left in kept.glob(".*.tmp"):
        os.utime(left, (time.time() - 90_000,) * 2)
    rl.archive(tmp_path / "a" / "r1.bin", kept)
    assert files_of(kept).keys() == {"r1.archive.json", "r1.bin"}  # hidden ones are gone too
    assert (kept / "r1.bin").read_bytes() == audio


def test_from_bucket_to_bucket_and_read_there_by_ranges(
    folder: Path, store: Bucket, tmp_path: Path
) -> None:
    first = rl.archive(rl.load(folder / STEM), store.url("one"), flac=True)
    assert store.served[f"one/{STEM}.flac"] == first.files[f"{STEM}.flac"].size  # read back, once
    second = rl.archive(rl.load(first.source), store.url("two"), flac=True)
    assert second.files[f"{STEM}.flac"].of == first.files[f"{STEM}.flac"].of != ""
    store.forget()
    kept = rl.load(second.source)
    rl.gaps(kept)
    size = first.files[f"{STEM}.flac"].size
    assert store.served[f"two/{STEM}.flac"] <= size  # no more than its head
    np.testing.assert_array_equal(kept.samples, rl.load(folder / STEM).samples)
    assert store.served[f"two/{STEM}.flac"] <= size
    restored = rl.archive(second.source, tmp_path / "back")
    data = (tmp_path / "back" / f"{STEM}.bin").read_bytes()
    assert data == (folder / f"{STEM}.bin").read_bytes()
    assert restored.files[f"{STEM}.bin"].sha256 == first.files[f"{STEM}.flac"].of


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"my own notes",
        b"[]",
        b'{"files": {"a": 1}}',
        b'{"files": {}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_has_the_name_of_a_manifest_and_is_none_is_not_replaced(
    folder: Path, tmp_path: Path, text: bytes
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / f"{STEM}.archive.json").write_bytes(text)
    with pytest.raises(InvalidArgument, match=r"no other standup-broken\.100\.archive\.json"):
        rl.archive(folder / STEM, kept)
    assert files_of(kept) == {f"{STEM}.archive.json": text}
    (kept / f"{STEM}.archive.json").rename(folder / f"{STEM}.archive.json")
    assert rl.archive(folder / STEM, kept).copied  # beside the source it is none of our business


def test_no_capture_has_the_name_of_anothers_manifest(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / f"{STEM}.bin", folder / "a.archive.bin")
    with pytest.raises(InvalidArgument, match=r"does not end in \.archive"):
        rl.archive(folder / "a.archive.bin", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", [b"caf\xe9", b"a**b", b"new\nline", b"x" * 242, b"[a]*"])
def test_odd_names_are_archived_too(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "a").mkdir()
    stem = os.fsdecode(name)
    (tmp_path / "a" / f"{stem}.bin").write_bytes(bytes(640))
    for _ in range(2):
        done = rl.archive(tmp_path / "a" / f"{stem}.bin", tmp_path / "kept")
        assert done.files.keys() == {f"{stem}.bin"}
    assert done.copied == ()
    told = json.loads((tmp_path / "kept" / f"{stem}.archive.json").read_bytes())
    assert told["complete"]


def test_a_name_that_is_too_long_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 243}.bin"
    path.write_bytes(bytes(640))
    with pytest.raises(InvalidArgument, match="a name of up to 242 bytes"):
        rl.archive(path, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_what_the_system_refuses_is_told_with_the_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept" / f"{STEM}.archive.json").mkdir(parents=True)
    with pytest.raises(StorageFailed, match=r"could not read .*archive\.json"):
        rl.archive(folder / STEM, tmp_path / "kept")

    def refuse(path: object, *_: object) -> int:
        raise PermissionError(13, "Permission denied", os.fspath(path))  # type: ignore[call-overload]

    monkeypatch.setattr(file_copy, "open_plain", refuse)
    with pytest.raises(StorageFailed, match=r"could not read '.*\.bin': Permission denied"):
        rl.archive(folder / STEM, tmp_path / "other")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(file_copy, "write_flac", full)
    with pytest.raises(StorageFailed, match=r"could not write .*TMPDIR.*No space left"):
        rl.archive(folder / STEM, tmp_path / "other", flac=True)


def test_a_bucket_that_is_not_there_is_told(folder: Path, store: Bucket) -> None:
    nobucket = destinations.store_of("s3://nobucket/x")
    data = [b"x"]
    for call in (
        lambda: rl.archive(folder / STEM, "s3://nobucket/x"),
        nobucket.names,
        nobucket.ask,
        lambda: nobucket.write("a", data, 1),
        lambda: nobucket.create("a", data, 1),
        lambda: nobucket.extend("a", lambda _: b"x"),
    ):
        with pytest.raises(StorageFailed, match="there is no bucket 'nobucket'"):
            call()
    assert destinations.store_of(store.url("empty")).names() == []
