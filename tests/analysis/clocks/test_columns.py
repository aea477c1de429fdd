"""Steps of the wall clocks, against those that were put in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers.plans import SECONDS, SOURCE, draw

from recall_lab.analysis.time.drift import clock_steps
from recall_lab.capture.capture import Capture
from recall_lab.errors import MissingTimestamps
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.plan import cut, plan

Make = Callable[..., Capture]
NS = 1_000_000_000


def test_the_simulators_steps_are_found_to_the_microsecond(arrive: Make) -> None:
    faults = Faults(steps=((6.5, 1.25), (30.05, -0.4)), drift=90, loss=0.05, reorder=0.05, seed=3)
    table = plan(SOURCE, cut(len(SOURCE), 0.1), faults)
    found = clock_steps(arrive(table))
    # drift adds 9 us for each packet that lies between
    np.testing.assert_allclose(found["step"], [1.25, -0.4], atol=50e-6)
    np.testing.assert_allclose(found["relative"], [6.5, 30.1], atol=0.41)
    assert set(found["clock"]) == {"absolute"}
    assert found["evidence"].str.contains("wall clock was set").all()


def test_steps_in_calls_with_all_faults(arrive: Make) -> None:
    for seed in range(60):
        call = draw(seed)
        sent = call.plan[call.plan["outcome"] == "sent"]
        ahead = sent["relative"].max() - call.start
        # told when there are packets on both sides, far from each other and from the ends
        steps = sorted(call.faults.steps)
        clear = all(5 < at < min(ahead, SECONDS) - 5 and abs(by) > 0.1 for at, by in steps)
        if len(steps) == 2:
            clear = clear and abs(steps[0][0] - steps[1][0]) > 10
        if clear:
            found = clock_steps(arrive(call.plan))
            np.testing.assert_allclose(found["step"], [by for _, by in steps], atol=0.005)


def test_a_pause_of_the_recording_is_told_from_a_clock_that_was_set(make: Make) -> None:
    sent = np.arange(40) * 0.2
    stood = np.where(sent >= 4, 30.0, 0.0)
    absolute = 10**18 + np.rint((sent + stood) * NS).astype(np.int64)
    arrived = np.rint((sent + stood + 1) * NS).astype(np.int64)
    paused = make(sent, absolute=absolute, monotonic=arrived, received=10**18 + arrived)
    found = clock_steps(paused)
    assert found["step"].tolist() == pytest.approx([30.0])
    assert "recording was paused" in found["evidence"][0]
    (row,) = clock_steps(make(sent, absolute=absolute)).to_dict("records")
    assert "was set" in row["evidence"]
    assert (row["before"], row["after"]) == (19, 20)


def test_a_step_of_our_own_wall_clock(make: Make) -> None:
    sent = np.arange(40) * 0.2
    received = 10**18 + np.rint((sent - np.where(sent >= 4, 0.75, 0)) * NS).astype(np.int64)
    found = clock_steps(make(sent, received=received))
    assert found["clock"].tolist() == ["received"]
    assert found["step"].tolist() == pytest.approx([-0.75])


def test_what_is_no_step(make: Make) -> None:
    sent = np.arange(400) * 0.2
    one = 10**18 + np.rint(sent * NS).astype(np.int64)
    one[77] += 3 * NS  # a single odd stamp
    assert clock_steps(make(sent, absolute=one)).empty
    whole = 10**18 + np.floor(sent + 0.3).astype(np.int64) * NS  # stamps without a fraction
    assert clock_steps(make(sent, absolute=whole)).empty
    muted = np.delete(sent, np.arange(50, 350))
    drifting = 10**18 + np.rint(muted * (1 + 900e-6) * NS).astype(np.int64)
    assert clock_steps(make(muted, absolute=drifting)).empty
    rng = np.random.default_rng(1)
    noisy = 10**18 + np.rint((sent + rng.normal(0, 0.02, 400)) * NS).astype(np.int64)
    assert clock_steps(make(sent, absolute=noisy)).empty


def test_degenerate_captures(make: Make) -> None:
    assert clock_steps(make([])).empty
    assert clock_steps(make([1.0])).empty
    assert clock_steps(make([1.0] * 9)).empty
    assert set(clock_steps(make(np.arange(9)[::-1] * 0.2))["clock"]) <= {"received"}
    with pytest.raises(MissingTimestamps):
        clock_steps(Capture(np.zeros(9, np.int16)))
