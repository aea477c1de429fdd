"""Check by its own headers that an audio file is whole.

Decoders stop where a header tells them to, and say nothing of what follows; and they read what is
there of a file that was cut off. Both are found here, before anything is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from recall_lab.errors import InvalidAudio

UNTOLD: Final = 0x7FFF_0000
"""A WAV that says it has so many bytes or more, and has fewer, was written to a pipe: what wrote
it could not go back and say how many (ffmpeg leaves 0xFFFFFFFF there, SoX 0x7FFFFFFF less a bit).
"""

_RIFF: Final = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<", b"BW64": "<"}
_MOST: Final = 100_000  # chunks looked at
_BOXES: Final = 1_000_000  # likewise, of an MP4, whose every second may be some
_SAMPLES: Final = 10_000_000  # of an MP4: an index of 240 MB
_HOLDING: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
_ID3V1: Final = 128  # bytes that old taggers put at the end of any file: TAG and its fields
_PAGE: Final = 27 + 255 + 255 * 255  # bytes of the longest page of an Ogg
_PIECE: Final = 1 << 16  # bytes read together
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"


def cut_off(file: BinaryIO) -> str:
    """Return how an audio file was cut off, in words, or ``""`` where nothing tells that it was.

    WAV, MP4 and its kin, WebM, Ogg, and the MP3s that have a Xing header say how much there
    should be.

    Args:
        file: open for reading, seekable; where it stands then is not told.

    Raises:
        InvalidAudio: for a file that goes on after what its header says is all: decoders would
            read its first part and leave out the rest.
        OSError: when it can't be read.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] in _RIFF and head[8:] == b"WAVE":
        return _wav(file, size, _RIFF[head[:4]])
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _mp4(file, size)
    if head[:4] == _EBML:
        return _webm(file, size)
    if head[:4] == b"OggS":
        return _ogg(file, size)
    return _mp3(file, size)


def _wav(file: BinaryIO, size: int, order: str) -> str:
    """Look at the chunks of a WAV: ``id, length, data``, padded to an even length."""
    at, long = 12, 0
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return ""  # no audio at all, as the decoder will say
        length = struct.unpack(order + "I", head[4:])[0]
        at += 8
        if head[:4] == b"ds64":  # where 32 bits are too few
            long = struct.unpack(order + "QQ", file.read(16).ljust(16, b"\0"))[1]
        if head[:4] == b"data":
            break
        at += length + length % 2
    else:
        return ""
    length = long if long and length == 0xFFFF_FFFF else length
    rest = size - at
    if not length or (length >= UNTOLD and length > rest):
        return ""  # killed before it could say, or written to a pipe: all that follows is audio
    if length > rest:
        return f"cut off: {rest:,} of its {length:,} bytes of audio are there"
    end = at + length + length % 2
    if not _is_chunks(file, end, size, order):
        raise InvalidAudio(
            f"says that it has {length:,} bytes of audio, and {size - end:,} more follow that are "
            "no part of a WAV: its writer was killed, or another file was added. Take the two "
            "apart, or write it anew: ffmpeg -ignore_length 1 -i FILE NEW.wav"
        )
    return ""


def _is_chunks(file: BinaryIO, at: int, size: int, order: str) -> bool:
    """Return whether what follows the audio of a WAV is nothing, tags, padding or chunks."""
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(8)
        if not head.strip(b"\0"):  # no more, or padding, or the silence of what never ended
            return _is_blank(file)
        if head[:3] == b"TAG" and size - at == _ID3V1:
            return True
        if len(head) < 8 or head[:4] in _RIFF or not all(0x20 <= c < 0x7F for c in head[:4]):
            return False
        length = struct.unpack(order + "I", head[4:])[0]
        at += 8 + length + length % 2
        if at > size + 1:
            return False
    return True


def _is_blank(file: BinaryIO) -> bool:
    """Return whether all that is left of a file is zeros."""
    while data := file.read(_PIECE):
        if data.count(0) != len(data):
            return False
    return True


