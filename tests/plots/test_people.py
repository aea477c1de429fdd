"""Who speaks when as lanes, and what is said: true, apart, and safe to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import standup
from helpers.builders import NEW_YEAR, make_capture
from helpers.standup import about, words
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recall_lab.analysis.time.analysis import analyse
from recall_lab.errors import InvalidArgument
from recall_lab.plots.fonts import MISSING
from recall_lab.plots.people import (
    ALL_ROWS,
    MOST_ROWS,
    ROW_COLORS,
    people_of,
    plot_speakers,
)
from recall_lab.plots.style import BLUE


class Told:
    """The least that has events."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.events = standup.frame(lines)


@pytest.fixture
def ax() -> Axes:
    return Figure(figsize=(10, 3), layout="constrained").subplots()


def drawn(ax: Axes) -> None:
    ax.figure.savefig("/dev/null", format="png")


def bars_of(ax: Axes) -> list[tuple[float, float, float]]:
    """Return the left, right and middle of each bar, by left."""
    boxes = [path.get_extents() for one in ax.collections for path in one.get_paths()]
    return sorted((round(b.x0, 6), round(b.x1, 6), round((b.y0 + b.y1) / 2, 6)) for b in boxes)


def overlaps(ax: Axes) -> int:
    """Return how many pairs of texts on the picture cover one another."""
    boxes = [text.get_window_extent() for text in ax.texts]
    return sum(
        boxes[a].overlaps(boxes[b]) for a in range(len(boxes)) for b in range(a + 1, len(boxes))
    )


def test_a_lane_a_participant_with_the_intervals(ax: Axes) -> None:
    before = dict(mpl.rcParams)
    assert plot_speakers(standup.recording(), ax) is ax
    truth = list(standup.turns())
    expected = sorted((start, end, float(who == 101)) for who, start, end, _ in truth)
    assert bars_of(ax) == [(a, b, pytest.approx(y)) for a, b, y in expected]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Alice", "Bob"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    assert ax.get_xlim() == (0, standup.LASTS)
    assert ax.get_xlabel() == "relative time (s)"
    assert ax.get_title(loc="left") == "call: 14 times of speech by 2 participants"
    seconds = sum(end - start for who, start, end, _ in truth if who == 100)
    assert ax.texts[0].get_text() == f"{seconds:.1f} s, {seconds / standup.LASTS:.0%}"
    assert ax.get_legend() is None
    drawn(ax)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("start", "end"), [(0, 56), (10, 16), (3, 4), (0, 3)])
def test_words_stand_at_their_time_and_apart(ax: Axes, start: float, end: float) -> None:
    plot_speakers(standup.recording(), ax, words=True, start=start, end=end, title="x")
    drawn(ax)
    assert len(ax.texts) > 2
    assert overlaps(ax) == 0
    said = [(text.get_text(), *text.xy) for text in ax.texts if hasattr(text, "xy")]
    truth = {round(at, 3): text for _, at, _, text in standup.turns()}
    for text, x, _ in said:
        if len(text.split()) > 1 and (start, end) == (0, 56):
            assert truth[round(x, 3)].startswith(text.removesuffix("…").strip())


def test_hours_are_thinned_out(ax: Axes) -> None:
    plot_speakers(standup.recording(30), ax, words=True)
    drawn(ax)
    assert 10 < len(ax.texts) < 100
    assert overlaps(ax) == 0


