"""Find every discontinuity of a capture, as arrays: missing, twice, late, unexplained.

The packets are in order of media time (:mod:`~.continuity.media_order`), and each has to
begin where the furthest one before it has ended::

    packets    [  1  ][  2  ]         [  4  ]        arrival 1 2 4, nothing late
    gap                      ░░░░░░░░░               before 2, after 4

    packets    [  1  ]
                   [  2  ]                           2 begins before 1 has ended
    overlap        ▒▒▒▒

What came out of order is counted apart, over the order of arrival (RFC 4737, 3.3), so that it
makes no gap; nor do packets that came twice. Where the media clock stood while both wall clocks
ran on, no audio is missing on the media clock, and yet time has passed: that is unexplained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.axis.placement import Placed
from recall_lab.analysis.causes.causes import Spans, causes_of
from recall_lab.analysis.causes.dropped import dropped_spans
from recall_lab.arrays import falls_of
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.continuity.media_order import MediaOrder, apart
from recall_lab.capture.continuity.repeated import earliest
from recall_lab.wire.pcm import RATE

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

KINDS: Final = ("gap", "overlap", "duplicate", "reordered", "unexplained")
"""What a discontinuity can be."""

PAUSE_OR_LOSS: Final = "pause or hidden loss"
"""Cause of what is unexplained: the data can't tell which."""

NOBODY: Final = -1
"""Position of no packet."""


class Stood(NamedTuple):
    """A place where the media clock stood while the wall clocks ran on.

    Attributes:
        before, after: positions among the timed packets.
        seconds: for how long.
    """

    before: int
    after: int
    seconds: float


class Found(NamedTuple):
    """Discontinuities as arrays of one length, by `start`.

    Attributes:
        kind, cause, evidence: str objects.
        start, end: s on the relative clock.
        before, after: positions among the timed packets; -1 for none.
        duration: s; that of the unexplained is of the wall clocks.
        samples: the same in samples of the time axis.
    """

    kind: npt.NDArray[np.object_]
    cause: npt.NDArray[np.object_]
    evidence: npt.NDArray[np.object_]
    start: Floats
    end: Floats
    before: Positions
    after: Positions
    duration: Floats
    samples: Positions

    def of(self, kind: str) -> Found:
        """Return those of one kind."""
        some = self.kind == kind
        return Found._make(values[some] for values in self)


def find(
    capture: Capture,
    packets: pd.DataFrame,
    line: MediaOrder,
    placed: Placed,
    *,
    call: tuple[float, float] | None = None,
    mute: float = 1.0,
    beside: Sequence[Capture] = (),
    stood: Sequence[Stood] = (),
) -> Found:
    """Return every discontinuity among timed packets.

    Args:
        capture: whose events are heard.
        packets: its timed packets, in the order of arrival.
        line: their order.
        placed: where they stand.
        call: as for :func:`recall_lab.analyse`; likewise `mute` and `beside`.
        stood: where the media clock stood.
    """
    duplicates = _duplicates(packets, line)
    joins, misses = apart(line.starts, line.reached, line.tolerance)
    later, earlier = joins[misses > 0] + 1, joins[misses < 0] + 1
    parts = [
        _gaps(capture, packets, line, placed, later, call, mute, beside),
        _stood(packets, stood),
        _overlaps(line, earlier, duplicates.at),
        _repeats(line, duplicates),
        _reordered(packets, line, duplicates.at),
    ]
    joined = Found._make(map(np.concatenate, zip(*parts, strict=True)))
    order = np.argsort(joined.start, kind="stable")
    return Found._make(values[order] for values in joined)


class _Duplicates(NamedTuple):
    at: Positions  # in the line
    of: Positions  # the first that begins alike
    exact: npt.NDArray[np.bool_]


