"""Measure when packets arrived: jitter, delay, stalls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_lab.analysis.clocks.columns import times_of
from recall_lab.analysis.clocks.delays import Stall, stalls_of
from recall_lab.analysis.time.analysis import analyse
from recall_lab.arguments import Duration, duration
from recall_lab.capture.frame import nanoseconds
from recall_lab.wire.pcm import RATE


def jitter(source: Any) -> pd.DataFrame:
    """Return the interarrival jitter of RFC 3550, 6.4.1, packet by packet.

    ``D = (R_i - R_i-1) - (S_i - S_i-1)`` and ``J += (|D| - J) / 16``, with `R` our monotonic
    clock at arrival and `S` the sender's media clock; over all packets in the order of arrival.

    Returns:
        One row a packet, indexed as ``capture.packets``: ``relative``, ``difference`` (D; 0 for
        the first) and ``jitter`` (J), float64, s. The last ``jitter`` is what RTCP would report.

    Raises:
        MissingTimestamps: for audio without packets.
        NotRealTime: for a replay at another speed.

    Example:
        >>> jitter(rl.load("data/standup-lossy.bin"))["jitter"].iloc[-1]  # doctest: +SKIP
        0.021
    """
    found = analyse(source)
    packets = found.packets
    relative = packets["relative"].to_numpy()
    difference, smoothed = found.jitter
    return pd.DataFrame(
        {"relative": relative, "difference": difference, "jitter": smoothed}, index=packets.index
    )


def latency(source: Any) -> pd.DataFrame:
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
        NotRealTime: for a replay at another speed.

    Example:
        >>> latency(cap)["variation"].quantile(0.99)  # doctest: +SKIP
    """
    found = analyse(source)
    packets = found.packets
    relative = packets["relative"].to_numpy()
    lasts = packets["samples"].to_numpy() / RATE
    delay, variation = found.delays
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


def stalls(source: Any, shortest: Duration = 0.25) -> pd.DataFrame:
    """Return when packets were held up and then came in a burst.

    In a stall several packets come at once: the first is late by the whole of it, each later
    one by its own length less, until the delay is what it was. A mute is none, for no delay
    rises; nor is one late packet; nor a delay that rises and stays.

    Args:
        source: as for :func:`recall_lab.analyse`.
        shortest: least delay that counts as a stall, s.

    Returns:
        One row a stall: ``start``, ``end`` (float64, s on the relative clock, of the packets held
        up), ``duration`` (float64, s, how late the latest was), ``packets`` (int64), ``arrived``
        (datetime64[ns, UTC], when the first of them came), ``cause`` (str: ``receiver`` where the
        receiver's journal says that it was held up itself, else ``network``, which may be the
        bot's side as well), ``evidence`` (str).

    Raises:
        MissingTimestamps: for audio without packets.
        NotRealTime: for a replay at another speed.
        InvalidArgument: when `shortest` is not a positive number.

    Example:
        >>> stalls(cap)[["start", "duration", "cause"]]  # doctest: +SKIP
    """
    shortest = duration("shortest", shortest, above=True)
    found = analyse(source)
    rows = stalls_of(found.capture, found.packets, found.delays[1], shortest)
    table = pd.DataFrame(rows, columns=list(Stall._fields))
    table["arrived"] = times_of(table["arrived"].to_numpy().astype(np.int64))
    kinds = {"start": "float64", "end": "float64", "duration": "float64", "packets": "int64"}
    return table.astype(kinds | {"cause": "str", "evidence": "str"})
