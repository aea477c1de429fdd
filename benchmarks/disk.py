"""Folders and memory prepared so that no run pays for the one before it.

Measures nothing by itself; ``ingest.py`` and ``realtime.py`` use it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FS_IOC_GETFLAGS: Final = 0x80086601  # linux/fs.h
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_TOPDIR_FL: Final = 0x00020000


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder on a disk, and remove it with all that is in it.

    ext4 does not give out inodes that were deleted within the last minutes, but steps over them
    one by one: after a run that deleted 6,000 files, making one took 0.5 ms in the same place
    instead of 0.03. Folders below one with the attribute T are spread over the disk instead.
    """
    disk = Path("/var/tmp")  # /tmp may be memory
    base = (disk if os.access(disk, os.W_OK) else Path(tempfile.gettempdir())) / "recall_lab_bench"
    base.mkdir(exist_ok=True)
    descriptor = os.open(base, os.O_RDONLY)
    with contextlib.suppress(OSError):  # not such a file system
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8)))
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_TOPDIR_FL))
    os.close(descriptor)
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # somebody else is in it
            base.rmdir()


def touch_memory(directory: Path, size: int) -> None:
    """Write a file of `size` bytes and delete it.

    The guest of a virtual machine gets a page of memory from its host when it first touches it,
    which takes longer than all that a receiver does with the page. Whoever came first would pay
    for it. So the pages that the output will need are used and freed once before each run, for
    everybody alike: the kernel gives out again what was freed last.
    """
    piece = os.urandom(1 << 20)
    path = directory / "throw-away"
    with open(path, "wb", buffering=0) as file:
        for _ in range(-(-size // len(piece))):
            file.write(piece)
    path.unlink()
