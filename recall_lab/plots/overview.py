"""Plot everything of a capture on one axis of time."""

from __future__ import annotations

from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recall_lab.analysis.causes.causes import CAUSES
from recall_lab.analysis.sound.mos import mean_mos
from recall_lab.analysis.sound.mos import mos as scores_of
from recall_lab.analysis.sound.speech import speech
from recall_lab.analysis.time.analysis import Analysis, Call, analyse
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration
from recall_lab.capture.capture import Moment
from recall_lab.plots.clock_map import ClockMap, clock_map
from recall_lab.plots.clock_marks import (
    draw_epochs,
    draw_steps,
    draw_through,
    draw_unexplained,
    keys,
)
from recall_lab.plots.gaps import COLORS, FILLED, draw_fills
from recall_lab.plots.people import (
    ROW_COLORS,
    People,
    draw_speakers,
    people_of,
)
from recall_lab.plots.sound import plot_levels, plot_spectrogram, plot_waveform
from recall_lab.plots.style import BLUE, GREEN, PURPLE, bars, ink, time_axis
from recall_lab.plots.words import WORD_ROWS, draw_words
from recall_lab.text import printable

LANES: Final = ("waveform", "spectrogram", "level", "speech", "gaps")
"""From top to bottom; where events tell of them, ``words`` and ``speakers`` are above speech."""

_HEIGHTS = {"waveform": 1.3, "spectrogram": 2.6, "level": 1.3, "speech": 0.28, "gaps": 0.28}
_HEIGHT = 7.0  # inches of a picture without words and speakers
_MOS = 0.8  # the height of its lane
_ROW = 0.16  # the height of a row of speakers, or of words
_NARROWEST = 1 / 800  # of the width


