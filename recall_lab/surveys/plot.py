"""Plot a survey: how good each day was, what was lost, which captures are bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from recall_lab.analysis.causes.causes import CAUSES, missing_label
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.plots.gaps import COLORS
from recall_lab.plots.style import BLUE, GREY, ORANGE, PALE, PURPLE, SKY, VERMILION, ink
from recall_lab.plots.style import title as set_title
from recall_lab.surveys.ranking import (
    AVAILABLE,
    believable,
    days_of,
    lasting,
    name_of,
    rank,
    recordings_of,
)
from recall_lab.text import counted, shortened

GOOD: Final = 100 - CATALOGUE["missing"].threshold
USABLE: Final = 100 - CATALOGUE["missing"].bad

LANES: Final = ("verdicts", "trend", "missing", "worst")
"""From top to bottom."""

_YELLOW = "#F0E442"  # of the palette of Okabe and Ito, too
_CLASSES: Final = (
    ("poor, below 80 % there", VERMILION),
    ("poor, 80 to 95 %", ORANGE),
    ("poor, 95 % or more", _YELLOW),
    ("failed", GREY),
    ("damaged files", PURPLE),
    ("usable", SKY),
    ("good", BLUE),
    ("empty", PALE),
)
_OF_KIND: Final = {"failed": 3, "damaged": 4, "usable": 5, "good": 6, "empty": 7}
_POOR: Final = (80.0, 95.0)  # where there are worse ones

_HEIGHTS: Final = {"verdicts": 3.2, "trend": 1.5, "missing": 1.5, "worst": 1.9}
_MOST_COLUMNS: Final = 400
_LEAST_COLUMNS: Final = 6  # so that one day is no wall
_ROWS: Final = 40  # cells on top of one another
_LISTED: Final = 8
_SHARES: Final = (100.0, GOOD, USABLE, 90.0, 0.0)  # marked on the axis of the trend


@dataclass(frozen=True)
class _Days:
    """The columns of the picture.

    Attributes:
        column: of each row of the frame; -1 without a date, or with one that can't be.
        count: of columns with a date.
        first: day of the first, counted from 1970-01-01.
        each: days of a column.
        odd: whether there are dates that can't be.
        loose: whether there are recordings without a date.
    """

    column: npt.NDArray[np.int64]
    count: int
    first: int
    each: int
    odd: bool
    loose: bool = False

    @property
    def aside(self) -> int | None:
        """Where stands what has no date."""
        if not self.loose:
            return None
        return self.count + self.broad if self.count else 0

    @property
    def broad(self) -> int:
        """How many columns that takes, so that it is seen beside many."""
        return max(1, self.count // 30)

    @property
    def width(self) -> int:
        """Columns of the picture: those, and as many free ones before them, too."""
        return self.count if self.aside is None else self.aside + self.broad


def plot_survey(frame: pd.DataFrame, figure: Figure | SubFigure | None = None) -> dict[str, Axes]:
    """Plot a survey: verdicts by day and recording, trends, causes, and what is bad and why.

    Four lanes below one another, the first three over days (UTC):

    - ``verdicts``: a column a day, a cell a recording (its worst stream), sorted so that what
      is bad stands at the bottom. Where a day has more recordings than there is room for, a cell
      stands for several and shows the worst of them; the axis says how many. Availability is that
      without silence: mutes and pauses are not held against a call.
    - ``trend``: how much is there in the median of a day's recordings, and in the worst tenth of
      them (what nine of ten are better than), on a scale that has room for the last percent.
      Mutes and pauses are not held against a call.
    - ``missing``: seconds missing in all streams, by cause.
    - ``worst``: days, names and reasons, the worst first, and at least one of each kind; errors
      of one kind and streams of one recording are a line each. A dot marks what stands out from
      the others by the rule of :func:`recall_lab.rank`: a modified z-score above 3.5
      (Iglewicz and Hoaglin, 1993).

    What has no date, or one so far from the others that a clock was wrong, stands in a column of
    its own at the right. Of years, a column is several days, as the axis says.

    Args:
        frame: of :func:`recall_lab.survey` with ``quality``, or rows of one.
        figure: where to draw, with constrained layout; a new one by default, 11 by 8.5 inches.

    Returns:
        The axes by lane.

    Raises:
        InvalidArgument: for another frame.

    Example:
        >>> plot_survey(rl.survey("captures/"))  # doctest: +SKIP
    """
    rows = rank(frame).reset_index(drop=True)
    if figure is None:
        figure = plt.figure(figsize=(11, 8.5), layout="constrained")
    heights = [_HEIGHTS[name] for name in LANES]
    grid = figure.add_gridspec(len(LANES), 1, height_ratios=heights)
    lanes = {name: figure.add_subplot(grid[at]) for at, name in enumerate(LANES)}
    if rows.empty:
        for name, ax in lanes.items():
            ax.set_axis_off()
            if name == "verdicts":
                ax.text(0.5, 0.5, "no captures", ha="center", va="center", color=ink())
        return lanes
    days = _days_of(rows["start"])
    calls = _recordings(rows, days.column)
    days = replace(days, loose=bool((calls["column"] < 0).any()))
    _heat(lanes["verdicts"], calls, days)
    _trend(lanes["trend"], calls, days)
    _missing(lanes["missing"], rows, calls, days)
    _worst(lanes["worst"], rows)
    spare = max(_LEAST_COLUMNS - days.width, 0) / 2
    for name in LANES[:3]:
        ax = lanes[name]
        ax.set_xlim(-0.5 - spare, days.width - 0.5 + spare)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xticks(*_ticks(days), parse_math=False)
        ax.tick_params(labelbottom=name == "missing")
    lanes["missing"].set_xlabel(
        "day (UTC)" if days.each == 1 else f"day (UTC), {days.each} in a column"
    )
    figure.align_ylabels([lanes[name] for name in LANES[:3]])
    return lanes


def _days_of(starts: pd.Series[Any]) -> _Days:
    """Return in which column each row stands."""
    known, days = believable(starts), days_of(starts)
    if not known.any():
        return _Days(np.full(len(days), -1), 0, 0, 1, odd=False)
    odd = bool((starts.notna().to_numpy() & ~known).any())
    first, last = int(days[known].min()), int(days[known].max())
    each = -(-(last - first + 1) // _MOST_COLUMNS)
    column = np.where(known, (days - first) // each, -1)
    return _Days(column, (last - first) // each + 1, first, each, odd)


def _recordings(rows: pd.DataFrame, column: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Return a row a recording: its column, what is there and the class of its worst stream."""
    there = rows[AVAILABLE].astype("float64")
    poor = np.searchsorted(_POOR, there.to_numpy(), "right")
    kind = rows["kind"].map(_OF_KIND).fillna(pd.Series(poor, rows.index)).astype(np.int64)
    one = pd.DataFrame(
        {"recording": recordings_of(rows), "column": column, "there": there, "class": kind}
    )
    one["column"] = one["column"].where(one["column"] >= 0)  # a stream without a date has others
    calls = one.groupby("recording", sort=False).agg(
        column=("column", "min"), there=("there", "min"), **{"class": ("class", "min")}
    )
    calls["column"] = calls["column"].fillna(-1).astype(np.int64)
    return calls.sort_values(["column", "class", "there"], kind="stable")


