"""Several who want one capture, and more streams than there are descriptors.

**Two writers.** While one process holds a capture, another that opens it has to be refused at
once and told who holds it; when the holder is killed, the capture is free at once.

**A reader beside the writer.** Locks of one kind are dropped when any descriptor of the file is
closed in the process (fcntl), of the other not (flock). So the process that writes opens and
closes the same capture as a reader does, a thousand times, and each time another process tries
to get it.

**A follower of a writer at full speed.** One process commits batches of 1 to 50 packets without
a pause, this one polls every 5 ms, and compares all that it is given with what was written: the
rows, and the audio behind them. Lag is the time from when a packet was staged, which is before
its commit, to when the poll that brought it returned.

**A thousand streams, a soft limit of 1,024 descriptors.** Each stream is a socket and two files:
first into what `rl.receive` starts from such a process, then into our `Server` in one.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import psutil

import recall_lab as rl
from benchmarks import load
from benchmarks.torture.figures import Figure, Scale, Unavailable
from benchmarks.torture.kills import Received, Victim
from benchmarks.torture.served import PROCESSES, Served
from recall_lab.capture.info import CaptureInfo
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE
from recall_lab.store.reader import map_samples
from recall_lab.store.writer import StreamWriter

INFO: Final = CaptureInfo(recording="wanted")
SAMPLES: Final = 16  # of a packet
STEP: Final = 0.001  # seconds that it lasts
SOFT: Final = 1_024  # descriptors: what Linux gives a process unless asked
_POLL: Final = 0.005
_NEEDED: Final = 8_192  # descriptors of the hard limit, for the trial itself too


def run(scale: Scale) -> Iterator[Figure]:
    """Lock, read, follow, and be many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _NEEDED:
        raise Unavailable(f"needs a hard limit of {_NEEDED:,} descriptors; here it is {hard:,}")
    with tempfile.TemporaryDirectory(prefix="recall_lab_locks_") as scratch:
        os.environ[RUNTIME_VARIABLE] = str(Path(scratch, "run"))
        yield from two_writers(Path(scratch, "two"), scale.pick(5, 100))
        yield from a_reader_beside(Path(scratch, "reader"), 1_000)
        yield from follow(Path(scratch, "follow"), scale.pick(3, 30), scale.seed)
        yield from many(Path(scratch, "many"), scale.pick(600, 1_000), scale.pick(5, 50))


def two_writers(folder: Path, times: int) -> Iterator[Figure]:
    """Try to get what another process holds; then what it held when it was killed."""
    folder.mkdir()
    slowest, refused, named, freed = 0.0, 0, 0, 0
    for _ in range(times):
        pipe, theirs = PROCESSES.Pipe()
        holder = PROCESSES.Process(target=_hold, args=(theirs, folder))
        holder.start()
        pipe.recv()
        began = time.monotonic()
        try:
            StreamWriter(folder, INFO).close()
        except rl.errors.CaptureLocked as error:
            refused += 1
            named += f"process {holder.pid} " in str(error)
        slowest = max(slowest, time.monotonic() - began)
        holder.kill()
        holder.join()
        began = time.monotonic()
        with contextlib.suppress(rl.errors.CaptureLocked):
            StreamWriter(folder, INFO).close()
            freed += 1
        slowest = max(slowest, time.monotonic() - began)
    yield Figure("second writers refused", refused, "=", times)
    yield Figure("told which process holds the capture", named, "=", times)
    yield Figure("captures free once their holder was killed", freed, "=", times)
    yield Figure("slowest answer", slowest, "<=", 1, "s")


def _hold(pipe: Connection, folder: Path) -> None:
    writer = StreamWriter(folder, INFO)
    pipe.send("held")
    time.sleep(60)
    writer.close()


def a_reader_beside(folder: Path, times: int) -> Iterator[Figure]:
    """Read in the process that writes; each time let another process try to write."""
    folder.mkdir()
    pipe, theirs = PROCESSES.Pipe()
    other = PROCESSES.Process(target=_try, args=(theirs, folder), daemon=True)
    other.start()
    writer = StreamWriter(folder, INFO)
    refused = 0
    try:
        for number in range(times):
            _append(writer, number)
            follower = rl.Follower(folder / "wanted")
            follower.poll()
            rl.verify(rl.load(folder / "wanted"))
            os.close(os.open(folder / "wanted.idx", os.O_RDWR))
            pipe.send("try")
            refused += pipe.recv()
    finally:
        writer.close()
        other.kill()
        other.join()
    yield Figure("locks kept though a reader opened and closed the capture", refused, "=", times)


def _try(pipe: Connection, folder: Path) -> None:
    while pipe.recv():
        try:
            StreamWriter(folder, INFO).close()
            pipe.send(False)
        except rl.errors.CaptureLocked:
            pipe.send(True)


def _append(writer: StreamWriter, number: int) -> None:
    writer.append(
        _audio(number, 1).tobytes(), relative=number * STEP, absolute=number, received=number,
        monotonic=time.monotonic_ns(), connection=1, sequence=number,
    )  # fmt: skip


def _audio(first: int, count: int) -> npt.NDArray[np.int16]:
    """Return the audio of packets by their numbers, a row each."""
    words = np.arange(first * SAMPLES, (first + count) * SAMPLES, dtype=np.uint64)
    mixed = words * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: its high bits look random
    return (mixed >> np.uint64(48)).astype(np.uint16).view(np.int16).reshape(count, SAMPLES)


