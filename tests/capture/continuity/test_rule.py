"""The rule of discontinuities, on streams as they are in the field, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.continuity.level_steps import HALF_SAMPLE, median_of
from recall_lab.capture.continuity.rule import PAGE, jumps_of

RATE = 16_000


def stream(packets: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.full(packets, samples)
    return (np.cumsum(counts) - counts) / RATE, counts


def told(starts: np.ndarray, counts: np.ndarray) -> tuple[float, float, int]:
    """Return seconds missing, seconds twice, and how many discontinuities there are."""
    sizes = jumps_of(starts, counts).sizes
    return float(sizes[sizes > 0].sum()), float(-sizes[sizes < 0].sum()), np.count_nonzero(sizes)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_exact_stamps_are_told_to_the_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 400))
    counts = rng.choice(rng.choice([160, 320, 533, 1600, 3200], 2), count)
    lost = np.where(rng.random(count) < rng.choice([0, 0.01, 0.2]), counts, 0)
    starts = (np.cumsum(counts + lost) - counts) / RATE + rng.choice([0, 1234.5])
    sizes = np.rint(jumps_of(starts, counts).sizes * RATE).astype(int)
    assert sizes.tolist() == lost[1:].tolist()


@pytest.mark.parametrize("ppm", [-50, 50, 500, 1000])
def test_a_sample_clock_that_is_off_is_no_discontinuity(ppm: float) -> None:
    starts, counts = stream(5000, 3200)
    kept = np.setdiff1d(np.arange(5000), np.arange(100, 5000, 300))
    found = jumps_of((starts * (1 + ppm * 1e-6))[kept], counts[kept])
    assert np.count_nonzero(found.sizes) == len(range(100, 5000, 300))
    assert found.sizes.sum() == pytest.approx(len(range(100, 5000, 300)) * 0.2, rel=2e-3)
    assert 1e6 * np.average(found.clock) == pytest.approx(ppm, rel=0.02)


def test_a_clock_that_is_seen_in_steps_of_a_grid_is_a_clock() -> None:
    starts, counts = stream(20_000, 3200)
    missing, twice, rows = told(np.round(starts * (1 + 50e-6) * RATE) / RATE, counts)
    assert (missing, twice, rows) == (0.0, 0.0, 0)


@pytest.mark.parametrize(("sent", "slot"), [(2880, 0.2), (240, 0.02), (2205, 0.2), (6400, 0.2)])
def test_what_no_oscillator_does_counts_at_every_join(sent: int, slot: float) -> None:
    starts, counts = np.arange(600) * slot, np.full(600, sent)
    missing, twice, rows = told(starts, counts)
    assert rows == 599
    assert missing - twice == pytest.approx(599 * (slot - sent / RATE), abs=1e-6)
    assert min(missing, twice) == 0.0


@pytest.mark.parametrize("samples", [320, 3200])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_scatter_comes_back_and_losses_last(samples: int, share: float) -> None:
    rng = np.random.default_rng(7)
    starts, counts = stream(3000, samples)
    scatter = rng.normal(0, share * samples / RATE, 3000)
    missing, twice, rows = told(starts + scatter, counts)
    assert max(missing, twice) <= samples / RATE and rows <= 6
    lost = np.sort(rng.choice(np.arange(20, 2980), 30, False))
    kept = np.setdiff1d(np.arange(3000), lost)
    missing, twice, rows = told((starts + scatter)[kept], counts[kept])
    assert missing == pytest.approx(30 * samples / RATE, abs=2 * samples / RATE)
    assert twice <= samples / RATE and rows <= 60


@pytest.mark.parametrize(("grid", "samples"), [(0.02, 1024), (0.001, 1000), (0.01, 533)])
def test_stamps_on_a_grid_tear_nothing(grid: float, samples: int) -> None:
    starts, counts = stream(3000, samples)
    missing, twice, rows = told(np.floor(starts / grid + 1e-9) * grid, counts)
    assert max(missing, twice) <= grid and rows <= 4
    kept = np.delete(np.arange(3000), [500, 501, 1500])
    missing, twice, _ = told((np.floor(starts / grid + 1e-9) * grid)[kept], counts[kept])
    assert missing - twice == pytest.approx(3 * samples / RATE, abs=grid + HALF_SAMPLE)


def test_stamps_of_32_bits_tear_nothing_in_an_hour() -> None:
    starts, counts = stream(180_000, 320)
    missing, twice, rows = told(starts.astype(np.float32).astype(float), counts)
    assert max(missing, twice) < 0.001 and rows <= 4


def test_what_is_believed_is_local() -> None:
    rng = np.random.default_rng(1)
    starts, counts = stream(4 * PAGE, 320)
    kept = np.setdiff1d(np.arange(4 * PAGE), np.arange(50, 2 * PAGE, 97))
    starts, counts = starts[kept], counts[kept]
    clean = jumps_of(starts, counts).sizes
    starts[-PAGE:] += rng.normal(0, 0.004, PAGE)
    mixed = jumps_of(starts, counts).sizes
    before = 2 * PAGE
    np.testing.assert_allclose(mixed[:before], clean[:before], atol=1e-9)
    assert np.count_nonzero(clean[:before]) > 100


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_median_is_numpys(values: list[float]) -> None:
    array = np.array(values)
    assert median_of(array) == pytest.approx(float(np.median(array)))


def test_few_packets_are_believed_and_none_are_none() -> None:
    assert jumps_of(np.array([0.0]), np.array([320])).sizes.tolist() == []
    found = jumps_of(np.array([0.0, 0.5, 0.52]), np.array([320, 320, 320])).sizes
    assert found.round(6).tolist() == [0.48, 0.0]


@pytest.mark.parametrize("samples", [160, 320, 1600])
@pytest.mark.parametrize("least", [0.0, 0.001, 0.02])
def test_gaps_of_any_length_at_every_join_are_each_believed(samples: int, least: float) -> None:
    """Nothing ever comes back there. Once they were read as stamps that scatter by 0.5 s."""
    rng = np.random.default_rng(3)
    gaps = rng.uniform(least, 0.3, 999)
    starts = np.concatenate([[0.0], np.cumsum(gaps + samples / RATE)])
    told = jumps_of(starts, np.full(1000, samples))
    expected = np.where(gaps > HALF_SAMPLE, gaps, 0.0)
    np.testing.assert_allclose(told.sizes, expected, atol=1e-9)
    assert not told.clock.any()
