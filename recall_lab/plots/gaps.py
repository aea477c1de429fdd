"""Plot gaps: when, why, and how long."""

from __future__ import annotations

from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recall_lab.analysis.causes.causes import CAUSES
from recall_lab.analysis.clocks.columns import repaired_spans
from recall_lab.analysis.time.analysis import Analysis, Call, analyse, each_of
from recall_lab.analysis.time.gaps import gaps as find_gaps
from recall_lab.arguments import Duration, whole
from recall_lab.capture.capture import Capture
from recall_lab.plots.clock_map import ClockMap, clock_map
from recall_lab.plots.clock_marks import draw_epochs, draw_steps, draw_unexplained, keys
from recall_lab.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    WINE,
    bars,
    ink,
    time_axis,
)  # fmt: skip
from recall_lab.plots.style import (
    title as set_title,
)
from recall_lab.text import counted, printable
from recall_lab.wire.pcm import RATE

COLORS: Final = {
    "loss": VERMILION,
    "reconnect": ORANGE,
    "dropped": WINE,
    "receiver restart": PURPLE,
    "mute": SKY,
    "silence": PALE,
    "pause": GREEN,
    "unknown": GREY,
}
"""Colour of each cause: warm for what was lost, cool for what nobody said."""

FILLED: Final[dict[str, Any]] = {
    "facecolor": SKY,
    "hatch": "////",
    "edgecolor": BLUE,
    "linewidth": 0.0,
}
"""How audio is drawn that was filled in from a recording: there, but not received."""

KINDS: Final = ("gap", "unexplained")
"""Discontinuities that are told in seconds."""

_THERE = BLUE
_NARROWEST = 1 / 600  # of the width: a gap is never drawn narrower, or it would not be seen


