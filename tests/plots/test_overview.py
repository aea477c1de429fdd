"""One picture of it all: every lane on one axis, and true."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from helpers import standup
from helpers.builders import make_capture
from matplotlib.figure import Figure

from recall_lab.analysis.sound.mos import mean_mos, mos
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.loading import load
from recall_lab.plots.overview import LANES, plot_overview
from recall_lab.store.audio_files import from_audio


@pytest.fixture
def figure() -> Figure:
    return Figure(figsize=(11, 7), layout="constrained")


def test_the_lanes_share_one_axis_of_time(figure: Figure, root: Path) -> None:
    before = dict(mpl.rcParams)
    lanes = plot_overview(load(root / "data/standup-broken.100.bin"), figure)
    assert tuple(lanes) == LANES
    assert {ax.get_xlim() for ax in lanes.values()} == {(24, 37)}
    assert lanes["gaps"].get_xlabel() == "relative time (s)"
    figure.savefig("/dev/null", format="png")
    edges = {
        (round(ax.get_position().x0, 6), round(ax.get_position().x1, 6)) for ax in lanes.values()
    }
    assert len(edges) == 1  # else the lanes would not stand below one another
    told = [text.get_text() for text in lanes["gaps"].get_legend().get_texts()]
    assert told == ["audio", "reconnect: 2.98 s", "mute: 1.92 s", "silence: 0.42 s"]
    assert lanes["speech"].get_legend().get_texts()[0].get_text() == "speech: 34%"
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("clock", ["relative", "absolute"])
def test_a_part_on_either_clock(figure: Figure, root: Path, clock: str) -> None:
    broken = load(root / "data/standup-broken.100.bin")
    lanes = plot_overview(broken, figure, clock=clock, start=26, end=30, frequency="mel")
    low, high = lanes["gaps"].get_xlim()
    assert high - low == pytest.approx(4)
    assert (low == 26) == (clock == "relative")
    told = [text.get_text() for text in lanes["gaps"].get_legend().get_texts()]
    assert told == ["audio", "mute: 1.92 s"]


def test_without_packets_nothing_is_said_of_gaps(figure: Figure, root: Path) -> None:
    lanes = plot_overview(from_audio(root / "data/standup.wav"), figure, detector="neural")
    told = [text.get_text() for text in lanes["gaps"].get_legend().get_texts()]
    assert told == ["no packets to tell by"]
    with pytest.raises(InvalidArgument, match="detector='ear'"):
        plot_overview(Capture(np.ones(9, "<i2")), Figure(), detector="ear")


@pytest.mark.parametrize("samples", [0, 1, 1000])
def test_little_can_be_drawn(figure: Figure, samples: int) -> None:
    plot_overview(Capture(np.ones(samples, "<i2")), figure)
    figure.savefig("/dev/null", format="png")


def test_speakers_and_words_have_lanes_where_events_tell_of_them(figure: Figure) -> None:
    lanes = plot_overview(standup.recording()[0], figure)
    assert tuple(lanes) == (*LANES[:3], "words", "speakers", *LANES[3:])
    assert {ax.get_xlim() for ax in lanes.values()} == {(0, standup.LASTS)}
    figure.savefig("/dev/null", format="png")
    tops = [ax.get_position().y1 for ax in lanes.values()]
    assert tops == sorted(tops, reverse=True)
    assert len({round(ax.get_position().x0, 6) for ax in lanes.values()}) == 1
    assert [name.get_text() for name in lanes["speakers"].get_yticklabels()] == ["Alice", "Bob"]
    told = [text.get_text() for text in lanes["words"].texts]
    assert told.pop() == "138 words"
    assert len(told) == 14
    assert told[0].startswith("Good morning, Bob.")
    boxes = [text.get_window_extent() for text in lanes["words"].texts]
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[at + 1 :])
    assert {ax for ax, lane in lanes.items() if lane.get_xlabel()} == {"gaps"}


def test_words_of_seconds_and_of_hours(figure: Figure) -> None:
    near = plot_overview(standup.recording()[0], figure, start=11, end=14, clock="absolute")
    assert [text.get_text() for text in near["words"].texts[:3]] == ["Nice.", "Was", "that"]
    long = plot_overview(standup.recording(30)[1], Figure(figsize=(11, 7), layout="constrained"))
    (told,) = long["words"].texts
    assert told.get_text().startswith("4,140 words,\nup to ")


def test_only_one_of_them(figure: Figure) -> None:
    spoken = standup.frame([standup.about("speech_on", 100, 0.1)])
    lanes = plot_overview(make_capture([0.0], 16_000, events=spoken), figure)
    assert tuple(lanes) == (*LANES[:3], "speakers", *LANES[3:])
    said = [standup.words(100, ("yes", 0.2, 0.3)), standup.words(101, ("no", 0.6, None))]
    capture = make_capture([0.0], 16_000, events=standup.frame(said))
    lanes = plot_overview(capture, Figure(figsize=(11, 7), layout="constrained"))
    assert tuple(lanes) == (*LANES[:3], "words", *LANES[3:])
    # no lane says whose they are
    assert [one.get_text() for one in lanes["words"].texts] == ["Alice: yes", "Bob: no", "2 words"]


def test_how_good_it_sounds_has_a_lane_if_asked_for(figure: Figure, root: Path) -> None:
    capture = load(root / "data/standup-lossy.bin")
    lanes = plot_overview(capture, figure, mos=True)
    assert tuple(lanes) == (*LANES[:3], "mos", *LANES[3:])
    found = mos(capture)
    drawn = [line.get_segments()[0] for line in lanes["mos"].collections]
    told = [(one[0][0], one[1][0], one[0][1]) for one in drawn]
    assert told == [pytest.approx(tuple(row)) for row in found[["start", "end", "mos"]].to_numpy()]
    (text,) = lanes["mos"].get_legend().get_texts()
    assert text.get_text() == f"estimated: {mean_mos(found):.1f}"
    silent = make_capture([0.0], 16_000)
    lanes = plot_overview(silent, Figure(figsize=(11, 7), layout="constrained"), mos=True)
    assert lanes["mos"].get_legend().get_texts()[0].get_text() == "no speech to score"
