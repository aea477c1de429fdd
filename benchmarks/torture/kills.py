"""Kill -9, again and again, while receiving and while repairing: is anything committed lost?

**While receiving.** Six bots send: three one packet at a time, which they have answered by a pong
before the next, three up to twenty packets in one write, a hundred times a second. The
receiver's process is killed and started again on the same port and folder: a share of the times
it is what `rl.receive` started, killed at a random moment; a share is our `Server` in a bare
process, which starts faster, some killed while it starts; and a share kills itself within one of
its writes to a capture: before it, after it, or with a part of it done, which is what the kernel
may do to a large write. After each kill every capture is loaded: each packet that a reader had
seen, or its bot had been answered for, has to be there, in its place; none may be left out within
a connection; all audio has to be what was sent.

What is committed at once is a batch: what came of a stream in one read of a socket. A kill
between the audio of a batch and its records leaves that audio without a record: one packet, if
packets come one at a time, and never more than one read holds. The captures are written one
after the other, so a kill does this to one of them. In a bare process the size of each write is
noted before it, outside the process, and what is left has to be no more than that.

**While repairing.** See `repairs.py`.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

import recall_lab as rl
from benchmarks.torture.company import numbers_of, pid_of
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import SIZE
from benchmarks.torture.repairs import kill_while_repairing
from benchmarks.torture.sending import Bot, Senders, frame, wrong_audio
from benchmarks.torture.served import PROCESSES, Served
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE
from recall_lab.wire.pcm import SAMPLE_BYTES

BOTS: Final = (
    *(Bot(f"one-{n}", pause=0.01, asks=True) for n in range(3)),
    *(Bot(f"burst-{n}", pause=0.01, burst=20) for n in range(3)),
)
BUFFER: Final = 256 * 1024  # bytes that the server reads at once
_PATIENCE: Final = 60.0


def run(scale: Scale) -> Iterator[Figure]:
    """Kill while receiving, then while repairing."""
    draw = random.Random(scale.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="recall_lab_kills_") as scratch:
        os.environ[RUNTIME_VARIABLE] = str(Path(scratch, "runtime"))
        ways: tuple[tuple[int, Callable[..., Victim]], ...] = (
            (scale.pick(3, 200), Received),
            (scale.pick(6, 400), Watched),
            (scale.pick(6, 400), partial(Watched, draw=draw)),
        )
        for number, (kills, start) in enumerate(ways):
            kill_while_receiving(Path(scratch, str(number)), kills, start, draw, counts)
        yield Figure("kill -9 while receiving", counts["kills"], ">=", scale.pick(15, 1_000))
        yield Figure("packets kept meanwhile", counts["kept"], ">=", scale.pick(300, 20_000))
        for promise in (
            "captures unreadable", "committed packets lost", "packets answered by a pong and lost",
            "packets left out within a connection", "packets with wrong audio",
            "damaged records", "records without audio",
        ):  # fmt: skip
            yield Figure(promise, counts[promise], "=", 0)
        yield from orphans(counts)
        yield from kill_while_repairing(Path(scratch, "repairs"), scale, draw)


def orphans(counts: Counter[str]) -> Iterator[Figure]:
    """Tell of the audio whose records were not written any more."""
    note = f"{counts['kills with orphans']} kills left any"
    yield Figure("captures with orphan audio of one kill", counts["most captures"], "<=", 1)
    promise = "orphan packets of one kill in a capture"
    yield Figure(promise, counts["most of one"], "<=", 1, note=f"packets come singly; {note}")
    bound = BUFFER // len(frame("burst-0", 0))
    yield Figure(
        promise, counts["most of burst"], "<=", bound, note="bursts; the limit is one read's"
    )
    yield Figure("orphan bytes beyond the batch that was written", counts["beyond"], "=", 0)


class Received:
    """What `rl.receive` starts, to be killed."""

    def __init__(self, directory: Path, port: int = 0, sync: float = 1.0) -> None:
        self.receiver = rl.receive(port, directory, sync=sync, idle_timeout=10.0)
        self.port = self.receiver.port

    @property
    def pid(self) -> int:
        """Its process."""
        return pid_of(self.receiver)

    def kill(self) -> None:
        """Kill -9; waits until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        while self.receiver.alive:
            time.sleep(0.001)
        self.receiver.stop()


class Watched(Served):
    """A server whose writes of audio are noted before they are done.

    Args:
        draw: if given, it kills itself within one of its writes, drawn by this.

    Attributes:
        dies: whether it will.
        batch: bytes of the last write of audio.
    """

    def __init__(self, directory: Path, port: int = 0, draw: random.Random | None = None) -> None:
        self.batch = PROCESSES.RawValue("q", 0)
        self.dies = draw is not None
        number, share = 0, 0.0
        if draw is not None:
            number, share = draw.randrange(1, 100), draw.choice((0.0, draw.random(), 1.0))
        super().__init__(directory, port, first=partial(_watch_writes, self.batch, number, share))


