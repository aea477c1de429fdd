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
than a page (:mod:`recall_lab.capture.continuity.live`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.capture.continuity.level_clock import (
    CLOCK,
    drift_of,
    grid_of,
    level_out,
    take_out_clock,
    typical,
    unaccounted,
)
from recall_lab.capture.continuity.level_steps import (
    HALF_SAMPLE,
    Floats,
    Mask,
    Positions,
    median_of,
    steps_of,
)
from recall_lab.wire.pcm import RATE

PAGE: Final = 8_192
"""Joins that are decided together."""

CONTEXT: Final = 512
"""Joins on either side of a page that are looked at."""


ENOUGH: Final = 8
"""Joins below which nothing is said of how stamps scatter."""

_TOGETHER: Final = 8  # pages: quicker than one by one, and still little memory
_AROUND: Final = 16  # joins on either side that tell whether stamps are exact
EXACT: Final = 0.35
"""Share of the joins around that are whole where stamps are exact."""

_BESIDE: Final = 32  # joins within which a step belongs to another
_SCATTERS: Final = 0.25  # of them are torn: what comes back within the scatter is scatter
_SCATTER: Final = 0.97  # of the torn joins miss by less than the scatter


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
    rough: list[_Page] = []
    for low, high in pairwise([*heads, len(misses)]):
        first, last = max(low - CONTEXT, 0), min(high + CONTEXT, len(misses))
        some, around = misses[first:last], lasts[first : last + 1]
        plain = _plainly(some, around)
        if plain is not None:
            sizes[low:high], clock[low:high] = plain[0][low - first : high - first], plain[1]
            continue
        if rough and (len(rough) == _TOGETHER or len(rough[-1].misses) != len(some)):
            _decide(rough, sizes, clock)
            rough.clear()
        rough.append(_levelled(low, high, first, some, around))
    if rough:
        _decide(rough, sizes, clock)
    take_out_clock(sizes, clock, lasts[:-1])
    return Jumps(sizes, clock)


def _plainly(misses: Floats, lasts: Floats) -> tuple[Floats, float] | None:
    """Return the sizes and the clock of a page whose stamps do not scatter; None for others."""
    usual = np.minimum(lasts[1:], lasts[:-1])
    lasts = lasts[:-1]
    torn = np.abs(misses) > HALF_SAMPLE
    # nearly always: exact stamps, and whole packets lost
    at = np.flatnonzero(torn)
    few = len(at) < len(misses) / 2
    rate = drift_of(misses, lasts, at) if few else 0.0
    left = misses[at] - rate * lasts[at]
    if (np.abs(left) >= usual[at] * (0.5 - 1e-9)).all():
        # what scatters comes back; a lone packet that was put off does, too
        lone = few and (len(at) < 2 or bool((np.diff(at) > 1).all()))
        if (left > 0).all() or (lone and (share(~torn, at) >= EXACT).all()):
            sizes = np.zeros(len(misses))
            sizes[at] = left
            return sizes, rate
    # a level that only ever rises, by this and by that, does not scatter: each join is as told
    if not few and (misses[at] > 0).all() and _differ(misses, usual):
        return np.where(torn, misses, 0.0), 0.0
    return None


class _Page(NamedTuple):
    """Joins that are decided together, with those around them.

    Attributes:
        low, high: which joins of all are decided; first: the first that is looked at.
        misses: by how much joins miss, but for the clock, s.
        lasts, usual: how long the packet before each lasts, and the shorter one beside it, s.
        torn: joins that do not meet.
        big: those of them that are believed as they are.
        clock: the rate that was taken out.
        even: whether it is that of a clock seen in steps.
        grid: step that stamps are rounded to, s; 0.0 for none.
    """

    low: int
    high: int
    first: int
    misses: Floats
    lasts: Floats
    usual: Floats
    torn: Mask
    big: Mask
    clock: Floats
    even: bool
    grid: float


def _levelled(low: int, high: int, first: int, misses: Floats, lasts: Floats) -> _Page:
    """Take out of a page what runs all the time, and what one packet does alone."""
    usual = np.minimum(lasts[1:], lasts[:-1])
    lasts = lasts[:-1]
    grid = grid_of(misses, lasts)
    misses, clock, even = level_out(misses, lasts, grid)
    torn = np.abs(misses) > HALF_SAMPLE
    at = np.flatnonzero(torn)
    exact = np.zeros(len(misses))
    exact[at] = share(~torn, at)
    misses, torn = _without_lone(misses, torn, exact)
    big = torn & (exact >= EXACT) & (np.abs(misses) >= usual * (0.5 - 1e-9))
    return _Page(low, high, first, misses, lasts, usual, torn, big, clock, even, grid)


def _decide(pages: Sequence[_Page], sizes: Floats, clock: Floats) -> None:
    """Write the sizes and the clock of the joins of pages that are of one length."""
    misses = np.stack([page.misses for page in pages])
    big = np.stack([page.big for page in pages])
    torn = np.stack([page.torn for page in pages])
    found: Floats = np.where(big, misses, 0.0)
    lasts = np.array([typical(page.lasts)[0] for page in pages])
    found += steps_of(misses - found, torn & ~big, lasts)
    for page, some in zip(pages, found, strict=True):
        inside = slice(page.low - page.first, page.high - page.first)
        of_all, ran = _settled(page, some)
        sizes[page.low : page.high], clock[page.low : page.high] = of_all[inside], ran[inside]


def _settled(page: _Page, sizes: Floats) -> tuple[Floats, Floats]:
    """Return the sizes of all joins of a page and its clock, which have to agree."""
    misses, lasts, usual, clock, grid = page.misses, page.lasts, page.usual, page.clock, page.grid
    if page.even:  # steps that only make up for a clock seen in steps
        small = (sizes != 0) & (np.abs(sizes) < np.minimum(usual / 4, 1.5 * grid or np.inf))
        ran = float((clock * lasts)[np.abs(clock) <= CLOCK].sum())
        enough = np.count_nonzero(small) >= (1 if grid else 3)
        if ran and enough and 0.5 < sizes[small].sum() / ran < 1.5:
            sizes[small] = 0.0
    # what no oscillator does is missing, or twice, all the time
    beyond = np.abs(clock) > CLOCK
    if beyond.any():
        ran = float((clock * lasts)[beyond].sum())
        clock[beyond] += unaccounted(misses - sizes, ran) / float(lasts[beyond].sum())
    sizes = sizes + np.where(beyond, clock * lasts, 0.0)
    clock = np.where(beyond, 0.0, clock)
    if abs(float((clock * lasts).sum())) <= 2 * HALF_SAMPLE:  # less than a sample in all is none
        clock = np.zeros(len(clock))
    return _without_scatter(sizes, misses, page.torn, usual, beyond, grid), clock


def _differ(misses: Floats, usual: Floats) -> bool:
    """Tell whether joins miss by more or less than one another by half a packet: not a rate."""
    least, most = np.quantile(misses, (0.15, 0.85))
    return bool(most - least > median_of(usual) / 2)


def share(of: Mask, at: Positions, around: int = _AROUND) -> Floats:
    """Return which share of the joins around each of `at` is marked."""
    count = np.concatenate([[0], np.cumsum(of)])
    low, high = np.maximum(at - around, 0), np.minimum(at + around + 1, len(of))
    found: Floats = (count[high] - count[low]) / (high - low)
    return found


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
        middles, most = _scatter_by(64, misses, torn)
        floors[rough], limits[rough] = middles[at[rough] // 64], most[at[rough] // 64]
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
        beside = told[(np.abs(told - join) <= _BESIDE) & (np.abs(found[told]) >= floor[told])]
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
    middle, most = np.quantile(values, (0.5, _SCATTER)).tolist()
    return middle, most


def _scatter_by(step: int, misses: Floats, torn: Mask) -> tuple[Floats, Floats]:
    """Return the same of each `step` joins in a row."""
    values = np.full(-(-len(misses) // step) * step, np.inf)
    values[: len(misses)][torn] = np.abs(misses[torn])
    values = np.sort(values.reshape(-1, step), axis=1)
    count = np.isfinite(values).sum(axis=1)
    rows, last = np.arange(len(values)), np.maximum(count - 1, 0)
    found = []
    for share_of in (0.5, _SCATTER):
        place = share_of * last
        below = place.astype(np.int64)
        low, high = values[rows, below], values[rows, np.minimum(below + 1, last)]
        with np.errstate(invalid="ignore"):
            between = low + (high - low) * (place - below)
        found.append(np.where(count > 0, between, 0.0))
    return found[0], found[1]
