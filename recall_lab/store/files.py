"""Open, replace and sync files in a folder that others may write to.

What is written to is a plain file of its own, never a link, a pipe or a device that somebody
planted under its name: opening one fails at once, and nothing outside the folder is changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

_ALWAYS: Final = os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would keep us waiting for its other end
_SMALL: Final = 64 << 20  # bytes; a message, and so metadata, has 2 MiB at most


def open_own(path: Path, flags: int) -> int:
    """Open a file that is written to, made for its owner only; return the descriptor.

    Raises:
        OSError: when it can't be had, or is not a plain file with this one name.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | _ALWAYS, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        what = "a file with other names too (hard links)" if found.st_nlink > 1 else "no plain file"
        raise OSError(errno.EINVAL, f"it is {what}: move it away", str(path))
    return descriptor


def open_plain(path: str | os.PathLike[str]) -> int:
    """Open a file for reading; return the descriptor.

    Raises:
        FileNotFoundError: when there is no plain file: a pipe or a device is none of ours.
        OSError: when it can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _ALWAYS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise FileNotFoundError(errno.ENOENT, "no plain file", os.fspath(path)) from None
        raise
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.ENOENT
        raise OSError(code, os.strerror(code), os.fspath(path))
    return descriptor


def read_small(path: Path) -> bytes:
    """Return what is in a file of metadata.

    Raises:
        OSError: as :func:`open_plain`, and when it is larger than any of ours.
    """
    with open(open_plain(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > _SMALL:
            raise OSError(errno.EFBIG, "it is too large", str(path))
        return file.read()


def write_all(descriptor: int, data: bytes, at: int) -> tuple[int, OSError | None]:
    """Write all of `data`; return how much of it was written, and what stopped it if not all."""
    done = 0
    try:
        while done < len(data):
            done += os.pwrite(descriptor, data[done:] if done else data, at + done)
    except OSError as error:
        return done, error
    return done, None


def replace_file(path: Path, data: bytes, *, durable: bool = False, alone: bool = False) -> None:
    """Write `data` to a temporary file beside `path` and rename it over `path`.

    Args:
        path: the file.
        data: what is to be in it.
        durable: whether the data are synced before the file has its name.
        alone: whether nobody else can be replacing it: then the temporary file has one name
            always, and what a kill has left is taken away by the next time.
    """
    temporary = path.with_name(f".{path.name}{'' if alone else f'.{os.getpid()}'}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # left by a process with our number that was killed, or planted
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def sync_path(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | _ALWAYS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
