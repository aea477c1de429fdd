"""Numbers and durations that people give."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from recall_lab.arguments import duration, number, whole
from recall_lab.errors import InvalidArgument


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (2, 2), (0.25, 0.25), (np.float32(0.5), 0.5), (np.int64(3), 3), ("200ms", 0.2),
        ("1min", 60), ("0:00:02", 2), (timedelta(hours=1), 3600), (pd.Timedelta("5s"), 5),
    ],
)  # fmt: skip
def test_durations_are_seconds_or_what_pandas_reads(value: object, seconds: float) -> None:
    assert duration("every", value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["5", "5.0", "soon", "", None, True, [1], -1, math.nan, math.inf, "-1s", pd.NaT, 1e10]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match=r"every=.*seconds, 0 or more, or a duration such as"):
        duration("every", value)


@pytest.mark.parametrize("value", [0, 1.0, True, "3", None, 4001, np.float64(3)])
def test_what_is_no_whole_number_in_range_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match=r"columns=.*a whole number, 1 to 4,000"):
        whole("columns", value, 1, 4000)


def test_numbers_of_numpy_are_numbers() -> None:
    assert whole("columns", np.uint8(7)) == 7
    assert number("share", np.float32(0.5), 0, 1) == 0.5


@pytest.mark.parametrize("value", [0, -1, math.nan, "fast", True, None])
def test_what_is_not_above_zero_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match=r"speed=.*a number, above 0"):
        number("speed", value, 0, above=True)