def _duplicates(packets: pd.DataFrame, line: MediaOrder) -> _Duplicates:
    """Find packets of the same time and length as one that arrived before."""
    starts = line.starts
    alike = np.flatnonzero(starts[1:] == starts[:-1])
    nothing = np.empty(0, np.int64)
    if not len(alike):
        return _Duplicates(nothing, nothing, nothing.astype(bool))
    members = np.union1d(alike, alike + 1)
    crc = packets["payload_crc"].to_numpy()[line.row(members)]
    samples = line.samples[members]
    first, same = earliest(starts[members], samples), earliest(starts[members], samples, crc)
    each = np.arange(len(members))
    # so short that rounded stamps can't tell them apart: not the same time for all we know
    again = (first != each) & (samples / RATE > line.tolerance)
    found = members[again]
    arrival = np.argsort(line.row(found), kind="stable")
    return _Duplicates(
        found[arrival], members[first[again]][arrival], (same != each)[again][arrival]
    )


def _gaps(
    capture: Capture,
    packets: pd.DataFrame,
    line: MediaOrder,
    placed: Placed,
    after: Positions,
    call: tuple[float, float] | None,
    mute: float,
    beside: Sequence[Capture],
) -> Found:
    """Return missing audio, with causes: before the packets `after`, and around all."""
    starts, reached, tolerance = line.starts, line.reached, line.tolerance
    before = _first_to_reach(reached, after - 1)
    begin, end = reached[after - 1], starts[after]
    samples = np.maximum(placed.at[after] - placed.reached[after - 1], 0)
    before, after = line.row(before), line.row(after)

    relative = packets["relative"].to_numpy()
    silent = np.flatnonzero(packets["samples"].to_numpy() == 0)
    edges = [*([] if call is None else [call])]
    # what was dropped had come, so the call went on
    edges += [(one.start, one.end) for one in dropped_spans(capture)]
    if len(silent):
        edges.append((relative[silent].min(), relative[silent].max()))
    low = min((edge[0] for edge in edges), default=np.inf)
    high = max((edge[1] for edge in edges), default=-np.inf)
    if not len(starts):
        if high - low > tolerance:
            begin, end = np.array([low]), np.array([high])
            samples = np.array([round((high - low) * RATE)])
            before = after = np.array([NOBODY])
    else:
        first, last = line.row(np.array([0])), line.row(np.searchsorted(reached, reached[-1:]))
        # counted as the axis is that begins with the first and ends with the last
        head = round((placed.origin - low) * RATE) if starts[0] - low > tolerance else 0
        if high - reached[-1] > tolerance:
            tail = round((high - min(low, placed.origin)) * RATE) - head - int(placed.reached[-1])
            begin, end = np.append(begin, reached[-1]), np.append(end, high)
            samples = np.append(samples, max(tail, 0))
            before, after = np.append(before, last), np.append(after, NOBODY)
        if starts[0] - low > tolerance:
            begin, end = np.insert(begin, 0, low), np.insert(end, 0, starts[0])
            samples = np.insert(samples, 0, head)
            before, after = np.insert(before, 0, NOBODY), np.insert(after, 0, first)
    holes = Spans(begin, end, before, after)
    told = causes_of(capture, packets, holes, mute, beside)
    return _found("gap", holes, *told)._replace(samples=samples)


def _stood(packets: pd.DataFrame, stood: Sequence[Stood]) -> Found:
    """Return time that passed by both wall clocks, and not by the media clock."""
    before = np.array([one.before for one in stood], np.int64)
    after = np.array([one.after for one in stood], np.int64)
    seconds = np.array([one.seconds for one in stood])
    at = packets["relative"].to_numpy()[after] if len(stood) else np.empty(0)
    evidence = [
        f"both wall clocks ran on for {one.seconds:.3f} s while the media clock stood: the "
        "recording was paused, or audio vanished and the sender did not count it"
        for one in stood
    ]
    found = _found("unexplained", Spans(at, at, before, after), PAUSE_OR_LOSS, evidence)
    samples = np.rint(seconds * RATE).astype(np.int64)
    return found._replace(duration=seconds, samples=samples)


