"""Times of events where the media clock begins again: on the one clock that all else is told by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.builders import NEW_YEAR, make_capture, make_events

import recall_lab as rl
from recall_lab.capture.capture import Capture


def word(text: str, start: float, end: float | None = None) -> dict[str, object]:
    stop = None if end is None else {"relative": end}
    return {"text": text, "start_timestamp": {"relative": start}, "end_timestamp": stop}


def said(*words: object) -> dict[str, object]:
    return {"message": {"event": "transcript.data", "data": {"data": {"words": list(words)}}}}


def at(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(NEW_YEAR + round(seconds * 1e9), tz="UTC")


def twice(*events: dict[str, object]) -> Capture:
    """Return 30 s, and after 10 s that nobody brought 20 s more, whose relative begins again."""
    relative = np.concatenate([np.arange(150), np.arange(100)]) * 0.2
    passed = np.concatenate([np.arange(150) * 0.2, 40 + np.arange(100) * 0.2])
    wall = NEW_YEAR + np.rint(passed * 1e9).astype(np.int64)
    told = [
        {"kind": "event", "participant": 7, "detail": {}} | one | {"received": one["received"]}
        for one in events
    ]
    frame = make_events(*[one | {"received": int(one["received"].value)} for one in told])  # type: ignore[attr-defined]
    return make_capture(
        relative, 3200, absolute=wall, received=wall + 230_000_000,
        monotonic=np.rint((passed + 100.23) * 1e9).astype(np.int64), events=frame,
    )  # fmt: skip


def test_an_event_of_the_second_epoch_is_told_on_the_one_clock() -> None:
    capture = twice(
        {"event": "participant_events.speech_on", "relative": 5.0, "received": at(5.3)},
        {"event": "participant_events.speech_on", "relative": 5.0, "received": at(45.3)},
    )
    assert capture.events["relative"].tolist() == pytest.approx([5.0, 45.0])


def test_a_transcript_that_comes_late_is_of_the_epoch_that_it_was_said_in() -> None:
    late = said(word("late", 28.0, 28.5), word("words", 28.6))
    capture = twice(
        {"event": "transcript.data", "detail": late, "received": at(41.5)},
        {"event": "transcript.data", "detail": said(word("new", 3.0, 3.2)),
         "received": at(44.0)},
    )  # fmt: skip
    words = rl.transcript(capture)
    assert words["start"].tolist() == pytest.approx([28.0, 28.6, 43.0])
    assert late == said(word("late", 28.0, 28.5), word("words", 28.6))  # what was told stays


def test_without_a_restart_events_are_what_they_were() -> None:
    frame = make_events({"event": "x", "relative": 5.0, "detail": {"words": "none"}})
    capture = make_capture(np.arange(20) * 0.2, events=frame)
    assert capture.events["relative"].tolist() == [5.0]
    assert capture.events["detail"].tolist() == [{"words": "none"}]


def test_words_of_any_shape_are_passed_on() -> None:
    odd = said(None, {"text": "x"}, {"text": "y", "start_timestamp": {"relative": "soon"}})
    capture = twice({"event": "transcript.data", "detail": odd, "received": at(45.0)})
    assert capture.events["detail"].tolist() == [odd]
