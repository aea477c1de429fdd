"""Draw words on an axis of time, or count them where there is no room.

Words come from the network: they are made printable, and never read as mathematics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from recall_lab.plots import fonts
from recall_lab.plots.fonts import MISSING, SQUARE, families, legible
from recall_lab.plots.style import ink
from recall_lab.text import counted, shortened, spoken

WORD_ROWS: Final = 3
"""Lines of text in a lane of words."""

_SIZE = 7.0  # points
_LEAST_ROOM = 24.0  # points: less text than that says nothing
_INDENT = 2.5  # points between a word's mark and its text
_APART = 3.0  # points between two texts
_BINS = 200  # of a density


class _Text(NamedTuple):
    x: float  # s
    line: int
    text: str
    row: int


def draw_words(
    ax: Axes,
    words: pd.DataFrame,
    span: tuple[float, float],
    colors: Sequence[str],
    names: Sequence[str] = (),
) -> str:
    """Write what is said where there is room for it, else draw how many words there are.

    Each text begins at its mark, in the colour of who speaks.

    Args:
        ax: where to draw; its x axis has to be set.
        words: ``row``, ``text``, ``start`` (s on the axis), ``utterance``, by start (see
            :class:`recall_lab.plots.people.People`).
        span: what is shown, s.
        colors: of the rows.
        names: of the rows, to be written before each utterance; none where another lane tells.

    Returns:
        What there is to say beside the lane; empty for nothing.
    """
    ax.set_ylim(WORD_ROWS - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines[["top", "right", "left"]].set_visible(False)
    words = words[(words["start"] >= span[0]) & (words["start"] < span[1])]
    if names:
        heads = ~words.duplicated("utterance") & (words["row"] >= 0)
        who = words["row"].map(dict(enumerate(names)))
        words = words.assign(text=words["text"].where(~heads, who + ": " + words["text"]))
    laid = _laid(words, span, _points(ax), WORD_ROWS)
    for one in laid:
        color = colors[one.row] if one.row >= 0 else ink()
        ax.plot([one.x] * 2, [one.line - 0.4, one.line + 0.4], color=color, linewidth=2)
        _write(ax, one.x, one.line, one.text)
    if laid or words.empty:
        squares = any(SQUARE in one.text for one in laid)
        return "\n".join([counted(len(words), "word"), MISSING][: 1 + squares])
    width = (span[1] - span[0]) / _BINS
    counts, edges = np.histogram(words["start"], _BINS, span)
    most = counts.max()
    heights = (WORD_ROWS - 0.5) - counts / most * (WORD_ROWS - 0.2)
    ax.stairs(heights, edges, baseline=WORD_ROWS - 0.5, fill=True, color="0.55")
    return f"{counted(len(words), 'word')},\nup to {most / width * 60:,.0f} a minute"


def write_words(ax: Axes, words: pd.DataFrame, span: tuple[float, float], y: float) -> bool:
    """Write what one participant says on one line, as far as there is room; the rest is left out.

    Args:
        ax: where to write.
        words: ``row``, ``text``, ``start`` (s on the axis), ``utterance``, by start.
        span: what is shown, s.
        y: where the line is.

    Returns:
        Whether squares stand for letters that no font has.
    """
    words = words[(words["start"] >= span[0]) & (words["start"] < span[1])]
    laid = _laid(words, span, _points(ax), 1, thin=True)
    for one in laid:
        _write(ax, one.x, y, one.text)
    return any(SQUARE in one.text for one in laid)


def _points(ax: Axes) -> float:
    """Return the width of an axes, in points; the layout may still take a little of it."""
    return 0.95 * float(ax.get_window_extent().width) / ax.figure.dpi * 72


def _write(ax: Axes, x: float, y: float, text: str) -> None:
    ax.annotate(
        text, (x, y), (_INDENT, 0), textcoords="offset points", fontsize=_SIZE, va="center",
        annotation_clip=True, clip_on=True, parse_math=False, fontfamily=families(text),
    )  # fmt: skip


def _width_of(text: str) -> float:
    return fonts.width(text, _SIZE)


def _laid(
    words: pd.DataFrame, span: tuple[float, float], points: float, lines: int, *, thin: bool = False
) -> list[_Text]:
    """Say where words are written: each at its time, or utterance by utterance, cut to the room.

    Args:
        words: by start.
        span: what is shown, s.
        points: how wide that is.
        lines: how many lines there are.
        thin: leave utterances out where there are too many.

    Returns:
        Nothing where there is no room for most of them.
    """
    second = points / (span[1] - span[0])
    if 0 < len(words) <= lines * points / 10:
        texts = [legible(text) for text in words["text"]]
        wide = [_width_of(text) + _INDENT + _APART for text in texts]
        free = [-np.inf] * lines
        laid = []
        for x, width, text, row in zip(words["start"], wide, texts, words["row"], strict=True):
            line = next((at for at in range(lines) if free[at] <= x), None)
            if line is None:
                break
            if x + width / second > span[1]:  # it would be cut off by the edge
                continue
            free[line] = x + width / second
            laid.append(_Text(x, line, text, int(row)))
        else:
            return laid
    said = words.groupby("utterance", sort=False).agg(
        start=("start", "min"), row=("row", "first"), text=("text", spoken)
    )
    said = said.sort_values("start", kind="stable")
    while len(said):
        starts = said["start"].to_numpy()
        until = np.append(starts[lines:], np.full(min(lines, len(said)), span[1]))
        room = (until - starts) * second - _INDENT - _APART
        fits = room >= _LEAST_ROOM
        if fits.mean() >= 0.6 or (thin and len(said) <= lines):
            return [
                _Text(x, at % lines, _cut(text, space), int(row))
                for at, (x, space, text, row) in enumerate(
                    zip(starts, room, said["text"], said["row"], strict=True)
                )
                if space >= _LEAST_ROOM
            ]
        if not thin:
            break
        said = said.iloc[::2]
    return []


def _cut(text: str, room: float) -> str:
    """Return as much of a text as has room, in points."""
    limit = max(int(room / 2), 2)  # no letter is narrower, or hardly
    while True:
        shown = legible(shortened(text, limit))
        width = _width_of(shown)
        if width <= room or limit <= 2:
            return shown
        limit = max(min(limit - 1, int(len(shown) * room / width)), 2)
