"""The samples on the true time axis, gaps and all: the cure for a recording that plays too fast.

A plain ``.bin`` holds what arrived, one packet after another: every gap is squeezed out. Here
each packet stands where its relative time says. Packets that follow one another are counted on
from a common start, so that rounded stamps leave no cracks between them; the start is the middle
of what their stamps allow. Where stamps drift away from the count by more than the tolerance,
a new start is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.clocks import timed
from recall_lab.analysis.gaps import Line, line_up, seconds_pair
from recall_lab.capture.capture import Capture
from recall_lab.capture.reader import release
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE

FILLS: Final = ("silence", "nan", "hold")
"""What can be put where there is no audio, beside a number."""

Array = npt.NDArray[np.int16] | npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

_WHOLE: Final = 2**33  # samples, six days: more is no call, but a clock gone wrong
_PART: Final = 4_096  # packets looked at together for a new start


class _Placed(NamedTuple):
    """Packets with audio by where they stand.

    Attributes:
        at: first sample of each on the axis, rising.
        samples: how many.
        offset: first sample of each in the capture.
        arrival: which came first, second, ...
        reached: how far the audio up to each reaches.
    """

    at: Positions
    samples: Positions
    offset: Positions
    arrival: Positions
    reached: Positions


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
        self, capture: Capture, placed: _Placed, span: tuple[float, int], fill: float | str
    ):
        self._audio = capture.samples
        self._placed = placed
        self._fill = fill
        self.start, self._length = span
        self.end = self.start + self._length / RATE
        floats = fill == "nan" or not isinstance(fill, str)
        self.dtype = np.dtype(np.float32) if floats else SAMPLE_DTYPE

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

    def read(self, start: float | None = None, end: float | None = None) -> tuple[Array, Mask]:
        """Return samples and what of them is real for a span of the relative clock, s."""
        low, high = (
            default if time is None else round((time - self.start) * RATE)
            for time, default in ((start, 0), (end, self._length))
        )
        low = min(max(low, 0), self._length)
        return self._read(low, min(max(high, low), self._length))

    def blocks(self, seconds: float = 60.0) -> Iterator[tuple[Array, Mask]]:
        """Yield samples and what of them is real, from the start to the end, in bounded memory.

        Args:
            seconds: length of a block; the last may be shorter.
        """
        if not isinstance(seconds, int | float) or not 1 / RATE <= seconds <= _WHOLE / RATE:
            raise InvalidArgument("seconds", seconds, "a positive number of seconds")
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
        if self._length > _WHOLE:
            raise InvalidArgument(
                "span",
                (self.start, self.end),
                "a call of days at most: give timeline() the span of the call, or use blocks()",
            )
        return self._read(0, self._length)

    def _read(self, low: int, high: int) -> tuple[Array, Mask]:
        samples = np.zeros(high - low, SAMPLE_DTYPE)
        real = np.zeros(high - low, bool)
        first = int(np.searchsorted(self._placed.reached, low, "right"))
        last = int(np.searchsorted(self._placed.at, high, "left"))
        for begin, end, offset in self._copies(first, last):
            cut = max(low - begin, 0)
            begin, end, offset = begin + cut, min(end, high), offset + cut
            if begin < end:
                samples[begin - low : end - low] = self._audio[offset : offset + end - begin]
                real[begin - low : end - low] = True
        if self._fill == "hold":
            self._hold(samples, real, low, first)
        if self.dtype == SAMPLE_DTYPE:
            return samples, real
        floats = samples.astype(np.float32)
        floats /= FULL_SCALE
        floats[~real] = np.nan if isinstance(self._fill, str) else self._fill
        return floats, real

    def _copies(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """Return what is to be copied, in order: begin, end on the axis, first in the capture."""
        if first >= last:
            return []
        placed = self._placed
        at, offset = placed.at[first:last], placed.offset[first:last]
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

    def _hold(self, samples: npt.NDArray[np.int16], real: Mask, low: int, first: int) -> None:
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


def timeline(
    capture: Capture,
    fill: str | float = "silence",
    *,
    span: tuple[float, float] | None = None,
    tolerance: float | None = None,
) -> Timeline:
    """Put the samples on the true time axis.

    Where packets overlap, the one that arrived first is heard.

    Args:
        capture: live or loaded; its audio is read when the timeline is.
        fill: what stands where there is no audio: ``"silence"``, zeros; ``"hold"``, the last
            sample before; ``"nan"`` or a number, for which samples are float32 with full scale 1.
        span: beginning and end of the axis, s on the relative clock; by default the first and
            the last instant of the capture.
        tolerance: as for :func:`recall_lab.gaps`.

    Raises:
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        InvalidArgument: for a fill, span or tolerance that can't be.

    Example:
        >>> line = timeline(rl.load("data/standup-lossy.bin"))  # doctest: +SKIP
        >>> len(line), line.real.mean()  # doctest: +SKIP
        (192000, 0.92)
        >>> for samples, real in line.blocks(60):  # doctest: +SKIP
        ...     file.write(samples)
    """
    numeric = isinstance(fill, int | float) and bool(np.isfinite(fill))
    if not numeric and fill not in FILLS:
        raise InvalidArgument("fill", fill, "'silence', 'hold', 'nan' or a finite number")
    span = seconds_pair(span)
    packets = timed(capture)
    line = line_up(packets, tolerance)
    relative = packets["relative"].to_numpy()
    start = span[0] if span else float(relative.min(initial=np.inf)) if len(relative) else 0.0
    placed = _place(packets, line, start)
    if span:
        length = round((span[1] - span[0]) * RATE)
    else:
        latest = round((float(relative.max()) - start) * RATE) if len(relative) else 0
        length = max(latest, int(placed.reached[-1]) if len(placed.reached) else 0)
    return Timeline(capture, placed, (start, length), fill)


def segments(capture: Capture, tolerance: float | None = None) -> pd.DataFrame:
    """Return the contiguous spans of audio: what lies between gaps.

    Args:
        capture: live or loaded.
        tolerance: as for :func:`recall_lab.gaps`.

    Returns:
        One row a span: ``start``, ``end``, ``duration`` (float64, s on the relative clock,
        half-open), ``packets`` (int64), ``first`` and ``last`` (int64, packets in order of media
        time), ``absolute`` (datetime64[ns, UTC], its start).

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> segments(rl.load("data/standup-lossy.bin"))["duration"].max()  # doctest: +SKIP
    """
    packets = timed(capture)
    line = line_up(packets, tolerance)
    size = len(line.starts)
    breaks = np.flatnonzero(line.starts[1:] - line.reached[:-1] > line.tolerance) + 1
    heads = np.concatenate([[0], breaks]) if size else breaks
    tails = np.append(breaks, size) - 1 if size else breaks
    start, end = line.starts[heads], line.reached[tails]
    rows = line.row(heads)
    return pd.DataFrame(
        {
            "start": start,
            "end": end,
            "duration": end - start,
            "packets": tails - heads + 1,
            "first": packets.index.to_numpy()[rows],
            "last": packets.index.to_numpy()[line.row(tails)],
            "absolute": packets["absolute"].array[rows],
        }
    )


def _place(packets: pd.DataFrame, line: Line, start: float) -> _Placed:
    """Say where each packet stands, in samples from `start`."""
    counts = line.samples.astype(np.int64)
    rows = np.arange(len(counts)) if line.rows is None else line.rows
    counted = np.cumsum(counts) - counts
    exact = (line.starts - start) * RATE
    exact -= counted  # what is left is where a packet's run begins
    bound = 2 * line.tolerance * RATE
    heads = np.flatnonzero(np.abs(np.diff(exact)) > line.tolerance * RATE) + 1
    heads = np.concatenate([[0], heads]) if len(counts) else heads
    high, low = (
        f.reduceat(exact, heads) if len(heads) else exact for f in (np.maximum, np.minimum)
    )
    if (high - low > bound).any():
        tails = np.append(heads[1:], len(counts))
        heads = np.concatenate(
            [
                _starts(exact[a:b], bound) + a if wide else np.array([a])
                for a, b, wide in zip(heads, tails, high - low > bound, strict=True)
            ]
        )
        high, low = np.maximum.reduceat(exact, heads), np.minimum.reduceat(exact, heads)
    begins = np.rint((high + low) / 2).astype(np.int64)
    at = counted + np.repeat(begins, np.diff(heads, append=len(counts)))
    offset = packets["offset"].to_numpy()[rows]
    if not (at[1:] >= at[:-1]).all():
        order = np.argsort(at, kind="stable")
        at, counts, offset, rows = at[order], counts[order], offset[order], rows[order]
    return _Placed(at, counts, offset, rows, np.maximum.accumulate(at + counts))


def _starts(values: npt.NDArray[np.float64], bound: float) -> Positions:
    """Cut `values` into pieces that spread by `bound` at most; return where each begins."""
    begins = [0]
    low = high = values[0]
    for part in range(0, len(values), _PART):
        at, stop = part, min(part + _PART, len(values))
        while at < stop:
            highs = np.maximum(np.maximum.accumulate(values[at:stop]), high)
            lows = np.minimum(np.minimum.accumulate(values[at:stop]), low)
            wide = highs - lows > bound
            if not wide.any():
                low, high = lows[-1], highs[-1]
                break
            at += int(np.argmax(wide))
            begins.append(at)
            low = high = values[at]
    return np.array(begins)
