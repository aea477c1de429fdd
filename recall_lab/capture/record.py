"""The index: one 64-byte record a packet, after a 64-byte header.

All numbers are little-endian. A record ends in the CRC-32 of its first 60 bytes, so that a torn
or damaged one is known as such. The record is the commit: a packet whose record is whole has
been received; payload bytes that no record claims have not.

===========  =====  ======  ==================================================================
field        type   offset  meaning
===========  =====  ======  ==================================================================
offset       u64    0       first byte of the payload in the ``.bin``; always even
length       u32    8       bytes of payload in the ``.bin``; always even
flags        u32    12      what is odd about the packet: :class:`Flag`
relative     f64    16      sender's media clock at the first sample, s
absolute     i64    24      sender's wall clock at the first sample, ns since 1970 UTC
received     i64    32      our wall clock at arrival, ns since 1970 UTC
monotonic    i64    40      our monotonic clock at arrival, ns since an arbitrary start
connection   u32    48      which connection of this recording brought it, from 1
sequence     u32    52      number of the message within its connection, from 0
payload_crc  u32    56      CRC-32 of the payload bytes
record_crc   u32    60      CRC-32 of the 60 bytes before
===========  =====  ======  ==================================================================

CRC-32 is zlib's (ISO-HDLC, polynomial 0x04C11DB7 reflected); we compute it with ISA-L, which gives
the same numbers ten times as fast.
"""

from __future__ import annotations

import struct
from enum import IntFlag
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from recall_lab.wire.pcm import RATE

RECORD: Final = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u4"),
        ("flags", "<u4"),
        ("relative", "<f8"),
        ("absolute", "<i8"),
        ("received", "<i8"),
        ("monotonic", "<i8"),
        ("connection", "<u4"),
        ("sequence", "<u4"),
        ("payload_crc", "<u4"),
        ("record_crc", "<u4"),
    ]
)
RECORD_BYTES: Final = 64
HEADER_BYTES: Final = 64
MAGIC: Final = b"RLABIDX\x00"
VERSION: Final = 1

Records = npt.NDArray[np.void]
"""Structured array of dtype :data:`RECORD`."""


class Flag(IntFlag):
    """What is odd about a packet. Nothing is corrected on account of a flag."""

    ODD = 1
    """The message held an odd number of bytes: half a sample went over to the next packet."""
    CARRIED = 2
    """The first byte here came in the packet before."""
    EMPTY = 4
    """A zero-length buffer: an unmuted participant's silence."""
    ZONELESS = 8
    """The absolute time named no zone and was taken as UTC."""
    BACKWARD = 16
    """The relative time is before that of the packet that arrived before it."""
    NEGATIVE = 32
    """The relative time is negative."""
    IMPLAUSIBLE = 64
    """The absolute time is more than a day away from our own clock."""
    RESUMED = 128
    """The first packet that a newly opened writer kept: before it, a receiver had stopped."""
    TRIMMED = 256
    """Cut by ``Capture.slice``: the payload checksum is that of the whole packet. Never on disk."""
    REPAIRED = 512
    """Filled from a recording by ``repair``: it was never received. Never on disk."""
    DROPPED = 1024
    """Packets before this one were received and could not be kept: the disk refused them."""

    HALF_LOST = 2048
    """The packet before it in its connection ended in half a sample whose other half never came:
    by the stamps others lie between, or they could not be kept. That byte was let go."""

    UNSTAMPED = 4096
    """The message had no absolute time that can be read: that of its arrival stands for it."""
    UNREAD = 8192
    """A field that the audio does not need was not as documented; the journal names it (kind
    ``unread``)."""

    # members can be iterated from Python 3.11 on, for which pandas takes them for lists:
    # without this, packets["flags"] & Flag.ODD raises
    __iter__ = None  # type: ignore[assignment]


_BODY = struct.Struct("<QIIdqqqIII")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<8sIII40xI")


def pack_record(
    offset: int,
    length: int,
    flags: int,
    relative: float,
    absolute: int,
    received: int,
    monotonic: int,
    connection: int,
    sequence: int,
    payload_crc: int,
) -> bytes:
    """Return one record, with its checksum."""
    body = _BODY.pack(
        offset, length, flags, relative, absolute,
        received, monotonic, connection, sequence, payload_crc,
    )  # fmt: skip
    return body + _CRC.pack(crc32(body))


def pack_header() -> bytes:
    """Return the header of a new index."""
    head = _HEADER.pack(MAGIC, VERSION, RATE, RECORD_BYTES, 0)[:-4]
    return head + _CRC.pack(crc32(head))


def header_problem(header: bytes) -> str | None:
    """Return what is wrong with an index's header, in words, or None.

    A damaged header does not make the records after it unreadable: it is reported, not fatal.
    """
    if len(header) < HEADER_BYTES:
        return f"the header is cut off after {len(header)} of {HEADER_BYTES} bytes"
    magic, version, rate, record_bytes, crc = _HEADER.unpack(header)
    if magic != MAGIC or crc32(header[:-4]) != crc:
        return "the header is damaged"
    if (version, rate, record_bytes) != (VERSION, RATE, RECORD_BYTES):
        return (
            f"the header says version {version}, {rate} Hz, records of {record_bytes} bytes; "
            f"this release reads version {VERSION}, {RATE} Hz, {RECORD_BYTES} bytes"
        )
    return None


_MAGIC = np.uint64(int.from_bytes(MAGIC, "little"))  # where a record has its offset
_CHUNK = 4_096  # records checked at once: 256 KiB


@lru_cache(maxsize=2)
def _crc_of_valid(count: int) -> int:
    body = bytes(RECORD_BYTES - 4)
    return crc32((body + _CRC.pack(crc32(body))) * count)


def find_damaged(data: bytes | memoryview) -> npt.NDArray[np.int64]:
    """Return the positions of what is no record in `data`, in order: its checksum is wrong.

    A header among them is none either, though it ends in a checksum as records do: indexes that
    were joined have one.

    A CRC-32 over bytes that end in their own CRC-32 comes out the same whatever the bytes are.
    So the checksum of a run of whole records depends on nothing but their number, and thousands
    are checked in one call; only in a run that disagrees is each looked at alone.

    Args:
        data: records without the header, a multiple of 64 bytes.
    """
    view = memoryview(data)
    bad: list[int] = []
    for start in range(0, len(view), _CHUNK * RECORD_BYTES):
        chunk = view[start : start + _CHUNK * RECORD_BYTES]
        begins = np.frombuffer(chunk, "<u8")[:: RECORD_BYTES // 8]
        if crc32(chunk) == _crc_of_valid(len(begins)) and not (begins == _MAGIC).any():
            continue
        for at in range(0, len(chunk), RECORD_BYTES):
            body, crc = chunk[at : at + 60], chunk[at + 60 : at + 64]
            if crc32(body) != _CRC.unpack(crc)[0] or bytes(body[:8]) == MAGIC:
                bad.append((start + at) // RECORD_BYTES)
    return np.array(bad, np.int64)


def good_records(body: bytes | memoryview) -> tuple[Records, int]:
    """Return the records of an index that are whole, and how many are damaged.

    Args:
        body: the index without its header; half a record at the end is passed over.
    """
    view = memoryview(body)[: len(body) // RECORD_BYTES * RECORD_BYTES]
    records: Records = np.frombuffer(view, RECORD)
    damaged = find_damaged(view)
    return (np.delete(records, damaged) if len(damaged) else records), len(damaged)