def plot_gaps(
    source: Any,
    ax: Axes | None = None,
    *,
    clock: str = "relative",
    call: Call | None = None,
    tolerance: Duration | None = None,
    title: str | None = None,
) -> Axes:
    """Plot what is there and what is missing, one lane a stream.

    Gaps are coloured by cause and never narrower than can be seen; overlaps (triangles),
    duplicates (dots) and late packets (crosses) stand above the lane; the bands below are the
    connections. What :func:`recall_lab.repair` filled in is hatched. Where time passed by both
    wall clocks and not by the media clock, the lane is crossed out; a dashed line is where
    ``relative`` begins again.

    Args:
        source: as for :func:`recall_lab.analyse`; or a list, such as the streams of a recording.
        ax: where to draw; a new figure by default.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock, on which several
            recordings stand side by side.
        call, tolerance: as for :func:`recall_lab.analyse`.
        title: above the picture; by default the stream and what is missing.

    Returns:
        The axes.

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a clock that is none, or no capture at all.

    Example:
        >>> plot_gaps(rl.load_recording("captures/9f3c"))  # doctest: +SKIP
    """
    several = each_of(source)
    known = [
        analyse(one, call=call, tolerance=tolerance)
        for one in ([source] if several is None else several)
    ]
    streams = [one.capture for one in known]
    if ax is None:
        height = 1.5 + 0.55 * len(streams)
        _, ax = plt.subplots(figsize=(10, max(2.2, height)), layout="constrained")
    found = [one.discontinuities for one in known]
    axes = [clock_map(one, clock) for one in known]
    spans = [
        axis.extent(*(one.call or _span_of(one, rows)))
        for one, rows, axis in zip(known, found, axes, strict=True)
    ]
    start, end = min(low for low, _ in spans), max(high for _, high in spans)
    least = (end - start) * _NARROWEST
    seen: dict[str, float] = dict.fromkeys(CAUSES, 0.0)
    filled, stood, epochs, steps = 0.0, 0.0, 0, 0
    marks: dict[str, int] = {"overlap": 0, "duplicate": 0, "reordered": 0}
    for lane, (one, rows, axis) in enumerate(zip(known, found, axes, strict=True)):
        filled += _lane(ax, lane, one, rows, axis, least)
        stood += draw_unexplained(ax, one, axis, (lane - 0.24, 0.48), (start, end))
        epochs += draw_epochs(ax, one, axis, (lane - 0.4, lane + 0.4), (start, end))
        steps += draw_steps(ax, one, axis, (lane - 0.4, lane + 0.4), (start, end))
        missing = rows[rows["kind"] == "gap"]
        for cause, seconds in missing.groupby("cause")["duration"].sum().items():
            seen[str(cause)] += seconds
        for kind, count in rows["kind"].value_counts().items():
            if kind in marks:
                marks[str(kind)] += int(count)
    ax.set_ylim(len(streams) - 0.45, -0.62)
    ax.set_yticks(range(len(streams)), _names(streams), parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    time_axis(ax, start, end, clock)
    _legend(ax, seen, marks, filled, [*keys(stood, epochs, steps)])
    if title is None:
        title = _title(streams, found)
    set_title(ax, title)
    return ax


def plot_gap_histogram(
    source: Any,
    ax: Axes | None = None,
    *,
    bins: int = 30,
    title: str | None = None,
) -> Axes:
    """Plot how long gaps last, by cause, on logarithmic bins.

    Args:
        source: as for :func:`recall_lab.gaps`, or a frame of it.
        ax: where to draw; a new figure by default.
        bins: how many.
        title: above the picture.

    Returns:
        The axes.

    Example:
        >>> plot_gap_histogram(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    whole("bins", bins, 1)
    rows = source if isinstance(source, pd.DataFrame) else find_gaps(source)
    rows = rows[rows["kind"] == "gap"]
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    low = min(0.01, float(rows["duration"].min())) if len(rows) else 0.01
    high = max(10.0, float(rows["duration"].max())) if len(rows) else 10.0
    edges = np.geomspace(low * 0.9, high * 1.1, bins + 1)
    causes = [cause for cause in CAUSES if (rows["cause"] == cause).any()]
    values = [rows.loc[rows["cause"] == cause, "duration"].to_numpy() for cause in causes]
    if values:
        ax.hist(
            values, bins=list(edges), stacked=True, color=[COLORS[cause] for cause in causes],
            edgecolor="0.35", linewidth=0.5,
            label=[f"{cause}: {len(v):,}" for cause, v in zip(causes, values, strict=True)],
        )  # fmt: skip
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    ax.set_xscale("log")
    ax.set_xlabel("duration of a gap (s)")
    ax.set_ylabel("gaps")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    longest = f", the longest {high / 1.0:.2f} s" if len(rows) and high > 10 else ""
    if len(rows) and not longest:
        longest = f", the longest {rows['duration'].max():.2f} s"
    set_title(ax, f"{counted(len(rows), 'gap')}{longest}" if title is None else title)
    return ax


def _lane(
    ax: Axes, lane: int, known: Analysis, rows: pd.DataFrame, axis: ClockMap, least: float
) -> float:
    """Draw one stream; return how many seconds of it were filled in."""
    capture = known.capture
    start, end = known.extent
    there = axis.spans([start], [end])
    wide = bars(there.start, there.end, 0.0)
    ax.broken_barh(wide, (lane - 0.2, 0.4), facecolor=_THERE, zorder=1)
    filled = draw_fills(ax, capture, (lane - 0.2, 0.4), axis, least)
    missing = rows[rows["kind"] == "gap"]
    for cause in CAUSES:
        some = missing[missing["cause"] == cause]
        drawn = axis.spans(some["start"], some["end"])
        wide = bars(drawn.start, drawn.end, least)
        if not len(wide):
            continue
        # nothing behind, so that what is missing looks missing
        ax.broken_barh(wide, (lane - 0.21, 0.42), facecolor=ax.get_facecolor(), zorder=2)
        ax.broken_barh(wide, (lane - 0.2, 0.4), facecolor=COLORS[cause], edgecolor="none", zorder=3)
    for kind, marker in (("overlap", "v"), ("duplicate", "."), ("reordered", "x")):
        at = axis(rows.loc[rows["kind"] == kind, "start"])
        if len(at) > 2000:  # more can't be told apart
            at = at[:: len(at) // 2000 + 1]
        ax.plot(
            at, np.full(len(at), lane - 0.32), marker, color=ink(), markersize=4, zorder=4,
            linestyle="none",
        )  # fmt: skip
    _connections(ax, lane, known, axis)
    return filled


def draw_fills(
    ax: Axes, capture: Capture, band: tuple[float, float], axis: ClockMap, least: float
) -> float:
    """Draw what was filled in from a recording; return how many seconds that is.

    Args:
        ax: where to draw.
        capture: of which.
        band: bottom and height of the bars.
        axis: where times stand.
        least: width of the narrowest.
    """
    fills = repaired_spans(capture)
    drawn = axis.spans(fills["start"], fills["end"])
    wide = bars(drawn.start, drawn.end, least)
    if wide:
        ax.broken_barh(wide, band, zorder=2, **FILLED)
    return float(fills["duration"].sum())


def _connections(ax: Axes, lane: int, known: Analysis, axis: ClockMap) -> None:
    """Draw the connections as bands of two greys under the lane."""
    packets = known.packets
    if packets.empty:
        return
    ends = packets["relative"] + packets["samples"] / RATE
    bands = pd.DataFrame({"start": packets["relative"], "end": ends}).groupby(packets["connection"])
    for at, (_, band) in enumerate(bands):
        drawn = axis.spans([band["start"].min()], [band["end"].max()])
        ax.broken_barh(
            bars(drawn.start, drawn.end, 0.0), (lane + 0.26, 0.07),
            facecolor="0.45" if at % 2 == 0 else "0.65", zorder=1,
        )  # fmt: skip


def _legend(
    ax: Axes,
    seen: dict[str, float],
    marks: dict[str, int],
    filled: float,
    clocks: list[Patch | Line2D],
) -> None:
    told: list[Patch | Line2D] = [Patch(facecolor=_THERE, label="audio")]
    if filled:
        told.append(Patch(label=f"filled: {filled:.2f} s", **FILLED))
    for cause, seconds in seen.items():
        if seconds:
            told.append(Patch(facecolor=COLORS[cause], label=f"{cause}: {seconds:.2f} s"))
    symbols = {"overlap": "v", "duplicate": ".", "reordered": "x"}
    for kind, count in marks.items():
        if count:
            label = f"{kind}: {count:,}"
            told.append(
                Line2D([], [], color=ink(), marker=symbols[kind], linestyle="none", label=label)
            )
    told += [*clocks, Line2D([], [], color="0.45", linewidth=3, label="connections")]
    ax.legend(handles=told, loc="upper left", bbox_to_anchor=(1, 1.05), frameon=False)


def _span_of(known: Analysis, found: pd.DataFrame) -> tuple[float, float]:
    """Return from when to when there is something to show: what could not be kept, too."""
    start, end = known.extent
    return min([start, *found["start"]]), max([end, *found["end"]])


def _names(streams: list[Capture]) -> list[str]:
    """Return what to call each lane: whose it is, or of which recording where there are several."""
    if len({one.info.recording for one in streams}) > 1:
        return [one.info.stem[:24] for one in streams]
    names = []
    for one in streams:
        who = one.info.participant
        name = "mixed" if who is None else printable(who.name or f"participant {who.id}")[:24]
        names.append(f"{name}, repaired" if len(repaired_spans(one)) else name)
    return names


def _title(streams: list[Capture], found: list[pd.DataFrame]) -> str:
    several = len({one.info.recording for one in streams}) > 1
    name = counted(len(streams), "stream") if several else streams[0].info.recording
    seconds = {kind: [one.loc[one["kind"] == kind, "duration"] for one in found] for kind in KINDS}
    gaps = sum(map(len, seconds["gap"]))
    total, stood = (sum(float(one.sum()) for one in seconds[kind]) for kind in KINDS)
    told = f"{total:.2f} s missing in {counted(gaps, 'gap')}" if gaps else "nothing is missing"
    return f"{name}: {told}, {stood:.2f} s unexplained" if stood else f"{name}: {told}"
