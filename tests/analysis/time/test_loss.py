"""Loss statistics, against the packet-by-packet algorithms and chains with known chances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.analysis.time.analysis import analyse
from recall_lab.analysis.time.loss import (
    KNOWN_LOST,
    LOST,
    Pattern,
    burst_metrics,
    elliott,
    gilbert,
    loss,
)
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingTimestamps

Make = Callable[..., Capture]


def pattern_of(lost: np.ndarray) -> Pattern:
    """Return the runs of a sequence of packets, True where lost."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    heads, tails = edges[::2], edges[1::2]
    received = np.concatenate([heads, [len(lost)]]) - np.concatenate([[0], tails])
    return Pattern(received, tails - heads)


def rfc3611(lost: list[bool], gmin: int) -> tuple[float, float, float, float]:
    """Sort packets one by one into bursts and gaps, by the words of RFC 3611, 4.7.2."""
    in_burst = [False] * len(lost)
    start = last = None  # first and last loss of the stretch we are in
    losses = 0

    def settle() -> None:
        if losses > 1:
            assert start is not None
            assert last is not None
            for at in range(start, last + 1):
                in_burst[at] = True

    for at, missing in enumerate(lost):
        if not missing:
            continue
        if last is not None and at - last - 1 >= gmin:
            settle()
            start, losses = at, 0
        elif last is None:
            start = at
        last, losses = at, losses + 1
    settle()
    burst = [missing for missing, inside in zip(lost, in_burst, strict=True) if inside]
    gap = [missing for missing, inside in zip(lost, in_burst, strict=True) if not inside]
    edges = np.diff(np.array([False, *in_burst, False]).astype(int))
    bursts = int((edges == 1).sum())
    outside = np.diff(np.array([False, *(not one for one in in_burst), False]).astype(int))
    gap_count = int((outside == 1).sum())
    return (
        sum(burst) / len(burst) if burst else 0.0,
        sum(gap) / len(gap) if gap else 0.0,
        len(burst) / bursts if bursts else 0.0,
        len(gap) / gap_count if gap_count else 0.0,
    )


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 16]))
def test_bursts_are_those_of_the_rfc_packet_by_packet(seed: int, gmin: int) -> None:
    rng = np.random.default_rng(seed)
    lost = rng.random(rng.integers(1, 300)) < rng.choice([0.0, 0.02, 0.1, 0.5, 1.0])
    assert burst_metrics(pattern_of(lost), gmin) == pytest.approx(rfc3611(lost.tolist(), gmin))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_gilbert_counts_transitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lost = rng.random(rng.integers(1, 200)) < rng.choice([0.0, 0.1, 0.6, 1.0])
    before, after = lost[:-1], lost[1:]
    p = after[~before].mean() if (~before).any() else np.nan
    r = (~after)[before].mean() if before.any() else np.nan
    np.testing.assert_allclose(gilbert(pattern_of(lost)), (p, r))


@pytest.mark.parametrize(("p", "r", "h"), [(0.02, 0.2, 0.0), (0.01, 0.1, 0.5), (0.05, 0.3, 0.3)])
def test_the_models_of_a_chain_with_known_chances(p: float, r: float, h: float) -> None:
    rng = np.random.default_rng(11)
    bad, lost = False, np.zeros(1_000_000, bool)
    draws, kept = rng.random(len(lost)).tolist(), rng.random(len(lost)).tolist()
    for at, draw in enumerate(draws):
        bad = draw >= r if bad else draw < p
        lost[at] = bad and kept[at] >= h
    found = elliott(pattern_of(lost))
    np.testing.assert_allclose(found[:2], (p, r), rtol=0.1)
    assert found[2] == pytest.approx(h, abs=0.05)
    if not h:
        np.testing.assert_allclose(gilbert(pattern_of(lost)), (p, r), rtol=0.03)


def test_a_capture_with_losses_told_by_hand(make: Make) -> None:
    kept = np.delete(np.arange(100), [10, 11, 15, 60])
    found = loss(make(kept * 0.02, 320))
    assert found[["expected", "lost", "runs", "longest_run"]].tolist() == [100, 4, 3, 2]
    assert found["rate"] == pytest.approx(0.04)
    assert found["mean_run"] == pytest.approx(4 / 3)
    assert found["burst_density"] == pytest.approx(3 / 6)
    assert found["burst_duration"] == pytest.approx(6 * 0.02)
    assert found["gap_density"] == pytest.approx(1 / 94)
    assert found["gap_duration"] == pytest.approx(94 / 2 * 0.02)


def test_only_the_causes_asked_for_and_no_packet_twice(make: Make) -> None:
    starts = [0.0, 0.2, 0.2, 0.6, 3.0, 3.2]
    capture = make(starts, payload_crc=[1, 2, 2, 3, 4, 5], participant=7)
    found = loss(capture)
    assert found[["expected", "lost", "unexplained"]].tolist() == [6, 1, 0]
    found = loss(capture, ["mute"])
    assert found[["expected", "lost"]].tolist() == [5 + 11, 11]


def test_what_nothing_explains_is_counted_apart(make: Make) -> None:
    capture = make([0.0, 0.2, 0.6, 3.0, 3.2])  # mixed: 2.2 s on an open connection
    found = loss(capture)
    assert found[["expected", "lost", "unexplained"]].tolist() == [6, 1, 11]
    found = loss(capture, LOST)
    assert found[["expected", "lost", "unexplained"]].tolist() == [17, 12, 0]
    assert set(LOST) == {*KNOWN_LOST, "unknown"}
    alone = analyse(make([]), call=(0, 3))  # unexplained, and no packet tells how many
    assert loss(alone)["unexplained"] == 0
    known = analyse(capture, call=(0, 5.4))  # 2 s more: by the options that it was analysed with
    assert loss(known)["unexplained"] == 21


def test_degenerate_captures(make: Make) -> None:
    none = loss(make([]))
    assert none["expected"] == 0
    assert np.isnan(none["rate"])
    assert loss(make([1.0]))["rate"] == 0
    assert loss(make([1.0] * 30, payload_crc=np.ones(30)))["expected"] == 1
    assert loss(make(np.arange(30)[::-1] * 0.2))["lost"] == 0
    both = loss(make([0.0, 100.0], participant=7), causes=["mute"])
    assert both["lost"] == 499
    with pytest.raises(MissingTimestamps):
        loss(Capture(np.zeros(9, np.int16)))


@pytest.mark.parametrize(
    ("options", "name"), [({"causes": ["rain"]}, "causes"), ({"causes": "loss"}, "causes"),
                          ({"gmin": 0}, "gmin"), ({"gmin": 1.5}, "gmin")]
)  # fmt: skip
def test_arguments_that_cannot_be(make: Make, options: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        loss(make([0.0]), **options)  # type: ignore[arg-type]


def test_the_truth_of_the_bundled_capture(root: object) -> None:
    import recall_lab as rl

    truth = pd.read_csv(f"{root}/data/standup-lossy.truth.csv")
    found = loss(rl.load(f"{root}/data/standup-lossy.bin"))
    assert found["lost"] == (truth["outcome"] == "lost").sum()
    assert found["expected"] == truth.loc[truth["packet"] >= 0, "packet"].nunique()
