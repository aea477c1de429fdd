"""The rule of discontinuities: where stamps and samples disagree for good.

Take the stamp of each packet less the time of all samples before it: the **level**. While nothing
is lost it stays; a loss lifts it and audio that came twice lowers it, for good. A stamp that is
only inexact moves it too, but it comes back::

    level        ________                a loss of 60 ms: it lasts
        ________|

    level      |   |     |               late stamps: each comes back, nothing is missing
        _______| __| ____| _____

So a join between two packets is a discontinuity only where the level before it and the level
after it differ. :func:`jumps_of` decides it for every join:

1. Joins that meet within half a sample are whole. Where most joins around are whole, stamps are
   exact, and a torn join of half a packet or more is believed as it is.
2. How the level runs from packet to packet is taken out first: up to 1,100 ppm is a clock, more
   is no oscillator: then audio is short, or twice, all the time, and every join counts. It is
   believed only if it agrees over 1 packet and over many, and does not come back.
3. Elsewhere the levels of 16 packets before and after are compared, at the points that 15 and
   85 % of them lie below: they have to lie clear of one another. Then the same is done for means
   of 4, 16 and 64 packets, in which what is too small to be seen in one stamp stands out.
4. What goes up and comes down again by less than the stamps scatter there is scatter.

All of it is local: a page of 8,192 joins is decided with 512 on either side, so that a call whose
stamps scatter in its last third is told exactly before that, and a receiver needs no more memory
than a page (:mod:`recall_lab.capture.live_continuity`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.wire.pcm import RATE

HALF_SAMPLE: Final = 0.5 / RATE
"""Seconds: closer than that, two instants are the same sample."""

CLOCK: Final = 1.1e-3
"""Share by which a sample clock may be off: 1,000 ppm and what it takes to measure them."""

PAGE: Final = 8_192
"""Joins that are decided together."""

CONTEXT: Final = 512
"""Joins on either side of a page that are looked at."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

ENOUGH: Final = 8
"""Joins below which nothing is said of how stamps scatter."""

_BLOCK: Final = 1_024  # joins over which the level is taken to run evenly
_LAGS: Final = (1, 4, 16, 64)  # packets over which it is seen to run
_TIGHT: Final = 2e-6  # s: the same but for rounding to microseconds
_WINDOW: Final = 16  # packets before and after a join
_TRIMMED: Final = 0.15  # of them may lie anywhere
_SEGMENT: Final = 32  # packets that tell how high the level is
_SURE: Final = 4.0  # times its error that a step has to be
_COARSER: Final = 4  # packets whose mean is one of the next scale
_AROUND: Final = 16  # joins on either side that tell whether stamps are exact
EXACT: Final = 0.35
"""Share of the joins around that are whole where stamps are exact."""

_SCATTERS: Final = 0.25  # of them are torn: what comes back within the scatter is scatter
_SCATTER: Final = 0.97  # of the torn joins miss by less than the scatter
_REGULAR: Final = 12  # equal steps at equal distances that make a clock


class Jumps(NamedTuple):
    """What is found at the joins of packets.

    Attributes:
        sizes: s, shape ``(packets - 1,)``: what is missing between a packet and the next; less
            than 0 for what is there twice; 0 where they follow one another.
        clock: share by which the media clock runs faster than the samples, likewise.
    """

    sizes: Floats
    clock: Floats


def jumps_of(starts: Floats, samples: npt.NDArray[np.integer], head: int = 0) -> Jumps:
    """Find the discontinuities between packets.

    Args:
        starts: stamps of their first samples, s, in the order in which the audio was spoken.
        samples: how many samples each has; none is 0.
        head: joins at the beginning that were decided before: pages begin after them.

    Example:
        >>> starts = np.array([0.0, 0.2, 0.4, 0.8, 1.0])
        >>> jumps_of(starts, np.full(5, 3200)).sizes.round(6)
        array([0. , 0. , 0.2, 0. ])
    """
    lasts = samples / RATE
    misses = starts[1:] - starts[:-1]
    misses -= lasts[:-1]
    sizes, clock = np.zeros(len(misses)), np.zeros(len(misses))
    if not len(misses):
        return Jumps(sizes, clock)
    if len(misses) < ENOUGH:  # too few to tell of scatter: they are believed
        return Jumps(np.where(np.abs(misses) > HALF_SAMPLE, misses, 0.0), clock)
    heads = [0, *range(head, len(misses), PAGE)] if head else range(0, len(misses), PAGE)
    for low, high in pairwise([*heads, len(misses)]):
        first, last = max(low - CONTEXT, 0), min(high + CONTEXT, len(misses))
        part = _page(misses[first:last], lasts[first : last + 1], low - first, high - first)
        sizes[low:high], clock[low:high] = part
    _take_out_clock(sizes, clock, lasts[:-1])
    return Jumps(sizes, clock)


