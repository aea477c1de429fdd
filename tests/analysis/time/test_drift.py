"""Drift: in good weather and bad, against the drift that was put in, and against SciPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from drift import WEATHER, call  # type: ignore[attr-defined]
from helpers.builders import make_capture
from scipy.stats import theilslopes

from recall_lab.analysis.clocks.rates import PAIRS, envelope
from recall_lab.analysis.time.drift import drift
from recall_lab.capture.capture import Capture
from recall_lab.capture.record import Flag
from recall_lab.errors import MissingTimestamps

Make = Callable[..., Capture]
NS = 1_000_000_000


@pytest.mark.slow
@pytest.mark.parametrize("weather", WEATHER)
def test_an_hour_in_any_weather_is_told_within_half_a_ppm(weather: str) -> None:
    errors = []
    for seed in range(20):
        capture, true = call(weather, seed)
        found = drift(capture)
        errors.append(abs(found.loc["relative/received", "drift"] - true))
        assert found.loc["relative/absolute", "drift"] == pytest.approx(true, abs=1e-3)
    assert max(errors) <= 0.5


@pytest.mark.slow
def test_the_truth_lies_in_the_interval() -> None:
    # in all weathers; benchmarks/drift.py makes the table of each, of many more calls
    calls = 60
    inside, widths = 0, []
    for seed in range(calls):
        capture, true = call(WEATHER[seed % 4], 1000 + seed)
        low, high = drift(capture).loc["relative/received", ["low", "high"]]
        inside += low <= true <= high
        widths.append(high - low)
    assert inside / calls >= 0.91  # of 95 %: chance alone brings less once in twelve
    assert np.median(widths) < 0.2  # ppm: it says something


def test_on_clean_clocks_it_is_what_scipy_says() -> None:
    capture, _ = call("clean", 5)
    packets = capture.packets
    ends = packets["relative"].to_numpy() + 0.2
    points = envelope(ends, packets["monotonic"].to_numpy() / 1e9 - ends)
    theirs = -1e6 * theilslopes(points.values, points.times)[0]
    assert drift(capture).loc["relative/received", "drift"] == pytest.approx(theirs, abs=0.05)


def test_all_pairs_agree_and_steps_are_taken_out(make: Make) -> None:
    sent = np.arange(3000) * 0.2
    wall = sent / (1 + 120e-6)
    step = np.where(sent >= 200, 2.5, 0)
    ours = (sent + 0.2) / (1 + 50e-6) + 0.03
    capture = make(
        sent,
        absolute=10**18 + np.rint((wall + step) * NS).astype(np.int64),
        monotonic=np.rint(ours * NS),
    )
    found = drift(capture)
    assert found.index.tolist() == list(PAIRS)
    expected = [120.0, 50.0, 50.0 - 120.0, 0.0]
    np.testing.assert_allclose(found["drift"], expected, atol=0.1)
    assert found["steps"].tolist() == [1, 0, 1, 0]
    assert (found["low"] <= found["high"]).all()


def test_the_lower_envelope_is_the_least_of_each_window() -> None:
    rng = np.random.default_rng(0)
    times, delays = np.sort(rng.uniform(0, 100, 500)), rng.random(500)
    order = rng.permutation(500)
    found = envelope(times[order], delays[order])
    windows = ((times - times[0]) / 10).astype(int)
    least = [delays[windows == at].min() for at in range(windows.max() + 1)]
    assert found.values.tolist() == least
    assert (np.diff(found.times) > 0).all()


def test_too_little_says_nothing(make: Make) -> None:
    for starts in ([], [1.0], [1.0] * 30, np.arange(30)[::-1] * 0.2, np.arange(100) * 0.2):
        found = drift(make(starts))
        assert found[["drift", "low", "high"]].isna().all().all()
    assert drift(make(np.arange(500) * 1.0, 0))["drift"].isna().all()  # no audio at all
    some = np.arange(1000) * 0.2
    some[5] = np.nan
    assert drift(make(some))["drift"].notna().all()
    with pytest.raises(MissingTimestamps):
        drift(Capture(np.zeros(9, np.int16)))


def test_the_time_of_arrival_says_nothing_of_the_clock_that_it_stands_for() -> None:
    times = np.arange(3000) * 0.2
    arrived = 10**18 + np.rint(times * (1 + 50e-6) * 1e9).astype(np.int64)
    columns = {"absolute": arrived, "received": arrived, "monotonic": arrived - 10**18}
    unstamped = make_capture(times, flags=np.full(3000, int(Flag.UNSTAMPED)), **columns)
    told = drift(unstamped)["drift"]
    assert told[["relative/absolute", "absolute/received"]].isna().all()
    assert abs(told["relative/received"]) == pytest.approx(50, abs=0.5)
    assert drift(make_capture(times, **columns))["drift"].notna().all()
