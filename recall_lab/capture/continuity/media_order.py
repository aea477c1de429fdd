"""Put packets in the order in which they were spoken, each at a time that can be believed.

Stamps that are exact are believed as they are. Where they are not, packets stand where their
samples and the discontinuities between them (:mod:`recall_lab.capture.continuity.rule`) put them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.arrays import parts_of, rise, runs_of
from recall_lab.capture.continuity.level_clock import CLOCK
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.continuity.repeated import SHARED, others, repeated
from recall_lab.capture.continuity.rule import ENOUGH, Jumps, jumps_of, share
from recall_lab.wire.pcm import RATE

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

GRIDS: Final = (1e-1, 1e-2, 1e-3, 1e-4)
"""Steps, s, to which stamps are found to be rounded; finer ones do not matter to a sample."""

_CALM: Final = 0.5  # of the joins around miss by little: then a leap of one stamp stands out
_OFTEN: Final = 6  # leaps around: then it is no exception
_FEW: Final = 3  # packets at either end of a stream, which may have come in any order
_SOME: Final = 64  # packets by which the height of what scatters is told


class MediaOrder(NamedTuple):
    """Packets with audio, in the order in which it was spoken.

    Attributes:
        rows: position of each among the packets given, shape ``(packets,)``; None when they came
            in order already.
        starts: when each begins, s: what can be believed of its stamp.
        stamps: what was told of that, s.
        samples: how many samples each has.
        lasts: how long each lasts on the media clock, s.
        reached: how far the audio up to each one reaches, s.
        tolerance: seconds by which packets may miss one another and still follow.
        scatter: by how much stamps miss what can be believed, s: what 97 % of them stay below.
        quantum: step to which the stamps are rounded, s; 0.0 for none.
        stretched: whether the media clock runs otherwise than the samples anywhere.
    """

    rows: Positions | None
    starts: Floats
    stamps: Floats
    samples: npt.NDArray[np.int32]
    lasts: Floats
    reached: Floats
    tolerance: float
    scatter: float
    quantum: float
    stretched: bool

    def row(self, at: Positions) -> Positions:
        """Return positions among the packets given."""
        return at if self.rows is None else self.rows[at]


def media_order(
    media: Floats,
    samples: npt.NDArray[np.int32],
    checksums: npt.NDArray[np.uint32],
    tolerance: float = 0.0,
    *,
    head: int = 0,
) -> MediaOrder:
    """Put packets in order. They are given in the order of arrival, all with a time.

    Args:
        media: stamps of their first samples on one media clock, s.
        samples: how many samples each has.
        checksums: CRC-32 of their payloads, by which a packet that came twice is known.
        tolerance: discontinuities that leave audio within so many seconds of its stamp are
            taken for scatter; 0.0 for none but what scatters.
        head: packets at the beginning that were decided before (see :func:`jumps_of`).
    """
    rows = None
    if not samples.all():
        rows = np.flatnonzero(samples)
        media, samples, checksums = media[rows], samples[rows], checksums[rows]
    in_order = bool((media[1:] >= media[:-1]).all())
    by_stamp = None if in_order else np.argsort(media, kind="stable")
    stamps = media if by_stamp is None else media[by_stamp]
    again, first, where = repeated(media, samples, checksums, by_stamp, stamps)
    alike = bool(len(samples)) and int(samples.min()) == int(samples.max())
    counts = samples if alike or by_stamp is None else samples[by_stamp]
    clock: Floats | None = None
    if (
        not tolerance
        and _is_exact(stamps, counts, where)
        and (by_stamp is None or not _strays(media, samples, by_stamp, where))
    ):
        order, starts, scatter = by_stamp, stamps, 0.0
    else:
        order, starts, clock, scatter = _with_repeated(
            media, samples, again, first, tolerance, head
        )
        stamps = media if order is None else media[order]
    if order is not None:
        samples = samples if alike else counts if order is by_stamp else samples[order]
        rows = order if rows is None else rows[order]
    # of packets that are all of one length, one number says it
    lasts = np.broadcast_to(samples[0] / RATE, len(samples)) if alike else samples / RATE
    stretched = clock is not None and bool(clock.any())
    if stretched and clock is not None:
        lasts = lasts * (1 + clock)
    reached = starts + lasts
    rise(reached)
    quantum = _quantum(media) if scatter > HALF_SAMPLE else 0.0
    return MediaOrder(
        rows, starts, stamps, samples, lasts, reached, HALF_SAMPLE, scatter, quantum, stretched
    )


def _is_exact(stamps: Floats, samples: npt.NDArray[np.int32], again: Positions) -> bool:
    """Tell whether stamps are exact and nothing but packets is missing: so it is nearly always.

    Args:
        stamps: in order.
        samples: how many each packet has.
        again: positions of packets that came before.
    """
    ran = 0.0
    for part in parts_of(len(stamps)):
        counts = samples[part]
        misses = np.diff(stamps[part])
        misses -= counts[:-1] / RATE
        torn = np.flatnonzero(np.abs(misses) > HALF_SAMPLE)
        if len(torn):
            ran -= float(misses[torn].sum())
            torn = torn[others(torn + part.start + 1, again)]
            usual = np.minimum(counts[torn], counts[torn + 1]) / RATE
            if not (misses[torn] >= usual * (0.5 - 1e-9)).all():  # scatter would come back
                return False
        ran += float(misses.sum())
    # a clock that is a little off shows in the sum of all joins only
    return abs(ran) <= 2 * HALF_SAMPLE


def apart(
    starts: Floats, before: Floats, tolerance: float, lasts: Floats | None = None
) -> tuple[Positions, Floats]:
    """Return which packets the next one does not meet within `tolerance`, and by how much; s.

    Args:
        starts: when each begins, s.
        before: how far the audio reaches before the next, s; or since when it lasts.
        tolerance: s.
        lasts: how long it lasts from there, s.
    """
    positions, sizes = [np.empty(0, np.int64)], [np.empty(0)]
    for part in parts_of(len(starts)):
        misses = starts[part][1:] - before[part][:-1]
        if lasts is not None:
            misses -= lasts[part][:-1]
        at = np.flatnonzero(np.abs(misses) > tolerance)
        positions.append(at + part.start)
        sizes.append(misses[at])
    return np.concatenate(positions), np.concatenate(sizes)


def _strays(
    media: Floats, samples: npt.NDArray[np.int32], by_stamp: Positions, again: Positions
) -> bool:
    """Tell whether a stamp lies alone, before all or behind all, of a packet from between them.

    Packets that came before, `again` in the order of stamps, do not count.
    """
    size = len(by_stamp) - len(again)
    if size < ENOUGH:
        return False
    room = min(len(again) + 2, len(by_stamp))
    for ends in (np.arange(room), len(by_stamp) - 1 - np.arange(room)):
        at, beside = by_stamp[ends[others(ends, again)][:2]]
        between = _FEW < at < len(media) - 1 - _FEW
        if between and abs(media[at] - media[beside]) > 1.5 * samples[[at, beside]].max() / RATE:
            return True
    return False


def _with_repeated(
    media: Floats,
    samples: npt.NDArray[np.int32],
    again: Positions,
    first: Positions,
    tolerance: float,
    head: int,
) -> tuple[Positions | None, Floats, Floats, float]:
    """Put packets where they are believed, and those that came again where they stood first.

    Returns:
        The order (None for that of arrival), when each begins, the clock's rate there, and how
        far stamps scatter.
    """
    once = np.ones(len(media), bool)
    once[again] = False
    kept = np.flatnonzero(once)
    some, believed, ran, scatter = _believed(media[kept], samples[kept], tolerance, head)
    place, rate = np.empty(len(media)), np.zeros(len(media))
    rank = np.empty(len(media), np.int64)
    place[kept[some]], rate[kept[some]], rank[kept[some]] = believed, ran, np.arange(len(some))
    place[again], rate[again], rank[again] = place[first], rate[first], rank[first]
    order = np.lexsort((np.arange(len(media)), rank))
    starts, clock = place[order], rate[order]
    if not (starts[1:] >= starts[:-1]).all():  # an overlap that reaches behind what came before
        later = np.argsort(starts, kind="stable")
        starts, clock, order = starts[later], clock[later], order[later]
    arrived = bool((order[1:] > order[:-1]).all())
    return None if arrived else order, starts, clock, scatter


def _believed(
    media: Floats, samples: npt.NDArray[np.int32], tolerance: float, head: int
) -> tuple[Positions, Floats, Floats, float]:
    """Return the order, when each begins, the clock's rate there, and how far stamps scatter."""
    every = np.arange(len(media))
    lasts = samples / RATE
    misses = media[1:] - media[:-1] - lasts[:-1]
    if not len(media):
        return every, media, np.zeros(0), 0.0
    few = len(misses) < ENOUGH
    stamps = media if few else _of_beginnings(media, lasts, misses)
    if stamps is not media:
        misses = stamps[1:] - stamps[:-1] - lasts[:-1]
    odd = np.empty(0, np.int64) if few else _odd(stamps, lasts, misses)
    if len(odd):
        stamps = stamps.copy()
        for at in odd.tolist():
            stamps[at] = stamps[at - 1] + lasts[at - 1]
    order = every
    if not (stamps[1:] >= stamps[:-1]).all():
        order = np.argsort(stamps, kind="stable") if few else _ordered(stamps, lasts)
    starts, counts = stamps[order], samples[order]
    sizes, rate = _jumps(starts, counts, head)
    steps = counts[:-1] / RATE
    if rate.any():
        steps *= 1 + rate
    placed = np.concatenate([starts[:1], starts[0] + np.cumsum(steps + sizes)])
    own = np.append(True, starts[1:] > starts[:-1])  # of packets that share one, the first's
    height = float(np.median((starts - placed)[own][:_SOME]))
    if tolerance:  # what is left out of the sizes says nothing of the height
        sizes = _beyond(sizes, tolerance)
        placed = np.concatenate([starts[:1], starts[0] + np.cumsum(steps + sizes)])
    if abs(height) > HALF_SAMPLE:
        placed += height
    off = starts - placed
    away = np.abs(off)
    clock = np.append(rate, rate[-1:]) if len(rate) else np.zeros(len(media))
    missed = np.abs(media[order] - placed) if len(odd) or stamps is not media else away
    scatter = float(np.quantile(missed, 0.97)) if missed.max(initial=0.0) > HALF_SAMPLE else 0.0
    # a stretch whose stamps are exact is believed as it is told, to the last bit
    heads = np.concatenate([[0], np.flatnonzero(sizes) + 1])
    furthest = np.maximum.reduceat(away, heads)
    exact = np.repeat(furthest <= HALF_SAMPLE / 2, np.diff(heads, append=len(away)))
    return order, np.where(exact, starts, placed), clock, scatter


