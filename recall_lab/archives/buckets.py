"""A folder in object storage to write files to; see :mod:`recall_lab.archives.destinations`.

What is larger than 32 MiB is sent in parts, which stay when it is broken off and are not sent
again; the store then joins them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import inspect
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from recall_lab.errors import StorageFailed
from recall_lab.remote.filesystem import (
    FileSystem,
    fetch,
    filesystem_of,
    is_passing,
    missing_bucket,
    persistently,
    size_of,
)
from recall_lab.remote.range_reader import RemoteBytes
from recall_lab.text import redacted

PART: Final = 32 << 20
"""Bytes of a part at least; S3 joins parts of 5 MiB or more."""

_PARTS: Final = 32  # joined at once, which is all that Google's storage joins
_SENDING: Final = 3  # parts under way at once: as many are in memory
_PIECE: Final = 8 << 20
_TAGS: Final = ("ETag", "etag", "md5Hash", "content_md5")
_TRIES: Final = 8  # to add to an object that others add to at the same time
_NEW: Final = {"IfNoneMatch": "*"}  # has S3 refuse what would go over something

T = TypeVar("T")


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
            always = {"s3_additional_kwargs": (fs.s3_additional_kwargs or {}) | _NEW}
            fs = type(fs)(**(fs.storage_options | always))
            fs.retries = self._fs.retries
        takes = not s3 and "mode" in inspect.signature(fs.pipe_file).parameters
        only = {"mode": "create"} if takes else {}

        def created() -> bool:
            if self._info(name) is not None:
                return False
            try:
                call(fs, only)
            except FileNotFoundError:  # of parts: somebody else has joined them
                if self._info(name) is None:
                    raise
                return False
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
            if self.told(name) is not None:  # then parts are of no use, nor those of another file
                left = self._again(lambda: self._fs.find(self._at(f"{name}.parts")), name)
                self.delete([part[len(self._path) + 1 :] for part in left])

    def _put_part(self, name: str, data: bytes) -> None:
        if (self.told(name) or (-1, ""))[0] != len(data):
            self._put(name, data)

    def extend(self, name: str, more: Callable[[bytes], bytes]) -> tuple[bytes, bool]:
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
