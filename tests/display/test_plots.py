"""Plots: what is drawn is what the capture holds."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import frame_of_records
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import RECORD
from recall_lab.display.plots import _envelope, plot_waveform
from recall_lab.display.style import _minutes


def capture(starts: list[float], samples: np.ndarray, name: str = "r1") -> Capture:
    """A capture of equal packets that begin at `starts`."""
    size = len(samples) // len(starts)
    records = np.zeros(len(starts), RECORD)
    records["offset"] = np.arange(len(starts)) * size * 2
    records["length"] = size * 2
    records["relative"] = starts
    return Capture(samples, frame_of_records(records), CaptureInfo(recording=name))


@pytest.fixture
def axes():  # type: ignore[no-untyped-def]
    return Figure(figsize=(10, 3)).subplots()


def test_the_envelope_is_the_lowest_and_highest_sample_of_each_column() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(-20_000, 20_000, 16_000 * 8).astype("<i2")
    # packets of 0.2 s whose columns fall on their edges, with a gap and out of order
    starts = [n * 0.2 + (1.0 if n >= 20 else 0.0) for n in range(40)]
    order = [*range(10), 11, 10, *range(12, 40)]
    shuffled = np.concatenate([samples[n * 3200 : (n + 1) * 3200] for n in order])
    whole = capture([starts[n] for n in order], shuffled)
    times, low, high = _envelope(whole, *whole.span, columns=90)
    placed = np.full(16_000 * 9, np.nan)
    for n, start in enumerate(starts):
        at = round(start * 16_000)
        placed[at : at + 3200] = samples[n * 3200 : (n + 1) * 3200] / 32_768
    columns = placed.reshape(90, 1600)
    missing = np.isnan(columns).all(axis=1)
    np.testing.assert_array_equal(np.isnan(low), missing)
    np.testing.assert_array_equal(low[~missing], np.nanmin(columns[~missing], axis=1))
    np.testing.assert_array_equal(high[~missing], np.nanmax(columns[~missing], axis=1))
    np.testing.assert_allclose(times, (np.arange(90) + 0.5) * 0.1)


def test_missing_spans_are_marked_where_they_are(axes) -> None:  # type: ignore[no-untyped-def]
    gapped = capture([0.0, 0.2, 0.8, 1.0], np.ones(12_800, "<i2"))
    before = dict(matplotlib.rcParams)
    ax = plot_waveform(gapped, axes)
    assert ax is axes
    assert dict(matplotlib.rcParams) == before
    (legend,) = ax.get_legend().get_texts()
    assert legend.get_text() == "missing: 1 span, 0.40 s"
    bars = ax.collections[-1].get_paths()
    assert [(path.get_extents().x0, path.get_extents().x1) for path in bars] == [
        (pytest.approx(0.4), pytest.approx(0.8))
    ]
    assert ax.get_xlabel() == "relative time (s)"
    assert "full scale" in ax.get_ylabel()


def test_a_whole_capture_has_no_legend_and_long_ones_show_minutes(axes) -> None:  # type: ignore[no-untyped-def]
    ax = plot_waveform(capture([0.0, 100.0], np.ones(16_000 * 200, "<i2")), axes)
    assert ax.get_legend() is None
    assert "min:s" in ax.get_xlabel()
    assert [_minutes(s) for s in (0, 61, 90.5, 3725)] == ["0:00", "1:01", "1:30.5", "62:05"]


@pytest.mark.parametrize("samples", [0, 1, 16_000])
def test_a_bare_or_empty_capture_can_be_drawn(axes, samples: int) -> None:  # type: ignore[no-untyped-def]
    plot_waveform(Capture(np.ones(samples, "<i2")), axes)
    axes.figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("title", [r"$\frac{$", "a\x1b[31m\u202eb", "x" * 3000])
def test_a_hostile_title_is_only_text(axes, title: str) -> None:  # type: ignore[no-untyped-def]
    plot_waveform(capture([0.0], np.ones(1600, "<i2")), axes, title=title)
    axes.figure.savefig("/dev/null", format="png")
    assert "\x1b" not in axes.get_title(loc="left")


def test_the_frame_of_a_live_capture_is_left_as_it_was(axes) -> None:  # type: ignore[no-untyped-def]
    whole = capture([0.0, 0.5], np.ones(6400, "<i2"))
    before = whole.packets.copy()
    plot_waveform(whole, axes)
    pd.testing.assert_frame_equal(whole.packets, before)
