"""Gaps are exact where packets that came late stand right beside packets that were lost.

One join that misses by less than half a packet has all stamps looked at for scatter; late packets
are not to be taken for wrong stamps then, and wrong stamps not for late packets.
"""

from __future__ import annotations

import numpy as np
import pytest

from recall_lab.capture.continuity.media_order import MediaOrder, media_order
from recall_lab.wire.pcm import RATE

SAMPLES = 320
LASTS = SAMPLES / RATE
CRACK = 1 / RATE  # one sample is missing near the end: so stamps are not taken as they are


def order_of(numbers: np.ndarray | list[float]) -> MediaOrder:
    """Return the order of packets that arrive so; `numbers` counts packets of the media clock."""
    arrived = np.concatenate([np.arange(-100.0, 0), numbers, max(numbers) + np.arange(1.0, 101)])
    stamps = arrived * LASTS
    stamps[-20:] += CRACK
    samples = np.full(len(stamps), SAMPLES, np.int32)
    return media_order(stamps, samples, np.arange(len(stamps), dtype=np.uint32))


def holes(line: MediaOrder) -> list[list[float]]:
    """Return where packets are missing, and how many, but for the sample at the end."""
    lost = line.starts[1:] - line.reached[:-1]
    at = np.flatnonzero(lost > line.tolerance)[:-1]
    found: list[list[float]] = (np.stack([line.reached[at], lost[at]], 1) / LASTS).round(6).tolist()
    return found


@pytest.mark.parametrize(
    ("arrived", "missing"),
    [
        ([0, 1, 3, 2, 4], []),
        ([0, 2, 1, 3], []),
        ([0, 3, 2, 4], [[1, 1]]),  # the one before is lost
        ([0, 2, 1, 4], [[3, 1]]),  # the one after
        ([0, 3, 2, 5], [[1, 1], [4, 1]]),  # both, and nothing tells from the order of arrival
        ([0, 3, 2, 6], [[1, 1], [4, 2]]),
        ([0, 4, 3, 6], [[1, 2], [5, 1]]),
    ],
)
def test_a_late_packet_beside_lost_ones_is_late(
    arrived: list[float], missing: list[list[float]]
) -> None:
    line = order_of(arrived)
    assert holes(line) == missing
    assert line.stamps.tolist() == sorted(line.stamps)


@pytest.mark.parametrize("late", [1, 1.5, 2, 2.5, -1, -1.5])
def test_a_stamp_that_leaps_and_comes_back_is_wrong_also_where_it_is_off_by_whole_packets(
    late: float,
) -> None:
    line = order_of([0, 1, 2, 3 + late, 4, 5, 6, 7])
    assert holes(line) == []
    assert (np.diff(line.starts) > 0).all()


def test_every_gap_is_found_among_many_late_packets() -> None:
    rng = np.random.default_rng(5)
    sent = np.flatnonzero(rng.random(200_000) > 0.05)
    late = np.where(rng.random(len(sent)) < 0.005, 1.5, 0.0)
    line = order_of(sent[np.argsort(np.arange(len(sent)) + late, kind="stable")])
    counts = np.diff(np.concatenate([[-1], sent])) - 1
    missing = np.stack([sent - counts, counts], 1)[counts > 0].tolist()
    assert len(missing) > 9000
    assert holes(line) == missing
