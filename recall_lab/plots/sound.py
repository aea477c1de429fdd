"""Plot sound over time: waveform, level, spectrogram.

Missing audio is hatched, never drawn as silence. What is too narrow to be hatched is marked at
the top edge. Each plot takes ``ax``, draws into it and returns it; none shows or changes settings.
"""

from __future__ import annotations

from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.sound.levels import frame_of_levels, measure, windows_of
from recall_lab.analysis.sound.overview import overview
from recall_lab.analysis.sound.spectrum import decibels, mel_edges, spectrogram
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration, duration, whole
from recall_lab.capture.capture import Moment
from recall_lab.errors import InvalidArgument
from recall_lab.plots.clock_map import ClockMap, clock_map
from recall_lab.plots.style import (
    BLUE,
    LOWEST,
    ORANGE,
    PURPLE,
    SCALES,
    VERMILION,
    bars,
    frequency_axis,
    time_axis,
)  # fmt: skip
from recall_lab.plots.style import (
    title as set_title,
)
from recall_lab.text import counted, player_time
from recall_lab.wire.pcm import RATE

RANGE: Final = (-100.0, -20.0)
"""dBFS, from black to the brightest: always the same 80 dB, so that pictures can be compared.
Speech of a meeting bot lies in it, as does a quiet room; rounding to 16 bits lies below."""

_HATCH: Final[dict[str, Any]] = {  # seen on white and on black
    "hatch": "////",
    "facecolor": (0.5, 0.5, 0.5, 0.25),
    "edgecolor": (0.5, 0.5, 0.5, 0.9),
    "linewidth": 0.0,
}
_COLUMNS = 1600


