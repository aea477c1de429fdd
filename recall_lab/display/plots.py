"""Plots. Each takes ``ax``, draws into it and returns it; none shows or changes settings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity import missing_spans
from recall_lab.display.style import BLUE, VERMILION, time_axis
from recall_lab.display.style import title as set_title
from recall_lab.text import counted
from recall_lab.wire.pcm import FULL_SCALE, RATE


def plot_waveform(
    capture: Capture,
    ax: Axes | None = None,
    *,
    columns: int = 1600,
    color: str = BLUE,
    missing: bool = True,
    tolerance: float | None = None,
    title: str | None = None,
) -> Axes:
    """Plot the waveform on the relative clock, as its envelope, with missing spans marked.

    Args:
        capture: what to plot. Without packets, time is counted in samples from 0.
        ax: where to draw; a new figure by default.
        columns: steps of the time axis; each shows the lowest and highest sample in it.
        color: of the waveform.
        missing: mark the spans for which no audio arrived.
        tolerance: spans of up to so many seconds are not marked; by default what the stamps
            leave in doubt (see :mod:`recall_lab.capture.continuity`).
        title: above the picture; by default the stream, its length and what is missing.

    Returns:
        The axes.

    Example:
        >>> plot_waveform(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(10, 3), layout="constrained")
    start, end = capture.span
    times, low, high = _envelope(capture, start, end, columns)
    ax.fill_between(times, low, high, color=color, linewidth=0.4, step="mid")
    peak = float(np.nanmax(np.abs([low, high]), initial=0.0)) if len(times) else 0.0
    limit = 1.15 * peak or 1.0
    ax.set_ylim(-limit, limit)
    spans = missing_spans(capture.packets, tolerance)
    lost = float(np.sum(spans[:, 1] - spans[:, 0]))
    if missing and len(spans):
        ax.broken_barh(
            [(begin, stop - begin) for begin, stop in spans],
            (0, 1),
            transform=ax.get_xaxis_transform(),
            facecolor=VERMILION,
            edgecolor=VERMILION,
            alpha=0.35,
            linewidth=0.8,
        )
        key = Patch(facecolor=VERMILION, edgecolor=VERMILION, alpha=0.35)
        label = f"missing: {counted(len(spans), 'span')}, {lost:.2f} s"
        ax.legend(
            [key], [label], loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
            frameon=False,
        )  # fmt: skip
    if title is None:
        title = f"{capture.info.stem}: {capture.duration:.1f} s of audio"
    set_title(ax, title)
    time_axis(ax, start, max(end, start + 1 / RATE))
    ax.set_ylabel("amplitude (full scale = 1)")
    ax.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    return ax


def _envelope(
    capture: Capture, start: float, end: float, columns: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return column centres (s) and the lowest and highest sample in each; NaN where none is."""
    width = max((end - start) / columns, 1 / RATE)
    packets = capture.packets
    if packets.empty:
        offset, counts = np.zeros(1, np.int64), np.array([len(capture.samples)])
        begins = np.zeros(1)
    else:
        packets = packets[packets["samples"] > 0]
        offset = packets["offset"].to_numpy()
        counts = packets["samples"].to_numpy().astype(np.int64)
        begins = packets["relative"].to_numpy()
    # packets in blocks of half a column, so that each block lies in one column, nearly
    block = max(1, int(width * RATE / 2))
    blocks = -(-counts // block)
    within = np.arange(blocks.sum()) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    first = np.repeat(offset, blocks) + within * block
    last = np.minimum(first + block, np.repeat(offset + counts, blocks))
    # a block belongs where its middle is: its start may lie a rounding error before its column
    middle = np.repeat(begins, blocks) + (within * block + (last - first) / 2) / RATE
    column = ((middle - start) / width).astype(np.int64)
    size = int(np.ceil((end - start) / width)) if end > start else 0
    low = np.full(size, np.nan)
    high = np.full(size, np.nan)
    if len(first) and size:
        column = np.clip(column, 0, size - 1)
        edges = np.column_stack([first, last]).ravel()
        edges = edges[:-1] if edges[-1] >= len(capture.samples) else edges
        for out, ufunc in ((low, np.minimum), (high, np.maximum)):
            values = ufunc.reduceat(capture.samples, edges)[::2] / FULL_SCALE
            order = np.argsort(column, kind="stable")
            changes = np.flatnonzero(np.diff(column[order], prepend=-1))
            out[column[order][changes]] = ufunc.reduceat(values[order], changes)
    times = start + (np.arange(size, dtype=np.float64) + 0.5) * width
    return times, low, high
