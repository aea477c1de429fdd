"""Samples of other formats, written by NumPy and by libsndfile, and text in place of samples."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recall_lab.analysis.detectors.sample_formats import sample_format
from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.store.audio_files import read_audio

RATE = 16_000


@pytest.fixture(scope="module")
def ten(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav")[RATE : 11 * RATE]


def as_samples(payload: bytes) -> np.ndarray:
    """Return bytes as they are kept: whatever they are, as 16-bit samples."""
    return np.frombuffer(payload[: len(payload) // 2 * 2], "<i2")


def raw(subtype: str) -> Callable[[np.ndarray], bytes]:
    def write(samples: np.ndarray) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="RAW", subtype=subtype, endian="LITTLE")
        return file.getvalue()

    return write


def noisy(samples: np.ndarray) -> bytes:
    """Return 32-bit integers whose lower halves are noise, as of a converter with 24 bits."""
    low = np.random.default_rng(1).integers(0, 2**16, len(samples))
    return (samples.astype("<i4") * 2**16 + low).astype("<i4").tobytes()


def message(samples: np.ndarray) -> bytes:
    text = base64.b64encode(samples.tobytes()).decode()
    return json.dumps({"event": "audio_mixed_raw.data", "data": {"buffer": text}}).encode()


FORMATS: dict[str, tuple[Callable[[np.ndarray], bytes], str]] = {
    "float": (raw("FLOAT"), "32-bit floats"),
    "24": (raw("PCM_24"), "24-bit integers"),
    "32": (noisy, "32-bit integers"),
    "u8": (raw("PCM_U8"), "unsigned 8-bit"),
    "s8": (raw("PCM_S8"), "signed 8-bit"),
    "base64": (lambda samples: base64.b64encode(samples.tobytes()), "text"),
    "json": (message, "text"),
}


@pytest.mark.parametrize("gain", [0.6, 1, 6])
@pytest.mark.parametrize("form", FORMATS)
def test_other_formats_are_named_in_ten_seconds(ten: np.ndarray, form: str, gain: float) -> None:
    write, said = FORMATS[form]
    louder = (ten * gain).clip(-32_768, 32_767).astype(np.int16)
    samples = as_samples(write(louder))
    found, *more = findings_of_samples(samples, ratio=len(samples) / len(louder))
    assert (found.finding, found.severity, found.whole) == ("sample_format", "bad", True)
    assert said in found.evidence
    assert not [one for one in more if one.severity == "bad"]


@pytest.mark.parametrize("gain", [0.05, 1, 8])
def test_what_is_right_or_wrong_otherwise_is_none_of_them(ten: np.ndarray, gain: float) -> None:
    louder = (ten * gain).clip(-32_768, 32_767).astype(np.int16)
    one_silent = np.column_stack([np.zeros_like(louder), louder]).ravel()
    others = [louder, louder.byteswap(), np.repeat(louder, 2), one_silent, -louder]
    others += [as_samples(louder.tobytes()[1:-1]), as_samples(raw("ULAW")(louder))]
    assert [sample_format(one) for one in others] == [[]] * len(others)


@pytest.mark.parametrize("hertz", [440, 1_000, 2_000, 4_000, 7_000])
@pytest.mark.parametrize("noise", [0, 30])
def test_a_pure_tone_is_right(hertz: int, noise: float) -> None:
    time = np.arange(20 * RATE) / RATE
    tone = 16_000 * np.sin(2 * np.pi * hertz * time)
    tone += noise * np.random.default_rng(1).normal(size=len(time))
    found = findings_of_samples(tone.astype(np.int16), ratio=1.0)
    assert "bad" not in [one.severity for one in found]


def test_little_and_nothing_tell_nothing() -> None:
    for samples in (np.zeros(0, np.int16), np.zeros(100, np.int16), np.zeros(RATE, np.int16)):
        assert sample_format(samples) == []
    assert sample_format(np.zeros(RATE, np.float32)) == []


@pytest.mark.parametrize("packet", [320, 1600])
def test_a_captures_packets_are_read_from_their_start(ten: np.ndarray, make, packet: int) -> None:  # type: ignore[no-untyped-def]
    floats = as_samples(raw("FLOAT")(ten))
    count = len(floats) // (2 * packet)
    capture = make(np.arange(count) * packet / RATE, 2 * packet, audio=floats[: 2 * packet * count])
    (found,) = sample_format(capture)
    assert "32-bit floats" in found.evidence
