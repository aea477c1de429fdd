"""Who was there and who spoke: what was told, whatever its order, and what nobody should tell."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import standup
from helpers.builders import make_capture
from helpers.standup import about
from hypothesis import given, settings
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.analysis.meeting.people import participants, speakers
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument


class Told:
    """The least that has events."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.events = standup.frame(lines)


def spoken(
    *lines: dict[str, Any], audio: tuple[float, float] | None = None
) -> list[tuple[Any, ...]]:
    """Return participant, start, end and completeness of each interval."""
    source: Any = Told(*lines)
    if audio is not None:
        source = make_capture(
            [audio[0]], [round((audio[1] - audio[0]) * 16_000)], events=source.events
        )
    found = speakers(source)
    return list(
        zip(found["participant"], found["start"], found["end"], found["complete"], strict=True)
    )


def test_the_people_of_a_meeting() -> None:
    found = participants(standup.recording()[0])
    assert found.dtypes.astype(str).to_dict() == {
        "participant": "int64", "name": "str", "is_host": "boolean", "platform": "str",
        "email": "str", "joined": "float64", "left": "float64", "events": "int64",
        "note": "str",
    }  # fmt: skip
    assert found["note"].tolist() == ["", ""]
    assert found["participant"].tolist() == [100, 101]
    assert found["name"].tolist() == ["Alice", "Bob"]
    assert found["is_host"].tolist() == [True, False]
    assert found["platform"].tolist() == ["desktop", "mobile"]
    assert found["email"].tolist() == ["a@x.org", ""]
    assert found["joined"].tolist() == [0.0, 0.0]
    assert found["left"].tolist() == [standup.LASTS] * 2
    assert found["events"].tolist() == [2 + 8 * 4, 2 + 6 * 4 + 1]


def test_what_was_told_last_counts_and_who_is_only_heard_is_there_too() -> None:
    renamed = about("update", 101, 5.0)
    renamed["message"]["data"]["data"]["participant"] = {"id": 101, "name": "Robert"}
    silent = make_capture([0.0], participant=7)
    stream = make_capture(
        [0.0], participant=101, events=Told(about("join", 101, 1.0), renamed).events
    )
    found = participants([silent, stream])
    assert found["participant"].tolist() == [7, 101]
    assert found["name"].tolist() == ["", "Robert"]
    assert found["platform"].tolist() == ["", "mobile"]
    assert found["is_host"].isna().tolist() == [True, False]
    assert found["joined"].isna().tolist() == [True, False]
    assert found["events"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("told", "joined", "left"),
    [
        ([("join", 1.0), ("leave", 5.0), ("join", 8.0), ("leave", 9.0)], 1.0, 9.0),
        ([("join", 8.0), ("leave", 5.0), ("join", 1.0)], 1.0, np.nan),  # came back, and stayed
        ([("join", 1.0), ("join", 1.0)], 1.0, np.nan),
        ([("leave", 5.0)], np.nan, 5.0),
        ([("join", 1e300), ("leave", 1e12)], np.nan, np.nan),  # no times at all
    ],
)
def test_when_they_came_and_went(told: list[tuple[str, float]], joined: float, left: float) -> None:
    found = participants(Told(*(about(event, 7, at) for event, at in told)))
    np.testing.assert_array_equal(found[["joined", "left"]].to_numpy()[0], [joined, left])


def test_when_each_spoke_in_a_meeting() -> None:
    found = speakers(standup.recording())
    assert found.dtypes.astype(str).to_dict() == {
        "participant": "int64", "name": "str", "start": "float64", "end": "float64",
        "duration": "float64", "complete": "bool", "note": "str",
    }  # fmt: skip
    truth = list(standup.turns())
    assert found["participant"].tolist() == [turn[0] for turn in truth]
    assert found["start"].tolist() == [turn[1] for turn in truth]
    assert found["end"].tolist() == [turn[2] for turn in truth]
    assert found["name"].tolist()[:2] == ["Alice", "Bob"]
    assert found["complete"].all()
    np.testing.assert_allclose(found["duration"], found["end"] - found["start"])


def test_an_end_that_was_not_told() -> None:
    on = about("speech_on", 7, 3.0)
    assert spoken(on, about("leave", 7, 5.0), audio=(0, 9)) == [(7, 3.0, 5.0, False)]
    assert spoken(on, audio=(0, 9)) == [(7, 3.0, 9.0, False)]
    assert spoken(on, audio=(0, 2)) == []  # after all audio: of no length
    # without audio the last that was told of anybody is the end
    assert spoken(on, about("join", 8, 6.0)) == [(7, 3.0, 6.0, False)]
    assert spoken(on) == []


def test_a_beginning_that_was_not_told() -> None:
    off = about("speech_off", 7, 5.0)
    assert spoken(about("join", 7, 2.0), off, audio=(1, 9)) == [(7, 2.0, 5.0, False)]
    assert spoken(off, audio=(1, 9)) == [(7, 1.0, 5.0, False)]
    assert spoken(off, audio=(6, 9)) == []
    assert spoken(off) == []
    # of their own stream, where it is known
    mixed = make_capture([0.0, 1.0], 16_000, events=Told(off).events)
    own = make_capture([1.0], 16_000, participant=7, events=Told(off).events)
    assert speakers([mixed, own])["start"].tolist() == [1.0]
    assert speakers(mixed)["start"].tolist() == [0.0]


