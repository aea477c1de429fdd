"""Disks that belong to a trial alone: in a file, or in memory. They need root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

from benchmarks.torture.figures import Unavailable

MIB: Final = 1 << 20
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
        disk = os.statvfs(self.folder)
        size = ballast.stat().st_size + disk.f_bavail * disk.f_frsize - leave
        os.truncate(ballast, max(size, 0))
        with ballast.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
