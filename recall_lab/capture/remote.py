"""Files in object storage, read by ranges: any that fsspec knows (S3, GCS, Azure, memory, ...).

An object is cut into blocks of 1 MiB. A block is fetched when something in it is first touched,
together with all others that the same reading needs; reading on from one block to the next
fetches some more ahead, as each request costs tens of milliseconds whatever its size. Blocks are
kept in bounded memory, those used last for the longest. Two threads never fetch the same block.

After each fetch the store is asked whether the object is still the one that was loaded, so that
two versions are never mixed. (Not all stores that speak S3 take ``If-Match`` with the fetch.)
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from recall_lab.errors import CaptureNotFound, InvalidArgument, MissingExtra, StorageFailed
from recall_lab.text import redacted

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

FileSystem = Any
"""An ``fsspec.AbstractFileSystem``; the package has no types."""

BLOCK: Final = 1 << 20
"""Bytes of a block."""

CACHE: Final = 64 << 20
"""Bytes of an object's blocks that are kept, at most."""

_AHEAD: Final = 8  # blocks fetched beyond what was asked for, where reading goes on in order
_PIECE: Final = 16 << 20  # bytes joined at once when a long stretch is read
_CONNECTIONS: Final = 128  # to S3 at once; botocore's own 10 would queue a survey's requests
_TRIES: Final = 5
_RETRIES: Final = {"mode": "standard", "total_max_attempts": 2}  # botocore's own, for each of them
_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_LOCAL: Final = ("file://", "local://")

_LASTING: Final = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    MissingExtra,
    InvalidArgument,
)
_STRANGERS: Final = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
"""botocore's errors for who has no credentials, by name: it comes with an extra only."""

T = TypeVar("T")


def is_url(path: object) -> bool:
    """Return whether a path names something in object storage; ``file://`` does not."""
    return isinstance(path, str) and "://" in path and not path.startswith(_LOCAL)


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return a path of this machine, given as such or as ``file://``."""
    text = os.fspath(path)
    for scheme in _LOCAL:
        if text.startswith(scheme):
            return Path(text.removeprefix(scheme))
    return Path(text)


def filesystem_of(url: str) -> tuple[FileSystem, str]:
    """Return the filesystem of a URL, and the path in it.

    Credentials and endpoints are found as fsspec and the store's own tools find them: in the
    environment (``AWS_ENDPOINT_URL``), in their configuration files.

    Raises:
        MissingExtra: where fsspec, or what it needs for the scheme, is not installed.
        InvalidArgument: for a scheme that fsspec does not know.
    """
    try:
        import fsspec  # noqa: PLC0415 - comes with an extra only
        from fsspec.core import url_to_fs  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("scale", "fsspec") from error
    # a listing that is kept would hide what was uploaded since
    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith(("s3://", "s3a://")):
        own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options["max_concurrency"] = 1  # of one object's parts: else each is asked for its size
        ours = {"max_pool_connections": _CONNECTIONS, "retries": _RETRIES}
        options["config_kwargs"] = ours | own
    try:
        fs, path = url_to_fs(url, **options)
    except ImportError as error:
        raise MissingExtra("scale", f"for {url.partition('://')[0]}:// ({error})") from error
    except ValueError as error:
        raise InvalidArgument(
            "url", redacted(url), f"a URL that fsspec knows, such as s3://bucket/folder ({error})"
        ) from None
    return fs, path


def is_passing(error: BaseException) -> bool:
    """Return whether trying again may help: the store was busy or the network failed."""
    if isinstance(error, _LASTING) or type(error).__name__ in _STRANGERS:
        return False
    return isinstance(error, OSError) or type(error).__module__.startswith(
        ("aiohttp", "botocore", "aiobotocore", "asyncio", "google", "azure", "requests", "fsspec")
    )


