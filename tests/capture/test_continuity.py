"""The rule by which audio is missing: against a picture of every sample, and live."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.continuity import Stamps, missing_spans
from recall_lab.capture.level_steps import HALF_SAMPLE
from recall_lab.capture.live_continuity import Continuity


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
    expected = [(b, e) for b, e in runs.tolist() if e - b > shortest]
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


def live(packets: pd.DataFrame) -> Continuity:
    stream = Continuity()
    for relative, samples in zip(
        packets["relative"].tolist(), packets["samples"].tolist(), strict=True
    ):
        stream.add(relative, samples)
    return stream


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_packet_by_packet_it_says_what_it_says_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 150))
    samples = rng.choice(rng.choice([0, 160, 320, 533, 1000, 1600, 3200], 3), count)
    relative = (np.cumsum(samples) - samples) / 16_000 + rng.random() * rng.integers(0, 2)
    kept = rng.random(count) > rng.choice([0, 0.1, 0.5])
    relative, samples = relative[kept], samples[kept]
    quantum = rng.choice([0, 1e-4, 1e-3, 1e-2, 0.1])
    if quantum:
        relative = np.round(relative / quantum) * quantum
    relative = relative + rng.choice([0, 0, 1e-4, 2e-3]) * rng.normal(0, 1, len(relative))
    mixed = np.arange(len(relative)) + rng.choice([0, 2, 50]) * rng.random(len(relative))
    order = np.repeat(np.argsort(mixed), 1 + (rng.random(len(relative)) < 0.1))
    packets = pd.DataFrame(
        {"relative": relative[order], "samples": samples[order].astype(np.int32)}
    )
    stream, spans = live(packets), missing_spans(packets)
    heard = packets[packets["samples"] > 0]
    stamps = Stamps.of(heard["relative"].to_numpy(), heard["samples"].to_numpy())
    assert stream.tolerance == stamps.tolerance
    assert stream.gaps == len(spans)
    assert stream.missing == pytest.approx(float(np.sum(spans[:, 1] - spans[:, 0])), abs=1e-9)
    # and as well when it takes the first half from a file
    resumed, half = Continuity(), len(packets) // 2
    resumed.start_over(packets.iloc[:half])
    for at in range(half, len(packets)):
        resumed.add(float(packets["relative"][at]), int(packets["samples"][at]))
    assert resumed.tolerance == stream.tolerance
    assert resumed.total() == pytest.approx(stream.total())


def test_many_holes_take_no_more_memory_than_a_few_hundred() -> None:
    stream = Continuity()
    for at in range(10_000):
        stream.add(at * 0.5, 320)
    assert (stream.gaps, len(stream._holes) <= 2 * Continuity.OPEN) == (9_999, True)
    assert stream.missing == pytest.approx(9_999 * 0.48)


@pytest.mark.parametrize(
    ("step", "samples", "expected"),
    [
        (0.0, 320, HALF_SAMPLE),
        (0.001, 1000, 0.001001),
        (0.01, 533, 0.01001),
        (0.0001, 533, 0.0001001),
        (0.001, 3200, HALF_SAMPLE),  # packets of 200 ms lie on whole milliseconds anyway
    ],
)
def test_the_tolerance_is_the_step_to_which_the_stamps_are_rounded(
    step: float, samples: int, expected: float
) -> None:
    relative = np.arange(500) * samples / 16_000
    if step:
        relative = np.round(relative / step) * step
    stamps = Stamps.of(relative, np.full(500, samples, np.int32))
    assert stamps.tolerance == pytest.approx(expected)
    assert (stamps.quantum > 0) == (expected > HALF_SAMPLE)


def test_stamps_that_scatter_tear_nothing_and_hide_no_packet() -> None:
    rng = np.random.default_rng(3)
    relative = np.arange(3000) * 0.02 + rng.normal(0, 0.0005, 3000)
    packets = pd.DataFrame({"relative": relative, "samples": np.full(3000, 320, np.int32)})
    assert len(missing_spans(packets)) == 0
    assert len(missing_spans(packets.drop(index=[700, 1400, 1401]))) == 2


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_packets_taken_together_are_packets_taken_one_by_one(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    count = 60
    usual = int(rng.choice([320, 3200, 1601, 8]))
    samples = np.where(rng.random(count) < 0.05, 0, usual).astype(np.int32)
    samples[rng.random(count) < 0.1] = rng.integers(1, 4000)
    relative = np.cumsum(samples) / 16_000 - samples[0] / 16_000
    relative += np.cumsum((rng.random(count) < rng.choice([0.0, 0.02, 0.2])) * 0.2)
    if rng.random() < 0.3:
        grid = rng.choice([0.001, 0.01])
        relative = np.round(relative / grid) * grid
    if rng.random() < 0.3:
        order = np.argsort(np.arange(count) + rng.choice([0, 3], count, p=[0.9, 0.1]))
        relative, samples = relative[order], samples[order]
    one, together = Continuity(), Continuity()
    for start, length in zip(relative.tolist(), samples.tolist(), strict=True):
        one.add(start, length)
    at = 0
    for size in [*cuts, count]:
        together.extend(relative[at : at + size], samples[at : at + size])
        at += size
    assert one.total() == pytest.approx(together.total())
    assert one.tolerance == together.tolerance
    assert vars(one._stamps) == vars(together._stamps)