def _jumps(starts: Floats, samples: npt.NDArray[np.int32], head: int) -> Jumps:
    """Find the discontinuities; packets that share a stamp have only one between them."""
    equal = starts[1:] == starts[:-1]
    if len(equal) < ENOUGH or not equal.any():
        return jumps_of(starts, samples, head)
    at = np.flatnonzero(equal)
    shared = np.zeros(len(equal), bool)
    shared[at] = share(equal, at) > SHARED
    if not shared.any():
        return jumps_of(starts, samples, head)
    heads = np.flatnonzero(np.concatenate([[True], ~shared]))
    found = jumps_of(starts[heads], np.add.reduceat(samples, heads))
    sizes = np.zeros(len(equal))
    sizes[heads[1:] - 1] = found.sizes
    counts = np.diff(heads, append=len(starts))
    return Jumps(sizes, np.repeat(np.append(found.clock, found.clock[-1:]), counts)[:-1])


def _of_beginnings(media: Floats, lasts: Floats, misses: Floats) -> Floats:
    """Return the stamps of packets' beginnings, where they are seen to be of their ends."""
    differ = lasts[1:] != lasts[:-1]
    if len(lasts) < 9 or not differ.any():
        return media
    ends = misses - np.diff(lasts)  # from the end of one to the beginning of the next
    found = []
    for missed, counts in ((misses, lasts[:-1]), (ends, lasts[1:])):
        even = float(np.median(missed / counts))
        # where audio is short, lengths are rounded to samples
        least = HALF_SAMPLE if abs(even) <= CLOCK else 3 * HALF_SAMPLE
        found.append((even, np.abs(missed - even * counts) > least))
    (_, torn), (even, torn_ends) = found
    before, after = np.count_nonzero(torn), np.count_nonzero(torn_ends)
    if before < 8 or after >= before / 2:
        # a shorter last packet tells it, too, where stamps are exact; a shorter first one does not
        fits, others = differ & ~torn_ends, differ & ~torn
        if not fits[1:].any() or np.count_nonzero(fits) <= 2 * np.count_nonzero(others):
            return media
        if before > len(torn) / 4:
            return media
    if abs(even) > CLOCK:  # audio is short: what is missing comes before the stamp, too
        lasts = lasts * (1 + even)
    return media - lasts