def _page(misses: Floats, lasts: Floats, low: int, high: int) -> tuple[Floats, Floats]:
    """Return sizes and clock for joins `low` to `high` of a page with its context."""
    usual = np.minimum(lasts[1:], lasts[:-1])
    lasts = lasts[:-1]
    torn = np.abs(misses) > HALF_SAMPLE
    # nearly always: exact stamps, and whole packets lost
    at = np.flatnonzero(torn)
    rate = _drift(misses, lasts, at) if len(at) < len(misses) / 2 else 0.0
    left = misses[at] - rate * lasts[at]
    if (np.abs(left) >= usual[at] * (0.5 - 1e-9)).all():
        # what scatters comes back; a lone packet that was put off does, too
        lone = len(at) < len(misses) / 2 and (len(at) < 2 or bool((np.diff(at) > 1).all()))
        if (left > 0).all() or (lone and (share(~torn, at) >= EXACT).all()):
            sizes = np.zeros(len(misses))
            sizes[at] = left
            return sizes[low:high], np.full(high - low, rate)
    grid = _grid(misses, lasts)
    misses, clock, even = _level_out(misses, lasts, grid)
    torn = np.abs(misses) > HALF_SAMPLE
    at = np.flatnonzero(torn)
    exact = np.zeros(len(misses))
    exact[at] = share(~torn, at)
    misses, torn = _without_lone(misses, torn, exact)
    big = torn & (exact >= EXACT) & (np.abs(misses) >= usual * (0.5 - 1e-9))
    sizes = np.where(big, misses, 0.0)
    sizes += _steps(misses - sizes, torn & ~big, lasts)
    if even:  # steps that only make up for a clock seen in steps
        small = (sizes != 0) & (np.abs(sizes) < np.minimum(usual / 4, 1.5 * grid or np.inf))
        ran = float((clock * lasts)[np.abs(clock) <= CLOCK].sum())
        if ran and np.count_nonzero(small) >= (1 if grid else 3) and 0.5 < sizes[small].sum() / ran < 1.5:
            sizes[small] = 0.0
    # what no oscillator does is missing, or twice, all the time
    beyond = np.abs(clock) > CLOCK
    if beyond.any():
        clock[beyond] += _unaccounted(misses - sizes, clock * lasts, beyond) / lasts[beyond].sum()
    sizes += np.where(beyond, clock * lasts, 0.0)
    clock = np.where(beyond, 0.0, clock)
    if abs(float((clock * lasts).sum())) <= 2 * HALF_SAMPLE:  # less than a sample in all is none
        clock = np.zeros(len(clock))
    return _without_scatter(sizes, misses, torn, usual, beyond, grid)[low:high], clock[low:high]


def _unaccounted(rest: Floats, ran: Floats, beyond: Mask) -> float:
    """Return by how much the level is higher in the end than all that was found explains, s.

    So little more is missing, or less, where audio is short all the time by about `ran`.
    """
    level = np.cumsum(rest)
    size = min(_SEGMENT, len(level) // 4)
    left = float(np.median(level[-size:]) - np.median(level[:size]))
    left *= len(level) / (len(level) - size)
    return left if abs(left) <= abs(float(ran[beyond].sum())) / 5 else 0.0


def _drift(misses: Floats, lasts: Floats, torn: Positions) -> float:
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


def share(of: Mask, at: Positions, around: int = _AROUND) -> Floats:
    """Return which share of the joins around each of `at` is marked."""
    count = np.concatenate([[0], np.cumsum(of)])
    low, high = np.maximum(at - around, 0), np.minimum(at + around + 1, len(of))
    found: Floats = (count[high] - count[low]) / (high - low)
    return found


def _level_out(misses: Floats, lasts: Floats, grid: float) -> tuple[Floats, Floats, bool]:
    """Take out how the level runs all the time; tell how, and whether a clock was taken out."""
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
            np.count_nonzero(np.abs(misses - run * lasts) > HALF_SAMPLE)
            for run in (clock, tried)
        )
        if after <= 2 * before + 8:  # else they are steps between exact joins
            clock, even = tried, True
    return misses - clock * lasts, clock, even


