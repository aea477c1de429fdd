"""Where the relative clock and the samples counted disagree: what is missing, twice, or late.

Only the sender's media clock and the samples say what is missing; arrival times never do. The
packets are put in order of media time, and each has to begin where the furthest one before it
has ended::

    packets    [  1  ][  2  ]         [  4  ]        arrival 1 2 4, nothing late
    gap                      ░░░░░░░░░               before 2, after 4

    packets    [  1  ]
                   [  2  ]                           2 begins before 1 has ended
    overlap        ▒▒▒▒

What came out of order is counted apart, over the order of arrival (RFC 4737, 3.3), so that it
makes no gap; nor do packets that came twice.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.causes import Holes, causes_of
from recall_lab.analysis.clocks import nanoseconds, timed, times_of
from recall_lab.analysis.unkept import unkept
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity import HALF_SAMPLE, Stamps
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
_NOBODY: Final = -1  # no packet before, or none after


class Line(NamedTuple):
    """Packets with audio, in order of media time; those that begin alike in order of arrival.

    Attributes:
        rows: position of each among the packets given, shape ``(packets,)``; None when they came
            in order already.
        starts: when each begins on the relative clock, s.
        samples: how many samples each has.
        reached: how far the audio up to each one reaches, s.
        tolerance: seconds by which packets may miss one another.
        quantum: step to which the stamps are rounded, s; 0.0 for exact ones, or where not asked.
    """

    rows: Positions | None
    starts: Floats
    samples: npt.NDArray[np.int32]
    reached: Floats
    tolerance: float
    quantum: float

    def row(self, at: Positions) -> Positions:
        """Return positions among the packets given."""
        return at if self.rows is None else self.rows[at]


def line_up(packets: pd.DataFrame, tolerance: float | None = None) -> Line:
    """Put packets in order of media time. `packets` are timed ones, in the order of arrival.

    Raises:
        InvalidArgument: for a tolerance that is not a number of seconds.
    """
    relative = packets["relative"].to_numpy()
    samples = packets["samples"].to_numpy()
    rows = None
    if not samples.all():
        rows = np.flatnonzero(samples)
        relative, samples = relative[rows], samples[rows]
    quantum = 0.0
    if tolerance is None:
        stamps = Stamps.of(relative, samples)
        tolerance, quantum = stamps.tolerance, stamps.quantum
    elif not isinstance(tolerance, int | float) or not 0 <= tolerance < 1e9:
        raise InvalidArgument("tolerance", tolerance, "seconds, 0 or more; None to derive it")
    if not (relative[1:] >= relative[:-1]).all():
        order = np.argsort(relative, kind="stable")
        relative, samples = relative[order], samples[order]
        rows = order if rows is None else rows[order]
    reached = samples / RATE
    reached += relative
    np.maximum.accumulate(reached, out=reached)
    return Line(rows, relative, samples, reached, tolerance, quantum)


def gaps(
    capture: Capture,
    tolerance: float | None = None,
    *,
    span: tuple[float, float] | None = None,
    mute: float = 1.0,
) -> pd.DataFrame:
    """Return every discontinuity of the relative clock against the samples counted.

    Args:
        capture: live or loaded.
        tolerance: seconds by which a packet may miss the end of the one before and still follow
            it. None reads it from the stamps (see :mod:`recall_lab.capture.continuity`): half a
            sample where they are exact, a step where they are rounded to a grid that the packets
            do not fit, a bound where they scatter.
        span: when the call is known to have begun and ended, s on the relative clock: what is
            missing at either end is a gap too. What came at either end and could not be kept is
            one in any case.
        mute: a gap within a connection that lasts at least so many seconds counts as silence by
            design, a shorter one as loss: the wire has no number by which to tell (see
            :mod:`recall_lab.analysis.causes`).

    Returns:
        One row a discontinuity, by `start`:

        - ``kind`` (str): ``gap``, no audio there; ``overlap``, new audio that begins before the
          last ended; ``duplicate``, same time and length as an earlier packet; ``reordered``,
          arrived after one that begins later
        - ``cause`` (str): of a gap, ``reconnect``, ``loss``, ``mute``, ``silence`` (packets
          without audio), ``storage``, ``receiver restart``, ``pause`` or ``unknown``; of a
          duplicate, ``exact`` or ``conflicting`` by the payload's checksum; else ``""``
        - ``start``, ``end``, ``duration`` (float64): s on the relative clock, half-open
        - ``samples`` (int64): the duration, in samples
        - ``absolute`` (datetime64[ns, UTC]): the start on the sender's wall clock; NaT where no
          packet tells it
        - ``before``, ``after`` (Int64): the packets on either side; of a duplicate or what is
          late, the packet it repeats or came behind, and itself
        - ``connection_before``, ``connection_after`` (Int64): which connections brought them
        - ``evidence`` (str): what the cause was told by

    Raises:
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        InvalidArgument: for a tolerance, span or mute that can't be.

    Example:
        >>> rl.gaps(rl.load("data/standup-lossy.bin")).groupby("kind").size()  # doctest: +SKIP
    """
    span = seconds_pair(span)
    if not isinstance(mute, int | float) or not mute >= 0:
        raise InvalidArgument("mute", mute, "seconds, 0 or more")
    packets = timed(capture, repaired=True)
    return _table(packets, find(capture, packets, line_up(packets, tolerance), span, mute))


class Found(NamedTuple):
    """What :func:`gaps` has to say, as arrays of one length, by `start`.

    Attributes:
        kind, cause, evidence: str objects.
        start, end: s on the relative clock.
        before, after: positions among the timed packets; -1 for none.
    """

    kind: npt.NDArray[np.object_]
    cause: npt.NDArray[np.object_]
    evidence: npt.NDArray[np.object_]
    start: Floats
    end: Floats
    before: Positions
    after: Positions


def find(
    capture: Capture,
    packets: pd.DataFrame,
    line: Line,
    span: tuple[float, float] | None = None,
    mute: float = 1.0,
) -> Found:
    """Return every discontinuity among timed packets that are lined up; see :func:`gaps`."""
    duplicates = _duplicates(packets, line)
    parts = [
        _gaps(capture, packets, line, span, mute),
        _overlaps(line, duplicates.at),
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


def _duplicates(packets: pd.DataFrame, line: Line) -> _Duplicates:
    """Find packets of the same time and length as one that arrived before."""
    starts = line.starts
    alike = np.flatnonzero(starts[1:] == starts[:-1])
    nothing = np.empty(0, np.int64)
    if not len(alike):
        return _Duplicates(nothing, nothing, nothing.astype(bool))
    members = np.union1d(alike, alike + 1)
    crc = packets["payload_crc"].to_numpy()[line.row(members)]
    samples = line.samples[members]
    first, same = _earliest(starts[members], samples), _earliest(starts[members], samples, crc)
    each = np.arange(len(members))
    # so short that rounded stamps can't tell them apart: not the same time for all we know
    again = (first != each) & (samples / RATE > line.tolerance)
    return _Duplicates(members[again], members[first[again]], (same != each)[again])


def _earliest(*columns: npt.NDArray[Any]) -> Positions:
    """Return for each row the position of the first that is the same: its own, where none is."""
    order = np.lexsort(columns)
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    first = np.empty_like(order)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def _gaps(
    capture: Capture,
    packets: pd.DataFrame,
    line: Line,
    span: tuple[float, float] | None,
    mute: float,
) -> Found:
    """Return missing audio, with causes."""
    starts, reached, tolerance = line.starts, line.reached, line.tolerance
    after = np.flatnonzero(starts[1:] - reached[:-1] > tolerance) + 1
    before = np.searchsorted(reached, reached[after - 1])  # the first to have reached so far
    begin, end = reached[after - 1], starts[after]
    before, after = line.row(before), line.row(after)

    relative = packets["relative"].to_numpy()
    silent = np.flatnonzero(packets["samples"].to_numpy() == 0)
    edges = [*([] if span is None else [span])]
    edges += [(lost.start, lost.end) for lost in unkept(capture)]  # it came, so the call went on
    if len(silent):
        edges.append((relative[silent].min(), relative[silent].max()))
    low = min((edge[0] for edge in edges), default=np.inf)
    high = max((edge[1] for edge in edges), default=-np.inf)
    if not len(starts):
        if high - low > tolerance:
            begin, end = np.array([low]), np.array([high])
            before = after = np.array([_NOBODY])
    else:
        first, last = line.row(np.array([0])), line.row(np.searchsorted(reached, reached[-1:]))
        if starts[0] - low > tolerance:
            begin, end = np.insert(begin, 0, low), np.insert(end, 0, starts[0])
            before, after = np.insert(before, 0, _NOBODY), np.insert(after, 0, first)
        if high - reached[-1] > tolerance:
            begin, end = np.append(begin, reached[-1]), np.append(end, high)
            before, after = np.append(before, last), np.append(after, _NOBODY)
    holes = Holes(begin, end, before, after)
    return _found("gap", holes, *causes_of(capture, packets, holes, mute))


def _overlaps(line: Line, duplicates: Positions) -> Found:
    """Return new audio that begins before the last ended."""
    starts, reached = line.starts, line.reached
    at = np.flatnonzero(starts[1:] - reached[:-1] < -line.tolerance) + 1
    at = np.setdiff1d(at, duplicates, assume_unique=True)
    until = np.minimum(starts[at] + line.samples[at] / RATE, reached[at - 1])
    other = np.searchsorted(reached, reached[at - 1])
    span = Holes(starts[at], until, line.row(other), line.row(at))
    return _found("overlap", span, "", "new audio before the last has ended")


def _repeats(line: Line, duplicates: _Duplicates) -> Found:
    """Return packets that came twice."""
    at = duplicates.at
    start = line.starts[at]
    span = Holes(start, start + line.samples[at] / RATE, line.row(duplicates.of), line.row(at))
    cause = np.where(duplicates.exact, "exact", "conflicting")
    evidence = np.where(
        duplicates.exact,
        "time, length and checksum of an earlier packet",
        "time and length of an earlier packet, but other audio",
    )
    return _found("duplicate", span, cause, evidence)


def _reordered(packets: pd.DataFrame, line: Line, duplicates: Positions) -> Found:
    """Return packets that arrived after one that begins later."""
    relative = packets["relative"].to_numpy()
    nothing = np.empty(0, np.int64)
    if (relative[1:] >= relative[:-1]).all():
        empty = Holes(np.empty(0), np.empty(0), nothing, nothing)
        return _found("reordered", empty, "", "")
    furthest = np.maximum.accumulate(relative)
    at = np.flatnonzero(relative < furthest - HALF_SAMPLE)
    at = np.setdiff1d(at, line.row(duplicates), assume_unique=True)
    silent = np.flatnonzero(packets["samples"].to_numpy() == 0)
    again = _earliest(relative[silent]) != np.arange(len(silent))  # no audio, twice
    at = np.setdiff1d(at, silent[again], assume_unique=True)
    ahead = np.searchsorted(furthest, furthest[at])  # the first that begins so late
    start = relative[at]
    span = Holes(start, start + packets["samples"].to_numpy()[at] / RATE, ahead, at)
    return _found("reordered", span, "", "arrived after one that begins later")


def _found(
    kind: str,
    span: Holes,
    cause: str | npt.NDArray[np.str_] | list[str],
    evidence: str | npt.NDArray[np.str_] | list[str],
) -> Found:
    """Return what was found of one kind. `span` counts positions in the timed packets."""
    texts = [np.empty(len(span.start), object) for _ in range(3)]
    for column, text in zip(texts, (kind, cause, evidence), strict=True):
        column[:] = text
    return Found._make([*texts, *span])


def _table(packets: pd.DataFrame, found: Found) -> pd.DataFrame:
    """Return what was found as the frame of :func:`gaps`."""
    duration = found.end - found.start
    # by the packet before, where there is one: a gap has no stamp of its own
    is_gap = found.kind == "gap"
    known = np.where(is_gap, found.before, found.after)
    known = np.where(known == _NOBODY, np.where(is_gap, found.after, found.before), known)
    times = times_of(np.full(len(duration), np.iinfo(np.int64).min))  # not a time
    if len(packets):
        shift = found.start - packets["relative"].to_numpy()[known]
        stamp = nanoseconds(packets["absolute"])[known]
        times = times_of(stamp + np.rint(shift * 1e9).astype(np.int64))
    numbers, connections = packets.index.to_numpy(), packets["connection"].to_numpy()
    nobody = found.before == _NOBODY, found.after == _NOBODY
    return pd.DataFrame(
        {
            "kind": pd.Series(found.kind, dtype="str"),
            "cause": pd.Series(found.cause, dtype="str"),
            "start": found.start,
            "end": found.end,
            "duration": duration,
            "samples": np.rint(duration * RATE).astype(np.int64),
            "absolute": times,
            "before": _masked(numbers, found.before, nobody[0]),
            "after": _masked(numbers, found.after, nobody[1]),
            "connection_before": _masked(connections, found.before, nobody[0]),
            "connection_after": _masked(connections, found.after, nobody[1]),
            "evidence": pd.Series(found.evidence, dtype="str"),
        }
    )


def _masked(
    values: npt.NDArray[np.generic], at: Positions, nobody: npt.NDArray[np.bool_]
) -> pd.api.extensions.ExtensionArray:
    """Return values at positions as Int64, NA where there is nobody."""
    taken = values[at].astype(np.int64) if len(values) else np.zeros(len(at), np.int64)
    return pd.arrays.IntegerArray(taken, nobody.copy())


def seconds_pair(span: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a span of the relative clock as two floats.

    Raises:
        InvalidArgument: when it is no span.
    """
    if span is None:
        return None
    try:
        start, end = map(float, span)
    except (TypeError, ValueError):
        start, end = np.nan, np.nan
    if not (np.isfinite(start) and np.isfinite(end) and start <= end):
        raise InvalidArgument("span", span, "(start, end) in seconds of the relative clock")
    return start, end
