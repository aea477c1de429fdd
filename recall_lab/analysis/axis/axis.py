"""Samples on the true time axis, gaps included: what a recording that plays too fast lacks.

A plain ``.bin`` holds what arrived, one packet after another: every gap is squeezed out. Here
each packet stands where its relative time says (see :mod:`~.axis.placement`). Where
the media clock runs otherwise than the samples, they are resampled to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.axis.placement import Placed, Positions
from recall_lab.analysis.axis.resampling import SIDE, interpolated
from recall_lab.arguments import Duration, duration
from recall_lab.capture.capture import Audio
from recall_lab.errors import InvalidArgument
from recall_lab.store.reader import release
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE

FILLS: Final = ("silence", "nan", "hold")
"""What can be put where there is no audio, beside a number."""

Array = npt.NDArray[np.int16] | npt.NDArray[np.float32]
Number = TypeVar("Number", np.int64, np.float64)
Mask = npt.NDArray[np.bool_]

_PIECE: Final = 1 << 15  # samples that are resampled at once
_BESIDE: Final = 8  # packets on either side of a piece, some of which may have come again
_SAME: Final = 1e-3  # of a sample, by which those begin and end alike

LONGEST: Final = 2**33
"""Samples of an axis at most, six days: more is no call, but a clock gone wrong."""


class Timeline:
    """Samples on the true time axis, read piece by piece. Made by :func:`timeline`.

    It looks like an array of shape ``(samples,)``: it has a length and a dtype, can be sliced,
    and ``np.asarray`` makes it whole.

    Attributes:
        start: relative time of sample 0, s.
        end: relative time after the last sample, s.
        dtype: int16; float32 with full scale 1 where the fill needs it.
    """

    def __init__(
        self, audio: Array | Audio, placed: Placed, span: tuple[float, int], fill: float | str
    ):
        self._audio = audio
        self._placed = placed
        self._fill = fill
        self.start, self._length = span
        self.end = self.start + self._length / RATE
        floats = fill == "nan" or not isinstance(fill, str)
        self.dtype = np.dtype(np.float32) if floats else audio.dtype

    def __len__(self) -> int:
        return self._length

    @property
    def samples(self) -> Array:
        """The whole, at once. For many hours use :meth:`blocks`."""
        return self._whole()[0]

    @property
    def real(self) -> Mask:
        """True where a sample was received, shape ``(len(self),)``."""
        return self._whole()[1]

    @property
    def unit(self) -> float:
        """What a sample has to be multiplied with for full scale to be 1."""
        return 1 / FULL_SCALE if self._audio.dtype == SAMPLE_DTYPE else 1.0

    @cached_property
    def holes(self) -> Positions:
        """Where nothing was received: shape ``(holes, 2)``, int64, samples from the start."""
        ends = np.clip(np.concatenate([[0], self._placed.reached]), 0, self._length)
        starts = np.clip(np.append(self._placed.at, self._length), 0, self._length)
        there = starts > ends
        return np.column_stack([ends[there], starts[there]])

    def missing(self, edges: npt.ArrayLike) -> Positions:
        """Return how many samples are missing before each of `edges`, in samples from the start.

        Example:
            >>> before = line.missing([0, 16_000, 32_000])  # doctest: +SKIP
            >>> np.diff(before) / 16_000  # share missing of each second  # doctest: +SKIP
        """
        starts, ends = self.holes.T
        return covered(starts, ends, np.asarray(edges, np.int64))

    def take(self, low: int, high: int, room: Array | None = None) -> Array:
        """Return samples `low` to `high`, as they were received, zero where they were not.

        A view of the capture where they lie in one piece, so that hours cost nothing; else they
        are put together, in `room` if there is one (of the audio's dtype, and as long at least).
        """
        low, high = max(low, 0), min(high, self._length)
        first = int(np.searchsorted(self._placed.reached, low, "right"))
        last = int(np.searchsorted(self._placed.at, high, "left"))
        copies = self._copies(first, last) if self._placed.exact is None else []
        if len(copies) == 1 and copies[0][0] <= low and copies[0][1] >= high:
            offset = copies[0][2] + low - copies[0][0]
            return self._audio[offset : offset + high - low]
        if room is None:
            samples = np.zeros(max(high - low, 0), self._audio.dtype)
        else:
            samples = room[: max(high - low, 0)]
            samples[:] = 0
        if self._placed.exact is not None:
            for begin in range(low, high, _PIECE):
                end = min(begin + _PIECE, high)
                self._resampled(begin, end, samples[begin - low : end - low])
        for begin, end, offset in copies:
            begin, end, offset = _within(begin, end, offset, low, high)
            samples[begin - low : end - low] = self._audio[offset : offset + end - begin]
        return samples

    def heard(self, low: int, high: int, room: Mask | None = None) -> Mask:
        """Return which of samples `low` to `high` were received; in `room`, if there is one."""
        real = np.empty(high - low, bool) if room is None else room[: high - low]
        real[:] = True
        holes = self.holes
        first, last = np.searchsorted(holes[:, 1], low, "right"), np.searchsorted(holes[:, 0], high)
        for begin, end in (holes[first:last] - low).tolist():
            real[max(begin, 0) : max(end, 0)] = False
        return real

    def release(self) -> None:
        """Give back the memory of mapped samples that were read."""
        release(self._audio)

    def read(self, start: float | None = None, end: float | None = None) -> tuple[Array, Mask]:
        """Return samples and what of them is real for a span of the relative clock, s."""
        low, high = (
            default if time is None else round((time - self.start) * RATE)
            for time, default in ((start, 0), (end, self._length))
        )
        low = min(max(low, 0), self._length)
        return self._read(low, min(max(high, low), self._length))

    def blocks(self, seconds: Duration = 60.0) -> Iterator[tuple[Array, Mask]]:
        """Yield samples and what of them is real, from the start to the end, in bounded memory.

        Args:
            seconds: length of a block; the last may be shorter.
        """
        seconds = duration("seconds", seconds, 1 / RATE, LONGEST / RATE)
        step = round(seconds * RATE)
        for low in range(0, self._length, step):
            yield self._read(low, min(low + step, self._length))
            release(self._audio)

    def __getitem__(self, part: slice | int) -> Array | np.int16 | np.float32:
        if not isinstance(part, slice):
            at = range(self._length)[part]  # IndexError beyond the end
            sample: np.int16 | np.float32 = self._read(at, at + 1)[0][0]
            return sample
        if part.step not in (None, 1):
            raise InvalidArgument("part", part, "a slice of samples without a step")
        low, high, _ = part.indices(self._length)
        return self._read(low, max(low, high))[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a timeline is put together when it is read: it can't be had uncopied")
        return self.samples.astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return (
            f"<Timeline {self.start:.3f} s to {self.end:.3f} s, {self._length:,} samples, "
            f"{self.dtype}, fill={self._fill!r}>"
        )

    def _whole(self) -> tuple[Array, Mask]:
        if self._length > LONGEST:
            raise InvalidArgument(
                "span",
                (self.start, self.end),
                "a call of days at most: give timeline() the span of the call, or use blocks()",
            )
        return self._read(0, self._length)

    def _read(self, low: int, high: int) -> tuple[Array, Mask]:
        samples = self.take(low, high, np.zeros(high - low, self._audio.dtype))
        real = self.heard(low, high)
        first = int(np.searchsorted(self._placed.reached, low, "right"))
        if self._fill == "hold":
            self._hold(samples, real, low, first)
        if self.dtype == self._audio.dtype:
            return samples, real
        floats = samples.astype(np.float32)
        if samples.dtype == SAMPLE_DTYPE:
            floats /= FULL_SCALE
        floats[~real] = np.nan if isinstance(self._fill, str) else self._fill
        return floats, real

    def _copies(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """Return what is to be copied, in order: begin, end on the axis, first in the capture."""
        if first >= last:
            return []
        placed = self._placed
        at, offset = placed.at[first:last], placed.offsets[placed.arrival[first:last]]
        ends = at + placed.samples[first:last]
        if (ends[:-1] <= at[1:]).all():  # nothing overlaps: whole runs at once
            heads = np.flatnonzero((ends[:-1] != at[1:]) | (np.diff(offset - at) != 0)) + 1
            heads = np.concatenate([[0], heads])
            tails = np.append(heads[1:], len(at)) - 1
        else:  # what came first is written last, and so stays
            heads = tails = np.argsort(-placed.arrival[first:last], kind="stable")
        return list(
            zip(at[heads].tolist(), ends[tails].tolist(), offset[heads].tolist(), strict=True)
        )

    def _resampled(self, low: int, high: int, samples: Array) -> None:
        """Write samples of the media clock's rate, made of those that were received."""
        placed = self._placed
        assert placed.exact is not None
        first = int(np.searchsorted(placed.reached, low, "right"))
        last = int(np.searchsorted(placed.at, high, "left"))
        if first >= last:
            return
        some = np.arange(max(first - _BESIDE, 0), min(last + _BESIDE, len(placed.at)))
        # what came again is not heard, and stands between packets that follow one another
        again = (np.abs(np.diff(placed.exact[some], axis=0)) < _SAME).all(axis=1)
        some = some[~np.append(False, again & (np.diff(placed.arrival[some]) > 0))]
        first, last = np.searchsorted(some, [first, last]).tolist()
        begins, ends = placed.exact[some].T
        # packets that follow one another are resampled together; what came first is written last
        if first >= last:
            return
        apart = np.flatnonzero(np.abs(begins[first + 1 : last] - ends[first : last - 1]) > 0.5)
        heads = [first, *(apart + 1 + first).tolist()]
        for head, tail in sorted(
            zip(heads, [*heads[1:], last], strict=True),
            key=lambda run: -int(placed.arrival[some[run[0]]]),
        ):
            begin = max(int(placed.at[some[head]]), low)
            end = min(int(placed.at[some[tail - 1]] + placed.samples[some[tail - 1]]), high)
            if begin >= end:
                continue
            # one packet more on either side, if it follows: its samples are needed, too
            head -= int(head > 0 and abs(begins[head] - ends[head - 1]) <= 0.5)
            tail += int(tail < len(begins) and abs(begins[tail] - ends[tail - 1]) <= 0.5)
            offset = placed.offsets[placed.arrival[some[head:tail]]]
            edges = np.concatenate([[0], np.cumsum(placed.counts[some[head:tail]])])
            audio = np.zeros(int(edges[-1]) + 2 * SIDE + 2)
            for at, (left, right) in zip(offset.tolist(), pairwise(edges.tolist()), strict=True):
                audio[SIDE + left : SIDE + right] = self._audio[at : at + right - left]
            knots = np.append(begins[head:tail], ends[tail - 1])
            found = interpolated(audio, np.interp(np.arange(begin, end), knots, edges), -SIDE)
            if samples.dtype == SAMPLE_DTYPE:
                found = np.clip(np.rint(found), -FULL_SCALE, FULL_SCALE - 1)
            samples[begin - low : end - low] = found

    def _hold(self, samples: Array, real: Mask, low: int, first: int) -> None:
        """Repeat the last real sample until the next."""
        if real.all():
            return
        last = np.where(real, np.arange(len(real)), -1)
        np.maximum.accumulate(last, out=last)
        before = 0
        if first and last[0] < 0:
            edge = int(self._placed.reached[first - 1])
            before = int(self._read(edge - 1, edge)[0][0]) if edge > 0 else 0
        samples[:] = np.where(last < 0, before, samples[last])


def covered(
    starts: npt.NDArray[Number], ends: npt.NDArray[Number], edges: npt.NDArray[Number]
) -> npt.NDArray[Number]:
    """Return how much of spans, in order and apart, lies before each of `edges`."""
    whole = np.concatenate([[0], np.cumsum(ends - starts)])
    last = np.searchsorted(starts, edges, "right")
    beyond = np.append(ends, 0)[last - 1] - edges  # of the span that begins before
    before: npt.NDArray[Number] = whole[last] - np.where(last > 0, np.maximum(beyond, 0), 0)
    return before


def _within(begin: int, end: int, offset: int, low: int, high: int) -> tuple[int, int, int]:
    """Cut a copy to what lies between `low` and `high`; nothing where it lies outside."""
    cut = max(low - begin, 0)
    begin = min(begin + cut, high)
    return begin, max(min(end, high), begin), offset + cut
