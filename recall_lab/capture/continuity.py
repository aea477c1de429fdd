"""The small rule by which audio is missing: the relative clock against samples counted.

A packet should begin where the furthest one before it, in media time, has ended. Arrival times
have no say in it, nor has the order of arrival.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.wire.pcm import RATE

TOLERANCE: Final = 0.002
"""Seconds by which two stamps may miss one another: both may be rounded to a millisecond."""


def missing_spans(packets: pd.DataFrame, tolerance: float = TOLERANCE) -> npt.NDArray[np.float64]:
    """Return the spans of the relative clock for which there is no audio between packets.

    Args:
        packets: the packets frame; empty packets count as the instant they name.
        tolerance: shortest span worth naming, in seconds.

    Returns:
        Shape ``(n, 2)``, float64, seconds, half-open, in order.

    Example:
        ::

            packets   [0.0 .. 0.2)  [0.2 .. 0.4)              [0.8 .. 1.0)
            missing                               [0.4 .. 0.8)
    """
    relative = packets["relative"].to_numpy()
    ends = relative + packets["samples"].to_numpy() / RATE
    known = np.isfinite(relative)
    order = np.argsort(relative[known], kind="stable")
    starts = relative[known][order]
    reached = np.maximum.accumulate(ends[known][order])
    holes = np.flatnonzero(starts[1:] - reached[:-1] > tolerance)
    return np.column_stack([reached[holes], starts[holes + 1]])
