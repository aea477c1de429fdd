"""Steps of the level that last, seen at every scale."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from recall_lab.wire.pcm import RATE

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

HALF_SAMPLE: Final = 0.5 / RATE
"""Seconds: closer than that, two instants are the same sample."""

_WINDOW: Final = 16  # packets before and after a join
_TRIMMED: Final = 0.15  # of them may lie anywhere
_SEGMENT: Final = 32  # packets that tell how high the level is
_SURE: Final = 4.0  # times its error that a step has to be
_COARSER: Final = 4  # packets whose mean is one of the next scale


def steps_of(misses: Floats, torn: Mask, lasts: Floats) -> Floats:
    """Return the steps of the level that last, at every scale."""
    sizes = np.zeros(len(misses))
    at = np.flatnonzero(torn)
    if not len(at):
        return sizes
    whole = ~torn
    level = np.concatenate([[0.0], np.cumsum(misses)])
    at, found = _refined(level, misses, at[_lasts(level, misses[at], at)], whole)
    sizes[at] = found
    least = 0.25 * median_of(lasts)
    width = _COARSER
    while len(misses) // width >= 3 * _WINDOW:
        rest = misses - sizes
        level = np.concatenate([[0.0], np.cumsum(rest)])
        count = len(level) // width
        means = level[: count * width].reshape(count, width).mean(axis=1)
        rises = np.diff(means)
        every = np.arange(count - 1)
        at = every[_lasts(means, rises, every)]
        at, found = _refined(means, rises, at, np.zeros(count - 1, bool))
        for block, size in zip(at.tolist(), found.tolist(), strict=True):
            if abs(size) < least:
                continue
            low = max(block - 1, 0) * width
            high = min((block + 3) * width, len(misses))
            fits = np.where(torn[low:high], rest[low:high] * np.sign(size), -np.inf)
            join = low + int(np.argmax(fits))
            sizes[join] += size
            rest[join] -= size
        width *= _COARSER
    return sizes


def _lasts(level: Floats, misses: Floats, at: Positions) -> Mask:
    """Tell at which joins the level before and the level after lie clear of one another."""
    found: Mask = _rises(level, misses, at)
    at = at[found]
    misses = misses[found]
    spans = []
    for offset, step in ((0, -1), (1, 1)):
        places = at[:, None] + offset + step * np.arange(_WINDOW)
        outside = (places < 0) | (places >= len(level))
        values = np.where(outside, np.inf, level[np.clip(places, 0, len(level) - 1)])
        values.sort(axis=1)
        count = _WINDOW - outside.sum(axis=1)
        trimmed = (count * _TRIMMED).astype(np.int64)
        rows = np.arange(len(at))
        spans.append((values[rows, trimmed], values[rows, count - 1 - trimmed]))
    (low_before, high_before), (low_after, high_after) = spans
    clear = np.where(misses > 0, low_after - high_before, low_before - high_after)
    found[found] = clear > HALF_SAMPLE
    return found


def _rises(level: Floats, misses: Floats, at: Positions) -> Mask:
    """Tell at which joins the level can lie clear, cheaply: most that only scatter can't.

    Each value before is held against one after. Where the two sides are clear of one another but
    for what is trimmed, no more pairs than that can go the other way.
    """
    found = np.ones(len(at), bool)
    last = len(level) - 2 * _WINDOW
    if last < 0 or len(at) < 2 * _WINDOW:
        return found
    ahead = np.zeros(last + 1, np.int8)  # pairs around the join after each level in the middle
    behind = np.zeros(last + 1, np.int8)
    for away in range(_WINDOW):
        low, high = _WINDOW - 1 - away, _WINDOW + away
        apart = level[high : high + last + 1] - level[low : low + last + 1]
        ahead += apart > 0
        behind += apart < 0
    inner = np.flatnonzero((at >= _WINDOW - 1) & (at - (_WINDOW - 1) <= last))
    place = at[inner] - (_WINDOW - 1)
    fits = np.where(misses[inner] > 0, ahead[place], behind[place])
    found[inner] = fits >= _WINDOW - 2 * int(_WINDOW * _TRIMMED)
    return found


def _refined(level: Floats, misses: Floats, at: Positions, whole: Mask) -> tuple[Positions, Floats]:
    """Drop steps that are within the scatter of the level on either side; return how high all are.

    The least sure ones first, as what is left of them then belongs to the segments beside.
    """
    last = len(level) - 1
    while len(at):
        before = at - np.concatenate([[-1], at[:-1]])
        after = np.append(at[1:], last) - at
        joined = np.concatenate([[False], whole, [False]])
        exact = ((before == 1) | joined[at]) & ((after == 1) | joined[at + 2])
        sizes, sure = misses[at], np.full(len(at), np.inf)
        loose = np.flatnonzero(~exact)
        if len(loose):
            some = at[loose]
            count = np.minimum(before[loose], _SEGMENT)
            middle, spread = _height(level, some - count + 1, count)
            count_after = np.minimum(after[loose], _SEGMENT)
            middle_after, spread_after = _height(level, some + 1, count_after)
            sizes[loose] = middle_after - middle
            error = np.maximum(spread, spread_after) * np.sqrt(1 / count + 1 / count_after)
            with np.errstate(divide="ignore", invalid="ignore"):
                sure[loose] = np.where(error > 0, np.abs(sizes[loose]) / error, np.inf)
        weak = sure < _SURE
        if not weak.any():
            return at, sizes
        beside = np.minimum(np.append(np.inf, sure[:-1]), np.append(sure[1:], np.inf))
        weakest = weak & (sure <= beside)
        at = at[~(weakest if weakest.any() else weak)]
    return at, np.empty(0)


def _height(level: Floats, first: Positions, count: Positions) -> tuple[Floats, Floats]:
    """Return the median of the level over segments, and about its standard deviation there."""
    places = first[:, None] + np.arange(_SEGMENT)
    beyond = np.arange(_SEGMENT) >= count[:, None]
    values = np.where(beyond, np.inf, level[np.minimum(places, len(level) - 1)])
    values.sort(axis=1)
    rows, trimmed = np.arange(len(first)), (count * _TRIMMED).astype(np.int64)
    middle: Floats = (values[rows, (count - 1) // 2] + values[rows, count // 2]) / 2
    spread: Floats = (values[rows, count - 1 - trimmed] - values[rows, trimmed]) / 2
    return middle, spread


def median_of(values: Floats) -> float:
    """Return the median of at least one value; np.median takes ten times as long for so few."""
    half = len(values) // 2
    ordered = np.partition(values, (half - 1, half) if len(values) % 2 == 0 else half)
    low = ordered[half - 1] if len(values) % 2 == 0 else ordered[half]
    return float(low + ordered[half]) / 2
