"""Measure when packets arrived: jitter, delay, stalls."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from recall_lab.analysis.clocks.columns import Seconds
from recall_lab.analysis.clocks.rates import delay_line
from recall_lab.capture.capture import Capture
from recall_lab.capture.events import STALLED
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.wire.pcm import RATE

PERCENTILES: Final = (50.0, 95.0, 99.0, 99.9, 100.0)
"""Percentiles of delay variation that a summary has."""

_RELAXED: Final = 0.5  # of a stall's peak: what the delay must fall back to, or it is a step
_NOTICED: Final = 0.2  # s by which a receiver may note its stall late


def running_jitter(packets: pd.DataFrame, held: Seconds | None = None) -> tuple[Seconds, Seconds]:
    """Return the difference and the jitter at each of timed packets, s.

    See :func:`recall_lab.jitter`. `held` is by how much each arrival is to be put back where the
    media clock stood, s.
    """
    transit = arrivals(packets) - packets["relative"].to_numpy()
    if held is not None:
        transit -= held
    difference = np.diff(transit, prepend=transit[:1])
    smoothed: Seconds = scipy.signal.lfilter([1 / 16], [1, -15 / 16], np.abs(difference))
    return difference, smoothed


def delays_of(packets: pd.DataFrame, held: Seconds | None = None) -> tuple[Seconds, Seconds]:
    """Return the delay of each of timed packets, and its variation, s.

    See :func:`recall_lab.latency`; `held` as for :func:`running_jitter`.
    """
    relative = packets["relative"].to_numpy()
    lasts = packets["samples"].to_numpy() / RATE
    transit = arrivals(packets) - relative
    transit -= lasts
    if held is not None:
        transit -= held
    transit[lasts == 0] = np.nan
    variation = transit - delay_line(relative, transit)
    if (lasts > 0).any():
        transit -= np.nanmin(transit)
        variation -= np.nanmin(variation)
    return transit, variation


def delay_percentiles(variation: Seconds) -> pd.Series[float]:
    """Return percentiles of the delay variation, s; NaN where nothing is known of it."""
    values = variation[~np.isnan(variation)]
    found = np.percentile(values, PERCENTILES) if len(values) else np.full(len(PERCENTILES), np.nan)
    return pd.Series(found, index=pd.Index(PERCENTILES, name="percentile"), name="variation")


class Stall(NamedTuple):
    """A row of :func:`stalls`, with ns since 1970 UTC for the time."""

    start: float
    end: float
    duration: float
    packets: int
    arrived: int
    cause: str
    evidence: str


def stalls_of(
    capture: Capture, packets: pd.DataFrame, variation: Seconds, shortest: float = 0.25
) -> list[Stall]:
    """Return the stalls among timed packets, whose delays are known; see :func:`stalls`."""
    heard = ~np.isnan(variation)
    variation, samples = variation[heard], packets["samples"].to_numpy()[heard]
    usual = float(np.median(variation)) if len(variation) else 0.0
    late = variation - usual > shortest
    edges = np.flatnonzero(np.diff(late.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    if not len(edges):
        return []
    relative = packets["relative"].to_numpy()[heard]
    arrived = nanoseconds(packets["received"])[heard]
    noted = _noted(capture)
    rows = []
    for low, high in edges.tolist():
        peak = low + int(np.argmax(variation[low:high]))
        after = variation[high : high + 1]
        # the last of a capture has no packet after it by which to see the delay fall
        relaxed = len(after) and after[0] - usual < variation[peak] - usual
        steep = variation[high - 1] - usual < _RELAXED * (variation[peak] - usual) + shortest
        if high - low < 2 or not (relaxed and steep):
            continue
        seconds = float(variation[peak] - usual)
        cause, evidence = _blame(noted, arrived[peak], seconds)
        held = (
            f"{high - low:,} packets came within {(arrived[high - 1] - arrived[peak]) / 1e9:.3f} s"
        )
        rows.append(
            Stall(
                relative[low],
                relative[high - 1] + samples[high - 1] / RATE,
                seconds,
                high - low,
                arrived[low],
                cause,
                f"{held}; {evidence}",
            )
        )
    return rows


def _noted(capture: Capture) -> npt.NDArray[np.float64]:
    """Return when the receiver was held up, by its own account: begin and end, ns since 1970."""
    events = capture.events
    own = events[(events["kind"] == STALLED) & events["seconds"].notna()]
    ends = nanoseconds(own["received"]).astype(np.float64)
    return np.column_stack([ends - own["seconds"].to_numpy() * 1e9, ends])


def _blame(noted: npt.NDArray[np.float64], arrived: int, seconds: float) -> tuple[str, str]:
    """Return whose stall it was that ended when a packet came at `arrived`."""
    slack = _NOTICED * 1e9
    during = (noted[:, 0] - slack <= arrived) & (arrived <= noted[:, 1] + slack)
    if during.any():
        own = float(np.max((noted[during, 1] - noted[during, 0]) / 1e9))
        if own > seconds / 2:
            return "receiver", f"the receiver notes that it was itself held up for {own:.3f} s"
    return "network", "the receiver notes no stall of its own"
