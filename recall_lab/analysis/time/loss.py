"""Measure losses and their bursts, as the literature counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.causes.causes import CAUSES
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.joins import Found
from recall_lab.arguments import whole
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE

KNOWN_LOST: Final = ("loss", "reconnect", "dropped", "receiver restart")
"""Causes of what is known to be lost."""

UNEXPLAINED: Final = "unknown"
"""The cause of what may be lost or silent by design: nothing tells."""

LOST: Final = (*KNOWN_LOST, UNEXPLAINED)
"""Causes that are held against a call: all but what was silent by design."""

GMIN: Final = 16
"""Packets received in a row that part two bursts: the default of RFC 3611, 4.7.2."""

Runs = npt.NDArray[np.int64]


class Pattern(NamedTuple):
    """A call as runs of packets received and lost, in turn.

    Attributes:
        received: before, between and after the losses: one more than there are, 0 at the ends
            where a loss is the first or the last.
        lost: packets in each run of losses, 1 or more.
    """

    received: Runs
    lost: Runs


class Bursts(NamedTuple):
    """Burst metrics of RFC 3611, 4.7.2, in packets: densities 0 to 1, lengths in the mean."""

    burst_density: float
    gap_density: float
    burst_length: float
    gap_length: float


def loss(
    source: Any,
    causes: Sequence[str] = KNOWN_LOST,
    *,
    gmin: int = GMIN,
) -> pd.Series[float]:
    """Return how many packets were lost, and how they bunch.

    A gap counts as so many packets as the usual length goes into it, at least one.

    Args:
        source: as for :func:`recall_lab.analyse`.
        causes: causes of gaps that count as loss; what nothing explains is counted apart.
        gmin: packets received in a row that part two bursts (RFC 3611).

    Returns:
        float64; NaN where there is too little to tell:

        - ``expected``, ``lost`` (packets), ``rate`` (0 to 1)
        - ``unexplained`` (packets): in gaps of which nothing tells whether they are a loss; 0
          where `causes` has ``"unknown"``. They are not among those expected
        - ``runs``, ``mean_run``, ``longest_run`` (packets): losses in a row
        - ``burst_density``, ``gap_density`` (0 to 1), ``burst_duration``, ``gap_duration`` (s, in
          the mean): RFC 3611, 4.7.2. Its "gap" is a time of few losses between bursts
        - ``gilbert_p``, ``gilbert_r``: chance that a packet is lost after one that came, and comes
          after one that was lost
        - ``elliott_p``, ``elliott_r``, ``elliott_h``: of Gilbert's model with a bad state in which
          the share h still comes, from his moments (Gilbert 1960; Hasslinger & Hohlfeld 2008)

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a cause or gmin that can't be.

    Example:
        >>> loss(cap)[["rate", "mean_run"]]  # doctest: +SKIP
    """
    unknown = set(causes) - set(CAUSES) if not isinstance(causes, str) else {causes}
    if unknown:
        raise InvalidArgument("causes", sorted(unknown), f"some of {', '.join(CAUSES)}")
    whole("gmin", gmin, 1, what="a whole number of packets")
    found = analyse(source)
    usual, pattern = _pattern(found, causes)
    untold = () if UNEXPLAINED in causes else (UNEXPLAINED,)
    unexplained = _packets_in(found.found.of("gap"), untold, usual * RATE)
    lost, received = int(pattern.lost.sum()), int(pattern.received.sum())
    runs = len(pattern.lost)
    p, r = gilbert(pattern)
    bursts = burst_metrics(pattern, gmin)
    bad, good, left = elliott(pattern)
    return pd.Series(
        {
            "expected": float(lost + received),
            "lost": float(lost),
            "rate": lost / (lost + received) if lost + received else np.nan,
            "unexplained": float(unexplained.sum()),
            "runs": float(runs),
            "mean_run": lost / runs if runs else np.nan,
            "longest_run": float(pattern.lost.max(initial=0)),
            "burst_density": bursts.burst_density,
            "gap_density": bursts.gap_density,
            "burst_duration": bursts.burst_length * usual,
            "gap_duration": bursts.gap_length * usual,
            "gilbert_p": p,
            "gilbert_r": r,
            "elliott_p": bad,
            "elliott_r": good,
            "elliott_h": left,
        },
        name=found.capture.info.stem,
    )


def _pattern(known: Analysis, causes: Sequence[str]) -> tuple[float, Pattern]:
    """Return the usual length of a packet in s, and the runs."""
    packets, found = known.packets, known.found
    samples = packets["samples"].to_numpy()
    starts = packets["relative"].to_numpy()[samples > 0]
    again = found.of("duplicate")
    if not len(starts):
        return np.nan, Pattern(np.zeros(1, np.int64), np.zeros(0, np.int64))
    usual = float(np.median(samples[samples > 0]))
    missing = found.of("gap")
    some = np.isin(missing.cause.astype(str), list(causes))
    lost = _packets_in(missing, causes, usual)
    starts = np.sort(starts)
    if len(again.start):  # a packet counts once
        repeated = again.start
        starts = np.delete(starts, np.searchsorted(starts, np.sort(repeated)) + _rank(repeated))
    before = np.searchsorted(starts, missing.start[some])
    return usual / RATE, Pattern(np.diff(before, prepend=0, append=len(starts)), lost)


def _packets_in(missing: Found, causes: Sequence[str], usual: float) -> Runs:
    """Return how many packets of `usual` samples each gap of some causes has room for."""
    some = np.isin(missing.cause.astype(str), list(causes))
    if np.isnan(usual):  # no packet tells a length
        return np.zeros(0, np.int64)
    return np.maximum(1, np.rint(missing.samples[some] / usual)).astype(np.int64)


def _rank(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return for each of the sorted values how many equal ones stand before it."""
    ordered = np.sort(values)
    return np.arange(len(ordered)) - np.searchsorted(ordered, ordered)


