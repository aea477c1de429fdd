"""One media clock of what clocks say: each row of the table in ``epochs.py``, at any place."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.builders import NEW_YEAR, make_capture
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.time.analysis import analyse
from recall_lab.analysis.time.gaps import gaps
from recall_lab.analysis.verdict.verdict import findings
from recall_lab.capture.epochs import Epochs, epochs_of

LASTS = 0.2
NS = 1_000_000_000
SPOKEN = np.arange(120) * LASTS
PLACES = st.integers(8, 112)


def told(
    relative: np.ndarray, absolute: np.ndarray | None = None, received: np.ndarray | None = None
) -> Epochs:
    """Return the epochs of packets of 0.2 s; clocks that are not given go on evenly."""
    wall = SPOKEN[: len(relative)] if absolute is None else absolute
    ours = SPOKEN[: len(relative)] if received is None else received
    capture = make_capture(
        relative,
        absolute=NEW_YEAR + 123_456_789 + np.rint(wall * NS).astype(np.int64),
        received=NEW_YEAR + np.rint((ours + 0.23) * NS).astype(np.int64),
        monotonic=np.rint((ours + 100) * NS).astype(np.int64),
    )
    return epochs_of(capture.packets)


def kinds(found: Epochs) -> list[tuple[int, str]]:
    return [(one.at, one.kind) for one in found.breaks]


@given(st.floats(0, 1e5), st.integers(0, 100))
def test_clocks_that_go_on_or_jump_together_part_nothing(jump: float, at: int) -> None:
    all_of_them = SPOKEN + np.where(np.arange(120) > at, jump, 0.0)
    found = told(all_of_them, all_of_them, all_of_them)
    assert found.media.tolist() == all_of_them.tolist()
    assert (found.breaks, found.epoch.any(), len(found.odd)) == ([], False, 0)


@settings(max_examples=60, deadline=None)
@given(PLACES, st.floats(0.3, 1e6), st.floats(0.0, 30.0))
def test_what_falls_back_and_stays_back_is_a_new_epoch(at: int, back: float, passed: float) -> None:
    later = np.arange(120) >= at
    wall = SPOKEN + np.where(later, passed, 0.0)
    found = told(1e6 + SPOKEN - np.where(later, back, 0.0), wall, wall)
    assert kinds(found) == [(at, "restart")]
    assert found.breaks[0].seconds == pytest.approx(LASTS - back)
    assert found.breaks[0].elapsed == pytest.approx(LASTS + passed)
    assert found.epoch.tolist() == later.astype(int).tolist()
    assert np.allclose(found.media - 1e6, wall, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(PLACES, st.floats(0.3, 20.0), st.booleans())
def test_one_late_packet_begins_no_epoch(at: int, back: float, by_wall: bool) -> None:
    late = SPOKEN - np.where(np.arange(120) == at, back, 0.0)
    # the sender's wall clock says the same of a packet that was late; else its stamp is wrong
    found = told(late, late if by_wall else None)
    assert (found.breaks, found.epoch.any()) == ([], False)
    others = np.arange(120) != at
    assert found.media[others].tolist() == SPOKEN[others].tolist()
    assert found.media[at] == pytest.approx(late[at] if by_wall else SPOKEN[at])
    assert found.odd.tolist() == ([] if by_wall else [at])


@settings(max_examples=60, deadline=None)
@given(PLACES, st.one_of(st.floats(0.3, 1e8), st.floats(-1e8, -0.3)), st.integers(1, 3))
def test_up_to_three_wrong_stamps_cost_only_themselves(at: int, off: float, many: int) -> None:
    wrong = SPOKEN.copy()
    wrong[at : at + many] += off
    found = told(wrong)
    assert (found.breaks, found.epoch.any()) == ([], False)
    assert found.odd.tolist() == list(range(at, at + many))
    assert np.allclose(found.media, SPOKEN, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(PLACES, st.floats(0.3, 1e6))
def test_a_media_clock_that_leaps_loses_nothing(at: int, leap: float) -> None:
    found = told(SPOKEN + np.where(np.arange(120) >= at, leap, 0.0))
    assert kinds(found) == [(at, "leap")]
    assert found.breaks[0].seconds == pytest.approx(leap)
    assert np.allclose(found.media, SPOKEN, atol=1e-6)
    assert not found.epoch.any()


@settings(max_examples=60, deadline=None)
@given(PLACES, st.floats(0.3, 1e6))
def test_a_media_clock_that_stands_is_told_and_stays(at: int, stood: float) -> None:
    wall = SPOKEN + np.where(np.arange(120) >= at, stood, 0.0)
    found = told(SPOKEN, wall, wall)
    assert kinds(found) == [(at, "stood")]
    assert found.breaks[0].seconds == pytest.approx(stood)
    assert found.media.tolist() == SPOKEN.tolist()
    assert not found.epoch.any()


@settings(max_examples=60, deadline=None)
@given(PLACES, st.floats(-1e5, 1e5), st.booleans())
def test_one_other_clock_that_jumps_alone_parts_nothing(at: int, jump: float, ours: bool) -> None:
    moved = SPOKEN + np.where(np.arange(120) >= at, abs(jump) if ours else jump, 0.0)
    found = told(SPOKEN, None if ours else moved, moved if ours else None)
    assert (found.breaks, found.epoch.any()) == ([], False)
    assert found.media.tolist() == SPOKEN.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_several_calls_in_one_file_are_laid_one_after_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heads = np.cumsum(rng.integers(10, 30, rng.integers(2, 5)))
    call = np.searchsorted(heads, np.arange(120), side="right")
    paused = np.append(0.0, rng.uniform(0, 60, len(heads))).cumsum()
    first = np.append(0, heads)
    wall = SPOKEN + paused[call]
    found = told(SPOKEN - SPOKEN[first][call], wall, wall)
    assert found.epoch.tolist() == call.tolist()
    assert kinds(found) == [(at, "restart") for at in heads.tolist()]
    assert np.allclose(found.media, wall, atol=1e-6)
    assert (np.diff(found.media) > LASTS - 1e-6).all()


@pytest.mark.parametrize("seconds", [0.0, 12.0])
def test_where_the_wall_clock_makes_no_sense_arrival_lays_epochs(seconds: float) -> None:
    later = SPOKEN >= 10
    relative = SPOKEN - np.where(later, 10.0, 0.0)
    ours = SPOKEN + np.where(later, seconds, 0.0)
    wall = np.random.default_rng(1).uniform(0, 1e6, 120)
    found = told(relative, wall, ours)
    assert kinds(found) == [(50, "restart")]
    assert np.allclose(found.media, ours, atol=1e-6)


def test_a_wall_clock_of_whole_seconds_parts_nothing_by_itself() -> None:
    capture = make_capture(SPOKEN, absolute=NEW_YEAR + SPOKEN.astype(np.int64) * NS)
    found = epochs_of(capture.packets)
    assert (found.breaks, found.media.tolist()) == ([], SPOKEN.tolist())


def test_audio_that_came_late_is_not_laid_over_by_the_next_epoch() -> None:
    # the second call arrives before the first one has ended, by the clocks of both
    relative = np.concatenate([SPOKEN[:60], SPOKEN[:60]])
    wall = np.concatenate([SPOKEN[:60], SPOKEN[:60] + SPOKEN[59] - 0.1])
    found = told(relative, wall, wall)
    assert found.epoch.tolist() == [0] * 60 + [1] * 60
    assert found.media[60] == pytest.approx(60 * LASTS)


def test_nothing_is_dropped_and_an_unknown_time_stays_unknown() -> None:
    relative = SPOKEN.copy()
    relative[60:] -= SPOKEN[60]
    relative[[10, 80]] = np.nan, 1e300
    found = told(relative)
    assert len(found.media) == len(found.epoch) == 120
    assert np.flatnonzero(np.isnan(found.media)).tolist() == [10, 80]
    assert kinds(found) == [(60, "restart")]
    known = ~np.isnan(found.media)
    assert np.allclose(found.media[known], SPOKEN[known], atol=1e-6)
    assert found.epoch.tolist() == [0] * 60 + [1] * 60


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30))
@settings(deadline=None)
def test_whatever_stamps_say_each_packet_is_there(stamps: list[float]) -> None:
    found = told(np.array(stamps, float))
    assert len(found.media) == len(found.epoch) == len(stamps)
    assert np.isfinite(found.media[~np.isnan(found.media)]).all()
    assert (np.diff(found.epoch.astype(int)) >= 0).all()


def test_a_part_keeps_what_lies_inside_it() -> None:
    found = told(SPOKEN - np.where(SPOKEN >= 10, 10.0, 0.0))
    rows = np.arange(40, 100)
    part = found.part(rows, np.zeros(60))
    assert kinds(part) == [(10, "restart")]
    assert part.media.tolist() == found.media[rows].tolist()
    assert kinds(found.part(np.arange(50, 100), np.zeros(50))) == []


def test_clocks_that_stand_all_the_time_tell_nothing() -> None:
    """Frames made by hand have none: once a gap of 3 s was taken for a leap of the media clock."""
    spoken = np.delete(np.arange(600), np.arange(200, 230)) * 0.1
    still = np.full(len(spoken), NEW_YEAR)
    capture = make_capture(
        spoken, 1600, absolute=still, received=still, monotonic=np.zeros(len(spoken))
    )
    told = gaps(capture)
    assert told[["start", "duration"]].to_numpy().tolist() == [
        [pytest.approx(20), pytest.approx(3)]
    ]
    assert "clock_rate" not in set(findings(capture, sound=False)["finding"])


@pytest.mark.parametrize("speed", [0.5, 4.0, 50.0])
def test_hidden_loss_is_seen_in_a_replay(speed: float) -> None:
    spoken = np.arange(600) * 0.1
    wall = spoken + np.where(spoken >= 30, 18.0, 0.0)
    came = np.rint(wall / speed * 1e9)
    capture = make_capture(
        spoken, 1600, absolute=NEW_YEAR + np.rint(wall * 1e9), received=NEW_YEAR + came,
        monotonic=came,
    )  # fmt: skip
    assert analyse(capture).unexplained == pytest.approx(18)
    assert gaps(capture).empty
