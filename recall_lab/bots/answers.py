"""Turn what Recall.ai answers into values, or into a RecallApiError.

Foreign text is looked at by functions that never raise, and what is raised carries no more of it
than an excerpt with the secrets taken out: a traceback shows the locals of its frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from pydantic import SecretStr

from recall_lab.bots.urls import shown
from recall_lab.bots.values import Bot, RealtimeEndpoint, Recording, StatusChange, is_id
from recall_lab.errors import InvalidMessage, RecallApiError
from recall_lab.text import redacted, shortened
from recall_lab.wire.timestamps import parse_absolute
from recall_lab.wire.urls import split

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Longest answer that is read, in bytes: a page of bots with long lives has some 100 kB."""

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REPORT: Final = "try again; if it stays so, this version of recall_lab may be too old for the API"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it came, but for what of the question's secrets it repeated.

    Attributes:
        doing: what had been asked, in words that go after "to".
        status: of HTTP.
        body: the first :data:`MAX_ANSWER` bytes, and one more where there were more.
        retry_after: the header, ``""`` where there is none.
        date: the header, ``""`` where there is none.
    """

    doing: str
    status: int
    body: bytes
    retry_after: str = ""
    date: str = ""

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body):,} bytes>"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list.

    Attributes:
        bots: on this page.
        following: URL of the next page, as it was told; ``""`` on the last.
    """

    bots: tuple[Bot, ...]
    following: str


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """One file that Recall.ai makes of a recording.

    Attributes:
        status: ``processing``, ``done`` or ``failed``; ``""`` where it was not told.
        format: such as ``mp3``; ``""`` where it was not told.
        url: where whoever has this URL can fetch it; None until it is there.
    """

    status: str = ""
    format: str = ""
    url: SecretStr | None = None


# The shapes as they travel, as far as they are of use. Everything but an id may be missing.


class _Code(msgspec.Struct):
    code: str = ""
    sub_code: str | None = None


class _Data(msgspec.Struct):
    download_url: SecretStr | None = None


class _Media(msgspec.Struct):
    status: _Code | None = None
    format: str | None = None
    data: _Data | None = None


class _Shortcuts(msgspec.Struct):
    audio_mixed: _Media | None = None


class _Recording(msgspec.Struct):
    id: str
    status: _Code | str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    media_shortcuts: _Shortcuts | None = None


class _Change(msgspec.Struct):
    code: str
    sub_code: str | None = None
    message: str | None = None
    created_at: str | None = None


class _Bot(msgspec.Struct):
    id: str
    bot_name: str | None = None
    meeting_url: str | dict[str, Any] | None = None
    join_at: str | None = None
    metadata: dict[str, Any] | None = None
    status_changes: list[_Change] | None = None
    recordings: list[_Recording] | None = None


class _Bots(msgspec.Struct):
    results: list[_Bot]
    next: str | None = None


class _Ref(msgspec.Struct):
    id: str = ""


class _Endpoint(msgspec.Struct):
    id: str
    status: _Code | str
    type: str | None = None
    url: SecretStr | None = None
    events: list[str] | None = None
    recording: _Ref | None = None


class _Endpoints(msgspec.Struct):
    results: list[_Endpoint]


class _Audio(msgspec.Struct):
    results: list[_Media]


def read_nothing(answer: Answer) -> None:
    """Read an answer of which nothing is needed."""


def read_bot(answer: Answer) -> Bot:
    """Read one bot."""
    wire = _decoded(answer, _Bot)
    _check_ids(answer, [wire])
    return _bot(wire)


def read_bots(answer: Answer) -> Page:
    """Read a page of bots."""
    wire = _decoded(answer, _Bots)
    _check_ids(answer, wire.results)
    return Page(bots=tuple(map(_bot, wire.results)), following=wire.next or "")


def read_endpoints(answer: Answer) -> list[RealtimeEndpoint]:
    """Read how endpoints fare."""
    return [_endpoint(wire) for wire in _decoded(answer, _Endpoints).results]


