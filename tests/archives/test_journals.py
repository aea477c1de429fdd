"""Journals brought together: no line is lost, none stands twice."""

from __future__ import annotations

import json

from helpers.builders import NEW_YEAR
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.archives.journals import lines_missing, lines_of, stalls_within
from recall_lab.capture.record import pack_header, pack_record

journals = st.lists(st.sampled_from([b"a", b"b", b'{"kind": 1}', b""]), max_size=6).map(b"\n".join)


@given(journals, journals, st.lists(st.sampled_from([b"a", b"s"]), max_size=2))
def test_afterwards_all_lines_are_there_and_those_that_were_stay(
    theirs: bytes, ours: bytes, more: list[bytes]
) -> None:
    added = lines_missing(theirs, ours, more)
    after = theirs + added
    assert set(lines_of(after)) == {*lines_of(theirs), *lines_of(ours), *more}
    assert lines_missing(after, ours, more) == b"" or not after
    if not theirs and set(more) <= set(lines_of(ours)):
        assert added == ours  # to the last byte


def test_a_torn_line_does_not_spoil_the_next() -> None:
    assert lines_missing(b"1\n2", b"2\n3\n") == b"\n3\n"
    assert lines_missing(b"", b"1\n2", [b"3"]) == b"1\n2\n3\n"


def test_what_stands_elsewhere_is_left_out() -> None:
    assert lines_missing(b"1\n", b"1\n2\n", [b"3"], elsewhere=[b"2", b"3"]) == b""
    assert lines_missing(b"", b"1\n2\n", elsewhere=[b"2"]) == b"1\n"


def test_stalls_are_those_around_the_recording() -> None:
    record = pack_record(
        offset=0, length=2, flags=0, relative=0.0, absolute=NEW_YEAR, received=NEW_YEAR,
        monotonic=1, connection=1, sequence=0, payload_crc=0,
    )  # fmt: skip
    minute = 60 * 10**9
    lines = [
        json.dumps({"kind": kind, "received": NEW_YEAR + shift * minute}).encode()
        for kind, shift in [("stalled", 0), ("stalled", -9), ("stalled", 11), ("other stalled", 0)]
    ]
    odd = [
        b'{"kind": "stalled"',
        b'{"kind": "stalled", "received": "x"}',
        b"[" * 9_000 + b"stalled",
    ]
    assert stalls_within([*lines, *odd], pack_header() + record) == lines[:2]
    assert stalls_within(lines, pack_header()) == []
    assert stalls_within(lines, b"") == []
    damaged = bytearray(record)
    damaged[20] ^= 1
    assert stalls_within(lines, pack_header() + bytes(damaged)) == []