def plot_waveform(
    source: Any,
    ax: Axes | None = None,
    *,
    columns: int = _COLUMNS,
    color: str = BLUE,
    clock: str = "relative",
    missing: bool = True,
    tolerance: Duration | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    title: str | None = None,
) -> Axes:
    """Plot the waveform as its envelope.

    Args:
        source: as for :func:`recall_lab.analyse`. Without packets, time is counted in samples
            from 0.
        ax: where to draw; a new figure by default.
        columns: steps of the time axis; each shows the lowest and highest sample in it.
        color: of the waveform.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock.
        missing: mark the spans for which no audio arrived.
        tolerance: as for :func:`recall_lab.analyse`.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.
        title: above the picture; by default the stream, its length and what is missing.

    Returns:
        The axes.

    Raises:
        InvalidArgument: for an option that can't be.

    Example:
        >>> plot_waveform(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    known = analyse(source, tolerance=tolerance)
    axis = clock_map(known, clock)
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3), layout="constrained")
    line = as_timeline(known, start, end)
    times, low, high = _envelope(line, columns)
    for piece in axis.pieces(times):
        ax.fill_between(
            axis(times[piece]), low[piece], high[piece], color=color, linewidth=0.4, step="mid"
        )
    peak = float(np.nanmax(np.abs([low, high]), initial=0.0)) if len(times) else 0.0
    limit = 1.15 * peak or 1.0
    ax.set_ylim(-limit, limit)
    _finish(ax, known, line, (axis, clock), title, "", hatch=missing)
    ax.set_ylabel("amplitude\n(full scale = 1)")
    ax.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    return ax


def plot_levels(
    source: Any,
    ax: Axes | None = None,
    *,
    every: Duration | None = None,
    clock: str = "relative",
    tolerance: Duration | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    title: str | None = None,
) -> Axes:
    """Plot RMS and peak of each window, with clipping and digital silence.

    The axis is always 0 to -100 dBFS, so that pictures can be compared.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without.
        ax: where to draw; a new figure by default.
        every: length of a window, s; by default one for each pixel, and 50 ms at least.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock.
        tolerance: as for :func:`recall_lab.analyse`.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.
        title: above the picture; by default the stream and its level.

    Returns:
        The axes.

    Raises:
        InvalidArgument: for an option that can't be.

    Example:
        >>> plot_levels(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    known = analyse(source, tolerance=tolerance)
    axis = clock_map(known, clock)
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3), layout="constrained")
    line = as_timeline(known, start, end)
    seconds = max(0.05, (line.end - line.start) / _COLUMNS) if every is None else every
    every = duration("every", seconds)
    edges = windows_of(len(line), every)
    measured = measure(line, edges)
    found = frame_of_levels(line, edges, measured)
    times = found["start"].to_numpy()
    middles = times + every / 2
    for name, color, label in (("peak_dbfs", ORANGE, "peak"), ("rms_dbfs", BLUE, "RMS")):
        # digital silence has no level; below the axis it leaves the picture as a line
        values = found[name].to_numpy().clip(-200)
        for piece in axis.pieces(middles):
            ax.plot(
                axis(middles[piece]), values[piece], color=color, linewidth=0.8, label=label,
                drawstyle="steps-mid",
            )  # fmt: skip
            label = "_"  # once in the legend
    ax.set_ylim(-100, 3)
    marked = (
        ("clips", VERMILION, 1.0, "clipping"),
        ("silence_share", PURPLE, -97.5, "digital silence"),
    )
    for name, color, height, label in marked:
        some = times[found[name].to_numpy() > (0.5 if name == "silence_share" else 0)]
        wide = axis.spans(some, some + every)
        for begin, width in bars(wide.start, wide.end, every):
            ax.plot([begin, begin + width], [height, height], color=color, linewidth=3, label=label)
            label = "_"
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = 10 * np.log10(2 * measured.squares.sum() / measured.heard.sum())
    told = f"RMS {rms:.1f} dBFS" if len(line) else ""
    _finish(ax, known, line, (axis, clock), title, told, inside=False)
    ax.set_ylabel("level (dBFS)")
    ax.grid(axis="y", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_spectrogram(
    source: Any,
    ax: Axes | None = None,
    *,
    frequency: str = "linear",
    fmin: float | None = None,
    fmax: float | None = None,
    limits: tuple[float, float] = RANGE,
    length: Duration = 0.025,
    hop: Duration = 0.010,
    columns: int | None = None,
    statistic: str = "mean",
    cmap: str = "magma",
    colorbar: bool = True,
    clock: str = "relative",
    tolerance: Duration | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    title: str | None = None,
) -> Axes:
    """Plot the spectrogram, dBFS with 0 for a sine of full scale.

    Colours mean the same level in every picture: they never depend on the loudest sound of a
    file. The y axis is in Hz, whatever its scale: what you draw at 1,000 lies at 1 kHz.
    Where there are more frames than columns, each column shows its frames' mean
    power (see :func:`recall_lab.overview`), so eight hours take seconds.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without.
        ax: where to draw; a new figure by default.
        frequency: scale of the y axis: ``"linear"``, ``"mel"`` or ``"log"``.
        fmin, fmax: lowest and highest frequency in view, Hz; by default 0 (50 on a logarithmic
            axis) to 8,000.
        limits: levels of the darkest and the brightest colour, dBFS.
        length, hop: of frames, s, as for :func:`recall_lab.spectrogram`.
        columns: most that are drawn; by default one and a half for each pixel of the axes.
        statistic: of a column's frames: ``"mean"``, or ``"max"``, for what lasted a moment.
        cmap: name of the colours; the usual ones are even to the eye, and to colour-blind ones.
        colorbar: draw the scale beside it.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock.
        tolerance: as for :func:`recall_lab.analyse`.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.
        title: above the picture; by default the stream and what is missing.

    Returns:
        The axes.

    Raises:
        InvalidArgument: for an option that can't be.

    Example:
        >>> plot_spectrogram(rl.load("captures/9f3c.bin"), frequency="mel")  # doctest: +SKIP
    """
    if frequency not in SCALES:
        raise InvalidArgument("frequency", frequency, "'linear', 'mel' or 'log'")
    if statistic not in ("mean", "max"):
        raise InvalidArgument("statistic", statistic, "'mean' or 'max'")
    length, hop = duration("length", length), duration("hop", hop)
    if not np.isfinite(limits).all() or not limits[0] < limits[1]:
        raise InvalidArgument("limits", limits, "two levels in dBFS, the lower first")
    known = analyse(source, tolerance=tolerance)
    axis = clock_map(known, clock)
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3.6), layout="constrained")
    line = as_timeline(known, start, end)
    if columns is None:
        columns = min(max(int(1.5 * ax.get_window_extent().width), 200), _COLUMNS)
    if (line.end - line.start) / hop > columns:
        long = overview(known, columns, length=length, start=start, end=end)
        times, width, frequencies = long.times, long.width, long.frequencies
        power, reference = (long.mean if statistic == "mean" else long.max), long.reference
    else:
        short = spectrogram(known, length=length, hop=hop, start=start, end=end)
        times, width, frequencies = short.times, short.hop, short.frequencies
        # the edges of a hole would make a click
        power, reference = np.where(short.missing > 0, np.nan, short.values), short.reference
    edges = _row_edges(frequency, frequencies)
    frequency_axis(ax, frequency, fmin, fmax)
    scaled = ax.yaxis.get_transform().transform
    if len(times):
        rows = decibels(_rows(power, frequencies, edges), reference)
        for piece in axis.pieces(times):
            first, last = axis(times[piece][[0, -1]]).tolist()
            # rows are even on the scale of the axis, so the picture is placed behind the scale
            image = ax.imshow(
                rows[:, piece], transform=ax.transLimits + ax.transAxes,
                extent=(first - width / 2, last + width / 2, *scaled(edges[[0, -1]])),
                origin="lower", aspect="auto", interpolation="auto",
                cmap=cmap, vmin=limits[0], vmax=limits[1], zorder=1,
            )  # fmt: skip
        if colorbar:
            # beside the axes, not out of them: a picture above or below keeps the same width
            beside = ax.inset_axes((1.01, 0.0, 0.012, 1.0))
            bar = ax.figure.colorbar(image, cax=beside, extend="both")
            bar.set_label("dBFS (sine = 0)")
    ax.set_facecolor("0.6")
    _finish(ax, known, line, (axis, clock), title, "")
    return ax


