"""Loudness, held against ffmpeg's ebur128, pyloudnorm over the whole, and EBU Tech 3341."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from recall_lab.analysis.sound.loudness import loudness
from recall_lab.store.audio_files import from_audio, read_audio


def test_it_is_what_ffmpeg_and_pyloudnorm_say(root: Path) -> None:
    command = "ffmpeg -hide_banner -nostats -i standup.wav -filter_complex ebur128 -f null -"
    told = subprocess.run(
        command.split(), cwd=root / "data", capture_output=True, text=True, check=True
    ).stderr
    summary = told[told.rindex("Summary:") :]
    ours = loudness(from_audio(root / "data/standup.wav"))
    # EBU Tech 3341 and 3342 ask for 0.1 LU and 1 LU; ffmpeg prints tenths
    theirs = re.search(r"I: +(-[\d.]+) LUFS", summary)
    assert theirs is not None
    assert ours["integrated_lufs"] == pytest.approx(float(theirs[1]), abs=0.15)
    theirs = re.search(r"LRA: +([\d.]+) LU", summary)
    assert theirs is not None
    assert ours["range_lu"] == pytest.approx(float(theirs[1]), abs=0.5)
    samples = read_audio(root / "data/standup.wav") / 32_768
    whole = pyloudnorm.Meter(16_000).integrated_loudness(samples)
    assert ours["integrated_lufs"] == pytest.approx(whole, abs=0.005)


def tone(seconds: float, level: float) -> np.ndarray:
    at = np.arange(round(seconds * 16_000)) / 16_000
    return 10 ** (level / 20) * np.sin(2 * np.pi * 1000 * at)


def test_the_cases_of_ebu_tech_3341() -> None:
    # of one loudspeaker, so 3.01 LU below what they say of two
    assert loudness(tone(20, -23))["integrated_lufs"] == pytest.approx(-26.01, abs=0.1)
    assert loudness(tone(20, -33))["integrated_lufs"] == pytest.approx(-36.01, abs=0.1)
    gated = np.concatenate([tone(10, -36), tone(60, -23), tone(10, -36)])  # case 3
    assert loudness(gated)["integrated_lufs"] == pytest.approx(-26.01, abs=0.1)
    ranged = np.concatenate([tone(20, -20), tone(20, -30)])  # Tech 3342, case 1
    assert loudness(ranged)["range_lu"] == pytest.approx(10, abs=1)


def test_a_minute_at_a_time_is_no_other_than_at_once() -> None:
    noise = np.random.default_rng(2).normal(0, 0.05, 16_000 * 150)
    noise *= np.repeat(10 ** (np.random.default_rng(3).uniform(-1, 0, 150)), 16_000)
    whole = pyloudnorm.Meter(16_000).integrated_loudness(noise)
    assert loudness(noise)["integrated_lufs"] == pytest.approx(whole, abs=0.005)


def test_missing_audio_does_not_make_it_quieter(make) -> None:  # type: ignore[no-untyped-def]
    noise = np.random.default_rng(2).normal(0, 1500, 16_000 * 30).astype(np.int16)
    whole = loudness(noise)["integrated_lufs"]
    lossy = make(np.arange(0, 30, 0.04), 320, audio=noise[: 750 * 320])  # half of it
    assert loudness(lossy)["integrated_lufs"] == pytest.approx(whole, abs=0.2)
    gone = make([0.0, 20.0], 160_000, audio=noise[:320_000])
    assert loudness(gone)["integrated_lufs"] == pytest.approx(whole, abs=0.2)


@pytest.mark.parametrize("samples", [0, 1, 1599, 6399])
def test_too_little_has_no_loudness(samples: int) -> None:
    assert loudness(np.ones(samples, np.int16)).isna().all()


def test_silence_is_below_the_gate() -> None:
    silent = loudness(np.zeros(160_000, np.int16))
    assert np.isnan(silent["integrated_lufs"])
    assert silent["momentary_max_lufs"] == -np.inf
