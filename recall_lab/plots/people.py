"""Plot who speaks when, and what is said.

Names and words come from the network: they are cut, made printable, and never read as
mathematics.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from recall_lab.analysis.meeting.people import Source, events_of, streams_of, turns_of
from recall_lab.analysis.meeting.roster import Roster, roster_of
from recall_lab.analysis.meeting.transcript import words_of
from recall_lab.analysis.time.analysis import Analysis, analyse, capture_of, each_of
from recall_lab.analysis.time.arguments import crop_of
from recall_lab.arguments import whole
from recall_lab.capture.capture import Capture, Moment
from recall_lab.errors import InvalidArgument
from recall_lab.plots.clock_map import RELATIVE, ClockMap, clock_map
from recall_lab.plots.fonts import MISSING, SQUARE, families, legible
from recall_lab.plots.style import (
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
from recall_lab.plots.style import (
    title as set_title,
)
from recall_lab.plots.words import write_words
from recall_lab.text import counted, shortened

MOST_ROWS: Final = 8
"""Rows that are drawn beside other lanes: of more people, those who speak least share the last."""

ALL_ROWS: Final = 16
"""Rows that are drawn where there is nothing else: as many as there are separate streams."""

ROW_COLORS: Final = (PURPLE, ORANGE, GREY, GREEN, SKY, VERMILION, BLUE, PALE) * 2
"""Colour of each row; the first are rare among the colours of gaps."""

_NAME = 18  # characters
_NARROWEST = 1 / 1600  # of the width: seen, and hardly more than it is
_LONGEST_WORD = 40  # characters


_Person: TypeAlias = tuple[int, int]  # id, and which of those who had it


class People(NamedTuple):
    """What is to be drawn.

    Attributes:
        labels: of the rows, a person each, from top to bottom. Where two have one name, or an id
            had two owners, the id tells them apart.
        spans: who speaks when: ``participant``, ``row`` (int64), ``start``, ``end`` (float64,
            s on the relative clock, or :meth:`on` another), ``complete`` (bool), by start.
        words: ``row`` (int64, -1 for nobody that is known), ``text`` (str, fit to be shown),
            ``start``, ``end`` (float64, s), ``utterance`` (int64), ``language`` (str), by start.
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


def people_of(capture: Source, rows: int = MOST_ROWS) -> People:
    """Return who speaks when in a recording, and the words that have a time.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.
        rows: how many there are at most.

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.
    """
    streams = streams_of(capture)
    events = events_of(streams)
    roster = roster_of(streams, events)
    told, said = turns_of(streams, events, roster), words_of(streams, events, roster)
    said = said[said["start"].notna()].sort_values("start", kind="stable", ignore_index=True)
    spoke = _persons(told, roster)
    wrote = _persons(said, roster)
    seconds: dict[_Person, float] = {}
    first: dict[_Person, float] = {}
    for who, start, length in zip(spoke, told["start"], told["duration"], strict=True):
        assert who is not None
        seconds[who] = seconds.get(who, 0.0) + length
        first[who] = min(start, first.get(who, np.inf))
    for who, start in zip(wrote, said["start"], strict=True):
        if who is not None:
            seconds.setdefault(who, 0.0)
            first[who] = min(start, first.get(who, np.inf))
    most = sorted(seconds, key=lambda who: (-seconds[who], first[who], who))
    shown = most if len(most) <= rows else most[: rows - 1]
    shown = sorted(shown, key=lambda who: (first[who], who))
    labels = _labels(shown, most, roster)
    if others := len(most) - len(shown):
        labels.append(f"{others:,} others")
    row = dict.fromkeys(most, len(shown)) | {who: at for at, who in enumerate(shown)}
    spans = told[["participant", "start", "end", "complete"]].assign(
        row=np.array([row[who] for who in spoke if who is not None], np.int64)
    )
    words = pd.DataFrame(
        {
            "row": np.array([-1 if who is None else row[who] for who in wrote], np.int64),
            "text": said["text"].map(lambda text: shortened(text, _LONGEST_WORD)).astype("str"),
            "start": said["start"],
            "end": said["end"],
            "utterance": said["utterance"],
            "language": said["language"],
        }
    )
    return People(tuple(labels), spans, words)


def _persons(frame: pd.DataFrame, roster: Roster) -> list[_Person | None]:
    """Return id and person of each row of a frame; None for nobody that is known."""
    return [
        None if pd.isna(who) else (int(who), roster.person(int(who), start))
        for who, start in zip(frame["participant"], frame["start"], strict=True)
    ]