def _finish(
    ax: Axes,
    known: Analysis,
    line: Timeline,
    placed: tuple[ClockMap, str],
    title: str | None,
    told: str,
    *,
    hatch: bool = True,
    inside: bool = True,
) -> None:
    """Set the time axis and the title, and mark what is missing."""
    start, end = line.start, max(line.end, line.start + 1 / RATE)
    axis, clock = placed
    low, high = axis.extent(start, end)
    time_axis(ax, low, high, clock)
    spans = _missing(known, line)
    if hatch and len(spans):
        drawn = axis.spans(spans[:, 0], spans[:, 1])
        hatch_missing(ax, np.column_stack(drawn[:2]), (high - low) / _COLUMNS)
    if title is None:
        lost = float((spans[:, 1] - spans[:, 0]).sum())
        lasts = f"{end - start:.1f} s" if end - start < 600 else player_time(end - start)[:-4]
        facts = [lasts if len(line) else "no audio", told]
        facts.append(f"{lost:.2f} s missing in {counted(len(spans), 'gap')}" if len(spans) else "")
        stood = _stood(known, line)
        facts.append(f"{stood:.2f} s unexplained" if stood else "")
        title = f"{known.capture.info.stem}: " + ", ".join(filter(None, facts))
    set_title(ax, title)
    keys, labels = ax.get_legend_handles_labels()
    if keys and inside:
        ax.legend(
            keys, labels, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
            frameon=False, ncols=2,
        )  # fmt: skip
    elif keys:
        ax.legend(keys, labels, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def hatch_missing(ax: Axes, spans: npt.NDArray[np.float64], pixel: float) -> None:
    """Hatch spans of the x axis; those narrower than two pixels get a mark at the top edge."""
    wide = spans[:, 1] - spans[:, 0] >= 2 * pixel
    across = ax.get_xaxis_transform()
    for begin, width in bars(spans[wide, 0], spans[wide, 1], 0.0):
        ax.axvspan(begin, begin + width, zorder=2, **_HATCH)
    narrow = bars(spans[~wide, 0], spans[~wide, 1], 2 * pixel)
    ax.broken_barh(narrow, (0.965, 0.035), transform=across, facecolor=VERMILION, zorder=3)
    for there, key, label in (
        (wide.any(), _HATCH, "missing"),
        (len(narrow), {"facecolor": VERMILION}, "missing, too short to draw"),
    ):
        if there:
            ax.add_patch(Rectangle((np.nan, np.nan), 0, 0, label=label, **key))  # for the legend


def _missing(known: Analysis, line: Timeline) -> npt.NDArray[np.float64]:
    """Return the gaps within a line as begin and end, s; none where there are no packets."""
    if known.capture.packets.empty:
        return np.empty((0, 2))
    missing = known.found.of("gap")
    spans = np.column_stack([missing.start, missing.end])
    spans = spans.clip(line.start, line.end)
    return spans[spans[:, 1] > spans[:, 0]]


def _stood(known: Analysis, line: Timeline) -> float:
    """Return for how long the media clock stood within a line, s."""
    if known.capture.packets.empty:
        return 0.0
    stood = known.found.of("unexplained")
    inside = (stood.start >= line.start) & (stood.start <= line.end)
    return float(stood.duration[inside].sum())


def _row_edges(frequency: str, frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the frequencies at which the rows of a picture begin and end, even on its scale."""
    if frequency == "linear":
        half = frequencies[1] / 2
        return np.append(frequencies - half, frequencies[-1] + half)
    if frequency == "mel":
        return mel_edges(255, "slaney")
    return np.geomspace(LOWEST, RATE / 2, 257)


def _rows(
    power: npt.NDArray[np.float32],
    frequencies: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Return the mean power of each row: of the bins by how much of the row they cover."""
    if edges[0] < 0:  # a row for each bin
        return power
    half = frequencies[1] / 2
    low = np.maximum(edges[:-1, None], frequencies - half)
    high = np.minimum(edges[1:, None], frequencies + half)
    share = np.maximum(high - low, 0) / np.diff(edges)[:, None]
    rows: npt.NDArray[np.float32] = share.astype(np.float32) @ power
    return rows


def _envelope(
    line: Timeline, columns: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return column centres (s) and the lowest and highest sample in each; NaN where none is."""
    whole("columns", columns, 1, 100_000)
    size = min(columns, len(line))
    edges = np.rint(np.linspace(0, len(line), size + 1)).astype(np.int64)
    found = measure(line, edges, totals=False, runs=False)
    return line.start + (edges[:-1] + edges[1:]) / 2 / RATE, found.low, found.high