def plot_overview(
    source: Any,
    figure: Figure | SubFigure | None = None,
    *,
    frequency: str = "linear",
    fmin: float | None = None,
    fmax: float | None = None,
    detector: str = "level",
    clock: str = "relative",
    call: Call | None = None,
    tolerance: Duration | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    mos: bool = False,
    title: str | None = None,
) -> dict[str, Axes]:
    """Plot all there is to see of a capture, one lane below the other.

    Where events tell who speaks, there is a row for each of them, and where there is a
    transcript, its words are written as far as there is room for most of them; else how many
    there are is drawn.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without.
        figure: where to draw, with constrained layout; a new one by default, 11 inches wide and
            7 high, or a little more for speakers and words.
        frequency, fmin, fmax: of the spectrogram, as for :func:`recall_lab.plot_spectrogram`.
        detector: of speech, as for :func:`recall_lab.speech`.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock.
        call, tolerance: as for :func:`recall_lab.analyse`.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.
        mos: whether a lane shows how good the speech sounds, of each 10 s, 1 (bad) to 5
            (excellent), as :func:`recall_lab.mos` estimates it; it needs the extra ``mos``.
        title: above the picture; by default the stream, its length and what is missing.

    Returns:
        The axes by lane: ``waveform``, ``spectrogram``, ``level``, ``mos`` if asked for, then
        ``words`` and ``speakers`` where there are any, ``speech``, ``gaps``.

    Raises:
        InvalidArgument: for an option that can't be.
        MissingExtra: for `mos` without onnxruntime or speechmos.

    Example:
        >>> plot_overview(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    known = analyse(source, call=call, tolerance=tolerance)
    axis = clock_map(known, clock)
    people = people_of(known.capture)
    more = {}
    if mos:
        more["mos"] = _MOS
    if len(people.words):
        more["words"] = _ROW * WORD_ROWS
    if len(people.spans):
        more["speakers"] = _ROW * max(len(people.labels), 2)
    names = [*LANES[:3], *more, *LANES[3:]]
    if figure is None:
        height = _HEIGHT + sum(more.values())
        figure = plt.figure(figsize=(11, height), layout="constrained")
    heights = [(_HEIGHTS | more)[name] for name in names]
    grid = figure.add_gridspec(len(names), 1, height_ratios=heights)
    lanes = {name: figure.add_subplot(grid[at]) for at, name in enumerate(names)}
    line = as_timeline(known, start, end)
    span = low, high = axis.extent(line.start, max(line.end, line.start + 1e-3))
    plot_waveform(
        known, lanes["waveform"], clock=clock, start=start, end=end, title=title,
    )  # fmt: skip
    plot_spectrogram(
        known, lanes["spectrogram"], frequency=frequency, fmin=fmin, fmax=fmax, clock=clock,
        start=start, end=end, title="",
    )  # fmt: skip
    plot_levels(known, lanes["level"], clock=clock, start=start, end=end, title="")
    found = speech(known, detector=detector, start=start, end=end)
    least = (high - low) * _NARROWEST
    spoken = axis.spans(found["start"], found["end"])
    lanes["speech"].broken_barh(bars(spoken.start, spoken.end, 0.0), (0, 1), facecolor=GREEN)
    share = found["duration"].sum() / max(line.end - line.start, 1e-3)
    _aside(lanes["speech"], [Patch(facecolor=GREEN, label=f"speech: {share:.0%}")])
    _gap_lane(lanes["gaps"], known, span, axis, least)
    if not known.capture.packets.empty:
        for name, color in (("waveform", ink()), ("spectrogram", "white"), ("level", ink())):
            draw_through(lanes[name], known, axis, color)
    for name in more:
        time_axis(lanes[name], low, high, clock)
    if mos:
        _mos_lane(lanes["mos"], known, axis, start, end)
    if "words" in lanes:
        _word_lane(lanes["words"], people.on(axis), span)
    if "speakers" in lanes:
        draw_speakers(lanes["speakers"], people.on(axis), span)
        lanes["speakers"].tick_params(axis="y", labelsize="x-small")
    for name, ax in lanes.items():
        legend = ax.get_legend()
        # they say what the level's says, and would stand in the way of the title
        if name in ("waveform", "spectrogram") and legend is not None:
            legend.remove()
        if name in ("speech", "gaps"):
            time_axis(ax, low, high, clock)
            ax.set_ylim(0, 1)
            ax.set_yticks([])
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
            ax.spines[["top", "right", "left"]].set_visible(False)
        if name != LANES[-1]:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    figure.align_ylabels([lanes[name] for name in LANES[:3]])
    return lanes


def _mos_lane(
    ax: Axes, known: Analysis, axis: ClockMap, start: Moment | None, end: Moment | None
) -> None:
    """Draw how good the speech of each window sounds."""
    found = scores_of(known, start=start, end=end)
    found = found[found["mos"].notna()]
    for low, high, score in found[["start", "end", "mos"]].to_numpy().tolist():
        drawn = axis.spans([low], [high])
        ax.hlines([score] * len(drawn.start), drawn.start, drawn.end, color=PURPLE, linewidth=2.5)
    ax.set(ylim=(1, 5), yticks=[1, 3, 5], ylabel="MOS")
    ax.grid(axis="y", alpha=0.3)
    told = f"estimated: {mean_mos(found):.1f}" if len(found) else "no speech to score"
    _aside(ax, [Patch(facecolor=PURPLE, label=told)])


def _word_lane(ax: Axes, people: People, span: tuple[float, float]) -> None:
    """Write the words, or draw how many there are."""
    names = () if len(people.spans) else people.labels  # where no lane tells whose is which
    told = draw_words(ax, people.words, span, ROW_COLORS, names)
    ax.annotate(
        told, (1, 0.5), (9, 0), xycoords="axes fraction", textcoords="offset points", va="center",
        fontsize="small",
    )  # fmt: skip
    ax.set_ylabel("words", rotation=0, ha="right", va="center")


def _gap_lane(
    ax: Axes,
    known: Analysis,
    span: tuple[float, float],
    axis: ClockMap,
    least: float,
) -> None:
    """Draw what is there, and what is missing in the colours of its causes."""
    capture = known.capture
    if capture.packets.empty:
        ax.broken_barh([(span[0], span[1] - span[0])], (0, 1), facecolor="0.8")
        _aside(ax, [Patch(facecolor="0.8", label="no packets to tell by")])
        return
    start, end = known.extent
    there = axis.spans([start], [end])
    ax.broken_barh(bars(there.start, there.end, 0.0), (0, 1), facecolor=BLUE, zorder=1)
    found = known.found.of("gap")
    told: list[Patch | Line2D] = [Patch(facecolor=BLUE, label="audio")]
    filled = draw_fills(ax, capture, (0, 1), axis, least)
    if filled:
        told.append(Patch(label=f"filled: {filled:.2f} s", **FILLED))
    for cause in CAUSES:
        some = found.cause == cause
        drawn = axis.spans(found.start[some], found.end[some])
        shown = (drawn.end > span[0]) & (drawn.start < span[1])
        if shown.any():
            wide = bars(drawn.start[shown], drawn.end[shown], least)
            ax.broken_barh(wide, (0, 1), facecolor=COLORS[cause], zorder=2)
            lost = float(found.duration[some][np.unique(drawn.of[shown])].sum())
            told.append(Patch(facecolor=COLORS[cause], label=f"{printable(cause)}: {lost:.2f} s"))
    stood = draw_unexplained(ax, known, axis, (0, 1), span)
    epochs = draw_epochs(ax, known, axis, (-0.1, 1.1), span)
    told += keys(stood, epochs, draw_steps(ax, known, axis, (-0.1, 1.1), span))
    _aside(ax, told)


def _aside(ax: Axes, told: list[Patch | Line2D]) -> None:
    lines = sum(1 + str(key.get_label()).count("\n") for key in told)
    # many lines hang down from the lane, else they would cover what is above
    many = lines > 4
    ax.legend(
        handles=told, loc="upper left" if many else "center left",
        bbox_to_anchor=(1.0, 1.7 if many else 0.5), frameon=False, fontsize="small",
    )  # fmt: skip
