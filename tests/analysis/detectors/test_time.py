"""Findings of time and files: each where it is, with its severity and words, and not where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.builders import NEW_YEAR, arrive, make_capture, make_events
from helpers.plans import SOURCE, draw

from recall_lab.analysis.detectors.clocks import rate_by_clocks, ratio_of
from recall_lab.analysis.detectors.time import expected_of, findings_of_time
from recall_lab.analysis.findings.catalogue import CATALOGUE, TIME
from recall_lab.analysis.time.analysis import analyse
from recall_lab.capture.capture import Capture
from recall_lab.capture.damage import Damage
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.plan import cut, plan

T = np.arange(300) * 0.2  # a minute
LONG = np.arange(1500) * 0.2  # five
DELAY = 0.23


def passed(
    relative: np.ndarray,
    sender: np.ndarray | None = None,
    ours: np.ndarray | None = None,
    samples: int | np.ndarray = 3200,
    **more: Any,
) -> Capture:
    """Return a capture of which the wall clocks went otherwise: s since its start, by packet."""
    sender = relative if sender is None else sender
    ours = sender if ours is None else ours
    return make_capture(
        relative,
        samples,
        absolute=NEW_YEAR + np.rint(sender * 1e9).astype(np.int64),
        received=NEW_YEAR + np.rint((ours + DELAY) * 1e9).astype(np.int64),
        monotonic=np.rint((ours + 100 + DELAY) * 1e9).astype(np.int64),
        **more,
    )


def without(relative: np.ndarray, *lost: int) -> np.ndarray:
    return np.delete(relative, lost)


def damaged(**wrong: Any) -> Capture:
    whole = make_capture(T)
    return Capture(whole.samples, whole.packets, whole.info, Damage(**wrong))


def jitter(seed: int, mean: float, size: int = 300) -> np.ndarray:
    """Return when packets come that never overtake one another, s after they were sent."""
    ours = np.arange(size) * 0.2 + np.random.default_rng(seed).exponential(mean, size)
    return np.maximum.accumulate(ours)


def journal(*numbers: int, ended: tuple[int, ...] = ()) -> Any:
    lines = [{"kind": "connected", "connection": one, "receiver": "a"} for one in numbers]
    lines += [
        {"kind": "disconnected", "connection": one, "detail": {"code": 1000}} for one in ended
    ]
    return make_events(*lines)


def dropped(**line: Any) -> Any:
    detail = {"stream": "call", "since": 20.0, "until": 20.4, "packets": 2, "error": "disk full"}
    return make_events({"kind": "dropped", "detail": detail | line})


def stalled(seconds: float, at: float = 30.0, noted: float | None = None) -> Capture:
    """Return a capture of a receiver that was held up until `at`, and says so."""
    ours = np.where((at - seconds <= T) & (at > T), at, T)
    line = {
        "kind": "stalled",
        "received": NEW_YEAR + round((at + DELAY) * 1e9),
        "seconds": seconds if noted is None else noted,
    }
    return passed(T, T, ours, events=make_events(line))


def shifted(relative: np.ndarray, by: float, since: float) -> np.ndarray:
    return relative + np.where(relative >= since, by, 0.0)


class Case(NamedTuple):
    """A capture, and what is said of it: severity None where it is not found."""

    finding: str
    make: Callable[[], Capture]
    severity: str | None
    evidence: str = ""
    value: float = np.nan
    options: Mapping[str, Any] = {}


HOLE = without(T, *range(100, 250))  # 20 to 50 s
AGAIN = np.concatenate([T[:150], T[:150]])
LEAP = shifted(T, 3600, 30)
SWAPPED = T[[*range(100), 101, 100, *range(102, 300)]]
CASES = (
    Case("damaged_files", lambda: damaged(missing_payloads=3, missing_spans=((60.0, 60.6),)),
         "bad", "its files are damaged: 3 records without their audio", 3),
    Case("damaged_files", lambda: damaged(damaged_records=1), "bad", "1 damaged record", 1),
    Case("damaged_files", lambda: damaged(torn_bytes=34), "warning", "34 bytes of a torn record"),
    Case("damaged_files", lambda: make_capture(T), None),
    Case("empty", lambda: make_capture(T, 0), "warning", "there is no audio: 300 packets in 59.8 s,"
         " none with any"),
    Case("empty", lambda: make_capture([]), "warning", "there is no audio: no packet came"),
    Case("empty", lambda: make_capture([3.0]), None),
    Case("missing", lambda: make_capture(without(T, 77, 200, 201)), "warning",
         "0.60 of 60.0 s are missing in 2 gaps: loss 0.60 s", 1.0 - 1e-9),
    Case("missing", lambda: make_capture(without(T, *range(3, 300, 50))), "bad",
         "1.20 of 60.0 s are missing in 6 gaps: loss 1.20 s", 2.0),
    Case("missing", lambda: make_capture(without(LONG, 700)), "note",
         "0.20 of 300.0 s are missing in 1 gap: loss 0.20 s", 100 / 1500),
    Case("missing", lambda: make_capture(
        without(T, 77, *range(200, 220)),
        connection=np.where(without(T, 77, *range(200, 220)) < 40, 1, 2),
        events=make_events({"kind": "connected", "connection": 1, "receiver": "a"},
                           {"kind": "disconnected", "connection": 1, "detail": {"code": 1006}},
                           {"kind": "connected", "connection": 2, "receiver": "a"})),
         "bad", "4.20 of 60.0 s are missing in 2 gaps: reconnect 4.00 s, loss 0.20 s", 7.0),
    Case("missing", lambda: make_capture(T), None),
    Case("missing", lambda: make_capture(HOLE, participant=1), None),  # a mute
    Case("missing", lambda: make_capture(HOLE), None),  # the silence of all, perhaps
    Case("unexplained_gap", lambda: make_capture(HOLE), "warning",
         "30.00 of 60.0 s are not there, in 1 gap: lost, or nobody was to be heard, which nothing "
         "tells", 50.0),
    Case("unexplained_gap", lambda: make_capture(T), "warning",
         "10.00 of 70.0 s are not there, in 1 gap: lost, or nobody was to be heard, which nothing "
         "tells (no packet after it)", 100 / 7, {"call": (0.0, 70.0)}),
    Case("unexplained_gap", lambda: make_capture(T), "note", "0.05 of 60.0 s", 0.05 / 60.05 * 100,
         {"call": (0.0, 60.05)}),
    Case("unexplained_gap", lambda: make_capture(HOLE, participant=1), None),
    Case("unexplained_gap", lambda: make_capture(without(T, 77)), None),
    Case("media_clock_stood", lambda: passed(T, shifted(T, 18, 30)), "bad",
         "18.00 s passed of which there is no audio: the media clock stood while both", 18 / 0.78),
    Case("media_clock_stood", lambda: passed(LONG, shifted(LONG, 0.5, 30)), "warning",
         "0.50 s passed", 50 / 300.5),
    Case("media_clock_stood", lambda: passed(np.arange(6000) * 0.2,
                                            shifted(np.arange(6000) * 0.2, 0.5, 30)),
         "note", "0.50 s passed", 50 / 1200.5),
    Case("media_clock_stood", lambda: passed(T, shifted(shifted(T, 2, 20), 3, 40)), "bad",
         "5.00 s passed of which there is no audio, 2 times", 5 / 0.65),
    Case("media_clock_stood", lambda: passed(T), None),
    Case("media_clock_stood", lambda: passed(T, shifted(T, 18, 30), T), None),  # it was set
    Case("clock_rate", lambda: passed(LONG, LONG / 0.99), "bad", "3.03 s of the call are not in "
         "the audio: the media clock runs 1.00 % slower than both wall clocks", 1.0),
    Case("clock_rate", lambda: passed(T, T / 0.99), "bad", "0.60 s of the call are not in the", 1),
    Case("clock_rate", lambda: passed(T, T / 0.9), "bad", "10.00 % slower than", 10),
    Case("clock_rate", lambda: passed(LONG, LONG / 0.995), "warning", "0.50 % slower", 0.5),
    Case("clock_rate", lambda: passed(LONG, LONG / 1.01), "bad",
         "the media clock runs 1.00 % faster than both wall clocks", 1.0),
    Case("clock_rate", lambda: passed(LONG, LONG / 0.99, LONG), "warning",
         "1.00 % slower than the sender's wall clock (our own contradicts it)", 1.0),
    Case("clock_rate", lambda: passed(LONG, LONG, LONG / 0.99), "warning",
         "1.00 % slower than our own clock (the sender's contradicts it)", 1.0),
    Case("clock_rate", lambda: passed(LONG, LONG / 0.99, LONG / 10), "bad",
         "1.00 % slower than the sender's wall clock", 1.0),
    Case("clock_rate", lambda: passed(LONG, LONG * (1 + 1e-4)), None),
    Case("clock_rate", lambda: passed(T[:45], T[:45] / 0.99), None),  # 9 s
    Case("clock_rate", lambda: passed(T, T, jitter(1, 0.2)), None),
    Case("clock_rate", lambda: passed(T, shifted(T, 0.24, 30)), None),
    Case("dropped", lambda: make_capture(without(T, 100, 101), events=dropped()), "bad",
         "2 packets came and could not be kept: disk full", 2),
    Case("dropped", lambda: make_capture(without(T, 100), events=dropped(packets=1, until=20.2)),
         "bad", "1 packet came and could not be kept: disk full", 1),
    Case("dropped", lambda: make_capture(T, events=dropped(stream="another")), None),
    Case("dropped", lambda: damaged(missing_payloads=3, missing_spans=((60.0, 60.6),)), None),
    Case("conflicting_audio", lambda: make_capture(np.insert(T, 50, T[50])), "warning",
         "1 packet brings other audio for a time that is there", 1),
    Case("conflicting_audio", lambda: make_capture(np.insert(T, [50, 90], T[[50, 90]])), "warning",
         "2 packets bring other audio", 2),
    Case("conflicting_audio", lambda: make_capture(
        np.insert(T, 50, T[50]), payload_crc=np.insert(np.arange(300), 50, 50)), None),
    Case("overlap", lambda: make_capture(T, 3280),
         "warning", "before the last has ended"),
    Case("overlap", lambda: make_capture(shifted(T, -20.0, 30)), "bad",
         "before the last has ended"),
    Case("overlap", lambda: make_capture(T), None),
    Case("overlap", lambda: make_capture(shifted(T, -0.1, 30)), None),  # a reconnect does that
    Case("duplicates", lambda: make_capture(
        np.insert(T, 50, T[50]), payload_crc=np.insert(np.arange(300), 50, 50)), "note",
         "1 of 301 packets came twice", 100 / 301),
    Case("duplicates", lambda: make_capture(np.insert(T, 50, T[50])), None),
    Case("epochs", lambda: passed(AGAIN, T), "warning", "two calls in one file, or a bot that came "
         "back: relative fell back by 29.800 s while the other clocks went on, at 30.00 s", 2),
    Case("epochs", lambda: passed(np.tile(T[:100], 3), T), "warning", ", and 1 time more", 3),
    Case("epochs", lambda: passed(T), None),
    Case("epochs", lambda: passed(SWAPPED, SWAPPED, T), None),
    Case("clock_leap", lambda: passed(LEAP, T), "warning", "the media clock leaps by +3,600.00 s "
         "while the other clocks go on; no audio is missing there", 3600),
    Case("clock_leap", lambda: passed(shifted(LEAP, 60, 3640), T), "warning", "(2 leaps in all)"),
    Case("clock_leap", lambda: passed(T), None),
    Case("clock_leap", lambda: make_capture(HOLE), None),
    Case("wall_clock_set", lambda: passed(T, shifted(T, -2.5, 30), T), "note",
         "the sender's wall clock was set by -2.500 s", 2.5),
    Case("wall_clock_set", lambda: passed(T, shifted(T, 0.2, 30), T), None),
    Case("wall_clock_set", lambda: passed(T, shifted(T, 18, 30)), None),  # no clock was set
    Case("no_absolute_time", lambda: make_capture(T, flags=np.where(np.arange(300) < 30, 4096, 0)),
         "note", "30 of 300 packets told no absolute time", 10),
    Case("no_absolute_time", lambda: make_capture(T, flags=np.where(np.arange(300) < 2, 4096, 0)),
         None),
    Case("sample_clock", lambda: passed(LONG * (1 + 5e-4)), "note",
         "the samples run 500 ppm slower than the media clock", 500),
    Case("sample_clock", lambda: passed(LONG * (1 + 5e-5)), None),
    Case("replayed", lambda: passed(T, T, T / 10), "note",
         "a replay: packets came 10 times as fast as they were spoken", 10),
    Case("replayed", lambda: passed(T, T, np.zeros(300)), "note", "packets came all at once"),
    Case("replayed", lambda: passed(T, T, T / 1.02), None),
    Case("replayed", lambda: passed(T, T / 0.9), None),  # audio is short, see clock_rate
    Case("late_packets", lambda: passed(T, T, T + np.where((T > 20) & (T < 22), 1.0, 0)), "note",
         "1 % of the packets came 1.00 s or more later than the fastest", 1.0),
    Case("late_packets", lambda: passed(T, T, T + np.where((T > 20) & (T < 22), 6.0, 0)),
         "warning", "1 % of the packets came 6.00 s or more", 6.0),
    Case("late_packets", lambda: passed(T, T, T + np.where((T > 20) & (T < 22), 0.3, 0)), None),
    Case("late_packets", lambda: passed(T, T, T / 10), None),
    Case("receiver_stalls", lambda: stalled(2.0), "note",
         "the receiver was held up for 2.00 s", 2.0),
    Case("receiver_stalls", lambda: stalled(8.0), "warning", "held up for 8.00 s", 8.0),
    Case("receiver_stalls", lambda: stalled(2.0, noted=0.05), None),  # the network was
    Case("stamps_scatter", lambda: make_capture(np.floor(np.arange(900) * 3.2) * 0.02, 1024),
         "note", "stamps are rounded to 10 ms and miss by up to 8.00 ms"),
    Case("stamps_scatter", lambda: make_capture(
        T + np.random.default_rng(0).normal(0, 0.01, 300)), "note", "stamps scatter and miss by"),
    Case("stamps_scatter", lambda: make_capture(T), None),
    Case("open_capture", lambda: make_capture(T, events=journal(1)), "note",
         "it may still grow: nothing tells that connection 1 has ended", 1),
    Case("open_capture", lambda: make_capture(T, events=journal(1, ended=(1,))), None),
    Case("open_capture", lambda: make_capture(T), None),  # no journal tells anything
    Case("no_timestamps", lambda: Capture(np.ones(160_000, np.int16)), "warning",
         "there is no index beside the audio", 10),
    Case("no_timestamps", lambda: make_capture(np.full(50, np.inf)), "warning",
         "no packet has a time that can be read", 10),
    Case("no_timestamps", lambda: make_capture([0.0, np.inf]), None),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{at}-{one.finding}" for at, one in enumerate(CASES)])
def test_each_finding_where_it_is_and_not_where_it_is_not(case: Case) -> None:
    told = findings_of_time(analyse(case.make(), **case.options))
    found = [one for one in told if one.finding == case.finding]
    assert len(found) == (case.severity is not None), told
    for one in found:
        assert one.severity == case.severity
        assert case.evidence in one.evidence
        assert one.unit == CATALOGUE[case.finding].unit
        if not np.isnan(case.value):
            assert one.value == pytest.approx(case.value, rel=2e-3)


def test_there_is_a_case_for_each_kind_and_one_against_it() -> None:
    kinds = {kind.finding for kind in TIME}
    assert {case.finding for case in CASES if case.severity} == kinds
    assert {case.finding for case in CASES if case.severity is None} == kinds


def test_what_has_a_place_tells_the_longest() -> None:
    capture = make_capture(without(T, 10, *range(100, 103), 200))
    (found,) = findings_of_time(analyse(capture))
    assert (found.start, found.end) == pytest.approx((20.0, 20.6))
    (stood,) = findings_of_time(analyse(passed(T, shifted(shifted(T, 2, 20), 3, 40))))
    assert (stood.start, stood.end) == pytest.approx((38.0, 38.0))


def test_clean_calls_give_nothing_but_notes() -> None:
    """Jitter, duplicates, packets that overtake, drift, and mutes of a participant's stream."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        separate = bool(rng.random() < 0.5)
        faults = Faults(
            duplicates=0.01, reorder=0.01, jitter=rng.uniform(0, 0.05),
            drift=rng.uniform(-100, 100), sample_clock=rng.uniform(-100, 100),
            quantum=float(rng.choice([0, 0.001])), zeros=0.01,
            mutes=((10.0, 18.0), (30.0, 45.0)) if separate else (), seed=seed,
        )  # fmt: skip
        table = plan(SOURCE, cut(len(SOURCE), 0.1, seed), faults, start=5, epoch=NEW_YEAR)
        capture = arrive(table)
        if separate:
            capture = make_separate(capture)
        told = findings_of_time(analyse(capture))
        assert [one for one in told if one.severity != "note"] == []
        assert not {one.finding for one in told} & {"missing", "unexplained_gap"}


