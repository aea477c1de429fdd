"""Check on a file whether captures can be kept in a folder, before any packet comes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
from pathlib import Path
from typing import Final

from recall_lab.errors import ReceiverFailed
from recall_lab.store.files import open_own, sync_path, write_all
from recall_lab.text import sized

NO_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})
"""What ``flock`` says on file systems without locks: some of NFS, of Lustre, of FUSE."""

_BLOCK: Final = bytes(4096)
_CURES: Final = {
    errno.EROFS: "its disk is mounted read-only: name a directory on another, or mount it anew",
    errno.ENOSPC: "its disk is full: make room, or name a directory on another",
    errno.EDQUOT: "your quota there is used up: make room, or name a directory on another disk",
    errno.ENOTDIR: "a part of its path is a file: name another directory",
    errno.EEXIST: "that is a file: name another directory",
    errno.ELOOP: "its links lead in a circle: name another directory",
    errno.ENAMETOOLONG: "its name is too long: name another directory",
    errno.EIO: "its disk fails: name a directory on another",
}


def probe(directory: Path, *, reserve: int = 0, locks: bool = True) -> str:
    """Open, lock, write, sync and delete a file in a folder, as a capture there would be.

    Args:
        directory: the folder; made if it is not there, for its owner only.
        reserve: bytes below which no recording is begun.
        locks: whether a file system has to have locks.

    Returns:
        What is wrong and not in the way of what is there already, in words; ``""`` for nothing.

    Raises:
        ReceiverFailed: when nothing could be kept there; says why and what to do.
    """
    path = directory / f"_probe.{os.getpid()}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = open_own(path, os.O_RDWR)
    except OSError as error:
        raise _failed(directory, error) from error
    try:
        trouble = _lock(descriptor, directory, locks)
        _, stopped = write_all(descriptor, _BLOCK, 0)
        if stopped is not None:
            raise stopped
        os.fsync(descriptor)
        path.unlink()
        sync_path(directory)
    except OSError as error:
        raise _failed(directory, error) from error
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
    return trouble or _room(directory, reserve)


def _lock(descriptor: int, directory: Path, needed: bool) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        what = (
            f"the file system of {str(directory)!r} has no locks ({error.strerror}): nothing would "
            "keep two receivers from writing the same recording there, and spoiling it"
        )
        if needed:
            raise ReceiverFailed(
                f"{what}; name a directory on another disk, or, if only one receiver ever writes "
                "there, say locks=False (in a terminal --without-locks)"
            ) from error
        return what
    return ""


def _room(directory: Path, reserve: int) -> str:
    """Say that no recording would be begun; raise if there is none that could go on either."""
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if free >= reserve:
        return ""
    what = (
        f"{sized(free)} are free on the disk of {str(directory)!r}, and limits.reserve keeps "
        f"{sized(reserve)} for recordings under way: no new one is begun"
    )
    cure = "make room, name a directory on another disk, or lower limits.reserve"
    if any(directory.glob("*.idx")):
        return f"{what}; {cure}"
    raise ReceiverFailed(f"{what}, and there is none under way; {cure}")


def _failed(directory: Path, error: OSError) -> ReceiverFailed:
    code = error.errno or 0
    cure = _CURES.get(code, "name one that you may write to")
    if code in (errno.EACCES, errno.EPERM):
        cure = f"it is {_owner(directory)}: name one that you may write to"
    return ReceiverFailed(
        f"nothing can be kept in the folder {str(directory)!r} ({error.strerror or error}): {cure}"
    )


def _owner(directory: Path) -> str:
    """Say whose a folder is, or the nearest above it that is there."""
    for folder in (directory, *directory.parents):
        try:
            found = folder.stat()
        except OSError:
            continue
        try:
            name = pwd.getpwuid(found.st_uid).pw_name
        except KeyError:
            name = f"user {found.st_uid}"
        whose = "yours" if found.st_uid == os.geteuid() else f"{name}'s"
        return f"{whose}, with the mode {found.st_mode & 0o7777:04o}"
    return "none that can be looked at"
