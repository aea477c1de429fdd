"""Map the relative clock to the axis of a plot: itself, or the sender's wall clock.

The sender's wall clock may have been set in the middle of a call, or have run on while the media
clock stood. Then one shift for all would put the times on one side of it wrong::

    relative   0 s        10 s  10 s       20 s
    absolute   12:00:00   :10   12:01:00   :10         set by 50 s: two pieces, a shift each

Spans are cut there, so that nothing is drawn across hours of which the clock knows nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.time.analysis import Analysis
from recall_lab.capture.frame import nanoseconds
from recall_lab.errors import InvalidArgument

Floats = npt.NDArray[np.float64]

_MOST: Final = 100  # pieces: a clock that is set more often tells no time of day


class Spans(NamedTuple):
    """Spans on an axis.

    Attributes:
        start, end: on the axis, s.
        of: position of the span that each was cut from.
    """

    start: Floats
    end: Floats
    of: npt.NDArray[np.int64]


class ClockMap(NamedTuple):
    """Moments of the relative clock, put on an axis piece by piece.

    Attributes:
        begins: when each piece begins, s on the relative clock, rising; the first is -inf.
        shifts: what is added to the times of each, s.
    """

    begins: Floats
    shifts: Floats

    def __call__(self, times: npt.ArrayLike) -> Floats:
        """Return where moments stand; one at which a piece begins belongs to that piece."""
        times = np.asarray(times, np.float64)
        at = np.searchsorted(self.begins, times, "right") - 1
        moved: Floats = times + self.shifts[np.maximum(at, 0)]  # NaN has no place: it stays NaN
        return moved

    def until(self, times: npt.ArrayLike) -> Floats:
        """Return where ends of spans stand: at the end of a piece, not at the next one's start."""
        times = np.asarray(times, np.float64)
        moved: Floats = times + self.shifts[np.maximum(np.searchsorted(self.begins, times) - 1, 0)]
        return moved

    def spans(self, start: npt.ArrayLike, end: npt.ArrayLike) -> Spans:
        """Return where spans stand: cut where one piece ends, in rising order on the axis.

        A span without any length stays one, in the piece that begins with it.
        """
        start, end = (np.asarray(edge, np.float64) for edge in (start, end))
        if len(self.begins) == 1:
            return Spans(start + self.shifts[0], end + self.shifts[0], np.arange(len(start)))
        parts = []
        for low, high, shift in zip(
            self.begins, np.append(self.begins[1:], np.inf), self.shifts, strict=True
        ):
            a, b = np.maximum(start, low), np.minimum(end, high)
            some = np.flatnonzero((a < b) | ((start == end) & (start >= low) & (start < high)))
            parts.append((a[some] + shift, b[some] + shift, some))
        starts, ends, of = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(starts, kind="stable")
        return Spans(starts[order], ends[order], of[order])

    def extent(self, start: float, end: float) -> tuple[float, float]:
        """Return the least and the greatest time on the axis of a span."""
        if end <= start:
            at = float(self(np.array([start]))[0])
            return at, at + (end - start)
        parts = self.spans([start], [end])
        return float(parts.start.min()), float(parts.end.max())

    def pieces(self, times: Floats) -> list[slice]:
        """Return which of rising times lie in one piece each: some for each piece that has any."""
        cuts = np.searchsorted(times, self.begins[1:])
        edges = [0, *cuts.tolist(), len(times)]
        return [slice(a, b) for a, b in pairwise(edges) if b > a]


RELATIVE: Final = ClockMap(np.array([-np.inf]), np.zeros(1))
"""The relative clock as it is."""


def clock_map(known: Analysis, clock: str) -> ClockMap:
    """Return how relative times are put on a clock.

    Args:
        known: whose clocks they are.
        clock: ``"relative"``, or ``"absolute"``: seconds since 1970 UTC on the sender's wall
            clock, which may have been set now and then.

    Raises:
        InvalidArgument: for a clock that is neither.
        MissingTimestamps: for ``"absolute"``, of audio without packets.
    """
    if clock not in ("relative", "absolute"):
        raise InvalidArgument("clock", clock, "'relative' or 'absolute'")
    if clock == "relative" or known.standing.empty:
        return RELATIVE
    packets = known.packets if len(known.packets) else known.standing
    relative = packets["relative"].to_numpy()
    apart = nanoseconds(packets["absolute"]) / 1e9 - relative
    # where it was set, and where it ran on while the media clock stood
    steps = [at for which, at, *_ in known.clock_steps if which == "absolute"]
    begins = np.unique([-np.inf, *steps])
    if len(begins) > _MOST:
        begins = begins[:1]
    at = np.searchsorted(begins, relative, "right") - 1
    begins, at = begins[np.unique(at)], np.unique(at, return_inverse=True)[1]
    begins[0] = -np.inf
    # of most packets in it, so that one with an odd stamp does not shift all
    shifts = np.array([np.median(apart[at == piece]) for piece in range(len(begins))])
    return ClockMap(begins, shifts)
