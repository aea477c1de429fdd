"""Saved audio is read back with what is not ours: libsndfile, ffmpeg, ffprobe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recall_lab.analysis.recording.export import FORMATS, save
from recall_lab.analysis.time.timeline import timeline
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.errors import InvalidArgument
from recall_lab.loading import load
from recall_lab.store.audio_files import from_audio
from recall_lab.wire.messages import Participant

NOISE = np.random.default_rng(5).normal(0, 3000, 16_000 * 25).astype(np.int16)


@pytest.fixture(scope="module")
def lossy(root: Path) -> Capture:
    return load(root / "data/standup-lossy.bin")


def decoded(path: Path) -> np.ndarray:
    """What ffmpeg hears."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", "16000", "-"]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, "<i2")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".FLAC"])
def test_wav_and_flac_keep_every_bit(tmp_path: Path, lossy: Capture, suffix: str) -> None:
    path = save(lossy, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(decoded(path), timeline(lossy).samples)
    raw = save(lossy, str(path), aligned=False)
    assert raw == path
    np.testing.assert_array_equal(decoded(path), lossy.samples)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_ogg_and_mp3_have_the_right_length_and_sound(
    tmp_path: Path, root: Path, suffix: str
) -> None:
    talk = from_audio(root / "data/standup.wav")
    heard = decoded(save(talk, tmp_path / f"a{suffix}"))
    frame = 576  # samples of MP3 at 16 kHz
    assert abs(len(heard) - len(talk.samples)) <= frame
    size = min(len(heard), len(talk.samples))
    assert np.corrcoef(heard[:size], talk.samples[:size])[0, 1] > 0.99


@given(low=st.integers(0, 200_000), high=st.integers(0, 200_000))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_part_is_the_part_of_the_true_time(
    tmp_path: Path, lossy: Capture, low: int, high: int
) -> None:
    low, high = sorted((low, high))
    start, end = low / 16_000, high / 16_000
    expected = timeline(lossy).read(start, end)[0]
    if not len(expected):
        with pytest.raises(InvalidArgument, match="a span that has some audio"):
            save(lossy, tmp_path / "a.wav", start=start, end=end)
        return
    path = save(lossy, tmp_path / "a.wav", start=start, end=end)
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], expected)


@pytest.mark.parametrize("suffix", FORMATS)
def test_it_says_what_it_is(tmp_path: Path, make, suffix: str) -> None:  # type: ignore[no-untyped-def]
    plain = make([10.0, 12.0], 16_000, audio=NOISE[:32_000])
    who = Participant(7, "Zo\u00eb \u202e\n<b>" + "x" * 500)
    info = CaptureInfo(recording="call", participant=who)
    capture = Capture(plain.samples, plain.packets, info)
    path = save(capture, tmp_path / f"a{suffix}", start=10.5)
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", path]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    tags = {**told["format"].get("tags", {}), **told["streams"][0].get("tags", {})}
    tags = {name.lower(): text for name, text in tags.items()}
    assert tags["title"] == "call.7"
    name = "Zo? ??<b>xx" if suffix == ".mp3" else "Zo\u00eb \ufffd\ufffd<b>xx"
    assert tags["comment"].startswith(f"recording call, participant 7 {name}")
    assert "relative time 10.500 s" in tags["comment"]
    assert len(tags["comment"]) < 200
    date = tags.get("date") or tags["tyer"]
    assert date.startswith("2026-01-01T00:00:10.500" if suffix != ".mp3" else "2026")


def test_samples_and_bare_captures_can_be_saved(tmp_path: Path) -> None:
    for source in (NOISE, Capture(NOISE), NOISE / 32_768):
        for aligned in (True, False):
            path = save(source, tmp_path / "a.flac", aligned=aligned)
            np.testing.assert_array_equal(decoded(path), NOISE)
    loud = save(np.array([2.0, -2.0, np.nan]), tmp_path / "b.wav")
    assert decoded(loud).tolist() == [32_767, -32_768, 0]


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_no_half_a_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(b"before")
    write, calls = soundfile.SoundFile.write, iter(range(9))

    def fails(self: soundfile.SoundFile, data: np.ndarray) -> None:
        if next(calls) == 2:
            raise error
        write(self, data)

    monkeypatch.setattr(soundfile.SoundFile, "write", fails)
    with pytest.raises(type(error)):
        save(NOISE, path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.flac"]


def test_a_bar_for_what_is_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(NOISE, tmp_path / "a.wav")
    assert capsys.readouterr().err == ""
    save(NOISE, tmp_path / "a.wav", progress=True)
    assert "a.wav" in capsys.readouterr().err
    save(np.broadcast_to(np.int16(0), 16_000 * 601), tmp_path / "b.flac")
    assert "601/601" in capsys.readouterr().err


def test_a_mistake_is_named(tmp_path: Path) -> None:
    for path, told in (
        ("a.aac", r"a\.aac.*ends in \.wav, \.flac, \.ogg, \.mp3"),
        ("none/a.wav", "a folder that is there"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            save(NOISE, tmp_path / path)
    (tmp_path / "d.wav").mkdir()
    with pytest.raises(InvalidArgument, match="not a folder"):
        save(NOISE, tmp_path / "d.wav")
    with pytest.raises(InvalidArgument, match="37 hours"):
        save(np.broadcast_to(np.int16(0), 2**31), tmp_path / "a.wav")
    assert [file.name for file in tmp_path.iterdir()] == ["d.wav"]


@pytest.mark.slow
def test_eight_hours_need_no_more_memory_than_one_minute(tmp_path: Path) -> None:
    audio = tmp_path / "day.bin"
    with audio.open("wb") as file:
        file.truncate(8 * 3600 * 32_000)
    code = """
import re, sys, numpy, recall_lab as rl
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
rl.save(numpy.ones(16000, numpy.int16), sys.argv[2])
before = peak()
rl.save(rl.load(sys.argv[1]), sys.argv[2], progress=False)
print(peak() - before)
"""
    command = [sys.executable, "-c", code, audio, tmp_path / "a.flac"]
    more = float(subprocess.run(command, capture_output=True, check=True).stdout)
    assert more < 50  # MiB; the audio has 879
    assert soundfile.info(tmp_path / "a.flac").frames == 8 * 3600 * 16_000


def test_packets_of_unknown_time_are_kept_as_they_came(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    odd = make([0.0, np.nan, 1.0], 3200, audio=NOISE[:9600])
    np.testing.assert_array_equal(
        decoded(save(odd, tmp_path / "a.flac", aligned=False)), NOISE[:9600]
    )
    part = decoded(save(odd, tmp_path / "a.flac", aligned=False, start=0.1, end=1.1))
    np.testing.assert_array_equal(part, np.concatenate([NOISE[1600:3200], NOISE[6400:8000]]))
