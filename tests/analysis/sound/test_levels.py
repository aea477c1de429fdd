"""Levels, held against ffmpeg, and against plain loops."""

from __future__ import annotations

import re
import subprocess
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.sound.levels import levels
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.loading import load


def test_levels_are_those_of_ffmpeg(root: Path) -> None:
    command = "ffmpeg -hide_banner -nostats -i standup.wav -af astats=reset=0 -f null -"
    told = subprocess.run(
        command.split(), cwd=root / "data", capture_output=True, text=True, check=True
    ).stderr
    overall = dict(re.findall(r"\] ([\w ]+): (-?[\d.]+)\n", told))
    ours = levels(load_wav(root), None).iloc[0]
    # theirs is dB of a square wave of full scale, not of a sine; and their full scale is 32,767
    scale = 20 * np.log10(32_767 / 32_768)
    rms, peak = (float(overall[f"{name} level dB"]) + scale for name in ("RMS", "Peak"))
    assert ours["rms_dbfs"] == pytest.approx(rms + 3.0103, abs=1e-4)
    assert ours["peak_dbfs"] == pytest.approx(peak, abs=1e-4)
    assert ours["dc"] == pytest.approx(float(overall["DC offset"]), abs=1e-6)
    crest = 20 * np.log10(float(overall["Crest factor"]))
    assert ours["crest_db"] == pytest.approx(crest, abs=1e-4)


def load_wav(root: Path) -> Capture:
    from recall_lab.store.audio_files import from_audio

    return from_audio(root / "data/standup.wav")


@pytest.mark.parametrize("every", [0.01, 0.37, 1.0, 5.0, 100.0, None])
def test_each_window_is_what_numpy_says(every: float | None) -> None:
    samples = np.random.default_rng(0).normal(200, 3000, 16_000 * 12 + 7).astype(np.int16)
    ours = levels(samples, every)
    size = len(samples) if every is None else round(every * 16_000)
    assert len(ours) == -(-len(samples) // size)
    for row in ours.itertuples():
        part = samples[row.Index * size : (row.Index + 1) * size] / 32_768
        assert row.rms_dbfs == pytest.approx(10 * np.log10(2 * np.mean(part**2)), abs=1e-4)
        assert row.peak_dbfs == pytest.approx(20 * np.log10(np.abs(part).max()), abs=1e-9)
        assert row.dc == pytest.approx(part.mean(), abs=1e-7)
        assert row.start == row.Index * size / 16_000


def runs(mask: np.ndarray, least: int) -> list[tuple[int, int]]:
    """Runs, by a loop: where each begins and how long it is."""
    found, at = [], 0
    for value, group in groupby(mask.tolist()):
        length = len(list(group))
        if value and length >= least:
            found.append((at, length))
        at += length
    return found


@given(
    seed=st.integers(0, 2**32 - 1),
    every=st.floats(0.004, 0.5),
    gap=st.integers(0, 4000),
    split=st.integers(1, 15_999),
)
@settings(max_examples=80, deadline=None)
def test_runs_are_those_of_a_loop_wherever_windows_and_gaps_cut_them(
    make,  # type: ignore[no-untyped-def]
    seed: int,
    every: float,
    gap: int,
    split: int,
) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.choice([0, 32_767, -32_768, 77], 60, p=[0.4, 0.2, 0.1, 0.3])
    audio = np.repeat(kinds, rng.choice([1, 2, 3, 100, 159, 160, 161, 400], 60))
    audio = np.resize(audio, 16_000).astype(np.int16)
    # two packets with a gap between them
    capture = make([0.0, (split + gap) / 16_000], [split, 16_000 - split], audio=audio)
    placed = np.full(16_000 + gap, 5, np.int32)
    placed[:split], placed[split + gap :] = audio[:split], audio[split:]
    heard = np.ones(len(placed), bool)
    heard[split : split + gap] = False
    ours = levels(capture, every)
    size = round(every * 16_000)
    edges = np.append(np.arange(0, len(placed), size), len(placed))
    full = np.zeros(len(placed), bool)
    starts = []
    for at, length in runs((placed >= 32_767) | (placed <= -32_768), 3):
        full[at : at + length] = True
        starts.append(at)
    zero = np.zeros(len(placed), bool)
    for at, length in runs(placed == 0, 160):
        zero[at : at + length] = True
    assert ours["clips"].tolist() == np.histogram(starts, edges)[0].tolist() if starts else True
    for row, low, high in zip(ours.itertuples(), edges[:-1], edges[1:], strict=True):
        assert row.clipped == full[low:high].sum()
        there = heard[low:high].sum()
        assert row.missing_share == pytest.approx(1 - there / (high - low))
        if there:
            assert row.silence_share == pytest.approx(zero[low:high].sum() / there)
            part = placed[low:high][heard[low:high]] / 32_768
            assert row.dc == pytest.approx(part.mean(), rel=1e-5, abs=1e-6)  # summed as float32
            with np.errstate(divide="ignore"):
                peak = 20 * np.log10(np.abs(part).max())
            assert row.peak_dbfs == peak or row.peak_dbfs == pytest.approx(peak)
        else:
            assert np.isnan([row.rms_dbfs, row.peak_dbfs, row.dc, row.silence_share]).all()


def test_a_sine_of_full_scale_is_0_dbfs() -> None:
    sine = np.sin(2 * np.pi * 997 * np.arange(16_000) / 16_000)
    row = levels(sine).iloc[0]
    assert row["rms_dbfs"] == pytest.approx(0, abs=0.01)
    assert row["peak_dbfs"] == pytest.approx(0, abs=0.01)
    assert row["crest_db"] == pytest.approx(3.0103, abs=0.01)


def test_digital_silence_is_minus_infinity_and_missing_is_nothing(make) -> None:  # type: ignore[no-untyped-def]
    ours = levels(make([0.0, 2.0], 16_000))
    assert ours["rms_dbfs"].tolist()[::2] == [-np.inf, -np.inf]
    assert np.isnan(ours["rms_dbfs"][1])
    assert ours["missing_share"].tolist() == [0, 1, 0]
    assert ours["silence_share"].tolist()[::2] == [1, 1]
    assert ours["start"].tolist() == [0, 1, 2]


def test_a_capture_has_its_own_time(root: Path) -> None:
    broken = load(root / "data/standup-broken.100.bin")
    assert levels(broken)["start"][0] == 24
    assert levels(broken, start=30, end=31.5)["start"].tolist() == [30, 31]


def test_nothing_has_no_windows() -> None:
    for every in (1.0, None):
        assert len(levels(np.zeros(0, np.int16), every)) == 0


@pytest.mark.parametrize("every", [0, -1, np.nan, "soon", True, 1e-9])
def test_a_mistake_is_named(every: object) -> None:
    with pytest.raises(InvalidArgument, match="every="):
        levels(np.zeros(9, np.int16), every)  # type: ignore[arg-type]


def test_too_many_windows_are_refused() -> None:
    day = np.broadcast_to(np.int16(0), 16_000 * 86_400)
    with pytest.raises(InvalidArgument, match="at most 10,000,000 windows"):
        levels(day, 0.005)
