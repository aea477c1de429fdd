"""What a media clock did besides running on is seen in every picture, and only where it was."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers.builders import NEW_YEAR, make_capture
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import recall_lab as rl
from recall_lab.plots.gaps import COLORS

START = NEW_YEAR / 1e9
CALL = np.arange(600) * 0.1


def call(relative: np.ndarray, wall: np.ndarray, arrived: np.ndarray, **more: Any) -> rl.Capture:
    """A call of packets of 0.1 s by its three clocks, s."""
    rng = np.random.default_rng(3)
    return make_capture(
        relative, 1600,
        absolute=NEW_YEAR + np.rint(wall * 1e9),
        received=NEW_YEAR + np.rint((arrived + 0.1) * 1e9),
        monotonic=np.rint((arrived + 100) * 1e9),
        audio=rng.integers(-900, 900, 1600 * len(relative)).astype(np.int16), **more,
    )  # fmt: skip


def hidden() -> rl.Capture:
    """The media clock stands for 18 s at 30 s."""
    wall = CALL + np.where(CALL >= 30, 18.0, 0.0)
    return call(CALL, wall, wall)


def restarted() -> rl.Capture:
    """``relative`` begins again at 0 after 25 s and after 40 s."""
    return call(CALL - np.where(CALL >= 40, 40.0, np.where(CALL >= 25, 25.0, 0)), CALL, CALL)


def set_back() -> rl.Capture:
    """The wall clock is put on by 50 s at 30 s; a packet is lost on either side."""
    kept = np.delete(CALL, [100, 450])
    return call(kept, kept + np.where(kept >= 30, 50.0, 0.0), kept)


def legend_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def crossed(ax: Axes) -> list[tuple[float, float]]:
    """Return begin and end of what is crossed out."""
    found = [c for c in ax.collections if c.get_hatch() == "xxxx"]
    boxes = [path.get_extents() for collection in found for path in collection.get_paths()]
    return [(box.x0, box.x1) for box in boxes]


def draw(which: str, source: object, **options: Any) -> Axes:
    """Draw the lane of gaps, by itself or of an overview."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    if which == "gaps":
        return rl.plot_gaps(source, figure.subplots(), **options)
    return rl.plot_overview(source, figure, **options)["gaps"]


@pytest.mark.parametrize("which", ["gaps", "overview"])
def test_unexplained_time_is_crossed_out_as_long_as_it_was(which: str) -> None:
    told = "unexplained: 18.00 s\n(the media clock stood)"
    ax = draw(which, hidden())
    ((low, high),) = crossed(ax)
    assert low < 30 < high
    assert high - low < 1  # a moment, but one that is seen
    assert told in legend_of(ax)
    ax = draw(which, hidden(), clock="absolute")
    assert crossed(ax) == [pytest.approx((START + 30, START + 48), abs=1e-3)]
    assert told in legend_of(ax)
    if which == "gaps":
        assert ax.get_title(loc="left") == "call: nothing is missing, 18.00 s unexplained"


@pytest.mark.parametrize("which", ["gaps", "overview"])
def test_new_epochs_have_a_line_each(which: str) -> None:
    ax = draw(which, restarted())
    lines = [line for line in ax.lines if line.is_dashed() and len(line.get_xdata())]
    assert [line.get_xdata()[0] for line in lines] == pytest.approx([25, 40])
    assert "2 new epochs\n(relative begins again)" in legend_of(ax)
    assert crossed(ax) == []


@pytest.mark.parametrize("which", ["gaps", "overview"])
def test_what_is_not_shown_is_not_told(which: str) -> None:
    for source in (make_capture(CALL, 1600), hidden().slice(0, 20), restarted().slice(0, 20)):
        assert legend_of(draw(which, source))[:1] == ["audio"]
        assert not any("unexplained" in x or "epoch" in x for x in legend_of(draw(which, source)))
    lanes = rl.plot_overview(hidden(), Figure(layout="constrained"), start=0, end=20)
    assert legend_of(lanes["gaps"]) == ["audio"]
    assert "unexplained" not in lanes["waveform"].get_title(loc="left")
    lanes = rl.plot_overview(hidden(), Figure(layout="constrained"))
    assert lanes["waveform"].get_title(loc="left").endswith("18.00 s unexplained")


@pytest.mark.parametrize("which", ["gaps", "overview"])
def test_after_the_wall_clock_was_set_gaps_stand_where_their_stamps_say(which: str) -> None:
    capture = set_back()
    ax = draw(which, capture, clock="absolute")
    color = COLORS["loss"]
    spans = [
        path.get_extents().x0
        for collection in ax.collections
        if np.allclose(collection.get_facecolor()[0][:3], _rgb(color))
        for path in collection.get_paths()
    ]
    walls = rl.gaps(capture)["absolute"].astype("int64").to_numpy() / 1e9  # by the packet before
    assert spans == pytest.approx(walls.tolist(), abs=0.2)
    assert walls - START == pytest.approx([10, 95])
    assert ax.get_xlim() == pytest.approx((START, START + 110))
    assert "wall clock set: 1 time" in legend_of(ax)
    assert not any("wall clock" in told for told in legend_of(draw(which, capture)))


def test_sound_stands_right_on_either_side_too() -> None:
    capture = set_back()
    ax = rl.plot_spectrogram(capture, Figure().subplots(), clock="absolute")
    edges = [tuple(np.round(np.array(image.get_extent()[:2]) - START)) for image in ax.images]
    assert edges == [(0, 30), (80, 110)]
    ax = rl.plot_waveform(capture, Figure().subplots(), clock="absolute")
    drawn = [
        (path.get_extents().x0 - START, path.get_extents().x1 - START)
        for collection in ax.collections[:2]
        for path in collection.get_paths()
        if np.isfinite(path.get_extents().x0)
    ]
    assert min(low for low, _ in drawn) == pytest.approx(0, abs=0.1)
    assert not any(low < 79 and high > 31 for low, high in drawn)
    assert max(high for _, high in drawn) == pytest.approx(110, abs=0.1)
    ax = rl.plot_levels(capture, Figure().subplots(), clock="absolute", every=1.0)
    peaks = np.concatenate([line.get_xdata() for line in ax.lines[:2]]) - START
    assert [round(x, 1) for x in peaks[[0, 29, 30, -1]]] == [0.5, 29.5, 80.5, 109.5]


def test_labels_of_the_wall_clock_have_room() -> None:
    for width in (4, 7, 11):
        figure = Figure(figsize=(width, 3), layout="constrained")
        ax = rl.plot_gaps(set_back(), figure.subplots(), clock="absolute")
        figure.savefig("/dev/null", format="png")
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert len(boxes) >= 2
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def _rgb(color: str) -> list[float]:
    return [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