def persistently(call: Callable[[], T], *, name: str, doing: str = "read") -> T:
    """Return what `call` does, tried again some times while the store is busy.

    Raises:
        FileNotFoundError: as the call does.
        StorageFailed: for everything else the store says, in the end.
    """

    def last(state: RetryCallState) -> T:
        assert state.outcome is not None
        answer: T = state.outcome.result()
        return answer

    again = Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        retry_error_callback=last,
    )
    try:
        return again(call)
    except (FileNotFoundError, MissingExtra):
        raise
    except Exception as error:
        raise failed(name, error, doing) from error


def failed(name: str, error: BaseException, doing: str = "read") -> StorageFailed:
    """Return what the store said as an error of ours."""
    said = redacted(str(error) or type(error).__name__)
    if type(error).__name__ in _STRANGERS:
        _forget_connections()
        said += ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and try again"
    number = error.errno if isinstance(error, OSError) and error.errno else 5
    return StorageFailed(redacted(name), OSError(number, said), doing)


def _forget_connections() -> None:
    """Have s3fs look for credentials anew: it keeps a filesystem for as long as a process lives."""
    import s3fs  # noqa: PLC0415 - comes with an extra only

    s3fs.S3FileSystem.clear_instance_cache()


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Return what each call returns, or the error it raises; all are under way at once."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.exception() or future.result() for future in futures]


def fetch(fs: FileSystem, paths: Sequence[str], name: str) -> Mapping[str, bytes | Exception]:
    """Return whole small objects, all fetched at once; for one that can't be had, the error.

    Those that the store was too busy for are asked for again.
    """
    found: dict[str, bytes | Exception] = {}

    def some() -> None:
        left = [path for path in paths if not isinstance(found.get(path), bytes | bytearray)]
        left = [path for path in left if path not in found or is_passing(found[path])]  # type: ignore[arg-type]
        if not left:
            return
        whole = [None] * len(left)  # cat would ask for each beforehand, whether it is there
        got = fs.cat_ranges(left, whole, whole, on_error="return")
        found.update(zip(left, got, strict=True))
        for path in left:
            if isinstance(found[path], Exception) and is_passing(found[path]):  # type: ignore[arg-type]
                raise found[path]  # type: ignore[misc]

    try:
        persistently(some, name=name)
    except StorageFailed as error:
        for path in paths:
            found.setdefault(path, error)
    return {
        path: value
        if isinstance(value, bytes | bytearray | FileNotFoundError | StorageFailed)
        else failed(path, value)
        for path, value in found.items()
    }


