"""Who speaks when, and what is said: lanes for the pictures of a recording.

Names and words come from the network: they are cut, made printable, and never read as
mathematics.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from recall_lab.analysis.analysis import Analysis, analyse, capture_of, each_of
from recall_lab.analysis.people import Source, names_of, speakers, streams_of
from recall_lab.analysis.transcript import transcript
from recall_lab.capture.capture import Capture
from recall_lab.display.clock_map import RELATIVE, ClockMap, clock_map
from recall_lab.display.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    bars,
    time_axis,
)  # fmt: skip
from recall_lab.display.style import (
    title as set_title,
)
from recall_lab.display.words import legible, write_words
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, shortened

MOST_ROWS: Final = 8
"""Rows that are drawn: of more people, those who speak least share the last."""

ROW_COLORS: Final = (PURPLE, ORANGE, GREY, GREEN, SKY, VERMILION, BLUE, PALE)
"""Colour of each row; the first are rare among the colours of gaps."""

_NAME = 18  # characters
_NARROWEST = 1 / 1600  # of the width: seen, and hardly more than it is
_LONGEST_WORD = 40  # characters


class People(NamedTuple):
    """What is to be drawn.

    Attributes:
        labels: of the rows, from top to bottom.
        spans: who speaks when: ``participant``, ``row`` (int64), ``start``, ``end`` (float64,
            s on the relative clock, or :meth:`on` another), ``complete`` (bool), by start.
        words: ``row`` (int64, -1 for nobody that is known), ``text`` (str, fit to be shown),
            ``start``, ``end`` (float64, s), ``utterance`` (int64), by start.
    """

    labels: tuple[str, ...]
    spans: pd.DataFrame
    words: pd.DataFrame

    def on(self, axis: ClockMap) -> People:
        """Return the same with times as they stand on an axis."""
        found = axis.spans(self.spans["start"], self.spans["end"])
        spans = self.spans.iloc[found.of].assign(start=found.start, end=found.end)
        words = self.words.assign(
            start=axis(self.words["start"]), end=axis.until(self.words["end"])
        )
        ordered = words.sort_values("start", kind="stable", ignore_index=True)
        return People(self.labels, spans.reset_index(drop=True), ordered)


def people_of(capture: Source) -> People:
    """Return who speaks when in a recording, and the words that have a time.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.
    """
    told, said = speakers(capture), transcript(capture)
    said = said[said["start"].notna()].sort_values("start", kind="stable", ignore_index=True)
    names = names_of(streams_of(capture))
    seconds = told.groupby("participant")["duration"].sum()
    everybody = [int(who) for who in seconds.index]
    everybody += [int(who) for who in said["participant"].dropna().unique() if who not in seconds]
    first = {**_firsts(said), **_firsts(told)}
    most = sorted(everybody, key=lambda who: (-seconds.get(who, 0.0), first[who]))
    shown = most if len(most) <= MOST_ROWS else most[: MOST_ROWS - 1]
    shown = sorted(shown, key=lambda who: first[who])
    labels = [shortened(names.get(who, ""), _NAME) or f"participant {who}" for who in shown]
    others = len(most) - len(shown)
    if others:
        labels.append(f"{others:,} others")
    row = dict.fromkeys(most, len(shown)) | {who: at for at, who in enumerate(shown)}
    spans = told[["participant", "start", "end", "complete"]].assign(
        row=told["participant"].map(row)
    )
    words = pd.DataFrame(
        {
            "row": said["participant"].map(row).fillna(-1).astype("int64"),
            "text": said["text"].map(lambda text: shortened(text, _LONGEST_WORD)).astype("str"),
            "start": said["start"],
            "end": said["end"],
            "utterance": said["utterance"],
        }
    )
    return People(tuple(labels), spans.astype({"row": "int64"}), words)


def plot_speakers(
    captures: Any,
    ax: Axes | None = None,
    *,
    words: bool = False,
    clock: str = "relative",
    start: float | None = None,
    end: float | None = None,
    title: str | None = None,
) -> Axes:
    """Plot who speaks when, a lane a participant, as the meeting told it.

    Beside each lane stand its seconds within the picture. Intervals of which an end was not told
    are pale.

    Args:
        captures: one, or the streams of a recording, as for :func:`recall_lab.analyse`; or
            anything else that has ``events``.
        ax: where to draw; a new figure by default.
        words: write what was said above the intervals, as far as there is room.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock.
        start, end: s on the relative clock; None for the whole.
        title: above the picture; by default the recording and how many speak.

    Returns:
        The axes.

    Raises:
        InvalidArgument: for what has no events, or an option that can't be.

    Example:
        >>> plot_speakers(rl.load_recording("captures/9f3c"), words=True)  # doctest: +SKIP
    """
    streams = streams_of(_loaded(captures))
    kept = [one for one in streams if isinstance(one, Capture)]
    axis = clock_map(analyse(kept[0]), clock) if kept else RELATIVE
    if not kept and clock != "relative":
        raise InvalidArgument("clock", clock, "'relative', where there are no packets")
    people = people_of(streams)
    low, high = _span(people, kept, start, end)
    count = max(len(people.labels), 1)
    if ax is None:
        height = 1.2 + count * (0.42 if words else 0.3)
        _, ax = plt.subplots(figsize=(10, max(2.0, height)), layout="constrained")
    inside = people.spans.assign(
        start=people.spans["start"].clip(low, high), end=people.spans["end"].clip(low, high)
    )
    inside = inside[inside["end"] > inside["start"]]
    shown, span = people.on(axis), axis.extent(low, high)
    time_axis(ax, *span, clock)
    draw_speakers(ax, shown, span, (0.05, 0.42) if words else (-0.3, 0.3))
    for row, seconds in inside.assign(length=inside["end"] - inside["start"]).groupby("row"):
        told = float(seconds["length"].sum())
        ax.text(
            1.01, int(str(row)), f"{told:,.1f} s, {told / (high - low):.0%}", va="center",
            transform=ax.get_yaxis_transform(), fontsize="small",
        )  # fmt: skip
    if words:
        for row in range(len(people.labels)):
            mine = shown.words[shown.words["row"] == row]
            write_words(ax, mine, span, row - 0.17)
    if not inside["complete"].all():
        key = Patch(facecolor="0.5", alpha=0.45, label="an end was not told")
        ax.legend(
            handles=[key], loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
            frameon=False, fontsize="small",
        )  # fmt: skip
    if title is None:
        name = kept[0].info.recording if kept else "recording"
        by = counted(inside["participant"].nunique(), "participant")
        title = f"{name}: {counted(len(inside), 'time')} of speech by {by}"
        if people.spans.empty:
            title = f"{name}: no events say who speaks"
    set_title(ax, title)
    return ax


def _loaded(captures: Any) -> Any:
    """Return captures for paths, URLs and analyses of them; what has events stays as it is."""
    several = each_of(captures)
    found = [
        capture_of(one) if isinstance(one, str | os.PathLike | Analysis) else one
        for one in ([captures] if several is None else several)
    ]
    return found[0] if several is None else found


def draw_speakers(
    ax: Axes,
    people: People,
    span: tuple[float, float],
    band: tuple[float, float] = (-0.4, 0.4),
) -> None:
    """Draw a row for each speaker, named at the left.

    Args:
        ax: where to draw; its x axis is not changed.
        people: who speaks, with times as they stand on the axis.
        span: what is shown, s.
        band: top and bottom of each bar, of its row.
    """
    least = (span[1] - span[0]) * _NARROWEST
    for row, color in zip(range(len(people.labels)), ROW_COLORS, strict=False):
        mine = people.spans[people.spans["row"] == row]
        mine = mine[(mine["end"] > span[0]) & (mine["start"] < span[1])]
        for complete, alpha in ((True, 1.0), (False, 0.45)):
            some = mine[mine["complete"] == complete]
            wide = bars(some["start"].to_numpy(), some["end"].to_numpy(), least)
            where = (row + band[0], band[1] - band[0])
            ax.broken_barh(wide, where, facecolor=color, alpha=alpha)
    ax.set_ylim(max(len(people.labels), 1) - 0.5, -0.5)
    labels = [legible(label) for label in people.labels]
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _firsts(frame: pd.DataFrame) -> dict[int, float]:
    """Return when each participant comes first in a frame."""
    return {int(str(who)): at for who, at in frame.groupby("participant")["start"].min().items()}


def _span(
    people: People, captures: Sequence[Capture], start: float | None, end: float | None
) -> tuple[float, float]:
    """Return what is shown: of the captures, else of what is told."""
    spans = [one.span for one in captures if len(one.audio)]
    if not spans:
        spans = list(zip(people.spans["start"], people.spans["end"], strict=True))
    low = min((a for a, _ in spans), default=0.0) if start is None else start
    high = max((b for _, b in spans), default=1.0) if end is None else end
    numbers = all(isinstance(edge, int | float) and np.isfinite(edge) for edge in (low, high))
    if not numbers or low > high:
        raise InvalidArgument("start, end", (start, end), "two times in seconds, the first first")
    return float(low), max(float(high), low + 1e-3)
