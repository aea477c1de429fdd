"""Messages of the real-time endpoint: JSON text ⇄ AudioPacket | OtherEvent.

Everything here is a pure function of its arguments. :func:`decode_message` takes the bytes of one
websocket text message and gives a frozen value, or raises
:class:`~recall_lab.errors.InvalidMessage`, and nothing else, whatever the bytes are.
:func:`encode_message` is its inverse.

What is required is what keeping the audio needs: the recording's id, the buffer and the relative
time. Everything else may be absent, null or of a wrong type (:mod:`recall_lab.wire.shapes`), and
fields we do not know are passed over, so that a newer protocol still records.
"""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import pybase64

from recall_lab.errors import MISSING, InvalidMessage
from recall_lab.wire.pcm import seconds_of
from recall_lab.wire.shapes import MAX_ID, MAX_PARTICIPANT, mended
from recall_lab.wire.timestamps import format_absolute, parse_absolute

MIXED: Final = "audio_mixed_raw.data"
SEPARATE: Final = "audio_separate_raw.data"

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Longest message taken. The largest that is documented is a 640x360 picture: at most 691 kB
as raw pixels, 922 kB in base64; this is twice that."""

MAX_RELATIVE: Final = 1e9
"""Largest relative timestamp taken, in seconds: there float64 still resolves 0.1 µs."""

MAX_EVENT_NAME: Final = 128

_RECORDING_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
RECORDING_ID_VALID: Final = "1 to 64 of A-Z a-z 0-9 _ -, starting with a letter or a digit"
PARTICIPANT_VALID: Final = f"a whole number from 0 to {MAX_PARTICIPANT}"


class Ref(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something of Recall.ai's that a message refers to: its id, and the user's metadata."""

    id: Annotated[str, msgspec.Meta(max_length=MAX_ID)]
    metadata: dict[str, Any] | None = None


class Participant(msgspec.Struct, frozen=True):
    """Who is heard in a separate stream. The id is unique within one meeting only."""

    id: Annotated[int, msgspec.Meta(ge=0, le=MAX_PARTICIPANT)]
    name: str | None = None
    is_host: bool | None = None
    platform: str | None = None
    extra_data: dict[str, Any] | None = None
    email: str | None = None


class AudioPacket(msgspec.Struct, frozen=True, kw_only=True):
    """One packet of audio: the payload with the sender's two clocks.

    Attributes:
        recording: the recording it belongs to; its id is safe as a file name.
        payload: PCM bytes (16 kHz, mono, s16le); may be empty, may be odd in length.
        relative: sender's media clock at the first sample, in seconds.
        absolute: sender's wall clock at the first sample, in ns since 1970 UTC; None where no
            time can be read.
        participant: whose separate stream this is; None for the mixed stream.
        bot, endpoint, artifact: further references, where the message had them.
        zoneless: the absolute time named no zone and was taken as UTC.
        unread: paths of the fields that were not of the documented type; beside `absolute`.
    """

    recording: Ref
    payload: bytes
    relative: float
    absolute: int | None
    participant: Participant | None = None
    bot: Ref | None = None
    endpoint: Ref | None = None
    artifact: Ref | None = None
    zoneless: bool = False
    unread: tuple[str, ...] = ()

    @property
    def event(self) -> str:
        """Name of the event that carries such a packet."""
        return MIXED if self.participant is None else SEPARATE

    @property
    def duration(self) -> float:
        """Length in seconds, from the bytes: never from the cadence of messages."""
        return seconds_of(len(self.payload))


class OtherEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Any message that is not audio, known or not, kept with its JSON.

    Attributes:
        event: its name, such as ``transcript.data``.
        json: the message as it came.
        recording: the recording it belongs to, where it names one that is valid.
    """

    event: str
    json: bytes
    recording: Ref | None = None


Message: TypeAlias = AudioPacket | OtherEvent
ArtifactForm: TypeAlias = Literal["raw", "plain"]
"""Two documented spellings of the artifact key: ``audio_mixed_raw`` or ``audio_mixed``."""


def is_recording_id(text: str) -> bool:
    """Tell whether `text` may be a recording id, and so a file name.

    Example:
        >>> is_recording_id("9f3c-1"), is_recording_id("../etc/passwd"), is_recording_id("a\\n")
        (True, False, False)
    """
    return _RECORDING_ID.fullmatch(text) is not None


# The shapes as they travel. Only these are decoded; the values above are made from them.


class _Timestamp(msgspec.Struct):
    relative: float
    absolute: str | None = None


class _Audio(msgspec.Struct):
    buffer: str
    timestamp: _Timestamp


class _SpokenAudio(_Audio):
    participant: Participant


class _Refs(msgspec.Struct):
    recording: Ref
    bot: Ref | None = None
    realtime_endpoint: Ref | None = None


class _MixedData(_Refs, kw_only=True):
    data: _Audio
    audio_mixed_raw: Ref | None = None
    audio_mixed: Ref | None = None


class _SeparateData(_Refs, kw_only=True):
    data: _SpokenAudio
    audio_separate_raw: Ref | None = None
    audio_separate: Ref | None = None


class _Mixed(msgspec.Struct, tag_field="event", tag=MIXED):
    data: _MixedData


class _Separate(msgspec.Struct, tag_field="event", tag=SEPARATE):
    data: _SeparateData


class _Other(msgspec.Struct):
    event: Annotated[str, msgspec.Meta(max_length=MAX_EVENT_NAME)]
    data: msgspec.Raw = msgspec.Raw(b"null")


class _OtherData(msgspec.Struct):
    recording: Ref | None = None


_decode_audio = msgspec.json.Decoder(_Mixed | _Separate).decode
_decode_other = msgspec.json.Decoder(_Other).decode
_decode_other_data = msgspec.json.Decoder(_OtherData).decode
_encoder = msgspec.json.Encoder()
# what is no base64 can be no buffer; and nobody outside can put it anywhere else
_STAND_IN: Final = b"(%b)" % secrets.token_hex(16).encode()
_WORTH_CUTTING: Final = 256
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNKNOWN_EVENT = re.compile(r"Invalid value .* - at `\$\.event`", re.DOTALL)


def decode_message(message: bytes | bytearray | memoryview) -> Message:
    """Return the value of one websocket text message.

    Args:
        message: its bytes, UTF-8 JSON.

    Raises:
        InvalidMessage: for anything that does not keep the protocol.

    Example:
        >>> decode_message(b'{"event": "participant_events.join", "data": {}}').event
        'participant_events.join'
    """
    if isinstance(message, memoryview) or not message.isascii():
        try:
            str(message, "utf-8")  # the decoder does not look into what it passes over
        except UnicodeDecodeError as error:
            raise InvalidMessage(
                "", bytes(message[error.start : error.end]), "JSON in UTF-8", reason="utf8"
            ) from None
    unread: tuple[str, ...] = ()
    try:
        wire, payload = _read(message)
    except msgspec.ValidationError as error:
        if _UNKNOWN_EVENT.fullmatch(str(error)):
            return _other_event(message)
        again = mended(message, separate=SEPARATE)
        if again is None:
            raise _explain(error, message) from None
        try:
            wire, payload = _read(again.message)
        except _UNREADABLE as what:
            raise _explain(what, message) from None
        unread = again.unread
    except _UNREADABLE as error:
        raise _explain(error, message) from None

    outer = wire.data
    inner = outer.data
    recording = outer.recording
    relative = inner.timestamp.relative
    _check(recording.id, relative)
    absolute, zoneless = _absolute(inner.timestamp.absolute)
    if isinstance(wire, _Mixed):
        participant = None
        artifact = wire.data.audio_mixed_raw or wire.data.audio_mixed
    else:
        participant = wire.data.data.participant
        artifact = wire.data.audio_separate_raw or wire.data.audio_separate
    return AudioPacket(
        recording=recording,
        payload=payload,
        relative=relative,
        absolute=absolute,
        participant=participant,
        bot=outer.bot,
        endpoint=outer.realtime_endpoint,
        artifact=artifact,
        zoneless=zoneless,
        unread=unread,
    )


def _read(message: bytes | bytearray | memoryview) -> tuple[_Mixed | _Separate, bytes]:
    """Return an audio message of the documented shape, and the audio in it.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: for another shape, or no JSON.
        InvalidMessage: for a buffer that is no base64.
    """
    quick = None if isinstance(message, memoryview) else _decode_around_buffer(message)
    if quick is not None:
        return quick
    wire = _decode_audio(message)
    try:
        return wire, pybase64.b64decode(wire.data.data.buffer, validate=True)
    except ValueError:
        raise InvalidMessage(
            "data.data.buffer", wire.data.data.buffer,
            "base64 with padding and no other characters", reason="base64",
        ) from None  # fmt: skip


def _absolute(text: str | None) -> tuple[int | None, bool]:
    """Return the time that a text means, and whether it named no zone; None for no time."""
    if text is None:
        return None, False
    try:
        return parse_absolute(text)
    except InvalidMessage:
        return None, False


def encode_message(message: Message, *, form: ArtifactForm = "raw") -> bytes:
    """Return `message` as it travels: the inverse of :func:`decode_message`.

    Args:
        message: the value.
        form: which of the two documented artifact keys an audio packet gets.

    Raises:
        InvalidMessage: for an audio packet that :func:`decode_message` would refuse.

    Example:
        >>> packet = AudioPacket(recording=Ref("r1"), payload=b"", relative=0.0, absolute=0)
        >>> decode_message(encode_message(packet)) == packet
        True
    """
    if isinstance(message, OtherEvent):
        return message.json
    _check(message.recording.id, message.relative)
    participant = message.participant
    if participant is not None and not 0 <= participant.id <= MAX_PARTICIPANT:
        raise InvalidMessage(
            "data.data.participant.id", participant.id, PARTICIPANT_VALID, reason="participant"
        )
    absolute = None if message.absolute is None else format_absolute(message.absolute)
    payload: dict[str, Any] = {
        "buffer": pybase64.b64encode(message.payload).decode("ascii"),
        "timestamp": {
            "relative": message.relative,
            "absolute": absolute[:-1] if absolute and message.zoneless else absolute,
        },
    }
    key = "audio_mixed"
    if participant is not None:
        payload["participant"] = participant
        key = "audio_separate"
    data = {
        "data": payload,
        "realtime_endpoint": message.endpoint,
        "recording": message.recording,
        "bot": message.bot,
        f"{key}_raw" if form == "raw" else key: message.artifact,
    }
    return _encoder.encode({"event": message.event, "data": data})


def _decode_around_buffer(message: bytes | bytearray) -> tuple[_Mixed | _Separate, bytes] | None:
    """Decode an audio message with its buffer cut out, nine tenths of it, and the buffer alone.

    A JSON parser looks at every character of a string for an escape; base64 has none. None is
    returned wherever the result might differ from that of decoding the whole: what is cut out
    must be base64, and the parser must find the stand-in, which is not, in the buffer's place.
    """
    begin = message.find(b'"buffer"') + 8
    for expected in (b":", b" ", b'"'):
        if message[begin : begin + 1] == expected:
            begin += 1
        elif expected != b" ":
            return None
    end = message.find(b'"', begin)
    if end - begin < _WORTH_CUTTING:
        return None
    try:
        payload = pybase64.b64decode(memoryview(message)[begin:end], validate=True)
        wire = _decode_audio(b"".join([message[:begin], _STAND_IN, message[end:]]))
    except (ValueError, RecursionError):
        return None
    return (wire, payload) if wire.data.data.buffer == _STAND_IN.decode() else None


def _check(recording_id: str, relative: float) -> None:
    """Raise for a recording id or a relative time that may not travel (NaN is no time either)."""
    if _RECORDING_ID.fullmatch(recording_id) is None:
        raise InvalidMessage(
            "data.recording.id", recording_id, RECORDING_ID_VALID, reason="recording"
        )
    if not -MAX_RELATIVE <= relative <= MAX_RELATIVE:
        raise InvalidMessage(
            "data.data.timestamp.relative",
            relative,
            f"seconds between -{MAX_RELATIVE:.0e} and {MAX_RELATIVE:.0e}",
            reason="timestamp",
        )


def _other_event(message: bytes | bytearray | memoryview) -> OtherEvent:
    try:
        wire = _decode_other(message)
    except _UNREADABLE as error:
        raise _explain(error, message) from None
    try:
        recording = _decode_other_data(wire.data).recording
    except _UNREADABLE:
        recording = None  # not audio: worth keeping even where its shape is unknown
    if recording is not None and not is_recording_id(recording.id):
        recording = None
    return OtherEvent(event=wire.event, json=bytes(message), recording=recording)


_AT = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
ENDED_PROTOCOL: Final = (
    "v1.10, which Recall.ai ended: have the bot made with recording_config.realtime_endpoints, as "
    "rl.bots.create does, in place of real_time_media"
)
"""What to do about a bot that speaks the protocol before this one: a hello in JSON, bare PCM."""


def _explain(error: Exception, message: bytes | bytearray | memoryview) -> InvalidMessage:
    """Turn what the decoder says into our error. Only run when something is wrong: may be slow."""
    if isinstance(error, RecursionError):
        return InvalidMessage("", message, "JSON that is not nested that deeply", reason="json")
    if not isinstance(error, msgspec.ValidationError):
        valid = f"JSON in UTF-8 without NaN or Infinity ({error})"
        return InvalidMessage("", message, valid, reason="json")
    match = _AT.fullmatch(str(error))
    assert match is not None  # the pattern takes any text
    what, path = match["what"], (match["path"] or "").lstrip(".")
    reason = "number" if "out of range" in what else "field"
    missing = _MISSING.fullmatch(what)
    if missing:
        path = f"{path}.{missing[1]}".lstrip(".")
        if path == "event" and _value_at(message, "protocol_version") == 1:
            valid = f"a message of today's protocol, and this one is of {ENDED_PROTOCOL}"
            return InvalidMessage(path, MISSING, valid, reason="v1.10")
        return InvalidMessage(path, MISSING, "a value", reason=reason)
    valid, _, got = what.removeprefix("Expected ").partition(", got ")
    if reason == "number":
        valid = "a number that a float64 holds"
    elif path == "data.recording.id" and not got:  # the right type, but too long
        reason, valid = "recording", RECORDING_ID_VALID
    return InvalidMessage(path, _value_at(message, path), valid, reason=reason)


def _value_at(message: bytes | bytearray | memoryview, path: str) -> object:
    raw = msgspec.Raw(message)
    try:
        for key in filter(None, path.split(".")):
            raw = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])[key]
    except (ValueError, LookupError, RecursionError):
        return bytes(message[:200])  # malformed further on: show where it starts
    text = bytes(raw)
    if text[:1] in (b"{", b"["):  # as it came: it may be too deep to be shown as a value
        return text[:200]
    try:
        return msgspec.json.decode(text)
    except ValueError:  # a number that nothing here holds
        return text[:200]
