"""Measure loudness by EBU R 128, of recordings of any length."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyloudnorm

from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Moment
from recall_lab.wire.pcm import RATE

_STEP = RATE // 10  # samples: windows are made of tenths of a second
_MOMENTARY, _SHORT_TERM = 4, 30  # tenths of a second
_BLOCK = 600  # tenths worked on together: a minute
_SETTLE = 10  # tenths heard before each block, so that the filters have settled
_ABSOLUTE_GATE: Final = -70.0  # LUFS
_OFFSET = -0.691  # LUFS of a mean square of 1: a sine of 1 kHz is to read -3.01


def loudness(
    source: Any, *, start: Moment | None = None, end: Moment | None = None
) -> pd.Series[float]:
    """Measure loudness as EBU R 128 has it: K-weighted and gated, as one loudspeaker plays it.

    A tenth of a second that was received in part counts by what was received; one of which less
    than a quarter was does not count.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Returns:
        ``integrated_lufs`` (ITU-R BS.1770-4), ``range_lu`` (EBU Tech 3342),
        ``momentary_max_lufs``, ``short_term_max_lufs`` (loudest 0.4 s and 3 s, EBU Tech 3341).
        NaN where there is too little: all below -70 LUFS, or less than 0.4 s, or 3 s.

    Raises:
        InvalidArgument: for a span that can't be.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> loudness(rl.load("data/standup-lossy.bin"))["integrated_lufs"]  # doctest: +SKIP
        -30.1
    """
    power = _tenths(as_timeline(source, start, end))
    momentary, short_term = _means(power, _MOMENTARY), _means(power, _SHORT_TERM)
    gated = _gated(momentary, -10.0)
    spread = _gated(short_term, -20.0)
    low, high = np.percentile(_lufs(spread), [10, 95]) if len(spread) else (np.nan, np.nan)
    return pd.Series(
        {
            "integrated_lufs": float(_lufs(gated.mean())) if len(gated) else np.nan,
            "range_lu": float(high - low),
            "momentary_max_lufs": float(_lufs(momentary.max())) if len(momentary) else np.nan,
            "short_term_max_lufs": float(_lufs(short_term.max())) if len(short_term) else np.nan,
        },
        name="loudness",
    )


def _tenths(line: Timeline) -> npt.NDArray[np.float64]:
    """Return the K-weighted mean square of each tenth of a second; NaN where too much is missing.

    pyloudnorm filters and squares; a minute at a time, so that a day needs no more memory.
    """
    meter = pyloudnorm.Meter(RATE, block_size=0.1, overlap=0.0)
    count = len(line) // _STEP
    edges = np.arange(count + 1) * _STEP
    power = np.empty(count)
    for low in range(0, count, _BLOCK):
        high = min(low + _BLOCK, count)
        first = max(low - _SETTLE, 0)
        samples = line.take(first * _STEP, high * _STEP) * line.unit
        meter.integrated_loudness(np.asarray(samples, np.float64))
        levels = np.array(meter.blockwise_loudness)[low - first :]
        power[low:high] = 10 ** ((levels - _OFFSET) / 10)
        line.release()
    heard = 1 - np.diff(line.missing(edges)) / _STEP
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(heard >= 0.25, power / heard, np.nan)


def _means(power: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Return the mean of every `width` tenths in a row of which none is missing."""
    if len(power) < width:
        return np.empty(0)
    windows = np.lib.stride_tricks.sliding_window_view(power, width)
    means = windows.mean(axis=1)
    whole: npt.NDArray[np.float64] = means[np.isfinite(means)]
    return whole


def _gated(power: npt.NDArray[np.float64], relative: float) -> npt.NDArray[np.float64]:
    """Return what is above -70 LUFS, and above its own mean by `relative` LU."""
    loud = power[power >= 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)]
    if not len(loud):
        return loud
    gated: npt.NDArray[np.float64] = loud[loud > loud.mean() * 10 ** (relative / 10)]
    return gated


def _lufs(power: npt.ArrayLike) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        level: npt.NDArray[np.float64] = _OFFSET + 10 * np.log10(power)
    return level
