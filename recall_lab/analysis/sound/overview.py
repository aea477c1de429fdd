"""Sum up the spectrum of many hours in as many columns as a picture has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recall_lab.analysis.sound.frames import Frames, Power, Spectra, frames_of, on_all_cores
from recall_lab.analysis.sound.spectrum import Floats
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration, duration, whole
from recall_lab.capture.capture import Moment
from recall_lab.wire.pcm import RATE

PERCENTILES: Final = (10, 50, 90)
"""Percentiles of power over the frames of a column."""

_MOST_COLUMNS: Final = 20_000
_SAMPLE: Final = 512  # frames of a column, evenly spread, that percentiles are taken from


@dataclass(frozen=True, eq=False, repr=False)
class Overview:
    """Power over time and frequency, a column for many frames. Made by :func:`overview`.

    Attributes:
        times: middle of each column, s on the relative clock, shape ``(columns,)``, float64.
        width: of a column, s.
        frequencies: Hz, shape ``(bins,)``, float64.
        mean: mean power of the frames of a column (Welch's estimate), shape ``(bins, columns)``,
            float32; NaN where not one frame was received whole.
        max: the highest power of any of its frames, likewise.
        percentiles: power that 10, 50 and 90 % of its frames stay below, shape
            ``(3, bins, columns)``, float32.
        missing: share of each column that was not received, 0 to 1, shape ``(columns,)``, float32.
        silence: share of its received frames that are digital silence, all samples zero, 0 to 1;
            NaN where none was received.
        reference: power of a full-scale sine in its bin: what 0 dBFS means.
    """

    times: Floats
    width: float
    frequencies: Floats
    mean: Power
    max: Power
    percentiles: Power
    missing: Power
    silence: Power
    reference: float

    def __repr__(self) -> str:
        rows, columns = self.mean.shape
        span = f"{self.times[0]:.1f} s to {self.times[-1]:.1f} s, " if columns else ""
        return f"<Overview {rows} bins x {columns:,} columns of {self.width:.3g} s, {span}power>"


def overview(
    source: Any,
    columns: int = 1600,
    *,
    window: str | tuple[str, float] = "hann",
    length: Duration = 0.025,
    start: Moment | None = None,
    end: Moment | None = None,
) -> Overview:
    """Sum up the spectrum of each column of a long picture, in one pass and constant memory.

    Frames overlap by half, so every sample counts (Welch, 1967). A frame counts in the column
    that its middle lies in, and only if all of it was received: missing audio is neither silence
    nor the click that its edges would make. Percentiles are taken from 512 frames of a column,
    evenly spread, where it has more.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        columns: how many, 1 to 20,000; fewer where a column would be shorter than two frames.
        window, length: of a frame, as for :func:`recall_lab.spectrogram`.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Raises:
        InvalidArgument: for a number, window or span that can't be.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> overview(np.zeros(160_000, np.int16), columns=100)
        <Overview 201 bins x 100 columns of 0.1 s, 0.1 s to 9.9 s, power>
    """
    length = duration("length", length)
    columns = whole("columns", columns, 1, _MOST_COLUMNS)
    line = as_timeline(source, start, end)
    frames = frames_of(len(line), window, length, length / 2)
    columns = min(columns, max(1, len(line) // (2 * len(frames.window)))) if len(line) else 0
    edges = np.linspace(0, len(line), columns + 1)
    # a column's frames are those whose middle lies in it
    firsts = np.ceil((edges - len(frames.window) / 2) / frames.hop).astype(np.int64)
    firsts = np.clip(firsts, 0, frames.count)
    firsts[-1:] = frames.count
    summary = _Summary(columns, frames.bins)

    def work(some: range) -> None:
        spectra = Spectra(line, frames)
        room = np.empty((_SAMPLE, frames.bins), np.float32)
        for column in some:
            first, last = int(firsts[column]), int(firsts[column + 1])
            missing = frames.missing(line, first, last)
            _sum_up(summary, column, spectra, (first, last), frames, missing, room)

    on_all_cores(work, columns, 1)
    lost = np.diff(line.missing(np.rint(edges).astype(np.int64))) / np.diff(edges)
    return Overview(
        times=line.start + (edges[:-1] + edges[1:]) / 2 / RATE,
        width=len(line) / columns / RATE if columns else 0.0,
        frequencies=frames.frequencies,
        mean=summary.mean.T,
        max=summary.max.T,
        percentiles=summary.percentiles.transpose(0, 2, 1),
        missing=lost.astype(np.float32),
        silence=summary.silence,
        reference=frames.reference,
    )


class _Summary:
    """What is known of each column, the bins of a column together in memory."""

    def __init__(self, columns: int, bins: int) -> None:
        self.mean = np.full((columns, bins), np.nan, np.float32)
        self.max = self.mean.copy()
        self.percentiles = np.full((len(PERCENTILES), columns, bins), np.nan, np.float32)
        self.silence = np.full(columns, np.nan, np.float32)


def _sum_up(
    summary: _Summary,
    column: int,
    spectra: Spectra,
    span: tuple[int, int],
    frames: Frames,
    missing: Power,
    room: Power,
) -> None:
    """Fill in one column."""
    first, last = span
    step = -(-(last - first) // _SAMPLE)
    total = np.zeros(frames.bins)
    highest = np.zeros(frames.bins, np.float32)
    kept = whole = silent = 0
    for low in range(first, last, frames.block):
        high = min(low + frames.block, last)
        power = spectra.power(low, high)
        heard = missing[low - first : high - first] == 0
        power = power if heard.all() else power[heard]
        if not len(power):
            continue
        picked = power[-whole % step :: step]
        room[kept : kept + len(picked)] = picked
        kept += len(picked)
        whole += len(power)
        total += power.sum(axis=0)
        np.maximum(highest, power.max(axis=0), out=highest)
        silent += len(power) - int(np.count_nonzero(power.any(axis=1)))
    if not whole:
        return
    summary.mean[column] = total / whole
    summary.max[column] = highest
    summary.silence[column] = silent / whole
    ordered = np.sort(room[:kept].T.copy(), axis=1)
    for at, percentile in enumerate(PERCENTILES):
        summary.percentiles[at, column] = ordered[:, round(percentile / 100 * (kept - 1))]
