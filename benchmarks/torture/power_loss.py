"""The power is cut while streams are written: is anything gone that was reported as durable?

A disk of its own: ext4 in a file, on a loop device. A receiver writes a dozen streams there at
the rate of real bots, once as `rl.receive` starts it, once as our `Server` in a bare process,
which tells stream by stream how much its writers say is durable. Right after it has said so, the
file system is shut down (EXT4_IOC_SHUTDOWN, the journal not flushed): from that instant on
nothing reaches the disk any more, and what is in memory only is dropped. The receiver's process
is killed, the disk unmounted, checked by e2fsck, and mounted again. Then every capture is loaded
and compared with what was sent.

The file lies in memory where that can be, so that others' use of the disk does not count; a disk
that is slow is another trial. What a disk's own cache does when the power goes is not tried: that
takes a disk and a plug.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import recall_lab as rl
from benchmarks.torture.company import numbers_of
from benchmarks.torture.disks import Disk
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.kills import Received, Victim
from benchmarks.torture.live import STEP, payload
from benchmarks.torture.sending import Bot, Senders
from benchmarks.torture.served import Served
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE
from recall_lab.store.writer import StreamWriter

BOTS: Final = tuple(Bot(f"stream-{n}") for n in range(12))
SYNC: Final = 1.0  # seconds: what a receiver has unless told otherwise


def run(scale: Scale) -> Iterator[Figure]:
    """Cut the power again and again."""
    draw = random.Random(scale.seed)
    counts: Counter[str] = Counter()
    losses: list[float] = []
    rounds = scale.pick(2, 10)
    with tempfile.TemporaryDirectory(prefix="recall_lab_power_") as runtime:
        os.environ[RUNTIME_VARIABLE] = str(Path(runtime, "run"))
        for number in range(rounds):
            start = Served if number % 2 else Received
            with Disk() as disk:
                cut = lose_power(disk, start, draw.uniform(1.5, 3.5))
                left = disk.folder / "captures"
                losses += [judge(left / bot.recording, cut, counts) for bot in BOTS]
                if not cut.synced:  # only the sum was told
                    counts["durable and lost"] += max(cut.total - counts["kept now"], 0)
                counts["durable"] += cut.total
                counts["kept now"] = 0
    yield Figure("cuts of the power", rounds, "=", scale.pick(2, 10))
    yield Figure(
        "packets reported as durable", counts["durable"], ">=", rounds * len(BOTS) * 20,
        note=f"{len(BOTS)} streams, synced every {SYNC:g} s",
    )  # fmt: skip
    yield Figure("of them, lost or with wrong audio", counts["durable and lost"], "=", 0)
    yield Figure("packets that the cuts took away", counts["taken"], ">=", 1, note="so they cut")
    yield Figure("captures unreadable", counts["unreadable"], "=", 0)
    yield Figure("packets with wrong audio that verify passes", counts["wrong"], "=", 0)
    yield Figure("captures that could not be gone on with", counts["stuck"], "=", 0)
    yield Figure("audio lost of a stream, at most", max(losses), "<=", SYNC + 0.5, "s")


@dataclass(frozen=True)
class Cut:
    """What was known when the power was cut.

    Attributes:
        began, ended: when the first packet was sent at the earliest, when the power was gone at
            the latest: ns since 1970 UTC.
        total: packets that the receiver had reported as durable, over all streams.
        synced: the same stream by stream, where it could be asked.
        kept: packets that a reader saw of each stream, right before.
    """

    began: int
    ended: int
    total: int
    synced: dict[str, int]
    kept: dict[str, int]


def lose_power(disk: Disk, start: Callable[..., Victim], seconds: float) -> Cut:
    """Receive for so many seconds, cut the power, kill the receiver, and look at the disk again."""
    folder = disk.folder / "captures"
    victim = start(folder, sync=SYNC)
    try:
        port = victim.port
        began = time.time_ns()
        with Senders(BOTS, port):
            _await_all(folder)
            time.sleep(seconds)
            kept = {bot.recording: _records(folder / bot.recording) for bot in BOTS}
            if isinstance(victim, Served):
                synced = victim.synced()
                total = sum(synced.values())
            else:
                status, synced = victim.receiver.status, {}
                total = status.packets - status.unsynced
            disk.lose_power()
            ended = time.time_ns()
            victim.kill()
    except BaseException:
        with contextlib.suppress(Exception):
            victim.kill()
        raise
    disk.recover()
    return Cut(began, ended, total, synced, kept)


def judge(path: Path, cut: Cut, counts: Counter[str]) -> float:
    """Compare what is left of a stream with what was sent; return the seconds that are lost."""
    durable = cut.synced.get(path.name, 0)
    try:
        capture = rl.load(path)
        right = _right(capture)
        told = rl.verify(capture).index
    except rl.errors.CaptureNotFound:  # begun so late that not even its name was durable
        counts["taken"] += cut.kept[path.name]
        counts["durable and lost"] += durable
        return (cut.ended - cut.began) / 1e9
    except Exception:
        counts["unreadable"] += 1
        return (cut.ended - cut.began) / 1e9
    whole = len(right) if right.all() else int(np.argmin(right))  # up to the first that is not
    counts["kept now"] += whole
    counts["taken"] += max(cut.kept[path.name] - whole, 0)
    counts["durable and lost"] += max(durable - whole, 0)
    counts["wrong"] += len(set(np.flatnonzero(~right).tolist()) - set(told.tolist()))
    counts["stuck"] += not _goes_on(path, capture)
    last = capture.packets["received"].iloc[whole - 1].value if whole else cut.began
    return (cut.ended - last) / 1e9


def _await_all(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not all(_records(folder / bot.recording) for bot in BOTS):
        if time.monotonic() > deadline:
            raise TimeoutError("not all streams are received")
        time.sleep(0.02)


def _records(path: Path) -> int:
    try:
        return len(rl.load(path).packets)
    except rl.errors.CaptureNotFound:
        return 0


def _right(capture: rl.Capture) -> np.ndarray:
    """Tell of each packet whether it is the next one that was sent, with its audio."""
    rows = capture.packets[["offset", "samples"]].itertuples(index=False)
    name, samples = capture.info.recording, capture.samples
    found = [
        number == expected and samples[at : at + count].tobytes() == payload(name, number)
        for expected, ((at, count), number) in enumerate(
            zip(rows, numbers_of(capture), strict=True)
        )
    ]
    return np.array(found, bool)


def _goes_on(path: Path, before: rl.Capture) -> bool:
    """Append a packet as the next receiver does; tell whether it is there, and all before it."""
    number = 10**6
    try:
        writer = StreamWriter(path.parent, before.info)
        writer.append(
            payload(path.name, number), relative=number * STEP, absolute=0, received=0,
            monotonic=0, connection=2, sequence=0,
        )  # fmt: skip
        writer.close()
        after = rl.load(path)
    except rl.errors.RecallLabError:
        return False
    row = after.packets.iloc[-1]
    held = after.samples[row["offset"] : row["offset"] + row["samples"]].tobytes()
    return held == payload(path.name, number) and len(after.packets) > len(before.packets)
