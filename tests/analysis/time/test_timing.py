"""Jitter, delay and stalls: against worked examples, plain loops and captures with known delays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from recall_lab.analysis.clocks.delays import delay_percentiles
from recall_lab.analysis.time.timing import jitter, latency, stalls
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingTimestamps

Make = Callable[..., Capture]
NS = 1_000_000_000


def test_jitter_of_an_example_computed_by_hand(make: Make) -> None:
    # 20 ms packets; transit times of 50, 60, 45, 45 and 80 ms: D = 10, -15, 0, 35 ms
    sent = np.array([0.0, 0.02, 0.04, 0.06, 0.08])
    arrived = sent + np.array([0.05, 0.06, 0.045, 0.045, 0.08])
    found = jitter(make(sent, 320, monotonic=np.rint(arrived * NS)))
    np.testing.assert_allclose(found["difference"], [0, 0.010, -0.015, 0, 0.035], atol=1e-9)
    # J = 10/16; + (15 - J)/16; + (0 - J)/16; + (35 - J)/16, in ms
    by_hand = [0, 0.625, 1.5234375, 1.42822265625, 3.526458740234375]
    np.testing.assert_allclose(found["jitter"] * 1e3, by_hand, atol=1e-9)


def test_jitter_is_that_of_wiresharks_formula(make: Make) -> None:
    # tap-rtp-common.c: diff = |(arrival - last arrival) - (nominal - last nominal)|, in ms;
    # jitter = jitter + (diff - jitter) / 16
    rng = np.random.default_rng(4)
    sent = np.cumsum(rng.choice([0.02, 0.04, 1.5], 3000))
    arrived = np.sort(sent + rng.exponential(0.02, 3000))
    expected, last, running = [], None, 0.0
    stamps = np.rint(arrived * NS)
    for at, now in zip(sent * 1e3, stamps / 1e6, strict=True):
        if last is not None:
            difference = abs((now - last[1]) - (at - last[0]))
            running += (difference - running) / 16
        last = at, now
        expected.append(running)
    found = jitter(make(sent, 320, monotonic=stamps))["jitter"] * 1e3
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)  # ms: 1e-9 s


def test_delays_are_those_that_were_put_in(make: Make) -> None:
    rng = np.random.default_rng(2)
    counts = rng.choice([320, 3200], 500)
    sent = (np.cumsum(counts) - counts) / 16_000
    late = np.round(rng.exponential(0.05, 500), 6)
    late[100] = 0
    sent = np.round(sent, 9)
    arrived = np.rint((sent + counts / 16_000 + late) * NS)
    absolute = 10**18 + np.rint(sent * NS).astype(np.int64)
    found = latency(
        make(
            sent,
            counts,
            monotonic=arrived,
            absolute=absolute,
            received=10**18 + arrived.astype(np.int64),
        )
    )
    np.testing.assert_allclose(found["delay"], late, atol=2e-9)
    np.testing.assert_allclose(found["apparent"], late, atol=2e-7)
    tops = delay_percentiles(found["variation"].to_numpy())
    np.testing.assert_allclose(tops[50.0], np.median(found["variation"]))
    np.testing.assert_allclose(tops[100.0], found["variation"].max())


def test_variation_is_without_the_drift_of_the_clocks(make: Make) -> None:
    rng = np.random.default_rng(5)
    sent = np.arange(9000) * 0.2
    late = rng.exponential(0.01, 9000)
    arrived = (sent + 0.2) * (1 + 80e-6) + late  # 144 ms over half an hour
    found = latency(make(sent, monotonic=np.rint(arrived * NS)))
    assert found["delay"].iloc[-500:].min() > 0.13
    np.testing.assert_allclose(found["variation"], late - late.min(), atol=0.002)


def test_packets_without_audio_have_no_delay(make: Make) -> None:
    found = latency(make([0.0, 0.2, 0.4], [3200, 0, 3200]))
    assert found["delay"].isna().tolist() == [False, True, False]
    assert latency(make([0.0, 0.2], 0))["delay"].isna().all()
    assert delay_percentiles(latency(make([0.0], 0))["variation"].to_numpy()).isna().all()


def test_a_restart_of_the_machine_is_bridged_by_the_wall_clock(make: Make) -> None:
    sent = np.arange(6) * 0.2
    monotonic = np.rint((sent + 500) * NS)
    monotonic[3:] -= 499 * NS
    found = latency(make(sent, monotonic=monotonic))
    np.testing.assert_allclose(found["delay"], 0, atol=1e-6)


def held_up(seconds: float, begin: int = 50, sent: np.ndarray | None = None) -> np.ndarray:
    """Arrivals of 100 packets of 200 ms that a stall holds up."""
    sent = np.arange(100) * 0.2 if sent is None else sent
    arrived = sent + 0.25
    held = (arrived >= sent[begin] + 0.2) & (arrived < sent[begin] + 0.2 + seconds)
    arrived[held] = sent[begin] + 0.2 + seconds + np.arange(held.sum()) * 1e-4
    return arrived


def test_a_stall_is_found_with_its_length(make: Make) -> None:
    arrived = held_up(2.0)
    capture = make(
        np.arange(100) * 0.2,
        monotonic=np.rint(arrived * NS),
        received=10**18 + np.rint(arrived * NS).astype(np.int64),
    )
    (row,) = stalls(capture).to_dict("records")
    assert row["duration"] == pytest.approx(1.95, abs=0.001)
    assert row["start"] == pytest.approx(10.0)
    assert row["packets"] in (9, 10)  # those that were late by more than the shortest
    assert (row["cause"], "no stall of its own" in row["evidence"]) == ("network", True)
    assert len(stalls(capture, shortest=3.0)) == 0


def test_the_receivers_own_journal_says_whose_stall_it_was(
    make: Make, events: Callable[..., pd.DataFrame]
) -> None:
    arrived = held_up(2.0)
    end = 10**18 + round(arrived[50:60].min() * NS)
    told = events({"kind": "stalled", "received": end + 30_000_000, "seconds": 1.97})
    options = {
        "monotonic": np.rint(arrived * NS),
        "received": 10**18 + np.rint(arrived * NS).astype(np.int64),
    }
    sent = np.arange(100) * 0.2
    assert stalls(make(sent, events=told, **options))["cause"].tolist() == ["receiver"]
    other = events({"kind": "stalled", "received": end + 10 * NS, "seconds": 1.97})
    assert stalls(make(sent, events=other, **options))["cause"].tolist() == ["network"]
    brief = events({"kind": "stalled", "received": end, "seconds": 0.11})
    assert stalls(make(sent, events=brief, **options))["cause"].tolist() == ["network"]


def test_what_is_no_stall(make: Make) -> None:
    sent = np.arange(100) * 0.2
    muted = np.delete(sent, np.arange(40, 60))
    assert stalls(make(muted)).empty
    one = sent + 0.25
    one[50] += 0.6
    assert stalls(make(sent, monotonic=np.rint(one * NS))).empty
    step = sent + 0.25 + np.where(sent > 15, 0.5, 0)
    assert stalls(make(sent, monotonic=np.rint(step * NS))).empty


@pytest.mark.parametrize("call", [jitter, latency, stalls])
def test_degenerate_captures(make: Make, call: Callable[[Capture], pd.DataFrame]) -> None:
    assert call(make([])).empty
    assert call(Capture(np.empty(0, np.int16))).empty
    call(make([1.0]))
    call(make([1.0] * 50))
    call(make(np.arange(50)[::-1] * 0.2))
    assert np.nan not in call(make([0.0, np.nan, 0.2])).index
    with pytest.raises(MissingTimestamps):
        call(Capture(np.zeros(10, np.int16)))
    with pytest.raises(MissingTimestamps):
        call(make([np.nan]))


def test_a_shortest_stall_that_is_none(make: Make) -> None:
    with pytest.raises(InvalidArgument, match="shortest"):
        stalls(make([0.0]), shortest=0)
