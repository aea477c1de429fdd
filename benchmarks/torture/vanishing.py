"""The disk gone from under a receiver: its folder deleted, unmounted, read-only all at once.

Four live sources send into captures on a small file system of its own (a loop device). Then the
folder of the captures is deleted; or the disk is unmounted lazily, as when somebody pulls it out:
what is open stays open, by no name; or it turns read-only under the writer, as Linux does with
one that fails. Each time there has to be one receiver, it has to say what is wrong and what to
do, what had been committed has to be there once the disk is back, and the notebook has to be able
to go on into another folder, at the same port.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import recall_lab as rl
from benchmarks.torture.company import free_port, kept, lost, odd_captures, place, until
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import Bots

BOTS = 4
_IMAGE = 1 << 30  # bytes, sparse: a receiver begins nothing on a disk that is nearly full
_HELP = ("name", "choose", "free", "mount", "capture into", "folder on another", "run the start")


def run(scale: Scale) -> Iterator[Figure]:
    """Delete, unmount, make read-only."""
    yield from _trial("folder deleted", lambda disk: shutil.rmtree(disk.captures), scale)
    if os.geteuid() or not (shutil.which("mkfs.ext4") and Path("/dev/loop-control").exists()):
        return
    yield from _trial("disk unmounted", Disk.unmount, scale)
    yield from _trial("disk read-only", Disk.fail, scale)


class Disk:
    """A file system in a file, mounted, as a context manager."""

    def __init__(self, folder: Path, real: bool) -> None:
        self.mounted = folder / "disk"
        self.captures = self.mounted / "captures"
        self._image = folder / "image"
        self._real = real
        self.mounted.mkdir()
        if real:
            with self._image.open("wb") as file:
                file.truncate(_IMAGE)
            _do("mkfs.ext4", "-q", str(self._image))
            self.mount()

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        if self._real:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.unmount()

    def mount(self) -> None:
        """Mount it; again, what is on it is there again."""
        _do("mount", "-o", "loop", str(self._image), str(self.mounted))

    def unmount(self) -> None:
        """Take it away, whoever uses it."""
        _do("umount", "-l", str(self.mounted))

    def fail(self) -> None:
        """Have it turn read-only, as after an error that ext4 can't go on from."""
        _do("mount", "-o", "remount,abort", str(self.mounted))


def _trial(what: str, deed: Callable[[Disk], None], scale: Scale) -> Iterator[Figure]:
    """Receive, do it, receive on, ask, go on elsewhere; then look what is there."""
    with place() as scratch, Disk(scratch, what.startswith("disk")) as disk:
        rx = rl.receive(free_port(), disk.captures)
        with Bots(BOTS, rx.port) as bots:
            until(lambda: rx.status.packets > 50 * BOTS, "packets come")
            before = kept(disk.captures, BOTS)
            time.sleep(0.1)
            deed(disk)
            time.sleep(scale.pick(2, 10))
            told = rx.status
            with contextlib.suppress(FileNotFoundError):
                before = kept(disk.captures, BOTS) if what == "disk read-only" else before
            shown = sum(map(len, kept(disk.captures, BOTS)))
            same = rl.receive(rx.port, disk.captures)
            servers = len(rl.receivers())
            elsewhere = rl.receive(rx.port, scratch / "elsewhere", replace=True)
            servers = max(servers, len(rl.receivers()))
            until(lambda: elsewhere.status.packets > 50 * BOTS, "packets come again")
            bots.stop()
            until(lambda: not elsewhere.status.connections, "the bots are gone")
        elsewhere.stop()
        odd = odd_captures(scratch / "elsewhere", BOTS)
        gone = 0
        if what == "disk unmounted":
            disk.mount()
        if what != "folder deleted":
            gone = lost(before, disk.captures)
    helps = any(word in told.last_error for word in _HELP)
    yield Figure(f"{what}: errors that do not say what to do", int(not helps), "=", 0,
                 note="" if helps else told.last_error[:300])  # fmt: skip
    yield Figure(f"{what}: receivers of the port", servers, "=", 1)
    yield Figure(f"{what}: start cells that do not find it", int(same.id != rx.id), "=", 0)
    if what == "folder deleted":
        yield Figure(f"{what}: packets kept since, in a new one", shown, ">=", 50)
    else:
        yield Figure(f"{what}: committed packets gone once it is back", gone, "=", 0)
    yield Figure(f"{what}: captures elsewhere damaged or wrong", odd, "=", 0)


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
