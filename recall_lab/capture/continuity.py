"""The small rule by which audio is missing: the relative clock against samples counted.

A packet should begin where the furthest one before it, in media time, has ended. Arrival times
have no say in it, nor has the order of arrival. The same rule stands here twice: over a whole
frame (:func:`missing_spans`), and packet by packet (:class:`Continuity`) for what is still
coming in. Both give the same spans.

How far two stamps may miss one another is read from the stamps themselves (:class:`Stamps`):
half a sample where they are exact; one step where they are rounded to a coarser grid than the
packets' own lengths, because then every other join looks torn; and where they scatter, a bound
on the scatter.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.wire.pcm import RATE

HALF_SAMPLE: Final = 0.5 / RATE
"""Tolerance of exact stamps, s: closer than that, two instants are the same sample."""

GRIDS: Final = (1e-1, 1e-2, 1e-3, 1e-4)
"""Steps, s, to which stamps are found to be rounded; finer ones do not matter to a sample."""

_SLACK: Final = 1.001  # of a step: two rounded stamps miss by a whole one, and floats by a hair
_GRID_MICROSECONDS: Final = tuple(round(grid * 1e6) for grid in GRIDS)
_OFF_GRID: Final = 0.01  # microseconds by which a float may miss the grid
_SCATTERS: Final[tuple[float, ...]] = tuple(
    HALF_SAMPLE * 2**power for power in range(15)
)  # up to half a second
_LEVELS: Final[tuple[float, ...]] = tuple(sorted({*_SCATTERS, *(grid * _SLACK for grid in GRIDS)}))
_ENOUGH: Final = 8  # stamps, or joins, below which nothing is said of their kind
_PLAIN: Final = 16  # samples of a packet from which half a sample is surely less than half of it
_BEYOND: Final = 3  # powers of two by which the scatter's bound lies above its median


@dataclass
class Stamps:
    """What the stamps of a stream are like, as counts; what follows from it is the tolerance.

    Attributes:
        packets: packets with audio.
        samples: samples in them.
        off: how many stamps lie off each of :data:`GRIDS`.
        uneven: how many packets last something else than a multiple of each grid.
        joins: packets by how far they miss the end of the one that arrived before, as powers
            of two of half a sample; only those that miss by less than half a packet.
    """

    packets: int = 0
    samples: int = 0
    off: list[int] = field(default_factory=lambda: [0] * len(GRIDS))
    uneven: list[int] = field(default_factory=lambda: [0] * len(GRIDS))
    joins: list[int] = field(default_factory=lambda: [0] * len(_SCATTERS))

    @classmethod
    def of(
        cls,
        relative: npt.NDArray[np.float64],
        samples: npt.NDArray[np.int32],
        *,
        more_to_come: bool = False,
    ) -> Stamps:
        """Return the counts for packets in the order of arrival, all finite, none empty."""
        misses = np.abs(relative[1:] - (relative[:-1] + samples[:-1] / RATE))
        misses = misses[misses < np.minimum(samples[:-1] / (2 * RATE), _SCATTERS[-1])]
        joins = [0] * len(_SCATTERS)
        torn = misses[misses > HALF_SAMPLE]
        joins[0] = len(misses) - len(torn)
        for power, count in enumerate(np.bincount(np.searchsorted(_SCATTERS, torn)).tolist()):
            if power:
                joins[power] += count
        stamps = cls(len(relative), int(samples.sum(dtype=np.int64)), joins=joins)
        if len(torn) or more_to_come:  # else the stamps are exact, and no more need be known
            stamps.count_grids(relative, samples)
        return stamps

    def count_grids(
        self, relative: npt.NDArray[np.float64], samples: npt.NDArray[np.int32]
    ) -> None:
        """Count which stamps lie off each grid, and which lengths do not fit it."""
        microseconds = relative * 1e6
        whole = np.rint(microseconds)
        fractions = np.abs(microseconds - whole) > _OFF_GRID
        lengths = samples.astype(np.int64) * 125
        for at, grid in enumerate(_GRID_MICROSECONDS):
            off = int(np.count_nonzero(fractions | (np.mod(whole, grid) != 0)))
            self.off[at] += off
            if not off:  # all on this grid, so on all finer ones
                break
        for at, grid in enumerate(_GRID_MICROSECONDS):
            uneven = int(np.count_nonzero(lengths % (2 * grid)))
            self.uneven[at] += uneven
            if not uneven:
                break

    @property
    def quantum(self) -> float:
        """Step to which the stamps are seen to be rounded, s; 0.0 where they seem exact."""
        if self.packets < _ENOUGH or not sum(self.joins[1:]):
            return 0.0
        few = self.packets // 100
        for grid, off, uneven in zip(GRIDS, self.off, self.uneven, strict=True):
            if off <= few:
                # packets that fit the grid themselves would lie on it unrounded, too
                return grid if uneven > max(1, few) else 0.0
        return 0.0

    @property
    def tolerance(self) -> float:
        """Seconds by which a packet may miss the end of the one before and still follow it."""
        if self.quantum:
            return self.quantum * _SLACK
        joins = sum(self.joins)
        if joins < _ENOUGH or self.joins[0] >= joins / 2:
            return HALF_SAMPLE
        power = next(k for k, seen in enumerate(accumulate(self.joins)) if seen > joins / 2)
        # a lost packet must still be seen: never above half of a usual one
        usual = bisect_right(_SCATTERS, self.samples / self.packets / RATE / 2) - 1
        return _SCATTERS[max(0, min(power + _BEYOND, usual))]


class Continuity:
    """The rule, packet by packet in the order of arrival, in bounded memory.

    The last few hundred holes stay open for what comes late; older ones are only counted.

    Example:
        >>> stream = Continuity()
        >>> for relative in (0.0, 0.2, 0.8):
        ...     stream.add(relative, 3200)
        >>> stream.gaps, round(stream.missing, 6)
        (1, 0.4)
    """

    OPEN: Final = 200

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._stamps = Stamps()
        self._end = math.nan  # of the packet that arrived last
        self._length = 0.0  # of that packet
        self._first = math.inf
        self._reached = -math.inf
        self._earliest = math.inf  # of empty packets
        self._latest = -math.inf
        self._holes: list[tuple[float, float]] = []  # in order, disjoint, above half a sample
        self._folded = [0] * (len(_LEVELS) + 1)  # older holes by length
        self._folded_seconds = [0.0] * (len(_LEVELS) + 1)

    def start_over(self, packets: pd.DataFrame) -> None:
        """Know of `packets` only, in the order of arrival; more may be added."""
        self._forget()
        relative, samples = packets["relative"].to_numpy(), packets["samples"].to_numpy()
        empty, heard = relative[samples == 0], packets[samples > 0]
        self._earliest = float(empty.min(initial=math.inf))
        self._latest = float(empty.max(initial=-math.inf))
        if len(heard):
            starts, counts = heard["relative"].to_numpy(), heard["samples"].to_numpy()
            ends = starts + counts / RATE
            self._stamps = Stamps.of(starts, counts, more_to_come=True)
            self._first, self._reached = float(starts.min()), float(ends.max())
            self._end, self._length = float(ends[-1]), float(counts[-1] / RATE)
            self._holes = [(a, b) for a, b in missing_spans(heard, HALF_SAMPLE).tolist()]
            self._fold()

    def add(self, relative: float, samples: int) -> None:
        """Take one packet."""
        if not samples:
            self._earliest = min(self._earliest, relative)
            self._latest = max(self._latest, relative)
            return
        length = samples / RATE
        end = relative + length
        self._observe(relative, samples)
        self._end, self._length = end, length
        if relative > self._reached:
            if relative - self._reached > HALF_SAMPLE and self._first != math.inf:
                self._holes.append((self._reached, relative))
                if len(self._holes) > 2 * self.OPEN:
                    self._fold()
        elif self._holes and relative < self._holes[-1][1]:
            self._fill(relative, end)
        if relative < self._first:
            if end < self._first - HALF_SAMPLE and self._first != math.inf:
                self._holes.insert(0, (end, self._first))
            self._first = relative
        if end > self._reached:
            self._reached = end

    def extend(self, relative: npt.NDArray[np.float64], samples: npt.NDArray[np.int32]) -> None:
        """Take several packets, in the order of arrival; together where each follows the last."""
        ends = relative + samples / RATE
        begins = np.concatenate([[self._end], ends[:-1]])
        if (
            self._end != self._reached
            or samples.min(initial=_PLAIN) < _PLAIN
            or self._length * RATE < _PLAIN
            or not (np.abs(relative - begins) <= HALF_SAMPLE).all()
        ):
            for start, count in zip(relative.tolist(), samples.tolist(), strict=True):
                self.add(start, count)
        elif len(relative):
            stamps = self._stamps
            stamps.packets += len(relative)
            stamps.samples += int(samples.sum(dtype=np.int64))
            stamps.joins[0] += len(relative)
            stamps.count_grids(relative, samples)
            self._end = self._reached = float(ends[-1])
            self._length = float(samples[-1] / RATE)

    @property
    def tolerance(self) -> float:
        """Seconds by which packets may miss one another, as far as is known by now."""
        return self._stamps.tolerance

    @property
    def gaps(self) -> int:
        """Spans for which there is no audio, so far."""
        return self.total()[0]

    @property
    def missing(self) -> float:
        """Seconds for which there is no audio, so far."""
        return self.total()[1]

    def total(self) -> tuple[int, float]:
        """Return both at once, as they cost the same work: gaps and seconds missing."""
        tolerance = self.tolerance
        level = bisect_left(_LEVELS, tolerance)
        count, seconds = sum(self._folded[level + 1 :]), sum(self._folded_seconds[level + 1 :])
        edges = [(self._reached, self._latest), (self._earliest, self._first)]
        if self._first == math.inf:  # nothing but empty packets
            edges = [(self._earliest, self._latest)]
        for start, end in (*self._holes, *edges):
            if end - start > tolerance:
                count += 1
                seconds += end - start
        return count, seconds

    def _observe(self, relative: float, samples: int) -> None:
        stamps = self._stamps
        stamps.packets += 1
        stamps.samples += samples
        microseconds = relative * 1e6
        whole = round(microseconds)
        on_grid = abs(microseconds - whole) <= _OFF_GRID
        for at, grid in enumerate(_GRID_MICROSECONDS):
            if on_grid and whole % grid == 0:
                break
            stamps.off[at] += 1
        for at, grid in enumerate(_GRID_MICROSECONDS):
            if samples * 125 % (2 * grid) == 0:
                break
            stamps.uneven[at] += 1
        miss = abs(relative - self._end)
        if miss < min(self._length / 2, _SCATTERS[-1]):  # false for the first, whose miss is NaN
            power = 0 if miss <= HALF_SAMPLE else bisect_left(_SCATTERS, miss)
            stamps.joins[power] += 1

    def _fill(self, start: float, end: float) -> None:
        """Take what has come late out of the holes."""
        holes = self._holes
        first = bisect_right(holes, start, key=lambda hole: hole[1])
        last = bisect_left(holes, end, key=lambda hole: hole[0])
        pieces = []
        for low, high in holes[first:last]:
            pieces += [(low, min(high, start)), (max(low, end), high)]
        holes[first:last] = [(low, high) for low, high in pieces if high - low > HALF_SAMPLE]

    def _fold(self) -> None:
        for low, high in self._holes[: -self.OPEN]:
            level = bisect_left(_LEVELS, high - low)
            self._folded[level] += 1
            self._folded_seconds[level] += high - low
        del self._holes[: -self.OPEN]


def missing_spans(packets: pd.DataFrame, tolerance: float | None = None) -> npt.NDArray[np.float64]:
    """Return the spans of the relative clock for which there is no audio between packets.

    Args:
        packets: the packets frame. Empty packets bring no audio, but at either end of the
            stream they say that it was there.
        tolerance: spans of up to so many seconds are not named; read from the stamps by default.

    Returns:
        Shape ``(n, 2)``, float64, seconds, half-open, in order.

    Example:
        ::

            packets   [0.0 .. 0.2)  [0.2 .. 0.4)              [0.8 .. 1.0)
            missing                               [0.4 .. 0.8)
    """
    relative = packets["relative"].to_numpy()
    samples = packets["samples"].to_numpy()
    known = np.isfinite(relative)
    heard = known & (samples > 0)
    silent = relative[known & (samples == 0)]
    starts, counts = relative[heard], samples[heard]
    if tolerance is None:
        tolerance = Stamps.of(starts, counts).tolerance
    order = np.argsort(starts, kind="stable")
    reached = np.maximum.accumulate((starts + counts / RATE)[order])
    starts = starts[order]
    holes = np.flatnonzero(starts[1:] - reached[:-1] > tolerance)
    spans = np.column_stack([reached[holes], starts[holes + 1]])
    if not len(silent):
        return spans
    first, last = (starts[0], reached[-1]) if len(starts) else (silent.max(), silent.max())
    edges = np.array([[silent.min(), first], [last, silent.max()]])
    edges = edges[edges[:, 1] - edges[:, 0] > tolerance]
    return np.sort(np.concatenate([spans, edges]), axis=0)
