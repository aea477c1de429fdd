"""Requests to Recall.ai as values: method, path, body, and how to read the answer.

Nothing here sends anything. Whatever is secret in a body stays a :class:`pydantic.SecretStr`
until :meth:`Request.content` is called, which is where it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from pydantic import SecretStr

from recall_lab.bots.answers import (
    Answer,
    Media,
    Page,
    read_audio,
    read_bot,
    read_bots,
    read_endpoints,
    read_nothing,
)
from recall_lab.bots.urls import secrets_in, shown, wrong_with_endpoint
from recall_lab.bots.values import Bot, RealtimeEndpoint
from recall_lab.errors import InvalidArgument
from recall_lab.text import redacted
from recall_lab.wire.messages import MIXED, SEPARATE
from recall_lab.wire.urls import split

T = TypeVar("T")

_PARTICIPANT_EVENTS: Final = (
    "join", "leave", "update", "speech_on", "speech_off", "webcam_on", "webcam_off",
    "screenshare_on", "screenshare_off", "chat_message",
)  # fmt: skip
_TRANSCRIPT: Final[Mapping[str, Any]] = {"provider": {"recallai_streaming": {}}}
_ARTIFACTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    # event: the artifact without which it delivers nothing, and that artifact's settings
    MIXED: ("audio_mixed_raw", {}),
    SEPARATE: ("audio_separate_raw", {}),
    **{f"participant_events.{name}": ("participant_events", {}) for name in _PARTICIPANT_EVENTS},
    "transcript.data": ("transcript", _TRANSCRIPT),
    "transcript.partial_data": ("transcript", _TRANSCRIPT),
    "transcript.provider_data": ("transcript", _TRANSCRIPT),
    "video_separate_png.data": ("video_separate_png", {}),
    "video_separate_h264.data": ("video_separate_h264", {}),
}
EVENTS: Final = tuple(event for event in _ARTIFACTS if event not in (MIXED, SEPARATE))
"""What a bot can send to a receiver besides audio."""

_STREAMS: Final = {"mixed": MIXED, "separate": SEPARATE}
_STREAMS_VALID: Final = '("mixed",), ("separate",) or ("mixed", "separate")'
_FILTERS: Final = (
    "join_at_after", "join_at_before", "meeting_url", "page", "platform", "status",
)  # fmt: skip
_LONGEST_URL: Final = 4096  # characters


class Reachable(Protocol):
    """A receiver, as far as a bot is concerned."""

    @property
    def bot_url(self) -> SecretStr:
        """Where a bot is to connect, with the token that opens: ``wss://host/path?token=...``."""
        ...


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One request.

    Attributes:
        doing: what it is for, in words that go after "to".
        method: of HTTP.
        path: after the base URL.
        read: makes a value of a good answer.
        query: names and values.
        body: what is sent as JSON; may hold secrets as SecretStr. None for no body.
        secrets: what must not be shown, should the answer repeat it.
        once: it can be done once, so that 404 after an attempt without an answer means done.
    """

    doing: str
    method: str
    path: str
    read: Callable[[Answer], T]
    query: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = None
    secrets: tuple[SecretStr, ...] = ()
    once: bool = False

    def content(self) -> bytes | None:
        """Return the body as it travels, secrets and all: for sending, and for nothing else."""
        return None if self.body is None else msgspec.json.encode(self.body, enc_hook=_revealed)


def create(
    meeting_url: str,
    endpoint: SecretStr,
    *,
    name: str | None = None,
    streams: Iterable[str] = ("mixed",),
    events: Iterable[str] = (),
    metadata: Mapping[str, str] | None = None,
    join_at: datetime | None = None,
    record_for_comparison: bool = True,
    config: Mapping[str, Any] | None = None,
    local: bool = False,
) -> Request[Bot]:
    """Return the request that sends a bot; see :meth:`recall_lab.bots.Client.create`.

    Args:
        endpoint: where the bot is to connect.
        local: the API is a stand-in on this machine.

    Raises:
        InvalidArgument: for what Recall.ai would refuse, or would take and then send nothing.
    """
    wrong = wrong_with_endpoint(endpoint, local=local)
    if wrong:
        raise InvalidArgument("receiver", shown(endpoint), wrong)
    # it may let people in by itself, with ?pwd=...
    body: dict[str, Any] = {"meeting_url": SecretStr(_meeting(meeting_url))}
    if name is not None:
        if not isinstance(name, str) or not 1 <= len(name) <= 100:
            raise InvalidArgument("name", name, "1 to 100 characters")
        body["bot_name"] = name
    if join_at is not None:
        if not isinstance(join_at, datetime) or join_at.utcoffset() is None:
            valid = "a datetime with a zone, such as datetime.now(UTC) + timedelta(hours=1)"
            raise InvalidArgument("join_at", join_at, valid)
        body["join_at"] = _iso(join_at)
    if metadata is not None:
        body["metadata"] = _metadata(metadata)
    wanted = _events(streams, events)
    artifacts = {_ARTIFACTS[event][0]: dict(_ARTIFACTS[event][1]) for event in wanted}
    if record_for_comparison:
        artifacts["audio_mixed_mp3"] = {}
    body["recording_config"] = _recording_config(artifacts, config, wanted) | {
        "realtime_endpoints": [{"type": "websocket", "url": endpoint, "events": wanted}]
    }
    return Request(
        doing="create a bot", method="POST", path="bot/", body=body, read=read_bot,
        secrets=secrets_in(endpoint),
    )  # fmt: skip


def get(bot_id: str) -> Request[Bot]:
    """Return the request for one bot."""
    return Request(
        doing=f"read bot {bot_id}", method="GET", path=f"bot/{bot_id}/", read=read_bot
    )  # fmt: skip


def bots(filters: Mapping[str, Any]) -> Request[Page]:
    """Return the request for the first page of all bots that a filter lets through.

    Raises:
        InvalidArgument: for a filter that there is not: the API would pass over it.
    """
    query = []
    for name, value in filters.items():
        if name not in _FILTERS and not name.startswith("metadata__"):
            raise InvalidArgument("filter", name, f"one of {', '.join(_FILTERS)}, metadata__KEY")
        for one in [value] if isinstance(value, str | int | datetime) else value:
            if isinstance(one, datetime) and one.utcoffset() is None:
                raise InvalidArgument(name, one, "a datetime with a zone")
            query.append((name, _iso(one) if isinstance(one, datetime) else str(one)))
    return Request(
        doing="list bots", method="GET", path="bot/", query=tuple(query), read=read_bots
    )  # fmt: skip


def leave(bot_id: str) -> Request[None]:
    """Return the request that has a bot leave its call."""
    return Request(
        doing=f"have bot {bot_id} leave", method="POST", path=f"bot/{bot_id}/leave_call/",
        read=read_nothing,
    )  # fmt: skip


def delete_media(bot_id: str) -> Request[None]:
    """Return the request that deletes what Recall.ai keeps of a bot's recordings."""
    return Request(
        doing=f"delete the media of bot {bot_id}", method="POST",
        path=f"bot/{bot_id}/delete_media/", read=read_nothing,
    )  # fmt: skip