def _mp4(file: BinaryIO, size: int) -> str:
    """Look at the boxes of an MP4, ``length, kind, data``, some within others; ISO/IEC 14496-12."""
    films, cut = 0, ""
    for box, (at, end, kind) in enumerate(_boxes(file, 0, size)):
        films += kind == b"moov"
        if films > 1:
            raise InvalidAudio(
                f"holds two films, the second from byte {at - 8:,} on, and decoders read the first "
                "alone: take the two apart"
            )
        if box > _BOXES:
            raise InvalidAudio(f"has more than {_BOXES:,} boxes: expected an MP4 with fewer")
        if end > size:
            cut = cut or f"cut off: {end - size:,} bytes of its {kind.decode()!r} are missing"
        if kind in (b"stsz", b"trun"):  # tables of samples, for which decoders make room at once
            file.seek(at + 4)
            one, many = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
            count, length = (many, one or 1) if kind == b"stsz" else (one, 1)
            if count > _SAMPLES and count * length > size:
                raise InvalidAudio(f"says that it has {count:,} samples, in {size:,} bytes")
    return cut


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield where the data of each box begin and end, and its kind; then those within it."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        start = at + 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], at + 16
        elif length == 0:  # to the end of the file
            length = end - at
        if length < start - at or not all(0x20 <= c < 0x7F for c in kind):
            return  # not ours to judge
        yield start, at + length, kind
        if kind in _HOLDING:
            yield from _boxes(file, start, min(at + length, end))
        at += length


def _webm(file: BinaryIO, size: int) -> str:
    """Look at the segment of a WebM or Matroska: ``id, length, data``; RFC 8794, section 4."""
    at = 4
    length, at = _number(file, at)
    if length is None:
        return ""
    at += length
    file.seek(at)
    if file.read(4) != _SEGMENT:
        return ""
    length, at = _number(file, at + 4)
    if length is not None and at + length > size:
        return f"cut off: {size - at:,} of its {length:,} bytes are there"
    return ""


def _number(file: BinaryIO, at: int) -> tuple[int | None, int]:
    """Return a length of EBML, None where it is unknown, and where what follows begins."""
    file.seek(at)
    first = file.read(1)
    if not first or not first[0]:
        return None, at
    width = 9 - first[0].bit_length()
    data = bytes([first[0] & (0xFF >> width)]) + file.read(width - 1)
    value = int.from_bytes(data, "big")
    unknown = value == (1 << 7 * width) - 1
    return None if unknown else value, at + width


def _ogg(file: BinaryIO, size: int) -> str:
    """Look at the last page of an Ogg, which says that it is the last; RFC 3533, section 6."""
    file.seek(max(0, size - _PAGE))
    tail = file.read(_PAGE)
    at = tail.rfind(b"OggS\0")
    page = tail[at:]
    if at < 0 or len(page) < 27:
        return "cut off: its last page is not there"
    lengths = page[27 : 27 + page[26]]
    whole = 27 + page[26] + sum(lengths) <= len(page)
    if not whole:
        return "cut off: its last page is not there whole"
    return "" if page[5] & 4 else "cut off: its last page is not there"


def _mp3(file: BinaryIO, size: int) -> str:
    """Look at the Xing header, in the first frame of an MP3, which says how many bytes it has."""
    at = 0
    for _ in range(_MOST):  # tags that stand in front of it, ID3v2
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        at += 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
    file.seek(at)
    frame = file.read(64)
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return ""
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0:
        return ""
    flags = frame[place + 7] if place + 16 <= len(frame) else 0
    if not flags & 2:
        return ""
    told = place + (12 if flags & 1 else 8)
    length = int.from_bytes(frame[told : told + 4], "big")
    if at + length <= size:
        return ""
    return f"cut off: {size - at:,} of its {length:,} bytes are there"
