"""The jitter buffer, against a player that plays packet by packet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recall_lab.analysis.time.playout import playout, playout_delay
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingTimestamps

Make = Callable[..., Capture]


def call(make: Make, seed: int) -> tuple[Capture, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.choice([320, 1600], 400)
    sent = (np.cumsum(counts) - counts) / 16_000
    late = rng.exponential(0.03, 400)
    late[7] = 0
    lasts = sent + counts / 16_000
    arrived = np.rint(np.maximum.accumulate(lasts + late) * 1e9)  # in order, as in TCP
    late = arrived / 1e9 - lasts
    late -= late.min()
    return make(sent, counts, monotonic=arrived), late, counts


@pytest.mark.parametrize("seed", range(4))
def test_it_loses_what_a_player_loses(make: Make, seed: int) -> None:
    capture, late, counts = call(make, seed)
    delays = [0.0101, 0.05, 0.1003, 1.0]
    found = playout(capture, delays)
    assert found.index.tolist() == delays
    for delay in delays:
        missed = late > delay
        assert found.loc[delay, "late"] == missed.sum()
        assert found.loc[delay, "late_seconds"] == pytest.approx(counts[missed].sum() / 16_000)
        share = counts[missed].sum() / counts.sum()
        assert found.loc[delay, "late_share"] == pytest.approx(share)


def test_by_default_it_goes_on_until_nothing_is_late(make: Make) -> None:
    found = playout(call(make, 1)[0])
    assert found.index[:5].tolist() == [0.0, 0.001, 0.002, 0.005, 0.01]
    assert (found["late_share"].diff().dropna() <= 0).all()
    assert found["late"].iloc[-1] == 0
    assert found["late"].iloc[-2] > 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.9])
def test_the_delay_for_a_share_is_the_least_that_will_do(make: Make, share: float) -> None:
    capture, *_ = call(make, 3)
    delay = playout_delay(capture, share)
    assert playout(capture, [delay + 1e-9])["late_share"].iloc[0] <= share + 1e-9
    assert playout(capture, [delay - 1e-6])["late_share"].iloc[0] > share


def test_a_packet_that_came_twice_counts_as_it_came_first(make: Make) -> None:
    sent = np.array([0.0, 0.2, 0.2, 0.4])
    arrived = np.rint((sent + 0.2 + [0, 0, 0.5, 0.5]) * 1e9)
    found = playout(make(sent, payload_crc=[1, 2, 2, 3], monotonic=arrived), [0.1])
    assert found["late"].tolist() == [1]


def test_degenerate_captures(make: Make) -> None:
    assert playout(make([])).to_dict("list") == {
        "late": [0, 0], "late_seconds": [0, 0], "late_share": [0, 0],
    }  # fmt: skip
    assert playout_delay(make([])) == 0
    assert playout_delay(make([0.0, 0.2], 0)) == 0
    assert playout(make([1.0]))["late"].iloc[-1] == 0
    assert playout_delay(make([1.0] * 5), 1) == 0
    with pytest.raises(MissingTimestamps):
        playout(Capture(np.zeros(9, np.int16)))
    for delays in ([-1], ["a"], [np.nan], [np.inf]):
        with pytest.raises(InvalidArgument, match="delays"):
            playout(make([0.0]), delays)  # type: ignore[arg-type]
    for share in (-0.1, 1.1, np.nan, "1"):
        with pytest.raises(InvalidArgument, match="late_share"):
            playout_delay(make([0.0]), share)  # type: ignore[arg-type]
