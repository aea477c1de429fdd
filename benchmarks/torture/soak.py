"""A day and an hour of receiving: do memory, descriptors, threads or tasks grow with it?

**A day of twenty streams, simulated.** 24 hours in packets of 200 ms, as fast as the receiver
takes them; each stream connects anew for each hour. With real payloads that were 55 GB: so the
stamps are those of 200 ms, and the payload is 32 bytes. Each packet then seems to leave a hole
behind it, which is the worst case for what the receiver remembers of gaps.

**A day of one stream** with all of its audio, in packets of 20 ms, while a notebook asks for the
frame and the status once a second.

**An hour in real time**: twenty streams, 50 packets a second each, real payloads.

Memory is what the process has for itself (RssAnon): pages of mapped files are the system's to
drop. Its slope is the least-squares line after the first tenth; of the simulated day, by the
hour of the call, while nobody is connected between two hours. The tasks of an event loop can't
be seen from outside: they are counted in a server of our own, to which streams come and go.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

import recall_lab as rl
from benchmarks import load
from benchmarks.torture.company import anonymous, odd_captures, pid_of, place, until
from benchmarks.torture.figures import Figure, Scale

STREAMS = 20
_TINY = 32  # bytes of a payload of the simulated day
_SPACING = 200_000  # microseconds between its stamps
_SIZE = 640  # bytes of a real payload
_HOUR = 180_000  # such packets
_WARM_UP = 0.1
_PATIENCE = 600.0
_FRAME_MB = 300  # for a notebook that holds a day's frame: its columns are 247 of them


def run(scale: Scale) -> Iterator[Figure]:
    """Simulate the days, play the hour."""
    yield from simulated(scale)
    yield from tasks(scale)
    yield from day(scale)
    yield from hour(scale)


class Sparse(load.Stream):
    """A stream whose stamps are further apart than its payloads last."""

    def __init__(self, recording: str, first: int, count: int, seed: int) -> None:
        self._first = first
        super().__init__(recording, _TINY, count, seed)

    def relative(self, first: int = 0, count: int | None = None) -> npt.NDArray[np.int64]:
        """Return the relative time of messages, in microseconds."""
        numbers = self._first + np.arange(first, self.count if count is None else first + count)
        return load.RELATIVE_START * 1_000_000 + numbers * _SPACING


def sparse(first: int, count: int) -> list[Sparse]:
    """Return what the streams of the simulated day send in one of its hours."""
    return [Sparse(f"day-{n:02d}", first, count, seed=n) for n in range(STREAMS)]


@dataclass
class Watched:
    """A process, looked at now and then."""

    process: psutil.Process
    when: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, when: float) -> None:
        """Look; a file that is just being opened or synced is not to count."""
        looks = []
        for _ in range(5):
            looks.append((self.process.num_fds(), self.process.num_threads()))
            time.sleep(0.01)
        self.when.append(when)
        self.megabytes.append(anonymous(self.process))
        self.descriptors.append(min(look[0] for look in looks))
        self.threads.append(min(look[1] for look in looks))

    def warm(self, values: list[Any]) -> list[Any]:
        """Return the values after the first tenth."""
        return values[max(1, int(len(values) * _WARM_UP)) :]

    @property
    def slope(self) -> float:
        """MB of memory for each unit of `when`."""
        return float(np.polyfit(self.warm(self.when), self.warm(self.megabytes), 1)[0])

    def figures(self, what: str, scale: Scale) -> Iterator[Figure]:
        """Tell of memory, descriptors and threads."""
        if scale.short:  # a slope over seconds says nothing
            grown = max(self.megabytes) - self.megabytes[0]
            yield Figure(f"{what}: memory grown", grown, "<=", 30, "MB")
        else:
            ends = self.warm(self.megabytes)
            note = f"from {ends[0]:.1f} to {ends[-1]:.1f} MB, at most {max(ends):.1f}"
            yield Figure(f"{what}: memory", self.slope, "<=", 1, "MB/h", note=note)
        for name, values in (("descriptors", self.descriptors), ("threads", self.threads)):
            seen = self.warm(values)
            yield Figure(f"{what}: {name} more or fewer", max(seen) - min(seen), "=", 0,
                         note=f"{seen[-1]} in the end")  # fmt: skip


def simulated(scale: Scale) -> Iterator[Figure]:
    """Push a day of all streams, hour by hour."""
    hours, packets = scale.pick(5, 24), scale.pick(200, 18_000)
    with place() as scratch:
        with rl.receive(0, scratch) as rx:
            child = Watched(psutil.Process(pid_of(rx)))
            began = time.monotonic()
            for done in range(hours):
                push(rx.port, "sparse", done * packets, packets)
                until(lambda: not rx.status.connections, "the hour is over", _PATIENCE)
                child.look(done + 1)
            took = time.monotonic() - began
            status = rx.status
        wrong = sum(_wrong(scratch, stream, hours) for stream in sparse(0, packets))
    total = hours * packets * STREAMS
    name = f"{hours} h of {STREAMS} streams" if not scale.short else "packets of a day"
    lost = total - status.packets + sum(status.rejected.values())
    yield Figure(f"{name}: packets lost", lost, "=", 0, note=f"{total:,} in {took:.0f} s")
    yield Figure(f"{name}: captures that are wrong", wrong, "=", 0)
    yield from child.figures(name, scale)


def _wrong(folder: Path, stream: Sparse, hours: int) -> bool:
    """Whether a stream's capture is not what was sent in so many hours."""
    capture = rl.load(folder / f"{stream.recording}.bin")
    numbers = np.arange(hours * stream.count)
    relative = (load.RELATIVE_START * 1_000_000 + numbers * _SPACING) / 1e6
    sent = b"".join(stream.expected()) * hours
    held = capture.samples.tobytes()
    times = capture.packets["relative"].to_numpy()
    return bool(capture.damage) or held != sent or not np.array_equal(times, relative)


