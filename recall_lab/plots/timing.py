"""Plot timing: how late packets came, and how the clocks run against each other."""

from __future__ import annotations

from collections import Counter
from textwrap import fill
from typing import Any, Final, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from recall_lab.analysis.clocks.rates import PAIRS, envelope, samples_clock
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.timing import jitter, latency, stalls
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.errors import NotRealTime
from recall_lab.plots.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    ink,
    time_axis,
)  # fmt: skip
from recall_lab.plots.style import (
    title as set_title,
)
from recall_lab.plots.terminal import replay
from recall_lab.text import counted
from recall_lab.wire.pcm import RATE

_POINTS = 4_000  # drawn at most, the highest and lowest of each column among them
_LEAST = 0.1  # ms above and below, shown at least
_TOLD = 4  # jumps of clocks that the legend tells one by one
Floats = npt.NDArray[np.float64]

_LINES: Final[dict[str, Any]] = {
    "step": ":", "stood": "-.", "restart": (0, (3, 1.5)), "leap": (0, (1, 1)),
}  # fmt: skip


def plot_timing(source: Any, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Plot how late each packet came against when it was said.

    Points are packets, the line through the lowest of them is the lower envelope: its slope is
    the drift between the sender's media clock and ours. Jitter (RFC 3550) runs below; stalls are
    bands, by whose they were.

    Args:
        source: as for :func:`recall_lab.analyse`.
        ax: where to draw; a new figure by default.
        title: above the picture.

    Returns:
        The axes.

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> plot_timing(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
    known = analyse(source)
    start, end = known.extent
    if known.replayed:
        return _refused(ax, known, title)
    delays = latency(known).dropna(subset=["delay"])
    relative = delays["relative"].to_numpy()
    late = delays["delay"].to_numpy() * 1e3
    running = jitter(known)
    held = stalls(known)
    colors = {"network": ORANGE, "receiver": PURPLE}
    for cause, some in held.groupby("cause"):
        for at, (low, high) in enumerate(zip(some["start"], some["end"], strict=True)):
            label = f"{cause} stalls: {len(some)}" if at == 0 else None
            ax.axvspan(low, high, color=colors[str(cause)], alpha=0.3, linewidth=1, label=label)
    kept = _thin(late)
    ax.plot(relative[kept], late[kept], ".", color=BLUE, markersize=2.5, alpha=0.6, label="packets")
    smooth = 1e3 * running["jitter"].to_numpy()
    furthest = np.maximum.accumulate(running["relative"].to_numpy())  # it is updated on arrival
    kept = _thin(smooth)
    ax.plot(furthest[kept], smooth[kept], color=VERMILION, linewidth=1, label="jitter (RFC 3550)")
    if len(relative):
        points = envelope(relative, late, max(10.0, (end - start) / 200))
        ax.plot(points.times, points.values, color=ink(), linewidth=1.2, label="lower envelope")
    rate = known.drift.loc["relative/received"]
    if np.isfinite(rate["drift"]):
        # what the sender's clock gains, our delay loses
        ends = np.array([relative.min(), relative.max()])
        line = -rate["drift"] * 1e-3 * (ends - ends[0])
        line += np.median(points.values - np.interp(points.times, ends, line))
        told = f"drift: {rate['drift']:+.2f} ppm ({rate['low']:+.2f} to {rate['high']:+.2f})"
        ax.plot(ends, line, color=GREEN, linewidth=1.5, linestyle="--", label=told)
    time_axis(ax, start, end)
    ax.set_ylabel("delay above the fastest (ms)")
    usual = float(np.percentile(late, 95)) if len(late) else 0.0
    if usual and late.max() > 5 * usual:  # the rare ones above would leave no room for the rest
        ax.set_yscale("symlog", linthresh=1.5 * usual, linscale=2)
        ax.set_ylim(0, 1.3 * late.max())
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.axhline(1.5 * usual, color="0.6", linewidth=0.8, zorder=0)
        ax.set_ylabel("delay (ms), log above the line")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, markerscale=3)
    if title is None:
        worst = f", the latest packet by {late.max():.0f} ms" if len(late) else ""
        title = f"{known.capture.info.stem}: {counted(len(delays), 'packet')}{worst}"
    set_title(ax, title)
    return ax


def plot_clocks(source: Any, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Plot how far each pair of clocks has come apart since the first packet.

    Of what arrived only the fastest packets count, as the network holds up the others. A level
    line means that both run alike, a slope is drift, a jump a clock that was set: vertical lines
    say which, and where the media clock stood, leapt or began again. The legend gives the drift
    and its 95 % interval. Where samples run otherwise than the media clock, that is a line too. Of
    a replay only the sender's own clocks are drawn.

    Args:
        source: as for :func:`recall_lab.analyse`.
        ax: where to draw; a new figure by default.
        title: above the picture.

    Returns:
        The axes.

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> plot_clocks(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
    known = analyse(source)
    packets = known.packets
    packets = packets[packets["samples"] > 0]
    relative = packets["relative"].to_numpy()
    lasts = relative + packets["samples"].to_numpy() / RATE
    wall = nanoseconds(packets["absolute"])
    absolute = (wall - wall[:1]) / 1e9 + (lasts - relative)
    clocks = {"relative": lasts, "absolute": absolute, "received": arrivals(packets)}
    rates = known.drift
    colors = (BLUE, VERMILION, SKY)
    start, end = known.extent
    window = min(10.0, (end - start) / 50) or 1.0
    jumps = _jumps(known)
    samples = PAIRS[3]
    pairs = [pair for pair in PAIRS[:3] if not (known.replayed and pair.endswith("received"))]
    for pair, color in zip(pairs, colors, strict=False):
        first, second = (clocks[name] for name in pair.split("/"))
        times, apart = relative, 1e3 * (first - second)
        if pair.endswith("received"):  # of what arrived, only the fastest tell of the clocks
            times, apart = _fastest(relative, apart, window, [jump.at for jump in jumps])
        apart = apart - apart[:1]
        kept = _thin(apart)
        ax.plot(
            times[kept], apart[kept], color=color, linewidth=1.2,
            label=f"{pair.replace('/', ' - ')}\n{_told(rates, pair)}",
        )  # fmt: skip
    if known.order.stretched:
        by_samples, stamps = samples_clock(known.order)
        apart = 1e3 * (by_samples - stamps)
        kept = _thin(apart)
        ax.plot(
            stamps[kept], apart[kept] - apart[0], color=GREEN, linewidth=1.2,
            label=f"samples - relative\n{_told(rates, samples)}",
        )  # fmt: skip
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -_LEAST), max(high, _LEAST))  # the rounding of floats is not worth a look
    for at, jump in enumerate(jumps):
        label = jump.told if at < _TOLD else None
        ax.axvline(jump.at, color=ink(), linewidth=1.2, linestyle=_LINES[jump.kind], label=label)
    if len(jumps) > _TOLD:
        ax.plot([], [], " ", label=f"and {len(jumps) - _TOLD:,} more")
    if known.replayed:
        ax.plot([], [], " ", label=f"{replay(known)}:\nour own clock tells nothing")
    time_axis(ax, start, end)
    ax.set_ylabel("apart since the start (ms)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    if title is None:
        facts = ["the sender's clocks (a replay)" if known.replayed else "three clocks"]
        counts = Counter(jump.kind for jump in jumps)
        facts.append(counted(counts["step"], "step") if counts["step"] else "no steps")
        facts += [counted(counts["leap"], "leap")] * bool(counts["leap"])
        facts += [f"{known.unexplained:.2f} s unexplained"] * bool(counts["stood"])
        facts += [counted(counts["restart"] + 1, "epoch")] * bool(counts["restart"])
        title = f"{known.capture.info.stem}: {', '.join(facts)}"
    set_title(ax, title)
    return ax


def _told(rates: pd.DataFrame, pair: str) -> str:
    """Return the drift of a pair in words."""
    drift, low, high = (float(rates[name].loc[pair]) for name in ("drift", "low", "high"))
    if not np.isfinite(drift):
        return "too short to tell the drift"
    return f"{drift:+.2f} ppm ({low:+.2f} to {high:+.2f})"


def _fastest(
    times: Floats, apart: Floats, window: float, jumps: list[float]
) -> tuple[Floats, Floats]:
    """Return the upper envelope of what lies between jumps, with an edge at each of them."""
    cuts = np.unique(jumps)
    part = np.searchsorted(cuts, times, "right")
    when, values = [], []
    for number in np.unique(part).tolist():
        some = part == number
        points = envelope(times[some], -apart[some], window)
        edges = [cuts[number - 1 : number] if number else cuts[:0], cuts[number : number + 1]]
        when.append(np.concatenate([edges[0], points.times, edges[1]]))
        ends = [
            np.repeat(points.values[at], len(edge)) for at, edge in zip((0, -1), edges, strict=True)
        ]
        values.append(-np.concatenate([ends[0], points.values, ends[1]]))
    return np.concatenate([times[:0], *when]), np.concatenate([apart[:0], *values])


class _Jump(NamedTuple):
    at: float
    kind: str
    told: str


def _jumps(known: Analysis) -> list[_Jump]:
    """Return where one of the clocks did not simply run on, by time."""
    told = {
        "restart": lambda by: f"relative begins again\n({-by:,.1f} s back)",
        "leap": lambda by: f"relative leaps: {by:+,.3f} s",
        "stood": lambda by: f"unexplained: {by:,.3f} s\n(the media clock stood)",
    }
    media = known.capture.media
    found = [
        _Jump(float(media[one.at]), one.kind, told[one.kind](one.seconds))
        for one in known.capture.epochs.breaks
    ]
    stood = {jump.at for jump in found if jump.kind == "stood"}
    found += [
        _Jump(float(at), "step", f"step of {clock}: {step:+.3f} s")
        for clock, at, step, *_ in known.clock_steps
        if clock == "received" or float(at) not in stood  # the same, seen from the wall clock
    ]
    return sorted(found)


def _refused(ax: Axes, known: Analysis, title: str | None) -> Axes:
    """Say in place of a picture that arrival times tell nothing."""
    told = str(NotRealTime(known.capture.info.stem, known.pace))
    letter = 0.55 * float(rcParams["font.size"]) * ax.figure.dpi / 72  # pixels, about
    width = min(max(int(0.9 * ax.get_window_extent().width / letter), 20), 90)
    ax.text(
        0.5, 0.5, fill(told, width), transform=ax.transAxes, ha="center", va="center",
        parse_math=False, linespacing=1.5,
    )  # fmt: skip
    ax.set_axis_off()
    set_title(ax, f"{known.capture.info.stem}: a replay" if title is None else title)
    return ax


def _thin(values: Floats) -> npt.NDArray[np.int64]:
    """Return which points to draw: all, or of each column the highest and the lowest."""
    size = len(values)
    if size <= _POINTS:
        return np.arange(size)
    heads = np.linspace(0, size, _POINTS // 2, endpoint=False).astype(np.int64)
    widths = np.diff(heads, append=size)
    which = np.repeat(np.arange(len(heads)), widths)
    order = np.lexsort((values, which))
    return np.unique(np.concatenate([order[heads], order[heads + widths - 1]]))
