"""Faults and the plan: what is drawn is what was asked for, and the plan is exact."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.errors import InvalidArgument
from recall_lab.receiver.faults import RETRY, Faults
from recall_lab.receiver.plan import cut, in_outage, payload_of, plan

MINUTE = np.arange(60 * 16_000, dtype="<i2")


def test_a_call_without_faults_is_the_source_in_order() -> None:
    truth = plan(MINUTE, cut(len(MINUTE), 0.2), Faults(), epoch=10**18)
    assert truth["fate"].unique().tolist() == ["sent"]
    assert truth["packet"].tolist() == list(range(300))
    np.testing.assert_allclose(truth["relative"], np.arange(300) * 0.2, atol=1e-12)
    assert truth["samples"].sum() == len(MINUTE)
    assert (truth["absolute"].astype("int64") - 10**18 == np.arange(300) * 200_000_000).all()
    assert truth["payload_crc"][7] == zlib.crc32(MINUTE[7 * 3200 : 8 * 3200].tobytes())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 200_000),
    st.one_of(st.floats(0.001, 2.0), st.lists(st.floats(0.005, 0.5), min_size=2, max_size=4)),
    st.integers(0, 9),
)
def test_cutting_covers_every_sample_once(
    length: int, packet: float | list[float], seed: int
) -> None:
    packets = cut(length, packet, seed)
    assert packets.offset[0] == 0
    np.testing.assert_array_equal(packets.offset[1:], np.cumsum(packets.samples)[:-1])
    assert packets.samples.sum() == length
    assert packets.samples.min() >= 1
    np.testing.assert_allclose(packets.relative, packets.offset / 16_000)


def test_loss_has_the_share_and_the_mean_run_that_were_asked_for() -> None:
    packets = cut(20_000 * 320, 0.02)
    source = np.zeros(20_000 * 320, "<i2")
    for loss, burst in ((0.02, 1), (0.05, 4), (0.3, 2)):
        lost = (
            plan(source, packets, Faults(loss=loss, burst=burst, seed=3))["fate"] == "lost"
        ).to_numpy()
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]])))[::1])[::2]
        # 20,000 packets: within five standard errors of a two-state chain, generously
        assert lost.mean() == pytest.approx(loss, rel=0.25)
        assert runs.mean() == pytest.approx(burst if burst > 1 else 1 / (1 - loss), rel=0.2)


def test_all_lost_none_lost() -> None:
    packets = cut(len(MINUTE), 0.2)
    assert (plan(MINUTE, packets, Faults(loss=1))["fate"] == "lost").all()
    assert (plan(MINUTE, packets, Faults(loss=0))["fate"] == "sent").all()
    assert (plan(MINUTE, packets, Faults(loss=0.9))["fate"] == "lost").mean() == pytest.approx(
        0.9, abs=0.08
    )


def test_an_outage_lasts_as_long_as_the_bot_waits_and_nothing_is_sent_in_it() -> None:
    faults = Faults(disconnects=(10.0, 40.0), duplicates=0.5, malformed=0.5, reorder=0.2, seed=1)
    truth = plan(MINUTE, cut(len(MINUTE), 0.1), faults)
    inside = in_outage(truth["due"].to_numpy(), faults)
    assert (truth["fate"][inside] == "outage").all()
    assert (truth["fate"][~inside] != "outage").all()
    assert truth["samples"][inside].sum() == 2 * RETRY * 16_000
    assert not truth["duplicate"][inside].any()


def test_mutes_duplicates_reordering_and_broken_messages_are_where_the_truth_says() -> None:
    faults = Faults(mutes=((5, 8),), duplicates=0.1, reorder=0.1, malformed=0.1, seed=2)
    truth = plan(MINUTE, cut(len(MINUTE), 0.1), faults)
    muted = truth[truth["fate"] == "muted"]
    assert muted["relative"].min() == 5.0
    assert muted["relative"].max() == pytest.approx(7.9)
    broken = truth[truth["fate"] == "malformed"]
    assert (broken["packet"] == -1).all()
    assert 30 < len(broken) < 95
    twice = truth[truth["duplicate"]]
    assert 25 < len(twice) < 90
    once = truth[(truth["packet"] >= 0) & ~truth["duplicate"]]
    assert sorted(once["packet"]) == list(range(600))
    assert 20 < (np.diff(once["packet"]) < 0).sum() < 90
    assert truth["due"].is_monotonic_increasing


def test_the_clocks_drift_step_and_are_rounded_as_asked() -> None:
    faults = Faults(drift=100.0, steps=((30.0, -2.5),), quantum=0.001)
    packets = cut(len(MINUTE), 1 / 3)
    truth = plan(MINUTE, packets, faults, start=7.0)
    elapsed = truth["absolute"].astype("int64") / 1e9
    media = packets.relative
    before = media < 30
    np.testing.assert_allclose(elapsed[before], media[before] / 1.0001, atol=1e-8)
    np.testing.assert_allclose(elapsed[~before], media[~before] / 1.0001 - 2.5, atol=1e-8)
    steps = truth["relative"] * 1000
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert truth["relative"][0] == 7.0


def test_empty_and_zero_packets_are_two_things() -> None:
    truth = plan(MINUTE, cut(len(MINUTE), 0.1), Faults(empty=0.2, zeros=0.2, seed=5))
    kinds = truth["payload"].value_counts()
    assert set(kinds.index) == {"audio", "zeros", "empty"}
    assert (truth["samples"][truth["payload"] == "empty"] == 0).all()
    assert payload_of(MINUTE, "zeros", 5, 3) == bytes(6)
    assert payload_of(MINUTE, "audio", 5, 3) == MINUTE[5:8].tobytes()


def test_the_same_seed_gives_the_same_plan_and_another_another() -> None:
    packets = cut(len(MINUTE), (0.02, 0.1, 0.2), 4)
    faults = Faults(loss=0.1, burst=3, duplicates=0.1, reorder=0.1, jitter=0.05, seed=4)
    assert plan(MINUTE, packets, faults).equals(plan(MINUTE, packets, faults))
    other = Faults(loss=0.1, burst=3, duplicates=0.1, reorder=0.1, jitter=0.05, seed=5)
    assert not plan(MINUTE, packets, faults).equals(plan(MINUTE, packets, other))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", -0.1), ("loss", 1.1), ("burst", 0.5), ("jitter", -1), ("reorder", float("nan")),
        ("mutes", ((3, 2),)), ("drift", 1e6), ("quantum", -0.001),
    ],
)  # fmt: skip
def test_a_fault_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=name):
        Faults(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("packet", [0, -1, 61, float("nan"), ()])
def test_a_packet_length_out_of_range_is_refused(packet: object) -> None:
    with pytest.raises(InvalidArgument, match="packet"):
        cut(16_000, packet)  # type: ignore[arg-type]


def test_the_repr_says_what_differs_from_no_faults() -> None:
    assert repr(Faults()) == "Faults()"
    assert repr(Faults(loss=0.02, seed=7)) == "Faults(loss=0.02, seed=7)"
