"""Runs of a mask and parts of an array, against plain Python."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.arrays import falls_of, parts_of, rise, runs_of


@given(st.lists(st.booleans(), max_size=40))
def test_runs_are_those_of_plain_python(mask: list[bool]) -> None:
    expected, at = [], 0
    for value, some in groupby(mask):
        size = len(list(some))
        if value:
            expected.append([at, at + size])
        at += size
    assert runs_of(np.array(mask, bool)).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 2, 100, 32_768, 32_769, 32_770, 100_000])
def test_differences_within_parts_are_those_of_the_whole(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    found = np.concatenate([np.empty(0), *(np.diff(values[part]) for part in parts_of(count))])
    assert found.tolist() == np.diff(values).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 100, 32_769, 70_000])
@pytest.mark.parametrize("falls", [0, 1, 5, 10_000])
def test_values_rise_from_their_falls_on(count: int, falls: int) -> None:
    rng = np.random.default_rng((count, falls))
    values = np.sort(rng.integers(0, 1 + count // 2, count)).astype(np.float64)
    if count:
        values[rng.integers(0, count, falls)] -= rng.integers(0, 50, falls)
    assert falls_of(values).tolist() == np.flatnonzero(np.diff(values) < 0).tolist()
    expected = np.maximum.accumulate(values)
    rise(values)
    assert values.tolist() == expected.tolist()
