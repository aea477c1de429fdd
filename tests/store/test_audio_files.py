"""Audio files in, samples of the protocol out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recall_lab.errors import InvalidArgument, InvalidAudio
from recall_lab.store.audio_files import from_audio, read_audio


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_in_the_right_format_comes_back_sample_for_sample(
    tmp_path: Path, speech: np.ndarray, suffix: str
) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", speech, 16_000, subtype="PCM_16")
    read = read_audio(tmp_path / f"a.{suffix}")
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, speech)


def test_a_bare_bin_is_taken_as_it_is(tmp_path: Path, speech: np.ndarray) -> None:
    (tmp_path / "a.bin").write_bytes(speech.tobytes() + b"\1")
    np.testing.assert_array_equal(read_audio(str(tmp_path / "a.bin")), speech)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_tone_at_another_rate_is_the_same_tone(tmp_path: Path, rate: int) -> None:
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    stereo = np.column_stack([tone * 1.5, tone * 0.5])
    soundfile.write(tmp_path / "a.wav", stereo, rate, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav").astype(float)
    assert len(read) == 32_000
    expected = 0.25 * 32_768 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    inner = slice(1_000, -1_000)  # a filter has nothing to go on at the ends
    error = np.sqrt(np.mean((read[inner] - expected[inner]) ** 2))
    assert error < 0.01 * 0.25 * 32_768


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_resamples_to_the_same(tmp_path: Path, root: Path) -> None:
    wide = tmp_path / "wide.wav"
    command = ["ffmpeg", "-v", "error", "-i", root / "data" / "standup.wav", "-ar", "48000", wide]
    subprocess.run(command, check=True)
    original = read_audio(root / "data" / "standup.wav").astype(float)
    back = read_audio(wide).astype(float)
    size = min(len(original), len(back))
    assert abs(len(original) - len(back)) <= 2
    assert np.corrcoef(original[:size], back[:size])[0, 1] > 0.999


def test_clipping_stays_within_sixteen_bits(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.0]), 16_000, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav").tolist() == [32_767, -32_768, 0]


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(InvalidAudio, match=r"a\.wav.*can't be read"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(InvalidAudio, match="not a file"):
        read_audio(tmp_path)


def test_blocks_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (44_100 * 3, 2))
    soundfile.write(tmp_path / "a.flac", noise, 44_100)
    whole = read_audio(tmp_path / "a.flac")
    monkeypatch.setattr("recall_lab.store.decoding._BLOCK", 7_001)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac"), whole)
    assert len(whole) == 48_000


def test_what_lies_above_8_khz_does_not_fold_down(tmp_path: Path) -> None:
    whistle = 0.5 * np.sin(2 * np.pi * 11_000 * np.arange(96_000) / 48_000)
    soundfile.write(tmp_path / "a.wav", whistle, 48_000, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav")[1000:-1000].astype(int)).max() <= 1


def test_a_capture_is_made_of_a_file(tmp_path: Path, speech: np.ndarray) -> None:
    path = tmp_path / "Daily stand-up (2).wav"
    soundfile.write(path, speech, 16_000, subtype="PCM_16")
    capture = from_audio(path)
    assert capture.info.recording == "Daily-stand-up-2"
    np.testing.assert_array_equal(capture.samples, speech)
    assert not capture.samples.flags.writeable
    assert capture.packets.empty
    assert capture.span == (0, 12)
    assert from_audio(path, "r9").info.stem == "r9"
    with pytest.raises(InvalidArgument, match="recording='no good'"):
        from_audio(path, "no good")
    soundfile.write(tmp_path / "\u00e9.wav", speech, 16_000)
    assert from_audio(tmp_path / "\u00e9.wav").info.recording == "audio"
    with pytest.raises(InvalidAudio, match="not a file"):
        from_audio(tmp_path / "none.wav")


def test_what_is_no_number_is_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([np.nan, np.inf, 0.5]), 16_000, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav").tolist() == [0, 32_767, 16_384]
