"""What a recording sounds like, told of sound made to be known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, resample_poly, sosfiltfilt

from recall_lab.analysis.sound.summary import sound_summary
from recall_lab.store.audio_files import read_audio


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav")


def through_a_telephone(samples: np.ndarray) -> np.ndarray:
    """As ffmpeg sends it through the telephone network: mu-law at 8 kHz."""
    there = "ffmpeg -v error -f s16le -ar 16000 -ac 1 -i - -ar 8000 -f mulaw -"
    back = "ffmpeg -v error -f mulaw -ar 8000 -ac 1 -i - -ar 16000 -f s16le -"
    sent = subprocess.run(
        there.split(), input=samples.tobytes(), capture_output=True, check=True
    ).stdout
    heard = subprocess.run(back.split(), input=sent, capture_output=True, check=True).stdout
    return np.frombuffer(heard, np.int16)


def as_int16(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples).clip(-32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("gain", [1.0, 10**-1.5])
def test_a_telephone_is_told_from_wide_band(talk: np.ndarray, gain: float) -> None:
    wide = sound_summary(as_int16(talk * gain))
    assert wide["band"] == "wide-band"
    assert wide["bandwidth_hz"] > 7000
    halved = resample_poly(resample_poly(talk.astype(float), 1, 2), 2, 1)
    for narrow in (through_a_telephone(talk), halved):
        told = sound_summary(as_int16(narrow * gain))
        assert told["band"] == "narrow-band"
        assert 3400 <= told["bandwidth_hz"] <= 4600


@pytest.mark.parametrize("edge", [2000, 3000, 6000])
def test_bandwidth_is_where_a_low_pass_ends(talk: np.ndarray, edge: int) -> None:
    steep = butter(12, edge, fs=16_000, output="sos")
    told = sound_summary(as_int16(sosfiltfilt(steep, talk.astype(float))))
    assert told["bandwidth_hz"] == pytest.approx(edge, rel=0.15)


@pytest.mark.parametrize("mean", [-3000, 300, 8000])
def test_a_mean_that_is_not_zero_does_not_narrow_the_band(talk: np.ndarray, mean: int) -> None:
    told = sound_summary(as_int16(talk.astype(float) + mean))
    assert told["band"] == "wide-band"
    assert told["bandwidth_hz"] == pytest.approx(sound_summary(talk)["bandwidth_hz"], abs=200)
    assert told["dc"] == pytest.approx(mean / 32_768, abs=3e-4)  # the talk has a little of its own


@pytest.mark.parametrize("level", [-40, -50, -60])
def test_the_noise_floor_is_that_of_the_pauses(talk: np.ndarray, level: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, len(talk))
    noise *= 32_768 * 10 ** (level / 20) / np.sqrt(2)  # RMS in dBFS, of a sine
    told = sound_summary(as_int16(talk + noise))
    assert told["noise_floor_dbfs"] == pytest.approx(level, abs=1)


def test_silence_is_digital_or_missing_and_each_has_its_share(make) -> None:  # type: ignore[no-untyped-def]
    audio = np.random.default_rng(0).normal(0, 1000, 16_000 * 8).astype(np.int16)
    audio[: 16_000 * 2] = 0
    told = sound_summary(make([0.0, 4.0, 8.0], [64_000, 32_000, 32_000], audio=audio))
    assert told["duration"] == 10
    assert told["silence_share"] == pytest.approx(2 / 8, abs=0.001)
    assert told["missing_share"] == pytest.approx(2 / 10)
    assert told["noise_floor_dbfs"] == pytest.approx(20 * np.log10(1000 / 32_768) + 3.01, abs=0.5)


def test_speech_is_the_share_of_the_time(talk: np.ndarray) -> None:
    assert sound_summary(talk)["speech_share"] == pytest.approx(0.757, abs=0.01)


def test_nothing_sounds_like_nothing() -> None:
    told = sound_summary(np.zeros(0, np.int16))
    assert told["band"] == "none"
    assert told.drop(["band", "duration"]).isna().all()
    quiet = sound_summary(np.zeros(16_000, np.int16))
    assert (quiet["band"], quiet["silence_share"], quiet["rms_dbfs"]) == ("none", 1, -np.inf)
