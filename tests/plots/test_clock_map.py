"""Times on the wall clock: each where its packet says, on either side of a clock that was set."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.builders import NEW_YEAR, make_capture
from hypothesis import given
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.errors import InvalidArgument
from recall_lab.plots.clock_map import RELATIVE, ClockMap, clock_map

START = NEW_YEAR / 1e9
THREE = ClockMap(np.array([-np.inf, 10.0, 20.0]), np.array([100.0, 150.0, 120.0]))


def set_twice() -> rl.Capture:
    """A call of a minute; the wall clock is put on by 50 s at 20 s, and back by 30 s at 40 s."""
    relative = np.arange(600) * 0.1
    ahead = np.where(relative >= 40, 20.0, np.where(relative >= 20, 50.0, 0.0))
    return make_capture(relative, 1600, absolute=NEW_YEAR + np.rint((relative + ahead) * 1e9))


def test_every_packet_stands_where_its_own_stamp_says() -> None:
    capture = set_twice()
    axis = clock_map(rl.analyse(capture), "absolute")
    assert axis.begins.tolist() == [-np.inf, 20.0, 40.0]
    packets = capture.packets
    walls = packets["absolute"].astype("int64").to_numpy() / 1e9
    np.testing.assert_allclose(axis(packets["relative"]), walls, atol=1e-6)
    # and ends where its samples do, not where the next one begins
    np.testing.assert_allclose(axis.until(packets["relative"] + 0.1), walls + 0.1, atol=1e-6)


def test_time_that_the_media_clock_did_not_tell_is_seen_on_the_wall_clock() -> None:
    relative = np.arange(600) * 0.1
    arrived = relative + np.where(relative >= 30, 18.0, 0.0)
    walls = {"absolute": NEW_YEAR, "received": NEW_YEAR, "monotonic": 10**9}
    clocks = {name: np.rint(arrived * 1e9) + first for name, first in walls.items()}
    axis = clock_map(rl.analyse(make_capture(relative, 1600, **clocks)), "absolute")
    assert axis(30.0) - axis.until(30.0) == pytest.approx(18)
    assert axis.extent(0, 60) == pytest.approx((START, START + 78))


def test_one_odd_stamp_of_the_wall_clock_moves_nothing() -> None:
    relative = np.arange(100) * 0.1
    walls = np.rint(relative * 1e9)
    walls[40] += 3600e9
    axis = clock_map(
        rl.analyse(make_capture(relative, 1600, absolute=NEW_YEAR + walls)), "absolute"
    )
    np.testing.assert_allclose(axis(relative), START + relative, atol=1e-6)


def test_a_clock_that_is_set_all_the_time_is_one_piece() -> None:
    relative = np.arange(3000) * 0.1
    walls = np.rint((relative + np.arange(3000) // 10 * 5.0) * 1e9)
    axis = clock_map(
        rl.analyse(make_capture(relative, 1600, absolute=NEW_YEAR + walls)), "absolute"
    )
    assert len(axis.begins) == 1


def test_spans_are_cut_where_a_piece_ends() -> None:
    found = THREE.spans([5.0, 12.0, 10.0, 20.0], [25.0, 13.0, 20.0, 20.0])
    assert list(zip(found.of.tolist(), found.start.tolist(), found.end.tolist(), strict=True)) == [
        (0, 105.0, 110.0), (0, 140.0, 145.0), (3, 140.0, 140.0), (0, 160.0, 170.0),
        (2, 160.0, 170.0), (1, 162.0, 163.0),
    ]  # fmt: skip
    assert THREE.extent(5, 25) == (105, 170)
    assert THREE.extent(5, 5) == (105, 105)
    assert THREE.pieces(np.array([1.0, 9.0, 30.0])) == [slice(0, 2), slice(2, 3)]
    assert np.isnan(THREE([np.nan])).all()


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 40)), max_size=8))
def test_cutting_loses_nothing(spans: list[tuple[float, float]]) -> None:
    start = np.array([low for low, _ in spans])
    end = start + np.array([lasts for _, lasts in spans])
    found = THREE.spans(start, end)
    kept = np.zeros(len(spans))
    np.add.at(kept, found.of, found.end - found.start)
    np.testing.assert_allclose(kept, end - start, atol=1e-9)
    assert set(found.of.tolist()) == set(range(len(spans)))
    assert (np.diff(found.start) >= 0).all()


def test_the_relative_clock_is_itself() -> None:
    known = rl.analyse(set_twice())
    assert clock_map(known, "relative") is RELATIVE
    assert RELATIVE.spans([1.0], [2.0])[:2] == ([1.0], [2.0])
    assert clock_map(rl.analyse(rl.Capture(np.zeros(9, np.int16))), "relative") is RELATIVE
    with pytest.raises(InvalidArgument, match="clock='lunar'"):
        clock_map(known, "lunar")
