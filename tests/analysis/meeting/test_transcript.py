"""Words and chat messages: each once, in order, and nothing that can't be read ends it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import standup
from helpers.builders import make_capture
from helpers.standup import about, words
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.meeting.people import participants, speakers
from recall_lab.analysis.meeting.transcript import chat, corrections, transcript
from recall_lab.analysis.time.gaps import gaps
from recall_lab.errors import InvalidArgument


class Told:
    """The least that has events."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.events = standup.frame(lines)


def test_the_words_of_a_meeting() -> None:
    streams = standup.recording()
    found = transcript(streams[0])
    assert found.dtypes.astype(str).to_dict() == {
        "participant": "Int64", "name": "str", "text": "str", "start": "float64",
        "end": "float64", "final": "bool", "utterance": "int64",
        "received": "datetime64[ns, UTC]",
        "absolute": "datetime64[ns, UTC]", "language": "str",
    }  # fmt: skip
    truth = [word for *_, text in standup.turns() for word in text.split()]
    assert found["text"].tolist() == truth
    assert found["final"].all()
    assert found["name"].unique().tolist() == ["Alice", "Bob"]
    first = found[found["utterance"] == found["utterance"][0]]
    assert (first["start"].iloc[0], first["end"].iloc[-1]) == (0.7, 2.94)
    events = streams[0].events
    assert set(events.loc[found["utterance"].unique(), "event"]) == {"transcript.data"}
    assert (found["received"] == events.loc[found["utterance"], "received"].to_numpy()).all()
    pd.testing.assert_frame_equal(transcript(streams), found)


def test_guesses_are_there_when_asked_for() -> None:
    found = transcript(standup.recording()[0], partial=True)
    assert (~found["final"]).sum() == 14 * 3
    assert (
        found.loc[found["final"], "text"].tolist()
        == transcript(standup.recording())["text"].tolist()
    )


def test_a_transcript_that_came_twice_is_one() -> None:
    once = words(100, ("yes", 1.0, 1.5), ("but", 1.5, None))
    again = words(100, ("yes", 1.0, 1.5), ("but", 1.5, 1.8))
    whose = words(101, ("yes", 1.0, 1.5), ("but", 1.5, None))
    timeless = words(100, ("yes", None, None))
    assert transcript(Told(once, again, once, whose))["text"].tolist() == ["yes", "but"] * 3
    # nothing tells whether it was said twice
    assert transcript(Told(timeless, timeless))["text"].tolist() == ["yes", "yes"]


def test_words_without_times_come_last_and_names_are_known_from_elsewhere() -> None:
    nameless = words(100, ("b", 5.0, None), ("?", None, None))
    del nameless["message"]["data"]["data"]["participant"]["name"]
    nobody = words(100, ("a", 2.0, 2.5))
    del nobody["message"]["data"]["data"]["participant"]
    told = Told(words(100, ("late", None, None)), nameless, nobody, about("join", 100, 0.0))
    found = transcript(told)
    assert found["text"].tolist() == ["a", "b", "?", "late"]
    assert found["name"].tolist() == ["", "Alice", "Alice", "Alice"]
    assert found["participant"].isna().tolist() == [True, False, False, False]
    np.testing.assert_array_equal(found["end"], [2.5, np.nan, np.nan, np.nan])
    # an event is as early as the first of its words that has a time
    assert sorted(told.events["relative"].dropna()) == [0.0, 2.0, 5.0]


def test_no_end_is_invented_and_words_are_joined_as_their_script_does() -> None:
    open_ = words(100, ("so", 1.0, 1.4), ("on", 1.5, None))
    over = words(100, ("he", 5.0, 5.9), ("is", 5.1, 5.2), (".", None, None))
    japanese = words(101, ("\u4f1a\u8b70", 7.0, 7.5), ("\u3092", 7.5, 7.6), ("Zoom", 7.6, 8.0))
    japanese["message"]["data"]["data"]["language_code"] = "ja"
    found = transcript(Told(japanese, over, open_), by="utterance")
    assert found["text"].tolist() == ["so on", "he is.", "\u4f1a\u8b70\u3092Zoom"]
    np.testing.assert_array_equal(found["end"], [np.nan, 5.9, 8.0])
    assert found["language"].tolist() == ["", "", "ja"]
    assert transcript(Told(japanese))["language"].tolist() == ["ja"] * 3


def test_times_on_the_wall_clock_are_kept_or_told_by_the_packets() -> None:
    told = words(100, ("a", 0.1, 0.2), ("b", 0.25, 0.3), ("c", 0.35, None), ("d", None, None))
    stamps = [word["start_timestamp"] for word in told["message"]["data"]["data"]["words"]]
    stamps[0]["absolute"] = "2026-01-01T01:00:00.125+01:00"
    stamps[1]["absolute"] = 1_767_225_600.5
    stamps[2]["absolute"] = "soon"
    capture = make_capture([0.0, 0.2], events=Told(told).events)
    start = pd.Timestamp("2026-01-01", tz="UTC")
    away = [(time - start).total_seconds() for time in transcript(capture)["absolute"]]
    np.testing.assert_allclose(away, [0.125, 0.5, 0.35, np.nan])
    alone = transcript(Told(told))["absolute"]
    assert alone.isna().tolist() == [False, False, True, True]
    assert (transcript(capture, by="utterance")["absolute"][0] - start).total_seconds() == 0.125