class RemoteBytes:
    """An object's bytes, fetched when they are read. For any number of threads.

    Args:
        fs: where it is.
        path: its path there.
        size: its size, bytes.
        version: which version it is, see :func:`version_of`; None: that is not watched.
        block: bytes of a block.
        cache: bytes of blocks kept, at most.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        size: int,
        *,
        version: str | None = None,
        block: int = BLOCK,
        cache: int = CACHE,
    ) -> None:
        self._fs, self._path, self.size, self._version = fs, path, size, version
        self._block = block
        self._most = max(cache // block, _AHEAD + 1)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._coming: dict[int, Future[dict[int, bytes]]] = {}
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop`, as many of them as there are.

        Raises:
            StorageFailed: when the store does not give them, or has another object there by now.
        """
        start, stop = max(start, 0), min(stop, self.size)
        if start >= stop:
            return b""
        first, last = start // self._block, (stop - 1) // self._block + 1
        if last - first > _PIECE // self._block:
            pieces = range(start, stop, _PIECE)
            return b"".join(self.read(at, min(at + _PIECE, stop)) for at in pieces)
        blocks = self._got(first, last)
        if len(blocks) == 1:
            return blocks[0][start - first * self._block : stop - first * self._block]
        blocks[-1] = blocks[-1][: stop - (last - 1) * self._block]
        blocks[0] = blocks[0][start - first * self._block :]
        return b"".join(blocks)

    def file(self) -> io.BufferedReader:
        """Return the object as a file that can be read and sought in."""
        return io.BufferedReader(_File(self), self._block // 16)

    def _got(self, first: int, last: int) -> list[bytes]:
        """Return whole blocks, fetching those that are neither here nor coming."""
        with self._lock:
            have = {at: self._blocks[at] for at in range(first, last) if at in self._blocks}
            for at in have:
                self._blocks.move_to_end(at)
            waits = {at: self._coming[at] for at in range(first, last) if at in self._coming}
            mine = [at for at in range(first, last) if at not in have and at not in waits]
            future: Future[dict[int, bytes]] = Future()
            if mine:
                before = mine[0] - 1
                if before in self._blocks or before in self._coming:  # reading goes on in order
                    end = min(last + _AHEAD, -(-self.size // self._block))
                    ahead = range(last, end)
                    mine += [at for at in ahead if not {at} & (self._blocks.keys() | self._coming)]
                self._coming |= dict.fromkeys(mine, future)
        if mine:
            try:
                fetched = self._fetched(mine)
            except BaseException as error:
                with self._lock:
                    for at in mine:
                        del self._coming[at]
                future.set_exception(error)
                raise
            with self._lock:
                for at in mine:
                    del self._coming[at]
                self._blocks.update(fetched)
                while len(self._blocks) > self._most:
                    self._blocks.popitem(last=False)
            future.set_result(fetched)
            have |= fetched
        for at, other in waits.items():
            have[at] = other.result()[at]
        return [have[at] for at in range(first, last)]

    def _fetched(self, blocks: list[int]) -> dict[int, bytes]:
        starts = [at * self._block for at in blocks]
        stops = [min(start + self._block, self.size) for start in starts]
        paths = [self._path] * len(blocks)

        def call() -> dict[int, bytes]:
            data = self._fs.cat_ranges(paths, starts, stops, on_error="raise")
            return dict(zip(blocks, data, strict=True))

        try:
            got = persistently(call, name=self._path)
        except StorageFailed:
            self._still_there()  # else its range is "not satisfiable", which says little
            raise
        except FileNotFoundError as error:
            self._still_there()
            raise failed(self._path, error) from error
        self._still_there()
        for at, start, stop in zip(blocks, starts, stops, strict=True):
            if len(got[at]) != stop - start:
                said = f"{len(got[at])} bytes came of {stop - start} at {start}: it has changed"
                raise StorageFailed(self._path, OSError(5, said), "read")
        return got

    def _still_there(self) -> None:
        """Raise StorageFailed when the object is no longer the one that was loaded."""
        if self._version is None:
            return
        try:
            told = persistently(lambda: self._fs.info(self._path), name=self._path)
        except FileNotFoundError:
            said = "it was deleted after it was loaded"
        else:
            if (size_of(told), version_of(told)) == (self.size, self._version):
                return
            said = "it was replaced after it was loaded: load it again"
        raise StorageFailed(redacted(self._path), OSError(5, said), "read")


class _File(io.RawIOBase):
    """An object as a file."""

    def __init__(self, source: RemoteBytes) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._source.read(self._at, self._at + len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def size_of(info: Mapping[str, Any]) -> int:
    """Return the size of an object as a store tells it.

    Raises:
        StorageFailed: when it tells none.
    """
    size = info.get("size")
    if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**62:
        return size
    name = str(info.get("name"))
    raise StorageFailed(name, OSError(5, f"its size is told as {size!r:.80}"), "read")


def version_of(info: Mapping[str, Any]) -> str:
    """Return the store's tag of an object's content, or when it was changed; may be empty."""
    version = next((info[key] for key in _VERSIONS if info.get(key) is not None), "")
    return str(version).strip('"')


def missing_bucket(fs: FileSystem, path: str) -> str:
    """Return in words that there is no such bucket; empty where there is, or none can tell."""
    bucket = path.partition("/")[0]
    if "s3" not in fs.protocol or fs.exists(bucket):
        return ""
    return f"there is no bucket {bucket!r}, or not for these credentials"


def not_found(url: str, hint: str) -> CaptureNotFound:
    """Return the error for a URL at which there is nothing."""
    return CaptureNotFound(redacted(url), hint)
