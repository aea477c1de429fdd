"""A folder to write files to, on this machine or in object storage.

A file is there whole or not at all: written beside and named here, one request there.

What is written over (:meth:`Store.write`) has a name that nobody else uses. What has a name that
others may use too is created (:meth:`Store.create`): the store itself refuses when something is
there, as between looking and writing somebody may have put it there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from recall_lab.archives.buckets import RemoteFolder
from recall_lab.errors import InvalidArgument, RecallLabError, StorageFailed
from recall_lab.remote.filesystem import is_url, local_path
from recall_lab.store.files import open_own, open_plain, sync_path

_PIECE: Final = 8 << 20
_STALE: Final = 86_400.0  # s after which what was not written to the end is taken away

NO_FILE: Final = -1
"""Stands for the size of what has a name and is no plain file."""

More = Callable[[bytes], bytes]
"""Says what is to be added to what is there; nothing when it has all."""


class Store(Protocol):
    """Files by name; a name may have folders in it."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def read(self, names: Sequence[str]) -> dict[str, bytes | Exception]:
        """Return small files, or for one that can't be had the error."""

    def told(self, name: str) -> tuple[int, str] | None:
        """Return a file's size and the store's tag of its content; None where nothing is.

        The tag is another when the content is; it is empty where the store has none. The size is
        :data:`NO_FILE` for a folder, a pipe, or a link that leads nowhere.
        """

    def sha256(self, name: str, size: int) -> str:
        """Return the SHA-256 of a file of a known size, hexadecimal: all of it is read."""

    def write(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file of `size` bytes, over one that is there."""

    def create(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file of `size` bytes.

        Raises:
            FileExistsError: when something of that name is there, or came there meanwhile.
        """

    def extend(self, name: str, more: More) -> tuple[bytes, bool]:
        """Add to the end of a small file, made if need be, so that no line of others is lost.

        Returns:
            What is in it then, and whether anything was written.
        """

    def delete(self, names: Sequence[str]) -> None:
        """Delete files; one that is not there counts as deleted."""

    def place(self, name: str) -> str:
        """Return path or URL of a file."""

    def ask(self) -> None:
        """Ask for the folder, before there is much to do.

        Raises:
            StorageFailed: when nothing can be put there: no such bucket, nobody answers.
        """

    def identity(self) -> tuple[str, ...]:
        """Return what is the same for two stores that are one folder."""


def store_of(place: str | os.PathLike[str], name: str = "url") -> Store:
    """Return the store of a folder's path or URL.

    Args:
        place: the folder, which need not be there.
        name: of the parameter that it was given as.

    Raises:
        InvalidArgument: for what can be no folder.
        MissingExtra: for a URL where the packages for it are not installed.
    """
    text = os.fspath(place) if isinstance(place, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidArgument(name, place, "a folder, or a URL that fsspec knows")
    if is_url(text):
        return RemoteFolder(text)
    path = local_path(text)
    if os.path.lexists(path) and not path.is_dir():
        raise InvalidArgument(name, str(path), "a folder, or one that is to be made")
    return LocalFolder(path)


class LocalFolder:
    """A folder of this machine; it is made when something is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Return the names of all files but hidden ones, sorted."""
        found = (path for path in self._path.rglob("*") if not path.name.startswith("."))
        return sorted(str(path.relative_to(self._path)) for path in found if path.is_file())

    def read(self, names: Sequence[str]) -> dict[str, bytes | Exception]:
        """Return files, or for one that can't be had the error."""
        found: dict[str, bytes | Exception] = {}
        for name in names:
            try:
                path = self._path / name
                with _told_of(path, "read"), open(open_plain(path), "rb") as file:
                    found[name] = file.read()
            except OSError as error:
                found[name] = error
        return found

    def told(self, name: str) -> tuple[int, str] | None:
        """Return a file's size and no tag: nothing tells here that a disk has kept it well."""
        path = self._path / name
        with _told_of(path, "read"):
            if not os.path.lexists(path):
                return None
            return (path.stat().st_size, "") if path.is_file() else (NO_FILE, "")

    def sha256(self, name: str, size: int) -> str:
        """Return the SHA-256 of a file, read from the disk where that can be had."""
        digest, path = hashlib.sha256(), self._path / name
        with _told_of(path, "read"), open(open_plain(path), "rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def write(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file beside and rename it, once it is on the disk."""
        with self._beside(name, pieces) as temporary:
            temporary.replace(self._path / name)

    def create(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file beside and give it the name, once it is on the disk."""
        with self._beside(name, pieces) as temporary:
            _rename_new(temporary, self._path / name)

    @contextlib.contextmanager
    def _beside(self, name: str, pieces: Iterable[bytes]) -> Iterator[Path]:
        """Give a temporary file with all in it; it is on the disk."""
        path = self._path / name
        # a name that is no longer than the file's own may be, and nobody else's on a shared disk
        head = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}-"
        temporary = path.with_name(f"{head}{uuid.uuid4().hex}.tmp")
        with _told_of(path, "write"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _tidy(path.parent, head)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(temporary, flags, 0o600), "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary
                sync_path(path.parent)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def extend(self, name: str, more: More) -> tuple[bytes, bool]:
        """Append to a file in one write: a receiver may be appending to it too."""
        path = self._path / name
        with _told_of(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            descriptor = open_own(path, os.O_RDWR | os.O_APPEND)
            with open(descriptor, "ab+", buffering=0) as file:
                with contextlib.suppress(OSError):  # a disk without locks: lines may stand twice
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                file.seek(0)
                there = file.readall()
                added = more(there)
                if added and file.write(added) != len(added):
                    raise OSError(errno.ENOSPC, "only a part of it was taken")
                if added or new:
                    os.fsync(descriptor)
                    sync_path(path.parent)
        return there + added, bool(added) or new

    def delete(self, names: Sequence[str]) -> None:
        """Delete files."""
        for name in names:
            (self._path / name).unlink(missing_ok=True)

    def place(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path / name)

    def ask(self) -> None:
        """Raise when the folder may not be written to."""
        there = self._path.absolute()
        while not os.path.lexists(there):  # it is going to be made in this one
            there = there.parent
        for bad, code in (
            (not there.is_dir(), errno.ENOTDIR),
            (not os.access(there, os.R_OK | os.W_OK | os.X_OK), errno.EACCES),
        ):
            if bad:
                raise StorageFailed(there, OSError(code, os.strerror(code)))

    def identity(self) -> tuple[str, ...]:
        """Return the path without links in it."""
        return (os.path.realpath(self._path),)

    def __str__(self) -> str:
        return str(self._path)


@contextlib.contextmanager
def _told_of(path: Path, doing: str) -> Iterator[None]:
    """Have what the system refuses told as an error of ours, with the path.

    That something to read is not there, or is there already, is for the caller to judge.
    """
    try:
        yield
    except (RecallLabError, FileExistsError):
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and doing == "read":
            raise
        raise StorageFailed(path, error, doing) from error


def _rename_new(temporary: Path, path: Path) -> None:
    """Give a file its name, unless something has it.

    Raises:
        FileExistsError: when something has it.
    """
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # a disk without hard links (FAT, some network drives): to look right before is the best
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.rename(path)


def _tidy(folder: Path, head: str) -> None:
    """Take away what others who were killed have left of a file."""
    for left in folder.glob(f"{head}*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink()