def read_audio(answer: Answer) -> list[Media]:
    """Read which files there are of a recording's mixed audio."""
    return [_media(wire) for wire in _decoded(answer, _Audio).results]


def unusable(answer: Answer, what: str) -> RecallApiError:
    """Return the error for an answer that is not what the protocol says."""
    return RecallApiError(
        f"Recall.ai's answer to the request to {answer.doing} can't be used: {what}",
        status=answer.status,
        advice=_REPORT,
    )


def _decoded(answer: Answer, shape: type[T]) -> T:
    """Return an answer's JSON in a shape.

    Raises:
        RecallApiError: when it is none, or has another shape.
    """
    if len(answer.body) > MAX_ANSWER:
        raise unusable(answer, f"it has more than {MAX_ANSWER:,} bytes")
    try:
        return msgspec.json.decode(answer.body, type=shape, dec_hook=_hook)
    except RecursionError:
        problem = "it is nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = shortened(redacted(str(error)), 200)
    # out here: an error that has met the answer is none to go on with as a context
    raise unusable(answer, problem)


def _check_ids(answer: Answer, bots: Iterable[_Bot]) -> None:
    """Raise for an id that could not be put into a path or a file's name."""
    for bot in bots:
        for id in (bot.id, *(recording.id for recording in bot.recordings or [])):
            if not is_id(id):
                raise unusable(answer, "it has an id of other characters than ids have")


def _hook(kind: type, value: object) -> object:
    if kind is SecretStr and isinstance(value, str):
        return SecretStr(value)
    raise ValueError("a string was expected")


def _bot(wire: _Bot) -> Bot:
    return Bot(
        id=wire.id,
        name=redacted(wire.bot_name or ""),
        meeting=redacted(_meeting(wire.meeting_url)),
        join_at=_moment(wire.join_at),
        metadata={redacted(k): redacted(str(v)) for k, v in (wire.metadata or {}).items()},
        status_changes=tuple(
            StatusChange(
                code=redacted(change.code),
                created_at=_moment(change.created_at),
                sub_code=redacted(change.sub_code or ""),
                message=redacted(change.message or ""),
            )
            for change in wire.status_changes or []
        ),
        recordings=tuple(map(_recording, wire.recordings or [])),
    )


def _recording(wire: _Recording) -> Recording:
    audio = wire.media_shortcuts.audio_mixed if wire.media_shortcuts else None
    return Recording(
        id=wire.id,
        status=_code(wire.status),
        started_at=_moment(wire.started_at),
        completed_at=_moment(wire.completed_at),
        audio=_media(audio).url if audio else None,
    )


def _endpoint(wire: _Endpoint) -> RealtimeEndpoint:
    return RealtimeEndpoint(
        id=redacted(wire.id),
        status=_code(wire.status),
        type=redacted(wire.type or ""),
        url=shown(wire.url) if wire.url else "",
        events=tuple(redacted(event) for event in wire.events or []),
        sub_code=redacted((wire.status.sub_code or "") if isinstance(wire.status, _Code) else ""),
        recording=redacted(wire.recording.id) if wire.recording else "",
    )


def _media(wire: _Media) -> Media:
    url = wire.data.download_url if wire.data else None
    parts = split(url.get_secret_value()) if url else None
    return Media(
        status=_code(wire.status),
        format=redacted(wire.format or ""),
        url=url if parts and parts.scheme in ("http", "https") else None,
    )


def _code(status: _Code | str | None) -> str:
    return redacted(status.code if isinstance(status, _Code) else status or "")


def _meeting(url: str | dict[str, Any] | None) -> str:
    """Return a meeting's URL, or its parts, into which Recall.ai takes it apart."""
    if isinstance(url, dict):
        return ", ".join(f"{key} {value}" for key, value in url.items() if isinstance(value, str))
    return url or ""


def _moment(text: str | None) -> datetime | None:
    """Return a time; None for none, and for one that can't be read, which is no reason to fail."""
    try:
        nanoseconds, _ = parse_absolute(text or "")
    except InvalidMessage:
        return None
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)
