"""The rule by which audio is missing, against a picture of every sample."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.continuity import missing_spans


def frame(packets: list[tuple[int, int]]) -> pd.DataFrame:
    """Packets as (first sample, samples)."""
    return pd.DataFrame(
        {
            "relative": np.array([start for start, _ in packets], float) / 16_000,
            "samples": np.array([count for _, count in packets], np.int32),
        }
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 700)), min_size=1, max_size=30),
    st.sampled_from([0, 1, 32, 500]),
)
def test_it_names_exactly_the_runs_of_samples_that_nobody_sent(
    packets: list[tuple[int, int]], shortest: int
) -> None:
    first = min(start for start, _ in packets)
    last = max(max(start, start + count) for start, count in packets)
    there = np.zeros(last - first + 1, bool)
    for start, count in packets:
        there[start - first : start - first + count] = True
    ends = np.flatnonzero(np.diff(np.concatenate([[1], there[:-1], [1]])))
    runs = ends.reshape(-1, 2) + first
    # an empty packet names an instant, which is no audio but ends one span and begins the next
    cuts = sorted({start for start, count in packets if count == 0})
    pieces = []
    for begin, end in runs:
        marks = [begin, *(cut for cut in cuts if begin < cut < end), end]
        pieces += pairwise(marks)
    expected = [(b, e) for b, e in pieces if e - b > shortest]
    found = np.rint(missing_spans(frame(packets), shortest / 16_000 + 1e-9) * 16_000)
    assert [tuple(span) for span in found.astype(int).tolist()] == expected


def test_a_clock_rounded_to_milliseconds_has_no_holes() -> None:
    exact = np.arange(1000) * 1600 / 16_000 / 3
    packets = pd.DataFrame(
        {"relative": np.round(exact, 3), "samples": np.full(1000, 534, np.int32)}
    )
    assert len(missing_spans(packets)) == 0


def test_reordering_and_duplicates_are_no_holes_and_no_packets_no_spans() -> None:
    assert len(missing_spans(frame([(0, 320), (640, 320), (320, 320), (320, 320)]))) == 0
    assert missing_spans(frame([])).shape == (0, 2)
    assert missing_spans(frame([(0, 320)])).shape == (0, 2)


def test_a_clock_that_is_not_a_number_is_passed_over() -> None:
    packets = frame([(0, 320), (320, 320), (960, 320)])
    packets.loc[1, "relative"] = np.nan
    np.testing.assert_allclose(missing_spans(packets), [[0.02, 0.06]])