def _odd(stamps: Floats, lasts: Floats, misses: Floats) -> Positions:
    """Return packets whose stamp leaps away and back, within three packets, among calm ones.

    They come back to where they were, or beyond what was lost beside them.
    """
    half = np.minimum(lasts[1:], lasts[:-1]) / 2
    usual = float(np.median(misses / lasts[:-1]))
    even = misses - usual * lasts[:-1]
    if np.count_nonzero(np.abs(even) < half / 4) < len(half) / 2:
        usual, even = 0.0, misses
    misses = even  # audio may be short all the time
    away = np.abs(misses)
    leaps = np.flatnonzero(away > half)
    nothing = np.empty(0, np.int64)
    if len(leaps) < 2:
        return nothing
    calm = share(away < half / 4, leaps, 8) >= _CALM
    leaps = leaps[calm]
    odd = np.zeros(len(stamps), bool)
    for size in (1, 2, 3):
        at = leaps[np.isin(leaps + size, leaps)]
        back = misses[at] + misses[at + size] > -half[at] / 4
        fits = back & (misses[at] * misses[at + size] < 0)
        for inner in range(1, size):
            fits &= away[at + inner] < half[at] / 4
        at = at[fits]
        at = at[~odd[at]]
        for inner in range(1, size + 1):
            odd[at + inner] = True
    if not odd.any():
        return nothing
    if not (stamps[1:] >= stamps[:-1]).all():  # what fits into a hole came late
        odd[_fitting(stamps, lasts * (1 + usual), odd)] = False
    found = np.flatnonzero(odd)
    return found[share(odd, found) * 33 <= _OFTEN]


