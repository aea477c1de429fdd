"""A disk that stands still for seconds, as a busy or failing one does: what does it cost?

Two receivers: one writes to a disk of its own, ext4 on a loop device, which is frozen (FIFREEZE)
while its bots go on, so that whoever writes there waits; the other writes elsewhere. Times are
from the send to the noted arrival: a receiver that stood still with its disk would note all of
five seconds' packets as they are thawed. Memory is what the receiver has for itself (RssAnon).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import psutil

import recall_lab as rl
from benchmarks.torture.company import anonymous, latencies, odd_captures, pid_of, place
from benchmarks.torture.disks import Disk
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import Bots, recording
from recall_lab.receiver.stall_reader import HELD

BOTS: Final = 8
_FREEZE: Final = 0xC0045877  # _IOWR('X', 119, int): linux/fs.h
_THAW: Final = 0xC0045878


def run(scale: Scale) -> Iterator[Figure]:
    """Freeze, once or again and again."""
    stall, rounds = (2.0, 1) if scale.short else (5.0, 4)
    with place() as scratch, Disk() as disk:
        slow = rl.receive(0, disk.folder / "captures")
        other = rl.receive(0, scratch / "captures")
        process = psutil.Process(pid_of(slow))
        with Bots(BOTS, slow.port) as there, Bots(BOTS, other.port) as here:
            time.sleep(1.5)
            before, grown, standing = anonymous(process), 0.0, 0
            for _ in range(rounds):
                with frozen(disk.folder):
                    kept = _kept(slow)
                    time.sleep(stall)
                    grown = max(grown, anonymous(process) - before)
                    standing += _kept(slow) - kept < BOTS * 50
                time.sleep(1.0)
        told = slow.status
        for rx in (slow, other):
            rx.stop()
        late = {rx: p99(rx.directory) for rx in (slow, other)}
        note = f"{BOTS} bots, {rounds} stalls of {stall:g} s"
        yield Figure("stalls in which nothing could be written", standing, "=", rounds, note=note)
        missing = there.sent - told.packets, here.sent - other.status.packets
        yield Figure("packets lost there", missing[0], "=", 0)
        yield Figure("packets lost by the other receiver", missing[1], "=", 0)
        odd = odd_captures(slow.directory, BOTS) + odd_captures(other.directory, BOTS)
        yield Figure("captures damaged, or with other audio than was sent", odd, "=", 0)
        yield Figure("gaps", told.gaps, "=", 0)
        yield Figure("arrival noted, p99, there", late[slow] * 1e3, "<=", 100, "ms")
        yield Figure("arrival noted, p99, the other receiver", late[other] * 1e3, "<=", 100, "ms")
        yield Figure("memory while it stands still", grown, "<=", HELD / 2**20 + 16, "MiB")


@contextlib.contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Let nobody write to a file system."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _FREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, _THAW, 0)
    finally:
        os.close(descriptor)


def p99(folder: Path) -> float:
    """Return the 99th percentile of how long packets took to be noted, s."""
    captures = (rl.load(folder / recording(bot)) for bot in range(BOTS))
    return float(np.percentile(np.concatenate([latencies(cap) for cap in captures]), 99))


def _kept(rx: rl.Receiver) -> int:
    """Return how many packets are on the disk; the receiver itself can't be asked now."""
    sizes = [path.stat().st_size for path in rx.directory.glob("*.idx")]
    return (sum(sizes) - 64 * len(sizes)) // 64
