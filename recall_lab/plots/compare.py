"""Plot a capture against its recording: how well they fit, and what can be filled."""

from __future__ import annotations

from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from recall_lab.analysis.recording.comparison import Comparison
from recall_lab.errors import InvalidArgument
from recall_lab.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    SKY,
    VERMILION,
    bars,
    ink,
    time_axis,
)
from recall_lab.plots.style import title as set_title
from recall_lab.text import counted

LANES: Final = ("pieces", "lag", "similarity", "level", "gaps")
"""From top to bottom."""

COLORS: Final = {"can be filled": GREEN, "in part": ORANGE, "can't be filled": VERMILION}
"""Colour of a gap, by whether it can be filled from the recording."""

_HEIGHTS = (0.7, 1.3, 1.1, 1.1, 0.5)
_NARROWEST = 1 / 800  # of the width: a gap is never drawn narrower, or it would not be seen
_ROOM = 0.07  # of the width: what an offset needs to be written
_FINE = 0.1  # ms: lags below are better told in microseconds


def plot_compare(
    comparison: Comparison,
    figure: Figure | SubFigure | None = None,
    *,
    title: str | None = None,
) -> dict[str, Axes]:
    """Plot how a capture compares to its recording, one lane below the other.

    The pieces in which one line holds, with how much later they lie in the recording, and what
    is in one of the two only; the lags of windows around those lines, their similarity, by how
    much the capture is louder, and the gaps by whether they can be filled from the recording.

    Args:
        comparison: what :func:`recall_lab.compare` returned.
        figure: where to draw, with constrained layout; a new one by default, 11 by 7 inches.
        title: above the picture; by default the stream, where it lies in the recording, and
            whether the recording is upside down.

    Returns:
        The axes by lane: ``pieces``, ``lag``, ``similarity``, ``level``, ``gaps``.

    Raises:
        InvalidArgument: for what is no comparison.

    Example:
        >>> plot_compare(rl.compare(cap, "audio_mixed.mp3"))  # doctest: +SKIP
    """
    if not isinstance(comparison, Comparison):
        raise InvalidArgument("comparison", type(comparison), "what rl.compare() returned")
    if figure is None:
        figure = plt.figure(figsize=(11, 7), layout="constrained")
    grid = figure.add_gridspec(len(LANES), 1, height_ratios=_HEIGHTS)
    lanes = {name: figure.add_subplot(grid[at]) for at, name in enumerate(LANES)}
    table = comparison.similarity
    times = (table["start"] + table["end"]).to_numpy() / 2
    told = (table["lag"].notna() & (table["piece"] >= 0)).to_numpy()
    pieces = _pieces(lanes["pieces"], comparison)
    _lags(lanes["lag"], comparison, times, told)
    similar = table["similarity"].to_numpy()
    _points(lanes["similarity"], times, similar, told)
    mean = f"mean of all: {comparison.alike:.3f}"
    lanes["similarity"].axhline(comparison.alike, color=ink(), lw=1, label=mean)
    lanes["similarity"].set_ylim(0, 1.05)
    lanes["similarity"].set_ylabel("similarity\n(0 to 1)")
    _levels(lanes["level"], comparison, times, told)
    keys = {"pieces": pieces, "gaps": _gaps(lanes["gaps"], comparison)}
    start, end = comparison.span
    for name, ax in lanes.items():
        time_axis(ax, start, end)
        ax.spines[["top", "right"]].set_visible(False)
        beside: dict[str, Any] = {"loc": "upper left", "frameon": False, "markerscale": 1.6}
        if name in keys:
            ax.legend(handles=keys[name], bbox_to_anchor=(1, 1.3), **beside)
        else:
            ax.legend(bbox_to_anchor=(1, 1.05), **beside)
        if name != LANES[-1]:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    figure.align_ylabels([lanes[name] for name in LANES[1:4]])
    if title is None:
        count = len(comparison.pieces)
        where = f"relative time 0 is at {comparison.offset:+.3f} s of the recording"
        if count > 1:
            share = f"{100 * comparison.share:.0f} %"
            where = f"{share} lie in the recording, in {counted(count, 'piece')}"
        polarity = ", polarity inverted" if comparison.inverted else ""
        title = f"{comparison.stem}: {where}{polarity}"
    set_title(lanes["pieces"], title)
    return lanes


