"""A media clock that runs as no oscillator does, against rates that were put in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers.builders import NEW_YEAR

from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.capture.capture import Capture

Make = Callable[..., Capture]


def passed(
    make: Make, relative: np.ndarray, sender: np.ndarray, ours: np.ndarray | None = None
) -> Analysis:
    """Analyse a capture whose wall clocks say this, in s since its start."""
    ours = sender if ours is None else ours
    capture = make(
        relative,
        absolute=NEW_YEAR + np.rint(sender * 1e9).astype(np.int64),
        received=NEW_YEAR + np.rint((ours + 0.2) * 1e9).astype(np.int64),
        monotonic=np.rint((ours + 100) * 1e9).astype(np.int64),
    )
    return analyse(capture)


@pytest.mark.parametrize("seconds", [12, 60, 300, 1200])
@pytest.mark.parametrize("slower", [0.003, 0.01, 0.1, 0.3, -0.02])
def test_a_rate_is_told_and_what_it_costs(make: Make, seconds: int, slower: float) -> None:
    starts = np.arange(seconds * 5) * 0.2
    known = passed(make, starts, starts / (1 - slower))
    found = known.clock_rate
    if abs(slower) * seconds < 0.25:
        assert found is None
        return
    assert found is not None
    assert found.ppm == pytest.approx(-1e6 * slower, rel=0.01)
    assert found.sure
    short = max(starts[-1] * (1 / (1 - slower) - 1), 0)
    assert found.seconds == pytest.approx(short, rel=0.01)
    assert known.unexplained == pytest.approx(short, rel=0.01)
    assert known.clock_steps == []  # a rate is no step


@pytest.mark.parametrize("ppm", [0, 50, -100, 900])
@pytest.mark.parametrize("seconds", [60, 600])
def test_what_a_clock_may_do_is_none(make: Make, ppm: float, seconds: int) -> None:
    starts = np.arange(seconds * 5) * 0.2
    assert passed(make, starts, starts * (1 + 1e-6 * ppm)).clock_rate is None


def test_steps_delays_and_grids_make_no_rate(make: Make) -> None:
    starts = np.arange(300) * 0.2
    for at in (5, 30, 55):
        set_ = starts + np.where(starts >= at, 2.5, 0)
        assert passed(make, starts, set_, starts).clock_rate is None
        assert passed(make, starts, set_).clock_rate is None  # it stood, and is told as that
    for seed in range(10):
        rng = np.random.default_rng(seed)
        late = np.maximum.accumulate(starts + rng.exponential(0.3, 300))
        assert passed(make, starts, starts, late).clock_rate is None
        late = starts + np.linspace(0, 0.5, 300) * (rng.random(300) < 0.9)  # a queue that grows
        late = np.maximum.accumulate(late)
        assert passed(make, starts, starts, late).clock_rate is None
        short = np.arange(2000) * 0.02
        grid = np.round(short / 0.015) * 0.015
        assert (
            passed(make, grid, np.round((short + rng.random()) / 0.015) * 0.015).clock_rate is None
        )


def test_the_clocks_that_contradict_each_other_are_named(make: Make) -> None:
    starts = np.arange(1500) * 0.2
    found = passed(make, starts, starts / 0.99, starts).clock_rate
    assert found is not None
    assert (found.than, found.seconds, found.sure) == ("the sender's wall clock", 0.0, False)
    found = passed(make, starts, starts, starts / 0.99).clock_rate
    assert found is not None
    assert (found.than, found.seconds, found.sure) == ("our own clock", 0.0, False)
    found = passed(make, starts, starts / 0.99, starts / 10).clock_rate  # a replay
    assert found is not None
    assert (found.than, found.sure) == ("the sender's wall clock", True)
    assert found.seconds == pytest.approx(3.03, abs=0.01)


def test_where_nothing_can_be_told(make: Make) -> None:
    for starts in (np.array([]), np.array([1.0]), np.full(30, 2.0), np.arange(45) * 0.2):
        assert passed(make, starts, starts / 0.9).clock_rate is None
