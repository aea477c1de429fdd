"""Turn audio messages of undocumented shapes into the documented one.

What keeping audio needs is the recording's id, the buffer and the relative time. Everything else
may be of a wrong type, null or missing: then as much of it is taken as can be told, and the rest is
named, so that whoever keeps the audio can say what he could not read. Only messages that the
decoder of the documented shape refuses come here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from recall_lab.errors import InvalidMessage
from recall_lab.wire.timestamps import format_absolute

MAX_ID: Final = 256
MAX_PARTICIPANT: Final = 2**63 - 1

NOBODY: Final = MAX_PARTICIPANT
"""The participant of a separate stream whose messages do not tell whose it is."""

_Object: TypeAlias = dict[str, Any]
_NUMBER: Final = re.compile(r"-?\d{1,10}(\.\d{1,30})?", re.ASCII)
_DIGITS: Final = re.compile(r"\d{1,19}", re.ASCII)
_REFS: Final = (
    "bot", "realtime_endpoint",
    "audio_mixed_raw", "audio_mixed", "audio_separate_raw", "audio_separate",
)  # fmt: skip
_STAND_INS: Final = 2**62  # and above: ids of participants whose own are no numbers
_UNIX: Final = (10**9, 92 * 10**8)
"""What a number may be to be a time in seconds since 1970: from 2001 on; a thousandfold, in ms."""


class Mended(NamedTuple):
    """A message in the documented shape.

    Attributes:
        message: its bytes.
        unread: paths of the fields that were not as documented: of some, what they mean can be
            told (``"100"`` for 100), others are left out.
    """

    message: bytes
    unread: tuple[str, ...]


def mended(message: bytes | bytearray | memoryview, *, separate: str) -> Mended | None:
    """Return an audio message in the documented shape; None where there is nothing to put right.

    What is needed and is not there stays missing: the decoder says so.

    Args:
        message: JSON with an event's name.
        separate: name of the event whose messages have a participant.

    Example:
        >>> mended(b'{"event": "x", "data": {"bot": "b", "recording": {"id": 5}}}', separate="s")
        Mended(message=b'{"event":"x","data":{"recording":{"id":"5"}}}', \
unread=('data.bot', 'data.recording.id'))
    """
    unread: list[str] = []
    whole, data = _object(message), None
    if whole is not None:
        data = _object(whole.get("data"))
    if whole is None or data is None:
        return None
    for name in _REFS:
        if name in data and (ref := _ref(data[name], f"data.{name}", unread)) is None:
            del data[name]
        elif name in data:
            data[name] = ref
    recording = _ref(data.get("recording"), "data.recording", unread)
    if recording is not None:
        data["recording"] = recording
    payload = _object(data.get("data"))
    if payload is not None:
        stamp = _object(payload.get("timestamp"))
        if stamp is not None:
            payload["timestamp"] = _timestamp(stamp, unread)
        if _value(whole.get("event")) == separate:
            who = payload.get("participant")
            if _value(who) is None:
                who = data.pop("participant", None)  # beside the payload
            payload["participant"] = _participant(who, unread)
        data["data"] = payload
    try:
        shaped = {"event": whole["event"]} if "event" in whole else {}
        return Mended(msgspec.json.encode(shaped | {"data": data}), tuple(unread))
    except (ValueError, RecursionError):
        return None


def _object(raw: Any) -> _Object | None:
    """Return the fields of a JSON object, undecoded; None for what is none."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return None


def _value(raw: Any) -> Any:
    """Return the value of JSON text; None for what is missing, and what has no value here."""
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None


def _empty(raw: Any) -> bool:
    """Whether JSON text tells nothing: null, an empty object, list or text."""
    return raw is None or bytes(raw).translate(None, b" \t\r\n") in {b"null", b"{}", b"[]", b'""'}


def _ref(raw: Any, path: str, unread: list[str]) -> _Object | None:
    """Return a reference with what can be told of it; None where it has no id."""
    fields = _object(raw)
    if fields is None:
        if not _empty(raw):
            unread.append(path)
        return None
    told: _Object = {}
    id_ = _value(fields.get("id"))
    if isinstance(id_, int) and not isinstance(id_, bool):
        unread.append(f"{path}.id")
        id_ = str(id_)
    if isinstance(id_, str) and (len(id_) <= MAX_ID or path == "data.recording"):
        told["id"] = id_
    elif path == "data.recording":
        return fields
    else:
        if fields:
            unread.append(f"{path}.id")
        return None
    metadata = fields.get("metadata")
    if _object(metadata) is not None:
        told["metadata"] = metadata
    elif not _empty(metadata):
        unread.append(f"{path}.metadata")
    return told


def _timestamp(stamp: _Object, unread: list[str]) -> _Object:
    """Return both times, each as the type that is documented where it can be told."""
    told: _Object = {}
    relative = _value(stamp.get("relative"))
    if isinstance(relative, str) and _NUMBER.fullmatch(relative):
        told["relative"] = float(relative)
        unread.append("data.data.timestamp.relative")
    elif "relative" in stamp:
        told["relative"] = stamp["relative"]
    absolute = _value(stamp.get("absolute"))
    if isinstance(absolute, int | float) and not isinstance(absolute, bool):
        told["absolute"] = _unix(bytes(stamp["absolute"]).decode())
        if told["absolute"]:
            unread.append("data.data.timestamp.absolute")
    elif isinstance(absolute, str):
        told["absolute"] = stamp["absolute"]
    return told


def _unix(number: str) -> str | None:
    """Return what a number of seconds or milliseconds since 1970 means, as text without a zone."""
    seconds = Decimal(number)
    least, most = _UNIX
    if least * 1_000 <= seconds < most * 1_000:
        seconds /= 1_000
    if not least <= seconds < most:
        return None
    try:
        return format_absolute(int(seconds * 10**9)).removesuffix("Z")
    except InvalidMessage:
        return None


def _participant(raw: Any, unread: list[str]) -> _Object:
    """Return what is told of a participant, and an id in any case."""
    path = "data.data.participant"
    fields = _object(raw)
    if fields is None:
        unread.append(path)
        return {"id": NOBODY}
    told: _Object = {"id": _participant_id(fields.get("id"), unread)}
    for name, taken in _FIELDS.items():
        value = _value(fields.get(name))
        if value is None and _empty(fields.get(name)):
            continue
        if taken(value):
            told[name] = fields[name]
        else:
            unread.append(f"{path}.{name}")
            if name == "is_host" and value in (0, 1):
                told[name] = bool(value)
    return told


_FIELDS: Final[dict[str, Callable[[Any], bool]]] = {
    "name": lambda value: isinstance(value, str),
    "is_host": lambda value: isinstance(value, bool),
    "platform": lambda value: isinstance(value, str),
    "extra_data": lambda value: isinstance(value, dict),
    "email": lambda value: isinstance(value, str),
}


def _participant_id(raw: Any, unread: list[str]) -> int:
    """Return a participant's id as a number: what is no number stands for one of its own."""
    id_ = _value(raw)
    if isinstance(id_, float) and id_.is_integer():
        id_ = int(id_)
    elif isinstance(id_, bool | float):
        id_ = None
    if isinstance(id_, int) and 0 <= id_ <= MAX_PARTICIPANT:
        return id_
    unread.append("data.data.participant.id")
    if isinstance(id_, str) and _DIGITS.fullmatch(id_) and int(id_) <= MAX_PARTICIPANT:
        return int(id_)
    if _empty(raw):
        return NOBODY
    return _STAND_INS | int.from_bytes(sha256(bytes(raw)).digest()[:8]) >> 2
