"""Audio laid on the media clock: a tone stays a tone, nothing clicks, and the rate is told."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import make_capture
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window

import recall_lab as rl
from recall_lab.analysis.axis.resampling import SIDE, interpolated
from recall_lab.capture.capture import Capture

RATE = 16_000
SECONDS = 40
TONE = 440.0
CLOCKS = [15_999.2, 15_984.0, 16_000.8, 16_016.0]


def heard(rate: float, hertz: float = TONE, seconds: float = SECONDS) -> Capture:
    """Return what comes of a tone that is sampled at `rate`, in packets of 100 ms or so.

    Rounding is dithered, as a good sound card's is: its own harmonics say nothing of a resampler.
    """
    count = int(seconds * rate) // 1600 * 1600
    rng = np.random.default_rng(0)
    wave_ = 12_000 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)
    dither = rng.random(count) - rng.random(count)
    samples = np.rint(wave_ + dither).astype(np.int16)
    return make_capture(np.arange(count // 1600) * 1600 / rate, 1600, audio=samples)


def saved(capture: Capture, path: Path) -> np.ndarray:
    """Save a capture, and read the file with the standard library."""
    rl.save(capture, path)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def levels(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies, Hz, and levels of tones there, dBFS, of the steady part."""
    steady = samples[RATE // 2 : -RATE // 2]
    window = get_window("blackmanharris", len(steady))
    amplitude = 2 * np.abs(np.fft.rfft(steady * window)) / window.sum() / 32_768
    return np.fft.rfftfreq(len(steady), 1 / RATE), 20 * np.log10(np.maximum(amplitude, 1e-12))


def fitted(samples: np.ndarray, hertz: float) -> np.ndarray:
    """Return the tone that is nearest to the samples, by least squares."""
    angle = 2 * np.pi * hertz * np.arange(len(samples)) / RATE
    parts = np.column_stack([np.sin(angle), np.cos(angle)])
    found: np.ndarray = parts @ np.linalg.lstsq(parts, samples, rcond=None)[0]
    return found


@pytest.mark.parametrize("rate", CLOCKS)
def test_a_tone_is_exported_without_a_click(rate: float, tmp_path: Path) -> None:
    samples = saved(heard(rate), tmp_path / "tone.wav")
    steady = samples[RATE // 2 : -RATE // 2]
    # rounding twice and the dither make 2 steps at most, a click of one sample lost makes 2,000
    nearest = fitted(steady, TONE)
    assert np.abs(steady - nearest).max() < 6
    assert nearest.max() == pytest.approx(12_000, abs=1)
    hertz, level = levels(samples)
    assert hertz[np.argmax(level)] == pytest.approx(TONE, abs=0.05)
    assert level[hertz > 3000].max() <= -95
    assert len(samples) == pytest.approx(SECONDS * RATE, abs=1700)


@pytest.mark.parametrize("rate", CLOCKS)
def test_what_came_twice_makes_no_click(rate: float) -> None:
    """Once the audio after a duplicate stood up to half a sample beside its place."""
    capture = heard(rate)
    count = len(capture.packets)
    came = np.sort(np.append(np.arange(count), np.arange(31, count - 31, 17)))
    audio = capture.samples.reshape(count, 1600)[came].ravel()
    twice = make_capture(came * 1600 / rate, 1600, audio=audio, payload_crc=came)
    line = rl.timeline(twice)
    assert line.real.all()
    steady = np.asarray(line.samples, float)[RATE // 2 : -RATE // 2]
    assert np.abs(steady - fitted(steady, TONE)).max() < 6


@pytest.mark.parametrize("rate", CLOCKS[:2])
def test_without_the_media_clock_the_tone_is_off(rate: float) -> None:
    line = rl.timeline(heard(rate), clock="samples")
    hertz, level = levels(np.asarray(line.samples, float))
    assert hertz[np.argmax(level)] == pytest.approx(TONE * RATE / rate, abs=0.05)


@pytest.mark.parametrize(("rate", "ppm"), [(15_999.2, -50), (15_984.0, -1000), (16_000.8, 50)])
def test_the_rate_of_the_samples_is_told(rate: float, ppm: float) -> None:
    found = rl.drift(heard(rate, seconds=300)).loc["samples/relative"]
    assert found["drift"] == pytest.approx(ppm, abs=1)
    assert rl.gaps(heard(rate)).empty


@pytest.mark.parametrize("ppm", [-50, 1000])
def test_the_rate_is_told_of_a_stream_with_losses(ppm: float) -> None:
    kept = np.setdiff1d(np.arange(3000), np.append(np.arange(50, 3000, 97), np.arange(500, 1500)))
    capture = make_capture(kept * 0.1 / (1 + ppm * 1e-6), 1600)
    assert rl.drift(capture).loc["samples/relative", "drift"] == pytest.approx(ppm, abs=1)
    lost = 0.1 / (1 + ppm * 1e-6) * (3000 - len(kept))
    assert rl.gaps(capture)["duration"].sum() == pytest.approx(lost, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 5000), st.floats(0, 6.3), st.integers(0, 2**32 - 1))
def test_between_samples_lies_the_wave_itself(hertz: float, phase: float, seed: int) -> None:
    places = np.sort(np.random.default_rng(seed).uniform(0, 500, 200))
    first = -SIDE
    at = np.arange(first, 500 + 2 * SIDE)
    samples = np.cos(2 * np.pi * hertz * at / RATE + phase)
    expected = np.cos(2 * np.pi * hertz * places / RATE + phase)
    assert np.allclose(interpolated(samples, places, first), expected, atol=1e-4)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_at_a_sample_is_the_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(-32_768, 32_768, 200).astype(np.int16)
    places = np.arange(40, 120).astype(float)
    found = interpolated(samples, places, 10)
    assert np.allclose(found, samples[30:110], atol=1e-6)
    assert interpolated(samples, places[:0], 10).tolist() == []
