"""The explorer's side in the kernel: what it answers, what it refuses, what it keeps."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import standup
from helpers.builders import make_capture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import recall_lab as rl
from recall_lab.analysis.sound.pyramid import BINS
from recall_lab.analysis.time.analysis import analyse
from recall_lab.capture.capture import Capture
from recall_lab.errors import CaptureNotFound, InvalidArgument, MissingExtra
from recall_lab.notebook.explorer import (
    LONGEST_CLIP,
    MOST_GAPS,
    MOST_TALKS,
    MOST_WORDS,
    Explorer,
)

RATE = 16_000
RNG = np.random.default_rng(11)


class Answers:
    """What an explorer would have sent to the page."""

    def __init__(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        self.explorer = explorer
        object.__setattr__(explorer, "send", self._send)

    def _send(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        self.sent.append((content, buffers or []))

    def to(self, **question: Any) -> tuple[dict[str, Any], list[bytes]]:
        self.explorer._asked(self.explorer, question, [])
        return self.sent[-1]


@pytest.fixture
def lossy(root: Path) -> Capture:
    return rl.load(root / "data" / "standup-lossy.bin")


def test_what_it_shows_is_what_the_pyramid_says(lossy: Capture) -> None:
    ask = Answers(rl.explore(lossy))
    answer, data = ask.to(kind="view", id="a 1", start=2.0, end=4.0, columns=400)
    assert (answer["kind"], answer["id"], answer["bins"]) == ("view", "a 1", BINS)
    count = answer["count"]
    codes = np.frombuffer(data[0], np.uint8).reshape(count, BINS)
    low, high, rms, missing = (np.frombuffer(part, np.float32) for part in data[1:5])
    absolute, received = (np.frombuffer(part, np.float64) for part in data[5:])
    seen = rl.explore(lossy)._pyramid.view(2.0, 4.0, 400)
    assert answer["start"] == seen.start
    assert answer["width"] == seen.width
    np.testing.assert_array_equal(codes, seen.codes)
    for ours, theirs in ((low, seen.low), (high, seen.high), (missing, seen.missing)):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(rms, seen.rms)
    assert len(absolute) == len(received) == count + 1


def test_its_clocks_are_the_packets(lossy: Capture) -> None:
    ask = Answers(rl.explore(lossy))
    packets = lossy.packets
    for row in (0, 10, len(packets) - 1):
        packet = packets.iloc[row]
        start = packet["relative"]
        # one edge of the view's columns lies where the packet begins
        answer, data = ask.to(kind="view", start=start, end=start + 0.1, columns=10)
        edges = answer["start"] + np.arange(answer["count"] + 1) * answer["width"]
        for at, clock in ((5, "absolute"), (6, "received")):
            told = np.interp(start, edges, np.frombuffer(data[at], np.float64))
            assert told == pytest.approx(packet[clock].timestamp() * 1e3, abs=1.0)  # ms


@pytest.mark.parametrize(("start", "end"), [(0.0, 10.0), (3.3, 5.0), (0.9, 1.6), (11.5, 20.0)])
def test_what_it_plays_is_the_capture_bit_for_bit(lossy: Capture, start: float, end: float) -> None:
    answer, (clip,) = Answers(rl.explore(lossy)).to(kind="sound", id=5, start=start, end=end)
    samples, rate = soundfile.read(io.BytesIO(clip), dtype="int16")
    assert rate == RATE
    line = rl.timeline(lossy)
    low, high = round((start - line.start) * RATE), round((end - line.start) * RATE)
    np.testing.assert_array_equal(samples, line.samples[low:high])
    assert answer == {"kind": "sound", "id": 5, "start": pytest.approx(start, abs=1 / RATE)}


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ({"kind": "sound", "start": 0, "end": LONGEST_CLIP + 1}, "a clip of up to 10 s"),
        ({"kind": "sound", "start": 100, "end": 101}, "within the capture"),
        ({"kind": "sound", "start": 5, "end": 4}, "a clip of up to 10 s"),
        ({"kind": "sound", "start": float("nan"), "end": 4}, "NaN"),
        ({"kind": "view", "start": 0, "end": 1, "columns": 10**9}, "columns"),
        ({"kind": "view", "start": 0, "end": 1, "columns": 1.5}, "columns"),
        ({"kind": "view", "start": 1, "end": 0, "columns": 5}, "the first one first"),
        ({"kind": "file", "start": 0, "end": 1}, "'view' or 'sound'"),
        ({"kind": "view"}, "start"),
        ({}, "kind"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_why(
    lossy: Capture, question: dict[str, Any], told: str
) -> None:
    answer, data = Answers(rl.explore(lossy)).to(id="x", **question)
    assert answer["kind"] == "error"
    assert answer["id"] == "x"
    assert told in answer["text"]
    assert data == []


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.one_of(JSON, st.fixed_dictionaries({
    "kind": st.sampled_from(["view", "sound", "x"]), "start": JSON, "end": JSON, "columns": JSON,
})))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_question_harms_it(question: Any) -> None:
    explorer = Explorer(analyse(Capture(np.zeros(RATE, np.int16))))
    answers = Answers(explorer)
    explorer._asked(explorer, question, [])
    assert answers.sent[-1][0]["kind"] in ("view", "sound", "error")
    explorer.close()


def test_a_mark_at_no_time_is_refused(lossy: Capture) -> None:
    explorer = rl.explore(lossy)
    for time in (10**400, "soon", None, 1e12):
        with pytest.raises(InvalidArgument, match="marks"):
            explorer.marked = [{"time": time}]
    explorer.close()


def test_marks_are_a_frame_on_both_clocks(lossy: Capture) -> None:
    explorer = rl.explore(lossy)
    assert explorer.marks.empty
    packets = lossy.packets
    explorer.mark(float(packets["relative"].iloc[20]), "here")
    explorer.marked = [*explorer.marked, {"time": 0.0, "label": "<b>first</b>"}]  # as the page does
    marks = explorer.marks
    assert marks["label"].tolist() == ["<b>first</b>", "here"]
    assert marks["relative"].tolist() == [0.0, packets["relative"].iloc[20]]
    assert marks.dtypes.astype(str).to_dict()["absolute"] == "datetime64[ns, UTC]"
    away = marks["absolute"] - packets["absolute"].iloc[[0, 20]].reset_index(drop=True)
    assert (away.abs() < pd.Timedelta("2us")).all()


def test_marks_of_a_bare_file_have_no_absolute_time() -> None:
    explorer = rl.explore(Capture(np.zeros(RATE, np.int16)))
    explorer.mark(0.5)
    assert explorer.marks["absolute"].isna().all()
    answer, data = Answers(explorer).to(kind="view", start=0, end=1, columns=10)
    assert answer["kind"] == "view"
    assert data[5:] == [b"", b""]


@pytest.mark.parametrize(
    "marks", [[{"label": "no time"}], [{"time": "soon"}], [{"time": float("nan")}], ["x"], [None]]
)
def test_marks_that_are_none_are_refused(marks: list[Any]) -> None:
    explorer = rl.explore(Capture(np.zeros(RATE, np.int16)))
    with pytest.raises(InvalidArgument, match="marks"):
        explorer.marked = marks
    assert explorer.marked == []


def test_what_is_shown_can_be_set(lossy: Capture) -> None:
    explorer = rl.explore(lossy, 2, 5)
    assert explorer.span == (2.0, 5.0)
    explorer.span = (3.0, 4.0)
    assert explorer.span == (3.0, 4.0)
    for wrong in ((4.0, 3.0), (float("nan"), 1.0), (0.0, 1e12)):
        with pytest.raises(InvalidArgument, match="span"):
            explorer.span = wrong
    with pytest.raises(InvalidArgument, match="span"):
        rl.explore(lossy, 5, 2)


def test_the_list_has_the_longest_gaps_in_order(make) -> None:  # type: ignore[no-untyped-def]
    lengths = RNG.uniform(0.01, 0.5, MOST_GAPS + 200)
    relative = np.arange(20 * len(lengths)) * 0.01 + np.repeat(np.cumsum(lengths), 20)
    explorer = rl.explore(make(relative, 160))  # twenty packets between two gaps
    assert explorer.facts["gapsInAll"] == len(lengths) - 1
    shown = explorer.facts["gaps"]
    assert len(shown) == MOST_GAPS
    assert [gap["start"] for gap in shown] == sorted(gap["start"] for gap in shown)
    durations = [gap["end"] - gap["start"] for gap in shown]
    assert min(durations) == pytest.approx(np.sort(lengths[1:])[-MOST_GAPS], abs=1e-6)
    assert shown[0].keys() == {"start", "end", "cause", "color", "evidence"}


def test_a_still_picture_stays_in_the_notebook(lossy: Capture) -> None:
    explorer = rl.explore(lossy)
    pixels = np.asarray(Image.open(io.BytesIO(explorer._still())).convert("RGB"))
    assert pixels.shape == (420, 1000, 3)
    for color, least in (((0, 114, 178), 5_000), ((213, 94, 0), 300)):  # waveform; gaps
        assert (np.abs(pixels.astype(int) - color).max(axis=-1) < 3).sum() > least
    assert repr(explorer).startswith("<Explorer of standup-lossy, 0:00:12.000, 1.10 s missing")


def test_who_speaks_is_sent_with_the_facts() -> None:
    explorer = rl.explore(standup.recording()[1])
    facts = explorer.facts
    assert [one["name"] for one in facts["people"]] == ["Alice", "Bob"]
    assert len({one["color"] for one in facts["people"]}) == 2
    truth = [(who - 100, start, end) for who, start, end, _ in standup.turns()]
    assert [(one["row"], one["start"], one["end"]) for one in facts["talks"]] == truth
    assert (facts["talksInAll"], facts["wordsInAll"]) == (14, 138)
    many = rl.explore(standup.recording(80)[0]).facts
    assert (len(many["talks"]), many["talksInAll"]) == (MOST_TALKS, 1_120)
    starts = [one["start"] for one in many["talks"]]
    assert starts == sorted(starts)
    assert min(one["end"] - one["start"] for one in many["talks"]) > 2.24  # the shortest turn


def test_words_come_with_what_is_seen_of_them() -> None:
    explorer = rl.explore(standup.recording(10)[0], 11, 14.2)
    assert [one["text"] for one in explorer.first["words"]][:3] == ["Nice.", "Was", "that"]
    ask = Answers(explorer)
    answer, _ = ask.to(kind="view", start=0.0, end=3.0, columns=100)
    words = answer["words"]
    assert " ".join(one["text"] for one in words) == "Good morning, Bob. Shall we start?"
    assert {one["row"] for one in words} == {0}
    assert len({one["utterance"] for one in words}) == 1
    assert answer["wordsInView"] == len(words) == 6
    answer, _ = ask.to(kind="view", start=0.0, end=560.0, columns=100)
    assert (answer["words"], answer["wordsInView"]) == ([], 1_380)
    answer, _ = ask.to(kind="view", start=0.0, end=56.0 * 3, columns=100)
    assert len(answer["words"]) == 3 * 138 <= MOST_WORDS


def test_nothing_is_said_of_speakers_where_nothing_was_told(lossy: Capture) -> None:
    explorer = rl.explore(lossy)
    assert explorer.facts["people"] == explorer.facts["talks"] == []
    assert explorer.facts["talksInAll"] == explorer.facts["wordsInAll"] == 0
    assert (explorer.first["words"], explorer.first["wordsInView"]) == ([], 0)


def test_the_still_picture_has_a_lane_of_speakers() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(rl.explore(standup.recording()[1])._still())))
    colors = np.asarray(
        Image.open(io.BytesIO(rl.explore(standup.recording()[1])._still())).convert("RGB")
    )
    assert pixels.shape == (450, 1000)
    for color in ((204, 121, 167), (230, 159, 0)):
        assert (np.abs(colors.astype(int) - color).max(axis=-1) < 8).sum() > 1_000, color


def test_displayed_it_is_a_still_picture_and_the_live_one(
    lossy: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "recall_lab.notebook.explorer.display", lambda data, raw, metadata=None: shown.append(data)
    )
    explorer = rl.explore(lossy)
    explorer._ipython_display_()
    live, still = shown
    assert base64.b64decode(still["image/png"])[1:4] == b"PNG"
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert len(str(shown)) < 400_000  # the file is not in it


def test_the_page_gets_one_readable_script_that_loads_nothing(root: Path) -> None:
    script = (root / "recall_lab" / "notebook" / "explorer.js").read_text()
    assert Explorer._esm == script or str(Explorer._esm) == script
    assert "http" not in script
    assert "import " not in script
    assert "innerHTML" not in script
    assert max(len(line) for line in script.splitlines()) <= 130


def test_nothing_but_a_capture_can_be_explored() -> None:
    with pytest.raises(InvalidArgument, match="a capture, what analyse"):
        rl.explore(7)
    with pytest.raises(CaptureNotFound):
        rl.explore("captures/x.bin")


def test_without_the_extra_it_says_what_to_install(
    lossy: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "recall_lab.notebook.explorer", raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtra, match=r"recall_lab\[lab\]"):
        rl.explore(lossy)


def test_the_page_is_told_where_words_have_no_blank_between() -> None:
    told = standup.words(
        100, ("so", 0.1, 0.2), ("\u4f1a", 0.2, 0.3), ("\u8b70", 0.3, 0.4), ("ok", 0.4, 0.5)
    )
    capture = make_capture(np.arange(10) * 0.1, 1600, events=standup.frame([told]))
    words = rl.explore(capture)._said(0.0, 1.0)["words"]
    assert [word["blank"] for word in words] == [False, True, False, True]
