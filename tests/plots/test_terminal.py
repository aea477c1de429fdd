"""What a terminal tells of clocks: each oddity once, and none where there is none."""

from __future__ import annotations

import numpy as np
from helpers.builders import NEW_YEAR, make_capture

import recall_lab as rl
from recall_lab.plots.terminal import describe, gap_table

CALL = np.arange(1200) * 0.1


def call(media: np.ndarray, wall: np.ndarray = CALL, came: np.ndarray = CALL) -> rl.Capture:
    """A call of packets of 0.1 s by its three clocks, s."""
    return make_capture(
        media, 1600,
        absolute=NEW_YEAR + np.rint(wall * 1e9),
        received=NEW_YEAR + np.rint(came * 1e9),
        monotonic=np.rint(came * 1e9),
    )  # fmt: skip


def clocks(source: object) -> list[str]:
    """Return what is said of clocks."""
    lines = describe(source).splitlines()
    return [line.removeprefix("clock").strip() for line in lines if line.startswith("clock")]


def test_a_call_that_simply_runs_on_has_nothing_to_tell_of_its_clocks() -> None:
    assert clocks(call(CALL)) == []
    assert clocks(call(CALL, wall=CALL + np.where(CALL > 50, 3.0, 0))) == []  # told by clock_steps
    assert clocks(rl.Capture(np.zeros(9, np.int16))) == []


def test_epochs_leaps_and_unexplained_time_are_told_with_when_and_how_much() -> None:
    again = CALL - np.where(CALL >= 90, 90.0, np.where(CALL >= 25, 25.0, 0))
    assert clocks(call(again)) == ["relative begins again at 25.000 s, 90.000 s: 3 epochs"]
    assert clocks(call(CALL + np.where(CALL >= 20, 3600.0, 0))) == [
        "relative leaps by +3,600.000 s at 20.000 s, and no other clock: nothing is missing there"
    ]
    wall = CALL + np.where(CALL >= 70, 28.0, np.where(CALL >= 30, 18.0, 0.0))
    assert clocks(call(CALL, wall, wall)) == [
        "28.000 s unexplained: the media clock stood while both wall clocks ran on "
        "(18.000 s at 30.000 s, 10.000 s at 70.000 s)"
    ]
    often = CALL - CALL // 10 * 10
    (told,) = clocks(call(often))
    assert told == (
        "relative begins again at 10.000 s, 20.000 s, 30.000 s, 40.000 s, and 7 more: 12 epochs"
    )


def test_a_replay_and_an_impossible_stamp_are_told() -> None:
    assert clocks(call(CALL, came=CALL / 10)) == [
        "a replay at 10 times its speed: jitter, delay and drift against our clock tell nothing"
    ]
    assert clocks(call(CALL, came=CALL * 0)) == [
        "a replay, all at once: jitter, delay and drift against our clock tell nothing"
    ]
    astray = CALL.copy()
    astray[40] = 9.9e8
    assert clocks(call(astray)) == ["1 packet with an impossible stamp, placed by the one before"]


def test_the_table_lists_what_is_unexplained_beside_the_gaps() -> None:
    kept = np.delete(CALL, 900)
    wall = kept + np.where(kept >= 30, 18.0, 0.0)
    known = rl.analyse(call(kept, wall, wall))
    told = gap_table(known.discontinuities).splitlines()
    assert told[1].split()[:4] == ["30.000", "30.000", "18.000", "unexplained"]
    assert told[2].split()[:4] == ["90.000", "90.100", "0.100", "loss"]
    assert told[-2:] == [
        "missing: 0.100 s in 1 gap (loss 0.100 s)",
        "unexplained: 18.000 s in 1 place",
    ]
    assert "unexplained" not in gap_table(known.gaps)
