"""How the level runs all the time: a sample clock that is off, or audio that is always short."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from recall_lab.capture.level_steps import HALF_SAMPLE, Floats, Positions, median_of

CLOCK: Final = 1.1e-3
"""Share by which a sample clock may be off: 1,000 ppm and what it takes to measure them."""

_BLOCK: Final = 1_024  # joins over which the level is taken to run evenly
_LAGS: Final = (1, 4, 16, 64)  # packets over which it is seen to run
_TIGHT: Final = 2e-6  # s: the same but for rounding to microseconds
_REGULAR: Final = 12  # equal steps at equal distances that make a clock


def level_out(misses: Floats, lasts: Floats) -> tuple[Floats, Floats, bool]:
    """Take out how the level runs all the time; tell how, and whether a clock was taken out."""
    clock = np.zeros(len(misses))
    count = max(1, round(len(misses) / _BLOCK))
    edges = np.linspace(0, len(misses), count + 1).astype(np.int64).tolist()
    for low, high in pairwise(edges):
        if high - low >= 8:
            clock[low:high] = _rate(misses[low:high], lasts[low:high])
    even = False
    if not clock.all():
        rate = _slope(misses - clock * lasts, lasts)
        if rate:
            tried = np.where(clock == 0, rate, clock)
            before, after = (
                np.count_nonzero(np.abs(misses - run * lasts) > HALF_SAMPLE)
                for run in (clock, tried)
            )
            if after <= 2 * before + 8:  # else they are steps between exact joins
                clock, even = tried, True
    return misses - clock * lasts, clock, even


def _rate(misses: Floats, lasts: Floats) -> float:
    """Return by which share the level of a block runs up from packet to packet; 0.0 if unsure."""
    size = len(misses)
    if np.count_nonzero(np.abs(misses) <= _TIGHT) > size / 2:
        return 0.0
    usual, total = median_of(lasts), float(lasts.sum())
    small = float(misses[np.abs(misses) < 0.75 * usual].sum())
    whole = float(misses.sum())

    def stays(rate: float, least: float = 0.25) -> bool:
        """Tell whether the level runs like that in the end, too: it does not on a grid."""
        ran = small if abs(rate) < 0.25 else whole
        return rate != 0 and ran / (rate * total) > least

    middle = median_of(misses / lasts)
    if np.count_nonzero(np.abs(misses - middle * lasts) <= _TIGHT) > size / 2:
        # no grid makes so little from packet to packet: what outweighs it is something else
        fine = abs(middle) * usual < HALF_SAMPLE and abs(small) > abs(middle) * total / 4
        if fine or stays(middle, 0.8):
            return middle
    level = np.concatenate([[0.0], np.cumsum(misses)])
    time = np.concatenate([[0.0], np.cumsum(lasts)])
    least, best = np.inf, 0.0
    nearest: tuple[float, float] | None = None
    for lag in _LAGS:
        if lag > size // 4:
            break
        rate, width = _shortest_half((level[lag:] - level[:-lag]) / (time[lag:] - time[:-lag]))
        error = width / np.sqrt((size + 1 - lag) / lag) + 1e-7
        nearest = nearest or (rate, error)
        if abs(rate) > 5 * error and not stays(rate):
            continue
        # losses lift the level over many packets, but not from one to the next
        if abs(rate) > CLOCK and abs(rate - nearest[0]) > 4 * nearest[1]:
            continue
        if error < least:
            least, best = error, rate
    return best if abs(best) > 5 * least else 0.0


def _slope(misses: Floats, lasts: Floats) -> float:
    """Return the slope of the level over all: a clock, where joins tell one; 0.0 else."""
    if len(misses) < 64:
        return 0.0
    usual, scatter = median_of(lasts), median_of(np.abs(misses))
    rough = scatter >= usual / 16
    # a lost packet is no slope; where stamps scatter as far, it can't be told apart
    level = np.cumsum(misses if rough else np.where(np.abs(misses) < usual / 4, misses, 0.0))
    edges = np.linspace(0, len(misses), 65).astype(np.int64)
    heads, sizes = edges[:-1], np.diff(edges)
    values = np.add.reduceat(level, heads) / sizes
    times = np.add.reduceat(np.cumsum(lasts), heads) / sizes
    left, right = np.triu_indices(64, 1 if rough else 16)
    slopes = (values[right] - values[left]) / (times[right] - times[left])
    if rough:
        rate, width = _shortest_half(slopes[right - left <= 8])
        rate = 0.0 if abs(rate) < 3 * width / 4 else rate
    else:
        rate = median_of(slopes)  # Theil and Sen
        low, high = np.quantile(values - rate * times, (0.15, 0.85))
        if abs(rate) * times[-1] < 3 * (high - low):  # no more than what scatters
            rate = 0.0
    return rate if abs(rate) <= CLOCK else 0.0


def _shortest_half(values: Floats) -> tuple[float, float]:
    """Return the middle and the width of the shortest interval that holds half of the values.

    A mode that neither half of the values can move (Rousseeuw & Leroy 1988): losses lift some.
    """
    values = np.sort(values)
    half = len(values) // 2
    widths = values[half:] - values[: len(values) - half]
    at = int(np.argmin(widths))
    low, high = values[at + half // 2], values[at + (half + 1) // 2]
    return float(low + high) / 2, float(widths[at])


def drift_of(misses: Floats, lasts: Floats, torn: Positions) -> float:
    """Return at which rate the level runs up in joins that are whole; 0.0 for less than a sample.

    Sample clocks are so nearly right that no single join shows it, only many.
    """
    ran = float(misses.sum() - misses[torn].sum())
    if abs(ran) <= 2 * HALF_SAMPLE or abs(ran) < 6 * _noise(misses, torn):
        return 0.0
    # on a grid finer than a sample the level runs, too, and falls back at the torn joins
    small = torn[np.abs(misses[torn]) < lasts[torn] / 4]
    if len(small) and abs(ran + misses[small].sum()) < abs(ran) / 4:
        return 0.0
    return ran / float(lasts.sum() - lasts[torn].sum())


def _noise(misses: Floats, torn: Positions) -> float:
    """Return the standard error of the sum of all joins that are whole, s."""
    return float(np.sqrt(max(np.dot(misses, misses) - np.dot(misses[torn], misses[torn]), 0.0)))


def take_out_clock(sizes: Floats, clock: Floats, lasts: Floats) -> None:
    """Take small steps of one size at regular distances for what they are: a clock on a grid."""
    usual = median_of(lasts)
    at = np.flatnonzero((sizes != 0) & (np.abs(sizes) < usual / 4))
    if len(at) < _REGULAR:
        return
    size = median_of(sizes[at])
    alike = np.abs(sizes[at] - size) <= max(0.02 * abs(size), HALF_SAMPLE)
    total = float(lasts.sum())
    if alike.mean() < 0.9 or abs(sizes[at].sum()) > CLOCK * total:
        return
    at = at[alike]
    apart = np.diff(np.cumsum(lasts)[at])
    between = median_of(apart)
    turns = np.maximum(np.rint(apart / between), 1)
    if np.mean(np.abs(apart / turns - between) <= 0.25 * between) < 0.8:
        return
    clock += sizes[at].sum() / total
    sizes[at] = 0.0
