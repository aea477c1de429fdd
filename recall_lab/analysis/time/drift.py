"""Measure how the clocks run against each other, and find where one was set."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recall_lab.analysis.time.analysis import analyse


def drift(source: Any) -> pd.DataFrame:
    """Return how much faster each clock runs than another, in parts per million.

    Steps of a clock (:func:`recall_lab.clock_steps`) are taken out first.

    Returns:
        Index ``pair``, one of :data:`PAIRS`, and the columns

        - ``drift`` (float64, ppm): ``1e6 * (rate of the first / rate of the second - 1)``; NaN
          where there is less than a minute to tell it by
        - ``low``, ``high`` (float64, ppm): its 95 % interval, from a bootstrap over the residuals
          of the envelope, with a fixed seed
        - ``span`` (float64, s), ``windows`` (int64): what it was told by
        - ``steps`` (int64): steps taken out

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> drift(cap).loc["relative/absolute", "drift"]  # doctest: +SKIP
        120.0
    """
    table: pd.DataFrame = analyse(source).drift.copy()
    return table


def clock_steps(source: Any) -> pd.DataFrame:
    """Return where a wall clock was set: the sender's, or our own.

    The sender's absolute clock is held against its relative clock, our received wall clock
    against our monotonic one. A shift counts when it stays, two packets on either side at least:
    a single odd stamp is none, nor is a drift of up to 1,000 ppm however long the pause, nor
    rounding to whole seconds.

    Returns:
        One row a step: ``clock`` (str: ``absolute`` or ``received``), ``relative`` (float64, s:
        of the first packet after it), ``step`` (float64, s, how far the clock was put on),
        ``before``, ``after`` (int64, packets), ``evidence`` (str).

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> clock_steps(cap)[["clock", "relative", "step"]]  # doctest: +SKIP
    """
    found = analyse(source)
    rows, numbers = found.clock_steps, found.packets.index.to_numpy()
    table = pd.DataFrame(
        [(c, r, s, numbers[b], numbers[a], e) for c, r, s, b, a, e in rows],
        columns=["clock", "relative", "step", "before", "after", "evidence"],
    )
    kinds = {"relative": "float64", "step": "float64", "before": "int64", "after": "int64"}
    return table.astype(kinds | {"clock": "str", "evidence": "str"})
