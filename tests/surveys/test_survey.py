"""Surveys: the same frame, bit for bit, whoever does the work and whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from helpers.broken import SAID, STARTS, broken, call, voices, write
from helpers.bucket import Bucket
from helpers.cluster import client_of, cluster, ours, wait_for
from helpers.many import write_captures

import recall_lab as rl
from recall_lab.capture.capture import Capture
from recall_lab.errors import CaptureNotFound, InvalidArgument
from recall_lab.remote.listing import Stream, find_streams
from recall_lab.surveys import dataset, survey
from recall_lab.surveys.measures import MEASURES, columns_of, frame_of_rows, measure_stream
from recall_lab.surveys.ranking import summary, verdicts

COUNT = 40


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty captures of three seconds, four of them damaged; and a bare ``.bin``."""
    folder = tmp_path_factory.mktemp("survey")
    paths = write_captures(folder, COUNT - 1, 3, damaged=4)
    shutil.copy(paths[1], folder / "bare.bin")
    return folder


@pytest.fixture(scope="module")
def plain(calls: Path) -> pd.DataFrame:
    """What a loop over them measures, in this process."""
    return by_hand(calls)


def by_hand(folder: Path) -> pd.DataFrame:
    rows = []
    for stream in find_streams(folder):
        try:
            rows.append(measure_stream(stream, rl.load(stream.source), MEASURES))
        except Exception as error:
            rows.append(measure_stream(stream, error, MEASURES))
    return frame_of_rows(rows, MEASURES)


def quietly(folder: Any, **options: Any) -> pd.DataFrame:
    return rl.survey(folder, progress=False, **options)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    for name in one.select_dtypes("float64"):  # -0.0 and 0.0 are two
        assert one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes()


