"""The plan: what is drawn is what was asked for, it is exact, and it tells what it did."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.errors import InvalidArgument
from recall_lab.simulator.faults import RETRY, Faults
from recall_lab.simulator.plan import cut, in_outage, payload_of, plan

MINUTE = np.arange(60 * 16_000, dtype="<i2")


def test_a_call_without_faults_is_the_source_in_order() -> None:
    truth = plan(MINUTE, cut(len(MINUTE), 0.2), Faults(), epoch=10**18)
    assert truth["outcome"].unique().tolist() == ["sent"]
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
            plan(source, packets, Faults(loss=loss, burst=burst, seed=3))["outcome"] == "lost"
        ).to_numpy()
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]])))[::1])[::2]
        # 20,000 packets: within five standard errors of a two-state chain, generously
        assert lost.mean() == pytest.approx(loss, rel=0.25)
        assert runs.mean() == pytest.approx(burst if burst > 1 else 1 / (1 - loss), rel=0.2)


def test_all_lost_none_lost() -> None:
    packets = cut(len(MINUTE), 0.2)
    assert (plan(MINUTE, packets, Faults(loss=1))["outcome"] == "lost").all()
    assert (plan(MINUTE, packets, Faults(loss=0))["outcome"] == "sent").all()
    assert (plan(MINUTE, packets, Faults(loss=0.9))["outcome"] == "lost").mean() == pytest.approx(
        0.9, abs=0.08
    )


def test_an_outage_lasts_as_long_as_the_bot_waits_and_nothing_is_sent_in_it() -> None:
    faults = Faults(disconnects=(10.0, 40.0), duplicates=0.5, malformed=0.5, reorder=0.2, seed=1)
    truth = plan(MINUTE, cut(len(MINUTE), 0.1), faults)
    inside = in_outage(truth["due"].to_numpy(), faults)
    assert (truth["outcome"][inside] == "outage").all()
    assert (truth["outcome"][~inside] != "outage").all()
    assert truth["samples"][inside].sum() == 2 * RETRY * 16_000
    assert not truth["duplicate"][inside].any()


def test_mutes_duplicates_reordering_and_broken_messages_are_where_the_truth_says() -> None:
    faults = Faults(mutes=((5, 8),), duplicates=0.1, reorder=0.1, malformed=0.1, seed=2)
    truth = plan(MINUTE, cut(len(MINUTE), 0.1), faults)
    muted = truth[truth["outcome"] == "muted"]
    assert muted["relative"].min() == 5.0
    assert muted["relative"].max() == pytest.approx(7.9)
    broken = truth[truth["outcome"] == "malformed"]
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


@pytest.mark.parametrize("packet", [0, -1, 61, float("nan"), ()])
def test_a_packet_length_out_of_range_is_refused(packet: object) -> None:
    with pytest.raises(InvalidArgument, match="packet"):
        cut(16_000, packet)  # type: ignore[arg-type]


# faults of the audio and the clocks


def stamps_of(faults: Faults, packet: float | tuple[float, ...] = 0.2, start: float = 0.0):  # type: ignore[no-untyped-def]
    return plan(MINUTE, cut(len(MINUTE), packet), faults, start=start)


def wall(truth) -> np.ndarray:  # type: ignore[no-untyped-def]
    return truth["absolute"].astype("int64").to_numpy() / 1e9


def test_without_faults_the_new_columns_say_what_the_old_ones_do() -> None:
    truth = stamps_of(Faults(), 0.1, start=5)
    np.testing.assert_array_equal(truth["clock"], truth["relative"])
    np.testing.assert_allclose(truth["media"], truth["relative"] - 5, atol=1e-12)
    np.testing.assert_allclose(truth["slot"], 0.1)
    np.testing.assert_array_equal(truth["slot"], truth["duration"])
    assert set(truth["epoch"]) == {0}
    assert set(truth["connection"]) == {1}


def test_short_packets_leave_out_the_end_of_every_slot() -> None:
    truth = stamps_of(Faults(short=0.1))
    assert set(truth["samples"]) == {2880}
    np.testing.assert_array_equal(truth["offset"], np.arange(300) * 3200)
    np.testing.assert_allclose(truth["relative"], np.arange(300) * 0.2, atol=1e-12)
    assert truth["payload_crc"][3] == zlib.crc32(MINUTE[9600:12480].tobytes())
    assert (stamps_of(Faults(short=1.0))["samples"] == 0).all()


def test_uneven_packets_have_the_samples_asked_for_and_the_stamps_of_their_slots() -> None:
    truth = stamps_of(Faults(uneven=0.1, uneven_by=(-100, 7), seed=1), 0.1)
    sizes = truth["samples"].value_counts().to_dict()
    assert set(sizes) == {1500, 1600, 1607}
    # a tenth of 600, half of it each way: within four standard errors
    assert sizes[1500] + sizes[1607] == pytest.approx(60, abs=4 * np.sqrt(54))
    assert sizes[1500] == pytest.approx(30, abs=22)
    np.testing.assert_allclose(truth["relative"], np.arange(600) * 0.1, atol=1e-12)
    longer = truth[truth["samples"] == 1607].iloc[0]
    at = longer["offset"]
    assert longer["payload_crc"] == zlib.crc32(MINUTE[at : at + 1607].tobytes())
    # nothing comes after the last one
    assert stamps_of(Faults(uneven=1, uneven_by=(7,)))["samples"].iloc[-1] == 3200


@pytest.mark.parametrize("ppm", [50.0, 1000.0, -50.0])
def test_a_sample_clock_stretches_all_times_against_samples_counted(ppm: float) -> None:
    truth = stamps_of(Faults(sample_clock=ppm))
    counted = truth["samples"].cumsum().shift(fill_value=0) / 16_000
    slope = np.polyfit(counted, truth["relative"], 1)[0]
    assert (slope - 1) * 1e6 == pytest.approx(ppm, abs=1e-3)
    np.testing.assert_allclose(wall(truth), truth["relative"], atol=1e-8)
    np.testing.assert_allclose(truth["due"], truth["relative"] + 0.2 * slope, atol=1e-9)
    np.testing.assert_allclose(truth["duration"], truth["slot"])


def test_beyond_a_clock_samples_are_counted_as_they_are() -> None:
    truth = stamps_of(Faults(sample_clock=-500_000), 0.4)  # stereo as mono: slots of 200 ms
    np.testing.assert_allclose(np.diff(truth["relative"]), 0.2)
    np.testing.assert_allclose(truth["slot"], 0.2)
    np.testing.assert_allclose(truth["duration"], 0.4)


def test_a_leap_moves_the_media_clock_alone() -> None:
    truth = stamps_of(Faults(leaps=((20.0, 3600.0), (40.0, -0.05))), start=1)
    exact = np.arange(300) * 0.2
    ahead = truth["relative"] - exact - 1
    np.testing.assert_allclose(ahead[:100], 0, atol=1e-9)
    np.testing.assert_allclose(ahead[100:200], 3600, atol=1e-9)
    np.testing.assert_allclose(ahead[200:], 3599.95, atol=1e-9)
    np.testing.assert_allclose(wall(truth), exact, atol=1e-8)
    np.testing.assert_allclose(truth["due"], exact + 0.2, atol=1e-9)
    np.testing.assert_allclose(truth["media"], exact, atol=1e-12)


def test_hidden_audio_moves_both_wall_clocks_and_not_the_media_clock() -> None:
    truth = stamps_of(Faults(hidden=((20.0, 18.0),)))
    assert truth["media"][truth["outcome"] == "hidden"].tolist() == pytest.approx(
        [20 + 0.2 * number for number in range(90)]
    )
    assert (truth["clock"][truth["outcome"] == "hidden"].round(9) == 20).all()
    sent = truth[truth["outcome"] == "sent"]
    np.testing.assert_allclose(np.diff(sent["relative"]), 0.2)
    assert sent["relative"].iloc[-1] == pytest.approx(41.8)
    jumps = np.diff(wall(sent)), np.diff(sent["due"])
    for jump in jumps:
        assert np.flatnonzero(jump > 0.21).tolist() == [99]
        assert jump[99] == pytest.approx(18.2, abs=1e-8)


@pytest.mark.parametrize("rejoin", ["new", "same"])
def test_relative_begins_again_where_a_bot_came_back(rejoin: str) -> None:
    faults = Faults(restarts=(20.05, (40.0, 7.5)), rejoin=rejoin)  # type: ignore[arg-type]
    truth = stamps_of(faults, start=100)
    assert truth["epoch"].value_counts().sort_index().tolist() == [101, 99, 100]
    firsts = truth.groupby("epoch")["relative"].first().tolist()
    assert firsts == [100.0, 0.0, 7.5]
    for _, own in truth.groupby("epoch"):
        np.testing.assert_allclose(np.diff(own["relative"]), 0.2)
    np.testing.assert_allclose(wall(truth), np.arange(300) * 0.2, atol=1e-8)
    expected = truth["epoch"] + 1 if rejoin == "new" else 1
    assert (truth["connection"] == expected).all()


def test_restarts_that_nothing_lies_between_are_one_and_before_the_call_none() -> None:
    truth = stamps_of(Faults(restarts=((0.0, 3.0), 20.01, 20.02, 99.0)))
    assert truth["epoch"].value_counts().sort_index().tolist() == [101, 199]
    assert truth["relative"][[0, 101]].tolist() == [3.0, 0.0]


def test_nothing_of_before_comes_after_a_restart() -> None:
    faults = Faults(restarts=range(1, 60), reorder=0.5, duplicates=0.5, malformed=0.5, seed=2)
    truth = stamps_of(faults, 0.1)
    assert truth["epoch"].is_monotonic_increasing
    assert (np.diff(truth["packet"]) == -1).any()


def test_a_connection_follows_each_outage_and_each_return() -> None:
    truth = stamps_of(Faults(restarts=(10.0,), disconnects=(30.0,), loss=0.1, seed=1), 0.1)
    before = (truth["due"] < 30) & (truth["outcome"] == "sent")
    assert truth["connection"][before].tolist() == (truth["epoch"][before] + 1).tolist()
    assert set(truth["connection"][truth["due"] >= 33.5]) == {0, 3}
    assert ((truth["connection"] == 0) == ~truth["outcome"].isin(["sent", "malformed"])).all()


# faults of the stamps


def test_scatter_is_gaussian_and_begins_when_it_should() -> None:
    truth = stamps_of(Faults(scatter=0.005, scatter_from=40.0, seed=3), 0.02)
    off = (truth["relative"] - truth["clock"]).to_numpy()
    assert not off[:2000].any()
    # 1,000 values: five standard errors of mean and deviation
    assert off[2000:].mean() == pytest.approx(0, abs=0.0008)
    assert off[2000:].std() == pytest.approx(0.005, abs=0.0006)
    assert scipy.stats.kstest(off[2000:] / 0.005, "norm").pvalue > 0.001
    np.testing.assert_allclose(wall(truth), truth["media"], atol=1e-8)


def test_a_grid_is_met_by_rounding_down_or_to_the_nearest() -> None:
    exact = cut(len(MINUTE), 0.064).relative
    down = stamps_of(Faults(quantum=0.02, rounding="down"), 0.064)["relative"]
    near = stamps_of(Faults(quantum=0.02), 0.064)["relative"]
    # whole milliseconds are counted without error
    steps = np.rint(exact * 1000).astype(int)
    np.testing.assert_allclose(down, steps // 20 * 0.02, atol=1e-9)
    np.testing.assert_allclose(np.abs(near - exact).max(), 0.008, atol=1e-9)
    # what is on the grid stays where it is
    on = stamps_of(Faults(quantum=0.1, rounding="down"), 0.1)
    np.testing.assert_allclose(on["relative"], on["clock"], atol=1e-9)


def test_float32_stamps_are_those_that_float32_holds() -> None:
    truth = stamps_of(Faults(float32=True), 0.1, start=3000)
    np.testing.assert_array_equal(truth["relative"], truth["clock"].astype("float32"))
    assert np.abs(truth["relative"] - truth["clock"]).max() > 1e-5


def test_shared_stamps_come_in_bursts() -> None:
    truth = stamps_of(Faults(shared=10), 0.02)
    begin = np.arange(3000) // 10 * 0.2
    np.testing.assert_allclose(truth["relative"], begin, atol=1e-9)
    np.testing.assert_allclose(wall(truth), begin, atol=1e-8)
    np.testing.assert_allclose(truth["due"], begin + 0.2, atol=1e-9)
    np.testing.assert_allclose(truth["media"], np.arange(3000) * 0.02, atol=1e-9)
    # those of a bot that came back begin anew
    again = stamps_of(Faults(shared=10, restarts=(0.1,)), 0.02)
    assert again["relative"][[4, 5, 14, 15]].round(9).tolist() == [0, 0, 0, 0.2]
    assert again["due"][[4, 5, 14, 15]].round(9).tolist() == [0.1, 0.3, 0.3, 0.5]


def test_late_stamps_stand_alone() -> None:
    truth = stamps_of(Faults(late_stamps=0.2, late_by=0.03, seed=1), 0.02)
    off = (truth["relative"] - truth["clock"]).round(9)
    assert set(off) == {0, 0.03}
    late = (off > 0).to_numpy()
    assert late.mean() == pytest.approx(0.2, abs=0.03)
    assert not (late[1:] & late[:-1]).any()


def test_stamps_at_the_end_are_those_of_the_next_packets_start() -> None:
    truth = stamps_of(Faults(stamped="end", drift=100.0), (0.1, 0.05), start=2)
    starts = stamps_of(Faults(drift=100.0), (0.1, 0.05), start=2)
    np.testing.assert_allclose(truth["relative"][:-1], starts["relative"][1:], atol=1e-9)
    np.testing.assert_allclose(wall(truth)[:-1], wall(starts)[1:], atol=1e-8)
    np.testing.assert_array_equal(truth["clock"], starts["relative"])


def test_stamps_that_no_message_may_carry_are_refused() -> None:
    packets = cut(len(MINUTE), 0.2)
    with pytest.raises(InvalidArgument, match="within 1e9 s"):
        plan(MINUTE, packets, Faults(late_stamps=0.1, late_by=1e9))
    plan(MINUTE, packets, Faults(late_stamps=0.1, late_by=9.9e8))


def test_new_faults_leave_the_draws_of_the_others_as_they_are() -> None:
    packets = cut(len(MINUTE), 0.1)
    usual = Faults(loss=0.1, burst=2, duplicates=0.1, reorder=0.1, zeros=0.1, empty=0.1, seed=4)
    more = replace(usual, scatter=0.01, uneven=0.1, late_stamps=0.1, short=0.1, sample_clock=50)
    one, two = plan(MINUTE, packets, usual), plan(MINUTE, packets, more)
    for column in ("packet", "outcome", "duplicate", "payload"):
        assert one[column].equals(two[column])