def _grid(misses: Floats, lasts: Floats) -> float:
    """Return the step that stamps are rounded to, s; 0.0 where none is seen, or less than a sample.

    What stamps move on by takes few values then, and the nearest of these are one step apart.
    """
    middle = float(np.median(misses / lasts))
    near = np.abs(misses - middle * lasts) <= _TIGHT
    if np.count_nonzero(near) > len(near) / 2 and abs(middle) * np.ptp(lasts[near]) > 2 * _TIGHT:
        small = np.abs(misses - middle * lasts) < float(lasts.min()) / 2
        if 0.9 < misses[small].sum() / (middle * lasts[small].sum()) < 1.1:
            return 0.0  # packets of several lengths that all fit: a clock, or short audio
    steps = misses + lasts
    some = np.sort(steps[(steps > _TIGHT) & (steps < 4 * float(np.median(lasts)))])
    heads = np.flatnonzero(np.diff(some, prepend=0.0) > 2 * _TIGHT)
    counts = np.diff(heads, append=len(some))
    often = counts > 1
    if len(some) < _REGULAR or np.count_nonzero(often) < 2:
        return 0.0
    values = (np.add.reduceat(some, heads) / counts)[often]
    grid = float(np.diff(values).min())
    if not 2 * HALF_SAMPLE <= grid <= 0.7 * float(np.quantile(lasts, 0.1, method="lower")):
        return 0.0
    grid = float(values.sum() / np.rint(values / grid).sum())
    off = np.abs(some - np.rint(some / grid) * grid) > _TIGHT
    return grid if np.count_nonzero(off) <= len(some) // 32 else 0.0


def _rate(misses: Floats, lasts: Floats, grid: float) -> float:
    """Return by which share the level of a block runs up from packet to packet; 0.0 if unsure."""
    size = len(misses)
    if np.count_nonzero(np.abs(misses) <= _TIGHT) > size / 2:
        return 0.0
    usual, total, whole = float(np.median(lasts)), float(lasts.sum()), float(misses.sum())
    least = 0.75 * float(np.quantile(lasts, 0.1, method="lower"))  # of lengths, if several

    def stays(rate: float, width: float) -> bool:
        """Tell whether the level runs like that in the end, too: it does not on a grid."""
        if rate == 0 or (abs(rate) >= 0.25 and whole / (rate * total) <= 0.25):
            return False
        small = np.abs(misses - rate * lasts) < least
        share = float(misses[small].sum() / (rate * lasts[small].sum()))
        if width * usual > _TIGHT:
            return share > 0.25
        # no grid makes so little from packet to packet: what outweighs it is something else
        fine = abs(rate) * usual < HALF_SAMPLE and abs(share) > 0.25
        return fine or share > 0.9

    middle = float(np.median(misses / lasts))
    tight = np.count_nonzero(np.abs(misses - middle * lasts) <= _TIGHT) > size / 2
    if tight and not grid and stays(middle, 0.0):
        return middle
    level = np.concatenate([[0.0], np.cumsum(misses)])
    time = np.concatenate([[0.0], np.cumsum(lasts)])
    surest, best = np.inf, 0.0
    nearest: tuple[float, float] | None = None
    for lag in _LAGS:
        if lag > size // 4:
            break
        rate, width = _shortest_half((level[lag:] - level[:-lag]) / (time[lag:] - time[:-lag]))
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
    usual, scatter = float(np.median(lasts)), float(np.median(np.abs(misses)))
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
        rate = float(np.median(slopes))  # Theil and Sen
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
    return float(np.median(values[at : at + half + 1])), float(widths[at])


def _without_lone(misses: Floats, torn: Mask, exact: Floats) -> tuple[Floats, Mask]:
    """Take out what one packet makes between two torn joins, where stamps are exact all around.

    It goes up and comes down again at once: only the difference stays.
    """
    lone = np.flatnonzero(torn[:-1] & torn[1:] & (misses[:-1] * misses[1:] < 0))
    lone = lone[exact[lone] >= 0.5]
    lone = lone[np.diff(lone, prepend=-9) > 1]
    if not len(lone):
        return misses, torn
    misses = misses.copy()
    one, other = misses[lone], misses[lone + 1]
    first = np.abs(one) >= np.abs(other)
    misses[lone] = np.where(first, one + other, 0.0)
    misses[lone + 1] = np.where(first, 0.0, one + other)
    return misses, np.abs(misses) > HALF_SAMPLE


def _steps(misses: Floats, torn: Mask, lasts: Floats) -> Floats:
    """Return the steps of the level that last, at every scale."""
    sizes = np.zeros(len(misses))
    at = np.flatnonzero(torn)
    if not len(at):
        return sizes
    whole = ~torn
    level = np.concatenate([[0.0], np.cumsum(misses)])
    at, found = _refined(level, misses, at[_lasts(level, misses[at], at)], whole)
    sizes[at] = found
    least = 0.25 * float(np.median(lasts))
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
    found: Mask = clear > HALF_SAMPLE
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


