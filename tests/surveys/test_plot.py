"""A survey as a picture: what is drawn, against the frame."""

from __future__ import annotations

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers.surveys import DAY, failed, frame_of, made_up, row
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

import recall_lab as rl
from recall_lab.errors import InvalidArgument
from recall_lab.plots.gaps import COLORS
from recall_lab.plots.style import BLUE, DARK, GREY, LIGHT, PURPLE, SKY, VERMILION


def drawn(frame: pd.DataFrame) -> dict[str, Axes]:
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    axes = rl.plot_survey(frame, figure)
    figure.savefig(io.BytesIO(), dpi=50)
    return axes


def cells_of(ax: Axes) -> list[list[str]]:
    """Return the colours of the heat map, columns from bottom to top."""
    (mesh,) = [one for one in ax.collections if isinstance(one, QuadMesh)]
    values = np.ma.asarray(mesh.get_array())
    colors = mesh.cmap(mesh.norm(values))
    return [
        [to_hex(colors[at, column]).upper() for at in range(len(values))
         if not np.ma.getmaskarray(values)[at, column]]
        for column in range(values.shape[1])
    ]  # fmt: skip


def keys_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def texts_of(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_column_is_a_day_and_what_is_bad_stands_at_its_bottom() -> None:
    frame = frame_of(row(0), row(1, day=0.9, there=50), row(2, day=2.5, there=99.5), failed(3))
    axes = drawn(frame)
    assert list(axes) == ["verdicts", "trend", "missing", "worst"]
    assert cells_of(axes["verdicts"]) == [
        [VERMILION, BLUE], [], [SKY], [], [GREY]
    ]  # the last: without a date  # fmt: skip
    assert keys_of(axes["verdicts"]) == [
        "good: 1", "usable: 1", "failed: 1", "poor, below 80 % there: 1"
    ]  # fmt: skip
    names = [text.get_text() for text in axes["missing"].get_xticklabels()]
    assert names == ["2026-01-01", "2026-01-02", "2026-01-03", "no date"]
    assert axes["missing"].get_xlabel() == "day (UTC)"


def test_days_are_those_of_utc() -> None:
    late = frame_of(row(0, day=0.9999), row(1, day=1.0001))
    assert [len(column) for column in cells_of(drawn(late)["verdicts"])] == [1, 1]


def test_a_recording_is_as_good_as_its_worst_stream() -> None:
    streams = [row(0), row(0, there=50) | {"source": "s3://x/call-000000.7.bin", "participant": 7}]
    axes = drawn(frame_of(*streams, failed(0, source="s3://x/call-000000.8.bin")))
    assert cells_of(axes["verdicts"]) == [[VERMILION]]


def test_what_sounds_wrong_is_not_shown_as_good() -> None:
    """All of the audio is there, and it is not the call."""
    sound = {"sound": "poor: the two bytes of each sample are swapped"}
    axes = drawn(frame_of(row(0), row(1) | sound, row(2, there=99.5), row(3) | {"damage": "torn"}))
    assert cells_of(axes["verdicts"]) == [["#F0E442", PURPLE, SKY, BLUE]]
    assert "poor, 95 % or more: 1" in keys_of(axes["verdicts"])


def test_many_recordings_a_day_are_joined_and_the_axis_says_so() -> None:
    there = [50.0] * 3 + [100.0] * 997
    axes = drawn(frame_of(*(row(at, there=share) for at, share in enumerate(there))))
    (column,) = cells_of(axes["verdicts"])
    assert column == [VERMILION] + [BLUE] * 39
    assert axes["verdicts"].get_ylim() == (0, 1000)
    assert "a cell: 25,\nthe worst of them shown" in axes["verdicts"].get_ylabel()
    assert "poor, below 80 % there: 3" in keys_of(axes["verdicts"])


def test_the_trend_is_the_median_and_the_worst_tenth() -> None:
    there = np.linspace(90, 100, 21)
    axes = drawn(frame_of(*(row(at, there=float(share)) for at, share in enumerate(there))))
    lines = {line.get_label(): line.get_ydata() for line in axes["trend"].lines}
    for name, share in (("median", 95.0), ("worst tenth", 91.0)):
        assert lines[name] == pytest.approx(-np.log10(100 - share + 0.03))
    assert [text.get_text() for text in axes["trend"].get_yticklabels()][:3] == [
        "100", "99.9", "99"
    ]  # fmt: skip


def test_what_is_missing_is_stacked_by_cause() -> None:
    first = row(0, there=99.0) | {"missing_loss_s": 6.0, "missing_reconnect_s": 30.0}
    second = row(1, day=1, there=99.0) | {"missing_loss_s": 0.0, "missing_mute_s": 36.0}
    lost = row(3, there=99.0, start=None) | {"missing_loss_s": 0.0, "missing_dropped_s": 9.0}
    ax = drawn(frame_of(first, second, failed(2), lost))["missing"]
    heights: dict[str, list[float]] = {}
    for bar in ax.patches:
        heights.setdefault(to_hex(bar.get_facecolor()).upper(), []).append(bar.get_height())
    assert heights[COLORS["loss"]] == [6, 0, 0]
    assert heights[COLORS["reconnect"]] == [30, 0, 0]
    assert heights[COLORS["mute"]] == [0, 36, 0]
    assert heights[COLORS["dropped"]] == [0, 0, 9]  # over "no date"
    bar = ax.patches[-1]
    assert bar.get_x() + bar.get_width() / 2 == pytest.approx(ax.get_xticks()[-1])
    assert sorted(keys_of(ax)) == ["dropped: 9.0 s", "loss: 6.0 s", "mute: 36.0 s",
                                   "reconnect: 30.0 s"]  # fmt: skip


def test_the_worst_are_named_with_their_reasons_those_alike_once() -> None:
    frame = frame_of(
        *(row(at) for at in range(40)), row(40, there=50), failed(41), failed(42, "Other: x"),
        failed(43), row(40, there=49) | {"source": "s3://x/call-000040.7.bin"},
    )  # fmt: skip
    ax = drawn(frame)["worst"]
    told = texts_of(ax)
    assert told[2::4] == ["call-000041", "call-000042", "call-000040.7"]
    assert told[3::4] == [
        "(and 1 more) StorageFailed: it is gone", "Other: x",
        "(and another of its streams) 1836.00 of 3600.0 s are missing in 9 gaps: loss 1836.00 s",
    ]  # fmt: skip
    assert told[1::4] == ["", "", "\N{BLACK CIRCLE}"]
    assert ax.get_title(loc="left") == (
        "The worst of 5 that are not as they should be; 2 with a dot stand out from the others"
    )


def test_one_kind_does_not_hide_the_others_and_names_stay_in_their_column() -> None:
    poor = [row(at, there=40) | {"source": f"s3://x/{'W' * 50}{at}.bin"} for at in range(20)]
    frame = frame_of(*poor, row(30, damage="torn"), row(31, there=99.5), row(32, silence_share=1.0))
    ax = drawn(frame)["worst"]
    whys = texts_of(ax)[3::4]
    assert len(whys) == 8
    assert [why.partition(":")[0] for why in whys[5:]] == [
        "18.00 of 3600.0 s are missing in 9 gaps", "damage", "nothing but digital silence",
    ]  # fmt: skip
    names = ax.texts[2::4]
    right = ax.texts[3].get_window_extent().x0
    assert all(one.get_clip_on() and one.get_clip_box().x1 <= right for one in names)


@pytest.mark.parametrize(
    ("count", "days", "style"),
    [(5, 3, DARK), (100, 20, LIGHT), (3000, 90, DARK), (400, 2000, LIGHT)],
)
def test_any_number_can_be_drawn_and_no_legend_lies_on_data(
    count: int, days: int, style: dict[str, str]
) -> None:
    with mpl.rc_context(style):
        figure = Figure(figsize=(11, 8.5), layout="constrained")
        axes = rl.plot_survey(made_up(count, days), figure)
        figure.savefig(io.BytesIO(), dpi=figure.dpi)
        for ax in axes.values():
            legend = ax.get_legend()
            if legend is not None:
                assert legend.get_window_extent().x0 >= ax.get_window_extent().x1 - 1
                assert legend.get_window_extent().x1 <= figure.bbox.x1 + 1


def test_years_are_drawn_by_several_days() -> None:
    ax = drawn(frame_of(row(0), row(1, day=1999)))["missing"]
    assert ax.get_xlabel() == "day (UTC), 5 in a column"


def test_a_clock_that_was_wrong_does_not_stretch_the_picture() -> None:
    frame = pd.concat([made_up(100, 20), frame_of(row(900, day=-20_000), row(901, day=60_000))])
    axes = drawn(frame)
    assert len(cells_of(axes["verdicts"])) == 22
    assert axes["missing"].get_xticklabels()[-1].get_text() == "none, or odd"


def test_all_good_all_failed_one_and_none() -> None:
    good = drawn(frame_of(*(row(at, day=at / 3) for at in range(30))))
    assert texts_of(good["missing"]) == ["nothing is missing"]
    assert good["worst"].get_title(loc="left") == "Nothing is bad"
    gone = drawn(frame_of(*(failed(at) for at in range(40))))
    assert cells_of(gone["verdicts"]) == [[GREY] * 40]
    assert texts_of(gone["missing"]) == ["not measured"]
    assert texts_of(gone["worst"])[3] == "(and 39 more) StorageFailed: it is gone"
    assert cells_of(drawn(frame_of(row(0)))["verdicts"]) == [[BLUE]]
    assert texts_of(drawn(frame_of())["verdicts"]) == ["no captures"]


def test_names_and_errors_from_outside_are_only_text() -> None:
    hostile = "$\\frac{$\x1b[31m\u202e<b>" + "x" * 500
    frame = frame_of(
        failed(0, hostile), row(1, there=5, damage=hostile, name=hostile, participant=7),
        row(2, there=5) | {"source": f"/x/{hostile}", "recording": hostile},
    )  # fmt: skip
    axes = drawn(frame)
    for text in axes["worst"].figure.findobj(Text):
        assert all(c.isprintable() or c == "\n" for c in text.get_text())
        assert len(text.get_text()) <= 120


def test_it_makes_a_figure_of_its_own_and_names_what_is_no_survey() -> None:
    axes = rl.plot_survey(frame_of(row(0)))
    assert plt.gcf() is axes["trend"].figure
    plt.close("all")
    with pytest.raises(InvalidArgument, match="'quality' is one of its measures"):
        rl.plot_survey(pd.DataFrame({"source": ["x"]}))
    assert DAY == 86_400 * 10**9
