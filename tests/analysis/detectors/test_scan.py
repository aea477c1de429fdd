"""What one pass counts, held against NumPy over the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.analysis.detectors.scan import scan
from recall_lab.errors import InvalidArgument

RATE = 16_000


def noise(size: int, level: float = 1000) -> np.ndarray:
    return np.random.default_rng(0).normal(50, level, size).astype(np.int16)


@pytest.mark.parametrize("size", [320, 159_999, 160_000, 160_001, 500_123])
def test_frames_are_what_numpy_says(size: int) -> None:
    samples = noise(size)
    found = scan(samples)
    short = samples[: size // 80 * 80].reshape(-1, 80)
    long = samples[: size // 320 * 320].reshape(-1, 320).astype(float)
    np.testing.assert_array_equal(found.low, short.min(axis=1))
    np.testing.assert_array_equal(found.high, short.max(axis=1))
    np.testing.assert_array_equal(found.peak, np.abs(short.astype(int)).max(axis=1))
    np.testing.assert_allclose(found.energy, np.square(long).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.mean, long.mean(axis=1), atol=0.01)


def test_the_loudest_second_is_in_dbfs() -> None:
    samples = noise(30 * RATE, 100)
    samples[10 * RATE : 11 * RATE] = np.rint(
        16_384 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    )
    assert scan(samples).loud == pytest.approx(-6.02, abs=0.01)
    assert scan(np.zeros(RATE, np.int16)).loud == -np.inf


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 159_000), st.integers(1, 900)), max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_runs_of_zeros_are_exact(spans: list[tuple[int, int]], seed: int) -> None:
    samples = np.random.default_rng(seed).integers(1, 900, 330_000).astype(np.int16)
    for at, size in spans:
        for first in (at, at + 159_500):  # across the edge of a window, too
            samples[first : first + size] = 0
    changes = np.flatnonzero(np.diff(samples == 0, prepend=False, append=False))
    runs = [
        (a, b) for a, b in zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)
        if b - a >= 160 and a >= 80
    ]  # fmt: skip
    found = {(a, b): edges for a, b, *edges in scan(samples).zeros.tolist()}
    assert set(runs) <= found.keys()
    for (first, last), (before, after) in found.items():
        assert not samples[first:last].any()
        if (first, last) in runs and first > 160_080:  # of one window, where all is at hand
            assert before == np.abs(samples[max(first - 80, 160_000) : first]).max()
            assert after == np.abs(samples[last : last + 80]).max()


def test_times_are_those_of_packets(make) -> None:  # type: ignore[no-untyped-def]
    found = scan(make([5.0, 5.1, 9.0], 1600, audio=noise(4800)))
    assert [found.time(at) for at in (0, 800, 3200)] == pytest.approx([5, 5.05, 9])
    assert found.end_time(3200) == pytest.approx(5.2)
    assert found.end_time(4800) == pytest.approx(9.1)
    assert scan(noise(RATE)).time(800) == 0.05


def test_floats_are_the_same_as_samples() -> None:
    samples = noise(40_000)
    np.testing.assert_array_equal(scan(samples / 32_768).low, scan(samples).low)
    assert scan(np.full(RATE, np.nan)).peak.max() == 0


@pytest.mark.parametrize("given", [np.zeros((2, 2), np.int16), np.zeros(5, np.int32), "call"])
def test_what_holds_no_samples_is_refused(given: object) -> None:
    with pytest.raises(InvalidArgument, match="one dimension"):
        findings_of_samples(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 79, 80, 319, 321, 5000, 16_000])
def test_short_calls_are_read_and_little_is_said_of_them(size: int) -> None:
    assert findings_of_samples(noise(size)) == []