class Counting(ThreadPoolExecutor):
    """Threads that count the streams they are given; `before` is called with the count."""

    def __init__(self, before: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(2)
        self.streams = 0
        self._before = before

    def submit(self, task: Any, batch: Sequence[Stream], /, *more: Any, **named: Any) -> Any:
        self._before(self.streams)
        self.streams += len(batch)
        return super().submit(task, batch, *more, **named)


def counted(folder: Any, **options: Any) -> tuple[int, pd.DataFrame]:
    """Survey, and return how many streams were measured."""
    with Counting() as executor:
        found = quietly(folder, client=executor, **options)
    return executor.streams, found


def test_one_row_a_stream(calls: Path, plain: pd.DataFrame) -> None:
    found = quietly(calls)
    same(found, plain)
    assert found.columns.tolist() == list(columns_of(MEASURES))
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == columns_of(MEASURES)
    assert isinstance(found.index, pd.RangeIndex)
    assert found["source"].is_monotonic_increasing
    assert len(found) == COUNT
    row = found.set_index("recording").loc["call-00001"]
    capture = rl.load(calls / "call-00001.bin")
    known = rl.quality(capture)
    for name in ("available_percent", "packets", "jitter_ms", "missing_loss_s"):
        assert row[name] == known[name]
    assert row["verdict"] == rl.quality(capture, sound=False)["verdict"]
    assert row["sound"] == "good: nothing is wrong with its sound"
    levels = rl.levels(capture, None).iloc[0]
    assert (row["rms_dbfs"], row["peak_dbfs"], row["clips"]) == (
        levels["rms_dbfs"], levels["peak_dbfs"], levels["clips"],
    )  # fmt: skip
    assert row["speech_share"] == pytest.approx(
        rl.speech(capture)["duration"].sum() / row["duration"]
    )
    assert row["start"] == pd.Timestamp("2026-01-02T00:00:01Z")
    assert (row["error"], row["damage"]) == ("", "")


def test_a_bare_bin_has_what_can_be_said(plain: pd.DataFrame) -> None:
    row = plain.set_index("recording").loc["bare"]
    assert "MissingTimestamps" in row["error"]
    assert np.isfinite(row[["rms_dbfs", "speech_share", "duration"]].astype(float)).all()
    assert pd.isna(row["start"]) and pd.isna(row["packets"])


@pytest.mark.parametrize("number", range(10))
def test_no_damage_is_an_exception(tmp_path: Path, number: int) -> None:
    write_captures(tmp_path, 10 * number + 1, 1, damaged=number + 1)
    with ThreadPoolExecutor(1) as executor:
        found = quietly(tmp_path / f"call-{10 * number:05}*", client=executor)
    assert len(found) == 1
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == columns_of(MEASURES)
    assert (found["damage"] + found["error"] != "").all()


def test_threads_and_parts_of_it(calls: Path, plain: pd.DataFrame) -> None:
    streams, found = counted([str(calls), calls / "call-00001.idx", str(calls / "*.bin")])
    assert streams == COUNT
    same(found, plain)
    quality = counted(calls, measures="quality")[1]
    same(quality, plain[list(columns_of(["quality"]))].assign(error=quality["error"]))
    speech = counted(calls, measures=["speech"])[1]
    same(speech[["speech_share"]], plain[["speech_share"]])


def test_odd_names(tmp_path: Path) -> None:
    path = write_captures(tmp_path, 1, 1)[0]
    odd = (
        "x.9999999999999999999", "y.9223372036854775807", "\U0001f600", os.fsdecode(b"caf\xe9"),
        "caf\\udce9",  # what the name before it would be escaped to
    )  # fmt: skip
    for name in odd:
        for suffix in (".bin", ".idx"):
            shutil.copy(path.with_suffix(suffix), tmp_path / f"{name}{suffix}")
    found = counted(tmp_path, dataset=tmp_path / "into")[1]
    assert found["participant"].dropna().tolist() == [2**63 - 1]
    assert len(found) == found["source"].nunique() == len(odd) + 1
    again, known = counted(tmp_path, dataset=tmp_path / "into")
    same(found, known)
    assert again == 0


def test_nothing_there(tmp_path: Path) -> None:
    found = quietly(tmp_path)
    assert len(found) == 0
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == columns_of(MEASURES)
    with pytest.raises(CaptureNotFound):
        quietly(tmp_path / "no")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"measures": ["loudness"]}, "measures"),
        ({"measures": []}, "measures"),
        ({"measures": None}, "measures"),
        ({"measures": 5}, "measures"),
        ({"client": 3}, "client"),
        ({"dataset": 3}, "dataset"),
        ({"dataset": ""}, "dataset"),
        ({"dataset": "a\0b"}, "dataset"),
    ],
)
def test_what_can_not_be(calls: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        quietly(calls, **options)


def test_a_bucket_in_the_memory_of_this_process_is_not_for_others(calls: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(calls / "call-00001.bin"), "/survey/call-00001.bin")
    with pytest.raises(InvalidArgument, match="ThreadPoolExecutor"):
        quietly("memory://survey")
    streams, found = counted("memory://survey")
    assert streams == len(found) == 1
    memory.rm("/survey", recursive=True)


def test_what_is_told_of_rows_that_can_not_be_kept(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset.Dataset, "_write", full)
    for every in (60.0, 0.0):  # at the end, and in the middle
        monkeypatch.setattr(dataset, "_EVERY", every)
        with pytest.raises(OSError, match="No space left") as raised:
            counted(calls, dataset=tmp_path / "into")
        (note,) = raised.value.__notes__
        assert "only in part, as it can't be written: [Errno 28]" in note


def test_others_who_join_meanwhile_hide_nothing(
    tmp_path: Path, calls: Path, plain: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is there is deleted between listing and reading, time and again."""
    into = tmp_path / "into"
    counted(calls / "call-0000*", dataset=into)
    join = dataset.Dataset.join

    def late(self: Any) -> pd.DataFrame:
        shutil.rmtree(into)
        return join(self)

    monkeypatch.setattr(dataset.Dataset, "join", late)
    same(counted(calls, dataset=into)[1], plain)


def test_progress_is_shown(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as executor:
        rl.survey(calls, measures="quality", client=executor)
        assert f"{COUNT}/{COUNT}" in capsys.readouterr().err
        rl.survey(calls, measures="quality", client=executor, progress=False)
    assert capsys.readouterr().err == ""


def test_into_measures_what_is_new_or_changed(tmp_path: Path, calls: Path) -> None:
    folder, into = tmp_path / "calls", tmp_path / "into"
    shutil.copytree(calls, folder)
    assert counted(folder, dataset=into)[0] == COUNT
    streams, found = counted(folder, dataset=into)
    assert streams == 0
    same(found, by_hand(folder))
    name = "call-00007"
    data = (folder / f"{name}.idx").read_bytes()
    (folder / f"{name}.idx").write_bytes(data[:-64])
    os.utime(folder / "call-00008.json")
    (folder / "call-00009.bin").unlink()
    write_captures(tmp_path / "more", 1, 2, seed=5)
    for path in (tmp_path / "more").iterdir():
        path.rename(folder / f"new{''.join(path.suffixes)}")
    streams, found = counted(folder, dataset=into)
    assert streams == 4  # one shorter, one touched, one without audio, one new
    same(found, by_hand(folder))
    # what Parquet's readers see: these rows, and what was measured of the one that is named anew
    kept = pd.read_parquet(into).set_index("source")
    assert kept.index.is_unique
    assert kept.loc[found["source"], "packets"].tolist() == found["packets"].tolist()
    assert kept["day"].astype(str).str.fullmatch(r"2026-01-\d\d|unknown").all()
    fewer = counted(folder, dataset=into, measures="quality")
    assert fewer[0] == 0 and len(fewer[1]) == len(found)
    part = counted(folder / "call-0000*", dataset=into, measures="quality")
    assert part[0] == 0 and len(part[1]) == 10
    streams, more = counted(folder, dataset=into, measures=["quality", "checksums"])
    assert streams == len(found) and more["damaged_packets"].notna().sum() > len(found) / 2
    streams, again = counted(folder, dataset=into)  # nothing is lost by measuring something else
    assert streams == 0
    same(again.drop(columns="damage"), by_hand(folder).drop(columns="damage"))
    assert again["damage"].tolist() == more["damage"].tolist()  # what it found is kept, too


def test_what_may_pass_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_captures(tmp_path / "calls", 3, 1)
    loaded = survey.measure_streams

    def failing(streams: Sequence[Stream], measures: Sequence[str]) -> Any:
        rows = loaded(streams, measures)
        late = measure_stream(streams[0], TimeoutError("no answer"), measures)
        return [late, *rows[1:]]

    with monkeypatch.context() as patched:
        patched.setattr(survey, "measure_streams", failing)
        patched.setattr(survey, "_BATCH", 3)
        _, found = counted(tmp_path / "calls", dataset=tmp_path / "into")
    failed = found["error"].str.contains("no answer").sum()
    assert failed >= 1
    streams, found = counted(tmp_path / "calls", dataset=tmp_path / "into")
    assert streams == failed
    same(found, by_hand(tmp_path / "calls"))


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_leaves_what_is_done(
    tmp_path: Path, calls: Path, plain: pd.DataFrame, times: int
) -> None:
    taken = []
    again = [True] * (times - 1)
    flush = dataset.Dataset.flush

    def interrupt(_: int) -> None:
        if len(taken) > 4:
            raise KeyboardInterrupt

    with Counting(interrupt) as executor, pytest.raises(KeyboardInterrupt) as told:
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patched:
            patched.setattr("recall_lab.surveys.workers._WINDOW", 2)
            add = dataset.Dataset.add

            def adding(self: dataset.Dataset, rows: Any, versions: Any) -> None:
                taken.extend(rows)
                add(self, rows, versions)

            def flushing(self: dataset.Dataset) -> None:
                if again:
                    again.pop()
                    raise KeyboardInterrupt
                flush(self)

            patched.setattr(dataset.Dataset, "add", adding)
            patched.setattr(dataset.Dataset, "flush", flushing)
            quietly(calls, client=executor, dataset=tmp_path)
    (note,) = told.value.__notes__
    kept = len(pd.read_parquet(tmp_path))
    assert 0 < kept < COUNT
    assert f"{kept} of {COUNT} streams are measured" in note and "run it again" in note
    streams, found = counted(calls, dataset=tmp_path)
    assert streams == COUNT - kept
    same(found, plain)


SCRIPT = """
import sys
import recall_lab as rl
from recall_lab.surveys import dataset
dataset._EVERY = 0
rl.survey(sys.argv[1], dataset=sys.argv[2])
"""
"""No guard: processes of our own need none."""


@pytest.fixture
def surveying(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Survey in a process; it is ended with the test."""
    (tmp_path / "script.py").write_text(SCRIPT)
    started = []

    def start(folder: Path, into: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, tmp_path / "script.py", folder, into]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_client_that_is_ended(
    tmp_path: Path, calls: Path, plain: pd.DataFrame, surveying: Any, end: int
) -> None:
    into = tmp_path / "into"
    process = surveying(calls, into)
    wait_for(lambda: list(into.glob("day=*/part-*.parquet")))
    children = psutil.Process(process.pid).children(recursive=True)
    # Ctrl-C in a terminal is for all of its processes
    (os.killpg if end == signal.SIGINT else os.kill)(process.pid, end)
    told = process.communicate(timeout=20)[1].decode()
    if process.returncode:  # it was not done before
        assert end == signal.SIGKILL or "streams are measured, and kept" in told
    assert not psutil.wait_procs(children, timeout=20)[1]
    streams, found = counted(calls, dataset=into)
    assert streams < COUNT
    same(found, plain)


def test_two_at_once(tmp_path: Path, calls: Path, plain: pd.DataFrame, surveying: Any) -> None:
    into = tmp_path / "into"
    other = surveying(calls, into)
    time.sleep(1)
    same(quietly(calls, dataset=into), plain)
    assert other.wait(30) == 0, other.stderr.read()
    streams, found = counted(calls, dataset=into)
    assert streams == 0
    same(found, plain)
    assert pd.read_parquet(into)["source"].is_unique


def test_processes_of_ours_that_are_killed(tmp_path: Path) -> None:
    write_captures(tmp_path, 60, 20)
    killed = threading.Event()

    def kill() -> None:
        for _ in range(2):
            time.sleep(0.15)
            for one in wait_for(ours)[:1]:
                one.kill()
                killed.set()

    quietly(tmp_path / "call-0000*")
    thread = threading.Thread(target=kill)
    thread.start()
    found = quietly(tmp_path)
    thread.join()
    assert killed.is_set()
    same(found, by_hand(tmp_path))


def test_a_worker_of_a_cluster_that_is_killed(calls: Path, plain: pd.DataFrame) -> None:
    with cluster(2) as dask, client_of(dask) as client:
        same(quietly(calls, client=client), plain)
        batches = survey._batches

        def killing(*arguments: Any) -> Iterator[list[Stream]]:
            for number, batch in enumerate(batches(*arguments)):
                if number == 8:
                    dask.workers[0].kill()
                yield batch

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(survey, "_batches", killing)
            same(quietly(calls, client=client), plain)
        assert len(client.nthreads()) == 1
        assert client.submit(len, "abc").result() == 3  # it is still open


def test_a_bucket(store: Bucket, tmp_path: Path, calls: Path, plain: pd.DataFrame) -> None:
    for path in [*calls.glob("call-0000*"), *calls.glob("call-0003*"), calls / "bare.bin"]:
        shutil.copy(path, tmp_path)
    store.upload(tmp_path, "calls/")
    plain = plain[plain["source"].str.contains("/call-000[03]|/bare")].reset_index(drop=True)
    quietly(calls / "call-00001.bin")  # processes that know nothing of the bucket
    store.forget()
    quality = quietly(store.url("calls/"), measures="quality")
    assert not [name for name in store.served if name.endswith(".bin")]
    assert sum(store.requests.values()) <= 4 * len(quality) + 10
    undisturbed = quietly(store.url("calls/"))
    local = undisturbed.drop(columns=["source", "error", "damage"])
    same(local, plain.drop(columns=["source", "error", "damage"]))
    common = quality.columns.difference(["error"])
    same(quality[common], undisturbed[common])
    store.busy = 0.04
    busy = quietly(store.url("calls/"), dataset=store.url("kept"))
    assert store.refused > 3
    same(busy, undisturbed)
    streams, found = counted(store.url("calls/"), dataset=store.url("kept"))
    assert streams == 0
    same(found, undisturbed)
    store.busy = 0
    assert len(pd.read_parquet(store.url("kept"))) == len(plain) > 15


def test_a_broken_executor_is_told(calls: Path, tmp_path: Path) -> None:
    class Broken(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            raise OSError("no more")

    with pytest.raises(OSError, match="no more") as told:
        quietly(calls, client=Broken(), dataset=tmp_path)
    assert f"0 of {COUNT} streams" in told.value.__notes__[0]


def test_tasks_are_cut_by_size_and_get_smaller() -> None:
    from recall_lab.remote.listing import File

    def stream(number: int, size: int) -> Stream:
        return Stream(f"/calls/{number}.bin", (File(".bin", size, ""), File(".idx", 64, "")))

    small = [stream(number, 1000) for number in range(10_000)]
    sizes = [len(batch) for batch in survey._batches(small, ["quality"], 2)]
    assert sum(sizes) == 10_000 and sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 128 and sizes[-2] == 4
    large = [stream(number, 30 << 20) for number in range(1000)]
    assert {len(batch) for batch in survey._batches(large, MEASURES, 2)} <= {1, 2}
    assert max(len(batch) for batch in survey._batches(large, ["quality"], 2)) > 30
    assert len(list(survey._batches(small, ["quality"], 500))) > 1000
    assert dataset._EVERY <= 5


def test_one_is_good_and_each_other_says_why(tmp_path: Path) -> None:
    """Captures that the lab once called good, all of them: "Nothing was lost"."""
    said = voices()
    write(tmp_path / "good.bin", call(STARTS, said))
    for name in SAID:
        write(tmp_path / f"{name}.bin", broken(name, said))
    with ThreadPoolExecutor(2) as executor:
        found = quietly(tmp_path, client=executor)
    rows = rl.rank(found).set_index("recording")
    assert rows.index[-1] == "good"
    assert rows["kind"].value_counts()["good"] == 1
    assert rows.loc["good", "why"] == ""
    for name, (_, verdict) in SAID.items():
        kind, _, why = verdict.partition(": ")
        assert rows.loc[name, "kind"] == kind
        assert rows.loc[name, "why"].startswith(why)
    told = summary(found)
    assert "9 poor, 2 usable, 1 good" in told
    assert "Nothing was lost" not in told


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_an_archived_file_with_one_wrong_bit_is_not_good(
    tmp_path: Path, place: float, bit: int
) -> None:
    (_, path) = write_captures(tmp_path / "calls", 2, 5)
    rl.archive(path, tmp_path / "kept", flac=True, progress=False)
    file = tmp_path / "kept" / "call-00001.flac"
    with ThreadPoolExecutor(1) as executor:
        before = quietly(file.parent, client=executor)
        assert verdicts(before).tolist() == ["good"]
        data = bytearray(file.read_bytes())
        data[int(place * len(data))] ^= bit
        file.write_bytes(data)
        found = quietly(file.parent, client=executor)
    (row,) = rl.rank(found).to_dict("records")
    assert row["kind"] in ("damaged", "failed")
    assert "call-00001.flac" in row["why"]
    assert "Nothing was lost" not in summary(found)


def test_half_of_a_capture_and_one_that_grows_say_so(tmp_path: Path) -> None:
    half = write(tmp_path / "half.bin", call(STARTS, voices()))
    os.truncate(half, half.stat().st_size // 2)
    open_ = write(tmp_path / "open.bin", call(STARTS, voices()))
    journal = open_.with_suffix(".events.jsonl")
    journal.write_text(journal.read_text().splitlines()[0] + "\n")
    with ThreadPoolExecutor(1) as executor:
        rows = rl.rank(quietly(tmp_path, client=executor)).set_index("recording")
    assert rows["kind"].tolist() == ["poor", "good"]
    assert rows.loc["half", "why"].startswith(
        "its files are damaged: 150 records without their audio"
    )
    assert rows.loc["open", "why"] == "it may still grow: nothing tells that connection 1 has ended"


def test_by_the_clocks_alone_no_audio_is_read_and_the_row_says_so(calls: Path) -> None:
    class Unread:
        dtype, shape = np.dtype(np.int16), (0,)

        def __init__(self, size: int) -> None:
            self.size, self.nbytes = size, 2 * size

        def __len__(self) -> int:
            return self.size

        def __getitem__(self, key: object) -> np.ndarray:
            raise OSError("it was read")

    (stream,) = find_streams(calls / "call-00001.bin")
    whole = rl.load(stream.source)
    unread: Any = Unread(len(whole.samples))
    capture = Capture(unread, whole.packets, whole.info, events=lambda: whole.events)
    row = measure_stream(stream, capture, ["quality"])
    assert row["error"] == ""
    assert row["verdict"].endswith("its sound was not looked at")
    for measure in ("sound", "levels", "speech"):
        assert "it was read" in measure_stream(stream, capture, ["quality", measure])["error"]
    found = quietly(calls / "call-00001.bin", measures=["quality"])
    assert "The sound was not looked at" in summary(found)
