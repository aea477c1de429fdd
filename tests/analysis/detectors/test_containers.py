"""Audio files by their first bytes: files that libsndfile writes, and headers by the book."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from recall_lab.analysis.detectors.containers import container_of, containers
from recall_lab.capture.capture import Capture

RAW = {
    "MP4": b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00",
    "WebM": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01",
    "AAC": b"\xff\xf1\x50\x80\x01\x7f\xfc\x00\x00\x00\x00" * 5,
}


def written(form: str, subtype: str, rate: int = 16_000) -> bytes:
    sound = np.random.default_rng(0).normal(0, 0.1, 3 * rate)
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=form, subtype=subtype)
    return file.getvalue()


def captured(octets: bytes) -> Capture:
    return Capture(np.frombuffer(octets[: len(octets) // 2 * 2], "<i2"))


@pytest.mark.parametrize(
    ("name", "form", "subtype", "rate"),
    [
        ("WAV", "WAV", "PCM_16", 16_000), ("WAV", "RF64", "PCM_16", 16_000),
        ("FLAC", "FLAC", "PCM_16", 16_000), ("Ogg", "OGG", "VORBIS", 16_000),
        ("Ogg", "OGG", "OPUS", 16_000), ("AIFF", "AIFF", "PCM_16", 16_000),
        ("AU", "AU", "PCM_16", 16_000),
        *(("MP3", "MP3", "MPEG_LAYER_III", rate) for rate in (8_000, 16_000, 22_050, 44_100)),
    ],
)  # fmt: skip
def test_files_are_told_from_samples(name: str, form: str, subtype: str, rate: int) -> None:
    octets = written(form, subtype, rate)
    assert container_of(octets[:8192]) == name
    found = containers(captured(octets))
    assert [one.finding for one in found] == ["container"]
    assert found[0].severity == "bad"
    assert name in found[0].evidence
    assert "rl.from_audio" in found[0].advice


@pytest.mark.parametrize("name", RAW)
def test_headers_of_other_containers(name: str) -> None:
    assert container_of(RAW[name]) == name


def test_an_mp3_with_a_tag_in_front() -> None:
    assert container_of(b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(100)) == "MP3"
    assert container_of(b"ID3\x04\x00\x00\x00\x00\xff\x00" + bytes(100)) is None  # no size


def test_samples_are_no_files() -> None:
    rng = np.random.default_rng(1)
    for level in (1, 30, 3000, 20_000):
        for _ in range(200):
            samples = rng.normal(0, level, 512).clip(-32_768, 32_767).astype("<i2")
            assert container_of(samples.tobytes()) is None
    assert container_of(b"") is None
    assert container_of(b"RIFF") is None
    # frame syncs of MP3 and AAC alone are samples of -5 to -1025, which speech is full of
    assert container_of(b"\xff\xfb\x90\x00" + bytes(8000)) is None
    assert containers(Capture(np.zeros(100, np.int16))) == []


def test_packets_that_are_files_each_are_counted(make) -> None:  # type: ignore[no-untyped-def]
    one = np.frombuffer(written("WAV", "PCM_16")[:3244], "<i2")
    capture = make(np.arange(20) * 0.1, len(one), audio=np.tile(one, 20))
    (found,) = containers(capture)
    assert found.value == 21
    assert "20 of the first" in found.evidence
