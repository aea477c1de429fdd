"""The order of packets and when each begins, of streams whose order and times are known."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recall_lab.capture.continuity.media_order import MediaOrder, _quantum, media_order

RATE = 16_000
HALF_SAMPLE = 0.5 / RATE
SEEDS = st.integers(0, 2**32 - 1)


def even(packets: int, samples: int | np.ndarray = 1600) -> tuple[np.ndarray, np.ndarray]:
    """Return stamps and lengths of packets that follow one another."""
    counts = np.broadcast_to(np.asarray(samples, np.int32), packets).copy()
    return (np.cumsum(counts) - counts) / RATE, counts


def order_of(
    stamps: np.ndarray,
    counts: np.ndarray,
    checksums: np.ndarray | None = None,
    tolerance: float = 0.0,
) -> MediaOrder:
    """Order packets whose payloads all differ, unless checksums say otherwise."""
    if checksums is None:
        checksums = np.arange(1, len(stamps) + 1)
    return media_order(stamps, counts, checksums.astype(np.uint32), tolerance)


def rows_of(line: MediaOrder) -> list[int]:
    return line.row(np.arange(len(line.starts))).tolist()


def missing(line: MediaOrder) -> float:
    lost = line.starts[1:] - line.reached[:-1]
    return float(lost[lost > line.tolerance].sum())


def late(rng: np.random.Generator, packets: int, many: int, most: int) -> np.ndarray:
    """Return an order of arrival in which some packets are up to `most` places late."""
    when = np.arange(packets, dtype=float)
    some = rng.choice(np.arange(10, packets - 10), many, replace=False)
    when[some] += rng.integers(1, most + 1, many) + 0.5
    return np.argsort(when, kind="stable")


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_exact_packets_stand_at_their_stamps_in_whatever_order_they_came(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stamps, counts = even(int(rng.integers(30, 300)), 1600)
    kept = np.flatnonzero(rng.random(len(stamps)) >= rng.choice([0.0, 0.1]))
    came = kept[np.argsort(np.arange(len(kept)) + rng.uniform(0, rng.choice([0.5, 4]), len(kept)))]
    line = order_of(stamps[came], counts[came])
    assert came[rows_of(line)].tolist() == kept.tolist()
    assert line.starts.tolist() == line.stamps.tolist() == stamps[kept].tolist()
    assert (line.scatter, line.quantum, line.stretched) == (0.0, 0.0, False)
    inner = kept[-1] - kept[0] + 1 - len(kept)
    assert missing(line) == pytest.approx(inner * 0.1, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_the_short_cut_for_exact_stamps_tells_what_the_rule_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 300))
    counts = rng.choice(rng.choice([320, 533, 1600, 3200], 2), count).astype(np.int32)
    late = rng.choice([0, 3])
    # a late packet whose neighbours are both lost may as well have a wrong stamp
    lost = np.where(rng.random(count) < (0 if late else 0.05), 3200, 0)
    stamps = (np.cumsum(counts + lost) - counts) / RATE
    came = np.sort(np.concatenate([np.arange(count), rng.choice(count, rng.integers(0, 4))]))
    came = came[np.argsort(np.arange(len(came)) + late * rng.random(len(came)))]
    quick = order_of(stamps[came], counts[came], came)
    # a tolerance this small leaves nothing out, but takes the way of all other streams
    general = order_of(stamps[came], counts[came], came, tolerance=1e-9)
    assert rows_of(quick) == rows_of(general)
    assert np.allclose(quick.starts, general.starts, atol=1e-9, rtol=0)
    assert np.allclose(quick.reached, general.reached, atol=1e-9, rtol=0)
    assert quick.starts.tolist() == np.sort(stamps[came]).tolist()


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([320, 1600, 3200]), st.floats(0.01, 0.7))
def test_packets_that_scatter_stay_in_the_order_they_came_in(
    seed: int, samples: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    stamps, counts = even(600, samples)
    most = share * samples / RATE
    line = order_of(stamps + rng.uniform(-most, most, 600), counts)
    assert line.rows is None
    torn = np.abs(np.diff(line.starts) - samples / RATE) > 1e-9
    assert np.count_nonzero(torn) <= 2  # one in 500 packets, or so
    assert np.abs(line.starts - stamps).max() < 2 * most
    assert 0.7 * most < line.scatter < 1.6 * most


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.001, 0.05))
def test_late_packets_are_put_back_where_stamps_scatter(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    stamps, counts = even(600)
    came = late(rng, 600, many=8, most=5)
    line = order_of((stamps + rng.uniform(-share, share, 600) * 0.1)[came], counts)
    assert came[rows_of(line)].tolist() == list(range(600))
    assert missing(line) <= 4 * share * 0.1
    assert np.abs(line.starts - stamps).max() <= 2 * share * 0.1 + HALF_SAMPLE


def test_late_packets_among_losses_fill_their_own_place() -> None:
    stamps, counts = even(400)
    kept = np.delete(np.arange(400), [50, 51, 120, 300])
    came = kept.copy()
    came[[80, 81]], came[200:204] = came[[81, 80]], came[[201, 202, 203, 200]]
    line = order_of(stamps[came], counts[came])
    assert came[rows_of(line)].tolist() == kept.tolist()
    assert missing(line) == pytest.approx(0.4)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(2, 10), st.sampled_from([320, 1600]))
def test_packets_that_share_a_stamp_follow_one_another(seed: int, many: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    groups = 60
    stamps, counts = even(groups * many, samples)
    told = np.repeat(stamps[::many], many)
    lost = np.zeros(groups, bool)
    lost[rng.choice(np.arange(5, groups - 5), rng.integers(0, 4), replace=False)] = True
    kept = np.flatnonzero(~np.repeat(lost, many))
    line = order_of(told[kept], counts[kept])
    assert line.rows is None
    assert np.allclose(line.starts, stamps[kept], atol=1e-6)
    assert missing(line) == pytest.approx(lost.sum() * many * samples / RATE, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.05, 0.5))
def test_stamps_of_ends_are_seen_where_lengths_differ(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    starts, counts = even(400, np.where(rng.random(400) < share, 800, 1600))
    kept = np.flatnonzero(rng.random(400) >= 0.02)
    line = order_of((starts + counts / RATE)[kept], counts[kept])
    assert np.allclose(line.starts, starts[kept], atol=1e-6)
    inner = counts[kept[0] : kept[-1]].sum() - counts[kept[:-1]].sum()
    assert missing(line) == pytest.approx(inner / RATE, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(4, 295),
    st.one_of(st.floats(0.06, 9.9e8), st.floats(-9.9e8, -0.06)),
    st.sampled_from([320, 1600]),
)
def test_an_impossible_stamp_costs_only_itself(at: int, leap: float, samples: int) -> None:
    stamps, counts = even(300, samples)
    told = stamps.copy()
    told[at] += leap
    ends = np.array([-samples / RATE, 300 * samples / RATE])
    assume(np.abs(told[at] - ends).min() > samples / RATE)  # there it could be a late packet's
    line = order_of(told, counts)
    assert rows_of(line) == list(range(300))
    assert np.allclose(line.starts, stamps, atol=1e-6)
    assert missing(line) == 0.0


def test_what_came_again_stands_where_it_stood_first() -> None:
    stamps, counts = even(100)
    came = np.concatenate([np.arange(60), [57, 20], np.arange(60, 100)])
    line = order_of(stamps[came], counts[came], came)
    assert came[rows_of(line)].tolist() == sorted(came.tolist())
    assert line.starts.tolist() == sorted(stamps[came].tolist())


def test_silence_is_a_duplicate_only_where_packets_do_not_share_stamps() -> None:
    silence = zlib.crc32(bytes(2 * 320))
    stamps, counts = even(500, 320)
    shared = order_of(np.repeat(stamps[::10], 10), counts, np.full(500, silence))
    assert np.allclose(shared.starts, stamps, atol=1e-6)
    assert missing(shared) == 0.0
    # one and the same sound, though, came again even there
    told = np.repeat(stamps[::10], 10)
    sound = order_of(told, counts, np.repeat(np.arange(50), 10))
    assert len(np.unique(sound.starts)) == 50
    came = np.sort(np.append(np.arange(500), [100, 300]))
    again = order_of(stamps[came], counts[came], np.full(502, silence))
    assert again.starts.tolist() == stamps[came].tolist()


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from([0.005, 0.02, 0.05]))
def test_with_a_tolerance_audio_stands_no_further_from_its_stamp(
    seed: int, tolerance: float
) -> None:
    rng = np.random.default_rng(seed)
    stamps, counts = even(400)
    steps = np.zeros(400)
    steps[np.arange(20, 400, 25)] = rng.uniform(-0.04, 0.04, 16)
    stamps = stamps + np.cumsum(steps)
    line = order_of(stamps, counts, tolerance=tolerance)
    assert np.abs(line.starts - line.stamps).max() <= tolerance + HALF_SAMPLE
    assert missing(line) <= np.maximum(steps, 0).sum() + HALF_SAMPLE
    torn = np.abs(np.diff(line.starts) - 0.1) > HALF_SAMPLE
    assert not torn[np.abs(steps[1:]) == 0].any()


@given(
    st.sampled_from([1, 7, 100, 1000, 5000, 10_000, 100_000]),
    st.lists(st.integers(0, 10**5), min_size=8, max_size=60),
)
def test_the_step_of_stamps_is_the_coarsest_that_divides_them_all(
    step: int, places: list[int]
) -> None:
    whole = step * np.array(places)  # microseconds
    grids = [grid for grid in (100_000, 10_000, 1000, 100) if not (whole % grid).any()]
    assert _quantum(whole / 1e6) == (grids[0] / 1e6 if grids else 0.0)


def test_one_stamp_in_a_hundred_may_lie_beside_the_grid_and_few_tell_of_none() -> None:
    stamps = np.arange(200) * 0.07
    stamps[[50, 90]] += 0.0003
    assert _quantum(stamps) == 0.01
    stamps[120] += 0.0003
    assert _quantum(stamps) == 0.0001
    assert _quantum(np.arange(7) * 0.1) == 0.0
    assert _quantum(np.arange(8) * 0.1) == 0.1


@pytest.mark.parametrize("ppm", [-800, -50, 50, 500, 1000])
def test_a_sample_clock_stretches_packets_and_tears_none(ppm: float) -> None:
    stamps, counts = even(2000)
    line = order_of(stamps * (1 + ppm * 1e-6), counts)
    assert line.stretched
    assert np.allclose(line.lasts, 0.1 * (1 + ppm * 1e-6), atol=1e-7)
    assert missing(line) == 0.0


def test_packets_without_audio_have_no_place() -> None:
    stamps, counts = even(10)
    counts[[0, 4, 9]] = 0
    line = order_of(stamps, counts)
    assert rows_of(line) == [1, 2, 3, 5, 6, 7, 8]
    assert missing(line) == pytest.approx(0.1)
    assert rows_of(order_of(stamps, np.zeros(10, np.int32))) == []
