"""Find steps of the level that last, at every scale."""

from __future__ import annotations

from typing import Any, Final

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
    """Return the steps of the level that last, at every scale.

    Args:
        misses: by how much joins miss, s; shape ``(pages, joins)``: pages are told apart, and
            looked at together because that is quicker.
        torn: joins that can be steps, likewise.
        lasts: how long a packet lasts in the median, s; shape ``(pages,)``.
    """
    sizes = np.zeros(misses.shape)
    if not torn.any():
        return sizes
    pages, joins = misses.shape
    level = _levels(misses)
    at = np.flatnonzero(_with_ends(torn))
    rises = _with_ends(misses).ravel()
    at, found = _refined(level, rises, at[_lasts(level, rises, at)], ~_with_ends(torn, True))
    sizes[at // (joins + 1), at % (joins + 1)] = found
    width = _COARSER
    while joins // width >= 3 * _WINDOW:
        rest = misses - sizes
        count = (joins + 1) // width
        level = _levels(rest)[:, : count * width].reshape(pages, count, width).mean(axis=2)
        rises = _with_ends(np.diff(level, axis=1)).ravel()
        every = np.flatnonzero(_with_ends(np.ones((pages, count - 1), bool)))
        at = every[_lasts(level, rises, every)]
        at, found = _refined(level, rises, at, np.zeros((pages, count), bool))
        for place, size in zip(at.tolist(), found.tolist(), strict=True):
            page, block = divmod(place, count)
            if abs(size) < 0.25 * lasts[page]:
                continue
            low = max(block - 1, 0) * width
            high = min((block + 3) * width, joins)
            inside = slice(low, high)
            fits = np.where(torn[page, inside], rest[page, inside] * np.sign(size), -np.inf)
            join = low + int(np.argmax(fits))
            sizes[page, join] += size
            rest[page, join] -= size
        width *= _COARSER
    return sizes


def _levels(misses: Floats) -> Floats:
    """Return the level of each packet of each page: one more than there are joins."""
    level = np.zeros((len(misses), misses.shape[1] + 1))
    np.cumsum(misses, axis=1, out=level[:, 1:])
    return level


def _with_ends(values: npt.NDArray[Any], end: bool = False) -> npt.NDArray[Any]:
    """Put a join that is none behind each page, so that joins and levels are as many."""
    wider = np.full((len(values), values.shape[1] + 1), end, values.dtype)
    wider[:, :-1] = values
    return wider


def _lasts(level: Floats, rises: Floats, at: Positions) -> Mask:
    """Tell at which joins the level before and the level after lie clear of one another.

    Args:
        level: of each packet; shape ``(pages, packets)``.
        rises: from each packet to the next; the last of each page to none.
        at: joins, by the packet before them, counted over all pages.
    """
    found: Mask = _rises(level, rises, at)
    at = at[found]
    count = level.shape[1]
    level = level.ravel()
    first = at // count * count
    spans = []
    for offset, step in ((0, -1), (1, 1)):
        places = at[:, None] + (offset + step * np.arange(_WINDOW))
        outside = (places < first[:, None]) | (places >= first[:, None] + count)
        values = level[np.clip(places, 0, len(level) - 1)]
        values[outside] = np.inf
        values.sort(axis=1)
        inside = _WINDOW - outside.sum(axis=1)
        trimmed = (inside * _TRIMMED).astype(np.int64)
        rows = np.arange(len(at))
        spans.append((values[rows, trimmed], values[rows, inside - 1 - trimmed]))
    (low_before, high_before), (low_after, high_after) = spans
    clear = np.where(rises[at] > 0, low_after - high_before, low_before - high_after)
    found[found] = clear > HALF_SAMPLE
    return found


def _rises(level: Floats, rises: Floats, at: Positions) -> Mask:
    """Tell at which joins the level can lie clear, cheaply: most that only scatter can't.

    Each value before is held against one after. Where the two sides are clear of one another but
    for what is trimmed, no more pairs than that can go the other way.
    """
    found = np.ones(len(at), bool)
    count = level.shape[1]
    level = level.ravel()
    last = len(level) - 2 * _WINDOW
    if last < 0 or len(at) < 2 * _WINDOW:
        return found
    ahead = np.zeros(last + 1, np.int8)  # pairs around the join after each level in the middle
    behind = np.zeros(last + 1, np.int8)
    for away in range(_WINDOW):
        low = level[_WINDOW - 1 - away :][: last + 1]
        high = level[_WINDOW + away :][: last + 1]
        ahead += (high > low).view(np.int8)
        behind += (high < low).view(np.int8)
    of_page = at % count
    inner = np.flatnonzero((of_page >= _WINDOW - 1) & (of_page < count - _WINDOW))
    place = at[inner] - (_WINDOW - 1)
    fits = np.where(rises[at[inner]] > 0, ahead[place], behind[place])
    found[inner] = fits >= _WINDOW - 2 * int(_WINDOW * _TRIMMED)
    return found


def _refined(level: Floats, rises: Floats, at: Positions, whole: Mask) -> tuple[Positions, Floats]:
    """Drop steps that are within the scatter of the level on either side; return how high all are.

    The least sure ones first, as what is left of them then belongs to the segments beside.
    """
    pages, count = level.shape
    level, joined = level.ravel(), np.concatenate([[False], whole.ravel(), [False]])
    # the end of each page is a step that is never dropped
    ends = np.arange(pages) * count + count - 1
    at = np.concatenate([at, ends])
    at.sort()
    end = at % count == count - 1
    sizes, sure = rises[at], np.full(len(at), np.inf)
    look = np.flatnonzero(~end)
    while len(look):
        some = at[look]
        before = some - np.where(look > 0, at[look - 1], -1)
        after = at[look + 1] - some
        exact = ((before == 1) | joined[some]) & ((after == 1) | joined[some + 2])
        sizes[look], sure[look] = rises[some], np.inf
        loose = look[~exact]
        if len(loose):
            some = some[~exact]
            before = np.minimum(before[~exact], _SEGMENT)
            after = np.minimum(after[~exact], _SEGMENT)
            middle, spread = _height(level, some - before + 1, before)
            middle_after, spread_after = _height(level, some + 1, after)
            sizes[loose] = middle_after - middle
            error = np.maximum(spread, spread_after) * np.sqrt(1 / before + 1 / after)
            with np.errstate(divide="ignore", invalid="ignore"):
                sure[loose] = np.where(error > 0, np.abs(sizes[loose]) / error, np.inf)
        weak = sure < _SURE
        if not weak.any():
            break
        beside = np.fmin(np.append(np.inf, sure[:-1]), np.append(sure[1:], np.inf))
        dropped = weak & (sure <= beside)
        kept = ~dropped
        beside_dropped = np.append(False, dropped[:-1]) | np.append(dropped[1:], False)
        at, end, sizes, sure = at[kept], end[kept], sizes[kept], sure[kept]
        look = np.flatnonzero(beside_dropped[kept] & ~end)
    return at[~end], sizes[~end]


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
