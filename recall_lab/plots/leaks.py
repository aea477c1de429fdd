"""Plot who is heard in whose stream, as a matrix."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from recall_lab.analysis.meeting.people import names_of
from recall_lab.analysis.recording.crosstalk import FAINTEST
from recall_lab.analysis.recording.leaks import leaks_of, owner_of, separate_of, table_of_leaks
from recall_lab.plots.fonts import legible
from recall_lab.plots.style import VERMILION, ink
from recall_lab.plots.style import title as set_title
from recall_lab.text import counted, shortened

_NAME: Final = 16  # characters
_PALEST: Final = 0.12
_SMALL: Final = 9  # streams, from which on only the level is written


def plot_leaks(recording: Any, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Plot who is heard in whose stream: a row a speaker, a column a stream.

    In a cell stands how loud the voice is there, dB of the speaker's own stream, how much later,
    and in what share of what they say; the redder, the louder. Empty: nothing leaks.

    Args:
        recording: the streams of one recording, as for :func:`recall_lab.leaks`.
        ax: where to draw; a new figure by default.
        title: above the picture; by default the recording and how many voices leak.

    Returns:
        The axes.

    Raises:
        InvalidArgument: for what are no streams of one recording.
        MissingTimestamps: for audio without packets.

    Example:
        >>> plot_leaks(rl.load_recording("captures/9f3c"))  # doctest: +SKIP
    """
    streams = separate_of(recording)
    table = table_of_leaks(leaks_of(streams))
    owners = [owner_of(one) for one in streams]
    at = {who: place for place, who in enumerate(owners)}
    count = max(len(owners), 1)
    small = count >= _SMALL
    if ax is None:
        wide = (0.62 if small else 1.05) * count
        _, ax = plt.subplots(figsize=(2.6 + wide, 1.5 + 0.62 * count), layout="constrained")
    for place in range(len(owners)):
        own = Rectangle(
            (place - 0.5, place - 0.5), 1, 1, facecolor="0.5", alpha=0.25, edgecolor="none"
        )
        ax.add_patch(own)
    for row in table.to_dict("records"):
        x, y = at[row["stream"]], at[row["participant"]]
        loud = 1 - min(max(row["attenuation"] / FAINTEST, 0), 1)
        alpha = _PALEST + (1 - _PALEST) * loud
        cell = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=VERMILION, alpha=alpha, lw=0)
        ax.add_patch(cell)
        text = f"{_signed(-row['attenuation'], 0)}"
        if not small:
            text = f"{text} dB\n{_signed(row['lag'], 0 if abs(row['lag']) >= 20 else 1)} ms"
            text += f"\n{row['share']:.0%}"
        ax.text(x, y, text, ha="center", va="center", fontsize="small", color=ink())
    _axes(ax, _labels(streams), count)
    if title is None:
        name = streams[0].info.recording if streams else "recording"
        title = f"{name}: {counted(len(table), 'voice')} in another's stream"
        if table.empty:
            title = f"{name}: no voice in another's stream"
    set_title(ax, title)
    return ax


def _axes(ax: Axes, labels: list[str], count: int) -> None:
    """Label rows and columns, and draw lines between the cells."""
    ax.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    ax.set_xlabel("in the stream of")
    ax.set_ylabel("the voice of")
    turned = max(map(len, labels), default=0) > (3 if count >= _SMALL else 9)
    ax.set_xticks(
        range(len(labels)), labels, parse_math=False,
        rotation=30 if turned else 0, ha="right" if turned else "center",
    )  # fmt: skip
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    for edge in range(1, count):
        ax.axhline(edge - 0.5, color="0.5", alpha=0.35, lw=0.8)
        ax.axvline(edge - 0.5, color="0.5", alpha=0.35, lw=0.8)
    ax.tick_params(length=0)
    ax.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _labels(streams: list[Any]) -> list[str]:
    """Return names fit to be shown; the number stands beside those that two people have."""
    names = names_of(streams)
    found = [shortened(names.get(owner_of(one), ""), _NAME) for one in streams]
    twice = {name for name, times in Counter(found).items() if times > 1}
    return [
        legible(name if name and name not in twice else f"{name} ({owner_of(one)})".strip())
        for name, one in zip(found, streams, strict=True)
    ]


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
