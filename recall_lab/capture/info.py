"""The ids and metadata of a capture (its ``.json``), and the names of its files."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from recall_lab.capture.record import VERSION
from recall_lab.errors import InvalidArgument
from recall_lab.version import __version__
from recall_lab.wire.messages import (
    RECORDING_ID_VALID,
    AudioPacket,
    Participant,
    Ref,
    is_recording_id,
)

_STEM: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:\.(0|[1-9]\d{0,18}))?", re.ASCII)
_MOST: Final = 16 << 10  # bytes of JSON
_NAME: Final = 1_000  # characters
_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # ns since 1970 UTC


class Writer(msgspec.Struct, frozen=True):
    """Who writes, or wrote last: what a second writer is told.

    Attributes:
        receiver: id of the receiver's run, made anew at each start.
        pid: its process.
        host: the machine's name.
        since: when it opened the capture, in ns since 1970 UTC.
        closed: when it closed it; None while it writes, or if it was killed.
    """

    receiver: str
    pid: int
    host: str
    since: _Time
    closed: _Time | None = None


class CaptureInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Ids, metadata and versions of one stream.

    Attributes:
        recording: the recording's id.
        participant: whose separate stream it is; None for the mixed stream.
        bot, endpoint, artifact: Recall.ai's other ids, where messages had them.
        metadata: the user's metadata of the recording.
        created: when the capture was begun, in ns since 1970 UTC; 0 where unknown.
        format: version of the index.
        software: what wrote it.
        writer: who writes, or wrote last.
    """

    recording: str
    participant: Participant | None = None
    bot: Ref | None = None
    endpoint: Ref | None = None
    artifact: Ref | None = None
    metadata: dict[str, Any] | None = None
    created: _Time = 0
    format: int = VERSION
    software: str = f"recall_lab {__version__}"
    writer: Writer | None = None

    @property
    def stem(self) -> str:
        """Name that the files of this stream share, without the suffix."""
        return stem_of(self.recording, None if self.participant is None else self.participant.id)


def info_from(packet: AudioPacket) -> tuple[CaptureInfo, int]:
    """Return what is kept beside the audio of a packet's stream.

    Returns:
        It, and 0; or where that would be more than 16 KiB of JSON, or can't be JSON again, its
        ids alone, and how many bytes it would have been at least. A message may have 2 MiB, and
        what is kept here stays in memory for as long as the stream is open.
    """
    info = CaptureInfo(
        recording=packet.recording.id,
        participant=packet.participant,
        bot=packet.bot,
        endpoint=packet.endpoint,
        artifact=packet.artifact,
        metadata=packet.recording.metadata,
    )
    try:
        size = len(msgspec.json.encode(info))
    except (RecursionError, ValueError):  # nested as deeply as it goes: it can't be written
        size = _MOST + 1
    if size <= _MOST:
        return info, 0
    who = packet.participant
    name = None if who is None or who.name is None else who.name[:_NAME]
    ids = [None if ref is None else Ref(ref.id) for ref in (info.bot, info.endpoint, info.artifact)]
    slim = CaptureInfo(
        recording=info.recording,
        participant=None if who is None else Participant(who.id, name),
        bot=ids[0],
        endpoint=ids[1],
        artifact=ids[2],
    )
    return slim, size


def told_of(participant: Participant) -> Participant:
    """Return what is journalled of a participant where it is another than before.

    Example:
        >>> told_of(Participant(7, "Ada", extra_data={"room": 3})).extra_data is None
        True
    """
    texts = {
        what: text if text is None else text[:_NAME]
        for what in ("name", "platform", "email")
        for text in [getattr(participant, what)]
    }
    return Participant(participant.id, is_host=participant.is_host, **texts)


def stem_of(recording: str, participant: int | None = None) -> str:
    """Return the name that the files of a stream share: ``recording`` or ``recording.participant``.

    Raises:
        InvalidArgument: for anything that may not become a file name.

    Example:
        >>> stem_of("9f3c", 100)
        '9f3c.100'
    """
    if not isinstance(recording, str) or not is_recording_id(recording):
        raise InvalidArgument("recording", recording, RECORDING_ID_VALID)
    if participant is None:
        return recording
    if participant < 0:
        raise InvalidArgument("participant", participant, "a number that is not negative")
    return f"{recording}.{participant}"


def parse_stem(stem: str) -> tuple[str, int | None] | None:
    """Return recording and participant of a stream's file name, or None if it is no such name.

    Example:
        >>> parse_stem("9f3c.100"), parse_stem("not a stream")
        (('9f3c', 100), None)
    """
    match = _STEM.fullmatch(stem)
    if match is None:
        return None
    return match[1], None if match[2] is None else int(match[2])


def parse_info(data: bytes, name: str) -> tuple[CaptureInfo | None, str | None]:
    """Return what the text of a ``.json`` says, and what is wrong with it in words."""
    try:
        info = msgspec.json.decode(data, type=CaptureInfo)
    except (ValueError, RecursionError) as error:
        return None, f"{name} is damaged ({error})"
    if not is_recording_id(info.recording):
        return None, f"{name} is damaged (its recording is no valid id)"
    return info, None


def info_by_name(stem: str) -> CaptureInfo:
    """Return what the name that a stream's files share says of it."""
    recording, participant = parse_stem(stem) or ("unnamed", None)
    who = None if participant is None else Participant(participant)
    return CaptureInfo(recording=recording, participant=who)
