"""Find a steady slope of the level: a sample clock that is off, or audio always short."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from recall_lab.capture.continuity.level_steps import HALF_SAMPLE, Floats, Positions, median_of

CLOCK: Final = 1.1e-3
"""Share by which a sample clock may be off: 1,000 ppm and what it takes to measure them."""

_BLOCK: Final = 1_024  # joins over which the level is taken to run evenly
_LAGS: Final = (1, 4, 16, 64)  # packets over which it is seen to run
_TIGHT: Final = 2e-6  # s: the same but for rounding to microseconds
_ENDS: Final = 32  # packets that tell how high the level is in the end
_REGULAR: Final = 12  # equal steps at equal distances that make a clock


def level_out(misses: Floats, lasts: Floats, grid: float) -> tuple[Floats, Floats, bool]:
    """Take out how the level runs all the time; tell how, and whether a clock was taken out.

    Args:
        misses: by how much joins miss, s.
        lasts: how long the packets before them last, s.
        grid: step that stamps are rounded to, s; 0.0 for none.
    """
    clock = np.zeros(len(misses))
    count = max(1, round(len(misses) / _BLOCK))
    edges = np.linspace(0, len(misses), count + 1).astype(np.int64).tolist()
    for low, high in pairwise(edges):
        if high - low >= 8:
            clock[low:high] = _rate(misses[low:high], lasts[low:high], grid)
    even = False
    rate = _slope(misses - clock * lasts, lasts)
    if rate:
        tried = clock + rate
        before, after = (
            np.count_nonzero(np.abs(misses - run * lasts) > HALF_SAMPLE) for run in (clock, tried)
        )
        if after <= 2 * before + 8:  # else they are steps between exact joins
            clock, even = tried, True
    return misses - clock * lasts, clock, even


def grid_of(misses: Floats, lasts: Floats) -> float:
    """Return the step that stamps are rounded to, s; 0.0 where none is seen, or less than a sample.

    What stamps move on by takes few values then, and the nearest of these are one step apart.
    """
    middle = median_of(misses / lasts)
    near = np.abs(misses - middle * lasts) <= _TIGHT
    if np.count_nonzero(near) > len(near) / 2 and abs(middle) * np.ptp(lasts[near]) > 2 * _TIGHT:
        small = np.abs(misses - middle * lasts) < float(lasts.min()) / 2
        if 0.9 < misses[small].sum() / (middle * lasts[small].sum()) < 1.1:
            return 0.0  # packets of several lengths that all fit: a clock, or short audio
    steps = misses + lasts
    usual, shortest = typical(lasts)
    some = np.sort(steps[(steps > _TIGHT) & (steps < 4 * usual)])
    heads = np.flatnonzero(np.diff(some, prepend=0.0) > 2 * _TIGHT)
    counts = np.diff(heads, append=len(some))
    often = counts > 1
    if len(some) < _REGULAR or np.count_nonzero(often) < 2:
        return 0.0
    values = (np.add.reduceat(some, heads) / counts)[often]
    grid = float(np.diff(values).min())
    if not 2 * HALF_SAMPLE <= grid <= 0.7 * shortest:
        return 0.0
    grid = float(values.sum() / np.rint(values / grid).sum())
    off = np.abs(some - np.rint(some / grid) * grid) > _TIGHT
    return grid if np.count_nonzero(off) <= len(some) // 32 else 0.0


def typical(lasts: Floats) -> tuple[float, float]:
    """Return how long packets last in the median, and those that are shorter than most, s."""
    if (lasts == lasts[0]).all():  # nearly always
        return float(lasts[0]), float(lasts[0])
    return median_of(lasts), float(np.quantile(lasts, 0.1, method="lower"))


def unaccounted(rest: Floats, ran: float) -> float:
    """Return by how much the level is higher in the end than all that was found explains, s.

    So little more is missing, or less, where audio is short all the time: by `ran` in all.
    """
    level = np.cumsum(rest)
    size = min(_ENDS, len(level) // 4)
    left = median_of(level[-size:]) - median_of(level[:size])
    left *= len(level) / (len(level) - size)
    return left if abs(left) <= abs(ran) / 5 else 0.0


def _rate(misses: Floats, lasts: Floats, grid: float) -> float:
    """Return by which share the level of a block runs up from packet to packet; 0.0 if unsure."""
    size = len(misses)
    if np.count_nonzero(np.abs(misses) <= _TIGHT) > size / 2:
        return 0.0
    usual, shortest = typical(lasts)
    total, whole = float(lasts.sum()), float(misses.sum())
    least = 0.75 * shortest  # of lengths, if several

    def stays(rate: float, width: float) -> bool:
        """Tell whether the level runs like that in the end, too: it does not on a grid."""
        if rate == 0 or (abs(rate) >= 0.25 and whole / (rate * total) <= 0.25):
            return False
        small = np.abs(misses - rate * lasts) < least
        if not small.any():
            return False
        share = float(misses[small].sum() / (rate * lasts[small].sum()))
        if width * usual > _TIGHT:
            return share > 0.25
        # no grid makes so little from packet to packet: what outweighs it is something else
        fine = abs(rate) * usual < HALF_SAMPLE and abs(share) > 0.25
        return fine or share > 0.9

    middle = median_of(misses / lasts)
    tight = np.count_nonzero(np.abs(misses - middle * lasts) <= _TIGHT) > size / 2
    if tight and not grid and stays(middle, 0.0):
        return middle
    level, time = np.zeros(size + 1), np.zeros(size + 1)
    np.cumsum(misses, out=level[1:])
    np.cumsum(lasts, out=time[1:])
    surest, best = np.inf, 0.0
    nearest: tuple[float, float] | None = None
    for lag in _LAGS:
        if lag > size // 4:
            break
        apart = slice(None, None, max(lag // 4, 1))  # those between tell hardly more
        rates = (level[lag:] - level[:-lag])[apart] / (time[lag:] - time[:-lag])[apart]
        rate, width = _shortest_half(rates)
        width = max(width, grid / (lag * usual))
        error = width / np.sqrt((size + 1 - lag) / lag) + 1e-7
        nearest = nearest or (rate, max(error, grid / usual))
        if abs(rate) > 5 * error and not stays(rate, width):
            continue
        # losses lift the level over many packets, but not from one to the next
        if abs(rate) > CLOCK and abs(rate - nearest[0]) > 4 * nearest[1]:
            continue
        if error < surest:
            surest, best = error, rate
    return best if abs(best) > 5 * surest else 0.0


def _slope(misses: Floats, lasts: Floats) -> float:
    """Return the slope of the level over all: a clock, where joins tell one; 0.0 else."""
    if len(misses) < 64:
        return 0.0
    usual, scatter = typical(lasts)[0], median_of(np.abs(misses))
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
    if alike.mean() < 0.6 or abs(sizes[at[alike]].sum()) > CLOCK * total:
        return
    at = at[alike]
    apart = np.diff(np.cumsum(lasts)[at])
    between = median_of(apart)
    turns = np.maximum(np.rint(apart / between), 1)
    if np.mean(np.abs(apart / turns - between) <= 0.25 * between) < 0.8:
        return
    clock += sizes[at].sum() / total
    sizes[at] = 0.0
