"""Plots of gaps: when audio is missing and why, and how long gaps are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recall_lab.analysis.causes import CAUSES
from recall_lab.analysis.clocks import nanoseconds, timed
from recall_lab.analysis.gaps import gaps as find_gaps
from recall_lab.capture.capture import Capture
from recall_lab.display.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    time_axis,
)  # fmt: skip
from recall_lab.display.style import (
    title as set_title,
)
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, printable
from recall_lab.wire.pcm import RATE

COLORS: Final = {
    "loss": VERMILION,
    "reconnect": ORANGE,
    "receiver restart": PURPLE,
    "mute": SKY,
    "silence": PALE,
    "pause": GREEN,
    "unknown": GREY,
}
"""Colour of each cause: warm for what was lost, cool for what nobody said."""

_THERE = BLUE
_NARROWEST = 1 / 600  # of the width: a gap is never drawn narrower, or it would not be seen
_CLOCKS = ("relative", "absolute")


def plot_gaps(
    captures: Capture | Sequence[Capture],
    ax: Axes | None = None,
    *,
    clock: str = "relative",
    span: tuple[float, float] | None = None,
    tolerance: float | None = None,
    title: str | None = None,
) -> Axes:
    """Plot what is there and what is missing, one lane a stream.

    Gaps are coloured by cause and never narrower than can be seen; overlaps (triangles),
    duplicates (dots) and late packets (crosses) stand above the lane; the bands below are the
    connections.

    Args:
        captures: one, or several such as the streams of a recording.
        ax: where to draw; a new figure by default.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock, on which several
            recordings stand side by side.
        span: beginning and end of the call, s on the relative clock.
        tolerance: as for :func:`recall_lab.gaps`.
        title: above the picture; by default the stream and what is missing.

    Returns:
        The axes.

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a clock that is none, or no capture at all.

    Example:
        >>> plot_gaps(rl.load_recording("captures/9f3c"))  # doctest: +SKIP
    """
    streams = [captures] if isinstance(captures, Capture) else list(captures)
    if clock not in _CLOCKS:
        raise InvalidArgument("clock", clock, "'relative' or 'absolute'")
    if not streams:
        raise InvalidArgument("captures", captures, "at least one capture")
    if ax is None:
        height = 1.5 + 0.55 * len(streams)
        _, ax = plt.subplots(figsize=(10, max(2.2, height)), layout="constrained")
    found = [find_gaps(one, tolerance, span=span) for one in streams]
    shifts = [_shift(one) if clock == "absolute" else 0.0 for one in streams]
    spans = [span or one.span for one in streams]
    start = min(s[0] + shift for s, shift in zip(spans, shifts, strict=True))
    end = max(s[1] + shift for s, shift in zip(spans, shifts, strict=True))
    least = (end - start) * _NARROWEST
    seen: dict[str, float] = dict.fromkeys(CAUSES, 0.0)
    marks: dict[str, int] = {"overlap": 0, "duplicate": 0, "reordered": 0}
    for lane, (one, rows, shift) in enumerate(zip(streams, found, shifts, strict=True)):
        _lane(ax, lane, one, rows, shift, least)
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
    time_axis(ax, start, end)
    if clock == "absolute":
        _wall_clock(ax, start, end)
    _legend(ax, seen, marks)
    if title is None:
        title = _title(streams, found)
    set_title(ax, title)
    return ax


def plot_gap_histogram(
    captures: Capture | Sequence[Capture] | pd.DataFrame,
    ax: Axes | None = None,
    *,
    bins: int = 30,
    title: str | None = None,
) -> Axes:
    """Plot how long gaps last, by cause, on logarithmic bins.

    Args:
        captures: one, several, or a frame of :func:`recall_lab.gaps`.
        ax: where to draw; a new figure by default.
        bins: how many.
        title: above the picture.

    Returns:
        The axes.

    Example:
        >>> plot_gap_histogram(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    if not isinstance(bins, int) or bins < 1:
        raise InvalidArgument("bins", bins, "a whole number, 1 or more")
    if isinstance(captures, pd.DataFrame):
        rows = captures
    else:
        streams = [captures] if isinstance(captures, Capture) else list(captures)
        rows = pd.concat([find_gaps(one) for one in streams])
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
    ax: Axes, lane: int, capture: Capture, rows: pd.DataFrame, shift: float, least: float
) -> None:
    """Draw one stream."""
    start, end = capture.span
    ax.broken_barh([(start + shift, end - start)], (lane - 0.2, 0.4), facecolor=_THERE, zorder=1)
    missing = rows[rows["kind"] == "gap"]
    for cause in CAUSES:
        some = missing[missing["cause"] == cause]
        bars = _bars(some["start"].to_numpy() + shift, some["end"].to_numpy() + shift, least)
        if not len(bars):
            continue
        # white behind, so that what is missing looks missing
        ax.broken_barh(bars, (lane - 0.21, 0.42), facecolor="white", zorder=2)
        ax.broken_barh(bars, (lane - 0.2, 0.4), facecolor=COLORS[cause], edgecolor="none", zorder=3)
    for kind, marker in (("overlap", "v"), ("duplicate", "."), ("reordered", "x")):
        at = rows.loc[rows["kind"] == kind, "start"].to_numpy() + shift
        if len(at) > 2000:  # more can't be told apart
            at = at[:: len(at) // 2000 + 1]
        ax.plot(
            at, np.full(len(at), lane - 0.32), marker, color="0.2", markersize=4, zorder=4,
            linestyle="none",
        )  # fmt: skip
    _connections(ax, lane, capture, shift)


def _connections(ax: Axes, lane: int, capture: Capture, shift: float) -> None:
    """Draw the connections as bands of two greys under the lane."""
    packets = timed(capture)
    if packets.empty:
        return
    ends = packets["relative"] + packets["samples"] / RATE
    bands = pd.DataFrame({"start": packets["relative"], "end": ends}).groupby(packets["connection"])
    for at, (_, band) in enumerate(bands):
        start, end = float(band["start"].min()), float(band["end"].max())
        ax.broken_barh(
            [(start + shift, end - start)], (lane + 0.26, 0.07),
            facecolor="0.35" if at % 2 == 0 else "0.65", zorder=1,
        )  # fmt: skip


def _bars(
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


def _legend(ax: Axes, seen: dict[str, float], marks: dict[str, int]) -> None:
    keys: list[Patch | Line2D] = [Patch(facecolor=_THERE, label="audio")]
    for cause, seconds in seen.items():
        if seconds:
            keys.append(Patch(facecolor=COLORS[cause], label=f"{cause}: {seconds:.2f} s"))
    symbols = {"overlap": "v", "duplicate": ".", "reordered": "x"}
    for kind, count in marks.items():
        if count:
            label = f"{kind}: {count:,}"
            keys.append(
                Line2D([], [], color="0.2", marker=symbols[kind], linestyle="none", label=label)
            )
    keys.append(Line2D([], [], color="0.35", linewidth=3, label="connections"))
    ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(1, 1.05), frameon=False)


def _names(streams: list[Capture]) -> list[str]:
    """Return what to call each lane: whose it is, or of which recording where there are several."""
    if len({one.info.recording for one in streams}) > 1:
        return [one.info.stem[:24] for one in streams]
    whose = [one.info.participant for one in streams]
    return [
        "mixed" if who is None else printable(who.name or f"participant {who.id}")[:24]
        for who in whose
    ]


def _title(streams: list[Capture], found: list[pd.DataFrame]) -> str:
    missing = pd.concat(found)
    missing = missing[missing["kind"] == "gap"]
    if not len(missing):
        return f"{streams[0].info.recording}: nothing is missing"
    total = float(missing["duration"].sum())
    several = len({one.info.recording for one in streams}) > 1
    name = counted(len(streams), "stream") if several else streams[0].info.recording
    return f"{name}: {total:.2f} s missing in {counted(len(missing), 'gap')}"


def _shift(capture: Capture) -> float:
    """Return what is to be added to relative times for seconds since 1970 UTC."""
    packets = timed(capture)
    if packets.empty:
        return 0.0
    relative = packets["relative"].to_numpy()
    first = int(relative.argmin())
    return float(nanoseconds(packets["absolute"])[first] / 1e9 - relative[first])


def _wall_clock(ax: Axes, start: float, end: float) -> None:
    """Label the axis as times of day, UTC."""
    # NumPy's times: a sender's clock may be in any year, and pandas can't name them all
    ticks = ax.get_xticks()
    days, times = zip(
        *(str(np.datetime64(round(tick), "s")).split("T") for tick in (start, *ticks)), strict=True
    )
    ax.set_xticks(ticks, [time if end - start < 7200 else time[:5] for time in times[1:]])
    ax.set_xlim(start, end if end > start else start + 1)
    ax.set_xlabel(f"absolute time (UTC), {days[0]}")
