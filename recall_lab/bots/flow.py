"""Flows of several requests, without any I/O.

A flow is a generator: it gives what is to be done next, a client does it and sends the outcome
back. So waiting for a bot is written once, for the client that blocks and the one that awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import count
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
from pydantic import SecretStr
from tqdm import tqdm

from recall_lab.arguments import duration, whole
from recall_lab.bots import requests
from recall_lab.bots.answers import Media
from recall_lab.bots.requests import Request
from recall_lab.bots.values import STEPS, Bot, Endpoints, Recording, failed, id_of
from recall_lab.errors import InvalidArgument, RecallApiError, WaitTimeout
from recall_lab.text import shortened

T = TypeVar("T")
Clock: TypeAlias = Callable[[], float]

_HINTS: Final = {
    "in_waiting_room": "let the bot in from the meeting's waiting room",
    "in_call_not_recording": "the host may have to allow the recording",
    "recording_permission_denied": "the host has not allowed the recording",
}


class Ask(msgspec.Struct, frozen=True):
    """Send a request, again if need be for so many seconds, and send back its value."""

    request: Request[Any]
    retry_timeout: float | None = None


class Pause(msgspec.Struct, frozen=True):
    """Wait for so many seconds."""

    seconds: float


class Fetch(msgspec.Struct, frozen=True):
    """Download a file of at most `limit` bytes, without the key."""

    url: SecretStr
    path: Path
    limit: int


Step: TypeAlias = Ask | Pause | Fetch
Flow: TypeAlias = Generator[Step, Any, T]


def wait_until(
    bot: Bot | str, code: str, *, timeout: float, progress: bool, poll: float, clock: Clock
) -> Flow[Bot]:
    """Return the flow of :meth:`recall_lab.bots.Client.wait_until`.

    Raises:
        InvalidArgument: for what can't be, before the flow begins.
    """
    id = id_of(bot, "bot")
    if code not in STEPS:
        raise InvalidArgument("code", code, f"one of {', '.join(STEPS)}")
    timeout = duration("timeout", timeout, most=inf, above=True)
    poll = duration("poll", poll, most=inf, above=True)
    return _wait_until(id, code, clock() + timeout, timeout, progress, poll, clock)


def _wait_until(
    id: str, code: str, end: float, timeout: float, progress: bool, poll: float, clock: Clock
) -> Flow[Bot]:
    with tqdm(total=len(STEPS), disable=not progress, bar_format="{desc} |{bar}| {elapsed}") as bar:
        while True:
            bot: Bot = yield Ask(requests.get(id), max(0.0, end - clock()))
            bar.n = bot.place
            bar.set_description_str(f"bot {shortened(bot.code) or 'scheduled'}")
            if bot.failure:
                raise failed(bot)
            if bot.reached(code):
                return bot
            if clock() + poll > end:
                raise _too_late(bot, f"it has not reached {code}", timeout)
            yield Pause(poll)


def download(
    of: Bot | Recording | str,
    path: str | Path,
    *,
    timeout: float,
    limit: int,
    poll: float,
    clock: Clock,
) -> Flow[Path]:
    """Return the flow of :meth:`recall_lab.bots.Client.download`.

    Raises:
        InvalidArgument: for what can't be, before the flow begins.
    """
    id = id_of(of, "recording")
    timeout = duration("timeout", timeout, most=inf, above=True)
    poll = duration("poll", poll, most=inf, above=True)
    whole("limit", limit, 1, what="a number of bytes")
    target = Path(path)
    if not target.is_dir() and not target.parent.is_dir():
        raise InvalidArgument("path", str(path), "a file in a folder that there is, or a folder")
    return _download(id, isinstance(of, Bot), target, clock() + timeout, limit, poll, clock)


class _Look(NamedTuple):
    """What one look at the API shows of the MP3 of a recording.

    Attributes:
        bot: whose recording it is; None where only the recording is known.
        recording: its id; None as long as the bot has none.
        media: the MP3s that there are or will be.
    """

    bot: Bot | None
    recording: str | None
    media: list[Media]

    @property
    def url(self) -> SecretStr | None:
        """Where the MP3 is; None as long as it is not made."""
        return next((media.url for media in self.media if media.url), None)

    @property
    def failed(self) -> bool:
        """Whether Recall.ai could not make it."""
        return any(media.status == "failed" for media in self.media)

    @property
    def none_to_come(self) -> bool:
        """Whether the bot is done and the API tells of no MP3."""
        over = self.bot is not None and bool(self.bot.reached("done") or self.bot.failure)
        return over and not self.media


def _look(id: str, is_bot: bool, left: Callable[[], float]) -> Flow[_Look]:
    """Ask for the bot, where one was given, and for the MP3s of its last recording."""
    bot: Bot | None = None
    recording: str | None = id
    media: list[Media] = []
    if is_bot:
        bot = yield Ask(requests.get(id), left())
        last = bot.recordings[-1] if bot.recordings else None
        recording = last.id if last else None
        if last is None and bot.failure:
            raise failed(bot)
    if recording is not None:
        media = yield Ask(requests.audio(recording), left())
    if bot is not None and bot.recordings and bot.recordings[-1].audio:
        media = [*media, Media(url=bot.recordings[-1].audio)]
    # the list holds the raw audio too; what does not say its format is the MP3
    return _Look(bot, recording, [one for one in media if one.format in ("", "mp3")])


def _download(
    id: str, is_bot: bool, target: Path, end: float, limit: int, poll: float, clock: Clock
) -> Flow[Path]:
    """Look until there is an MP3, there will be none, or it is too late; then fetch it."""
    for looks in count(1):
        seen = yield from _look(id, is_bot, lambda: max(0.0, end - clock()))
        if seen.url is not None and seen.recording is not None:
            path = target / f"{seen.recording}.mp3" if target.is_dir() else target
            yield Fetch(seen.url, path, limit)
            return path
        if seen.failed:
            raise RecallApiError(
                f"Recall.ai could not make the MP3 of recording {seen.recording}",
                advice="what the receiver has kept is all there is of it",
            )
        late = clock() + poll > end
        if seen.none_to_come and (looks > 1 or late):  # twice: the list may lag behind the bot
            raise RecallApiError(
                f"there is no MP3 of {seen.bot!r}",
                advice="it was created with record_for_comparison=False, recorded nothing, or its "
                "media has been deleted: Recall.ai keeps it for some days only",
            )
        if late:
            raise _not_ready(id, seen)
        yield Pause(poll)
    raise AssertionError("looks go on until one of them ends it")


def _not_ready(id: str, seen: _Look) -> WaitTimeout:
    whose = f"bot {id}" if seen.bot else f"recording {id}"
    state = f"the bot is {shortened(seen.bot.code)}; " if seen.bot else ""
    return WaitTimeout(
        f"the MP3 of {whose} was not ready in time: {state}it is made after the call, if the bot "
        "was created with record_for_comparison",
        files=len(seen.media),
        code=seen.bot.code if seen.bot else "",
    )


def endpoint_status(of: Bot | Recording | str) -> Flow[Endpoints]:
    """Return the flow of :meth:`recall_lab.bots.Client.endpoint_status`.

    Raises:
        InvalidArgument: for what may be no id, before the flow begins.
    """
    return _endpoint_status(id_of(of, "recording"), isinstance(of, Bot))


def _endpoint_status(id: str, is_bot: bool) -> Flow[Endpoints]:
    recordings = [id]
    if is_bot:
        bot: Bot = yield Ask(requests.get(id))
        recordings = [recording.id for recording in bot.recordings]
    found: Endpoints = []
    for recording in recordings:
        found += yield Ask(requests.endpoints(recording))
    return found


def _too_late(bot: Bot, what: str, timeout: float) -> WaitTimeout:
    hint = _HINTS.get(bot.code, "")
    steps = " > ".join(shortened(code) for code in bot.codes) or "nothing yet"
    return WaitTimeout(
        f"after {timeout:g} s bot {bot.id}: {what}; so far: {steps}{f'; {hint}' if hint else ''}",
        bot=bot.id,
        codes=bot.codes,
    )