def test_what_became_of_guesses() -> None:
    partial = "transcript.partial_data"
    first = words(100, ("won", 1.0, 1.3), event=partial)
    more = words(100, ("won", 1.0, 1.3), ("two", 1.3, 1.6), ("sea", 1.6, 1.9), event=partial)
    final = words(
        100, ("one", 1.0, 1.3), ("two", 1.3, 1.6), ("three", 1.6, 1.9), ("four", 2.0, 2.4)
    )
    alone = words(100, ("lost", 9.0, 9.5), event=partial)
    other = words(101, ("won", 1.0, 1.3), event=partial)
    uh = words(101, ("uh", 20.0, 20.2), ("yes", 20.2, 20.5), event=partial)
    yes = words(101, ("yes", 20.2, 20.5))
    found = corrections(Told(yes, uh, first, final, more, alone, other))
    assert found.dtypes.astype(str).to_dict() == {
        "participant": "Int64", "name": "str", "start": "float64", "partial": "str",
        "final": "str", "utterance": "int64",
    }  # fmt: skip
    assert found[["name", "start", "partial", "final"]].to_numpy().tolist() == [
        ["Alice", 1.0, "won", "one"], ["Alice", 1.6, "sea", "three"], ["Bob", 20.0, "uh", ""],
    ]  # fmt: skip
    assert corrections(standup.recording()).empty


def test_the_chat() -> None:
    hello = about("chat_message", 101, 3.0, data={"text": "hello", "to": "everyone"})
    early = about("chat_message", 100, 1.0, data={"text": "<b>early</b>", "to": None})
    empty = about("chat_message", 100, 9.0, data=None)
    found = chat(Told(hello, early, hello, empty))
    assert found.dtypes.astype(str).to_dict() == {
        "participant": "Int64", "name": "str", "relative": "float64", "to": "str", "text": "str",
    }  # fmt: skip
    assert found["text"].tolist() == ["<b>early</b>", "hello", ""]
    assert found["to"].tolist() == ["", "everyone", ""]
    assert found["name"].tolist() == ["Alice", "Bob", "Alice"]
    assert found["relative"].tolist() == [1.0, 3.0, 9.0]
    assert chat(standup.recording())["text"].tolist() == ["the plot?"]


def test_nothing_said() -> None:
    for function in (transcript, chat):
        none, some = function(Told()), function(standup.recording())
        assert none.empty
        assert none.dtypes.to_dict() == some.dtypes.to_dict()
        with pytest.raises(InvalidArgument, match="the streams of one recording"):
            function(None)  # type: ignore[arg-type]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([10**300, -(2**63), 2**63, 1e308])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
STAMP = JSON | st.fixed_dictionaries({"relative": JSON})
WORD = JSON | st.fixed_dictionaries(
    {"text": JSON, "start_timestamp": STAMP, "end_timestamp": STAMP}
)
PERSON = JSON | st.fixed_dictionaries(
    {"id": JSON | st.integers(0, 3)}, optional={"name": JSON, "is_host": JSON, "email": JSON}
)
PAYLOAD = JSON | st.fixed_dictionaries(
    {}, optional={
        "participant": PERSON, "timestamp": STAMP, "data": JSON | st.fixed_dictionaries(
            {"text": JSON, "to": JSON}
        ), "words": JSON | st.lists(WORD, max_size=3),
    },
)  # fmt: skip
NAMES = st.sampled_from(
    [f"participant_events.{name}" for name in ("join", "leave", "speech_on", "chat_message")]
    + ["participant_events.speech_off", "transcript.data", "transcript.partial_data"]
)
LINE = st.builds(
    lambda fields, payload: {**fields, "message": {"data": {"data": payload}}},
    st.fixed_dictionaries(
        {"kind": st.just("event") | JSON, "event": NAMES | JSON},
        optional={"received": JSON, "monotonic": JSON, "connection": JSON, "receiver": JSON},
    ),
    PAYLOAD,
)


@given(st.lists(LINE | JSON, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_journal_harms_anything_that_reads_it(lines: list[Any]) -> None:
    events = standup.frame(lines)
    assert len(events) <= len(lines)
    capture = make_capture([0.0, 0.2, 5.0], participant=1, events=events)
    json.dumps(transcript(capture, partial=True)["text"].tolist())
    for frame in (chat(capture), participants(capture), speakers(capture)):
        for name in frame.columns.intersection(["name", "text", "to"]):
            assert all(isinstance(value, str) for value in frame[name])
    told = speakers(capture)
    assert (told["duration"] > 0).all()
    assert np.isfinite(told[["start", "end"]].to_numpy()).all()
    starts = transcript(capture, partial=True)["start"]
    assert all(math.isnan(start) or abs(start) <= 1e9 for start in starts)
    assert len(gaps(capture)) == 1


def test_by_utterance_each_is_one_text() -> None:
    mixed = standup.recording()[0]
    words, said = transcript(mixed), transcript(mixed, by="utterance")
    assert len(said) == words["utterance"].nunique()
    assert said["utterance"].is_unique
    for one in said.itertuples():
        own = words[words["utterance"] == one.utterance]
        assert one.text == " ".join(own["text"])
        assert (one.start, one.end) == (own["start"].min(), own["end"].max())
    assert said.dtypes.to_dict() == words.dtypes.to_dict()
    with pytest.raises(InvalidArgument, match="'word' or 'utterance'"):
        transcript(mixed, by="letter")  # type: ignore[arg-type]
