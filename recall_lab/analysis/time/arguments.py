"""Times and durations as people give them, as seconds of the relative clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_lab.analysis.clocks.columns import timed
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument


def duration_of(name: str, value: Any) -> float:
    """Return a duration in seconds: a number of them, or what ``pandas.Timedelta`` reads.

    Raises:
        InvalidArgument: for what is no duration, or below 0.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, int | float | np.integer | np.floating):
            seconds = float(value)
        elif isinstance(value, str) and value.replace(".", "", 1).strip().isdecimal():
            raise ValueError  # "5" of what? pandas would say nanoseconds
        else:
            seconds = pd.Timedelta(value).total_seconds()
    except (TypeError, ValueError, OverflowError):
        seconds = np.nan
    if not 0 <= seconds < 1e9:
        raise InvalidArgument(name, value, "seconds, 0 or more, or a duration such as '500ms'")
    return seconds


def call_of(capture: Capture, call: Any) -> tuple[float, float]:
    """Return when a call began and ended, s on the relative clock.

    Raises:
        InvalidArgument: for what is no pair of times.
    """
    valid = "(start, end): seconds of the relative clock, or wall-clock times with a zone"
    try:
        start, end = (moment_of(capture, time) for time in call)
    except (TypeError, ValueError):
        raise InvalidArgument("call", call, valid) from None
    if not (np.isfinite(start) and np.isfinite(end) and start <= end):
        raise InvalidArgument("call", call, valid)
    return start, end


def moment_of(capture: Capture, time: Any) -> float:
    """Return a time on the relative clock, s: a number is one already.

    Raises:
        ValueError: for what is no time, or a wall-clock time without a zone.
    """
    if isinstance(time, int | float | np.integer | np.floating) and not isinstance(time, bool):
        return float(time)
    stamp = pd.Timestamp(time)
    if stamp.tz is None:
        raise ValueError("a time without a zone")
    packets = timed(capture)
    if packets.empty:
        raise ValueError("no packet tells the wall clock")
    walls = packets["absolute"]
    near = int(np.argmin(np.abs((walls - stamp).dt.total_seconds().to_numpy())))
    away = (stamp - walls.iloc[near]).total_seconds()
    return float(packets["relative"].iloc[near]) + float(away)
