"""Object storage through fsspec (S3, GCS, Azure, memory ...), with retries."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from recall_lab.errors import CaptureNotFound, InvalidArgument, MissingExtra, StorageFailed
from recall_lab.text import redacted
from recall_lab.threads import run_in_thread

FileSystem = Any
"""An ``fsspec.AbstractFileSystem``; the package has no types."""

_CONNECTIONS: Final = 128  # to S3 at once; botocore's own 10 would queue a survey's requests
_TRIES: Final = 5
_PATIENCE: Final = 60  # s after which nothing is tried again: a store may never answer
# what others try again within each of these: twice two times five are enough
_RETRIES: Final = {"mode": "standard", "total_max_attempts": 2}  # botocore
_AGAIN: Final = 2  # s3fs
_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_LOCAL: Final = ("file://", "local://")
_SLIPPED: Final = re.compile(r"[A-Za-z][\w+.-]+:/(?!/)")  # of a URL that lacks a slash

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
    """Return a path of this machine, given as such or as ``file://``.

    Raises:
        InvalidArgument: for what is no path, and for what was meant to be a URL: it would become
            a folder of that name.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidArgument("path", path, "a path or URL")
    text = os.fspath(path)
    if _SLIPPED.match(text):
        valid = f"two slashes after the colon of a URL; ./{text} for a folder of that name"
        raise InvalidArgument("path", redacted(text), valid)
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
    if "::" in url:
        raise InvalidArgument("url", redacted(url), "a URL of one store, without '::'")
    # a listing that is kept would hide what was uploaded since
    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith(("s3://", "s3a://")):
        own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options["max_concurrency"] = 1  # of one object's parts: else each is asked for its size
        ours = {"max_pool_connections": _CONNECTIONS, "retries": _RETRIES}
        options["config_kwargs"] = ours | own
    try:
        fs, path = url_to_fs(url, **options)
        if url.startswith("s3"):
            fs.retries = _AGAIN
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise MissingExtra("scale", f"for {scheme}:// ({error})") from error
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
        stop=stop_after_attempt(_TRIES) | stop_after_delay(_PATIENCE),
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
    """Return what each call returns, or the error it raises; all are under way at once.

    On Ctrl-C nobody waits for them any more, nor does the end of the program.
    """
    futures = [run_in_thread(call, daemon=True) for call in calls]
    return [future.exception() or future.result() for future in futures]


def fetch(
    fs: FileSystem, paths: Sequence[str], name: str, ends: Mapping[str, int] | None = None
) -> Mapping[str, bytes | Exception]:
    """Return whole small objects, all fetched at once; for one that can't be had, the error.

    Those that the store was too busy for are asked for again. Of a path in `ends` only so many
    bytes are fetched; it has some.
    """
    ends = ends or {}
    found: dict[str, bytes | Exception] = {}

    def some() -> None:
        left = [path for path in paths if not isinstance(found.get(path), bytes | bytearray)]
        left = [path for path in left if path not in found or is_passing(found[path])]  # type: ignore[arg-type]
        if not left:
            return
        # cat would ask for each beforehand, whether it is there
        starts = [0 if path in ends else None for path in left]
        got = fs.cat_ranges(left, starts, [ends.get(path) for path in left], on_error="return")
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


def size_of(info: Mapping[str, Any]) -> int:
    """Return the size of an object as a store tells it.

    Raises:
        StorageFailed: when it tells none.
    """
    size = info.get("size")
    if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**62:
        return size
    name = redacted(str(info.get("name")))
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