def _heat(ax: Axes, calls: pd.DataFrame, days: _Days) -> None:
    """Draw a column a day, what is bad at the bottom."""
    most = int(calls["column"].value_counts().max())
    each = -(-most // _ROWS)
    cells = np.full((-(-most // each), days.width), np.nan)
    for column, some in calls.groupby("column")["class"]:
        shown = some.to_numpy()[::each]  # the first of each few is the worst of them
        at = int(str(column))
        if days.aside is not None and at < 0:
            cells[: len(shown), days.aside : days.aside + days.broad] = shown[:, None]
        else:
            cells[: len(shown), at] = shown
    fine = len(cells) > 25 or days.width > 120
    ax.pcolormesh(
        np.arange(days.width + 1) - 0.5, np.arange(len(cells) + 1) * each, cells,
        cmap=ListedColormap([color for _, color in _CLASSES]),
        norm=BoundaryNorm(np.arange(len(_CLASSES) + 1) - 0.5, len(_CLASSES)),
        edgecolors="none" if fine else ax.get_facecolor(), linewidth=0 if fine else 0.6,
        rasterized=True,
    )  # fmt: skip
    ax.set_ylim(0, len(cells) * each)
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_ylabel(
        "recordings" if each == 1 else f"recordings (a cell: {each:,},\nthe worst of them shown)"
    )
    counts = calls["class"].value_counts()
    keys = [
        Patch(facecolor=color, label=f"{label}: {counts[at]:,}")
        for at, (label, color) in reversed(list(enumerate(_CLASSES)))
        if at in counts.index
    ]
    _aside(ax, keys, "verdict: recordings")
    set_title(ax, f"{counted(len(calls), 'recording')} by day, the bad ones at the bottom")


def _trend(ax: Axes, calls: pd.DataFrame, days: _Days) -> None:
    """Draw the median and the worst tenth of each day."""
    known = calls[(calls["column"] >= 0) & calls["there"].notna()]
    by_day = known.groupby("column")["there"]
    lines = {"median": np.full(days.count, np.nan), "worst tenth": np.full(days.count, np.nan)}
    for name, share in (("median", 0.5), ("worst tenth", 0.1)):
        found = by_day.quantile(share)
        lines[name][found.index.to_numpy(np.int64)] = _stretched(found.to_numpy())
    at = np.arange(days.count)
    small = 5.0 if days.count <= 60 else 2.5
    looks = (("worst tenth", VERMILION, "v"), ("median", BLUE, "o"))
    for name, color, marker in looks:
        ax.plot(
            at, lines[name], color=color, marker=marker, markersize=small, linewidth=1.2,
            label=name, markeredgewidth=0,
        )  # fmt: skip
    for share in (GOOD, USABLE):
        ax.axhline(float(_stretched(np.array(share))), color=ink(), alpha=0.25, linewidth=0.8)
    ticks = _stretched(np.array(_SHARES))
    low = min([ticks[2], *(float(line) for one in lines.values() for line in one if line == line)])
    ax.set_yticks(ticks, [f"{share:g}" for share in _SHARES])
    below = ticks[ticks <= low + 1e-9]
    ax.set_ylim((below.max() if len(below) else ticks.min()) - 0.15, ticks.max() + 0.25)
    ax.set_ylabel("audio there (%)")
    keys = [
        Line2D([], [], color=color, marker=marker, markersize=5, label=name)
        for name, color, marker in reversed(looks)
    ]
    _aside(ax, keys, "of a day's recordings")


def _missing(ax: Axes, rows: pd.DataFrame, calls: pd.DataFrame, days: _Days) -> None:
    """Draw what is missing each day, by cause."""
    column = recordings_of(rows).map(calls["column"]).to_numpy(np.int64)
    column = np.where(column < 0, days.count, column)  # without a date: after the last
    sums = {
        cause: np.bincount(
            column,
            np.nan_to_num(rows[missing_label(cause)].to_numpy(np.float64, na_value=0)),
            days.count + 1,
        )
        for cause in CAUSES
    }
    most = float(np.max(np.sum(list(sums.values()), axis=0)))
    at, width = np.arange(days.count + 1.0), np.full(days.count + 1, 0.9)
    if days.count > 120:
        width[:] = 1.0
    if days.aside is not None:
        at[-1] = days.aside + (days.broad - 1) / 2
        width[-1] *= days.broad
    unit, size = next(((u, s) for u, s in (("h", 3600), ("min", 60)) if most >= 2 * s), ("s", 1))
    bottom = np.zeros(days.count + 1)
    keys = []
    for cause, seconds in sums.items():
        total = float(rows[missing_label(cause)].sum())
        if not total > 0:
            continue
        ax.bar(
            at, seconds / size, bottom=bottom, color=COLORS[cause], linewidth=0,
            width=width, antialiased=days.count <= 120,
        )  # fmt: skip
        bottom += seconds / size
        keys.append(Patch(facecolor=COLORS[cause], label=f"{cause}: {lasting(total)}"))
    ax.set_ylim(0, max(float(bottom.max(initial=0)) * 1.08, 1e-3) if keys else 1)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_ylabel(f"missing ({unit})")
    if keys:
        _aside(ax, keys[::-1], "missing, all streams")
    else:
        ax.set_yticks([0])
        ax.text(
            0.5, 0.5, "nothing is missing" if rows["missing_s"].notna().any() else "not measured",
            transform=ax.transAxes, ha="center", va="center", color=ink(),
        )  # fmt: skip


def _worst(ax: Axes, rows: pd.DataFrame) -> None:
    """Write what is bad, and why."""
    ax.set_axis_off()
    bad = rows[rows["why"] != ""]
    far = int(bad["outlier"].sum())
    heading = "Nothing is bad"
    if len(bad):
        heading = f"The worst of {len(bad):,} that are not as they should be"
        stand = "stands" if far == 1 else "stand"
        heading += f"; {far:,} with a dot {stand} out from the others" if far else ""
    set_title(ax, heading)
    room = Rectangle((0.1, -9), 0.35, 10, transform=ax.transAxes)  # names may be of wide letters
    for number, (day, name, why, outlier) in enumerate(_lines(bad)):
        dot = "\N{BLACK CIRCLE}" if outlier else ""
        looks = ((0.0, day, ink()), (0.085, dot, VERMILION), (0.1, name, ink()), (0.46, why, ink()))
        for x, text, color in looks:
            shown = ax.annotate(
                text, (x, 1), (0, -3 - 13 * number), xycoords="axes fraction",
                textcoords="offset points", va="top", fontsize=8, color=color,
                parse_math=False, in_layout=False, annotation_clip=False, clip_on=text is name,
            )  # fmt: skip
            shown.set_clip_path(room)


def _lines(bad: pd.DataFrame) -> Iterator[tuple[str, str, str, bool]]:
    """Yield day, name and reason of a few lines, and whether they stand out."""
    alike = bad["error"].str.split(":").str[0].where(bad["error"] != "", recordings_of(bad))
    sizes = alike.value_counts()
    first = bad[~alike.duplicated()]
    # the worst of each kind, though there be many that are worse of another
    again = first["kind"].duplicated()
    first = first.loc[[*first.index[~again], *first.index[again]][:_LISTED]].sort_index()
    columns = ("source", "participant", "name", "start", "why", "outlier", "error")
    for key, *told in zip(alike[first.index], *(first[name] for name in columns), strict=True):
        source, participant, name, start, why, outlier, error = told
        more = int(sizes[key]) - 1
        others = f"{'' if error else 'its '}{more:,} more{'' if error else ' streams'}"
        if more == 1 and not error:
            others = "another of its streams"
        shown = shortened(name_of(source, participant, name), 44)
        day = "no date" if pd.isna(start) else str(start)[:10]
        reason = shortened(f"(and {others}) {why}" if more else why, 98)
        yield day, shown, reason, bool(outlier)


def _stretched(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return where a share (%) stands on a scale that has room for 99, 99.9 and 100."""
    return -np.log10(np.clip(100 - share, 0, 100) + 0.03)


def _ticks(days: _Days) -> tuple[list[float], list[str]]:
    """Return some columns and their days."""
    step = max(-(-days.count // 8), 1)
    at = list(range(0, days.count, step))
    names = [str(np.datetime64(days.first + column * days.each, "D")) for column in at]
    if days.aside is not None:
        middle = days.aside + (days.broad - 1) / 2
        if at and middle - at[-1] < 0.7 * step:
            at, names = at[:-1], names[:-1]
        return [*at, middle], [*names, "none, or odd" if days.odd else "no date"]
    return [float(column) for column in at], names


def _aside(ax: Axes, keys: list[Any], heading: str) -> None:
    ax.legend(
        handles=keys, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small",
        title=heading, title_fontsize="small", alignment="left",
    )  # fmt: skip
