"""What is counted packet by packet is what the whole capture tells, in bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from helpers.builders import make_capture
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.time.gaps import gaps
from recall_lab.capture.continuity.live import Continuity

RATE = 16_000
SEEDS = st.integers(0, 2**32 - 1)
BEHIND = 500  # packets by which an answer may lag where stamps scatter


class Stream(NamedTuple):
    """Stamps, s, and lengths, samples, in the order of arrival; and what numbers payloads."""

    stamps: np.ndarray
    counts: np.ndarray
    payloads: np.ndarray


def drawn(kind: str, seed: int, packets: int) -> Stream:
    """Draw a stream of a kind, some of it lost; nothing is at its ends."""
    rng = np.random.default_rng(seed)
    samples = int(rng.choice([320, 1024, 1600]))
    counts = np.full(packets, samples)
    stamps = np.arange(packets) * samples / RATE
    lasts = samples / RATE
    if kind == "scattered":
        stamps = stamps + rng.uniform(-0.2, 0.2, packets) * lasts
    elif kind == "gridded":
        grid = rng.choice([0.001, 0.005, 0.3 * lasts])
        stamps = np.floor(stamps / grid + 1e-9) * grid
    elif kind == "short":
        counts = counts - int(rng.uniform(0.02, 0.2) * samples)
    elif kind == "shared":
        together = int(rng.integers(2, 8))
        stamps = np.repeat(stamps[::together], together)[:packets]
    elif kind == "a clock":
        stamps = stamps * (1 + rng.choice([-1, 1]) * rng.uniform(20, 900) * 1e-6)
    share = rng.choice([0.0, 0.02, 0.3 if kind == "exact" else 0.05])
    kept = np.flatnonzero(rng.random(packets) >= share)
    when = np.arange(len(kept)).astype(float)
    if kind in ("exact", "short"):  # some come late, some again, some without audio
        late = rng.random(len(kept)) < 0.02
        when += late * rng.uniform(0, 4, len(kept))
        again = rng.choice(len(kept), 3)
        kept, when = np.append(kept, kept[again]), np.append(when, when[again] + 5.5)
    came = kept[np.argsort(when, kind="stable")]
    counts = counts[came]
    if kind == "exact":
        counts = np.where(rng.random(len(came)) < 0.01, 0, counts)
    return Stream(stamps[came], counts, came + 1)


def counted(stream: Stream, page: int | None = None, context: int | None = None) -> Continuity:
    live = Continuity() if page is None or context is None else Continuity(page, context)
    live.extend(
        stream.stamps, stream.counts.astype(np.int32),
        checksums=stream.payloads.astype(np.uint32),
    )  # fmt: skip
    return live


def whole(stream: Stream) -> tuple[int, float]:
    """Return how many gaps the frame has, and how long they are."""
    table = gaps(make_capture(stream.stamps, stream.counts, payload_crc=stream.payloads))
    return len(table), float(table["duration"].sum())


KINDS = ["exact", "scattered", "gridded", "short", "shared", "a clock"]


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(20, 1200))
@pytest.mark.parametrize("kind", KINDS)
def test_in_the_end_it_is_what_the_frame_tells(kind: str, seed: int, packets: int) -> None:
    stream = drawn(kind, seed, packets)
    count, seconds = whole(stream)
    live = counted(stream)
    assert live.gaps == count
    assert live.missing == pytest.approx(seconds, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(20, 1200), st.integers(40, 300))
def test_of_exact_streams_pages_may_be_of_any_length(seed: int, packets: int, page: int) -> None:
    stream = drawn("exact", seed, packets)
    count, seconds = whole(stream)
    live = counted(stream, page, context=32)
    assert live.gaps == count
    assert live.missing == pytest.approx(seconds, abs=1e-6)


@settings(max_examples=4, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_over_many_pages_it_misses_by_less_than_a_hundredth(kind: str, seed: int) -> None:
    stream = drawn(kind, seed, 3000)
    _, seconds = whole(stream)
    missing = counted(stream, page=1024, context=256).missing
    most = stream.counts.max() / RATE
    assert missing == pytest.approx(seconds, abs=max(0.01 * seconds, most))


@settings(max_examples=20, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("kind", ["exact", "scattered", "gridded"])
def test_what_is_decided_stays_and_the_rest_is_told(kind: str, seed: int) -> None:
    """However the stream goes on, gaps before the last `undecided` packets remain."""
    stream = drawn(kind, seed, 900)
    at = len(stream.stamps) // 2
    live = Continuity(page=100, context=32)
    columns = stream.stamps, stream.counts.astype(np.int32)
    live.extend(columns[0][:at], columns[1][:at])
    with_audio = np.flatnonzero(stream.counts[:at])
    settled = len(with_audio) - live.undecided
    assert 0 < settled < len(with_audio)
    assert live.undecided < 100 + 32
    decided = live._count, live._seconds
    room = 100 + 32 - live.undecided - 1  # packets until the next page is decided
    nonsense = np.random.default_rng(seed).uniform(0, 1e4, room)
    live.extend(nonsense, np.full(room, 320, np.int32))
    assert (live._count, live._seconds) == decided


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded(kind: str) -> None:
    live = Continuity(page=256, context=64)
    most = 0
    for seed in range(20):
        stream = drawn(kind, seed, 1000)
        live.extend(stream.stamps + seed * 200, stream.counts.astype(np.int32))
        most = max(most, *(len(kept) for kept in (live._starts, live._samples, live._checksums)))
        assert live.undecided <= 256 + 64
    assert 256 < most <= 256 + 2 * 64
    held = [len(value) for value in vars(live).values() if hasattr(value, "__len__")]
    assert max(held) <= 256 + 2 * 64


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([0, 320, 3200])), max_size=30))
@settings(deadline=None)
def test_one_by_one_or_together_is_the_same(packets: list[tuple[float, int]]) -> None:
    stamps, counts = np.array([at for at, _ in packets]), np.array([n for _, n in packets])
    one = Continuity()
    for at, count in packets:
        one.add(at, count)
        assert one.total(0) == (one.gaps, one.missing)
    other = Continuity()
    other.extend(stamps, counts.astype(np.int32))
    assert (one.gaps, one.missing, one.undecided) == (other.gaps, other.missing, other.undecided)


def test_an_answer_may_lag_where_stamps_scatter_and_only_there() -> None:
    stream = drawn("scattered", 1, 2000)
    live = counted(stream)
    before = live.total()
    end = float(stream.stamps[-1])
    for step in range(BEHIND - 1):
        live.add(end + 10 + step * 0.2, 3200)
    assert live.total() == before
    assert live.total(0) != before
    exact = Continuity()
    exact.extend(np.arange(100) * 0.2, np.full(100, 3200, np.int32))
    assert exact.total() == (0, 0.0)
    exact.add(30.0, 3200)
    assert exact.total() == (1, pytest.approx(10.0))


def test_it_starts_over_with_a_frame() -> None:
    live = counted(drawn("exact", 5, 500))
    packets = make_capture([0.0, 0.2, 0.8]).packets
    live.start_over(packets)
    assert (live.gaps, live.missing) == (1, pytest.approx(0.4))
    live.add(2.0, 3200)
    assert (live.gaps, live.missing) == (2, pytest.approx(1.4))


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 95), st.floats(1.0, 1e5), st.floats(0.0, 60.0), st.booleans())
def test_a_media_clock_begun_again_is_laid_behind(
    at: int, back: float, passed: float, leaps: bool
) -> None:
    spoken = np.arange(100) * 0.2
    later = np.arange(100) >= at
    wall = spoken + later * passed
    ahead = 1 if leaps else -1
    relative = 1e5 + spoken + later * ahead * (back + passed)
    epoch = 1_767_225_600_000_000_000
    absolute, arrived = (epoch + np.rint(wall * 1e9)).astype(np.int64), np.rint(wall * 1e9)
    live = Continuity()
    live.extend(relative, np.full(100, 3200, np.int32), absolute, None, arrived.astype(np.int64))
    assert live.missing == pytest.approx(passed, abs=1e-5)
    capture = make_capture(relative, absolute=absolute, monotonic=arrived, received=absolute)
    assert live.missing == pytest.approx(gaps(capture)["duration"].sum(), abs=1e-5)
