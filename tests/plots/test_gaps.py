"""Plots of gaps and timing: what is drawn, against what the analysis found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from helpers.builders import NEW_YEAR, arrive, make_capture
from helpers.plans import draw
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import recall_lab as rl
from recall_lab.errors import InvalidArgument, MissingTimestamps
from recall_lab.plots.gaps import COLORS

PLOTS = [rl.plot_gaps, rl.plot_gap_histogram, rl.plot_timing, rl.plot_clocks]


@pytest.fixture
def axes() -> Axes:
    return Figure(figsize=(10, 3), layout="constrained").subplots()  # type: ignore[no-any-return]


def legend_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def bars_of(ax: Axes, color: str) -> list[tuple[float, float]]:
    """Return the spans that are drawn in a colour."""
    found = []
    for collection in ax.collections:
        if to_hex(collection.get_facecolor()[0]) == color.lower():
            ends = (path.get_extents() for path in collection.get_paths())
            found += [(end.x0, end.x1) for end in ends]
    return found


def test_gaps_stand_where_they_are_in_the_colour_of_their_cause(axes: Axes, root: Path) -> None:
    capture = rl.load(root / "data/standup-broken.100.bin")
    rl.plot_gaps(capture, axes)
    for cause, rows in rl.gaps(capture).groupby("cause"):
        spans = bars_of(axes, COLORS[str(cause)])
        assert len(spans) == len(rows)
        np.testing.assert_allclose(spans, rows[["start", "end"]], atol=0.03)
        assert f"{cause}: {rows['duration'].sum():.2f} s" in legend_of(axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Alice"]
    assert axes.get_title(loc="left") == "standup-broken: 5.32 s missing in 5 gaps"
    assert axes.get_xlabel() == "relative time (s)"


def test_a_lane_a_stream_on_the_wall_clock(axes: Axes, root: Path) -> None:
    streams = [
        rl.load(root / f"data/{name}.bin") for name in ("standup-lossy", "standup-broken.100")
    ]
    rl.plot_gaps(streams, axes, clock="absolute")
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["standup-lossy", "standup-broken.100"]
    assert axes.get_xlabel() == "absolute time (UTC), 2026-11-23"
    first = streams[0].packets["absolute"].min().timestamp()
    assert axes.get_xlim()[0] == pytest.approx(first, abs=0.01)
    assert {"duplicate: 6", "reordered: 6"} <= set(legend_of(axes))


def test_no_gap_is_too_narrow_to_be_seen_in_ten_hours(axes: Axes) -> None:
    kept = np.delete(np.arange(180_000), [50_000, 50_003, 120_000])
    rl.plot_gaps(make_capture(kept * 0.2), axes)
    spans = np.array(bars_of(axes, COLORS["loss"]))
    assert len(spans) == 2  # two that touch are one
    assert (spans[:, 1] - spans[:, 0] >= 36_000 / 601).all()
    assert axes.get_xlabel() == "relative time (h:min)"


def test_the_histogram_counts_every_gap(axes: Axes) -> None:
    found = rl.gaps(arrive(draw(4).plan))
    rl.plot_gap_histogram(found, axes)
    tops = [patch.get_height() for patch in axes.patches]
    assert sum(tops) == len(found)
    assert axes.get_xscale() == "log"
    counts = found["cause"].value_counts()
    assert set(legend_of(axes)) == {f"{cause}: {count}" for cause, count in counts.items()}


def test_timing_shows_drift_and_stalls(axes: Axes) -> None:
    from drift import call  # type: ignore[attr-defined]

    capture, true = call("stalls", 1)
    rl.plot_timing(capture, axes)
    (told,) = [text for text in legend_of(axes) if text.startswith("drift")]
    assert float(told.split()[1]) == pytest.approx(true, abs=0.5)
    assert f"network stalls: {len(rl.stalls(capture))}" in legend_of(axes)
    assert "log above" in axes.get_ylabel()


def test_clocks_show_drift_and_steps(axes: Axes, root: Path) -> None:
    rl.plot_clocks(rl.load(root / "data/standup-broken.100.bin"), axes)
    assert "step of absolute: +1.250 s" in legend_of(axes)
    line = next(x for x in axes.lines if str(x.get_label()).startswith("relative - absolute"))
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(-1250, abs=2)


@pytest.mark.parametrize("plot", PLOTS)
def test_every_plot_takes_axes_and_leaves_settings_alone(
    plot: Callable[..., Axes], axes: Axes, root: Path
) -> None:
    before = dict(mpl.rcParams)
    ax = plot(rl.load(root / "data/standup-lossy.bin"), axes, title="a $name$")
    assert ax is axes
    assert dict(mpl.rcParams) == before
    assert ax.get_title(loc="left") == "a $name$"
    axes.figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    "starts", [[], [1.0], [1.0] * 5, [1.0, 0.8, 0.6], [0.0, np.nan, 0.2], [0.0, 50_000.0]]
)
def test_odd_captures_can_be_drawn(
    plot: Callable[..., Axes], axes: Axes, starts: list[float]
) -> None:
    plot(make_capture(starts), axes)
    axes.figure.savefig("/dev/null", format="png")
    with pytest.raises(MissingTimestamps):
        plot(rl.Capture(np.zeros(10, np.int16)))


def test_arguments_that_cannot_be(axes: Axes) -> None:
    capture = make_capture([0.0])
    with pytest.raises(InvalidArgument, match="clock"):
        rl.plot_gaps(capture, axes, clock="wall")
    with pytest.raises(InvalidArgument, match="at least one of: a capture"):
        rl.plot_gaps([], axes)
    with pytest.raises(InvalidArgument, match=r"source=7 .*a capture, what analyse"):
        rl.plot_gaps(7, axes)
    with pytest.raises(InvalidArgument, match="bins"):
        rl.plot_gap_histogram(capture, axes, bins=0)
    assert isinstance(rl.gaps(capture), pd.DataFrame)


def replayed(pace: float) -> rl.Capture:
    """A call of a minute that came so many times as fast as it was spoken."""
    relative = np.arange(600) * 0.1
    arrived = np.rint(relative / pace * 1e9)
    return make_capture(relative, 1600, monotonic=arrived, received=NEW_YEAR + arrived)


@pytest.mark.parametrize("pace", [0.5, 10.0, np.inf])
def test_a_replay_is_said_to_be_one_and_nothing_is_drawn_of_arrival(
    axes: Axes, pace: float
) -> None:
    rl.plot_timing(replayed(pace), axes)
    (told,) = axes.texts
    fast = "at once" if np.isinf(pace) else f"{pace:.2f} times as fast as it was spoken"
    assert f"its audio came {fast}" in told.get_text().replace("\n", " ")
    axes.figure.savefig("/dev/null", format="png")
    box, room = told.get_window_extent(), axes.get_window_extent()
    assert room.x0 <= box.x0 < box.x1 <= room.x1
    assert room.y0 <= box.y0 < box.y1 <= room.y1
    assert not axes.lines
    ax = rl.plot_clocks(replayed(pace), Figure().subplots())
    names = [str(line.get_label()).split("\n")[0] for line in ax.lines]
    assert names[0] == "relative - absolute"
    assert not any("received" in name for name in names)
    speed = "all at once" if np.isinf(pace) else f"at {pace:g} times its speed"
    assert f"a replay, {speed}" in names[1].replace("replay at", "replay, at")
    assert "a replay" in ax.get_title(loc="left")


@pytest.mark.parametrize("width", [3, 6, 11])
def test_the_sentence_about_a_replay_fits_narrow_axes(width: int) -> None:
    ax = Figure(figsize=(width, 3), layout="constrained").subplots()
    rl.plot_timing(replayed(10), ax)
    ax.figure.savefig("/dev/null", format="png")
    (told,) = ax.texts
    assert ax.get_window_extent().x0 <= told.get_window_extent().x0
    assert told.get_window_extent().x1 <= ax.get_window_extent().x1


def test_clocks_show_leaps_epochs_and_where_the_media_clock_stood(axes: Axes) -> None:
    relative = np.arange(1000) * 0.1
    wall = relative + np.where(relative >= 60, 18.0, 0.0)
    stamps = relative + np.where(relative >= 20, 3600.0, 0.0)
    stamps -= np.where(relative >= 80, 3680.0, 0.0)
    clocks = {"absolute": NEW_YEAR, "received": NEW_YEAR, "monotonic": 10**9}
    clocks = {name: np.rint(wall * 1e9) + first for name, first in clocks.items()}
    capture = make_capture(stamps, 1600, **clocks)
    rl.plot_clocks(capture, axes)
    marks = {line.get_label(): line.get_xdata()[0] for line in axes.lines[3:]}
    assert marks == {
        "relative leaps: +3,600.000 s": pytest.approx(20),
        "unexplained: 18.000 s\n(the media clock stood)": pytest.approx(60),
        "relative begins again\n(3,679.9 s back)": pytest.approx(80),
    }
    assert set(marks) <= set(legend_of(axes))
    assert axes.get_title(loc="left") == (
        "call: three clocks, no steps, 1 leap, 18.00 s unexplained, 2 epochs"
    )
    for line in axes.lines[:2]:  # both wall clocks go on by 18 s, at once
        times, apart = (np.asarray(values) for values in line.get_data())
        assert abs(apart[times < 60]).max() < 1
        assert apart[times > 60.05] == pytest.approx(-18_000, abs=1)
    assert abs(np.asarray(axes.lines[2].get_ydata())).max() < 1


def test_of_many_jumps_the_first_are_told(axes: Axes) -> None:
    relative = np.arange(1000) * 0.1
    walls = NEW_YEAR + np.rint((relative + relative // 10 * 5) * 1e9)
    rl.plot_clocks(make_capture(relative, 1600, absolute=walls), axes)
    told = legend_of(axes)
    assert told.count("step of absolute: +5.000 s") == 4
    assert told[-1] == "and 5 more"
    assert axes.get_title(loc="left").endswith("9 steps")


def test_a_sample_clock_that_is_off_has_a_line_of_its_own(axes: Axes) -> None:
    relative = np.arange(1200) * 0.1
    rl.plot_clocks(make_capture(relative, 1600), axes)
    assert not any("samples" in told for told in legend_of(axes))
    ax = rl.plot_clocks(make_capture(relative * (1 + 1e-3), 1600), Figure().subplots())
    (told,) = [told for told in legend_of(ax) if told.startswith("samples - relative")]
    assert float(told.split("\n")[1].split()[0]) == pytest.approx(-1000, abs=2)
    line = next(x for x in ax.lines if str(x.get_label()).startswith("samples"))
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(-119.9, abs=0.5)
