"""Measure RMS, peak, DC, clipping and digital silence, window by window.

All in dBFS, of which 0 is a sine of full scale, in RMS as well as in peak (AES17-2020, 3.12).
"""

from __future__ import annotations

import threading
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.axis.axis import Array, Timeline, covered
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration, duration
from recall_lab.capture.capture import Moment
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE

CLIP: Final = 3
"""Samples of full scale in a row that are clipping; one or two may be a peak."""

SILENCE: Final = RATE // 100
"""Zeros in a row that are digital silence: 10 ms. Shorter ones are crossings of a faint wave."""

_MOST_WINDOWS = 10_000_000
_PIECE: Final = 2**16  # samples summed up at once, at most: as float32 they fit the cache
_BATCH: Final = 2**20  # samples worked on together
_RELEASE: Final = 32  # batches between two releases of what was read of the file

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Measures(NamedTuple):
    """Sums over windows of samples, in units of full scale. What was not received is left out.

    Attributes:
        heard: samples received, int64.
        total: their sum.
        squares: sum of their squares.
        low, high: the lowest and the highest of them; NaN where there is none.
        clipped: how many of them are in runs of 3 or more at full scale, int64.
        clips: how many such runs begin in the window, int64.
        silent: how many are in runs of 10 ms or more of zeros, int64.
    """

    heard: Counts
    total: Floats
    squares: Floats
    low: Floats
    high: Floats
    clipped: Counts
    clips: Counts
    silent: Counts


def levels(
    source: Any,
    every: Duration | None = 1.0,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
) -> pd.DataFrame:
    """Measure the level of each window of the true time axis.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        every: length of a window, s; the last may be shorter. None: one window over all.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Returns:
        One row a window; only what was received counts, and where nothing was, values are NaN:
        ``start`` (float64, s on the relative clock), ``rms_dbfs`` (0 for a sine of full scale;
        -inf for zeros), ``peak_dbfs``, ``crest_db`` (peak over RMS: 3.01 for a sine),
        ``dc`` (mean, full scale 1), ``clips`` (int64: runs of 3 or more samples at full scale
        that begin here), ``clipped`` (int64: samples in such runs), ``silence_share`` (0 to 1:
        of what was received, in runs of 10 ms or more of zeros), ``missing_share`` (0 to 1: of
        the window, not received).

    Raises:
        InvalidArgument: for a length or span that can't be.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
        >>> levels(tone / 2)["rms_dbfs"].round(2).tolist()
        [-6.02, -6.02]
    """
    line = as_timeline(source, start, end)
    edges = windows_of(len(line), every)
    return frame_of_levels(line, edges, measure(line, edges))


