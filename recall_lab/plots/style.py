"""What all plots share: colours, axes of time and of frequency, PNGs."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator
from PIL import Image

from recall_lab.analysis.sound.spectrum import hertz_of, mel_of
from recall_lab.arguments import number
from recall_lab.errors import InvalidArgument
from recall_lab.plots.fonts import families, legible
from recall_lab.text import shortened
from recall_lab.wire.pcm import RATE

# the palette of Okabe and Ito (2008)
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
GREY: Final = "#999999"
PALE: Final = "#C4D3DC"
WINE: Final = "#AA3377"  # of Tol's bright scheme: kin to PURPLE, and seen on white and on black


DARK: Final[dict[Any, str]] = {
    "figure.facecolor": "#16191d", "axes.facecolor": "#16191d", "savefig.facecolor": "#16191d",
    "text.color": "#e6e6e6", "axes.labelcolor": "#e6e6e6", "axes.edgecolor": "#9aa0a6",
    "xtick.color": "#c8ccd0", "ytick.color": "#c8ccd0", "grid.color": "#9aa0a6",
}  # fmt: skip
LIGHT: Final[dict[Any, str]] = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
    "text.color": "black", "axes.labelcolor": "black", "axes.edgecolor": "black",
    "xtick.color": "black", "ytick.color": "black", "grid.color": "#b0b0b0",
}  # fmt: skip
"""Settings for pictures on dark and on light pages."""


def png_of(figure: Figure, dpi: int) -> bytes:
    """Return a picture as a PNG of 256 colours: a third of the size.

    An octree keeps the rare colours, as of a short gap, which a median cut would mix away.
    """
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()  # type: ignore[no-untyped-call]
    small = io.BytesIO()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    image = drawn.quantize(256, Image.Quantize.FASTOCTREE)
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def ink() -> str:
    """Return the colour of text: black on white, or what the reader's dark style has."""
    return str(rcParams["text.color"])


def title(ax: Axes, text: str) -> None:
    """Set a title on the left. Names come from the network: never read them as mathematics."""
    shown = legible(shortened(text, 100))
    ax.set_title(shown, loc="left", parse_math=False, fontfamily=families(shown))


def time_axis(ax: Axes, start: float, end: float, clock: str = "relative") -> None:
    """Label the x axis as relative time: seconds, minutes or hours as fits the span.

    Or as times of day where the clock is ``"absolute"`` and times are seconds since 1970 UTC.
    """
    span = end - start
    ax.set_xlim(start, end if end > start else start + 1)
    if span >= 7200:
        ax.set_xlabel("relative time (h:min)")
        ax.xaxis.set_major_formatter(FuncFormatter(_hours))
        ax.set_xticks(_ticks(start, end, (600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)))
    elif span >= 60:
        ax.set_xlabel("relative time (min:s)")
        ax.xaxis.set_major_formatter(FuncFormatter(_minutes))
        ax.set_xticks(_ticks(start, end, (5, 10, 15, 30, 60, 120, 300, 600, 900)))
    else:
        ax.set_xlabel("relative time (s)")
        ax.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    if clock == "absolute":
        _wall_clock(ax, start, end)


SCALES: Final = ("linear", "mel", "log")
"""How frequency can be laid out."""

LOWEST: Final = 50.0
"""Hz: where a logarithmic axis of frequency begins."""