def test_what_was_not_told_is_pale_and_explained(ax: Axes) -> None:
    told = Told(about("speech_on", 7, 1.0), about("speech_on", 8, 5.0), about("leave", 8, 9.0))
    plot_speakers(make_capture([0.0], 160_000, events=told.events), ax)
    assert [(a, b) for a, b, _ in bars_of(ax)] == [(1.0, 10.0), (5.0, 9.0)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["an end was not told"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "participant 7", "participant 8",
    ]  # fmt: skip


def test_of_many_those_who_speak_most_have_a_lane(ax: Axes) -> None:
    lines = []
    for who in range(1, 21):
        lines += [
            about("speech_on", who, who * 10.0),
            about("speech_off", who, who * 10.0 + who / 4),
        ]
    people = people_of(Told(*lines))
    assert len(people.labels) == MOST_ROWS
    assert len(ROW_COLORS) == ALL_ROWS
    assert people.labels[-1] == "13 others"
    assert set(people.labels[:-1]) == {f"participant {who}" for who in range(14, 21)}
    assert (people.spans["row"] == MOST_ROWS - 1).sum() == 13
    plot_speakers(Told(*lines), ax)
    assert len(bars_of(ax)) == 20
    drawn(ax)
    eight = people_of(Told(*lines[:16]))
    assert eight.labels[-1] == "participant 8"
    assert BLUE in ROW_COLORS


def test_all_sixteen_have_a_lane_and_others_never_sum_above_the_time(ax: Axes) -> None:
    lines = []
    for who in range(1, 17):
        lines += [about("speech_on", who, 0.0), about("speech_off", who, 20.0)]
    plot_speakers(Told(*lines), ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"participant {who}" for who in range(1, 17)
    ]
    few = Figure(figsize=(10, 3), layout="constrained").subplots()
    plot_speakers(Told(*lines), few, rows=4)
    assert [label.get_text() for label in few.get_yticklabels()][-1] == "13 others"
    assert [text.get_text() for text in few.texts] == ["20.0 s, 100%"] * 4
    for wrong in (0, 17, True, 2.0, "all"):
        with pytest.raises(InvalidArgument, match="rows"):
            plot_speakers(Told(*lines), rows=wrong)  # type: ignore[arg-type]


def test_lanes_of_one_name_or_one_id_carry_the_id() -> None:
    def spoke(who: int, name: str, start: float) -> list[dict[str, Any]]:
        told = [about("join", who, start), about("speech_on", who, start + 1),
                about("speech_off", who, start + 2), about("leave", who, start + 3)]  # fmt: skip
        for line in told:
            line["message"]["data"]["data"]["participant"]["name"] = name
        return told

    again = [*spoke(7, "Ann", 0), *spoke(8, "Ann", 1), *spoke(9, "Bob", 2), *spoke(9, "Cy", 8)]
    assert people_of(Told(*again)).labels == ("Ann (7)", "Ann (8)", "Bob (9)", "Cy (9)")
    renamed = spoke(5, "Al", 0)
    renamed[2]["message"]["data"]["data"]["participant"]["name"] = "Alan"
    renamed[3]["message"]["data"]["data"]["participant"]["name"] = "Alan"
    people = people_of(Told(*renamed))
    assert people.labels == ("Alan (was Al)",)
    assert people.spans["row"].tolist() == [0]


def test_whoever_is_only_in_the_transcript_has_words(ax: Axes) -> None:
    people = people_of(Told(words(100, ("hello", 1.0, 1.5)), words(-5, ("you", None, None))))
    assert people.spans.empty
    assert people.labels == ("Alice",)
    assert people.words["text"].tolist() == ["hello"]
    plot_speakers(Told(words(100, ("hello", 1.0, 1.5))), ax, words=True)
    assert ax.get_title(loc="left") == "recording: no events say who speaks"


def test_nothing_can_be_drawn(ax: Axes) -> None:
    plot_speakers(Told(), ax, words=True)
    plot_speakers(make_capture([]), ax)
    drawn(ax)
    assert (
        plot_speakers(make_capture([0.0])).get_title(loc="left") == "call: no events say who speaks"
    )
    plt.close("all")


def test_on_the_wall_clock_and_in_part(ax: Axes) -> None:
    plot_speakers(standup.recording()[1], ax, clock="absolute", start=10, end=20)
    low, high = ax.get_xlim()
    assert high - low == pytest.approx(10)
    assert "absolute time (UTC), 2026-01-01" in ax.get_xlabel()
    for options, told in (
        ({"clock": "mine"}, "clock"), ({"start": 5, "end": 3}, "start, end"),
        ({"start": "now"}, "with a zone"), ({"start": np.nan}, "start, end"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=told):
            plot_speakers(standup.recording(), ax, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="where there are no packets"):
        plot_speakers(Told(), ax, clock="absolute")


def test_letters_that_no_font_has_are_squares_and_told_once(ax: Axes) -> None:
    lines = [
        about("speech_on", 7, 1.0, name="x"), about("speech_off", 7, 5.0),
        words(7, ("\N{EGYPTIAN HIEROGLYPH A001}", 1.0, 2.0), ("\U0010fffd", 3.0, 4.0)),
    ]  # fmt: skip
    plot_speakers(Told(*lines), ax, words=True)
    drawn(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [MISSING]
    plain = Figure(figsize=(10, 3), layout="constrained").subplots()
    plot_speakers(Told(*lines[:2]), plain, words=True)
    assert plain.get_legend() is None


def test_words_and_speakers_stand_right_after_the_wall_clock_was_set(ax: Axes) -> None:
    told = Told(
        about("speech_on", 1, 5.0), about("speech_off", 1, 8.0),
        about("speech_on", 1, 28.0), about("speech_off", 1, 33.0),
        words(1, ("early", 6.0, 6.5), ("late", 31.0, 31.5)),
    )  # fmt: skip
    relative = np.arange(600) * 0.1
    wall = np.rint((relative + np.where(relative >= 30, 50.0, 0.0)) * 1e9)
    capture = make_capture(relative, 1600, events=told.events, absolute=NEW_YEAR + wall)
    plot_speakers(capture, ax, words=True, clock="absolute")
    start = NEW_YEAR / 1e9
    # the second is cut where the clock was set
    assert [(round(a - start, 2), round(b - start, 2)) for a, b, _ in bars_of(ax)] == [
        (5.0, 8.0), (28.0, 30.0), (80.0, 83.0),
    ]  # fmt: skip
    at = {
        text.get_text(): text.xy[0] - start for text in ax.texts if text.get_text() in "early late"
    }
    assert at == {"early": pytest.approx(6.0), "late": pytest.approx(81.0)}


def test_a_path_and_an_analysis_will_do_and_nothing_else(ax: Axes, root: Path) -> None:
    path = root / "data/standup-lossy.bin"
    for source in (path, str(path), [path], analyse(path)):
        assert plot_speakers(source, ax).get_title(loc="left").startswith("standup-lossy")
    with pytest.raises(InvalidArgument):
        plot_speakers(7, ax)
