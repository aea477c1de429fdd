"""Recognise audio files by their first bytes."""

from __future__ import annotations

from typing import Final

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.capture.capture import Capture

HEAD: Final = 8_192
"""Bytes looked at: four frames of MP3 at the highest bit rate."""

_PACKETS: Final = 50  # whose beginning is looked at: some senders make a file of each
_ID3_NEWEST: Final = 4

# kbit/s by the header's index (ISO/IEC 11172-3, 2.4.2.3; 13818-3, 2.4.2.3), layer III
_MPEG_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES: Final = (44_100, 48_000, 32_000)


def container_of(head: bytes) -> str | None:
    """Return the name of the audio format that bytes begin with; None for raw samples.

    Args:
        head: the first bytes of a stream, :data:`HEAD` of them or so.

    Example:
        >>> container_of(b"RIFF\\xff\\xff\\xff\\xffWAVEfmt ")
        'WAV'
    """
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head[:3] == b"ID3" and 2 <= head[3] <= _ID3_NEWEST and all(one < 128 for one in head[6:10]):
        return "MP3"  # the tag's size has seven bits a byte
    if head[:4] == b"fLaC" and head[4] & 0x7F == 0:
        return "FLAC"  # the first block describes the stream
    if head[:4] == b"OggS" and head[4] == 0:
        return "Ogg"
    if head[4:8] == b"ftyp" and head[8:12].isascii():
        return "MP4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "WebM"
    if head[:4] == b".snd":
        return "AU"
    if _frames_follow(head, _mpeg_frame):
        return "MP3"
    if _frames_follow(head, _aac_frame):
        return "AAC"
    return None


def containers(capture: Capture) -> list[Finding]:
    """Find an audio file in place of raw samples: at the start, or in each packet."""
    kind = CATALOGUE["container"]
    name = container_of(capture.audio[: HEAD // 2].tobytes())
    if name is not None:
        more = _packets_that_are(capture)
        each = f", and so do {more} of the first {_PACKETS} packets" if more > 1 else ""
        return [
            kind.found(
                1 + more,
                f"the bytes are a file, no samples: the stream begins as {name} does{each}",
            )
        ]
    return []


def _packets_that_are(capture: Capture) -> int:
    packets = capture.packets.iloc[:_PACKETS]
    spans = zip(packets["offset"].tolist(), packets["samples"].tolist(), strict=True)
    return sum(
        container_of(capture.audio[at : at + min(count, HEAD // 2)].tobytes()) is not None
        for at, count in spans
        if count
    )


def _frames_follow(head: bytes, size_of: object) -> bool:
    """Whether three frames follow one another, each where the one before says: no chance."""
    at = 0
    for _ in range(3):
        size = size_of(head[at : at + 7])  # type: ignore[operator]
        if not size:
            return False
        at += size
    return True


def _mpeg_frame(head: bytes) -> int:
    """Return the size of a frame of MPEG audio layer III; 0 where none begins."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, index, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or index in (0, 15) or rate == 3:
        return 0
    first = version == 3
    kbits = (_MPEG_1 if first else _MPEG_2)[index]
    hertz = _MPEG_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if first else 72) * kbits * 1000 // hertz + (head[2] >> 1 & 1)


def _aac_frame(head: bytes) -> int:
    """Return the size of an ADTS frame of AAC (ISO/IEC 14496-3, 1.A.2); 0 where none begins."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0
