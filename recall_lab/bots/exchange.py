"""Hand requests to httpx2 and take answers back, for both clients."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import AsyncIterable, Callable, Iterable
from math import inf
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx2

from recall_lab.arguments import duration
from recall_lab.bots.account import Account, headers
from recall_lab.bots.answers import MAX_ANSWER, Answer
from recall_lab.bots.flow import Fetch
from recall_lab.bots.refusals import refusal
from recall_lab.bots.requests import Request
from recall_lab.bots.retries import PASSING, Attempts
from recall_lab.errors import InvalidArgument, RecallApiError, StorageFailed

T = TypeVar("T")

_CONNECT: Final = 10.0  # seconds
_SLOWEST: Final = 4096.0  # bytes a second of a download: half of what its sound takes
_GRACE: Final = 30.0  # seconds until that counts


class Deadline:
    """Ends an answer that comes drop by drop: a timeout for each piece would never end it.

    Args:
        clock: seconds that never jump.
        seconds: for the whole answer.
    """

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._begin = clock()
        self._seconds = seconds

    def check(self) -> None:
        """Raise once it is over.

        Raises:
            httpx2.ReadTimeout: as for an answer that does not come at all.
        """
        if self._clock() - self._begin > self._seconds:
            raise httpx2.ReadTimeout(f"not whole after {self._seconds:g} s")

    def check_pace(self, size: int) -> None:
        """Raise for a download that has brought so few bytes by now that it will not end.

        Raises:
            httpx2.ReadTimeout: as for one that has stopped.
        """
        passed = self._clock() - self._begin
        if passed > _GRACE and size < _SLOWEST * passed:
            raise httpx2.ReadTimeout(f"{size:,} bytes in {passed:.0f} s")


def options(account: Account, timeout: float) -> dict[str, Any]:
    """Return the options of httpx2's clients: HTTP/1.1, kept alive, no redirects.

    Raises:
        InvalidArgument: for a timeout that is none.
    """
    timeout = duration("timeout", timeout, most=inf, above=True)
    if timeout == math.inf:
        raise InvalidArgument("timeout", timeout, "seconds, above 0: no socket waits for ever")
    return {
        "timeout": httpx2.Timeout(timeout, connect=min(_CONNECT, timeout)),
        "headers": headers(),
        "follow_redirects": False,
        # a stand-in on this machine is not to be looked for through a proxy
        "trust_env": not account.local,
    }


def sending(request: Request[Any], account: Account, key: str) -> dict[str, Any]:
    """Return a request as httpx2's ``stream`` takes it: secrets and all, so to be kept nowhere."""
    added = {"Accept": "application/json"}
    if request.body is not None:
        added["Content-Type"] = "application/json"
    if request.method == "POST":
        added["Idempotency-Key"] = key
    return {
        "method": request.method,
        "url": account.base + request.path,
        "params": list(request.query) or None,
        "content": request.content(),
        "headers": added,
        "auth": account.sign,
    }


def fetching(fetch: Fetch) -> dict[str, Any]:
    """Return a download as httpx2's ``stream`` takes it: secrets and all, so to be kept nowhere.

    Whoever has the URL has the file, and httpx2 logs the URL of each request. So it is given the
    host only; the rest goes to where the request line is written. The key is not in it.
    """
    url = httpx2.URL(fetch.url.get_secret_value())
    return {
        "method": "GET",
        "url": url.copy_with(raw_path=b"/", username=None, password=None, fragment=None),
        "extensions": {"target": url.raw_path},
    }


def outcome(
    request: Request[T], answer: Answer, attempts: Attempts, account: Account, now: float
) -> T:
    """Return what an answer means.

    Raises:
        RecallApiError: when it was not done, or the answer can't be used.
    """
    done_before = request.once and answer.status == 404 and attempts.unsure
    if 200 <= answer.status < 300 or done_before:
        return request.read(answer)
    raise refusal(answer, account, now)


class Body:
    """The body of an answer while it comes; read by its own methods, so no frame shows it."""

    def __init__(self, deadline: Deadline) -> None:
        self._bytes = bytearray()
        self._deadline = deadline

    def fill(self, chunks: Iterable[bytes]) -> None:
        """Take all, or as much as is taken of any answer."""
        for chunk in chunks:
            self._bytes += chunk
            if len(self._bytes) > MAX_ANSWER:
                break
            self._deadline.check()

    async def fill_async(self, chunks: AsyncIterable[bytes]) -> None:
        """As :meth:`fill`."""
        async for chunk in chunks:
            self._bytes += chunk
            if len(self._bytes) > MAX_ANSWER:
                break
            self._deadline.check()

    def answer(self, request: Request[Any], response: httpx2.Response, account: Account) -> Answer:
        """Return the answer that this is the body of."""
        return Answer(
            doing=request.doing,
            status=response.status_code,
            body=account.without_secrets(bytes(self._bytes[: MAX_ANSWER + 1]), request.secrets),
            retry_after=response.headers.get("retry-after", ""),
            date=response.headers.get("date", ""),
        )


class Part:
    """A file while it is downloaded: beside its place, and moved there when it is whole.

    A context manager: what is not whole when it is left is removed.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._deadline = Deadline(clock, math.inf)
        self._path = fetch.path
        self._limit = fetch.limit
        self._part = fetch.path.parent / f".recall-{uuid.uuid4().hex}.part"
        self._size = 0

    def __enter__(self) -> Self:
        try:
            self._file = self._part.open("xb")
        except OSError as error:
            raise StorageFailed(self._path, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError as failure:  # what was buffered found no room
            if kind is None:
                raise StorageFailed(self._path, failure) from None
        finally:
            self._part.unlink(missing_ok=True)

    def fill(self, response: httpx2.Response) -> None:
        """Take all of a file, and put it in its place."""
        self._begin(response)
        for chunk in response.iter_raw():
            self._take(chunk)
        self._finish()

    async def fill_async(self, response: httpx2.Response) -> None:
        """As :meth:`fill`. Writing blocks the loop, for as long as the disk takes one chunk."""
        self._begin(response)
        async for chunk in response.aiter_raw():
            self._take(chunk)
        self._finish()

    def _begin(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status != 200:
            raise RecallApiError(
                f"{response.url.host} did not give the file ({status})",
                status=status,
                advice="the link may have expired: download again asks for a new one",
                passing=status in PASSING,
            )
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large(f"{int(length):,}")

    def _take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise self._too_large(f"more than {self._limit:,}")
        self._deadline.check_pace(self._size)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise StorageFailed(self._path, error) from None

    def _finish(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._part.replace(self._path)
        except OSError as error:
            raise StorageFailed(self._path, error) from None

    def _too_large(self, size: str) -> RecallApiError:
        return RecallApiError(
            f"the file for {str(self._path)!r} has {size} bytes, and {self._limit:,} are allowed",
            advice="set limit= higher if that is right",
        )