def delete(bot_id: str) -> Request[None]:
    """Return the request that deletes a bot that has not been sent yet."""
    return Request(
        doing=f"delete bot {bot_id}", method="DELETE", path=f"bot/{bot_id}/", read=read_nothing,
        once=True,
    )  # fmt: skip


def endpoints(recording_id: str) -> Request[list[RealtimeEndpoint]]:
    """Return the request for how the endpoints of a recording fare."""
    return Request(
        doing=f"read the endpoints of recording {recording_id}", method="GET",
        path="realtime_endpoint/", query=(("recording_id", recording_id),), read=read_endpoints,
    )  # fmt: skip


def audio(recording_id: str) -> Request[list[Media]]:
    """Return the request for the mixed audio of a recording."""
    return Request(
        doing=f"find the audio of recording {recording_id}", method="GET", path="audio_mixed/",
        query=(("recording_id", recording_id),), read=read_audio,
    )  # fmt: skip


def hidden(receiver: Reachable | SecretStr | str, join_at: datetime | None = None) -> SecretStr:
    """Return where a bot is to connect, not to be shown from here on.

    A receiver that would end before is told when the bot is to come.

    Raises:
        InvalidArgument: for what is neither a receiver nor a URL.
    """
    found = receiver if isinstance(receiver, str) else getattr(receiver, "bot_url", receiver)
    expect = getattr(receiver, "expect", None)
    if expect is not None and isinstance(join_at, datetime) and join_at.utcoffset() is not None:
        expect(join_at)
    if isinstance(found, str):
        return SecretStr(found)
    if not isinstance(found, SecretStr):
        valid = "a receiver, as rl.receive returns one, or a URL such as wss://host/path?token=..."
        raise InvalidArgument("receiver", type(receiver).__name__, valid)
    return found


def _meeting(url: str) -> str:
    parts = split(url) if isinstance(url, str) and len(url) <= _LONGEST_URL else None
    if parts is None or parts.scheme not in ("http", "https"):
        given = redacted(url) if isinstance(url, str) else url
        valid = "the link by which people join, such as https://zoom.us/j/123?pwd=..."
        raise InvalidArgument("meeting_url", given, valid)
    return url


def _events(streams: Iterable[str], events: Iterable[str]) -> list[str]:
    """Return the events of the streams and those asked for besides, each once."""
    chosen = [] if isinstance(streams, str) else list(streams)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= _STREAMS.keys():
        raise InvalidArgument("streams", streams, _STREAMS_VALID)
    besides = [events] if isinstance(events, str) else list(events)
    for event in besides:
        if event not in _ARTIFACTS:
            raise InvalidArgument("events", event, f"some of {', '.join(EVENTS)}")
    return list(dict.fromkeys([*(_STREAMS[s] for s in _STREAMS if s in chosen), *besides]))


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    found = dict(metadata) if isinstance(metadata, Mapping) else {0: metadata}
    for key, value in found.items():
        if not isinstance(key, str) or not key or not isinstance(value, str):
            raise InvalidArgument("metadata", {key: value}, "a mapping of strings to strings")
    return found


def _recording_config(
    artifacts: Mapping[str, Any], config: Mapping[str, Any] | None, wanted: Sequence[str]
) -> dict[str, Any]:
    """Return the artifacts with the user's own settings over them."""
    if config is None:
        return dict(artifacts)
    if not isinstance(config, Mapping) or "realtime_endpoints" in config:
        given = "realtime_endpoints" if isinstance(config, Mapping) else config
        valid = "settings of recording_config but realtime_endpoints, which is made of the receiver"
        raise InvalidArgument("config", given, valid)
    try:
        msgspec.json.encode(config)
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgument("config", sorted(map(str, config)), "what JSON can hold") from None
    merged = dict(artifacts) | dict(config)
    for event in wanted:
        artifact = _ARTIFACTS[event][0]
        if merged.get(artifact) is None:
            valid = (
                f"settings for it: {event} was asked for, and nothing comes without its artifact"
            )
            raise InvalidArgument(f"config[{artifact!r}]", merged.get(artifact), valid)
    return merged


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _revealed(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")
