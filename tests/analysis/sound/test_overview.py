"""The overview, held against the spectrogram it sums up."""

from __future__ import annotations

import numpy as np
import pytest

from recall_lab.analysis.sound.overview import overview
from recall_lab.analysis.sound.spectrum import spectrogram
from recall_lab.errors import InvalidArgument

NOISE = np.random.default_rng(3).normal(0, 3000, 16_000 * 60).astype(np.int16)


@pytest.mark.parametrize("columns", [60, 7, 1])
def test_it_sums_up_the_frames_of_each_column(columns: int) -> None:
    ours = overview(NOISE, columns)
    frames = spectrogram(NOISE, hop=0.0125)
    edges = np.linspace(0, 60, columns + 1)
    for column in range(columns):
        inside = (frames.times >= edges[column]) & (frames.times < edges[column + 1])
        values = frames.values[:, inside]
        np.testing.assert_allclose(ours.mean[:, column], values.mean(axis=1), rtol=1e-5)
        np.testing.assert_array_equal(ours.max[:, column], values.max(axis=1))
        if inside.sum() <= 512:  # else they are told from a part of the frames
            nearest = np.percentile(values, [10, 50, 90], axis=1, method="nearest")
            np.testing.assert_allclose(ours.percentiles[:, :, column], nearest, rtol=1e-6)
    np.testing.assert_allclose(ours.times, (edges[:-1] + edges[1:]) / 2)
    assert ours.width == pytest.approx(60 / columns)
    # exponential, as power of noise is: the median is ln 2 of the mean
    share = ours.percentiles[1, 20:180].mean() / ours.mean[20:180].mean()
    assert share == pytest.approx(np.log(2), rel=0.05)


def test_silence_and_missing_audio_are_told_apart(make) -> None:  # type: ignore[no-untyped-def]
    audio = NOISE[: 16_000 * 30].copy()
    audio[16_000 * 10 : 16_000 * 20] = 0
    gapped = make([0.0, 10.0, 30.0], 160_000, audio=audio)
    ours = overview(gapped, 40)
    assert (ours.missing == np.repeat([0, 1, 0], [20, 10, 10])).all()
    assert np.isnan(ours.silence[20:30]).all()
    assert np.isnan(ours.mean[:, 20:30]).all()
    assert (ours.silence[11:19] == 1).all()
    assert (ours.mean[:, 11:19] == 0).all()
    assert (ours.silence[:9] == 0).all()


def test_frames_at_the_edge_of_a_hole_make_no_click(make) -> None:  # type: ignore[no-untyped-def]
    tone = np.rint(8000 * np.sin(2 * np.pi * 1000 * np.arange(160_000) / 16_000)).astype(np.int16)
    # 20 ms missing of each 200 ms; the tone goes on behind as if nothing had been
    firsts = np.array([n * 3200 + k * 720 for n in range(49) for k in range(4)])
    starts = firsts / 16_000
    audio = np.concatenate([tone[first:][:720] for first in firsts])
    ours = overview(make(starts, 720, audio=audio), 10)
    far = ours.frequencies > 3000
    naive = spectrogram(make(starts, 720, audio=audio), hop=0.0125)
    assert (ours.max[far] < 1e-8 * ours.max.max()).all()
    assert naive.values[far].max() > 1e-5 * ours.max.max()
    assert ours.missing[1:] == pytest.approx(np.full(9, 0.1), abs=0.03)


def test_columns_are_never_shorter_than_two_frames() -> None:
    assert overview(NOISE[:16_000], 1600).mean.shape == (201, 20)
    assert overview(NOISE[:100]).mean.shape == (201, 1)
    assert np.isnan(overview(NOISE[:100]).mean).all()
    empty = overview(NOISE[:0])
    assert empty.mean.shape == (201, 0)
    assert "0 columns" in repr(empty)


@pytest.mark.parametrize("columns", [0, -1, 2.5, True, 10**9])
def test_a_mistake_is_named(columns: object) -> None:
    with pytest.raises(InvalidArgument, match=f"columns={columns}"):
        overview(NOISE, columns)  # type: ignore[arg-type]
