"""The sums of a plan: held against every sample counted one by one, and against plain figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from helpers.often import often
from helpers.plans import draw_field
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.capture import Capture
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.plan import CLOCK_LIMIT, cut, plan
from recall_lab.simulator.truth import Truth, truth_of

SECONDS = 20
SOURCE = np.arange(SECONDS * 16_000, dtype="<i2")
NS = 1e-8  # what sums of rounded seconds may be off

times = st.floats(0, SECONDS)
mixtures = st.builds(
    Faults,
    loss=st.sampled_from([0, 0.05, 0.3, 1]),
    burst=st.sampled_from([1, 3]),
    duplicates=st.sampled_from([0, 0.1]),
    reorder=st.sampled_from([0, 0.1]),
    jitter=st.sampled_from([0, 0.05]),
    disconnects=st.lists(times, max_size=1),
    mutes=st.lists(times.map(lambda at: (at, at + 2.5)), max_size=2),
    empty=st.sampled_from([0, 0.05]),
    malformed=st.sampled_from([0, 0.05]),
    short=st.sampled_from([0, 0, 0.1]),
    uneven=st.sampled_from([0, 0, 0.1]),
    uneven_by=st.sampled_from([(-1, 1), (-40,), (-40, 300)]),
    drift=st.sampled_from([0, 80]),
    sample_clock=st.sampled_from([0, 50, 1000, -50]),
    steps=st.lists(st.tuples(times, st.floats(-3, 3)), max_size=1),
    leaps=st.lists(st.tuples(times, st.sampled_from([3600.0, 0.5, -0.05])), max_size=3),
    hidden=st.lists(st.tuples(times, st.floats(0.01, 5)), max_size=2),
    restarts=st.lists(st.one_of(times, st.tuples(times, st.floats(0, 9))), max_size=3),
    rejoin=st.sampled_from(["new", "same"]),
    stamped=st.sampled_from(["start", "end"]),
    seed=st.integers(0, 10**6),
)


def counted(table: pd.DataFrame, faults: Faults) -> tuple[int, int, int, int]:
    """Count samples: of the epochs' spans, of all audio, those missing and those twice."""
    each = table[(table["packet"] >= 0) & ~table["duplicate"]].sort_values("packet")
    hidden = (each["outcome"] == "hidden").to_numpy()
    held = np.diff(each["offset"], append=len(SOURCE))
    shift = dict(zip(each["packet"], np.cumsum(np.where(hidden, held, 0)), strict=True))
    span = audio = missing = twice = 0
    for _, own in table[table["outcome"] == "sent"].groupby("epoch"):
        heard = np.zeros(len(SOURCE) + 1000, int)
        ends = 0
        begins = len(heard)
        for number, at, count in zip(own["packet"], own["offset"], own["samples"], strict=True):
            first = at - shift[number]
            heard[first : first + count] += 1
            begins, ends = min(begins, first), max(ends, first + count)
        heard = heard[begins:ends]
        span += len(heard)
        audio += heard.sum()
        missing += (heard == 0).sum()
        twice += np.maximum(heard - 1, 0).sum()
    return span, audio, missing, twice


@pytest.mark.statistics
@settings(max_examples=often(60, 200), deadline=None)
@given(
    mixtures, st.sampled_from([0.02, 0.1, 0.2, (0.02, 0.1, 0.2)]), st.sampled_from([0.0, 1234.5])
)
def test_span_is_audio_and_missing_less_twice_to_the_sample(
    faults: Faults, packet: float | tuple[float, ...], start: float
) -> None:
    table = plan(SOURCE, cut(len(SOURCE), packet, faults.seed), faults, start=start)
    truth = truth_of(table)
    second = (1 + faults.sample_clock * 1e-6) / 16_000
    span, audio, missing, twice = counted(table, faults)
    assert span == audio + missing - twice
    assert truth.span == pytest.approx(span * second, abs=NS)
    assert truth.audio == pytest.approx(audio * second, abs=NS)
    assert truth.missing == pytest.approx(missing * second, abs=NS)
    assert truth.twice == pytest.approx(twice * second, abs=NS)

    # and as the stamps have it, but for what the clock leaped
    sent = table[table["outcome"] == "sent"].sort_values("media", kind="stable")
    spans = leaps = 0.0
    for _, own in sent.groupby("epoch"):
        media = own["media"].to_numpy()
        leap = np.zeros(len(own))
        for at, seconds in faults.leaps:
            leap += np.where((media >= at) & (media[0] < at), seconds, 0)
        moment = own["slot"] if faults.stamped == "end" else 0.0
        begins = (own["relative"] - moment).to_numpy() - leap
        spans += (begins + own["duration"].to_numpy()).max() - begins[0]
        leaps += leap[-1]
    assert truth.span == pytest.approx(spans, abs=1e-6)
    assert truth.leaped == pytest.approx(leaps, abs=1e-6)

    # nothing of the call is left out
    each = table[(table["packet"] >= 0) & ~table["duplicate"]]
    whole = each["slot"][each["outcome"] != "hidden"].sum()
    parts = truth.before + truth.span + truth.between + truth.after
    # samples beyond the last slot of an epoch are no part of the call
    assert parts == pytest.approx(whole, abs=max(300 / 16_000 if faults.uneven else 0, NS))