def follow(folder: Path, seconds: float, seed: int) -> Iterator[Figure]:
    """Follow a writer that never rests."""
    folder.mkdir()
    pipe, theirs = PROCESSES.Pipe()
    other = PROCESSES.Process(target=_write_for, args=(theirs, folder, seconds, seed), daemon=True)
    other.start()
    follower = rl.Follower(folder / "wanted")
    wrong_rows = wrong_audio = again = 0
    lags = []
    written = None
    try:
        while True:
            if pipe.poll(_POLL):
                written = pipe.recv()
            new = follower.poll()
            now = time.monotonic_ns()
            first = follower.packets - new
            numbers = np.rint(follower.column("relative")[first:] / STEP).astype(np.int64)
            again += int(np.count_nonzero(numbers < np.arange(first, follower.packets)))
            wrong_rows += _wrong_rows(follower, first)
            samples, _ = map_samples(follower.audio_path)
            held = samples[first * SAMPLES : follower.packets * SAMPLES].reshape(-1, SAMPLES)
            same = (held == _audio(first, new)).all(axis=1) if len(held) == new else np.zeros(new)
            wrong_audio += int(new - np.count_nonzero(same))
            lags.append((now - follower.column("monotonic")[first:]) / 1e9)
            if written is not None and not new:
                break
    finally:
        other.kill()
        other.join()
    lag = np.concatenate(lags)
    yield Figure(
        "packets followed of a writer at full speed", len(lag), ">=", seconds * 10_000,
        note=f"{len(lag) / seconds:,.0f} a second, batches of 1 to 50",
    )  # fmt: skip
    yield Figure("packets written and not seen", written - follower.packets, "=", 0)
    yield Figure("torn or damaged records", wrong_rows + follower.damaged, "=", 0)
    yield Figure("records seen twice", again, "=", 0)
    yield Figure("packets with wrong audio", wrong_audio, "=", 0)
    yield Figure(
        "lag behind the writer, of 99.9 % of packets", float(np.quantile(lag, 0.999)), "<=", 0.2,
        "s", f"the longest: {lag.max():.3f} s",
    )  # fmt: skip


def _wrong_rows(follower: rl.Follower, first: int) -> int:
    """Count the new rows that are not what was written."""
    expected = np.arange(first, follower.packets)
    wrong = follower.column("offset")[first:] != expected * SAMPLES
    wrong |= follower.column("samples")[first:] != SAMPLES
    wrong |= follower.column("sequence")[first:] != expected
    wrong |= follower.column("connection")[first:] != 1
    return int(np.count_nonzero(wrong))


def _write_for(pipe: Connection, folder: Path, seconds: float, seed: int) -> None:
    """Commit batches as fast as it goes, then say how many packets that were."""
    draw = random.Random(seed)
    writer = StreamWriter(folder, INFO)
    number = 0
    block = 10_000
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        audio = [row.tobytes() for row in _audio(number, block)]
        while audio:
            batch, audio = audio[: (size := draw.randint(1, 50))], audio[size:]
            for payload in batch:
                stamp = time.monotonic_ns()
                writer.stage(payload, number * STEP, number, number, stamp, 1, number)
                number += 1
            writer.commit()
    pipe.send(number)
    time.sleep(60)
    writer.close()


def many(folder: Path, streams: int, packets: int) -> Iterator[Figure]:
    """Send many streams to receivers that may have few descriptors unless they ask for more."""
    _soft_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # ours: a socket a stream
    for name in ("rl.receive", "rl.Server"):
        directory = folder / name
        victim = _received(directory) if name == "rl.receive" else _served(directory)
        sources = load.streams("many", streams, streams * packets, 640)
        try:
            open_ = send(victim, directory, sources)
        finally:
            victim.kill()
        lost = sum(source.count - _kept(directory, source) for source in sources)
        wrong = sum(not _same(directory, source) for source in sources)
        note = f"{name}, soft limit {SOFT:,}"
        yield Figure(f"descriptors of {streams:,} streams", open_, ">=", SOFT + 1, note=note)
        yield Figure(f"packets lost of {streams * packets:,}", lost, "=", 0, note=note)
        yield Figure(f"streams of {streams:,} with other audio", wrong, "=", 0, note=note)


def _soft_limit(soft: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _served(directory: Path) -> Served:
    return Served(directory, first=partial(_soft_limit, SOFT))


def _received(directory: Path) -> Received:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _soft_limit(SOFT)  # what the receiver's process begins with
    try:
        return Received(directory)
    finally:
        _soft_limit(soft)


def send(victim: Victim, directory: Path, sources: list[load.Stream]) -> int:
    """Send everything; return how many descriptors the receiver had open then.

    A receiver that takes no more is left with what it has.
    """
    peers: list[socket.socket] = []
    try:
        for _ in sources:
            peers.append(load.connect(victim.port))  # noqa: PERF401  what is open has to be closed
    except OSError:
        pass  # the rest is counted as lost
    try:
        with contextlib.suppress(OSError):  # a TimeoutError is one
            load.push(peers, sources[: len(peers)], time.monotonic() + 30)
            load.await_audio(directory, sources[: len(peers)], time.monotonic() + 10)
        return psutil.Process(victim.pid).num_fds()
    finally:
        for peer in peers:
            peer.close()


def _kept(directory: Path, source: load.Stream) -> int:
    """Count the packets of a stream that are there: each whole, each once, in order."""
    try:
        packets = rl.load(directory / source.recording).packets
    except rl.errors.CaptureNotFound:
        return 0
    times = np.rint(packets["relative"].to_numpy() * 1e6).astype(np.int64)
    expected = source.relative()
    return int(np.count_nonzero(times[: len(expected)] == expected[: len(times)]))


def _same(directory: Path, source: load.Stream) -> bool:
    path = directory / f"{source.recording}.bin"
    return path.exists() and load.same_audio(path, source)
