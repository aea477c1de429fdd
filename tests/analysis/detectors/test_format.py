"""Findings of format on ten seconds of speech, from libsndfile, soxr and plain bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from recall_lab.analysis.detectors.format import channels_apart, rates_that_fit, wrong_rate
from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.analysis.detectors.scan import scan
from recall_lab.analysis.findings.values import Finding
from recall_lab.store.audio_files import read_audio


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav")


@pytest.fixture(scope="module")
def ten(talk: np.ndarray) -> np.ndarray:
    return talk[16_000:176_000]


def shifted(samples: np.ndarray) -> np.ndarray:
    return np.frombuffer(samples.astype("<i2").tobytes()[1:-1], "<i2")


def names(found: list[Finding]) -> list[str]:
    return [one.finding for one in found]


@pytest.mark.parametrize("gain", [0.2, 1, 5])
def test_swapped_and_shifted_bytes_are_found_in_ten_seconds(ten: np.ndarray, gain: float) -> None:
    louder = (ten * gain).clip(-32_768, 32_767).astype(np.int16)
    assert names(findings_of_samples(louder)) == []
    (swapped,) = findings_of_samples(louder.byteswap())
    assert (swapped.finding, swapped.severity, swapped.whole) == ("byte_order", "bad", True)
    (half,) = findings_of_samples(shifted(louder))
    assert (half.finding, half.severity, half.whole) == ("alignment", "bad", True)
    assert "off by a byte" in half.evidence


def test_a_fault_that_begins_within_the_call_has_its_time(talk: np.ndarray, make) -> None:  # type: ignore[no-untyped-def]
    audio = talk[: 16_000 * 50].copy()
    audio[480_000:] = audio[480_000:].byteswap()
    (found,) = findings_of_samples(make(7 + np.arange(500) / 10, 1600, audio=audio))
    assert (found.finding, found.start, found.end) == ("byte_order", 37.0, 57.0)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_bytes_of_telephony_are_found(ten: np.ndarray, subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, ten, 16_000, format="RAW", subtype=subtype)
    (found,) = findings_of_samples(np.frombuffer(file.getvalue(), "<i2"))
    assert found.finding == "companded"
    assert {"ULAW": "mu-law", "ALAW": "A-law"}[subtype] in found.evidence


def test_random_bytes_are_no_audio_and_loud_noise_is() -> None:
    rng = np.random.default_rng(0)
    random = rng.integers(-32_768, 32_768, 160_000).astype(np.int16)
    assert names(findings_of_samples(random)) == ["not_audio"]
    assert "not_audio" not in names(findings_of_samples((random * 0.3).astype(np.int16)))


@pytest.mark.parametrize("right", ["the same", "panned", "zero", "other", "late"])
def test_two_channels_sent_as_one(talk: np.ndarray, right: str) -> None:
    left = talk[16_000:96_000]
    other = {
        "the same": left, "panned": left // 3, "zero": left * 0,
        "other": talk[200_000:280_000], "late": np.roll(left, 6),
    }[right]  # fmt: skip
    both = np.column_stack([left, other]).ravel().astype(np.int16)
    (found,) = findings_of_samples(both)  # time may fit: nobody has told that it does not
    assert (found.finding, found.severity) == ("two_channels", "bad")
    assert names(findings_of_samples(both, ratio=2.0)) == ["two_channels"]
    assert names(findings_of_samples(both, ratio=3.0)) == ["two_channels", "wrong_rate"]


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_a_wrong_rate_is_named(ten: np.ndarray, rate: int) -> None:
    samples = np.rint(soxr.resample(ten.astype(float), 16_000, rate)).astype(np.int16)
    found = findings_of_samples(samples, ratio=len(samples) / len(ten))
    assert names(found) == ["wrong_rate"]
    assert f"sampled at {rate / 1000:g} kHz, not at 16" in found[0].evidence
    assert found[0].value == pytest.approx(100 * abs(rate / 16_000 - 1), rel=1e-3)


@pytest.mark.parametrize("ratio", [0.9, 0.97, 1.03, 1.2])
def test_a_rate_that_nobody_uses_is_said_to_be_none(ten: np.ndarray, ratio: float) -> None:
    (found,) = wrong_rate(scan(ten), ratio)
    assert "no usual rate" in found.evidence


@pytest.mark.parametrize("ratio", [0.985, 1.0, 1.0002, 1.015])
def test_a_rate_that_is_right_is_none_of_the_findings(ten: np.ndarray, ratio: float) -> None:
    assert wrong_rate(scan(ten), ratio) == []


def test_rates_by_ratio_and_channels() -> None:
    assert rates_that_fit(2.0, stereo=False) == [32_000]
    assert rates_that_fit(2.0, stereo=True) == [16_000]
    assert rates_that_fit(5.5125, stereo=True) == [44_100]
    assert rates_that_fit(5.5125, stereo=False) == []
    assert rates_that_fit(1.0, stereo=True) == [8_000]


def test_of_silence_and_of_nothing_nothing_is_told() -> None:
    for size in (0, 1, 79, 5_000, 200_000):
        assert np.isnan(channels_apart(scan(np.zeros(size, np.int16))))
        assert wrong_rate(scan(np.zeros(size, np.int16)), 1.0) == []
