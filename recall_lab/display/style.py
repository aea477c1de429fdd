"""What all plots share: colours that colour-blind people tell apart, and axes of time."""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recall_lab.text import printable

# the palette of Okabe and Ito (2008)
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
GREY: Final = "#999999"
PALE: Final = "#C4D3DC"


def title(ax: Axes, text: str) -> None:
    """Set a title on the left. Names come from the network: never read them as mathematics."""
    ax.set_title(printable(text), loc="left", parse_math=False)


def time_axis(ax: Axes, start: float, end: float) -> None:
    """Label the x axis as relative time: seconds, minutes or hours as fits the span."""
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


def _ticks(start: float, end: float, steps: tuple[int, ...]) -> list[float]:
    """Return round times, about ten of them."""
    step = next((s for s in steps if (end - start) / s <= 12), steps[-1])
    while (end - start) / step > 12:
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