def _labels(shown: Sequence[_Person], everybody: Sequence[_Person], roster: Roster) -> list[str]:
    """Return what people are called: by their last name, and what they were called before."""
    names = {}
    for who, person, stays in roster.people():
        told = dict.fromkeys(name for stay in stays for name in reversed(stay.values("name")))
        last = stays[-1].at("name", np.nan)
        names[who, person] = [last, *(name for name in told if name != last)] if last else []
    used = Counter(names[one][0] for one in everybody if names[one])
    owners = Counter(who for who, _ in everybody)
    labels = []
    for one in shown:
        number = f"participant {one[0]}"
        if not names[one]:
            labels.append(number)
            continue
        last, *before = names[one]
        if used[last] > 1 or owners[one[0]] > 1:
            labels.append(f"{shortened(last, _NAME)} ({one[0]})")
        elif before:
            labels.append(f"{shortened(last, _NAME)} (was {shortened(before[0], _NAME)})")
        else:
            labels.append(shortened(last, _NAME) or number)
    return labels


def plot_speakers(
    captures: Any,
    ax: Axes | None = None,
    *,
    words: bool = False,
    rows: int = ALL_ROWS,
    clock: str = "relative",
    start: Moment | None = None,
    end: Moment | None = None,
    title: str | None = None,
) -> Axes:
    """Plot who speaks when, a lane a person, as the meeting told it.

    Beside each lane stand its seconds within the picture. Intervals of which an end was not told
    are pale. Where two people have one name, or an id had two owners, lanes carry the id.

    Args:
        captures: one, or the streams of a recording, as for :func:`recall_lab.analyse`; or
            anything else that has ``events``.
        ax: where to draw; a new figure by default.
        words: write what was said above the intervals, as far as there is room.
        rows: how many lanes there are at most, 1 to 16; of more people, those who speak least
            share the last, whose seconds are those in which any of them speaks.
        clock: ``"relative"``, or ``"absolute"`` for the sender's wall clock.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.
        title: above the picture; by default the recording and how many speak.

    Returns:
        The axes.

    Raises:
        InvalidArgument: for what has no events, or an option that can't be.

    Example:
        >>> plot_speakers(rl.load_recording("captures/9f3c"), words=True)  # doctest: +SKIP
    """
    whole("rows", rows, 1, ALL_ROWS)
    streams = streams_of(_loaded(captures))
    known = [one for one in streams if isinstance(one, Capture)]
    kept = [one for one in known if len(one.audio) or not one.packets.empty]
    axis = clock_map(analyse(kept[0]), clock) if kept else RELATIVE
    if not kept and clock != "relative":
        raise InvalidArgument("clock", clock, "'relative', where there are no packets")
    people = people_of(streams, rows)
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
    for row, own in inside.groupby("row"):
        # several share the last lane, and may speak at once: never more than the time there is
        told = sum(width for _, width in bars(own["start"].to_numpy(), own["end"].to_numpy(), 0.0))
        ax.text(
            1.01, int(str(row)), f"{told:,.1f} s, {told / (high - low):.0%}", va="center",
            transform=ax.get_yaxis_transform(), fontsize="small",
        )  # fmt: skip
    squares = any(SQUARE in legible(label) for label in people.labels)
    if words:
        for row in range(len(people.labels)):
            mine = shown.words[shown.words["row"] == row]
            squares |= write_words(ax, mine, span, row - 0.17)
    keys = []
    if squares:
        keys.append(Patch(alpha=0.0, label=MISSING))
    if not inside["complete"].all():
        keys.append(Patch(facecolor="0.5", alpha=0.45, label="an end was not told"))
    if keys:
        ax.legend(
            handles=keys, ncols=len(keys), loc="lower right", bbox_to_anchor=(1, 1),
            borderaxespad=0.2, frameon=False, fontsize="small",
        )  # fmt: skip
    if title is None:
        name = known[0].info.recording if known else "recording"
        by = counted(len(inside[["participant", "row"]].drop_duplicates()), "participant")
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
    ax.set_yticks(range(len(labels)), labels, parse_math=False, fontfamily=families(labels))
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _span(
    people: People, captures: Sequence[Capture], start: Moment | None, end: Moment | None
) -> tuple[float, float]:
    """Return what is shown: of the captures, else of what is told."""
    spans = [one.span for one in captures if len(one.audio)]
    if not spans:
        ends = people.words["end"].fillna(people.words["start"])
        spans = list(zip(people.spans["start"], people.spans["end"], strict=True))
        spans += zip(people.words["start"], ends, strict=True)
    first, last = crop_of(captures[0] if captures else None, start, end)
    low = min((a for a, _ in spans), default=0.0) if first is None else first
    high = max((b for _, b in spans), default=1.0) if last is None else last
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise InvalidArgument("start, end", (start, end), "two times, the first first")
    return float(low), max(float(high), low + 1e-3)
