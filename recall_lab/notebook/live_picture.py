"""Draw the last seconds of a receiver's streams, again every second.

Its frame, with all that is written, is drawn by matplotlib once, and belongs to the thread that
draws it, never to pyplot. What moves is painted into the frame's pixels: a fifth of the work of
drawing all of it. Text is of a grey that reads on white and on black.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from PIL import Image

from recall_lab.analysis.sound.pyramid import BINS, columns_of
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Capture
from recall_lab.plots.sound import RANGE
from recall_lab.plots.style import BLUE, VERMILION
from recall_lab.text import printable
from recall_lab.wire.pcm import RATE

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

STEP: Final = 0.1
"""Seconds of a column, which is a pixel wide."""

COLUMNS: Final = 300
"""Columns shown of each stream."""

SECONDS: Final = STEP * COLUMNS
"""How much of each stream is shown, s."""

_STEP = round(STEP * RATE)
_LATE = 10  # columns made anew for packets that come late
_HEIGHT = 50  # pixels of a strip
_MARK = 5  # pixels of a mark for what is too short
_LEFT, _BETWEEN, _TOP, _FOOT, _GAP = 130, 20, 22, 38, 8  # pixels
_WIDTH = _LEFT + 2 * COLUMNS + _BETWEEN + 16
_DPI = 80
_INK = "#808080"
_SMALLEST = 0.01  # of full scale: quieter waveforms are not blown up further
_ROWS = np.linspace(BINS - 1, 0, _HEIGHT).round().astype(np.intp)
_COLORS: Pixels = mpl.colormaps["magma"](np.arange(256), bytes=True)
_WAVE, _LOST, _LINE, _NONE = (
    np.round(to_rgba_array(color)[0] * 255).astype(np.uint8)
    for color in (BLUE, VERMILION, "#80808060", "#80808020")
)


class Picture:
    """A row for each of some streams: waveform, spectrogram, and what is missing.

    Args:
        names: of the rows.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        height = _TOP + len(names) * (_HEIGHT + _GAP) + _FOOT
        figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="none")
        canvas = FigureCanvasAgg(figure)
        self._tops = [_TOP + at * (_HEIGHT + _GAP) for at in range(len(names))]
        self._lefts = (_LEFT, _LEFT + COLUMNS + _BETWEEN)
        for at, (name, top) in enumerate(zip(names, self._tops, strict=True)):
            for title, left in zip(("waveform", "0 to 8 kHz"), self._lefts, strict=True):
                box = (left / _WIDTH, 1 - (top + _HEIGHT) / height, COLUMNS / _WIDTH)
                ax = figure.add_axes((*box, _HEIGHT / height))
                _label(ax, at == len(names) - 1)
                if at == 0:
                    ax.set_title(title, fontsize=9, color=_INK, loc="left", pad=4)
                if left == _LEFT:
                    ax.set_ylabel(
                        printable(name)[:20], rotation=0, ha="right", va="center", color=_INK,
                        fontsize=9, parse_math=False,
                    )  # fmt: skip
        figure.text(
            (_LEFT + COLUMNS + _BETWEEN / 2) / _WIDTH, 4 / height,
            "seconds before the newest packet of the recording; orange: missing",
            color=_INK, fontsize=8, ha="center", va="bottom",
        )  # fmt: skip
        canvas.draw()  # type: ignore[no-untyped-call]
        self._frame: Pixels = np.array(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        self._strips = [Strip() for _ in names]

    def draw(self, streams: list[tuple[Callable[[float], Capture], float]]) -> bytes:
        """Draw the last seconds of each stream; return a PNG.

        Args:
            streams: for each row, a function that returns the last so many seconds, and when the
                row ends on the relative clock.
        """
        pixels = self._frame.copy()
        for top, strip, (last, end) in zip(self._tops, self._strips, streams, strict=True):
            strip.move(last, math.ceil(end / STEP))
            for left, rows in zip(self._lefts, (strip.wave(), strip.spectrum()), strict=True):
                rows[:, strip.lost > 0.5] = _LOST
                rows[:_MARK, strip.lost > 0] = _LOST  # too short to be drawn otherwise
                pixels[top : top + _HEIGHT, left : left + COLUMNS] = rows
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png", compress_level=1)
        return file.getvalue()


class Strip:
    """The columns of one stream, a tenth of a second each; only those that may change are made.

    Attributes:
        low, high: lowest and highest sample of each, NaN where there is none.
        lost: share of each that is missing, 0 to 1.
        levels: dBFS, shape ``(bins, columns)``, NaN where there is nothing.
    """

    def __init__(self) -> None:
        self.low, self.high = np.full(COLUMNS, np.nan), np.full(COLUMNS, np.nan)
        self.lost, self.levels = np.zeros(COLUMNS), np.full((BINS, COLUMNS), np.nan)
        self._end: int | None = None  # the column after the last
        self._reached = 0  # the column in which the audio ended; what follows was to come

    def move(self, last: Callable[[float], Capture], end: int) -> None:
        """Bring the columns up to date.

        Args:
            last: returns the last so many seconds.
            end: the column after the last one shown, in steps of the relative clock.
        """
        onward = self._end is not None and 0 <= end - self._end < COLUMNS
        shift = end - self._end if onward else COLUMNS  # type: ignore[operator]
        fresh = min(max(shift, end - self._reached) + _LATE, COLUMNS)
        for columns in (self.low, self.high, self.lost, self.levels):
            columns[..., : COLUMNS - shift] = columns[..., shift:]
        self._end = end
        capture = last((fresh + 1) * STEP)
        ahead = _ahead(capture)
        start, reached = (edge - ahead for edge in capture.span)
        # no more than is shown: a stamp gone wrong may lie years away
        low, high = (min(max(edge * STEP, start), reached) for edge in (end - fresh - 1, end))
        line = as_timeline(capture, low + ahead, high + ahead)
        first = round(((end - fresh) * STEP + ahead - line.start) * RATE)
        found = columns_of(line, first, _STEP, fresh)
        self._reached = int(min(reached / STEP, end))
        begins = np.arange(end - fresh, end) * STEP
        between = (begins + STEP > start) & (begins < reached)  # what is to come is not missing
        lost = np.where(between, found.missing, 0.0)
        for columns, new in (
            (self.low, found.low), (self.high, found.high), (self.lost, lost),
            (self.levels, found.levels),
        ):  # fmt: skip
            columns[..., COLUMNS - fresh :] = new

    def wave(self) -> Pixels:
        """Return the pixels of the waveform: as high as its strip, whatever its level."""
        peak = max(float(np.nanmax(np.abs([self.low, self.high]), initial=0.0)), _SMALLEST)
        half = (_HEIGHT - 1) / 2
        rows = np.arange(_HEIGHT)[:, None]
        with np.errstate(invalid="ignore"):  # NaN, where there is nothing, compares false
            above = rows >= np.rint(half - half * self.high / peak)
            wave = above & (rows <= np.rint(half - half * self.low / peak))
        pixels = np.zeros((_HEIGHT, COLUMNS, 4), np.uint8)
        pixels[_HEIGHT // 2] = _LINE
        pixels[wave] = _WAVE
        return pixels

    def spectrum(self) -> Pixels:
        """Return the pixels of the spectrogram, 0 Hz at the bottom."""
        shade = (self.levels[_ROWS] - RANGE[0]) * (255 / (RANGE[1] - RANGE[0]))
        known = ~np.isnan(shade)
        pixels = _COLORS[np.where(known, shade, 0).clip(0, 255).astype(np.uint8)]
        pixels[~known] = _NONE
        return pixels


def _ahead(capture: Capture) -> float:
    """Return by how much the media clock of a part is ahead of its last stamps, s.

    Where ``relative`` begins again within it, those before are on one clock with those after, and
    the picture ends at what the newest stamp says.
    """
    known = np.flatnonzero(np.isfinite(capture.media))
    if not len(known):
        return 0.0
    return float(capture.media[known[-1]] - capture.packets["relative"].iloc[known[-1]])


def _label(ax: Axes, last: bool) -> None:
    ax.set_xlim(-SECONDS, 0)
    ax.set_xticks(np.arange(-SECONDS, 1, 10))
    ax.set_yticks([])
    ax.tick_params(labelbottom=last, bottom=last, colors=_INK, labelsize=8)
    ax.spines[:].set_visible(False)
    ax.patch.set_visible(False)
