"""One analysis: computed once, by one set of options, from whatever is a capture; and its sum."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.builders import NEW_YEAR, make_capture, make_events
from helpers.often import often
from hypothesis import given, settings
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.analysis.time import analysis
from recall_lab.analysis.time.analysis import Analysis, analyse, analyses_of, capture_of
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument

RATE = 16_000
COMPUTED = [name for name, of in vars(Analysis).items() if isinstance(of, cached_property)]
SEEDS = st.integers(0, 2**32 - 1)


def lossy() -> Capture:
    return make_capture(np.delete(np.arange(300), [50, 51, 120]) * 0.2)


class Receiver:
    """What knows its newest capture, as a receiver does."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def newest(self) -> Any:
        return self.found


def test_each_thing_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    worked = ["with_times", "media_order", "place", "find", "drifts", "steps_of", "pace_of",
              "delays_of", "stalls_of", "running_jitter", "clock_rate_of"]  # fmt: skip

    def count(name: str) -> None:
        original = getattr(analysis, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls[name + "!" * bool(options.get("repaired"))] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(analysis, name, counted)

    for name in worked:
        count(name)
    known = analyse(lossy())
    assert not calls  # nothing before it is asked for
    for _ in range(3):
        for name in COMPUTED:
            assert getattr(known, name) is getattr(known, name)
        for ask in (rl.gaps, rl.discontinuities, rl.drift, rl.jitter, rl.clock_steps, rl.stalls):
            ask(known)
        rl.quality(known, sound=False)
        rl.loss(known)
        rl.timeline(known)
    assert calls == {name: 1 for name in [*worked, "with_times!"]}


def test_what_a_function_makes_of_it_is_made_once() -> None:
    known, seen = analyse(lossy()), []

    def first(one: Analysis) -> list[float]:
        seen.append("first")
        return [one.missing]

    def second(one: Analysis) -> str:
        seen.append("second")
        return "other"

    assert known.once(first) is known.once(first)
    assert (known.once(second), known.once(second)) == ("other", "other")
    assert seen == ["first", "second"]
    analyse(lossy()).once(first)
    assert seen == ["first", "second", "first"]


def test_a_capture_a_path_a_receiver_and_an_analysis_mean_the_same(root: Path) -> None:
    path = root / "data" / "standup-lossy.bin"
    capture = rl.load(path)
    expected = rl.gaps(capture)
    assert len(expected)
    for source in (path, str(path), Receiver(capture), analyse(capture)):
        found = analyse(source).gaps
        assert found.drop(columns="evidence").equals(expected.drop(columns="evidence"))
    known = analyse(capture)
    assert analyse(known) is known
    assert capture_of(known) is capture_of(capture) is capture


def test_an_analysis_shares_its_options_with_all_that_take_it() -> None:
    capture = lossy()
    known = analyse(capture, call=(-1, 70), mute=0.3, tolerance=0.25)
    assert (known.call, known.mute, known.tolerance, known.beside) == ((-1, 70), 0.3, 0.25, ())
    options: dict[str, Any] = {"call": (-1, 70), "mute": 0.3, "tolerance": 0.25}
    assert rl.gaps(known).equals(rl.gaps(capture, **options))
    # 0.2 s more are missing, which is within the tolerance: what follows stands so much earlier
    assert rl.gaps(known)["duration"].round(6).tolist() == [1.0, 0.4, 10.2]
    assert known.span == (-1, 70)
    # what is given again is changed, and all else kept
    other = analyse(known, tolerance=0)
    assert (other.call, other.mute, other.tolerance) == ((-1, 70), 0.3, 0.0)
    assert rl.gaps(other)["duration"].round(6).tolist() == [1.0, 0.4, 0.2, 10.0]
    assert rl.gaps(known, tolerance=0).equals(rl.gaps(other))
    assert "mute=0.3" in repr(known) and "tolerance=0.25" in repr(known)
    assert "mute" not in repr(analyse(capture))


def test_streams_of_a_list_stand_beside_the_mixed_one_of_their_recording() -> None:
    mixed, alice = lossy(), make_capture(np.arange(300) * 0.2, participant=100)
    found = analyses_of([mixed, alice])
    assert found is not None
    assert [one.beside for one in found] == [(alice,), ()]
    assert analyses_of((mixed,), mute=2)[0].mute == 2  # type: ignore[index]
    assert analyses_of(mixed) is analyses_of(str(mixed)) is analyses_of(found[0]) is None
    bob = make_capture(np.arange(300) * 0.2, participant=200)
    given_ = analyse(mixed, beside=[bob])
    told = analyses_of([given_, alice])
    assert told is not None and told[0].beside == (bob,)
    assert analyse(mixed, beside=bob).beside == (bob,)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, 5, object(), {"a": 1}, Receiver(None), Receiver(5)])