Victim = Served | Received


def _watch_writes(batch: Any, number: int, share: float) -> None:
    """Note writes of audio; die in a write to come, with a share of it done, unless it is 0."""
    write, left = os.pwrite, number

    def pwrite(descriptor: int, data: bytes, at: int) -> int:
        nonlocal left
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".bin":
            batch.value = len(data)
        left -= 1
        if left:
            return write(descriptor, data, at)
        write(descriptor, data[: int(len(data) * share)], at)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("killed")

    os.pwrite = pwrite


def kill_while_receiving(
    folder: Path,
    kills: int,
    start: Callable[..., Victim],
    draw: random.Random,
    counts: Counter[str],
) -> None:
    """Kill so many receivers, one after the other, on one port and folder."""
    books = Books(folder, counts)
    victim = start(folder)
    with Senders(BOTS, victim.port) as senders:
        try:
            for number in range(kills):
                if isinstance(victim, Watched) and victim.dies:
                    victim.process.join(_PATIENCE)
                else:
                    if number % 4 or isinstance(victim, Received):
                        books.await_packets(draw.randrange(1, 150))
                    time.sleep(draw.random() * 0.03)
                    books.look()
                victim.kill()
                counts["kills"] += 1
                books.after_kill(victim, list(senders.answered))
                victim = start(folder, victim.port)
        finally:
            victim.kill()


class Books:
    """What has been seen of each capture; counts what is wrong."""

    def __init__(self, folder: Path, counts: Counter[str]) -> None:
        self.folder = folder
        self.counts = counts
        self.seen = {bot.recording: np.empty(0, np.int64) for bot in BOTS}
        self.ends = dict.fromkeys(self.seen, 0)  # of the audio after the last kill, in samples

    def await_packets(self, count: int) -> None:
        """Wait until there are so many more packets than after the last kill."""
        enough = sum(map(len, self.seen.values())) + count
        deadline = time.monotonic() + _PATIENCE
        while sum(map(self._kept, self.seen)) < enough:
            if time.monotonic() > deadline:
                raise TimeoutError("the receiver keeps nothing")
            time.sleep(0.002)

    def look(self) -> None:
        """Note what a reader sees now: that must never be gone again."""
        for recording in self.seen:
            if self._kept(recording):
                self._compare(recording)

    def after_kill(self, victim: Victim, answered: list[int]) -> None:
        """Load everything."""
        counts, left = self.counts, []
        for recording, last in zip(self.seen, answered, strict=True):
            if (self.folder / f"{recording}.idx").exists():
                capture = self._compare(recording)
                left.append(0 if capture is None else self._orphans(recording, capture))
            lost = last >= 0 and last not in self.seen[recording]
            counts["packets answered by a pong and lost"] += lost
        counts["kills with orphans"] += any(left)
        counts["most captures"] = max(counts["most captures"], sum(map(bool, left)))
        if isinstance(victim, Watched):
            counts["beyond"] += max(sum(left) - victim.batch.value, 0)

    def _kept(self, recording: str) -> int:
        try:
            size = (self.folder / f"{recording}.idx").stat().st_size
        except FileNotFoundError:
            return 0
        return max(size - HEADER_BYTES, 0) // RECORD_BYTES

    def _compare(self, recording: str) -> rl.Capture | None:
        """Load a capture and compare it with what is known of it."""
        counts, before = self.counts, self.seen[recording]
        try:
            capture = rl.load(self.folder / recording)
            numbers = numbers_of(capture)
        except Exception:
            counts["captures unreadable"] += 1
            return None
        same = before[: len(numbers)] == numbers[: len(before)]
        counts["committed packets lost"] += len(before) - int(np.count_nonzero(same))
        together = np.diff(capture.packets["connection"].to_numpy().astype(np.int64)) == 0
        left_out = together & (np.diff(numbers) != 1)
        counts["packets left out within a connection"] += int(np.count_nonzero(left_out))
        counts["packets with wrong audio"] += wrong_audio(capture, len(before))
        counts["damaged records"] += capture.damage.damaged_records
        counts["records without audio"] += capture.damage.missing_payloads
        counts["kept"] += len(numbers) - len(before)
        self.seen[recording] = numbers
        return capture

    def _orphans(self, recording: str, capture: rl.Capture) -> int:
        """Return how many bytes have come since the last kill that no record claims."""
        last = self.ends[recording]
        spans = ((max(start, last), end) for start, end in capture.damage.orphan_spans)
        new = sum(max(0, end - start) for start, end in spans) * SAMPLE_BYTES
        self.ends[recording] = len(capture.samples) + capture.damage.odd_byte
        kind = f"most of {recording.partition('-')[0]}"
        packets = -(-new // SIZE)  # half a packet is one
        self.counts[kind] = max(self.counts[kind], packets)
        return new
