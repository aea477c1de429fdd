"""Where a sound lies in another: rough guesses, windows, straight lines, against other means."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from helpers.sounds import chatter
from scipy.signal import correlate

from recall_lab.analysis.alignment.align import Line, compare_windows, straight
from recall_lab.analysis.alignment.anchors import HOP, Finder, Track, anchors, track
from recall_lab.analysis.time.timeline import as_timeline

RATE = 16_000


def delayed(sound: np.ndarray, samples: float) -> np.ndarray:
    """Return a sound later by any part of a sample, by the phase of its spectrum."""
    spectrum = np.fft.rfft(sound)
    turn = np.exp(-2j * np.pi * np.arange(len(spectrum)) * samples / len(sound))
    return np.fft.irfft(spectrum * turn, len(sound)).astype(np.float32)


@pytest.mark.parametrize("late", [0.0, 3.0, -41.0, 0.25, 17.4, -333.71, 600.5])
def test_the_lag_of_a_window_is_told_to_a_fraction_of_a_sample(late: float) -> None:
    sound = chatter(8, 1)
    other = delayed(sound, late)
    starts = np.arange(RATE, 6 * RATE, RATE)
    found = compare_windows(as_timeline(sound), as_timeline(other), starts, RATE, Line(0.0))
    assert found.clear.all()
    np.testing.assert_allclose(found.lag, late, atol=0.03)


@pytest.mark.parametrize("late", [0.0, 3.0, 17.4, -333.71])
def test_a_wave_that_is_upside_down_is_told_as_exactly(late: float) -> None:
    rng = np.random.default_rng(14)
    sound = chatter(8, 1)
    noisy = (delayed(sound, late) + rng.normal(0, 1e-3, len(sound))).astype(np.float32)
    starts = np.arange(RATE, 6 * RATE, RATE)
    one, as_it_is, turned = as_timeline(sound), as_timeline(noisy), as_timeline(-noisy)
    plain = compare_windows(one, as_it_is, starts, RATE, Line(0.0))
    assert np.isnan(plain.opposed).all()
    assert not plain.oppose(1000).any()
    # held with the line's sign, it is the same to the last bit
    for same, was in zip(
        compare_windows(one, turned, starts, RATE, Line(0.0, sign=-1)), plain, strict=True
    ):
        np.testing.assert_array_equal(same, was)
    # held with the other sign, no window agrees, whatever peaks stand beside its trough
    for other, sign in ((turned, 1), (as_it_is, -1)):
        found = compare_windows(one, other, starts, RATE, Line(0.0, sign=sign))
        assert not found.clear.any()
        np.testing.assert_allclose(found.opposed, late, atol=0.03)
        assert found.oppose(abs(late) + 0.03).all()
        assert not found.oppose(abs(late) - 1).any()


def test_lags_are_those_that_a_plain_correlation_finds() -> None:
    rng = np.random.default_rng(5)
    sound = chatter(20, 2)
    noisy = np.concatenate([np.zeros(700, np.float32), sound]) + rng.normal(
        0, 3e-3, len(sound) + 700
    )
    starts = np.arange(0, 18 * RATE, 2 * RATE)
    found = compare_windows(as_timeline(sound), as_timeline(noisy), starts, 2 * RATE, Line(500.0))
    for start, lag in zip(starts, found.lag, strict=True):
        window = sound[start : start + 2 * RATE].astype(np.float64)
        there = noisy[start : start + 500 + 2 * RATE + 1140]
        plain = int(np.argmax(correlate(there, window, mode="valid"))) - 500
        assert lag == pytest.approx(plain, abs=0.5)


def test_similarity_and_level_are_those_worked_out_by_hand() -> None:
    rng = np.random.default_rng(6)
    sound = chatter(12, 3)
    other = (3 * sound + rng.normal(0, 0.01, len(sound))).astype(np.float32)
    starts = np.arange(0, 12 * RATE, 2 * RATE)
    found = compare_windows(as_timeline(sound), as_timeline(other), starts, 2 * RATE, Line(0.0))
    band = scipy.signal.butter(8, [100, 7000], "bandpass", fs=RATE, output="sos")
    one, two = (scipy.signal.sosfilt(band, x).reshape(6, -1) for x in (sound, other))
    weights = np.zeros(2 * RATE)  # of Hann's windows, squared, that overlap by half
    for hop in range(0, 2 * RATE - 4095, 2048):
        weights[hop : hop + 4096] += scipy.signal.windows.hann(4096, sym=False) ** 2
    power = (weights * np.square(one)).sum(axis=1) * (weights * np.square(two)).sum(axis=1)
    by_hand = (weights * one * two).sum(axis=1) / np.sqrt(power)
    np.testing.assert_allclose(found.similarity, by_hand, atol=0.01)
    np.testing.assert_allclose(found.mine, sound.reshape(6, -1).var(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.theirs, other.reshape(6, -1).var(axis=1), rtol=1e-4)
    assert (found.common == 1).all()


def test_what_one_has_not_counts_against_neither() -> None:
    sound = chatter(4, 4)
    holed = sound.copy()
    holed[RATE : 2 * RATE] = 0
    line = as_timeline(holed)
    line.holes = np.array([[RATE, 2 * RATE]])  # as if that had not been received
    found = compare_windows(line, as_timeline(sound), np.array([0, 2 * RATE]), 2 * RATE, Line(0.0))
    np.testing.assert_allclose(found.similarity, 1, atol=1e-3)
    np.testing.assert_allclose(found.common, [0.5, 1])
    np.testing.assert_allclose(found.mine, found.theirs, rtol=1e-5)
    beyond = compare_windows(
        as_timeline(sound), as_timeline(sound), np.array([0]), RATE, Line(-5.0 * RATE)
    )
    assert np.isnan(beyond.lag[0])
    assert not beyond.clear[0]


@pytest.mark.parametrize("kind", ["tone", "other noise", "silence"])
def test_what_can_tell_nothing_is_not_clear(kind: str) -> None:
    times = np.arange(8 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    pairs = {
        "tone": (tone, np.roll(tone, 100)),
        "other noise": (chatter(8, 5), chatter(8, 6)),
        "silence": (np.zeros(8 * RATE, np.float32), np.zeros(8 * RATE, np.float32)),
    }
    one, other = map(as_timeline, pairs[kind])
    for sign in (1, -1):
        line = Line(0.0, sign=sign)
        found = compare_windows(one, other, np.arange(0, 6 * RATE, RATE), 2 * RATE, line)
        assert not found.clear.any()
        assert np.isnan(found.opposed).all()


def test_a_straight_line_through_clean_points_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(8)
    positions = np.sort(rng.uniform(0, 1e7, 200))
    lags = 12 + 80e-6 * positions + rng.normal(0, 0.5, 200).clip(-1.2, 1.2)
    fit = straight(positions, lags)
    slope, height = np.polyfit(positions, lags, 1)
    assert fit.used.all()
    assert fit.line.rate == pytest.approx(slope, abs=1e-10)
    assert fit.line.at == pytest.approx(height, abs=1e-3)
    assert fit.scatter == pytest.approx(0.45, rel=0.15)


def test_a_straight_line_heeds_no_outliers() -> None:
    rng = np.random.default_rng(9)
    positions = np.arange(300) * 32_000.0
    lags = -5 - 150e-6 * positions + rng.normal(0, 0.05, 300)
    wrong = rng.random(300) < 0.3
    lags[wrong] += rng.uniform(-600, 600, wrong.sum())
    fit = straight(positions, lags)
    assert fit.line.rate == pytest.approx(-150e-6, abs=1e-8)
    assert not fit.used[wrong & (np.abs(lags + 5 + 150e-6 * positions) > 1)].any()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside = []
    for seed in range(400):
        rng = np.random.default_rng((10, seed))
        positions = np.sort(rng.uniform(0, 2e6, 25))
        lags = 7 + 50e-6 * positions + rng.normal(0, 0.3, 25)
        fit = straight(positions, lags)
        height = float(fit.line.of(fit.middle)) - (7 + 50e-6 * fit.middle)
        inside.append([abs(height) <= fit.errors[0], abs(fit.line.rate - 50e-6) <= fit.errors[1]])
    shares = np.mean(inside, axis=0)
    # 400 draws of 0.95 lie within 0.925 and 0.975 nearly always
    assert ((shares > 0.92) & (shares < 0.98)).all(), shares


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_make_a_line_without_much_slope(count: int) -> None:
    fit = straight(np.arange(count) * 16_000.0, np.full(count, 4.0))
    assert float(fit.line.of(8000)) == pytest.approx(4.0)
    assert fit.line.rate == pytest.approx(0, abs=1e-9)
    assert np.isfinite(fit.errors).all()


def test_the_rough_correlation_is_the_one_of_its_definition() -> None:
    rng = np.random.default_rng(11)
    known = (rng.random(5000) > 0.1).astype(np.float32)
    whole = Track((rng.normal(0, 0.5, (4, 5000)) * known).astype(np.float32), known)
    mask = (rng.random(300) > 0.3).astype(np.float32)
    values = (whole.rises[:, 1234:1534] + rng.normal(0, 0.3, (4, 300))) * mask
    probe = Track(values.astype(np.float32), mask)
    found = Finder(whole, 300).correlate(probe)
    assert found.shape == (5299,)
    flat = 0.05**2 * 4 * mask.sum()
    for begin in (-100, 0, 17, 1234, 4700, 4850):
        inside = np.arange(max(begin, 0), min(begin + 300, 5000))
        both = (values[:, inside - begin] * whole.rises[:, inside]).sum()
        mine = (np.square(values[:, inside - begin]) * known[inside]).sum()
        theirs = (np.square(whole.rises[:, inside]) * mask[inside - begin]).sum()
        expected = both / np.sqrt((mine + flat) * (theirs + flat))
        assert found[begin + 299] == pytest.approx(expected, abs=2e-3)
    assert int(np.argmax(found)) - 299 == 1234
    assert found[0] == 0  # hardly any of the probe lies within


def test_features_know_what_was_not_received() -> None:
    sound = chatter(3, 12)
    line = as_timeline(sound)
    line.holes = np.array([[RATE, RATE + 100]])
    features = track(line)
    assert features.rises.shape == (4, features.known.size)
    unknown = np.flatnonzero(features.known == 0) * HOP
    assert unknown.min() == pytest.approx(1.0 - 0.032 - 0.04, abs=0.02)
    assert unknown.max() == pytest.approx(1.0 + 100 / RATE, abs=0.02)
    assert not features.rises[:, features.known == 0].any()
    assert track(as_timeline(sound[:100])).known.size == 0


def test_it_does_not_matter_which_of_the_two_is_longer() -> None:
    sound = chatter(100, 13)
    part = sound[40 * RATE : 55 * RATE]
    (there, *_) = anchors(track(as_timeline(part)), track(as_timeline(sound)))
    assert (there.other - there.sample) / RATE == pytest.approx(40, abs=0.01)
    (back, *_) = anchors(track(as_timeline(sound)), track(as_timeline(part)))
    assert (back.other - back.sample) / RATE == pytest.approx(-40, abs=0.01)
    assert anchors(track(as_timeline(part[:100])), track(as_timeline(sound))) == []
