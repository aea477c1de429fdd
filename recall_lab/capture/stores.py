"""A folder that files are put into: of this machine, or in object storage. One face for both.

A file is there whole or not at all: written beside and renamed here, one request there. What is
larger than 32 MiB goes to object storage in parts, which stay when it is broken off and are not
sent again; the store then joins them.

What is written over (:meth:`Store.write`) has a name that nobody else uses. What has a name that
others may use too is created (:meth:`Store.create`): the store itself refuses when something is
there, as between looking and writing somebody may have put it there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import inspect
import os
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from recall_lab.capture.files import open_own, open_plain, sync_path
from recall_lab.capture.ranges import RemoteBytes
from recall_lab.capture.remote import (
    FileSystem,
    fetch,
    filesystem_of,
    is_passing,
    is_url,
    local_path,
    missing_bucket,
    persistently,
    size_of,
)
from recall_lab.errors import InvalidArgument, RecallLabError, StorageFailed
from recall_lab.text import redacted

PART: Final = 32 << 20
"""Bytes of a part at least; S3 joins parts of 5 MiB or more."""

_PARTS: Final = 32  # joined at once, which is all that Google's storage joins
_SENDING: Final = 3  # parts under way at once: as many are in memory
_PIECE: Final = 8 << 20
_STALE: Final = 86_400.0  # s after which what was not written to the end is taken away
_TAGS: Final = ("ETag", "etag", "md5Hash", "content_md5")
_TRIES: Final = 8  # to add to an object that others add to at the same time
_NEW: Final = {"IfNoneMatch": "*"}  # has S3 refuse what would go over something

NO_FILE: Final = -1
"""Stands for the size of what has a name and is no plain file."""

More = Callable[[bytes], bytes]
"""Says what is to be added to what is there; nothing when it has all."""

T = TypeVar("T")


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


def store_of(place: str | os.PathLike[str]) -> Store:
    """Return the store of a folder's path or URL.

    Raises:
        InvalidArgument: for what can be no folder.
        MissingExtra: for a URL where the packages for it are not installed.
    """
    if not isinstance(place, str | os.PathLike) or not os.fspath(place):
        raise InvalidArgument("place", place, "a folder, or a URL that fsspec knows")
    return RemoteFolder(str(place)) if is_url(place) else LocalFolder(local_path(place))


class LocalFolder:
    """A folder of this machine; it is made when something is written."""

    def __init__(self, path: Path) -> None:
        if os.path.exists(path) and not path.is_dir():  # noqa: PTH110 - Path's raises
            raise InvalidArgument("place", str(path), "a folder, or one that is to be made")
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
                with _told_of(self._path / name, "read"):
                    with open(open_plain(self._path / name), "rb") as file:
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
        if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
            raise StorageFailed(there, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def identity(self) -> tuple[str, ...]:
        """Return the path without links in it."""
        return (os.path.realpath(self._path),)

    def __str__(self) -> str:
        return str(self._path)


@contextlib.contextmanager
def _told_of(path: Path, doing: str) -> Iterator[None]:
    """Have what the system refuses told as an error of ours, with the path.

    That something is not there, or is there already, is for the caller to judge.
    """
    try:
        yield
    except (RecallLabError, FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
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


class RemoteFolder:
    """A folder in object storage."""

    def __init__(self, url: str) -> None:
        fs, path = filesystem_of(url)
        self._fs: FileSystem = fs
        self._url, self._path = url.rstrip("/"), path.rstrip("/")

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""

        def call() -> list[str]:
            try:
                found: list[str] = self._fs.find(self._path)
            except FileNotFoundError:
                return []
            return found

        found = self._again(call, "")
        if not found:  # of a bucket that is not there as well: better told now than at the end
            self.ask()
        return sorted(name[len(self._path) + 1 :] for name in found)

    def read(self, names: Sequence[str]) -> dict[str, bytes | Exception]:
        """Return objects, all fetched at once, or for one that can't be had the error."""
        got = fetch(self._fs, [self._at(name) for name in names], self._url)
        return {name[len(self._path) + 1 :]: data for name, data in got.items()}

    def told(self, name: str) -> tuple[int, str] | None:
        """Return an object's size and its ETag or the like; None where there is none."""
        info = self._again(lambda: self._info(name), name)
        if info is None:
            return None
        tag = next((info[key] for key in _TAGS if isinstance(info.get(key), str)), "")
        return size_of(info), tag.strip('"')

    def sha256(self, name: str, size: int) -> str:
        """Return the SHA-256 of an object, all of which is fetched."""
        source, digest = RemoteBytes(self._fs, self._at(name), size), hashlib.sha256()
        for at in range(0, size, _PIECE):
            digest.update(source.read(at, at + _PIECE))
        return digest.hexdigest()

    def write(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write an object in one request."""
        self._put(name, b"".join(pieces))

    def create(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write an object in one request, or in parts that the store joins."""
        if size <= PART:
            data = b"".join(pieces)
            self._create(lambda fs, only: fs.pipe_file(self._at(name), data, **only), name)
        elif hasattr(self._fs, "merge"):
            self._create_of_parts(name, pieces, size)
        else:
            with tempfile.NamedTemporaryFile(prefix="recall_lab-") as whole:
                whole.writelines(pieces)
                whole.flush()
                self._create(lambda fs, _: fs.put_file(whole.name, self._at(name)), name)

    def _create(self, call: Callable[[FileSystem, dict[str, str]], object], name: str) -> None:
        """Make a call that writes an object, so that it fails where one is.

        S3 is told so in each way of writing, others where they have a word for it. Of a store
        that knows nothing of the kind the best to be had is to look right before.
        """
        s3 = "s3" in self._fs.protocol
        fs: FileSystem = self._fs
        if s3:
            fs = type(fs)(**(fs.storage_options | {"s3_additional_kwargs": _NEW}))
            fs.retries = self._fs.retries
        takes = not s3 and "mode" in inspect.signature(fs.pipe_file).parameters
        only = {"mode": "create"} if takes else {}

        def created() -> bool:
            if self._info(name) is not None:
                return False
            try:
                call(fs, only)
            except OSError as error:
                if _is_condition(error):
                    return False
                if error.errno != errno.ENOSYS:
                    raise
                call(self._fs, {})
            return True

        if not self._again(created, name, "store"):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.place(name))

    def _create_of_parts(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        parts: list[str] = []
        sending: deque[Future[None]] = deque()
        with ThreadPoolExecutor(_SENDING) as pool:
            for part in _parts(pieces, max(PART, -(-size // _PARTS))):
                digest = hashlib.sha256(part).hexdigest()[:32]
                parts.append(f"{name}.parts/{len(parts):05}-{digest}")
                sending.append(pool.submit(self._put_part, parts[-1], part))
                if len(sending) >= _SENDING:
                    sending.popleft().result()
            for future in sending:
                future.result()
        paths = [self._at(part) for part in parts]
        try:
            self._create(lambda fs, _: fs.merge(self._at(name), paths), name)
        finally:
            if self._info(name) is not None:  # then parts are of no use, nor those of another file
                left = self._again(lambda: self._fs.find(self._at(f"{name}.parts")), name)
                self.delete([part[len(self._path) + 1 :] for part in left])

    def _put_part(self, name: str, data: bytes) -> None:
        if (self.told(name) or (-1, ""))[0] != len(data):
            self._put(name, data)

    def extend(self, name: str, more: More) -> tuple[bytes, bool]:
        """Write an object anew with more at its end, until what others wrote is in it too."""
        wrote = False
        for _ in range(_TRIES):
            told = self.told(name)
            data = self.read([name])[name]
            there = b"" if isinstance(data, FileNotFoundError) else data
            if isinstance(there, Exception):
                raise there
            added = more(there)
            if told is not None and not added:
                return there, wrote
            if self._replaced(name, told, there + added):
                wrote = True
        why = OSError(errno.EBUSY, "others go on writing to it: try again when they are done")
        raise StorageFailed(redacted(self.place(name)), why, "store")

    def _replaced(self, name: str, told: tuple[int, str] | None, data: bytes) -> bool:
        """Write an object if it is still as it was told; return whether it was."""
        if told is None:
            try:
                self.create(name, [data], len(data))
            except FileExistsError:
                return False
            return True
        only = {"IfMatch": f'"{told[1]}"'} if "s3" in self._fs.protocol and told[1] else {}

        def replaced() -> bool:
            try:
                self._fs.pipe_file(self._at(name), data, **only)
            except OSError as error:
                if _is_condition(error):
                    return False
                if error.errno != errno.ENOSYS:
                    raise
                self._fs.pipe_file(self._at(name), data)
            return True

        return self._again(replaced, name, "store")

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; one that the store is too busy for stays."""
        for name in names:
            try:
                self._fs.rm_file(self._at(name))
            except FileNotFoundError:
                continue
            except Exception as error:
                if not is_passing(error):
                    raise

    def place(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self._url}/{name}"

    def ask(self) -> None:
        """Raise when there is no such bucket, or nobody answers."""

        def missing() -> str:
            with contextlib.suppress(PermissionError):  # who may not list may still read and write
                return missing_bucket(self._fs, self._path)
            return ""

        if said := self._again(missing, ""):
            raise StorageFailed(redacted(self._url), FileNotFoundError(errno.ENOENT, said), "use")

    def identity(self) -> tuple[str, ...]:
        """Return the store's kind and the path in it."""
        kinds = self._fs.protocol
        return (kinds if isinstance(kinds, str) else kinds[0], self._path)

    def __str__(self) -> str:
        return self._url

    def _put(self, name: str, data: bytes) -> None:
        self._again(lambda: self._fs.pipe_file(self._at(name), data), name, "store")

    def _info(self, name: str) -> Mapping[str, Any] | None:
        """Return what the store tells of an object; None where there is none."""
        try:
            info: Mapping[str, Any] = self._fs.info(self._at(name))
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else info

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _again(self, call: Callable[[], T], name: str, doing: str = "read") -> T:
        try:
            return persistently(call, name=self.place(name), doing=doing)
        except FileNotFoundError as error:  # nothing is needed there to store something
            if doing != "store":
                raise
            said = missing_bucket(self._fs, self._path) or str(error)
            place = redacted(self.place(name))
            raise StorageFailed(place, FileNotFoundError(errno.ENOENT, said), doing) from error


def _is_condition(error: OSError) -> bool:
    """Return whether a store refused a write as something is there, or is another by now."""
    told = getattr(error.__cause__, "response", None) or {}
    code = told.get("Error", {}).get("Code")
    return isinstance(error, FileExistsError) or code in ("PreconditionFailed", "412")


def _parts(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join pieces to parts of a size; the last is what is left."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)
