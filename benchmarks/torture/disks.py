"""Disks that belong to a trial alone: in a file, or in memory. They need root."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

from benchmarks.torture.figures import Unavailable

MIB: Final = 1 << 20
_SHUTDOWN: Final = 0x8004587D  # _IOR('X', 125, __u32): linux/fs/ext4/ext4.h
_NO_LOG_FLUSH: Final = 2
_SBIN: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def do(program: str, *arguments: str | Path, good: tuple[int, ...] = (0,)) -> str:
    """Run a program; return what it said.

    Raises:
        Unavailable: when it is not there, or we may not.
        subprocess.CalledProcessError: when it failed.
    """
    found = shutil.which(program, path=_SBIN)
    if os.geteuid() or found is None:
        raise Unavailable(f"needs root, and {program}")
    command = [found, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in good:
        said = done.stderr or done.stdout
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, said)
    return done.stdout


def loop_device(image: Path) -> str:
    """Return a block device whose bytes are those of a file; to be detached by the caller."""
    try:
        return do("losetup", "--find", "--show", image).strip()
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"needs loop devices: {error.stderr.strip()}") from None


class Disk:
    """An ext4 file system on a loop device, as a context manager.

    Attributes:
        folder: where it is mounted.
    """

    def __enter__(self) -> Self:
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        # in memory: the machine's own disk may be slow, and is not what is tried
        self._scratch = Path(tempfile.mkdtemp(prefix="recall_lab_disk_", dir=memory))
        self.folder = self._scratch / "mounted"
        self.folder.mkdir()
        self._device = ""
        try:
            image = self._scratch / "ext4"
            with image.open("wb") as file:
                file.truncate(1 << 30)  # receivers keep 256 MiB of a disk in reserve
            do("mkfs.ext4", "-q", image)
            self._device = loop_device(image)
            self._mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder.is_mount():
            try:
                do("umount", self.folder)
            except subprocess.CalledProcessError:
                do("umount", "--lazy", self.folder)
        if self._device:
            do("losetup", "--detach", self._device)
        shutil.rmtree(self._scratch)

    def lose_power(self) -> None:
        """Let nothing more reach the disk, and nothing that is in memory now."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def recover(self) -> None:
        """Mount it as the next boot does."""
        do("umount", self.folder)
        do("e2fsck", "-p", self._device, good=(0, 1))
        self._mount()

    def _mount(self) -> None:
        do("mount", "-t", "ext4", self._device, self.folder)


class SmallDisk:
    """A disk in memory, mounted on a folder, as a context manager."""

    def __init__(self, folder: Path, mib: int = 32) -> None:
        self.folder = folder
        self._size = mib

    def __enter__(self) -> Self:
        self.folder.mkdir()
        do("mount", "-t", "tmpfs", "-o", f"size={self._size}m", "tmpfs", self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        do("umount", "--lazy", self.folder)

    def fill(self, leave: int) -> None:
        """Have so many bytes left on it."""
        ballast = self.folder / "ballast"
        ballast.touch()
        for last in (False, False, False, True):
            disk = os.statvfs(self.folder)
            size = ballast.stat().st_size + disk.f_bavail * disk.f_frsize - leave
            os.truncate(ballast, max(size, 0))
            try:
                with ballast.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, max(size, 1))
                return
            except OSError:  # somebody else has written meanwhile
                if last:
                    raise
