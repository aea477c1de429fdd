"""A disk that refuses now and then: what is kept, and is anything called durable that is not?

Two parts. First libfiu lets calls of a receiver's process fail (write 1 %, fsync and fdatasync
5 %), while bots send: a packet whose write failed is lost, and told; nothing else is.

Then a disk that really loses what it had taken: ext4 on a loop device, whose blocks for the
audio lie in a memory that is full. The writes come back into the page cache as good; the sync
fails once; the kernel drops the pages' claims, and a plain second sync would succeed (that it
does is tried as well: a disk that is kinder proves nothing). Then there is room, and what the
writer calls durable from then on is held against the disk after it was unmounted and mounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import recall_lab as rl
from benchmarks.torture.company import kept, lost, numbers_of, odd_captures, place
from benchmarks.torture.disks import MIB, SmallDisk, do, loop_device
from benchmarks.torture.figures import Figure, Scale, Unavailable
from benchmarks.torture.live import STEP, Bots, recording
from recall_lab.capture.info import CaptureInfo
from recall_lab.store.writer import StreamWriter

BOTS: Final = 6
_PRELOAD: Final = Path("/usr/lib/fiu")
_EIO: Final = 5
_FIEMAP: Final = 0xC020660B  # _IOWR('f', 11, struct fiemap): linux/fs.h
_KEEP_SIZE: Final = 1  # linux/falloc.h
_PUNCH: Final = 3  # a hole, and the size stays


def run(scale: Scale) -> Iterator[Figure]:
    """Inject errors, then lose for real."""
    # in seconds five in a hundred may well be none
    yield from injected(scale.pick(4, 60), sync=0.2 if scale.short else 0.05)
    with place() as scratch:
        for careless in (True, False):
            disk = ForgetfulDisk(scratch / str(careless))
            with disk:
                called = forgotten(disk, careless=careless)
                disk.mount_again()
                capture = rl.load(disk.folder / "r1")
                gone = called - len(capture.packets) + len(rl.verify(capture))
                del capture
            if careless:
                promise = "packets called durable and gone, if a sync is just retried"
                yield Figure(promise, gone, ">=", 1)
            else:
                yield Figure("packets called durable after a sync had failed", called, ">=", 1_000)
                yield Figure("of them, gone", gone, "=", 0)


def injected(seconds: int, sync: float) -> Iterator[Figure]:
    """Receive under libfiu."""
    preload = sorted(_PRELOAD.glob("fiu_*_preload.so"), reverse=True)
    if len(preload) < 2:
        raise Unavailable("needs libfiu (fiu-utils)")
    points = [
        f"enable_random name={name},probability={chance},failinfo={_EIO}"
        for name, chance in (("posix/io/rw/pwrite", 0.01), ("posix/io/sync/*", sync))
    ]
    with place() as scratch:
        with environment(LD_PRELOAD=":".join(map(str, preload)), FIU_ENABLE="\n".join(points)):
            rx = rl.receive(0, scratch / "captures")
        seen, gone = kept(rx.directory, BOTS), 0
        with Bots(BOTS, rx.port) as bots:
            for _ in range(seconds * 4):
                time.sleep(0.25)
                gone += lost(seen, rx.directory)
                seen = kept(rx.directory, BOTS)
        status = rx.stop()
        missing = leading = 0
        gaps = 0.0
        for bot in bots.all:
            capture = rl.load(rx.directory / recording(bot.number))
            numbers = numbers_of(capture).tolist()
            missing += len(set(bot.sent) - set(numbers))
            # where its files could not be made at once there is no gap, as nothing is before it
            leading += sum(number < min(numbers) for number in bot.sent)
            found = rl.gaps(capture).query("kind == 'gap' and cause == 'dropped'")
            gaps += float(found["duration"].sum())
        yield Figure("writes that failed (1 % of them)", missing, ">=", seconds * BOTS * 50 // 500)
        failed = (rx.directory / "_receiver.events.jsonl").read_text().count('"kind":"unsynced"')
        yield Figure(f"syncs that failed ({sync:.0%})", failed, ">=", 1)
        yield Figure("committed packets lost", gone, "=", 0)
        yield Figure("lost packets, not in the status", missing - status.dropped, "=", 0)
        ends = sum(max(bot.sent) not in kept_ for bot, kept_ in zip(bots.all, seen, strict=True))
        untold = round((missing - leading) * STEP - gaps, 6)
        yield Figure("seconds of them in no gap of cause storage", untold, "<=", ends * STEP)
        yield Figure("captures damaged", odd_captures(rx.directory, BOTS), "=", 0)


def forgotten(disk: ForgetfulDisk, *, careless: bool) -> int:
    """Write on while the disk loses, and after; return how many packets are called durable."""
    writer = StreamWriter(disk.folder, CaptureInfo(recording="r1"))
    disk.reserve(writer.audio_path)

    def put(count: int) -> None:
        for number in range(writer.packets, writer.packets + count):
            writer.append(
                os.urandom(6_400), relative=number * 0.2, absolute=0, received=0,
                monotonic=0, connection=1, sequence=number,
            )  # fmt: skip

    put(100)
    writer.sync()
    disk.lose(writer.audio_path, beyond=writer.bytes)
    put(1_000)
    seen = rl.load(writer.audio_path)  # by a notebook, say: what is mapped can't be dropped
    assert seen.samples.any()
    with contextlib.suppress(OSError):
        writer.sync()
    disk.keep()
    put(50)
    for _ in range(3):
        with contextlib.suppress(OSError):
            if careless:
                os.fdatasync(writer._audio)
                os.fdatasync(writer._index)
                writer.synced, writer._sync_failed = writer.packets, False
            else:
                writer.sync()
    called = writer.synced
    with contextlib.suppress(rl.errors.CaptureError):
        writer.close()
    return called


class ForgetfulDisk:
    """An ext4 whose blocks for audio can be lost when they are written back, as a context manager.

    Its image lies in a memory of its own, whole, but for holes where the audio will be; while
    that memory is full a block that falls into a hole can't be written.
    """

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir()
        self._memory = SmallDisk(scratch / "memory", mib=80)
        self._image = self._memory.folder / "ext4"
        self.folder = scratch / "mounted"

    def __enter__(self) -> ForgetfulDisk:
        self.folder.mkdir()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._memory)
            self._image.touch()
            os.truncate(self._image, 64 * MIB)
            do("mkfs.ext4", "-q", self._image)
            with self._image.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, 64 * MIB)
            self._device = loop_device(self._image)
            stack.callback(do, "losetup", "--detach", self._device)
            do("mount", "-t", "ext4", "-o", "nodiscard", self._device, self.folder)
            stack.callback(do, "umount", "--lazy", self.folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reserve(self, path: Path) -> None:
        """Give a file its blocks before it is written."""
        _fallocate(path, _KEEP_SIZE, 0, 16 * MIB)

    def lose(self, path: Path, beyond: int) -> None:
        """Lose what is written to a file from a whole block beyond its end on."""
        passed, first = 0, (beyond // 4_096 + 2) * 4_096
        for at, size in _extents(path):
            skipped = max(0, first - passed)
            if skipped < size:
                _fallocate(self._image, _PUNCH, at + skipped, size - skipped)
            passed += size
        self._memory.fill(leave=0)

    def keep(self) -> None:
        """Lose nothing any more."""
        self._memory.fill(leave=15 * MIB)

    def mount_again(self) -> None:
        """Forget all that is only in the cache."""
        do("umount", self.folder)
        do("mount", "-t", "ext4", self._device, self.folder)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables for what is started meanwhile."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def _extents(path: Path) -> list[tuple[int, int]]:
    """Return where on its disk a file's blocks lie, in the order of the file: at, bytes."""
    request = struct.pack("=QQIIII", 0, 2**63 - 1, 1, 0, 16, 0) + bytes(56 * 16)
    with path.open("rb") as file:
        answer = fcntl.ioctl(file.fileno(), _FIEMAP, request)
    (count,) = struct.unpack_from("=I", answer, 20)
    return [struct.unpack_from("=QQ", answer, 40 + 56 * number) for number in range(count)]


def _fallocate(path: Path, mode: int, at: int, size: int) -> None:
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    with path.open("r+b") as file:
        if call(file.fileno(), mode, at, size):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