def _without_scatter(
    sizes: Floats, misses: Floats, torn: Mask, usual: Floats, beyond: Mask, grid: float
) -> Floats:
    """Cancel what goes up and comes down again by less than the stamps scatter around it.

    Pairs of neighbours with opposite signs are taken together as long as the smaller one lies
    within the scatter, never half a packet: the sum of all stays (rainflow counting, ASTM E1049).
    """
    at = np.flatnonzero(sizes)
    if len(at) < 2:
        return sizes
    rough = share(torn, at, 64) > _SCATTERS
    if not rough.any():
        return sizes
    limits, floors = np.full(len(at), HALF_SAMPLE / 2), np.zeros(len(at))
    if rough.sum() < 64:
        for place in np.flatnonzero(rough).tolist():
            near = slice(max(int(at[place]) - 64, 0), int(at[place]) + 65)
            floors[place], limits[place] = _scatter(misses[near], torn[near])
    else:
        step = 64
        each = [
            _scatter(misses[low : low + step], torn[low : low + step])
            for low in range(0, len(misses), step)
        ]
        floors[rough], limits[rough] = np.array(each)[at[rough] // step].T
    limits[rough] = np.minimum(np.maximum(limits[rough], 1.02 * grid), 0.49 * usual[at[rough]])
    floors = np.minimum(floors, limits)
    kept: list[list[float]] = []  # join, size, limit
    for join, size, limit in zip(at.tolist(), sizes[at].tolist(), limits.tolist(), strict=True):
        kept.append([join, size, limit])
        while len(kept) > 1 and _cancels(kept[-2], kept[-1]):
            one, other = kept[-2], kept[-1]
            if abs(other[1]) < abs(one[1]):
                break  # decided with the next
            other[1] += one[1]
            del kept[-2]
            if not other[1]:
                kept.pop()
    place = 1
    while place < len(kept):
        one, other = kept[place - 1], kept[place]
        if not _cancels(one, other):
            place += 1
        elif abs(one[1]) >= abs(other[1]):
            one[1] += other[1]
            del kept[place]
        else:
            other[1] += one[1]
            del kept[place - 1]
            place = max(place - 1, 1)
    found = np.zeros(len(sizes))
    for place_of, left, _ in kept:
        found[int(place_of)] += left
    # what is less than stamps miss by anyway is a part of what lies beside it
    floor = np.zeros(len(sizes))
    floor[at] = np.where(beyond[at], 0.0, floors)
    told = np.flatnonzero(found)
    for join in told[np.abs(found[told]) < floor[told]].tolist():
        beside = told[(np.abs(told - join) <= _SEGMENT) & (np.abs(found[told]) >= floor[told])]
        if len(beside):
            found[beside[np.argmin(np.abs(beside - join))]] += found[join]
        found[join] = 0.0
    return found


def _cancels(one: list[float], other: list[float]) -> bool:
    return one[1] * other[1] < 0 and min(abs(one[1]), abs(other[1])) < max(one[2], other[2])


def _scatter(misses: Floats, torn: Mask) -> tuple[float, float]:
    """Return by how much torn joins miss: the median, and all but the few that miss by most; s."""
    values = np.abs(misses[torn])
    if not len(values):
        return 0.0, 0.0
    values.sort()  # few: np.quantile takes three times as long
    return float(values[len(values) // 2]), float(values[int(_SCATTER * (len(values) - 1))])


def _take_out_clock(sizes: Floats, clock: Floats, lasts: Floats) -> None:
    """Take small steps of one size at regular distances for what they are: a clock on a grid."""
    usual = float(np.median(lasts))
    at = np.flatnonzero((sizes != 0) & (np.abs(sizes) < usual / 4))
    if len(at) < _REGULAR:
        return
    size = float(np.median(sizes[at]))
    alike = np.abs(sizes[at] - size) <= max(0.02 * abs(size), HALF_SAMPLE)
    total = float(lasts.sum())
    if alike.mean() < 0.6 or abs(sizes[at[alike]].sum()) > CLOCK * total:
        return
    at = at[alike]
    apart = np.diff(np.cumsum(lasts)[at])
    between = float(np.median(apart))
    turns = np.maximum(np.rint(apart / between), 1)
    if np.mean(np.abs(apart / turns - between) <= 0.25 * between) < 0.8:
        return
    clock += sizes[at].sum() / total
    sizes[at] = 0.0
