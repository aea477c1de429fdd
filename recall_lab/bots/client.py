"""The blocking client, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx2
import msgspec
from pydantic import SecretStr
from tenacity import Retrying

from recall_lab.arguments import duration
from recall_lab.bots import flow, requests
from recall_lab.bots.account import Account
from recall_lab.bots.answers import Answer, Page, unusable
from recall_lab.bots.exchange import Body, Deadline, Part, fetching, options, outcome, sending
from recall_lab.bots.flow import Ask, Fetch, Flow, Pause, Step
from recall_lab.bots.refusals import plain
from recall_lab.bots.requests import Reachable, Request
from recall_lab.bots.retries import Attempts, Timing, policy
from recall_lab.bots.values import Bot, Endpoints, Recording, id_of

T = TypeVar("T")

PATIENCE: Final = 180.0
"""Seconds for which a request is sent again, unless told otherwise."""

EMPTY_PAGES: Final = 10
"""Pages of a list without a single bot after which it is taken to have ended."""

FILE_LIMIT: Final = 2 * 1024**3
"""Largest file that is downloaded, unless told otherwise, in bytes: more than a day of MP3."""


class Client:
    """The REST API of Recall.ai, for one account.

    A context manager: leaving it closes the connections. Threads may share one client.

    Args:
        api_key: the key; None for ``RECALL_API_KEY`` of the environment or ``.env``. It is shown
            nowhere: not in a repr, an error, a traceback or a log.
        region: where the key is good, one of ``us-east-1``, ``us-west-2``, ``eu-central-1``,
            ``ap-northeast-1``; None for ``RECALL_REGION``.
        base_url: another place of the API instead of the region's, such as a stand-in's
            ``http://127.0.0.1:8000/api/v1/``.
        retry_timeout: seconds for which a request is sent again when the API is busy, out of bots
            or can't be reached; then the last error is raised. Nothing else is sent again.
        timeout: seconds to wait for an answer to begin, and then for it to be whole.
        timing: clocks, for tests.
        transport: httpx2's, for tests.

    Raises:
        MissingSetting: for a key or a region that is neither given nor set.
        InvalidArgument: for what can't be.

    Methods raise :class:`~recall_lab.errors.RecallApiError` for what Recall.ai refuses, or when
    it can't be reached, and InvalidArgument for what it would refuse.

    Example:
        >>> with Client() as client:  # doctest: +SKIP
        ...     bot = client.create("https://zoom.us/j/123", rx)
        ...     client.wait_until(bot)
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
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        # at once, so that no traceback shows it
        api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._account = Account.checked(api_key, region, base_url)
        self._patience = duration("retry_timeout", retry_timeout, most=inf, above=True)
        self._timeout = timeout
        self._timing = timing or Timing()
        self._http = httpx2.Client(**options(self._account, timeout), transport=transport)

    def create(
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
        """Send a bot to a meeting, which sends what it hears to a receiver.

        However often the request has to be sent, one bot comes of it.

        Args:
            meeting_url: the link by which people join.
            receiver: the receiver, or the URL of one, ``wss://host/path?token=...``. It has to
                be reachable from the internet: ``rl.receive(tunnel="ngrok")``.
            name: the bot's, as the meeting shows it; 1 to 100 characters.
            streams: ``("mixed",)``, ``("separate",)`` (one stream a participant) or both.
            events: what else it is to send, some of ``rl.bots.EVENTS``. Video by participant
                needs ``config={"video_mixed_layout": "gallery_view_v2"}`` besides.
            metadata: strings by name, given back with the bot.
            join_at: when to join, with a zone; None for at once.
            record_for_comparison: also have Recall.ai make the MP3 that :meth:`download` gets.
            config: laid over ``recording_config``, by its outermost names: such as another
                provider, ``{"transcript": {"provider": {"deepgram_streaming": {}}}}``.

        Returns:
            The bot, as it was made.

        Example:
            >>> client.create("https://zoom.us/j/123", rx, name="Notetaker")  # doctest: +SKIP
            <Bot 3fa85f64 'Notetaker' joining_call: 0 recordings>
        """
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
        return self._ask(request)

    def get(self, bot: Bot | str) -> Bot:
        """Return a bot as it is now.

        Args:
            bot: an earlier value of it, or its id.
        """
        return self._ask(requests.get(id_of(bot, "bot")))

    def list(self, **filters: Any) -> Iterator[Bot]:
        """Go through all bots, page by page: the next is asked for when it is needed.

        Args:
            filters: ``join_at_after``, ``join_at_before`` (datetimes), ``meeting_url``,
                ``platform``, ``status`` (one or several), ``page``, and ``metadata__NAME``.

        Example:
            >>> [bot.id for bot in client.list(status="in_call_recording")]  # doctest: +SKIP
        """
        return self._pages(requests.bots(filters))

    def leave(self, bot: Bot | str) -> None:
        """Have a bot leave its call; its recording is then finished and kept."""
        self._ask(requests.leave(id_of(bot, "bot")))

    def delete_media(self, bot: Bot | str) -> None:
        """Delete what Recall.ai keeps of a bot's recordings, for good; our captures stay."""
        self._ask(requests.delete_media(id_of(bot, "bot")))

    def delete(self, bot: Bot | str) -> None:
        """Delete a bot that is yet to be sent; one that is on its way can only :meth:`leave`."""
        self._ask(requests.delete(id_of(bot, "bot")))

    def endpoint_status(self, of: Bot | Recording | str) -> Endpoints:
        """Return how the connections to receivers fare, as Recall.ai sees them.

        Args:
            of: a recording or its id; a bot for all its recordings.

        Returns:
            One value an endpoint; ``failed`` ones get no more messages.
        """
        return self._hold(flow.endpoint_status(of))

    def wait_until(
        self,
        bot: Bot | str,
        code: str = "in_call_recording",
        timeout: float = 600.0,
        progress: bool = True,
        poll: float = 2.0,
    ) -> Bot:
        """Wait until a bot has reached a step of its life; an interrupt ends the waiting.

        It asks again and again, which is for a person at a notebook: to a service, Recall.ai
        tells each step by a webhook of its own, and wants to be asked for none.

        Args:
            bot: the bot, or its id.
            code: one of ``rl.bots.STEPS``.
            timeout: seconds to wait at most.
            progress: show how far it is.
            poll: seconds between two looks.

        Returns:
            The bot once it has reached the step or a later one: it may have left already.

        Raises:
            BotFailed: when it can't reach it any more; with Recall.ai's reason.
            WaitTimeout: when it has not in time; with the steps until then.
        """
        return self._hold(
            flow.wait_until(
                bot, code, timeout=timeout, progress=progress, poll=poll, clock=self._timing.clock
            )
        )

    def download(
        self,
        of: Bot | Recording | str,
        path: str | Path,
        *,
        timeout: float = 600.0,
        limit: int = FILE_LIMIT,
        poll: float = 5.0,
    ) -> Path:
        """Download the mixed MP3 that Recall.ai makes of a recording, to compare ours with.

        A recording shorter than 10 s has 10 s of silence added by Recall.ai.

        Args:
            of: a bot, for its latest recording; a recording, or its id.
            path: the file, which is replaced once the new one is whole; or a folder, for
                ``{recording}.mp3``.
            timeout: seconds to wait until it is made.
            limit: largest size that is taken, in bytes.
            poll: seconds between two looks.

        Returns:
            The file.

        Raises:
            WaitTimeout: when it is not made in time.
            BotFailed: when the bot failed before it recorded anything.
            StorageFailed: when the disk does not take it.
        """
        return self._hold(
            flow.download(
                of, path, timeout=timeout, limit=limit, poll=poll, clock=self._timing.clock
            )
        )

    def close(self) -> None:
        """Close the connections; closing twice is no mistake."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        account = getattr(self, "_account", None)  # a traceback may show one that was not to be
        return f"<Client of {account.place if account else 'nothing'}>"

    def _pages(self, request: Request[Page]) -> Iterator[Bot]:
        seen = {request.query}
        empty = 0
        while empty < EMPTY_PAGES:
            page = self._ask(request)
            yield from page.bots
            if not page.following:
                return
            empty = 0 if page.bots else empty + 1
            request = next_page(request, page, self._account, seen)

    def _hold(self, flow_: Flow[T]) -> T:
        """Do what a flow says, step by step, and return what it comes to."""
        with closing(flow_):
            said: Any = None
            while True:
                try:
                    step = flow_.send(said)
                except StopIteration as end:
                    result: T = end.value
                    return result
                said = self._do(step)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return self._ask(step.request, step.retry_timeout)
        if isinstance(step, Fetch):
            return self._fetch(step)
        assert isinstance(step, Pause)
        return self._timing.sleep(step.seconds)

    def _ask(self, request: Request[T], retry_timeout: float | None = None) -> T:
        attempts = Attempts()
        most = self._patience if retry_timeout is None else min(retry_timeout, self._patience)
        retrying = Retrying(**policy(self._timing, most, attempts))
        found: T = retrying(self._once, request, attempts)
        return found

    def _once(self, request: Request[T], attempts: Attempts) -> T:
        answer = self._exchange(request, attempts)
        return outcome(request, answer, attempts, self._account, self._timing.now())

    def _exchange(self, request: Request[Any], attempts: Attempts) -> Answer:
        body = Body(Deadline(self._timing.clock, self._timeout))
        try:
            with self._http.stream(**sending(request, self._account, attempts.key)) as response:
                body.fill(response.iter_bytes())
                return body.answer(request, response, self._account)
        except BaseException as error:
            failure = plain(error, request.doing, self._account.base)
        raise failure

    def _fetch(self, fetch: Fetch) -> None:
        attempts = Attempts()
        Retrying(**policy(self._timing, self._patience, attempts))(self._fetch_once, fetch)

    def _fetch_once(self, fetch: Fetch) -> None:
        try:
            with (
                Part(fetch, self._timing.clock) as part,
                self._http.stream(**fetching(fetch)) as response,
            ):
                part.fill(response)
                return
        except BaseException as error:
            failure = plain(error, "download the MP3", "the host of the file")
        raise failure


def next_page(
    request: Request[Page], page: Page, account: Account, seen: set[tuple[tuple[str, str], ...]]
) -> Request[Page]:
    """Return the request for the page that follows; to the same list only, and not in circles.

    Raises:
        RecallApiError: when the answer names another place, or a page that was there before.
    """
    query = account.query_of(page.following, request.path)
    if query is None or query in seen:
        answer = Answer(doing=request.doing, status=200, body=b"")
        where = "of another place, to which the key does not go" if query is None else "seen before"
        raise unusable(answer, f"its next page is one {where}")
    seen.add(query)
    return msgspec.structs.replace(request, query=query)
