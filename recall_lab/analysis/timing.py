"""When packets arrived: jitter, delay, and what held them up."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from recall_lab.analysis.clocks import Seconds, arrivals, nanoseconds, timed, times_of
from recall_lab.analysis.drift import delay_line
from recall_lab.capture.capture import Capture
from recall_lab.capture.events import STALLED
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE

PERCENTILES: Final = (50.0, 95.0, 99.0, 99.9, 100.0)
"""Percentiles of delay variation that a summary has."""

_RELAXED: Final = 0.5  # of a stall's peak: what the delay must fall back to, or it is a step
_NOTICED: Final = 0.2  # s by which a receiver may note its stall late


def jitter(capture: Capture) -> pd.DataFrame:
    """Return the interarrival jitter of RFC 3550, 6.4.1, packet by packet.

    ``D = (R_i - R_i-1) - (S_i - S_i-1)`` and ``J += (|D| - J) / 16``, with `R` our monotonic
    clock at arrival and `S` the sender's media clock; over all packets in the order of arrival.

    Returns:
        One row a packet, indexed as ``capture.packets``: ``relative``, ``difference`` (D; 0 for
        the first) and ``jitter`` (J), float64, s. The last ``jitter`` is what RTCP would report.

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> jitter(rl.load("data/standup-lossy.bin"))["jitter"].iloc[-1]  # doctest: +SKIP
        0.021
    """
    packets = timed(capture)
    relative = packets["relative"].to_numpy()
    difference, smoothed = running_jitter(packets)
    return pd.DataFrame(
        {"relative": relative, "difference": difference, "jitter": smoothed}, index=packets.index
    )


def running_jitter(packets: pd.DataFrame) -> tuple[Seconds, Seconds]:
    """Return the difference and the jitter at each of timed packets; see :func:`jitter`."""
    transit = arrivals(packets) - packets["relative"].to_numpy()
    difference = np.diff(transit, prepend=transit[:1])
    smoothed: Seconds = scipy.signal.lfilter([1 / 16], [1, -15 / 16], np.abs(difference))
    return difference, smoothed


def latency(capture: Capture) -> pd.DataFrame:
    """Return how late each packet came.

    A packet can't be sent before its last sample exists, so its delay is counted from its end.
    Nobody says how long a packet without audio lasts: its delays are NaN.

    Returns:
        One row a packet in the order of arrival, indexed as ``capture.packets``; float64, s:

        - ``relative``: the packet's start
        - ``delay``: above that of the fastest packet, 0 or more
        - ``variation``: the same above the line of the fastest packets, so without the drift
          between the sender's media clock and ours (packet delay variation, RFC 5481, 4.2)
        - ``apparent``: received less the absolute time of its end: the true one-way delay, where
          both wall clocks are right

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> latency(cap)["variation"].quantile(0.99)  # doctest: +SKIP
    """
    packets = timed(capture)
    relative = packets["relative"].to_numpy()
    lasts = packets["samples"].to_numpy() / RATE
    delay, variation = delays_of(packets)
    wall = (nanoseconds(packets["received"]) - nanoseconds(packets["absolute"])) / 1e9
    return pd.DataFrame(
        {
            "relative": relative,
            "delay": delay,
            "variation": variation,
            "apparent": np.where(lasts > 0, wall - lasts, np.nan),
        },
        index=packets.index,
    )


def delays_of(packets: pd.DataFrame) -> tuple[Seconds, Seconds]:
    """Return the delay of each of timed packets, and its variation; see :func:`latency`."""
    relative = packets["relative"].to_numpy()
    lasts = packets["samples"].to_numpy() / RATE
    transit = arrivals(packets) - relative
    transit -= lasts
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


def stalls(capture: Capture, shortest: float = 0.25) -> pd.DataFrame:
    """Return when packets were held up and then came in a burst.

    In a stall several packets come at once: the first is late by the whole of it, each later
    one by its own length less, until the delay is what it was. A mute is none, for no delay
    rises; nor is one late packet; nor a delay that rises and stays.

    Args:
        capture: live or loaded.
        shortest: least delay that counts as a stall, s.

    Returns:
        One row a stall: ``start``, ``end`` (float64, s on the relative clock, of the packets held
        up), ``duration`` (float64, s, how late the latest was), ``packets`` (int64), ``arrived``
        (datetime64[ns, UTC], when the first of them came), ``cause`` (str: ``receiver`` where the
        receiver's journal says that it was held up itself, else ``network``, which may be the
        bot's side as well), ``evidence`` (str).

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: when `shortest` is not a positive number.

    Example:
        >>> stalls(cap)[["start", "duration", "cause"]]  # doctest: +SKIP
    """
    if not isinstance(shortest, int | float) or not shortest > 0:
        raise InvalidArgument("shortest", shortest, "a positive number of seconds")
    packets = timed(capture)
    rows = stalls_of(capture, packets, delays_of(packets)[1], shortest)
    table = pd.DataFrame(rows, columns=list(Stall._fields))
    table["arrived"] = times_of(table["arrived"].to_numpy().astype(np.int64))
    kinds = {"start": "float64", "end": "float64", "duration": "float64", "packets": "int64"}
    return table.astype(kinds | {"cause": "str", "evidence": "str"})


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