def sums(faults: Faults, packet: float = 0.2) -> Truth:
    return truth_of(plan(SOURCE, cut(len(SOURCE), packet), faults, start=5))


@pytest.mark.parametrize(
    ("faults", "packet", "expected"),
    [
        (Faults(), 0.2, {"span": 20, "audio": 20}),
        # 180 ms in slots of 200, and 15 ms in slots of 20
        (Faults(short=0.1), 0.2, {"span": 19.98, "audio": 18, "missing": 99 * 0.02, "after": 0.02}),
        (
            Faults(short=0.25),
            0.02,
            {"span": 19.995, "audio": 15, "missing": 999 * 0.005, "after": 0.005},
        ),
        (Faults(mutes=((5, 8),)), 0.2, {"span": 20, "audio": 17, "missing": 3}),
        (
            Faults(mutes=((0, 2), (19, 20))),
            0.2,
            {"span": 17, "audio": 17, "before": 2, "after": 1},
        ),
        (Faults(disconnects=(10.1,)), 0.2, {"span": 20, "audio": 17, "missing": 3}),
        (Faults(duplicates=1), 0.2, {"span": 20, "audio": 40, "twice": 20}),
        (Faults(hidden=((5, 8),)), 0.2, {"span": 12, "audio": 12, "hidden": 8}),
        # at its edges nobody can tell
        (Faults(hidden=((0, 8), (15, 5))), 0.2, {"span": 7, "audio": 7}),
        (
            Faults(leaps=((5, 3600), (6, -0.05))),
            0.2,
            {"span": 20, "audio": 20, "leaped": 3599.95},
        ),
        (Faults(restarts=(5, 10)), 0.2, {"span": 20, "audio": 20, "epochs": 3}),
        (
            Faults(restarts=(10,), mutes=((9, 12),)),
            0.2,
            {"span": 17, "audio": 17, "between": 3, "epochs": 2},
        ),
        (Faults(restarts=(10,), mutes=((0, 12),)), 0.2, {"span": 8, "audio": 8, "before": 12}),
        (Faults(sample_clock=1000), 0.2, {"span": 20.02, "audio": 20.02}),
        # stereo in packets of 200 ms, and 24 kHz; 8 kHz
        (Faults(sample_clock=-5e5), 0.4, {"span": 10.2, "audio": 20, "twice": 49 * 0.2}),
        (Faults(sample_clock=-1e6 / 3), 0.3, {"span": 13.4, "audio": 20, "twice": 6.6}),
        (
            Faults(sample_clock=1e6),
            0.2,
            {"span": 39.8, "audio": 20, "missing": 99 * 0.2, "after": 0.2},
        ),
        (Faults(loss=1), 0.2, {"before": 20, "epochs": 0}),
        # what is wrong with stamps alone changes nothing
        (
            Faults(scatter=0.1, shared=5, late_stamps=0.3, quantum=0.5, stamped="end"),
            0.2,
            {"span": 20, "audio": 20},
        ),
    ],
    ids=repr,
)
def test_plain_figures(faults: Faults, packet: float, expected: dict[str, float]) -> None:
    found = sums(faults, packet)
    for name in Truth.__dataclass_fields__:
        usual = 1 if name == "epochs" else 0
        assert getattr(found, name) == pytest.approx(expected.get(name, usual), abs=NS), name


def test_what_a_clock_is_and_what_is_none() -> None:
    assert sums(Faults(sample_clock=CLOCK_LIMIT)).missing == 0
    # 0.1 % of 20 s, but for the last packet
    assert sums(Faults(sample_clock=CLOCK_LIMIT + 1)).missing == pytest.approx(
        19.8 * 1001e-6, abs=1e-6
    )


def test_lost_in_an_order_that_is_not_the_medias() -> None:
    table = plan(SOURCE, cut(len(SOURCE), 0.1), Faults(loss=0.1, hidden=((3, 2),), seed=2))
    assert truth_of(table.sample(frac=1, random_state=1)) == truth_of(table)


def test_calls_as_in_the_field_have_all_faults_and_add_up(arrive: Callable[..., Capture]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(100):
        call = draw_field(seed)
        truth, capture = call.truth, arrive(call.plan)
        seen.update(call.faults._told().keys())
        assert truth.span == pytest.approx(truth.audio + truth.missing - truth.twice, abs=NS)
        assert truth.epochs == 1 + len(call.faults.restarts)
        second = 1 / 16_000 * (1 + call.faults.sample_clock * 1e-6)
        assert truth.audio == pytest.approx(len(capture.samples) * second, abs=NS)
        assert call.exact == bool((call.plan["relative"] == call.plan["clock"]).all())
        made = capture.packets["connection"].nunique()
        breaks = len(call.faults.disconnects)
        breaks += len(call.faults.restarts) if call.faults.rejoin == "new" else 0
        assert made <= 1 + breaks
        assert made == 1 or breaks
    told = {"malformed", "zeros", "seed", "rounding", "scatter_from", "late_by", "uneven_by"}
    assert {field.name for field in fields(Faults)} - seen.keys() <= told
