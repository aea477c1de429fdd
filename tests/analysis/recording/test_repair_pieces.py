"""Repairs from recordings that are cut, stepped or of another meeting: no word is out of place."""

from __future__ import annotations

import numpy as np
import pytest
from compare import as_int16, capture_of, meeting, recording_of  # type: ignore[attr-defined]
from helpers.often import often
from repairs import draw, judge  # type: ignore[attr-defined]

import recall_lab as rl
from recall_lab.errors import InvalidArgument, RecordingMismatch

RATE = 16_000


@pytest.fixture(scope="module")
def call() -> np.ndarray:
    """A minute and a half of a meeting, full scale 1."""
    return meeting(90, 51)


def holed(sound: np.ndarray, low: float, high: float) -> rl.Capture:
    """Return a capture that has one gap."""
    whole = capture_of(sound, 1, loss=0.0)
    away = whole.packets["relative"].between(low - 1e-6, high - 0.1 + 1e-6)
    packets = whole.packets[~away].reset_index(drop=True).rename_axis("packet")
    return rl.Capture(whole.samples, packets)


def without(sound: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.delete(sound, slice(round(low * RATE), round(high * RATE)))


def test_a_gap_at_a_cut_is_not_filled_with_what_was_said_after_it(call: np.ndarray) -> None:
    recording = as_int16(without(call, 40, 44))
    repaired = rl.repair(holed(call, 39.5, 40.5), recording)
    assert repaired.fills.empty
    assert repaired.left["why"].tolist() == ["the recording leaves out 4.000 s around it"]
    # half a minute later all is well
    repaired = rl.repair(holed(call, 70, 71), recording)
    (fill,) = repaired.fills.itertuples()
    assert (fill.start, fill.end) == pytest.approx((70, 71), abs=1e-4)
    assert (fill.source_start, fill.source_end) == pytest.approx((66, 67), abs=1e-4)
    assert (fill.recording, fill.inverted) == (0, False)
    assert fill.level == pytest.approx(0, abs=0.1)
    assert fill.confidence > 0.95
    assert repaired.left.empty


@pytest.mark.slow
def test_ten_minutes_of_which_one_is_missing() -> None:
    sound = meeting(600, 52)
    found = rl.compare(capture_of(sound, 1), as_int16(without(sound, 200, 260)))
    np.testing.assert_allclose(found.pieces["offset"], [0, -60], atol=1e-5)
    gaps = found.gaps
    cut = (gaps["end"] > 200) & (gaps["start"] < 260)
    assert not gaps.loc[cut, "recorded"].any()
    assert gaps.loc[~cut, "recorded"].mean() > 0.99
    true = found.fills["source_start"] + np.where(found.fills["start"] > 230, 60, 0)
    np.testing.assert_allclose(true, found.fills["start"], atol=1e-4)


def test_another_meeting_that_shares_its_beginning(call: np.ndarray) -> None:
    other = as_int16(np.concatenate([call[: 25 * RATE], meeting(65, 53)]))
    with pytest.raises(RecordingMismatch, match="shares a part with this one") as caught:
        rl.repair(holed(call, 50, 51), other)
    assert "0.0 to 25.0 s" in caught.value.reason
    assert caught.value.evidence["agreeing"] in (12, 13)
    short = call[: 40 * RATE]  # of which more than half is shared: taken, and no more than that
    repaired = rl.repair(holed(short, 32, 33), other[: 40 * RATE])
    assert repaired.fills.empty
    assert repaired.left["why"].tolist() == ["what is after it lies nowhere"]


def test_a_step_of_level_is_followed(call: np.ndarray) -> None:
    stepped = call.copy()
    stepped[45 * RATE :] *= np.float32(10 ** (7 / 20))
    recording = as_int16(stepped)
    for at, level in ((20, 0), (42, 0), (47, -7), (70, -7)):
        repaired = rl.repair(holed(call, at, at + 1), recording)
        assert repaired.fills["level"].tolist() == pytest.approx([level], abs=0.5)
    repaired = rl.repair(holed(call, 44.5, 45.5), recording)
    assert repaired.fills.empty
    assert repaired.left["why"].str.match(r"the level changes by [67]\.\d dB around it").all()


@pytest.mark.parametrize("drift", [1000.0, -1000.0])
def test_a_clock_that_runs_otherwise(call: np.ndarray, drift: float) -> None:
    recording, offset = recording_of(call, 1, 5.0, drift)
    found = rl.compare(capture_of(call, 1), recording)
    assert found.offset == pytest.approx(offset, abs=2e-5)
    assert found.drift == pytest.approx(drift, abs=0.05)
    assert found.gaps["recorded"].mean() > 0.9


def test_a_clock_that_steps(call: np.ndarray) -> None:
    recording = as_int16(np.insert(call, 45 * RATE, np.zeros(80, np.float32)))
    found = rl.compare(capture_of(call, 2), recording)
    np.testing.assert_allclose(found.pieces["offset"], [0, 0.005], atol=1e-5)
    late = found.fills["source_start"] - found.fills["start"]
    np.testing.assert_allclose(late, np.where(found.fills["start"] > 45, 0.005, 0), atol=1e-4)
    assert len(found.fills) >= 0.9 * len(found.gaps)
    repaired = rl.repair(holed(call, 44.5, 45.5), recording)
    assert repaired.left["why"].tolist() == ["the recording has 0.005 s more around it"]


def test_a_blank_is_not_recorded(call: np.ndarray) -> None:
    recording = as_int16(call)
    recording[40 * RATE : 50 * RATE] = 0
    repaired = rl.repair(holed(call, 44, 45), recording)
    assert repaired.fills.empty
    assert repaired.left["why"].tolist() == ["the recording is blank before it"]
    recording = as_int16(call)
    recording[round(44.3 * RATE) : round(44.6 * RATE)] = 0
    repaired = rl.repair(holed(call, 44, 45), recording)
    spans = repaired.fills[["start", "end"]]
    np.testing.assert_allclose(spans, [[44, 44.3], [44.6, 45]], atol=0.05)
    assert repaired.left["why"].tolist() == ["the recording is blank there"]


def test_the_parts_of_a_bot_are_given_as_a_list(call: np.ndarray) -> None:
    parts = [as_int16(call[: 45 * RATE]), as_int16(0.5 * call[45 * RATE :])]
    strange = as_int16(meeting(60, 54))
    capture = capture_of(call, 3)
    repaired = rl.repair(capture, [strange, *parts])
    fills = repaired.fills
    assert fills["start"].is_monotonic_increasing
    np.testing.assert_array_equal(fills["recording"], np.where(fills["start"] < 45, 1, 2))
    np.testing.assert_allclose(fills["level"], np.where(fills["start"] < 45, 0, 6.02), atol=0.2)
    assert len(fills) >= len(rl.gaps(capture)) - 3
    assert len(repaired.left) == len(rl.gaps(capture)) - len(fills)
    with pytest.raises(RecordingMismatch):
        rl.repair(capture, [strange])
    with pytest.raises(InvalidArgument, match="comparison="):
        rl.repair(capture, parts, comparison=rl.compare(capture, parts[0]))
    with pytest.raises(InvalidArgument, match="recording="):
        rl.repair(capture, [])


@pytest.mark.slow
@pytest.mark.statistics
def test_drawn_pairs() -> None:
    made = possible = 0
    pairs = often(12, 40)  # the share below is of many gaps: a few pairs have too few
    for seed in range(1040 - pairs, 1040):
        told = judge(draw(seed, longest=60))
        assert told.wrong == [], told
        assert told.loud == [], told
        assert told.offset < 1e-3, told
        assert told.drift < 2, told
        made, possible = made + told.made, possible + told.possible
    assert possible > 8 * pairs
    assert made >= 0.99 * possible


def test_half_a_second_of_another_sound_is_not_filled_in(call: np.ndarray) -> None:
    other = meeting(5, 55)
    for at in (30.2, 41.7, 60.4):
        changed = call.copy()
        low = round(at * RATE)
        changed[low : low + RATE // 2] = other[: RATE // 2]
        for begin in (at + 0.1, at + 0.3):
            gap = round(begin, 1)
            repaired = rl.repair(holed(call, gap, gap + 0.1), as_int16(changed))
            assert repaired.fills.empty, (at, gap)
