"""Times and durations as people give them, as seconds of the relative clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_lab.capture.capture import Capture, Moment
from recall_lab.errors import InvalidArgument

_NOTHING = Capture(np.empty(0, np.int16))


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
        start, end = (capture.moment(time) for time in call)
    except (TypeError, ValueError):  # of which InvalidArgument is one
        raise InvalidArgument("call", call, valid) from None
    if not (np.isfinite(start) and np.isfinite(end) and start <= end):
        raise InvalidArgument("call", call, valid)
    return start, end


def crop_of(
    capture: Capture | None, start: Moment | None, end: Moment | None
) -> tuple[float | None, float | None]:
    """Return where a crop begins and ends, s on the relative clock; None stays None.

    Raises:
        InvalidArgument: for what is no time, and for a wall-clock time where no clock is.
    """
    low, high = (
        time if time is None else (capture or _NOTHING).moment(time) for time in (start, end)
    )
    return low, high
