"""Who had which id when: what was told late, twice, at one moment, or not at all."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from helpers import standup
from helpers.builders import make_capture
from helpers.standup import about, words

from recall_lab.analysis.meeting.people import participants, speakers
from recall_lab.analysis.meeting.transcript import transcript
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.errors import InvalidArgument
from recall_lab.wire.messages import Participant


class Told:
    """The least that has events."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.events = standup.frame(lines)


def named(line: dict[str, Any], name: str | None, **more: Any) -> dict[str, Any]:
    """Return a line in which a participant has another name."""
    line["message"]["data"]["data"]["participant"] |= {"name": name, **more}
    return line


def at(event: str, when: float, name: str | None, **more: Any) -> dict[str, Any]:
    return named(about(event, 7, when), name, **more)


def said(text: str, when: float, name: str | None) -> dict[str, Any]:
    return named(words(7, (text, when, when + 0.2)), name)


def intervals(*lines: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return name, start and end of each interval, and hold all orders of arrival to it."""
    found = []
    orders = itertools.islice(itertools.permutations(range(len(lines))), 0, 720, 37)
    for order in orders:
        for number, line in zip(order, lines, strict=True):
            line["received"] = number
        frame = participants(Told(*lines), by="interval")
        found.append(list(zip(frame["name"], frame["start"], frame["end"], strict=True)))
    assert all(repr(one) == repr(found[0]) for one in found)
    return found[0]


def test_a_late_transcript_does_not_undo_a_rename() -> None:
    lines = [
        at("join", 0.0, "Bob"), at("update", 10.0, "Robert"), said("old", 5.0, "Bob"),
        said("stale", 12.0, "Bob"), at("leave", 20.0, "Robert"),
    ]  # fmt: skip
    assert intervals(*lines) == [("Bob", 0.0, 10.0), ("Robert", 10.0, 20.0)]
    found = transcript(Told(*lines))
    assert found["name"].tolist() == ["Bob", "Robert"]
    assert participants(Told(*lines))["name"].tolist() == ["Robert"]
    # nor where the join was lost
    assert intervals(*lines[1:]) == [("Bob", pytest.approx(np.nan, nan_ok=True), 10.0),
                                     ("Robert", 10.0, 20.0)]  # fmt: skip


def test_an_id_of_two_people_at_one_moment() -> None:
    lines = [
        at("join", 0.0, "Alice"), at("speech_on", 4.0, "Alice"), at("speech_off", 5.0, "Alice"),
        at("leave", 5.0, "Alice"), at("join", 5.0, "Carol"), at("speech_on", 5.0, "Carol"),
        at("speech_off", 8.0, "Carol"), at("leave", 9.0, "Carol"),
    ]  # fmt: skip
    assert intervals(*lines) == [("Alice", 0.0, 5.0), ("Carol", 5.0, 9.0)]
    found = speakers(Told(*lines))
    assert found["name"].tolist() == ["Alice", "Carol"]
    assert found["complete"].all()
    people = participants(Told(*lines))
    assert people[["participant", "name", "joined", "left", "events"]].to_numpy().tolist() == [
        [7, "Alice", 0.0, 5.0, 2], [7, "Carol", 5.0, 9.0, 6],
    ]  # fmt: skip


def test_rejoins_and_who_is_who() -> None:
    rejoined = [at("join", 0.0, "Alice"), at("leave", 5.0, None), at("join", 8.0, None)]
    assert intervals(*rejoined) == [
        ("Alice", 0.0, 5.0), ("Alice", 8.0, pytest.approx(np.nan, nan_ok=True)),
    ]  # fmt: skip
    assert len(participants(Told(*rejoined))) == 1
    back = [*rejoined[:2], at("join", 6.0, "Carol"), at("leave", 7.0, "Carol"),
            at("join", 8.0, "Alice")]  # fmt: skip
    assert participants(Told(*back))["name"].tolist() == ["Alice", "Carol"]
    # by the address it is one person whatever the name, and two of one name
    same = [at("join", 0.0, "Al", email="a@x"), at("leave", 5.0, "Al", email="a@x"),
            at("join", 8.0, "Alice", email="a@x")]  # fmt: skip
    assert participants(Told(*same))["name"].tolist() == ["Alice"]
    two = [at("join", 0.0, "Al", email="a@x"), at("leave", 5.0, "Al"),
           at("join", 8.0, "Al", email="b@x")]  # fmt: skip
    assert participants(Told(*two))["email"].tolist() == ["a@x", "b@x"]


def test_a_lost_leave_ends_with_the_next_join() -> None:
    lines = [at("join", 0.0, "Alice"), at("speech_on", 4.0, "Alice"), at("join", 9.0, "Carol")]
    assert intervals(*lines)[0] == ("Alice", 0.0, 9.0)
    found = speakers(Told(*lines, at("speech_off", 12.0, "Carol")))
    assert found[["name", "start", "end", "complete"]].to_numpy().tolist() == [
        ["Alice", 4.0, 9.0, False], ["Carol", 9.0, 12.0, False],
    ]  # fmt: skip
    assert found["note"].tolist() == ["no speech_off: another has the id", "no speech_on"]


def test_speech_of_who_is_not_there_is_told() -> None:
    lines = [
        at("join", 2.0, "A"), at("speech_on", 4.0, "A"), at("leave", 5.0, "A"),
        at("speech_off", 6.0, "A"), at("speech_on", 7.0, "A"), at("speech_off", 8.0, "A"),
    ]  # fmt: skip
    found = speakers(Told(*lines))
    assert found[["start", "end", "complete"]].to_numpy().tolist() == [
        [4.0, 5.0, False], [7.0, 8.0, True],
    ]  # fmt: skip
    assert found["note"].tolist() == [
        "speech_off at 6.000 s, after they left at 5.000 s", "after they left at 5.000 s",
    ]  # fmt: skip
    note = participants(Told(*lines))["note"].tolist()
    assert note == ["speech_off at 6.000 s, after they left at 5.000 s"]
    early = participants(Told(said("x", 1.0, "A"), at("join", 2.0, "A")))["note"].tolist()
    assert early == ["speech at 1.000 s, before they joined at 2.000 s"]


def test_a_name_that_comes_late_was_theirs_before() -> None:
    lines = [at("join", 0.0, None), at("speech_on", 1.0, None), at("speech_off", 2.0, None)]
    audio = at("x", 8.0, "Ada") | {"kind": "participant", "event": "audio_separate_raw.data"}
    assert intervals(*lines, audio) == [("Ada", 0.0, pytest.approx(np.nan, nan_ok=True))]
    assert speakers(Told(*lines, audio))["name"].tolist() == ["Ada"]


def test_a_part_of_a_stream_is_not_its_first_owners() -> None:
    lines = [at("join", 0.0, "Alice"), at("leave", 5.0, "Alice"), at("join", 6.0, "Carol"),
             at("speech_on", 7.0, "Carol"), at("speech_off", 9.0, "Carol")]  # fmt: skip
    one = make_capture(np.arange(100) * 0.1, 1600, events=Told(*lines).events)
    info = CaptureInfo(recording="call", participant=Participant(7, "Alice"))
    whole = Capture(one.samples, one.packets, info, events=lambda: one.events)
    assert speakers(whole)["name"].tolist() == ["Carol"]
    assert speakers(whole.slice(6.5, 9.5))["name"].tolist() == ["Carol"]


def test_only_a_stream_tells_of_them() -> None:
    info = CaptureInfo(recording="call", participant=Participant(7, "Ada", email="a@x"))
    alone = Capture(np.zeros(9, np.int16), info=info)
    assert participants(alone)[["name", "email", "events"]].to_numpy().tolist() == [
        ["Ada", "a@x", 0]
    ]
    with pytest.raises(InvalidArgument, match="'person' or 'interval'"):
        participants(alone, by="day")  # type: ignore[arg-type]


def test_an_id_that_joins_all_the_time_costs_little() -> None:
    lines = []
    for number in range(3_000):
        lines += [at("join", number + 0.1, f"N{number}"), at("speech_on", number + 0.2, None)]
    assert len(participants(Told(*lines))) == 3_000
    assert speakers(Told(*lines))["name"].nunique() == 2_999