def _points(
    ax: Axes,
    times: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    told: npt.NDArray[np.bool_],
) -> None:
    """Draw windows: those that could tell their lag, and paler the others."""
    size = 7 if len(times) < 100 else 4 if len(times) < 2000 else 2
    there = np.isfinite(values)
    for some, color, label in (
        (there & ~told, SKY, "windows that agree with no line"),
        (there & told, BLUE, "windows"),
    ):
        if some.any():
            ax.plot(
                times[some], values[some], ".", color=color, markersize=size, label=label, zorder=3
            )


def _pieces(ax: Axes, comparison: Comparison) -> list[Patch]:
    """Draw the pieces above one another by where they lie, and what only one of the two has."""
    pieces, alone = comparison.pieces, comparison.unmatched
    start, end = comparison.span
    least = (end - start) * _NARROWEST
    keys = []
    for inverted, color in ((False, BLUE), (True, ORANGE)):
        rows = pieces[pieces["inverted"] == inverted]
        if len(rows):
            spans = bars(rows["start"].to_numpy(), rows["end"].to_numpy(), least)
            ax.broken_barh(spans, (0.45, 0.5), facecolor=color, edgecolor="white", lw=0.8)
            label = f"on one line: {counted(len(rows), 'piece')}"
            keys.append(Patch(facecolor=color, label=label + (", inverted" if inverted else "")))
    columns = (pieces[name].tolist() for name in ("start", "end", "offset"))
    for low, high, offset in zip(*columns, strict=True):
        if high - low > _ROOM * (end - start):
            ax.text(
                (low + high) / 2, 0.69, f"{offset:+.3f} s", color="white", fontsize=8,
                ha="center", va="center", clip_on=True,
            )  # fmt: skip
    only = alone[alone["side"] == "capture"]
    wide = bars(only["start"].to_numpy(), only["end"].to_numpy(), least)
    ax.broken_barh(wide, (0.45, 0.5), facecolor=VERMILION)
    if len(only):
        seconds = only["duration"].sum()
        keys.append(Patch(facecolor=VERMILION, label=f"in the capture only: {seconds:.1f} s"))
    extra = alone[alone["side"] == "recording"]
    if len(extra):
        _extra(ax, comparison, extra)
        seconds = extra["duration"].sum()
        keys.append(Patch(facecolor=GREY, label=f"in the recording only: {seconds:.1f} s"))
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.set_ylabel("pieces\n(offset)", rotation=0, ha="right", va="center")
    ax.spines["left"].set_visible(False)
    return keys


def _extra(ax: Axes, comparison: Comparison, extra: pd.DataFrame) -> None:
    """Mark where the recording has more, as wide as it is, in the middle where it would be."""
    pieces = comparison.pieces
    ends = (pieces["at"] + pieces["rate"] * pieces["end"]).to_numpy()
    begins = (pieces["at"] + pieces["rate"] * pieces["start"]).to_numpy()
    columns = (extra[name].tolist() for name in ("start", "end", "duration"))
    for first, last, duration in zip(*columns, strict=True):
        before = int(np.searchsorted(ends, first + 0.5)) - 1
        if before < 0:  # it ends where the first piece begins
            low = float(pieces["start"].iloc[0]) - float(begins[0] - last) - duration
        else:
            low = float(pieces["end"].iloc[before]) + float(first - ends[before])
        ax.broken_barh([(low, duration)], (0.1, 0.2), facecolor=GREY)


