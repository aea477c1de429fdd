"""The index: golden bytes, and whether every flipped bit is found."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.record import (
    HEADER_BYTES,
    MAGIC,
    RECORD,
    RECORD_BYTES,
    Flag,
    find_damaged,
    good_records,
    header_problem,
    pack_header,
    pack_record,
)

# offset, length, flags, relative, absolute, received, monotonic, connection, sequence, payload crc
VALUES = (2**33, 6_400, 5, -1.25, 1_735_689_600_123_456_789, -1, 2**62, 3, 2**32 - 1, 0xDEADBEEF)
GOLDEN = (
    b"\x00\x00\x00\x00\x02\x00\x00\x00"  # offset
    b"\x00\x19\x00\x00"  # length
    b"\x05\x00\x00\x00"  # flags
    b"\x00\x00\x00\x00\x00\x00\xf4\xbf"  # relative
    b"\x15\xcd\xb2\xc7\x7e\x68\x16\x18"  # absolute
    b"\xff\xff\xff\xff\xff\xff\xff\xff"  # received
    b"\x00\x00\x00\x00\x00\x00\x00\x40"  # monotonic
    b"\x03\x00\x00\x00"  # connection
    b"\xff\xff\xff\xff"  # sequence
    b"\xef\xbe\xad\xde"  # payload_crc
)


def records(count: int) -> bytearray:
    """Return `count` whole records, each different, made without the package."""
    noise = random.Random(count)
    made = bytearray()
    for _ in range(count):
        body = noise.randbytes(60)
        made += body + struct.pack("<I", zlib.crc32(body))
    return made


def damaged_one_by_one(data: bytes | bytearray) -> list[int]:
    """The oracle: look at each record alone."""
    return [
        at // 64
        for at in range(0, len(data), 64)
        if zlib.crc32(data[at : at + 60]) != int.from_bytes(data[at + 60 : at + 64], "little")
    ]


def test_golden_record() -> None:
    assert len(GOLDEN) == 60
    assert pack_record(*VALUES) == GOLDEN + zlib.crc32(GOLDEN).to_bytes(4, "little")


def test_record_against_struct() -> None:
    body = struct.pack("<QIIdqqqIII", *VALUES)
    assert pack_record(*VALUES) == body + struct.pack("<I", zlib.crc32(body))


def test_dtype_reads_what_was_packed() -> None:
    record = np.frombuffer(pack_record(*VALUES), RECORD)[0]
    assert record.tolist() == (*VALUES, zlib.crc32(GOLDEN))
    assert RECORD.itemsize == RECORD_BYTES == len(pack_record(*VALUES)) == 64


@pytest.mark.parametrize(
    ("field", "offset", "kind"),
    [
        ("offset", 0, "<u8"),
        ("length", 8, "<u4"),
        ("flags", 12, "<u4"),
        ("relative", 16, "<f8"),
        ("absolute", 24, "<i8"),
        ("received", 32, "<i8"),
        ("monotonic", 40, "<i8"),
        ("connection", 48, "<u4"),
        ("sequence", 52, "<u4"),
        ("payload_crc", 56, "<u4"),
        ("record_crc", 60, "<u4"),
    ],
)
def test_layout_is_as_documented(field: str, offset: int, kind: str) -> None:
    assert RECORD.fields is not None
    dtype, at = RECORD.fields[field][:2]
    assert (at, dtype.str) == (offset, kind)


def test_flags_are_distinct_bits_that_never_change() -> None:
    assert {flag.name: flag.value for flag in Flag} == {
        "ODD": 1,
        "CARRIED": 2,
        "EMPTY": 4,
        "ZONELESS": 8,
        "BACKWARD": 16,
        "NEGATIVE": 32,
        "IMPLAUSIBLE": 64,
        "RESUMED": 128,
        "TRIMMED": 256,
        "REPAIRED": 512,
        "DROPPED": 1024,
        "HALF_LOST": 2048,
        "UNSTAMPED": 4096,
        "UNREAD": 8192,
    }


def test_golden_header() -> None:
    head = b"RLABIDX\0" + struct.pack("<III", 1, 16_000, 64) + bytes(40)
    assert pack_header() == head + struct.pack("<I", zlib.crc32(head))
    assert len(pack_header()) == HEADER_BYTES == 64
    assert header_problem(pack_header()) is None


def test_every_flipped_bit_of_the_header_is_a_problem() -> None:
    for bit in range(HEADER_BYTES * 8):
        header = bytearray(pack_header())
        header[bit // 8] ^= 1 << bit % 8
        assert header_problem(bytes(header)) == "the header is damaged", bit


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_header_cut_off_anywhere_is_a_problem(length: int) -> None:
    problem = header_problem(pack_header()[:length])
    assert problem == f"the header is cut off after {length} of 64 bytes"


@pytest.mark.parametrize("change", [(2, 16_000, 64), (1, 48_000, 64), (1, 16_000, 128)])
def test_header_of_another_release_says_what_it_is(change: tuple[int, int, int]) -> None:
    head = MAGIC + struct.pack("<III", *change) + bytes(40)
    problem = header_problem(head + struct.pack("<I", zlib.crc32(head)))
    version, rate, size = change
    assert problem == (
        f"the header says version {version}, {rate} Hz, records of {size} bytes; "
        "this release reads version 1, 16000 Hz, 64 bytes"
    )


def test_every_flipped_bit_of_three_records_is_found() -> None:
    data = records(3)
    assert find_damaged(data).tolist() == []
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        assert find_damaged(data).tolist() == [bit // 512], bit
        data[bit // 8] ^= 1 << bit % 8


# chunks of 4,096 records are checked at once: both sides of each edge
@pytest.mark.parametrize("position", [0, 1, 4_095, 4_096, 5_000, 8_191, 8_192, 9_998, 9_999])
@pytest.mark.parametrize("byte", [0, 30, 59, 60, 63])
def test_one_flipped_bit_among_ten_thousand_records(position: int, byte: int) -> None:
    data = records(10_000)
    data[position * 64 + byte] ^= 0x10
    assert find_damaged(data).tolist() == [position]


@given(st.data())
@settings(max_examples=30)
def test_any_damage_to_many_records_agrees_with_looking_at_each(data: st.DataObject) -> None:
    index = records(4_100)
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(index) - 1), st.integers(0, 255)), max_size=20)
    ):
        index[at] = value
    assert find_damaged(index).tolist() == damaged_one_by_one(index)


@pytest.mark.parametrize("count", [1, 2, 4_095, 4_096, 4_097, 8_200])
def test_records_that_are_all_zeros_are_damaged(count: int) -> None:
    # what a file system may leave of pages that were never written
    assert find_damaged(bytes(count * 64)).tolist() == list(range(count))


def test_zeros_in_the_middle_are_found() -> None:
    data = records(9_000)
    data[4_000 * 64 : 5_000 * 64] = bytes(1_000 * 64)
    assert find_damaged(data).tolist() == list(range(4_000, 5_000))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_object_is_checked(kind: type) -> None:
    data = records(5)
    data[130] ^= 1
    found = find_damaged(kind(data))
    assert found.tolist() == [2]
    assert found.dtype == np.int64


def test_no_records_no_damage() -> None:
    assert find_damaged(b"").tolist() == []


@pytest.mark.parametrize("tail", [0, 1, 63])
def test_good_records_leave_out_damage_and_the_torn_tail(tail: int) -> None:
    made = [pack_record(i * 2, 2, 0, i * 0.1, 0, 0, 0, 1, i, 0) for i in range(5)]
    data = bytearray(b"".join(made))
    data[64 * 3 + 5] ^= 1
    good, damaged = good_records(bytes(data) + bytes(tail))
    assert good["sequence"].tolist() == [0, 1, 2, 4]
    assert damaged == 1


def test_good_records_of_nothing() -> None:
    good, damaged = good_records(b"")
    assert (len(good), good.dtype, damaged) == (0, RECORD, 0)


def test_a_header_among_the_records_is_none_of_them() -> None:
    record = pack_record(0, 2, 0, 0.0, 0, 0, 0, 1, 0, 5)
    joined = record * 5_000 + pack_header() + record
    assert find_damaged(joined).tolist() == [5_000]
    records, damaged = good_records(joined)
    assert (len(records), damaged) == (5_001, 1)