def frequency_axis(
    ax: Axes, scale: str, fmin: float | None = None, fmax: float | None = None
) -> None:
    """Make the y axis one of frequency in Hz, ``"linear"``, ``"mel"`` (Slaney's) or ``"log"``.

    It shows `fmin` to `fmax`, Hz: by default 0 (50 on a logarithmic axis) to 8,000.

    Raises:
        InvalidArgument: for another scale, or limits that are not within 0 to 8,000 Hz.
    """
    if scale not in SCALES:
        raise InvalidArgument("frequency", scale, "'linear', 'mel' or 'log'")
    lowest = LOWEST if scale == "log" else 0.0
    low, high = lowest if fmin is None else fmin, RATE / 2 if fmax is None else fmax
    for name, value in (("fmin", low), ("fmax", high)):
        number(name, value, lowest, RATE / 2, "a frequency in Hz")
    if not low < high:
        raise InvalidArgument("fmin, fmax", (fmin, fmax), "two frequencies, the lower first")
    if scale == "mel":
        ax.set_yscale("function", functions=(mel_of, hertz_of))
    else:
        ax.set_yscale(scale)
    ax.yaxis.set_major_locator(
        {"linear": MaxNLocator(5), "mel": _Octaves(500), "log": _Octaves(62.5)}[scale]
    )
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda hertz, _: f"{hertz:g}"))
    ax.set_ylim(low, high)
    ax.set_ylabel("frequency (Hz)")


class _Octaves(Locator):
    """Ticks at octaves from `first` Hz on; evenly spaced where fewer than three are in view."""

    def __init__(self, first: float) -> None:
        self._octaves = [0.0, *(1000 * 2.0**n for n in range(-4, 4) if 1000 * 2.0**n >= first)]

    def __call__(self) -> list[float]:
        return self.tick_values(*sorted(self.axis.get_view_interval()))  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks between two frequencies, Hz."""
        seen = [hertz for hertz in self._octaves if vmin <= hertz <= vmax]
        return seen if len(seen) > 2 else list(MaxNLocator(5).tick_values(vmin, vmax))


_ROUND: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600,
    7200, 10_800, 21_600,
)  # fmt: skip


def _room(ax: Axes, letters: int) -> int:
    """Return how many labels of so many letters stand beside each other under an axes."""
    size = 0.62 * float(FontProperties(size=rcParams["xtick.labelsize"]).get_size_in_points())
    inches = float(ax.get_window_extent().width) / ax.figure.dpi
    return max(int(0.9 * inches * 72 / (size * (letters + 1.5))), 2)


def _wall_clock(ax: Axes, start: float, end: float) -> None:
    """Label the axis as times of day, UTC."""
    # NumPy's times: a sender's clock may be in any year, and pandas can't name them all
    shown = slice(5) if end - start >= 7200 else slice(8) if end - start >= 10 else slice(12)
    ticks = [tick for tick in ax.get_xticks() if start <= tick <= end]
    most = _room(ax, shown.stop)
    if len(ticks) > most:
        ticks = _ticks(start, end, _ROUND, most)
    days, times = zip(
        *(str(np.datetime64(round(at * 1e3), "ms")).split("T") for at in (start, end, *ticks)),
        strict=True,
    )
    ax.set_xticks(ticks, [time[shown] for time in times[2:]])
    ax.set_xlim(start, end if end > start else start + 1)
    dates = days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}"
    ax.set_xlabel(f"absolute time (UTC), {dates}")


def bars(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], least: float
) -> list[tuple[float, float]]:
    """Return spans as (start, width): none narrower than `least`, those that touch as one."""
    if not len(low):
        return []
    middle, half = (low + high) / 2, np.maximum(high - low, least) / 2
    low, high = middle - half, middle + half
    reached = np.maximum.accumulate(high)
    heads = np.concatenate([[True], low[1:] > reached[:-1]])
    tails = np.append(np.flatnonzero(heads)[1:], len(low)) - 1
    return [(a, b - a) for a, b in zip(low[heads].tolist(), reached[tails].tolist(), strict=True)]


def _ticks(start: float, end: float, steps: tuple[float, ...], most: int = 12) -> list[float]:
    """Return round times, about ten of them, or `most`."""
    step = next((s for s in steps if (end - start) / s <= most), steps[-1])
    while (end - start) / step > most:
        step *= 2
    first = -(-start // step) * step
    return [first + step * at for at in range(int((end - first) // step) + 1)]


def _hours(seconds: float, position: int | None = None) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def _minutes(seconds: float, position: int | None = None) -> str:
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:04.1f}" if rest % 1 else f"{rest:02.0f}"
    return f"{int(minutes)}:{text}"
