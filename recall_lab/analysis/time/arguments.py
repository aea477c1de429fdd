"""Times as people give them, as seconds of the relative clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from recall_lab.capture.capture import Capture, Moment
from recall_lab.errors import InvalidArgument

_NOTHING = Capture(np.empty(0, np.int16))


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
