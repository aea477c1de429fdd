"""A folder that files are put into: of this machine, or in object storage. One face for both.

A file is there whole or not at all: written beside and renamed here, one request there. What is
larger than 32 MiB goes to object storage in parts, which stay when it is broken off and are not
sent again; the store then joins them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

from recall_lab.capture.files import open_own, open_plain, sync_path
from recall_lab.capture.ranges import RemoteBytes
from recall_lab.capture.remote import (
    FileSystem,
    fetch,
    filesystem_of,
    is_passing,
    is_url,
    local_path,
    persistently,
    size_of,
)
from recall_lab.errors import InvalidArgument, StorageFailed

PART: Final = 32 << 20
"""Bytes of a part at least; S3 joins parts of 5 MiB or more."""

_PARTS: Final = 32  # joined at once, which is all that Google's storage joins
_SENDING: Final = 3  # parts under way at once: as many are in memory
_PIECE: Final = 8 << 20
_STALE: Final = 86_400.0  # s after which what was not written to the end is taken away
_TAGS: Final = ("ETag", "etag", "md5Hash", "content_md5")

T = TypeVar("T")


class Store(Protocol):
    """Files by name; a name may have folders in it."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def read(self, names: Sequence[str]) -> dict[str, bytes | Exception]:
        """Return small files, or for one that can't be had the error."""

    def told(self, name: str) -> tuple[int, str] | None:
        """Return a file's size and the store's tag of its content; None where there is none.

        The tag is another when the content is; it is empty where the store has none.
        """

    def sha256(self, name: str, size: int) -> str:
        """Return the SHA-256 of a file of a known size, hexadecimal: all of it is read."""

    def write(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file of `size` bytes, over one that is there."""

    def extend(self, name: str, there: bytes, more: bytes) -> None:
        """Add to the end of a small file, which has `there` in it now."""

    def delete(self, names: Sequence[str]) -> None:
        """Delete files; one that is not there counts as deleted."""

    def place(self, name: str) -> str:
        """Return path or URL of a file."""


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
        if path.exists() and not path.is_dir():
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
                with open(open_plain(self._path / name), "rb") as file:
                    found[name] = file.read()
            except OSError as error:
                found[name] = error
        return found

    def told(self, name: str) -> tuple[int, str] | None:
        """Return a file's size and no tag: nothing tells here that a disk has kept it well."""
        path = self._path / name
        return (path.stat().st_size, "") if path.is_file() else None

    def sha256(self, name: str, size: int) -> str:
        """Return the SHA-256 of a file, read from the disk where that can be had."""
        digest = hashlib.sha256()
        with open(open_plain(self._path / name), "rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def write(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file beside and rename it, once it is on the disk."""
        path = self._path / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._tidy(path, temporary)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_path(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise StorageFailed(path, error) from error

    def extend(self, name: str, there: bytes, more: bytes) -> None:
        """Append to a file in one write: a receiver may be appending to it too."""
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(open_own(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
                if file.write(more) != len(more):
                    raise OSError(28, "only a part of it was taken")
                os.fsync(file.fileno())
            sync_path(path.parent)
        except OSError as error:
            raise StorageFailed(path, error) from error

    def _tidy(self, path: Path, temporary: Path) -> None:
        """Take away what others who were killed have left of this file."""
        temporary.unlink(missing_ok=True)
        for left in path.parent.glob(f".{path.name}.*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _STALE:
                    left.unlink()

    def delete(self, names: Sequence[str]) -> None:
        """Delete files."""
        for name in names:
            (self._path / name).unlink(missing_ok=True)

    def place(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path / name)

    def __str__(self) -> str:
        return str(self._path)


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

        return sorted(name[len(self._path) + 1 :] for name in self._again(call, ""))

    def read(self, names: Sequence[str]) -> dict[str, bytes | Exception]:
        """Return objects, all fetched at once, or for one that can't be had the error."""
        got = fetch(self._fs, [self._at(name) for name in names], self._url)
        return {name[len(self._path) + 1 :]: data for name, data in got.items()}

    def told(self, name: str) -> tuple[int, str] | None:
        """Return an object's size and its ETag or the like; None where there is none."""
        try:
            info = self._again(lambda: self._fs.info(self._at(name)), name)
        except FileNotFoundError:
            return None
        if info.get("type") == "directory":
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
        """Write an object in one request, or in parts that the store joins."""
        if size <= PART:
            self._put(name, b"".join(pieces))
        elif hasattr(self._fs, "merge"):
            self._write_parts(name, pieces, size)
        else:
            with tempfile.NamedTemporaryFile(prefix="recall_lab-") as whole:
                whole.writelines(pieces)
                whole.flush()
                self._again(lambda: self._fs.put_file(whole.name, self._at(name)), name, "store")

    def _write_parts(self, name: str, pieces: Iterable[bytes], size: int) -> None:
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
            self._again(lambda: self._fs.merge(self._at(name), paths), name, "store")
        except FileNotFoundError as error:  # somebody else has joined them
            if (self.told(name) or (-1, ""))[0] != size:
                raise StorageFailed(self.place(name), error, "store") from error
        # those too that were left when the file was another
        left = self._again(lambda: self._fs.find(self._at(f"{name}.parts")), name)
        self.delete([part[len(self._path) + 1 :] for part in left])

    def _put_part(self, name: str, data: bytes) -> None:
        if (self.told(name) or (-1, ""))[0] != len(data):
            self._put(name, data)

    def extend(self, name: str, there: bytes, more: bytes) -> None:
        """Write an object anew, with more at its end."""
        self._put(name, there + more)

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

    def __str__(self) -> str:
        return self._url

    def _put(self, name: str, data: bytes) -> None:
        self._again(lambda: self._fs.pipe_file(self._at(name), data), name, "store")

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _again(self, call: Callable[[], T], name: str, doing: str = "read") -> T:
        return persistently(call, name=self.place(name), doing=doing)


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
