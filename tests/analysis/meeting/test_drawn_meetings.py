"""People and words of drawn meetings are those of their truth, in whatever order they came."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from helpers.drawn_meetings import arrived, draw, lines_of, told
from helpers.often import often
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.meeting.people import participants, speakers
from recall_lab.analysis.meeting.transcript import chat, corrections, transcript


def same(found: pd.DataFrame, truth: pd.DataFrame, seed: int) -> None:
    pd.testing.assert_frame_equal(
        told(found, truth), told(truth, truth), check_exact=True, obj=f"meeting {seed}"
    )


@pytest.mark.statistics
@pytest.mark.parametrize("first", range(0, often(100, 200), 50))
def test_people_and_words_of_drawn_meetings_are_the_truth(first: int) -> None:
    for seed in range(first, first + 50):
        meeting = draw(seed)
        recording = arrived(lines_of(meeting, stale=seed % 2 > 0))
        same(participants(recording, by="interval"), meeting.truth.people, seed)
        same(speakers(recording), meeting.truth.turns, seed)
        same(transcript(recording), meeting.truth.words, seed)


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_arrival_changes_nothing(seed: int, rng: Any) -> None:
    lines = lines_of(draw(seed), stale=seed % 2 > 0)
    came, other = arrived(lines), arrived(lines, rng)
    for by in ("person", "interval"):
        pd.testing.assert_frame_equal(participants(came, by=by), participants(other, by=by))
    pd.testing.assert_frame_equal(speakers(came), speakers(other))
    pd.testing.assert_frame_equal(chat(came), chat(other))
    for function in (lambda x: transcript(x, partial=True), corrections):
        a, b = (
            function(x).drop(columns=["utterance", "received"], errors="ignore")
            for x in (came, other)
        )
        pd.testing.assert_frame_equal(a, b)


def test_there_is_all_that_befalls_a_meeting_among_them() -> None:
    meetings = [draw(seed) for seed in range(200)]
    voices = [voice for meeting in meetings for voice in meeting.voices]
    turns = [turn for voice in voices for turn in voice.turns]
    ids = [[voice.participant.id for voice in meeting.voices] for meeting in meetings]
    assert sum(len(set(own)) < len(own) for own in ids) > 50
    assert sum(len(voice.stays) > 1 for voice in voices) > 50
    assert sum(bool(voice.changes) for voice in voices) > 100
    assert sum(voice.participant.name is None for voice in voices) > 50
    assert sum(bool(turn.guess) for turn in turns) > 100
    assert sum(not turn.off for turn in turns) > 100