def _fitting(stamps: Floats, lasts: Floats, odd: Mask) -> Positions:
    """Return which odd packets fit into a hole by their stamps: they came late, and are not wrong.

    Packets beside one another are taken together. They fit if nothing overlaps there, and if one
    follows another to the sample: what is missing beside them was lost.
    """
    order = np.argsort(stamps, kind="stable")
    ordered, count = stamps[order], lasts[order]
    joins = ordered[1:] - ordered[:-1] - count[:-1]
    near = np.maximum(np.abs(joins[1:]), np.abs(joins[:-1])) < count[1:-1] / 8
    single = order[1:-1][near & odd[order[1:-1]]]
    runs = runs_of(odd[order])
    if not len(runs):
        return single
    # there is room before the first of all, and behind the last
    joins = np.concatenate([[np.inf], joins, [np.inf, np.inf]])
    edges = np.column_stack([runs[:, 0], runs[:, 1] + 1]).ravel()  # of their joins
    room = np.minimum.reduceat(joins, edges)[::2] >= -HALF_SAMPLE
    follows = np.minimum.reduceat(np.abs(joins), edges)[::2] <= HALF_SAMPLE
    places = [np.arange(low, high) for low, high in runs[room & follows].tolist()]
    return np.concatenate([single, order[np.concatenate([np.arange(0), *places])]])


def _ordered(stamps: Floats, lasts: Floats) -> Positions:
    """Return packets by their stamps, but what is behind by less than half a packet stays.

    Within a connection the order of arrival is the order of sending: so little is scatter.
    """
    furthest = np.maximum.accumulate(stamps)
    behind = furthest - stamps
    near = (behind > 0) & (behind < np.minimum(lasts, float(np.median(lasts))) / 2)
    return np.argsort(np.where(near, furthest, stamps), kind="stable")


def _beyond(sizes: Floats, tolerance: float) -> Floats:
    """Leave out discontinuities as long as audio stays within a tolerance of its stamp."""
    at = np.flatnonzero(sizes)
    found = np.zeros_like(sizes)
    owed = 0.0
    for place, size in zip(at.tolist(), sizes[at].tolist(), strict=True):
        owed += size
        if abs(owed) > tolerance:
            found[place] = owed
            owed = 0.0
    return found


def _quantum(stamps: Floats, grids: Sequence[float] = GRIDS) -> float:
    """Return the step to which nearly all stamps are rounded, s; 0.0 for none."""
    if len(stamps) < 8:
        return 0.0
    few = len(stamps) // 100
    microseconds = stamps * 1e6
    for grid in grids:
        step = grid * 1e6
        off = np.abs(microseconds - np.rint(microseconds / step) * step) > 0.01
        if np.count_nonzero(off) <= few:
            return grid
    return 0.0
