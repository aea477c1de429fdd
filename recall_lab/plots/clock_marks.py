"""Mark where the media clock stood, leapt or began again.

Neither is a gap: no audio is missing on the media clock. So they are drawn over what is there,
each in one style in every picture, and the legend says how much it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recall_lab.analysis.time.analysis import Analysis
from recall_lab.plots.clock_map import ClockMap
from recall_lab.plots.style import GREY, bars, ink
from recall_lab.text import counted

_AGAIN: Final = (0, (3, 1.5))
_SET: Final[dict[str, Any]] = {"linewidth": 1.2, "linestyle": ":"}
_LEAST: Final = 1 / 110  # of the width: less would not show the hatching


def unexplained_style() -> dict[str, Any]:
    """Return how time is drawn that both wall clocks tell and the media clock does not."""
    return {"facecolor": GREY, "hatch": "xxxx", "edgecolor": ink(), "linewidth": 0.8}


def draw_unexplained(
    ax: Axes, known: Analysis, axis: ClockMap, band: tuple[float, float], span: tuple[float, float]
) -> float:
    """Draw where the media clock stood; return for how long, s, within the span.

    On the wall clock that is as wide as it lasted, on the relative clock a moment.

    Args:
        ax: where to draw.
        known: whose clocks.
        axis: where times stand.
        band: bottom and height of the bars.
        span: what is shown, on the axis, s.
    """
    stood = known.found.of("unexplained")
    low, high = axis.until(stood.start), axis(stood.start)
    shown = (high >= span[0]) & (low <= span[1])
    if not shown.any():
        return 0.0
    low, high = low[shown], np.maximum(low, high)[shown]
    order = np.argsort(low, kind="stable")
    wide = bars(low[order], high[order], (span[1] - span[0]) * _LEAST)
    ax.broken_barh(wide, band, zorder=3.5, clip_on=True, **unexplained_style())
    return float(stood.duration[shown].sum())


def draw_epochs(
    ax: Axes,
    known: Analysis,
    axis: ClockMap,
    band: tuple[float, float] | None,
    span: tuple[float, float],
) -> int:
    """Draw a line where each epoch but the first begins; return how many of them are shown.

    Args:
        ax: where to draw.
        known: whose epochs.
        axis: where times stand.
        band: top and bottom of the lines; None for all of the axes.
        span: what is shown, on the axis, s.
    """
    if not epochs_begin(known):
        return 0
    at = axis(np.array(epochs_begin(known)))
    at = at[(at >= span[0]) & (at <= span[1])]
    style: dict[str, Any] = {"color": ink(), "linewidth": 1.4, "linestyle": _AGAIN}
    for one in at.tolist():
        if band is None:
            ax.axvline(one, zorder=4, **style)
        else:
            ax.plot([one, one], band, zorder=4, **style)
    return len(at)


def epochs_begin(known: Analysis) -> list[float]:
    """Return when each epoch but the first begins, s on the relative clock."""
    return [float(start) for start in known.epochs["start"].iloc[1:]]


def draw_steps(
    ax: Axes, known: Analysis, axis: ClockMap, band: tuple[float, float], span: tuple[float, float]
) -> int:
    """Draw, on the wall clock, where things go on after it was set; return how often it was.

    Args:
        ax: where to draw.
        known: whose clocks.
        axis: where times stand.
        band: top and bottom of the lines.
        span: what is shown, on the axis, s.
    """
    stood = known.found.of("unexplained").start
    at = axis(np.setdiff1d(axis.begins[1:], stood))
    at = at[(at >= span[0]) & (at <= span[1])]
    for one in at.tolist():
        ax.plot([one, one], band, zorder=4, **_SET, color=ink())
    return len(at)


def draw_through(ax: Axes, known: Analysis, axis: ClockMap, color: str) -> None:
    """Draw a thin line through a lane of sound wherever the media clock did not simply go on."""
    stood = np.unique(known.found.of("unexplained").start)
    for at in axis(stood).tolist():
        ax.axvline(at, color=color, linewidth=1, linestyle=":", zorder=4)
    for at in axis(np.array(epochs_begin(known))).tolist():
        ax.axvline(at, color=color, linewidth=1, linestyle=_AGAIN, zorder=4)


def keys(unexplained: float, epochs: int, steps: int = 0) -> Iterable[Patch | Line2D]:
    """Give what the legend says of them."""
    if unexplained:
        style = unexplained_style()
        label = f"unexplained: {unexplained:.2f} s\n(the media clock stood)"
        yield Patch(label=label, **style)
    if epochs:
        label = f"{counted(epochs, 'new epoch')}\n(relative begins again)"
        yield Line2D([], [], color=ink(), linewidth=1.4, linestyle=_AGAIN, label=label)
    if steps:
        label = f"wall clock set: {counted(steps, 'time')}"
        yield Line2D([], [], color=ink(), **_SET, label=label)
