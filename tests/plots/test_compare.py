"""A comparison as a picture: what is drawn, against what was found."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from compare import as_int16, capture_of, meeting, recording_of  # type: ignore[attr-defined]
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import recall_lab as rl
from recall_lab.errors import InvalidArgument
from recall_lab.plots.compare import COLORS, LANES

RATE = 16_000


@pytest.fixture
def figure() -> Figure:
    return Figure(figsize=(11, 6), layout="constrained")


@pytest.fixture(scope="module")
def partly() -> rl.Comparison:
    """A call of two minutes against a recording that has the middle of it."""
    sound = meeting(120, 31)
    recording, _ = recording_of(sound, 1, -20.0, 83.0, noise=-35)
    return rl.compare(capture_of(sound, 1), recording[: 80 * RATE])


@pytest.fixture(scope="module")
def short() -> rl.Comparison:
    """Eight seconds against themselves, with ten seconds of blank."""
    sound = meeting(8, 32)
    return rl.compare(capture_of(sound, 1), np.append(as_int16(sound), np.zeros(160_000, "<i2")))


def legend_of(lanes: dict[str, mpl.axes.Axes], lane: str) -> list[str]:
    legend = lanes[lane].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_the_lanes_show_what_was_found(partly: rl.Comparison, figure: Figure) -> None:
    before = dict(mpl.rcParams)
    lanes = rl.plot_compare(partly, figure)
    assert tuple(lanes) == LANES
    assert {ax.get_xlim() for ax in lanes.values()} == {(0, 120)}
    assert lanes["gaps"].get_xlabel() == "relative time (min:s)"
    assert (
        lanes["pieces"]
        .get_title(loc="left")
        .endswith("relative time 0 is at -20.000 s of the recording")
    )
    (fit,) = [text for text in legend_of(lanes, "lag") if text.startswith("offset")]
    assert f"{partly.offset:+.6f} s" in fit
    assert f"drift: {partly.drift:+.3f} ppm" in fit
    assert f"median: {partly.level:+.2f} dB" in legend_of(lanes, "level")
    (points,) = [line for line in lanes["similarity"].lines if line.get_label() == "windows"]
    told = partly.similarity.dropna(subset=["lag"])
    np.testing.assert_allclose(points.get_ydata(), told["similarity"])
    assert lanes["similarity"].get_ylim() == (0, 1.05)
    for name, unit in (("lag", "s)"), ("similarity", "(0 to 1)"), ("level", "(dB)")):
        assert lanes[name].get_ylabel().endswith(unit)
    figure.savefig("/dev/null", format="png")
    assert dict(mpl.rcParams) == before


def test_gaps_are_coloured_by_whether_they_can_be_had_back(
    partly: rl.Comparison, figure: Figure
) -> None:
    lanes = rl.plot_compare(partly, figure)
    drawn = {
        to_hex(band.get_facecolor()[0]): len(band.get_paths())
        for band in lanes["gaps"].collections
        if len(band.get_facecolor())
    }
    had = partly.gaps["recorded"]
    assert 0 < drawn[COLORS["can be filled"].lower()] <= had.sum()
    assert 0 < drawn[COLORS["can't be filled"].lower()] <= (~had).sum()
    seconds = partly.gaps.loc[had, "duration"].sum()
    assert f"can be filled: {seconds:.2f} s in {had.sum()} gaps" in legend_of(lanes, "gaps")


def test_legends_stand_beside_what_is_drawn(partly: rl.Comparison, figure: Figure) -> None:
    lanes = rl.plot_compare(partly, figure)
    figure.savefig("/dev/null", format="png")
    boxes = [ax.get_legend().get_window_extent() for ax in lanes.values()]  # type: ignore[union-attr]
    for box, ax in zip(boxes, lanes.values(), strict=True):
        assert box.x0 >= ax.get_window_extent().x1 - 1
        assert box.x1 <= figure.bbox.x1 + 1
    for above, below in pairwise(boxes):
        assert above.y0 >= below.y1 - 1


def test_short_and_long_captures_can_be_drawn(short: rl.Comparison, figure: Figure) -> None:
    lanes = rl.plot_compare(short, figure, title="a $name$")
    assert lanes["pieces"].get_title(loc="left") == "a $name$"
    assert "too short to tell" in legend_of(lanes, "lag")[-1]
    assert lanes["gaps"].get_xlabel() == "relative time (s)"
    figure.savefig("/dev/null", format="png")
    bare = rl.compare(rl.Capture(as_int16(meeting(8, 32))), as_int16(meeting(8, 32)))
    rl.plot_compare(bare, Figure(layout="constrained"))["gaps"].figure.savefig(
        "/dev/null", format="png"
    )


def test_pieces_are_drawn_with_their_offsets_and_what_one_has_alone(figure: Figure) -> None:
    sound = meeting(120, 33)
    made = np.concatenate(
        [meeting(6, 34), sound[: 40 * RATE], -0.5 * sound[52 * RATE : 90 * RATE], meeting(15, 35),
         sound[90 * RATE :]]
    )  # fmt: skip
    found = rl.compare(capture_of(sound, 1), as_int16(made))
    lanes = rl.plot_compare(found, figure)
    title = lanes["pieces"].get_title(loc="left")
    assert title.endswith("% lie in the recording, in 3 pieces")
    written = [text.get_text() for text in lanes["pieces"].texts]
    assert written == ["+6.000 s", "-6.000 s", "+9.000 s"]
    keys = legend_of(lanes, "pieces")
    assert keys[:2] == ["on one line: 2 pieces", "on one line: 1 piece, inverted"]
    assert [key.split(":")[0] for key in keys[2:]] == [
        "in the capture only", "in the recording only",
    ]  # fmt: skip
    assert f"mean of all: {found.alike:.3f}" in legend_of(lanes, "similarity")
    assert found.alike < 0.95
    figure.savefig("/dev/null", format="png")


def test_a_wave_upside_down_is_in_the_title(short: rl.Comparison, figure: Figure) -> None:
    sound = meeting(8, 32)
    turned = rl.compare(capture_of(sound, 1), -as_int16(sound))
    title = rl.plot_compare(turned, figure)["pieces"].get_title(loc="left")
    assert title.endswith("+0.000 s of the recording, polarity inverted")
    plain = rl.plot_compare(short, Figure(layout="constrained"))["pieces"].get_title(loc="left")
    assert "polarity" not in plain


def test_what_is_no_comparison(figure: Figure) -> None:
    with pytest.raises(InvalidArgument, match="comparison="):
        rl.plot_compare(rl.Capture(np.zeros(5, np.int16)), figure)  # type: ignore[arg-type]