def tasks(scale: Scale) -> Iterator[Figure]:
    """Count the tasks of a server while streams come and go."""

    async def count(folder: Path) -> list[int]:
        found = []
        async with rl.Server(folder, port=0) as server:
            for turn in range(scale.pick(4, 50)):
                await asyncio.to_thread(push, server.port, "sparse", turn * 50, 50)
                while server.status.connections:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                found.append(len(asyncio.all_tasks()))
        return found

    with place() as scratch:
        found = asyncio.run(count(scratch))
    yield Figure("tasks of a server more or fewer", max(found) - min(found), "=", 0,
                 note=f"{found[-1]} after {len(found) * STREAMS:,} connections")  # fmt: skip


def day(scale: Scale) -> Iterator[Figure]:
    """Push a day of one stream while a notebook looks on."""
    packets = scale.pick(_HOUR // 6, 24 * _HOUR)
    with place() as scratch, rl.receive(0, scratch) as rx:
        watched = [Watched(psutil.Process()), Watched(psutil.Process(pid_of(rx)))]
        rx.packets()
        before = sum(anonymous(each.process) for each in watched)
        slowest, kept = 0.0, 0
        with pushing(rx.port, "day", 0, packets) as bot:
            end = time.monotonic() + _PATIENCE
            while kept < packets and not bot.poll() and time.monotonic() < end:
                asked = time.perf_counter()
                kept, status = len(rx.packets()), rx.status
                slowest = max(slowest, time.perf_counter() - asked)
                time.sleep(max(0.0, 1.0 - (time.perf_counter() - asked)))
        kept = len(rx.packets())
        capture = rx.capture()
        grown = sum(anonymous(each.process) for each in watched) - before
    hours = packets / _HOUR
    yield Figure("a day of one stream: packets lost", packets - kept, "=", 0, note=f"{hours:g} h")
    wrong = bool(capture.damage) + sum(status.rejected.values())
    yield Figure("a day of one stream: rejected, damaged", wrong, "=", 0)
    yield Figure("a day of one stream: receiver and notebook grown by", grown, "<=", _FRAME_MB,
                 "MB")  # fmt: skip
    yield Figure("a day of one stream: slowest frame and status", slowest, "<=", 2, "s")


def hour(scale: Scale) -> Iterator[Figure]:
    """Receive in real time."""
    seconds, every = scale.pick(3, 3_600), scale.pick(1, 30) / 2
    command = [sys.executable, "-m", "benchmarks.torture.live"]
    with place() as scratch:
        with rl.receive(0, scratch) as rx:
            command += [str(rx.port), str(STREAMS), str(seconds)]
            child = Watched(psutil.Process(pid_of(rx)))
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bots:
                until(lambda: rx.status.connections == STREAMS, "all bots are there")
                until(lambda: rx.status.packets > 10 * STREAMS, "packets come")
                began = time.monotonic()
                while time.monotonic() - began < seconds - 2:
                    child.look((time.monotonic() - began) / 3600)
                    time.sleep(every)
                sent = int(bots.communicate(timeout=60)[0])
            until(lambda: not rx.status.connections, "the bots are gone")
            lost = sent - rx.status.packets
        odd = odd_captures(scratch, STREAMS)
    name = f"{seconds:,} s of {STREAMS} streams"
    yield Figure(f"{name}: packets lost", lost, "=", 0, note=f"{sent:,} sent")
    yield Figure(f"{name}: captures damaged or wrong", odd, "=", 0)
    yield from child.figures(name, scale)


def pushing(port: int, what: str, first: int, packets: int) -> subprocess.Popen[bytes]:
    """Start a process that pushes."""
    command = [sys.executable, "-m", __name__ if __name__ != "__main__" else __spec__.name]
    return subprocess.Popen([*command, str(port), what, str(first), str(packets)])


def push(port: int, what: str, first: int, packets: int) -> None:
    """Have a process push; wait for it."""
    with pushing(port, what, first, packets) as bot:
        if bot.wait(_PATIENCE):
            raise RuntimeError("the packets could not be pushed")


def main() -> None:
    """Be the bots, as fast as it goes; they connect anew for each hour, before a ping is due."""
    port, what, first, packets = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    sources: list[Any] = sparse(first, packets)
    left = 0
    if what == "day":
        left = packets
    while True:
        if left:
            sources = load.streams("day", 1, min(left, _HOUR), _SIZE)
            left -= min(left, _HOUR)
        peers = [load.connect(port) for _ in sources]
        load.push(peers, sources, time.monotonic() + _PATIENCE)
        load.drain(peers, time.monotonic() + _PATIENCE)
        if not left:
            return


if __name__ == "__main__":
    main()