def test_repeats_and_any_order() -> None:
    on, off = about("speech_on", 7, 3.0), about("speech_off", 7, 5.0)
    later = [about("speech_on", 7, 6.0), about("speech_off", 7, 7.0)]
    expected = [(7, 3.0, 5.0, True), (7, 6.0, 7.0, True)]
    assert spoken(on, off, on, off, *later, *later) == expected
    assert spoken(*later[::-1], off, on) == expected
    # an off after an off says nothing
    assert spoken(on, off, about("speech_off", 7, 5.5), *later) == expected
    # an on after an on proves that an off was lost between them
    assert spoken(on, about("speech_on", 7, 4.0), off, *later) == [
        (7, 3.0, 4.0, False), (7, 4.0, 5.0, True), expected[1],
    ]  # fmt: skip
    # who comes back may have spoken since
    back = [about("leave", 7, 5.2), about("join", 7, 5.4), about("speech_off", 7, 5.6)]
    assert spoken(on, off, *back, *later) == [
        expected[0], (7, 5.4, 5.6, False), expected[1],
    ]  # fmt: skip
    assert spoken(on, about("speech_off", 7, 3.0)) == []


def test_nobody() -> None:
    for frame in (participants(Capture(np.zeros(9, np.int16))), speakers(Told())):
        assert frame.empty
    assert speakers(Told()).dtypes.to_dict() == speakers(standup.recording()[0]).dtypes.to_dict()
    assert participants(Told()).dtypes.to_dict() == (
        participants(standup.recording()[0]).dtypes.to_dict()
    )


@pytest.mark.parametrize("wrong", [None, [], 5, "call.bin", [None], pd.DataFrame()])
def test_what_has_no_events(wrong: Any) -> None:
    for function in (participants, speakers):
        with pytest.raises(InvalidArgument, match="the streams of one recording"):
            function(wrong)


def test_streams_of_two_recordings_are_not_one() -> None:
    other = Capture(np.zeros(9, np.int16))
    with pytest.raises(InvalidArgument, match=r"call.*unnamed.*of one alone"):
        speakers([make_capture([0.0]), other])


EVENTS = st.sampled_from(["join", "leave", "speech_on", "speech_off", "update"])
TIMES = st.integers(0, 12).map(float) | st.sampled_from([-5.0, 0.25, 1e8, 1e10])


@given(st.lists(st.tuples(EVENTS, st.integers(1, 3), TIMES), max_size=25), st.randoms())
@settings(max_examples=150, deadline=None)
def test_intervals_are_apart_and_the_order_of_arrival_does_not_matter(
    told: list[tuple[str, int, float]], random: Any
) -> None:
    lines = [about(*one) for one in told]
    found = spoken(*lines, audio=(0, 10))
    random.shuffle(lines)
    for at, line in enumerate(lines):
        line["received"] = at
    assert spoken(*lines, *lines[:5], audio=(0, 10)) == found
    for who in (1, 2, 3):
        mine = [one for one in found if one[0] == who]
        assert all(start < end for _, start, end, _ in mine)
        assert all(a[2] <= b[1] for a, b in itertools.pairwise(mine))
        times = {at for _, one, at in told if one == who} | {0.0, 10.0}
        assert {edge for one in mine for edge in one[1:3]} <= times
        offs = {at for event, one, at in told if (event, one) == ("speech_off", who)}
        assert all(one[2] in offs for one in mine if one[3])


def test_ids_of_63_bits_in_every_frame(
    make: Callable[..., Any], events: Callable[..., Any]
) -> None:
    who = 2**63 - 1
    word = {"text": "x", "start_timestamp": {"relative": 1.0}, "end_timestamp": None}
    payload = {"participant": {"id": who, "name": "Ada"}, "words": [word]}
    told = [("participant_events.join", 0.0), ("participant_events.speech_on", 1.0),
            ("participant_events.speech_off", 2.0), ("transcript.data", 1.0),
            ("participant_events.chat_message", 1.5)]  # fmt: skip
    detail = {"message": {"data": {"data": payload}}}
    rows = [
        {"event": event, "participant": who, "relative": at, "detail": detail} for event, at in told
    ]
    rows.append({"event": "transcript.data", "participant": None, "detail": {"message": {}}})
    capture = make([0.0, 0.2], events=events(*rows))
    assert rl.participants(capture)["participant"].tolist() == [who]
    assert rl.speakers(capture)["participant"].tolist() == [who]
    assert rl.transcript(capture)["participant"].dropna().tolist() == [who]
    assert rl.chat(capture)["participant"].tolist() == [who]
    rl.quality(capture)
    rl.plot_overview(capture)
    rl.plot_speakers(capture)
    plt.close("all")
