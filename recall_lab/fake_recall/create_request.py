"""Check the body of a request for a bot, field by field, strictly.

Pure functions: JSON in, an :class:`Order` out, or ``Refused``. Stricter than the real API
where it is known to be lenient, so that a request that passes here passes there.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from recall_lab.fake_recall.http import Refused
from recall_lab.wire.messages import MIXED, SEPARATE
from recall_lab.wire.urls import split

ARTIFACTS: Final = {
    MIXED: "audio_mixed_raw",
    SEPARATE: "audio_separate_raw",
    "video_separate_png.data": "video_separate_png",
    "video_separate_h264.data": "video_separate_h264",
    **dict.fromkeys(
        ("transcript.data", "transcript.partial_data", "transcript.provider_data"), "transcript"
    ),
    **dict.fromkeys(
        (
            f"participant_events.{what}"
            for what in (
                "join", "leave", "update", "speech_on", "speech_off", "webcam_on", "webcam_off",
                "screenshare_on", "screenshare_off", "chat_message",
            )
        ),
        "participant_events",
    ),
}  # fmt: skip
"""Events that can be asked for, and the artifact without which each delivers nothing."""

_AT: Final = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?", re.DOTALL)
_INSIDE: Final = ("localhost", ".localhost", ".local", ".internal")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a bot is to connect."""

    type: Literal["websocket"]
    url: str
    events: Annotated[list[str], msgspec.Meta(min_length=1)]


class _Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: Annotated[dict[str, dict[str, Any]], msgspec.Meta(min_length=1, max_length=1)]


class _Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class RecordingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be recorded and sent."""

    audio_mixed_raw: _Empty | None = None
    audio_separate_raw: _Empty | None = None
    audio_mixed_mp3: _Empty | None = None
    participant_events: _Empty | None = None
    transcript: _Provider | None = None
    video_separate_png: _Empty | None = None
    video_separate_h264: _Empty | None = None
    video_mixed_layout: str | None = None
    realtime_endpoints: list[Endpoint] = []

    def delivered(self, endpoint: Endpoint) -> list[str]:
        """Return the events of an endpoint that have their artifact: the rest never comes."""
        return [event for event in endpoint.events if getattr(self, ARTIFACTS[event]) is not None]


class CreateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bot to be created."""

    meeting_url: str
    bot_name: Name = "Meeting Notetaker"
    join_at: datetime | None = None
    metadata: dict[str, str] = {}
    recording_config: RecordingConfig = RecordingConfig()


def read_order(body: bytes, *, local: bool) -> CreateRequest:
    """Return what a request orders.

    Args:
        body: of the request.
        local: bots may be sent to addresses of this machine.

    Raises:
        Refused: 400 with what is wrong by field, or 403 for an address that no bot can reach.
    """
    try:
        create_request = msgspec.json.decode(body, type=CreateRequest)
    except msgspec.ValidationError as error:
        found = _AT.fullmatch(str(error))
        assert found is not None  # the pattern takes any text
        raise wrong(found["path"] or "non_field_errors", found["what"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, {"detail": f"JSON parse error - {error}"}) from None
    if not _is_url(create_request.meeting_url, ("http", "https")):
        raise wrong("meeting_url", "Enter a valid URL.")
    if create_request.join_at is not None and create_request.join_at.utcoffset() is None:
        raise wrong("join_at", "Datetime has no zone.")
    for at, endpoint in enumerate(create_request.recording_config.realtime_endpoints):
        where = f"recording_config.realtime_endpoints[{at}]"
        parts = urlsplit(endpoint.url) if _is_url(endpoint.url, ("ws", "wss")) else None
        if parts is None or not parts.path or parts.fragment or "@" in parts.netloc:
            raise wrong(f"{where}.url", "Enter a valid websocket URL, with a / before the query.")
        for event in endpoint.events:
            if event not in ARTIFACTS:
                raise wrong(f"{where}.events", f'"{event}" is not a valid choice.')
        if not local and not _is_public(urlsplit(endpoint.url).hostname or ""):
            raise Refused(403, {"detail": "Request blocked by the firewall."})
    return create_request


def wrong(field: str, what: str) -> Refused:
    """Return the answer to a field that is wrong."""
    return Refused(400, {field: [what]})


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    parts = split(text)
    return parts is not None and parts.scheme in schemes


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.lower().endswith(_INSIDE)
