"""The asyncio client: the same requests and flows as the blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import SecretStr
from tenacity import AsyncRetrying

from recall_lab.arguments import duration
from recall_lab.bots import flow, requests
from recall_lab.bots.account import Account
from recall_lab.bots.answers import Answer, Page
from recall_lab.bots.client import EMPTY_PAGES, FILE_LIMIT, PATIENCE, Client, next_page
from recall_lab.bots.exchange import Body, Deadline, Part, fetching, options, outcome, sending
from recall_lab.bots.flow import Ask, Fetch, Flow, Pause, Step
from recall_lab.bots.refusals import plain
from recall_lab.bots.requests import Reachable, Request
from recall_lab.bots.retries import Attempts, Timing, policy
from recall_lab.bots.values import Bot, Endpoints, Recording, id_of

T = TypeVar("T")


class AsyncClient:
    """The REST API of Recall.ai, for one account, in a loop.

    An asynchronous context manager. Arguments and errors are those of
    :class:`recall_lab.bots.Client`, and so are those of each method, which is described there.

    Example:
        >>> async with AsyncClient() as client:  # doctest: +SKIP
        ...     bot = await client.create("https://zoom.us/j/123", rx)
        ...     await client.wait_until(bot)
    """

    def __init__(
        self,
        api_key: SecretStr | str | None = None,
        region: str | None = None,
        *,
        base_url: str | None = None,
        retry_timeout: float = PATIENCE,
        timeout: float = 30.0,
        timing: Timing | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        # at once, so that no traceback shows it
        api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._account = Account.checked(api_key, region, base_url)
        self._patience = duration("retry_timeout", retry_timeout, most=inf, above=True)
        self._timeout = timeout
        self._timing = timing or Timing(sleep=asyncio.sleep)
        self._http = httpx2.AsyncClient(**options(self._account, timeout), transport=transport)

    async def create(
        self,
        meeting_url: str,
        receiver: Reachable | SecretStr | str,
        *,
        name: str | None = None,
        streams: Iterable[str] = ("mixed",),
        events: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        join_at: datetime | None = None,
        record_for_comparison: bool = True,
        config: Mapping[str, Any] | None = None,
    ) -> Bot:
        """Send a bot to a meeting, which sends what it hears to a receiver."""
        receiver = requests.hidden(receiver, join_at)
        request = requests.create(
            meeting_url,
            receiver,
            name=name,
            streams=streams,
            events=events,
            metadata=metadata,
            join_at=join_at,
            record_for_comparison=record_for_comparison,
            config=config,
            local=self._account.local,
        )
        return await self._ask(request)

    async def get(self, bot: Bot | str) -> Bot:
        """Return a bot as it is now."""
        return await self._ask(requests.get(id_of(bot, "bot")))

    def list(self, **filters: Any) -> AsyncIterator[Bot]:
        """Go through all bots with ``async for``, page by page."""
        return self._pages(requests.bots(filters))

    async def leave(self, bot: Bot | str) -> None:
        """Have a bot leave its call."""
        await self._ask(requests.leave(id_of(bot, "bot")))

    async def delete_media(self, bot: Bot | str) -> None:
        """Delete what Recall.ai keeps of a bot's recordings, for good."""
        await self._ask(requests.delete_media(id_of(bot, "bot")))

    async def delete(self, bot: Bot | str) -> None:
        """Delete a bot that is yet to be sent."""
        await self._ask(requests.delete(id_of(bot, "bot")))

    async def endpoint_status(self, of: Bot | Recording | str) -> Endpoints:
        """Return how the connections to receivers fare, as Recall.ai sees them."""
        return await self._hold(flow.endpoint_status(of))

    async def wait_until(
        self,
        bot: Bot | str,
        code: str = "in_call_recording",
        timeout: float = 600.0,
        progress: bool = True,
        poll: float = 2.0,
    ) -> Bot:
        """Wait until a bot has reached a step of its life, or a later one."""
        return await self._hold(
            flow.wait_until(
                bot, code, timeout=timeout, progress=progress, poll=poll, clock=self._timing.clock
            )
        )

    async def download(
        self,
        of: Bot | Recording | str,
        path: str | Path,
        *,
        timeout: float = 600.0,
        limit: int = FILE_LIMIT,
        poll: float = 5.0,
    ) -> Path:
        """Download the mixed MP3 that Recall.ai makes of a recording."""
        return await self._hold(
            flow.download(
                of, path, timeout=timeout, limit=limit, poll=poll, clock=self._timing.clock
            )
        )

    async def close(self) -> None:
        """Close the connections; closing twice is no mistake."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        account = getattr(self, "_account", None)  # a traceback may show one that was not to be
        return f"<AsyncClient of {account.place if account else 'nothing'}>"

    async def _pages(self, request: Request[Page]) -> AsyncIterator[Bot]:
        seen = {request.query}
        empty = 0
        while empty < EMPTY_PAGES:
            page = await self._ask(request)
            for bot in page.bots:
                yield bot
            if not page.following:
                return
            empty = 0 if page.bots else empty + 1
            request = next_page(request, page, self._account, seen)

    async def _hold(self, flow_: Flow[T]) -> T:
        """Do what a flow says, step by step, and return what it comes to."""
        with closing(flow_):
            said: Any = None
            while True:
                try:
                    step = flow_.send(said)
                except StopIteration as end:
                    result: T = end.value
                    return result
                said = await self._do(step)

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return await self._ask(step.request, step.retry_timeout)
        if isinstance(step, Fetch):
            return await self._fetch(step)
        assert isinstance(step, Pause)
        return await self._timing.sleep(step.seconds)

    async def _ask(self, request: Request[T], retry_timeout: float | None = None) -> T:
        attempts = Attempts()
        most = self._patience if retry_timeout is None else min(retry_timeout, self._patience)
        retrying = AsyncRetrying(**policy(self._timing, most, attempts))
        found: T = await retrying(self._once, request, attempts)
        return found

    async def _once(self, request: Request[T], attempts: Attempts) -> T:
        answer = await self._exchange(request, attempts)
        return outcome(request, answer, attempts, self._account, self._timing.now())

    async def _exchange(self, request: Request[Any], attempts: Attempts) -> Answer:
        body = Body(Deadline(self._timing.clock, self._timeout))
        try:
            async with self._http.stream(
                **sending(request, self._account, attempts.key)
            ) as response:
                await body.fill_async(response.aiter_bytes())
                return body.answer(request, response, self._account)
        except BaseException as error:
            failure = plain(error, request.doing, self._account.base)
        raise failure

    async def _fetch(self, fetch: Fetch) -> None:
        attempts = Attempts()
        retrying = AsyncRetrying(**policy(self._timing, self._patience, attempts))
        await retrying(self._fetch_once, fetch)

    async def _fetch_once(self, fetch: Fetch) -> None:
        try:
            with Part(fetch, self._timing.clock) as part:
                async with self._http.stream(**fetching(fetch)) as response:
                    await part.fill_async(response)
                    return
        except BaseException as error:
            failure = plain(error, "download the MP3", "the host of the file")
        raise failure


# the same words hold for both: what differs is the await
for _name in ("create", "get", "leave", "delete_media", "delete", "endpoint_status", "wait_until",
              "download"):  # fmt: skip
    getattr(AsyncClient, _name).__doc__ = getattr(Client, _name).__doc__