def test_what_is_no_source_is_named_with_what_is_accepted(source: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"a capture, what analyse\(\) returned, the path"):
        analyse(source)
    with pytest.raises(InvalidArgument, match="receiver"):
        capture_of(source)


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({"beside": [5]}, "captures of the same recording"),
        ({"mute": -1}, "mute"),
        ({"mute": "soon"}, "mute"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"call": (5, 1)}, "call"),
        ({"call": 5}, "call"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], accepted: str) -> None:
    with pytest.raises(InvalidArgument, match=accepted):
        analyse(lossy(), **options)


def test_an_empty_list_and_timelines_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        analyses_of([])
    with pytest.raises(InvalidArgument, match="'silence', 'hold', 'nan' or a finite number"):
        analyse(lossy()).timeline(float("inf"))
    with pytest.raises(InvalidArgument, match="'media' or 'samples'"):
        analyse(lossy()).timeline(clock="wall")


def mixture(seed: int) -> Capture:
    """Draw packets with all that may happen to exact stamps."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 400))
    counts = rng.choice(rng.choice([320, 533, 1024, 1600, 3200], 2), count)
    steps = np.where(rng.random(count) < rng.choice([0, 0.05]), rng.choice([1, 2, 30], count), 0.0)
    steps = steps * counts / RATE  # of packets lost
    over = rng.random(count) < rng.choice([0, 0.0, 0.02])
    steps -= np.where(over, rng.uniform(0.5, 0.9, count) * counts / RATE, 0.0)
    ppm = rng.choice([0, 0, -900, -50, 50, 900])
    media = (np.cumsum(counts / RATE) - counts / RATE) * (1 + ppm * 1e-6) + np.cumsum(steps)
    wall = media - media[0]
    restart = int(rng.integers(1, count + 1)) if rng.random() < 0.3 else count
    media[restart:] -= media[restart - 1] - 1.5
    again = rng.choice(count, rng.integers(0, 5) * (count > 20))
    again = again[(again > 0) & (np.abs(again - restart) > 8)]
    came = np.append(np.arange(count), again)
    place = np.argsort(np.append(np.arange(count), again + rng.integers(0, 4, len(again)) + 0.5))
    came = came[place]
    counts = np.where(rng.random(count) < rng.choice([0, 0.02]), 0, counts)[came]
    arrived = np.rint(np.maximum.accumulate(wall[came]) * 1e9)
    return make_capture(
        media[came] + rng.choice([0, 1234.5]), counts, payload_crc=came,
        absolute=NEW_YEAR + 123 + np.rint(wall[came] * 1e9), monotonic=arrived + 1e9,
        received=NEW_YEAR + arrived,
    )  # fmt: skip


@pytest.mark.statistics
@settings(max_examples=often(40, 100), deadline=None)
@given(SEEDS)
def test_span_is_audio_and_missing_less_what_is_there_twice(seed: int) -> None:
    known = analyse(mixture(seed))
    start, end = known.span
    audio = float(known.order.lasts.sum())
    assert end - start == pytest.approx(audio + known.missing - known.twice, abs=1 / RATE)
    ppm = audio / (len(known.capture.samples) / RATE) - 1 if audio else 0.0
    assert abs(ppm) <= 1100e-6
    assert np.count_nonzero(~known.timeline().real) == known.gaps["samples"].sum()


def test_twice_and_missing_by_hand() -> None:
    stamps = np.arange(60) * 0.2
    stamps[30:] -= 0.15
    capture = make_capture(
        np.insert(np.delete(stamps, 10), 20, stamps[20]),
        payload_crc=np.insert(np.delete(np.arange(60), 10), 20, 20),
        events=make_events(),
    )
    known = analyse(capture)
    assert known.missing == pytest.approx(0.2)
    assert known.twice == pytest.approx(0.2 + 0.15)
    assert known.span == pytest.approx((0.0, 12.0 - 0.15))
    assert len(capture.samples) / RATE == 12.0
    nothing = analyse(make_capture([]))
    assert (nothing.missing, nothing.twice, nothing.span) == (0.0, 0.0, (0.0, 0.0))