def frame_of_levels(line: Timeline, edges: Counts, found: Measures) -> pd.DataFrame:
    """Return measures of windows as the frame of :func:`levels`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_square = found.squares / found.heard
        peak = np.maximum(-found.low, found.high)
        rms = 10 * np.log10(2 * mean_square)
        return pd.DataFrame(
            {
                "start": line.start + edges[:-1] / RATE,
                "rms_dbfs": rms,
                "peak_dbfs": 20 * np.log10(peak),
                "crest_db": 20 * np.log10(peak) - 10 * np.log10(mean_square),
                "dc": found.total / found.heard,
                "clips": found.clips,
                "clipped": found.clipped,
                "silence_share": found.silent / found.heard,
                "missing_share": 1 - found.heard / np.diff(edges),
            }
        )


def windows_of(samples: int, every: Duration | None) -> Counts:
    """Return where windows begin and end, in samples."""
    if every is None:
        return np.unique([0, samples])
    size = round(duration("every", every, 1 / RATE, what="None, or seconds") * RATE)
    if samples / size > _MOST_WINDOWS:
        raise InvalidArgument("every", every, f"at most {_MOST_WINDOWS:,} windows in the span")
    return np.append(np.arange(0, samples, size), samples)


def measure(line: Timeline, edges: Counts, *, totals: bool = True, runs: bool = True) -> Measures:
    """Sum up the windows between `edges`, in constant memory.

    Args:
        line: the samples.
        edges: int64, shape ``(windows + 1,)``, samples from the start, rising.
        totals: whether sums and squares are wanted; zeros else.
        runs: whether runs of full scale and of zeros are; zeros else.
    """
    # long windows are summed in pieces, which float32 can do without losing the small
    parts = np.maximum(-(-np.diff(edges) // _PIECE), 1)
    owners = np.repeat(np.arange(len(parts)), parts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(parts) - parts, parts)
    cuts = np.append(edges[:-1][owners] + within * _PIECE, edges[-1:])
    lengths = np.diff(cuts)
    heard = lengths - np.diff(line.missing(cuts))
    sums = _Sums(len(lengths))
    batch = max(1, _BATCH // max(int(lengths.max(initial=1)), 1))
    room = _room("floats", _BATCH, np.dtype(np.float32))
    # in one thread: the calls are so short that two would only wait for each other
    for turn, first in enumerate(range(0, len(lengths), batch), 1):
        last = min(first + batch, len(lengths))
        for begin, end in _together(lengths[first:last], heard[first:last]):
            sums.add(
                line, cuts, slice(first + begin, first + end), heard[first + begin], room, totals
            )
        if runs:
            sums.add_runs(line, cuts, slice(first, last))
        if turn % _RELEASE == 0:
            line.release()
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    if not len(firsts):
        return Measures(heard, *sums)
    return Measures(
        np.add.reduceat(heard, firsts),
        *(fold.reduceat(values, firsts) for fold, values in zip(_FOLDS, sums, strict=True)),
    )


_FOLDS = (np.add, np.add, np.fmin, np.fmax, np.add, np.add, np.add)


class _Sums:
    """What is known of each piece."""

    def __init__(self, pieces: int) -> None:
        self.total, self.squares = np.zeros(pieces), np.zeros(pieces)
        self.low, self.high = np.full(pieces, np.nan), np.full(pieces, np.nan)
        self.clipped, self.clips, self.silent = (np.zeros(pieces, np.int64) for _ in range(3))

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(vars(self).values())

    def add(
        self,
        line: Timeline,
        cuts: Counts,
        pieces: slice,
        heard: int,
        room: npt.NDArray[np.float32],
        totals: bool,
    ) -> None:
        """Sum up pieces of which equally many samples were received."""
        low, high = int(cuts[pieces.start]), int(cuts[pieces.stop])
        count = pieces.stop - pieces.start
        audio = _taken(line, low, high)
        unit = _unit(audio)
        if totals:  # what is missing is zero, and adds nothing
            rows = audio.reshape(count, -1)
            floats = room[: audio.size].reshape(rows.shape)
            np.copyto(floats, rows)
            self.total[pieces] = floats @ np.ones(rows.shape[1], np.float32) * unit
            self.squares[pieces] = np.vecdot(floats, floats) * unit**2
        if len(audio) != count * heard:  # a single piece, put together in memory of our own
            real = line.heard(low, high, _room("heard", high - low, _BOOL))
            some = audio[int(real.argmax())]  # neither lowers the lowest nor raises the highest
            np.copyto(audio, some, where=np.logical_not(real, out=real))
        rows = audio.reshape(count, -1)
        self.low[pieces], self.high[pieces] = rows.min(axis=1) * unit, rows.max(axis=1) * unit

    def add_runs(self, line: Timeline, cuts: Counts, pieces: slice) -> None:
        """Find runs of full scale and of zeros, where there can be any."""
        inside = cuts[pieces.start : pieces.stop + 1]
        # a run of digital silence holds two neighbours of this grid, or it crosses an edge
        grid = _taken(line, int(inside[0]), int(inside[-1]))[:: SILENCE // 2] == 0
        if (grid[1:] & grid[:-1]).any() or grid[:1].any() or grid[-1:].any():
            samples, first = _with_margin(line, inside, SILENCE)
            silent = _room("mask", len(samples), _BOOL)
            starts, ends = _runs(np.equal(samples, 0, out=silent), SILENCE)
            self.silent[pieces] = np.diff(covered(starts, ends, inside - first))
        high, low = self.high[pieces], self.low[pieces]
        if (high >= _TOP).any() or (low <= -1).any():
            samples, first = _with_margin(line, inside, CLIP)
            unit = _unit(samples)
            full = np.greater_equal(samples, _TOP / unit, out=_room("mask", len(samples), _BOOL))
            low_too = _room("low", len(samples), _BOOL)
            full |= np.less_equal(samples, -1 / unit, out=low_too)
            starts, ends = _runs(full, CLIP)
            self.clips[pieces] = np.diff(np.searchsorted(starts, inside - first))
            self.clipped[pieces] = np.diff(covered(starts, ends, inside - first))


def _together(lengths: Counts, heard: Counts) -> list[tuple[int, int]]:
    """Return runs of pieces to be summed up at once: whole and alike, or single ones with holes."""
    whole = heard == lengths
    joins = whole[1:] & whole[:-1] & (lengths[1:] == lengths[:-1])
    breaks = np.flatnonzero(~joins) + 1
    begins, ends = np.concatenate([[0], breaks]), np.append(breaks, len(lengths))
    some = heard[begins] > 0
    return list(zip(begins[some].tolist(), ends[some].tolist(), strict=True))


_BOOL: Final = np.dtype(np.bool_)
_TOP = 1 - 1 / FULL_SCALE  # the highest sample of 16 bits


def _unit(samples: Array) -> float:
    return 1 / FULL_SCALE if samples.dtype == SAMPLE_DTYPE else 1.0


def _with_margin(line: Timeline, inside: Counts, margin: int) -> tuple[Array, int]:
    """Return pieces with some samples around them, and where those begin.

    What was not received is put where it is neither zero nor clipped.
    """
    first = max(int(inside[0]) - margin, 0)
    last = min(int(inside[-1]) + margin, len(line))
    samples = _taken(line, first, last)
    if np.ptp(line.missing([first, last])):  # then they were put together, in memory of our own
        real = line.heard(first, last, _room("heard", last - first, _BOOL))
        np.copyto(
            samples, 0.5 / _unit(samples), where=np.logical_not(real, out=real), casting="unsafe"
        )
    return samples, first


def _runs(mask: npt.NDArray[np.bool_], least: int) -> tuple[Counts, Counts]:
    """Return where runs of `least` or more begin and end."""
    padded = _room("padded", len(mask) + 2, _BOOL)
    padded[0] = padded[-1] = False
    padded[1:-1] = mask
    changed = _room("changed", len(mask) + 1, _BOOL)
    changes = np.flatnonzero(np.not_equal(padded[1:], padded[:-1], out=changed))
    starts, ends = changes[::2], changes[1::2]
    long = ends - starts >= least
    return starts[long], ends[long]


def _taken(line: Timeline, low: int, high: int) -> Array:
    """Return samples, put together in memory that the next call uses again."""
    return line.take(low, high, _room("taken", high - low, line.dtype))


_rooms = threading.local()


def _room(name: str, size: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return memory to work in, the same for each call of a thread.

    Fresh memory of this size costs a page fault every 4 KiB, where malloc is told to give what
    is free back at once, as it is in dask's workers: that doubled the time.
    """
    room: npt.NDArray[Any] | None = getattr(_rooms, name, None)
    if room is None or len(room) < size or room.dtype != dtype:
        room = np.empty(size, dtype)
        setattr(_rooms, name, room)
    return room[:size]
