"""The three clocks of a capture as plain numbers: what every analysis of time begins with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.errors import MissingTimestamps

Seconds = npt.NDArray[np.float64]
"""Float64, seconds. Never float32: after an hour it can't tell two milliseconds apart."""


def timed(capture: Capture) -> pd.DataFrame:
    """Return the packets whose relative time is known, in the order of arrival.

    The frame of the capture itself when all are known, which costs nothing.

    Raises:
        MissingTimestamps: when there is audio, but not one packet with a time.
    """
    packets = capture.packets
    known = np.isfinite(packets["relative"].to_numpy())
    if known.all():
        if packets.empty and len(capture.samples):
            held = f"there are {capture.duration:.3f} s of audio, but no packets"
            raise MissingTimestamps(capture.info.stem, held)
        return packets
    if not known.any():
        held = f"the relative time of all {len(packets):,} packets is unknown"
        raise MissingTimestamps(capture.info.stem, held)
    heard: pd.DataFrame = packets.loc[known]
    return heard


def arrivals(packets: pd.DataFrame) -> Seconds:
    """Return when each packet arrived, in seconds since the first, on our monotonic clock.

    Where the machine was started anew in between, and its monotonic clock with it, the wall
    clock bridges the two.

    Returns:
        Shape ``(packets,)``, float64, exact to the nanosecond over a day.
    """
    monotonic = packets["monotonic"].to_numpy()
    if not len(monotonic):
        return np.empty(0)
    restarts = np.flatnonzero(monotonic[1:] < monotonic[:-1]) + 1
    if len(restarts):
        received = nanoseconds(packets["received"])
        monotonic = monotonic.copy()
        for at in restarts:
            step = (received[at] - received[at - 1]) - (monotonic[at] - monotonic[at - 1])
            monotonic[at:] += step
    elapsed: Seconds = (monotonic - monotonic[0]) / 1e9
    return elapsed


def times_of(nanoseconds: npt.NDArray[np.int64]) -> pd.Series[pd.Timestamp]:
    """Return int64 ns since 1970 UTC as a column of times."""
    return pd.Series(nanoseconds).astype("datetime64[ns, UTC]")


def nanoseconds(times: pd.Series[pd.Timestamp]) -> npt.NDArray[np.int64]:
    """Return a column of times as int64 ns since 1970 UTC, without a copy."""
    return times.to_numpy("datetime64[ns]").view(np.int64)
