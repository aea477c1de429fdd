"""Plots: what is drawn is what the capture holds."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import frame_of_records
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import RECORD
from recall_lab.errors import InvalidArgument
from recall_lab.plots.sound import (
    RANGE,
    _envelope,
    plot_levels,
    plot_spectrogram,
    plot_waveform,
)
from recall_lab.plots.style import _minutes


def capture(starts: list[float], samples: np.ndarray, name: str = "r1") -> Capture:
    """A capture of equal packets that begin at `starts`."""
    size = len(samples) // len(starts)
    records = np.zeros(len(starts), RECORD)
    records["offset"] = np.arange(len(starts)) * size * 2
    records["length"] = size * 2
    records["relative"] = starts
    ticks = np.rint(np.array(starts) * 1e9).astype(np.int64)
    for clock in ("absolute", "received", "monotonic"):
        records[clock] = ticks + 10**18
    return Capture(samples, frame_of_records(records), CaptureInfo(recording=name))


def hatched(ax: Axes) -> list[tuple[float, float]]:
    """The spans that are hatched, without the key of the legend."""
    found = [patch for patch in ax.patches if patch.get_hatch() and np.isfinite(patch.get_x())]
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in found]


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
    times, low, high = _envelope(as_timeline(whole), columns=90)
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
    assert legend.get_text() == "missing"
    assert ax.get_title(loc="left") == "r1: 1.2 s, 0.40 s missing in 1 gap"
    assert hatched(ax) == [(pytest.approx(0.4), pytest.approx(0.8))]
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


def tone(seconds: float, hertz: float, amplitude: float) -> np.ndarray:
    at = np.arange(int(seconds * 16_000)) / 16_000
    return np.rint(32_768 * amplitude * np.sin(2 * np.pi * hertz * at)).clip(-32_768, 32_767)


@pytest.mark.parametrize("frequency", ["linear", "mel", "log"])
@pytest.mark.parametrize("seconds", [4, 60])  # every frame, and an overview
def test_a_tone_is_drawn_at_its_frequency_and_level(axes, frequency: str, seconds: int) -> None:  # type: ignore[no-untyped-def]
    samples = tone(seconds, 2000, 0.1).astype("<i2")
    ax = plot_spectrogram(
        Capture(samples), axes, frequency=frequency, columns=400, length=0.032, hop=0.008
    )
    (image,) = ax.images
    assert image.get_clim() == RANGE
    level = np.asarray(image.get_array()).mean(axis=1)
    row = int(level.argmax())
    # a bin on a tone of a tenth of full scale reads -20 dBFS; a row wider than a bin, its mean
    assert level[row] == pytest.approx(-20, abs=0.1 if frequency == "linear" else 3)
    low, high = image.get_transform().transform([(0, at) for at in image.get_extent()[2:]])[:, 1]
    drawn = low + (row + 0.5) / len(level) * (high - low)  # where the picture shows the tone
    asked = ax.transData.transform((0, 2000))[1]  # where a line at 2,000 Hz lies
    assert drawn == pytest.approx(asked, abs=(high - low) * 3 / len(level))
    assert ax.get_ylabel() == "frequency (Hz)"
    low, high = image.get_extent()[:2]
    assert low == pytest.approx(0, abs=0.02)
    assert high == pytest.approx(seconds, abs=0.03)
    (bar,) = [child for child in axes.child_axes if child.get_ylabel()]
    assert bar.get_ylabel() == "dBFS (sine = 0)"


@pytest.mark.parametrize("frequency", ["linear", "mel", "log"])
def test_a_line_drawn_at_a_frequency_lies_on_its_tone_in_any_view(frequency: str) -> None:
    ax = plot_spectrogram(
        Capture(tone(4, 1000, 0.5).astype("<i2")), Figure(figsize=(6, 4), dpi=100).subplots(),
        frequency=frequency, fmin=600, fmax=1500, colorbar=False, limits=(-60, 0), cmap="gray",
    )  # fmt: skip
    assert ax.get_ylim() == (600, 1500)
    assert len([tick for tick in ax.get_yticks() if 600 <= tick <= 1500]) >= 3
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    left, bottom, width, height = ax.get_window_extent().bounds
    shown = np.asarray(canvas.buffer_rgba())[::-1, int(left + width / 2), 0].astype(float)
    inside = np.arange(int(bottom) + 3, int(bottom + height) - 3)
    bright = inside[shown[inside] >= 0.95 * shown[inside].max()]
    drawn = ax.transData.inverted().transform((0, bright.mean() + 0.5))[1]
    assert drawn == pytest.approx(1000, abs=20)  # half a bin


@pytest.mark.parametrize(
    ("fmin", "fmax"), [(-1, 400), (400, 300), (0, 9000), (float("nan"), 1000), ("a", None)]
)
def test_a_range_of_frequencies_that_cannot_be_is_refused(fmin: object, fmax: object) -> None:
    with pytest.raises(InvalidArgument, match=r"fmin|fmax"):
        plot_spectrogram(Capture(np.ones(16_000, "<i2")), Figure().subplots(), fmin=fmin, fmax=fmax)  # type: ignore[call-overload]


def test_colours_mean_the_same_in_every_picture() -> None:
    quiet, loud = (
        plot_spectrogram(Capture(tone(2, 1000, a).astype("<i2")), Figure().subplots()).images[0]
        for a in (0.001, 0.9)
    )
    assert quiet.get_clim() == loud.get_clim() == RANGE
    difference = np.max(loud.get_array()) - np.max(quiet.get_array())
    assert difference == pytest.approx(20 * np.log10(900), abs=0.2)


@pytest.mark.parametrize("columns", [1600, 40])
def test_missing_audio_is_hatched_and_not_black(axes, columns: int) -> None:  # type: ignore[no-untyped-def]
    gapped = capture([0.0, 1.0, 4.0, 5.0], np.full(64_000, 1000, "<i2"))
    ax = plot_spectrogram(gapped, axes, columns=columns)
    assert hatched(ax) == [(pytest.approx(2.0), pytest.approx(4.0))]
    (image,) = ax.images
    values = np.ma.filled(image.get_array(), np.nan)
    times = np.linspace(*image.get_extent()[:2], values.shape[1])
    assert np.isnan(values[:, (times > 2.2) & (times < 3.8)]).all()
    assert np.isfinite(values[:, (times < 1.8) | (times > 4.2)]).all()


def test_gaps_too_short_to_hatch_are_marked_at_the_edge(axes) -> None:  # type: ignore[no-untyped-def]
    starts = [n * 1.0 + (0.02 if n >= 300 else 0.0) for n in range(600)]
    ax = plot_waveform(capture(starts, np.ones(16_000 * 600, "<i2")), axes)
    assert hatched(ax) == []
    (text,) = ax.get_legend().get_texts()
    assert text.get_text() == "missing, too short to draw"
    (mark,) = ax.collections[-1].get_paths()
    assert mark.get_extents().x0 < 300.01 < mark.get_extents().x1


def test_levels_are_drawn_on_the_same_axis_always(axes) -> None:  # type: ignore[no-untyped-def]
    samples = np.concatenate([tone(2, 500, 2.0), np.zeros(32_000)]).astype("<i2")
    ax = plot_levels(Capture(samples), axes, every=0.5)
    assert ax.get_ylim() == (-100, 3)
    peak, rms = ax.lines[:2]
    assert peak.get_ydata()[0] == pytest.approx(0, abs=0.01)
    assert rms.get_ydata()[0] > 0  # a clipped sine is louder than a sine
    assert rms.get_ydata()[-1] < -100
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "peak", "RMS", "clipping", "digital silence",
    ]  # fmt: skip
    assert plot_levels(Capture(samples[:0]), Figure().subplots()).get_title(loc="left")


@pytest.mark.parametrize("plot", [plot_waveform, plot_levels, plot_spectrogram])
def test_on_the_wall_clock_with_a_date(plot, make) -> None:  # type: ignore[no-untyped-def]
    ax = plot(make([100.0, 100.2, 101.0]), Figure().subplots(), clock="absolute")
    assert ax.get_xlabel() == "absolute time (UTC), 2026-01-01"
    assert ax.get_xticklabels()[0].get_text().startswith("00:01:40")
    with pytest.raises(InvalidArgument, match="clock='lunar'"):
        plot(make([0.0]), Figure().subplots(), clock="lunar")


@pytest.mark.parametrize(
    "options",
    [
        {"frequency": "bark"},
        {"statistic": "median"},
        {"limits": (0, -80)},
        {"limits": (np.nan, 0)},
        {"columns": 0},
        {"start": 2, "end": 1},
    ],
)
def test_a_mistake_is_named(axes, options: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        plot_spectrogram(Capture(np.ones(160_000, "<i2")), axes, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 16_000])
def test_all_can_be_drawn_of_little(samples: int) -> None:
    for plot in (plot_levels, plot_spectrogram):
        figure = Figure(layout="constrained")
        plot(Capture(np.ones(samples, "<i2")), figure.subplots())
        figure.savefig("/dev/null", format="png")