def burst_metrics(pattern: Pattern, gmin: int = GMIN) -> Bursts:
    """Return the burst metrics of RFC 3611, 4.7.2.

    A burst is a longest stretch that begins and ends with a loss and within which fewer than
    `gmin` packets in a row were received; a single loss is none. All else is gap.

    Args:
        pattern: the call.
        gmin: packets received in a row that end a burst.
    """
    received, lost = pattern
    total = int(received.sum() + lost.sum())
    if not len(lost):
        return Bursts(0.0, 0.0, 0.0, float(total))
    parted = received[1:-1] >= gmin
    heads = np.concatenate([[0], np.flatnonzero(parted) + 1])
    losses = np.add.reduceat(lost, heads)
    inner = np.append(np.where(parted, 0, received[1:-1]), 0)
    lengths = losses + np.add.reduceat(inner, heads)
    burst = losses > 1  # one loss alone belongs to the gap
    in_bursts, lost_there = int(lengths[burst].sum()), int(losses[burst].sum())
    count = int(np.count_nonzero(burst))
    outside = total - in_bursts
    # gaps lie before, between and after the bursts; at the ends there may be none
    first, last = received[0], received[-1]
    stretches = count + 1 - int(burst[0] and first == 0) - int(burst[-1] and last == 0)
    return Bursts(
        lost_there / in_bursts if in_bursts else 0.0,
        (int(lost.sum()) - lost_there) / outside if outside else 0.0,
        in_bursts / count if count else 0.0,
        outside / stretches if stretches else 0.0,
    )


def gilbert(pattern: Pattern) -> tuple[float, float]:
    """Return p and r of the simple Gilbert model, by maximum likelihood; NaN where none is seen."""
    received, lost = pattern
    # each packet but the last is followed by another: losses by losses but at the end of a run
    falls = len(lost) - int(len(lost) > 0 and received[0] == 0)
    rises = len(lost) - int(len(lost) > 0 and received[-1] == 0)
    from_good = int(received.sum()) - int(received[-1] > 0)
    from_bad = int(lost.sum()) - int(len(lost) > 0 and received[-1] == 0)
    return (
        falls / from_good if from_good > 0 else np.nan,
        rises / from_bad if from_bad > 0 else np.nan,
    )


def elliott(pattern: Pattern) -> tuple[float, float, float]:
    """Return p, r and h of Gilbert's model of three parameters, from his moments.

    With a = P(1), b = P(1|1), c = P(111) / (P(101) + P(111)):
    ``1 - r = (a c - b^2) / (2 a c - b (a + c))``, ``1 - h = b / (1 - r)``,
    ``p = a r / (1 - h - a)``. NaN where that gives no chances, or there are few losses.
    """
    received, lost = pattern
    nothing = (np.nan, np.nan, np.nan)
    total, bad = int(received.sum() + lost.sum()), int(lost.sum())
    together = bad - len(lost)  # 11
    three = int(np.maximum(lost - 2, 0).sum())  # 111
    split = int(np.count_nonzero(received[1:-1] == 1))  # 101
    if bad < 50 or not together or not three + split:
        return nothing
    a, b, c = bad / total, together / bad, three / (split + three)
    below = 2 * a * c - b * (a + c)
    if not below:
        return nothing
    stays = (a * c - b * b) / below
    if not 0 < stays < 1:
        return nothing
    loses = b / stays
    if not a < loses <= 1:
        return nothing
    p = a * (1 - stays) / (loses - a)
    return (p, 1 - stays, 1 - loses) if 0 < p <= 1 else nothing