def _overlaps(line: MediaOrder, at: Positions, duplicates: Positions) -> Found:
    """Return new audio that begins before the last ended: of packets that do."""
    starts, reached = line.starts, line.reached
    at = np.setdiff1d(at, duplicates, assume_unique=True)
    until = np.minimum(starts[at] + line.lasts[at], reached[at - 1])
    other = _first_to_reach(reached, at - 1)
    span = Spans(starts[at], until, line.row(other), line.row(at))
    return _found("overlap", span, "", "new audio before the last has ended")


def _repeats(line: MediaOrder, duplicates: _Duplicates) -> Found:
    """Return packets that came twice."""
    at = duplicates.at
    start = line.starts[at]
    span = Spans(start, start + line.lasts[at], line.row(duplicates.of), line.row(at))
    cause = np.where(duplicates.exact, "exact", "conflicting")
    evidence = np.where(
        duplicates.exact,
        "time, length and checksum of an earlier packet",
        "time and length of an earlier packet, but other audio",
    )
    return _found("duplicate", span, cause, evidence)


def _reordered(packets: pd.DataFrame, line: MediaOrder, duplicates: Positions) -> Found:
    """Return packets that arrived after one that begins later."""
    relative = packets["relative"].to_numpy()
    nothing = np.empty(0, np.int64)
    if line.scatter > HALF_SAMPLE:  # what only seems late, by a stamp that is not exact, is not
        relative = relative.copy()
        relative[line.row(np.arange(len(line.starts)))] = line.starts
    at, ahead = _behind(relative)
    if not len(at):
        empty = Spans(np.empty(0), np.empty(0), nothing, nothing)
        return _found("reordered", empty, "", "")
    every = at
    at = np.setdiff1d(at, line.row(duplicates), assume_unique=True)
    silent = np.flatnonzero(packets["samples"].to_numpy() == 0)
    again = earliest(relative[silent]) != np.arange(len(silent))  # no audio, twice
    at = np.setdiff1d(at, silent[again], assume_unique=True)
    ahead = ahead[np.searchsorted(every, at)]
    start = relative[at]
    span = Spans(start, start + packets["samples"].to_numpy()[at] / RATE, ahead, at)
    return _found("reordered", span, "", "arrived after one that begins later")


def _first_to_reach(reached: Floats, at: Positions) -> Positions:
    """Return the first packets to have reached as far as those `at` some positions."""
    first = at.copy()
    late = np.flatnonzero((at > 0) & (reached[np.maximum(at - 1, 0)] == reached[at]))
    first[late] = np.searchsorted(reached, reached[at[late]])
    return first


def _behind(times: Floats) -> tuple[Positions, Positions]:
    """Return packets that begin before one that came earlier, and the first that begins so late.

    Times rise but for a few falls, so only what follows these is looked at.
    """
    falls = falls_of(times)
    if len(falls) > len(times) // 64:  # many: quicker all at once
        furthest = np.maximum.accumulate(times)
        at = np.flatnonzero(times < furthest - HALF_SAMPLE)
        return at, np.searchsorted(furthest, furthest[at])
    peaks = np.maximum.accumulate(times[falls])
    behind, ahead = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    edges = [0, *(falls + 1).tolist(), len(times)]  # of stretches that rise
    highest, first = -np.inf, 0
    for place, peak in enumerate(peaks.tolist()):
        low, high, end = edges[place : place + 3]
        if peak > highest:
            highest, first = peak, low + int(np.searchsorted(times[low:high], peak))
        count = int(np.searchsorted(times[high:end], peak - HALF_SAMPLE))
        if count:
            behind.append(np.arange(high, high + count))
            ahead.append(np.full(count, first))
    return np.concatenate(behind), np.concatenate(ahead)


def _found(
    kind: str,
    span: Spans,
    cause: str | npt.NDArray[np.str_] | list[str],
    evidence: str | npt.NDArray[np.str_] | list[str],
) -> Found:
    """Return what was found of one kind. `span` counts positions in the timed packets."""
    texts = [np.empty(len(span.start), object) for _ in range(3)]
    for column, text in zip(texts, (kind, cause, evidence), strict=True):
        column[:] = text
    lasts = span.end - span.start
    samples = np.rint(lasts * RATE).astype(np.int64)
    return Found._make([*texts, *span, lasts, samples])
