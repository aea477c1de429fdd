"""Attribution: each wrong turn that was made is found, and none else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import standup
from helpers.meetings import ALICE, BOB, CAROL, events_of, leaking, stream, voices

import recall_lab as rl
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.errors import InvalidArgument

RATE = 16_000
TURNS = [(who, start, end) for who, start, end, _ in standup.turns() if not 23 < start < 27]
SAID = [("events", *turn) for turn in TURNS] + [("words", *turn) for turn in TURNS]
# both speak there, and neither is heard in the voices that were taken apart
OVER = [(source, who, start, end) for source in ("events", "words")
        for who, start, end, _ in standup.turns() if 23 < start < 27]  # fmt: skip


def meeting(
    told: list[tuple[str, int, float, float]], shared: tuple[float, float] | None = None,
    leak: float | None = None, mixed: bool = True,
) -> list[rl.Capture]:  # fmt: skip
    """Return streams of Alice, Bob and Carol, who is silent, and the mixed one."""
    said = voices() | {CAROL: np.zeros(int(standup.LASTS * RATE))}
    if leak is not None:
        said[BOB] = said[BOB] + leaking(said[ALICE], leak, 0.2)
    events = events_of(told)
    names = {ALICE: "Alice", BOB: "Bob", CAROL: "Carol"}
    streams = [stream(sound, who, names[who], events=events) for who, sound in said.items()]
    total = np.sum(list(said.values()), axis=0)
    if shared:
        low, high = (round(time * RATE) for time in shared)
        time = np.arange(high - low) / RATE
        total[low:high] += sum(0.03 * np.sin(2 * np.pi * hertz * time) for hertz in (330, 415, 494))
    return [*streams, stream(total, None, events=events)] if mixed else streams


def told(streams: list[rl.Capture]) -> list[dict[str, Any]]:
    return rl.attribution(streams).to_dict("records")


@pytest.mark.parametrize("leak", [None, 8.0])
def test_a_meeting_that_is_told_rightly(leak: float | None) -> None:
    table = rl.attribution(meeting(SAID + OVER, leak=leak))
    assert table.empty
    assert [str(kind) for kind in table.dtypes] == [
        "str", "float64", "float64", "float64", "Int64", "str", "Int64", "str", "str",
    ]  # fmt: skip


def test_speech_that_nobody_tells() -> None:
    streams = meeting([one for one in SAID + OVER if one[2] != 14.78])
    (row,) = told(streams)
    assert (row["kind"], row["stream"], row["stream_name"]) == ("untold", BOB, "Bob")
    assert pd.isna(row["participant"])
    assert (row["start"], row["end"]) == pytest.approx((14.78, 18.77), abs=0.4)


@pytest.mark.parametrize("source", ["events", "words"])
def test_words_that_nobody_carries(source: str) -> None:
    (row,) = told(meeting([*SAID, *OVER, (source, CAROL, 34.0, 35.0)]))
    assert (row["kind"], row["participant"], row["name"]) == ("unheard", CAROL, "Carol")
    assert row["told_by"] == source
    assert (row["start"], row["end"]) == pytest.approx((34, 35), abs=0.02)
    assert pd.isna(row["stream"])


def test_what_is_told_of_another() -> None:
    wrong = [(source, CAROL if start == 14.78 else who, start, end)
             for source, who, start, end in SAID + OVER]  # fmt: skip
    rows = told(meeting(wrong))
    assert {row["told_by"] for row in rows} == {"events", "words"}
    for row in rows:
        assert (row["kind"], row["name"], row["stream_name"]) == ("wrong_person", "Carol", "Bob")
        assert (row["start"], row["end"]) == pytest.approx((14.78, 18.77), abs=0.1)


def test_a_screen_that_is_shared_with_its_sound() -> None:
    (row,) = told(meeting(SAID + OVER, shared=(33.5, 36.5)))
    assert row["kind"] == "only_in_mix"
    assert (row["start"], row["end"]) == pytest.approx((33.5, 36.5), abs=0.3)
    # somebody told, whose stream is lost
    (row,) = told(meeting([*SAID, *OVER, ("events", CAROL, 33.5, 36.5)], shared=(33.5, 36.5)))
    assert (row["kind"], row["participant"]) == ("only_in_mix", CAROL)


def test_the_mixed_stream_alone() -> None:
    mixed = meeting([*SAID, *OVER, ("events", CAROL, 34.0, 36.0)])[-1]
    (row,) = told([mixed])
    assert (row["kind"], row["participant"]) == ("unheard", CAROL)
    (row,) = rl.attribution(meeting([one for one in SAID + OVER if one[2] != 14.78])[-1]).to_dict(
        "records"
    )
    assert row["kind"] == "untold"


def test_nothing_is_untold_where_nothing_tells() -> None:
    assert rl.attribution(meeting([])).empty
    assert rl.attribution(meeting([], mixed=False)).empty
    with pytest.raises(InvalidArgument, match="detector"):
        rl.attribution(meeting([]), detector="ear")


def test_all_of_it_is_found_of_a_recording() -> None:
    wrong = [one for one in SAID + OVER if one[2] != 14.78]
    streams = meeting([*wrong, ("events", CAROL, 34.0, 35.5)], leak=12.0)
    found = rl.findings(streams)
    of_streams = found[[CATALOGUE[key].about == "streams" for key in found["finding"]]]
    rows = dict(zip(of_streams["finding"], of_streams["stream"], strict=True))
    assert rows == {"voice_leak": "call.101", "untold": "call.101", "unheard": "call.102"}
    evidence = dict(zip(of_streams["finding"], of_streams["evidence"], strict=True))
    assert evidence["voice_leak"].startswith("Alice is heard in the stream of Bob: 12.")
    assert evidence["unheard"].startswith(
        "Carol is told to speak, and no stream carries it: 1 time"
    )
    quick = rl.findings(streams, sound=False)
    assert not {CATALOGUE[key].about for key in quick["finding"]} & {"streams", "sound"}
    assert "voice_leak" not in set(rl.findings(streams[1])["finding"])
