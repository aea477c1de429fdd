"""Merge journals of several receivers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

import msgspec

from recall_lab.capture.events import STALLED
from recall_lab.capture.record import HEADER_BYTES, good_records

_MARGIN: Final = 600 * 10**9  # ns around a recording in which stalls are taken along


class _Line(msgspec.Struct):
    kind: str
    received: int


def lines_of(journal: bytes) -> list[bytes]:
    """Return the lines of a journal without their ends, a torn one at the end too."""
    return [line for line in journal.split(b"\n") if line]


def lines_missing(
    theirs: bytes, ours: bytes, more: Iterable[bytes] = (), elsewhere: Iterable[bytes] = ()
) -> bytes:
    """Return what is to be added to a journal, so that it has all lines of ours too.

    Args:
        theirs: what is there.
        ours: a journal. Where nothing is there it is added to the last byte.
        more: further lines.
        elsewhere: lines that stand in another journal there, and need not stand twice.

    Example:
        >>> lines_missing(b"1\\n2", b"2\\n3\\n")
        b'\\n3\\n'
    """
    own, have = lines_of(ours), {*elsewhere}
    as_it_is = not theirs and have.isdisjoint(own)
    have |= set(own if as_it_is else lines_of(theirs))
    missing = [line for line in dict.fromkeys([*own, *more]) if line not in have]
    head, before = (ours, ours) if as_it_is else (b"", theirs)
    if missing and before and not before.endswith(b"\n"):
        head += b"\n"
    return head + b"".join(line + b"\n" for line in missing)


def stalls_within(lines: Iterable[bytes], index: bytes) -> list[bytes]:
    """Return the stalls of a receiver that may have befallen a recording.

    They stand in the receiver's own journal, which goes on and belongs to all recordings; without
    them an archived capture would no longer tell by what its gaps were caused.

    Args:
        lines: of the receiver's journal.
        index: the recording's ``.idx``; the times in it say when it was received.
    """
    stalls = []
    for line in lines:
        if b"stalled" in line:
            with contextlib.suppress(ValueError, RecursionError):
                told = msgspec.json.decode(line, type=_Line)
                if told.kind == STALLED:
                    stalls.append((told.received, line.strip()))
    if not stalls or len(index) <= HEADER_BYTES:
        return []
    records, _ = good_records(index[HEADER_BYTES:])
    if not len(records):
        return []
    first = int(records["received"].min()) - _MARGIN
    last = int(records["received"].max()) + _MARGIN
    return [line for received, line in stalls if first <= received <= last]
