"""Gaps, against the simulator's truth sample by sample, against ObsPy, and by hand."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from helpers.builders import make_capture
from helpers.often import often
from helpers.plans import CAUSE_OF, SECONDS, draw, holes
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.time.gaps import discontinuities, gaps
from recall_lab.analysis.time.timeline import timeline
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity.live import Continuity
from recall_lab.errors import InvalidArgument, MissingTimestamps

Make = Callable[..., Capture]
RATE = 16_000


def kinds(capture: Capture, **options: object) -> list[tuple[str, str, float, float]]:
    found = discontinuities(capture, **options)  # type: ignore[arg-type]
    columns = found["kind"], found["cause"], found["start"].round(9), found["end"].round(9)
    return list(zip(*columns, strict=True))


@pytest.mark.slow
@pytest.mark.statistics
def test_calls_with_all_faults_at_once_are_told_to_the_sample(arrive: Make) -> None:
    told: Counter[bool] = Counter()
    seen: Counter[str] = Counter()
    calls = often(150, 500)
    for seed in range(calls):
        call = draw(seed)
        capture = arrive(call.plan)
        found = discontinuities(capture, call=(call.start, call.start + SECONDS))
        missing = found[found["kind"] == "gap"]
        edges = np.rint((missing[["start", "end"]].to_numpy() - call.start) * RATE).astype(int)
        truth = holes(call.there)
        assert edges.tolist() == truth.tolist(), (seed, call.faults)
        assert missing["samples"].tolist() == (truth[:, 1] - truth[:, 0]).tolist()

        sent = call.plan[call.plan["outcome"] == "sent"]
        twice = sent["duplicate"] & (sent["samples"] > 0)
        repeated = found[found["kind"] == "duplicate"]
        assert (len(repeated), set(repeated["cause"]) <= {"exact"}) == (twice.sum(), True), seed
        numbers = sent.loc[~sent["duplicate"], "packet"].to_numpy()
        late = np.count_nonzero(numbers < np.maximum.accumulate(numbers))
        assert np.count_nonzero(found["kind"] == "reordered") == late, seed
        assert "overlap" not in set(found["kind"])

        stream = Continuity()
        packets = capture.packets
        for relative, count in zip(packets["relative"], packets["samples"], strict=True):
            stream.add(relative, count)
        assert stream.gaps == len(gaps(capture)), seed

        for (begin, end), cause, before, after in zip(
            truth, missing["cause"], missing["before"], missing["after"], strict=True
        ):
            first, last = np.searchsorted(call.offsets, [begin, end])
            outcomes = set(call.outcomes[first:last])
            seconds = (end - begin) / RATE
            # what the data can't tell: two causes in one gap, nothing on one side of it, and,
            # as nothing numbers the packets, a long loss from a mute
            hidden = len(outcomes) > 1 or before is pd.NA or after is pd.NA
            hidden |= ("lost" in outcomes and seconds >= 1) or ("muted" in outcomes and seconds < 1)
            if not hidden:
                expected = CAUSE_OF[outcomes.pop()]
                told[cause == expected] += 1
                seen[expected] += 1
    assert told[True] / told.total() >= 0.99
    assert min(seen[cause] for cause in CAUSE_OF.values()) >= calls / 10


def obspy_gaps(relative: np.ndarray, samples: np.ndarray) -> list[tuple[int, int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own affair
        from obspy import Stream, Trace, UTCDateTime

        zero = UTCDateTime(0)
        stream = Stream()
        for start, count in zip(relative.tolist(), samples.tolist(), strict=True):
            header = {"sampling_rate": RATE, "starttime": UTCDateTime(ns=round(start * 1e9))}
            stream.append(Trace(np.zeros(count, np.int16), header))
        found = stream.get_gaps()
    # from the last sample before to the first after, in samples; ours is half-open
    return [
        (round((gap[4] - zero) * RATE) + 1, round((gap[5] - zero) * RATE))
        for gap in found
        if gap[6] > 0
    ]


@pytest.mark.parametrize("seed", range(8))
def test_obspy_finds_the_same_gaps(make: Make, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.choice([320, 800, 3200], 400)
    # a gap of one sample and more here and there
    holes = np.where(rng.random(400) < 0.15, rng.integers(1, 40_000, 400), 0)
    starts = (np.cumsum(counts + holes) - counts) / RATE
    ours = gaps(make(starts, counts))
    assert set(ours["kind"]) == {"gap"}
    edges = np.rint(ours[["start", "end"]].to_numpy() * RATE).astype(int)
    assert [tuple(edge) for edge in edges.tolist()] == obspy_gaps(starts, counts)


def test_every_column_of_a_gap(make: Make, events: Callable[..., pd.DataFrame]) -> None:
    told = events(
        {"kind": "connected", "connection": 1, "receiver": "a"},
        {"kind": "disconnected", "connection": 1, "detail": {"code": 1006}},
        {"kind": "connected", "connection": 2, "receiver": "a"},
    )
    capture = make([10.0, 10.2, 13.4], connection=[1, 1, 2], events=told)
    (row,) = gaps(capture).to_dict("records")
    assert row.pop("start") == pytest.approx(10.4)
    assert row.pop("end") == pytest.approx(13.4)
    assert row.pop("duration") == pytest.approx(3.0)
    assert row == {
        "kind": "gap",
        "cause": "reconnect",
        "samples": 48_000,
        "absolute": pd.Timestamp("2026-01-01T00:00:10.4Z"),
        "before": 1,
        "after": 2,
        "connection_before": 1,
        "connection_after": 2,
        "evidence": "connection 1 broke (code 1006), 2 brought what came next",
    }


def test_an_empty_frame_has_the_same_columns_and_dtypes(make: Make) -> None:
    full = gaps(make([0.0, 1.0]))
    none = gaps(make([]))
    assert (len(full), len(none)) == (1, 0)
    assert full.dtypes.to_dict() == none.dtypes.to_dict()
    assert gaps(Capture(np.empty(0, np.int16))).empty


def test_an_overlap_is_new_audio_before_the_last_has_ended(make: Make) -> None:
    assert kinds(make([0.0, 0.15, 0.35])) == [("overlap", "", 0.15, 0.2)]
    # within a longer one, and the next follows the longer
    assert kinds(make([0.0, 0.05, 0.2], [3200, 800, 3200])) == [("overlap", "", 0.05, 0.1)]


def test_duplicates_are_told_apart_by_their_checksum(make: Make) -> None:
    capture = make([0.0, 0.2, 0.2, 0.2, 0.2, 0.4], payload_crc=[1, 2, 2, 3, 2, 4])
    found = discontinuities(capture)
    assert found["kind"].tolist() == ["duplicate"] * 3
    assert found["cause"].tolist() == ["exact", "conflicting", "exact"]
    assert found["before"].tolist() == [1, 1, 1]
    assert found["after"].tolist() == [2, 3, 4]


def test_the_order_of_arrival_makes_no_gap(make: Make) -> None:
    found = discontinuities(make([0.0, 0.4, 0.2, 0.6, 0.2], payload_crc=[1, 2, 3, 4, 3]))
    assert found["kind"].tolist() == ["reordered", "duplicate"] or found["kind"].tolist() == [
        "duplicate",
        "reordered",
    ]
    late = found[found["kind"] == "reordered"].iloc[0]
    assert (late["before"], late["after"]) == (1, 2)
    assert late["start"] == pytest.approx(0.2)


def test_rounded_stamps_tear_nothing(make: Make) -> None:
    exact = np.arange(400) * 533 / RATE
    capture = make(np.round(exact, 3), 533)
    assert discontinuities(capture).empty
    kept = np.delete(np.arange(400), [50, 51, 200])
    assert len(gaps(make(np.round(exact, 3)[kept], 533))) == 2


def test_a_tolerance_is_how_far_audio_may_stand_from_its_stamp(make: Make) -> None:
    starts = np.arange(100) * 0.2
    starts[50:] += 0.03
    starts[80:] += 0.03
    capture = make(starts)
    assert [row[2:] for row in kinds(capture)] == [(10.0, 10.03), (16.03, 16.06)]
    # the first alone is within it, both are not; and never is a part of one told
    assert kinds(capture, tolerance=0.04) == [("gap", "loss", 16.0, 16.06)]
    assert kinds(capture, tolerance="40ms") == kinds(capture, tolerance=0.04)
    assert kinds(capture, tolerance=0.07) == []
    for tolerance in (0.0, 0.04, 0.07):
        line = timeline(capture, tolerance=tolerance)
        missing = gaps(capture, tolerance=tolerance)
        assert np.count_nonzero(~line.real) == missing["samples"].sum()
    # there and back again: nothing is owed
    starts[50:] -= 0.03
    starts[80:] -= 0.03
    starts[30:70] -= 0.03
    assert [row[0] for row in kinds(make(starts))] == ["overlap", "gap"]
    assert kinds(make(starts), tolerance=0.04) == []


def test_a_clock_of_hours_is_as_exact_as_one_of_seconds(make: Make) -> None:
    starts = 36_000.0 + np.delete(np.arange(5000), 2500) * 320 / RATE
    (row,) = kinds(make(starts, 320))
    assert row == ("gap", "loss", 36_050.0, 36_050.02)


def test_short_holes_in_a_connection_are_loss_and_the_limit_can_be_set(make: Make) -> None:
    capture = make([0.0, 0.4, 2.6], participant=7)
    assert [row[1] for row in kinds(capture)] == ["loss", "mute"]
    assert [row[1] for row in kinds(capture, mute=5.0)] == ["loss", "loss"]
    assert [row[1] for row in kinds(capture, mute=0.1)] == ["mute", "mute"]
    assert [row[1] for row in kinds(make([0.0, 0.4, 2.6]))] == ["loss", "unknown"]


def test_packets_without_audio_are_silence(make: Make) -> None:
    capture = make([0.0, 0.2, 0.4, 0.6, 2.0], [3200, 0, 0, 3200, 3200])
    assert kinds(capture) == [("gap", "silence", 0.2, 0.6), ("gap", "unknown", 0.8, 2.0)]
    assert gaps(capture)["evidence"][0] == "2 packets without audio in it"
    # at the ends, and nothing else at all
    assert kinds(make([0.0, 0.2, 0.4], [0, 3200, 0])) == [("gap", "silence", 0.0, 0.2)]
    assert kinds(make([1.0, 1.2, 1.6], [0, 0, 0])) == [("gap", "silence", 1.0, 1.6)]


def test_what_is_missing_at_either_end_of_a_known_span(make: Make) -> None:
    capture = make([1.0, 1.2])
    assert kinds(capture, call=(0, 3)) == [
        ("gap", "unknown", 0.0, 1.0),
        ("gap", "unknown", 1.4, 3.0),
    ]
    found = discontinuities(capture, call=(0, 3))
    assert found["before"].isna().tolist() == [True, False]
    assert found["after"].isna().tolist() == [False, True]
    assert found["absolute"].tolist() == [
        pd.Timestamp("2026-01-01T00:00:00Z"),
        pd.Timestamp("2026-01-01T00:00:01.4Z"),
    ]
    assert kinds(make([]), call=(0, 3)) == [("gap", "unknown", 0.0, 3.0)]
    assert gaps(capture, call=(1.0, 1.4)).empty


class TestDegenerate:
    def test_one_packet(self, make: Make) -> None:
        assert gaps(make([3.0])).empty

    def test_all_duplicates(self, make: Make) -> None:
        found = discontinuities(make([1.0] * 500, payload_crc=np.ones(500)))
        assert found["cause"].value_counts().to_dict() == {"exact": 499}

    def test_a_clock_that_runs_backward(self, make: Make) -> None:
        found = discontinuities(make(np.arange(50)[::-1] * 0.2))
        assert found["kind"].value_counts().to_dict() == {"reordered": 49}

    def test_a_clock_that_is_not_a_number(self, make: Make) -> None:
        found = discontinuities(make([0.0, np.nan, 0.2, 2e9, 0.8]))
        assert found["start"].round(9).tolist() == [0.4]
        assert (found["before"][0], found["after"][0]) == (2, 4)
        with pytest.raises(MissingTimestamps, match="relative time of all 2 packets"):
            gaps(make([np.nan, np.nan]))

    def test_audio_without_an_index(self) -> None:
        with pytest.raises(MissingTimestamps, match=r"1\.000 s of audio, but no packets.*\.idx"):
            gaps(Capture(np.zeros(16_000, np.int16)))

    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"tolerance": -1}, "tolerance"),
            ({"tolerance": "1"}, "tolerance"),
            ({"tolerance": np.nan}, "tolerance"),
            ({"mute": -1}, "mute"),
            ({"mute": np.nan}, "mute"),
            ({"tolerance": "1 furlong"}, "tolerance"),
            ({"call": (2, 1)}, "call"),
            ({"call": 3}, "call"),
            ({"call": (0, np.inf)}, "call"),
            ({"call": ("2026-01-01 00:00", "2026-01-01 00:01")}, "call"),  # no zone
        ],
    )
    def test_arguments_that_cannot_be(
        self, make: Make, options: dict[str, object], name: str
    ) -> None:
        with pytest.raises(InvalidArgument, match=name):
            gaps(make([0.0]), **options)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1900), st.integers(1, 90), st.integers(1, 4)), max_size=12),
    st.lists(st.integers(0, 1999), max_size=4),
)
def test_what_came_late_is_told_as_one_by_one(
    moved: list[tuple[int, int, int]], doubled: list[int]
) -> None:
    """Among many in order, some come late, one or several in a row, and some come twice."""
    order = np.arange(2000)
    for at, by, size in moved:  # `size` packets come after `by` others
        some = order[at : at + size]
        order = np.insert(np.delete(order, np.arange(at, at + len(some))), min(at + by, 1990), some)
    order = np.insert(order, doubled, order[doubled])
    found = discontinuities(make_capture(order * 0.2, payload_crc=order))
    late, furthest, first, seen = [], -1, 0, set()
    for at, number in enumerate(order.tolist()):
        if number < furthest and number not in seen:
            late.append((first, at))
        seen.add(number)
        if number > furthest:
            furthest, first = number, at
    told = found.loc[found["kind"] == "reordered", ["before", "after"]].astype(int)
    assert sorted(told.itertuples(index=False, name=None)) == sorted(late)
    assert (found["kind"] == "duplicate").sum() == len(order) - len(set(order.tolist()))