def make_separate(capture: Capture) -> Capture:
    whose = make_capture([0.0], participant=7).info
    return Capture(capture.samples, capture.packets, whose, events=lambda: capture.events)


def test_what_is_missing_is_what_the_simulator_lost() -> None:
    """Share of known losses, against plans in which everything goes wrong at once."""
    for seed in range(15):
        call = draw(seed)
        known = analyse(arrive(call.plan), call=(call.start, call.start + 60))
        told = {one.finding: one for one in findings_of_time(known)}
        lost = np.isin(call.outcomes, ("lost", "outage", "muted"))
        missing = sum(told[name].value for name in ("missing", "unexplained_gap") if name in told)
        lasts = np.diff(np.append(call.offsets, 960_000)) / 16_000
        empty = float(lasts[call.outcomes == "empty"].sum())
        bound = 100 * (lasts[lost].sum() + empty) / (60 - empty)
        assert 100 * lasts[lost].sum() / 60 - 0.5 <= missing <= bound + 0.5
        assert expected_of(known) <= 60 + 1e-9


@pytest.mark.parametrize(
    ("samples", "ratio"),
    [(4800, 1.5), (6400, 2.0), (1600, 0.5), (2205, 0.689), (4410, 1.378), (9600, 3.0),
     (12_800, 4.0), (3200, None), (3201, None), (2880, None), (3400, None)],
)  # fmt: skip
def test_samples_against_time(samples: int, ratio: float | None) -> None:
    found = ratio_of(analyse(make_capture(T, samples)))
    assert found == (None if ratio is None else pytest.approx(ratio, rel=1e-3))
    assert bool(rate_by_clocks(analyse(make_capture(T, samples)))) == (ratio is not None)


def test_a_ratio_is_told_of_packets_that_agree_only() -> None:
    rng = np.random.default_rng(0)
    some = rng.random(300) < 0.3
    few = rng.random(300) < 0.1
    assert ratio_of(analyse(make_capture(T, np.where(few, 3200, 1600)))) == pytest.approx(0.5)
    assert ratio_of(analyse(make_capture(T, np.where(some, 3200, 1600)))) is None
    assert ratio_of(analyse(make_capture(T[:8], 1600))) is None
    assert ratio_of(analyse(make_capture([]))) is None
    # single losses make no other rate
    assert ratio_of(analyse(make_capture(without(T, 5, 80, 81), 4800))) == pytest.approx(1.5)


def test_what_a_rate_may_be_by_the_clocks_alone() -> None:
    (twice,) = rate_by_clocks(analyse(make_capture(T, 6400)))
    assert twice.evidence.startswith("not 16 kHz mono, but 32 kHz or two channels at 16 kHz:")
    (half,) = rate_by_clocks(analyse(make_capture(T, 1600)))
    assert "8 kHz or audio with so much missing from each packet" in half.evidence
