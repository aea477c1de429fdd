"""Read any stretch of a capture as columns, from ten seconds to a day, at once.

A pyramid holds the columns of the whole capture at half a second, and each four of them as one,
again and again. A picture takes the level that is just fine enough; what is finer than half a
second is made from the samples, which takes milliseconds. Making it costs one pass over the
audio; it is kept beside the capture, made anew when that has changed, and never needed.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.sound.frames import Frames, Spectra, on_all_cores, window_of
from recall_lab.analysis.sound.levels import measure
from recall_lab.analysis.time.analysis import Analysis
from recall_lab.analysis.time.timeline import as_timeline, known_of
from recall_lab.arguments import whole
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.store.files import replace_file
from recall_lab.wire.pcm import RATE

Floats = npt.NDArray[np.float32]

SUFFIX: Final = ".overview.npz"
"""Of the file beside the capture."""

LENGTH: Final = 400
"""Samples of a frame: 25 ms."""

HOP: Final = 250
"""Samples from one frame to the next, at most: no click falls between two windows."""

BINS: Final = LENGTH // 2 + 1
"""Frequencies of a column: 0 to 8 kHz in steps of 40 Hz."""

WIDTH: Final = RATE // 2
"""Samples of the narrowest columns that are kept."""

MOST_COLUMNS: Final = 20_000
"""Columns of a view."""

_LEVELS_OF_CODES: Final[Floats] = np.append(np.nan, np.arange(1, 256) / 2 - 127.5).astype(
    np.float32
)
_WORTH = 1_200  # columns, ten minutes: fewer are made in less time than a file is worth
_FOUR = 4  # columns that are one on the next level
_VERSION = 2
_PIECE = 1 << 12  # columns joined at once
_EPSILON = np.float32(1e-20)  # of power: far below the lowest code


@dataclass(frozen=True, eq=False)
class Columns:
    """What was heard in each of many equal spans, one after another.

    Attributes:
        start: where the first begins on the relative clock, s.
        width: of each, s.
        low, high: the lowest and the highest sample, full scale 1; NaN where there is none;
            float32, shape ``(columns,)``.
        square: mean square of the samples, likewise.
        missing: share that was not received, or lies beyond the ends, 0 to 1, likewise.
        codes: mean power over frequency, uint8, shape ``(columns, bins)``: 0 for nothing, else
            twice the level in dBFS (sine = 0) plus 255, -127 dBFS at least.
    """

    start: float
    width: float
    low: Floats
    high: Floats
    square: Floats
    missing: Floats
    codes: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.low)

    @property
    def end(self) -> float:
        """Where the last ends, s."""
        return self.start + len(self) * self.width

    @property
    def levels(self) -> Floats:
        """Levels in dBFS, float32, shape ``(bins, columns)``; NaN where there is nothing."""
        levels: Floats = _LEVELS_OF_CODES[self.codes].T
        return levels

    @property
    def rms(self) -> Floats:
        """Level of the samples, dBFS with 0 for a sine; -inf for silence, NaN for nothing."""
        with np.errstate(divide="ignore"):
            level: Floats = 10 * np.log10(2 * self.square)
        return level


@dataclass(frozen=True, eq=False)
class Pyramid:
    """A capture's columns, level by level. Made by :func:`pyramid`.

    Attributes:
        line: the samples on the true time axis.
        levels: from half a second a column up, four times as wide each.
    """

    line: Timeline
    levels: tuple[Columns, ...]

    def view(self, start: float, end: float, columns: int) -> Columns:
        """Return a stretch in about as many columns as asked: as many at least, where there are
        samples for it, and never three times as many.

        Args:
            start, end: s on the relative clock; what lies beyond the capture is missing.
            columns: how many, 1 to 20,000.

        Raises:
            InvalidArgument: for a span or number that can't be.
        """
        if not (np.isfinite([start, end]).all() and start < end and end - start < 1e8):
            raise InvalidArgument("start, end", (start, end), "two times in s, the first one first")
        whole("columns", columns, 1, MOST_COLUMNS)
        wanted = (end - start) / columns
        found = [level for level in self.levels if level.width <= wanted]
        if not found:
            return self._made(start, end, wanted)
        level = found[-1]
        first = int((start - level.start) // level.width)
        last = int(-(-(end - level.start) // level.width))
        return _joined(level, first, last, max(1, int(wanted / level.width)))

    def _made(self, start: float, end: float, wanted: float) -> Columns:
        """Make columns from the samples."""
        frames = max(1, -(-int(wanted * RATE) // HOP))
        width = max(1, int(wanted * RATE) // frames) * frames
        first = int((start - self.line.start) * RATE // width)
        last = int(-(-(end - self.line.start) * RATE // width))
        return columns_of(self.line, first * width, width, last - first)


def pyramid(source: Any, *, keep: bool = True) -> Pyramid:
    """Return the columns of a capture at every scale.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        keep: one of more than ten minutes in a file beside the capture, so that the next time it
            costs next to nothing. A folder that can't be written to is no error.

    Raises:
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> pyramid(np.zeros(160_000, np.int16)).view(0.0, 10.0, 100).levels.shape
        (201, 100)
    """
    known = known_of(source)
    capture = known.capture if isinstance(known, Analysis) else None
    line = as_timeline(known)
    path = _path_of(capture)
    key = _key(capture, line)
    levels = None if path is None else _read(path, key)
    if levels is None:
        levels = _levels(columns_of(line, 0, WIDTH, -(-len(line) // WIDTH)))
        if path is not None and keep and len(levels[0]) >= _WORTH:
            with contextlib.suppress(OSError):
                _write(path, key, levels)
    return Pyramid(line, levels)


def columns_of(line: Timeline, first: int, width: int, count: int) -> Columns:
    """Make columns from samples, in one pass and constant memory.

    Args:
        line: the samples.
        first: sample at which the first column begins; may lie before the line.
        width: samples of a column; frames fill it evenly, so the best have many divisors.
        count: how many.
    """
    each = next(n for n in range(-(-width // HOP), width + 1) if width % n == 0)
    hop = width // each
    window = window_of("hann", LENGTH)
    # a frame counts in the column that its middle lies in
    frames = Frames(window, hop, LENGTH, first + (hop - LENGTH) // 2, count * each)
    codes = np.zeros((count, BINS), np.uint8)
    per = max(1, frames.block // each)

    def work(some: range) -> None:
        spectra = Spectra(line, frames, relative=True)
        total = np.empty((per, BINS), np.float32)
        for column in some:
            last = min(column + per, count)
            _sum_up(spectra, frames, line, each, (column, last), total[: last - column])
            codes[column:last] = _coded(total[: last - column])

    on_all_cores(work, count, per)
    edges = first + np.arange(count + 1, dtype=np.int64) * width
    inside = edges.clip(0, len(line))
    some = np.flatnonzero(np.diff(inside))
    low, high, square = (np.full(count, np.nan, np.float32) for _ in range(3))
    heard = np.zeros(count)
    if len(some):
        span = slice(int(some[0]), int(some[-1]) + 1)
        found = measure(line, inside[span.start : span.stop + 1], runs=False)
        heard[span], low[span], high[span] = found.heard, found.low, found.high
        with np.errstate(invalid="ignore"):
            square[span] = found.squares / found.heard
    codes[heard == 0] = 0
    missing = (1 - heard / width).astype(np.float32)
    return Columns(line.start + first / RATE, width / RATE, low, high, square, missing, codes)


def _sum_up(
    spectra: Spectra,
    frames: Frames,
    line: Timeline,
    each: int,
    span: tuple[int, int],
    total: Floats,
) -> None:
    """Put the mean power of each column's whole frames into `total`; NaN where there is none."""
    first, last = span
    for begin in range(first, last, max(1, frames.block // each)):
        end = min(begin + max(1, frames.block // each), last)
        power = spectra.power(begin * each, end * each)
        lost = frames.missing(line, begin * each, end * each)
        starts = frames.first + np.arange(begin * each, end * each) * frames.hop
        lost[(starts < 0) | (starts > len(line) - LENGTH)] = 1
        by_column = power.reshape(end - begin, each, -1)
        out = total[begin - first : end - first]
        by_column.mean(axis=1, out=out)
        if lost.any():  # the edges of a hole would make a click
            whole = (lost == 0).reshape(end - begin, each)
            for at in np.flatnonzero(~whole.all(axis=1)):
                some = by_column[at][whole[at]]
                out[at] = some.mean(axis=0) if len(some) else np.nan


def _coded(power: Floats) -> npt.NDArray[np.uint8]:
    """Return power relative to a full-scale sine as codes."""
    with np.errstate(invalid="ignore"):
        codes = np.rint(20 * np.log10(power + _EPSILON) + 255).clip(1, 255)
    codes[np.isnan(codes)] = 0
    coded: npt.NDArray[np.uint8] = codes.astype(np.uint8)
    return coded


def _cut(level: Columns, first: int, last: int) -> Columns:
    """Return columns `first` to `last` of a level; those beyond its ends are missing."""
    low, high = min(max(first, 0), len(level)), min(max(last, 0), len(level))
    before, after = min(max(-first, 0), last - first), max(last - max(first, len(level)), 0)

    def padded(values: Floats, fill: float) -> Floats:
        shape = ((before, after), *([(0, 0)] * (values.ndim - 1)))
        return np.pad(values[low:high], shape, constant_values=fill)

    return Columns(
        start=level.start + first * level.width,
        width=level.width,
        low=padded(level.low, np.nan),
        high=padded(level.high, np.nan),
        square=padded(level.square, np.nan),
        missing=padded(level.missing, 1.0),
        codes=padded(level.codes, 0),  # type: ignore[arg-type]
    )


def _joined(level: Columns, first: int, last: int, by: int) -> Columns:
    """Return columns `first` to `last` of a level, each `by` of them as one."""
    columns = _cut(level, first, first + -(-(last - first) // by) * by)
    if by == 1:
        return columns
    count = len(columns) // by
    heard = (1 - columns.missing).reshape(count, by)
    total = heard.sum(axis=1)
    power: Floats = np.power(10, _LEVELS_OF_CODES / 10, dtype=np.float32)
    power[0] = 0
    there = (columns.codes[:, 0] > 0).reshape(count, by).sum(axis=1)  # all bins, or none
    codes = np.empty((count, BINS), np.uint8)
    for at in range(0, count, _PIECE):
        piece = columns.codes[at * by : (at + _PIECE) * by]
        summed = power[piece].reshape(-1, by, BINS).sum(axis=1)
        codes[at : at + _PIECE] = _coded(_ratio(summed, there[at : at + _PIECE, None]))
    square = (np.nan_to_num(columns.square).reshape(count, by) * heard).sum(axis=1)
    return Columns(
        start=columns.start,
        width=columns.width * by,
        low=np.fmin.reduce(columns.low.reshape(count, by), axis=1),
        high=np.fmax.reduce(columns.high.reshape(count, by), axis=1),
        square=_ratio(square, total),
        missing=(1 - total / by).clip(0, 1).astype(np.float32),
        codes=codes,
    )


def _ratio(total: Floats, count: npt.NDArray[Any]) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = np.where(count > 0, total / count, np.float32(np.nan)).astype(np.float32)
    return ratio


def _levels(base: Columns) -> tuple[Columns, ...]:
    levels = [base]
    while len(levels[-1]) > _FOUR:
        levels.append(_joined(levels[-1], 0, len(levels[-1]), _FOUR))
    return tuple(levels)


def _path_of(capture: Capture | None) -> Path | None:
    if capture is None or capture.path is None:
        return None
    return capture.path.with_suffix(SUFFIX)


def _key(capture: Capture | None, line: Timeline) -> npt.NDArray[np.int64]:
    """Return what a pyramid was made of: the files' sizes and times, and the axis."""
    if capture is None or capture.path is None:
        return np.empty(0, np.int64)
    stats: list[int] = []
    for path in (capture.path, capture.path.with_suffix(".idx")):
        with contextlib.suppress(OSError):
            found = path.stat()
            stats += [found.st_size, found.st_mtime_ns]
    facts = [len(capture.audio), len(capture.packets), len(line), round(line.start * 1e9)]
    return np.array([_VERSION, WIDTH, *facts, *stats], np.int64)


_ARRAYS: Final = ("low", "high", "square", "missing", "codes")


def _write(path: Path, key: npt.NDArray[np.int64], levels: tuple[Columns, ...]) -> None:
    file = io.BytesIO()
    arrays = {
        f"{name}{at}": getattr(level, name) for at, level in enumerate(levels) for name in _ARRAYS
    }
    np.savez(file, key=key, **arrays)
    replace_file(path, file.getvalue())


def _most_bytes(columns: int) -> int:
    """Return what a pyramid takes at most: a level and a third of it above, and headers."""
    return 2 * columns * (BINS + 16) + 100_000


def _read(path: Path, key: npt.NDArray[np.int64]) -> tuple[Columns, ...] | None:
    """Return what was kept, if it is of the same capture; a file that can't be read is none."""
    count, width = -(-int(key[4]) // WIDTH), WIDTH / RATE
    levels: list[Columns] = []
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            # as much as it can be, or a forged one would take all memory
            if sum(member.file_size for member in archive.infolist()) > _most_bytes(count):
                return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if not np.array_equal(kept["key"], key):
                return None
            while not levels or len(levels[-1]) > _FOUR:
                arrays = [kept[f"{name}{len(levels)}"] for name in _ARRAYS]
                floats = all(a.shape == (count,) and a.dtype == np.float32 for a in arrays[:4])
                if not floats or arrays[4].shape != (count, BINS) or arrays[4].dtype != np.uint8:
                    return None
                levels.append(Columns(float(key[5]) / 1e9, width, *arrays))
                count, width = -(-count // _FOUR), width * _FOUR
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return tuple(levels)
