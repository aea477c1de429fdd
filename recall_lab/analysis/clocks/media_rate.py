"""Find a media clock that runs faster or slower than any oscillator does.

Then audio is short all the time (the sender drops a little of each buffer), or is made up; or a
wall clock is wrong. Which of the clocks agree tells that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.clocks.columns import Step
from recall_lab.capture.frame import arrivals, nanoseconds

OSCILLATOR: Final = 1_000.0
"""Rate, ppm, that no clock of a machine has, a virtual one included."""

LEAST: Final = 0.25
"""Seconds by which clocks have to part in all: less may be a network's delay that changed."""

SHORTEST: Final = 10.0
"""Seconds of a call below which no rate is told."""

_ALIKE: Final = 0.5  # of a rate: two clocks agree that differ by less
_SCATTER: Final = 0.125  # of what they part by: more is no line

Floats = npt.NDArray[np.float64]


class ClockRate(NamedTuple):
    """How fast the media clock runs, where that is no clock's rate.

    Attributes:
        ppm: against the clocks in `than`; below 0 where it is slower.
        than: which clocks it differs from: ``"both wall clocks"``, ``"the sender's wall clock"``
            or ``"our own clock"``.
        seconds: of the call that are not in the audio: 0 where it is faster, and where a wall
            clock that the other clocks contradict may be wrong.
        sure: whether nothing contradicts it.
    """

    ppm: float
    than: str
    seconds: float
    sure: bool


def clock_rate_of(
    packets: pd.DataFrame, drift: pd.DataFrame, steps: list[Step], *, replayed: bool
) -> ClockRate | None:
    """Return how fast the media clock runs, if by more than an oscillator; else None.

    Args:
        packets: timed packets.
        drift: of :func:`recall_lab.drift`; where a call is too short for it, the medians of the
            first and last third of its packets tell.
        steps: of the wall clocks; they are left out.
        replayed: whether arrival tells nothing.
    """
    relative = packets["relative"].to_numpy()
    span = float(np.ptp(relative)) if len(relative) else 0.0
    if span < SHORTEST:
        return None
    wall = _rate(drift, "relative/absolute")
    ours = np.nan if replayed else _rate(drift, "relative/received")
    by_thirds = _of_thirds(relative, _stepless(relative, packets, steps))
    if not np.isnan(wall):  # what rounded stamps make up is in steps that are none
        wall = wall if abs(wall - by_thirds) < _ALIKE * abs(wall) else 0.0
    else:
        wall = by_thirds
        ours = _of_thirds(relative, arrivals(packets), fastest=True) if wall and not replayed else 0
    wall, ours = (
        rate if abs(rate) > OSCILLATOR and abs(rate) * span >= 1e6 * LEAST else 0.0
        for rate in (wall, ours)
    )  # of an unknown rate nothing is told
    if wall:
        alike = abs(ours - wall) < _ALIKE * abs(wall)
        seconds = max(span * (1 / (1 + 1e-6 * wall) - 1), 0.0)
        if alike or replayed:
            than = "both wall clocks" if alike else "the sender's wall clock"
            return ClockRate(wall, than, seconds, True)
        return ClockRate(wall, "the sender's wall clock", 0.0, False)
    if ours and _beyond_delays(relative, arrivals(packets), ours):
        return ClockRate(ours, "our own clock", 0.0, False)
    return None


def _beyond_delays(relative: Floats, arrived: Floats, ppm: float) -> bool:
    """Whether clocks part by far more than what packets wait: else delays may have made it up."""
    waited = arrived - relative * (1 - 1e-6 * ppm)
    spread = float(np.median(np.abs(waited - np.median(waited))))
    return abs(ppm) * 1e-6 * float(np.ptp(relative)) > LEAST + spread / _SCATTER


def _rate(drift: pd.DataFrame, pair: str) -> float:
    rate, low, high = (float(drift[name][pair]) for name in ("drift", "low", "high"))
    return 0.0 if low * high <= 0 else rate  # by chance


def _stepless(relative: Floats, packets: pd.DataFrame, steps: list[Step]) -> Floats:
    wall = nanoseconds(packets["absolute"])
    absolute: Floats = (wall - wall[0]) / 1e9
    for clock, at, by, *_ in steps:
        if clock == "absolute" and abs(by) >= LEAST:
            absolute = absolute - np.where(relative >= at, by, 0.0)
    return absolute


def _of_thirds(relative: Floats, other: Floats, *, fastest: bool = False) -> float:
    """Return the rate, ppm, by the first and the last third; 0 where they make no line.

    By their medians; or by the fastest packet of each, which waited the least.
    """
    apart = other - relative
    third = len(apart) // 3
    if not third:
        return 0.0
    ends = slice(0, third), slice(len(apart) - third, None)
    if fastest:
        at = [int(np.argmin(apart[end])) for end in ends]
        (first, low), (last, high) = (
            (relative[end][one], apart[end][one]) for end, one in zip(ends, at, strict=True)
        )
    else:
        first, last = (np.median(relative[end]) for end in ends)
        low, high = (np.median(apart[end]) for end in ends)
    if not last > first:
        return 0.0
    slope = float((high - low) / (last - first))
    left = apart - slope * relative
    spread = float(np.median(np.abs(left - np.median(left))))
    if (spread > _SCATTER * abs(high - low) and not fastest) or slope <= -1:
        return 0.0
    return 1e6 * (1 / (1 + slope) - 1)