def _lags(
    ax: Axes,
    comparison: Comparison,
    times: npt.NDArray[np.float64],
    told: npt.NDArray[np.bool_],
) -> None:
    """Draw the lags around the lines."""
    lags = comparison.similarity["lag"].to_numpy() * 1e3
    usual = float(np.percentile(np.abs(lags[told]), 98))
    unit, scale = ("µs", 1e3) if usual < _FINE else ("ms", 1.0)
    reach = max(1.6 * usual, 2e-3) * scale
    beyond = int(np.count_nonzero(np.abs(lags[told]) * scale > reach))
    _points(ax, times, lags * scale, told)
    of = "" if len(comparison.pieces) == 1 else "longest piece\n"
    label = f"{of}offset: {comparison.offset:+.6f} s\n  (95 %: {comparison.offset_words()})"
    slow, fast = comparison.drift_interval
    label += (
        "\ndrift: too short to tell"
        if np.isnan(comparison.drift)
        else f"\ndrift: {comparison.drift:+.3f} ppm\n  (95 %: ±{(fast - slow) / 2:.2g} ppm)"
    )
    ax.axhline(0, color=ink(), linewidth=1, label=label)
    if beyond:
        edge = np.clip(lags[told] * scale, -0.97 * reach, 0.97 * reach)
        off = np.abs(lags[told]) * scale > reach
        ax.plot(
            times[told][off], edge[off], "x", color=VERMILION, markersize=4,
            label=f"beyond: {counted(beyond, 'window')}",
        )  # fmt: skip
    ax.set_ylim(-reach, reach)
    ax.set_ylabel(f"lag around\nits line ({unit})")


def _levels(
    ax: Axes,
    comparison: Comparison,
    times: npt.NDArray[np.float64],
    told: npt.NDArray[np.bool_],
) -> None:
    """Draw by how much the capture is louder."""
    levels = comparison.similarity["level"].to_numpy()
    _points(ax, times, levels, told)
    low, high = comparison.level_range
    ax.axhspan(low, high, color=GREY, alpha=0.35, label=f"quartiles: {low:+.2f} to {high:+.2f} dB")
    pieces = comparison.pieces
    by = ", drawn by pieces" if len(pieces) > 1 else ""
    label = f"median: {comparison.level:+.2f} dB{by}"
    ax.hlines(pieces["level"], pieces["start"], pieces["end"], color=ink(), lw=1, label=label)
    usual = levels[told & np.isfinite(levels)]
    below, above = np.percentile(usual, [1, 99]) if len(usual) else (low, high)
    room = max(0.3 * (above - below), 0.5)
    ax.set_ylim(min(below, low) - room, max(above, high) + room)
    ax.set_ylabel("capture less\nrecording (dB)")


def _gaps(ax: Axes, comparison: Comparison) -> list[Patch]:
    """Draw what is missing, by whether it can be filled."""
    start, end = comparison.span
    gaps = comparison.gaps
    ax.broken_barh([(start, end - start)], (0.15, 0.7), facecolor=PALE)
    some = gaps["recorded_seconds"] > 0
    kinds = pd.Series("can't be filled", gaps.index, dtype="str")
    kinds = kinds.mask(some, "in part").mask(gaps["recorded"], "can be filled")
    keys = [Patch(facecolor=PALE, label="received")]
    least = (end - start) * _NARROWEST
    for kind, color in COLORS.items():
        rows = gaps[kinds == kind]
        wide = bars(rows["start"].to_numpy(), rows["end"].to_numpy(), least)
        ax.broken_barh(wide, (0.15, 0.7), facecolor=color)
        if len(rows):
            seconds = rows["duration"].sum()
            keys.append(
                Patch(
                    facecolor=color, label=f"{kind}: {seconds:.2f} s in {counted(len(rows), 'gap')}"
                )
            )
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.set_ylabel("gaps", rotation=0, ha="right", va="center")
    ax.spines["left"].set_visible(False)
    return keys
