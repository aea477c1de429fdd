"""The stand-in bot against the real server: the truth it returns is what arrived."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recall_lab.errors import InvalidArgument, InvalidAudio, ReceiverFailed
from recall_lab.loading import load
from recall_lab.receiver.background.handle import Receiver
from recall_lab.receiver.background.start import receive
from recall_lab.simulator import connection as line_module
from recall_lab.simulator.api import simulate, simulate_async, start_simulation
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.plan import cut, plan
from recall_lab.simulator.truth import truth_of
from recall_lab.wire.messages import Participant


@pytest.fixture
def rx(tmp_path: Path):  # type: ignore[no-untyped-def]
    with receive(0, tmp_path / "captures", mode="thread") as receiver:
        yield receiver


def expect(rx: Receiver, truth, recording: str, participant: int | None = None) -> None:  # type: ignore[no-untyped-def]
    """Everything that was sent has arrived, once each, in order, with its clocks; nothing else."""
    sent = truth[truth["outcome"] == "sent"]
    rx.wait(packets=len(sent), timeout=10)
    packets = rx.packets(recording, participant)
    assert len(packets) == len(sent)
    for column in ("relative", "absolute", "samples", "payload_crc", "connection"):
        assert (packets[column].to_numpy() == sent[column].to_numpy()).all(), column


def test_all_faults_at_once_and_the_truth_is_exact(rx: Receiver, speech: np.ndarray) -> None:
    faults = Faults(
        loss=0.05, burst=2, duplicates=0.05, reorder=0.05, jitter=0.005, disconnects=(4.0,),
        drift=80, steps=((6.0, 1.5),), mutes=((8.0, 9.0),), empty=0.03, zeros=0.03,
        malformed=0.04, quantum=0.001, seed=11,
    )  # fmt: skip
    truth = simulate(
        speech,
        rx.url,
        speed=20,
        packet=(0.02, 0.1, 0.2),
        faults=faults,
        recording="all",
        relative=50,
    )
    assert set(truth["outcome"]) == {"sent", "lost", "muted", "outage", "malformed"}
    expect(rx, truth, "all")
    status = rx.status
    assert sum(status.rejected.values()) == (truth["outcome"] == "malformed").sum()
    assert status.connected == 2
    assert truth["sent"].notna().equals(truth["outcome"].isin(["sent", "malformed"]))


def test_what_the_field_does_arrives_as_the_truth_tells(rx: Receiver, speech: np.ndarray) -> None:
    faults = Faults(
        loss=0.03, duplicates=0.03, reorder=0.05, malformed=0.03, empty=0.02, short=0.1,
        uneven=0.2, uneven_by=(-30, 30), sample_clock=1000, drift=-50, leaps=((2.0, 3600.0),),
        hidden=((3.0, 1.0),), restarts=(5.0, (8.0, 100.0)), disconnects=(9.0,), scatter=0.004,
        scatter_from=6.0, shared=3, late_stamps=0.05, quantum=0.001, rounding="down",
        stamped="end", seed=5,
    )  # fmt: skip
    packets = cut(len(speech), 0.05)
    truth = simulate(
        speech, rx.url, speed=math.inf, packet=0.05, faults=faults, recording="field", relative=7
    )
    assert set(truth["outcome"]) == {"sent", "lost", "hidden", "outage", "malformed"}
    expect(rx, truth, "field")
    # played as planned, connections and all
    planned = plan(speech, packets, faults, start=7)
    for column in planned.columns.drop("absolute"):
        assert truth[column].equals(planned[column]), column
    assert rx.packets("field")["connection"].unique().tolist() == [1, 2, 3, 4]
    assert truth_of(truth) == truth_of(planned)
    # and the audio kept is what the truth says, sample by sample
    sent = truth[truth["outcome"] == "sent"]
    pieces = [
        speech[at : at + count] for at, count in zip(sent["offset"], sent["samples"], strict=True)
    ]
    np.testing.assert_array_equal(rx.capture("field").samples, np.concatenate(pieces))


def test_a_bot_that_came_back_on_the_same_connection(rx: Receiver, speech: np.ndarray) -> None:
    faults = Faults(restarts=(4.0,), rejoin="same")
    truth = simulate(speech, rx.url, speed=math.inf, faults=faults, recording="again")
    expect(rx, truth, "again")
    kept = rx.packets("again")
    assert kept["relative"].round(6).tolist() == pytest.approx(
        [*np.arange(20) * 0.2, *np.arange(40) * 0.2]
    )
    assert kept["connection"].nunique() == 1
    assert rx.status.connected == 1


def test_what_arrives_is_the_source_where_nothing_is_wrong(
    rx: Receiver, speech: np.ndarray
) -> None:
    truth = simulate(speech, rx.url, speed=math.inf, recording="clean", form="plain")
    expect(rx, truth, "clean")
    np.testing.assert_array_equal(rx.capture("clean").samples, speech)


def test_separate_streams_are_named(rx: Receiver, speech: np.ndarray) -> None:
    who = Participant(7, name="Grace", is_host=True, platform="desktop")
    for participant in (who, 8):
        truth = simulate(
            speech[:8000], rx.url, speed=math.inf, recording="sep", participant=participant
        )
    rx.wait(packets=6, timeout=5)
    expect(rx, truth.assign(connection=2), "sep", 8)
    assert rx.recordings()["name"].tolist() == ["Grace", "Participant 8"]
    assert rx.capture("sep", 7).info.participant == who


def test_packets_are_scheduled_from_the_start_so_delays_do_not_add_up(
    rx: Receiver, speech: np.ndarray
) -> None:
    truth = simulate(speech[: 16_000 * 4], rx.url, speed=4, packet=0.02)
    after = (truth["sent"] - truth["sent"][0]).dt.total_seconds()
    late = after - (truth["due"] - truth["due"][0]) / 4
    assert after.iloc[-1] == pytest.approx((truth["due"].iloc[-1] - truth["due"][0]) / 4, abs=0.1)
    assert late.median() < 0.01


def test_wav_flac_bin_and_capture_are_the_same_source(
    rx: Receiver, speech: np.ndarray, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", speech, 16_000, subtype="PCM_16")
    soundfile.write(tmp_path / "a.flac", speech, 16_000, subtype="PCM_16")
    speech.tofile(tmp_path / "a.bin")
    for number, source in enumerate(
        [tmp_path / "a.wav", str(tmp_path / "a.flac"), tmp_path / "a.bin", load(tmp_path / "a.bin")]
    ):
        truth = simulate(source, rx.url, speed=math.inf, recording=f"s{number}")
        rx.wait(packets=(number + 1) * len(truth), timeout=10)
        np.testing.assert_array_equal(rx.capture(f"s{number}").samples, speech)


def test_a_capture_is_replayed_packet_by_packet(rx: Receiver, speech: np.ndarray) -> None:
    faults = Faults(loss=0.1, reorder=0.1, empty=0.1, seed=3)
    truth = simulate(
        speech,
        rx.url,
        speed=math.inf,
        packet=(0.02, 0.2),
        faults=faults,
        recording="one",
        relative=9,
    )
    expect(rx, truth, "one")
    first = rx.capture("one")
    again = simulate(first, rx.url, speed=math.inf, recording="two")
    rx.wait(packets=len(first.packets) * 2, timeout=10)
    second = rx.capture("two")
    for column in ("relative", "samples", "payload_crc"):
        assert (first.packets[column] == second.packets[column]).all()
    assert len(again) == len(first.packets)


def test_it_keeps_trying_until_the_receiver_is_there(tmp_path: Path, speech: np.ndarray) -> None:
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        port = rx.port
    bot = start_simulation(speech[:16_000], f"ws://127.0.0.1:{port}/", speed=20, recording="late")
    time.sleep(0.1)
    assert not bot.done
    with receive(port, tmp_path / "captures", mode="thread") as rx:
        truth = bot.wait(10)
        expect(rx, truth, "late")


def test_it_gives_up_as_the_bot_does(monkeypatch: pytest.MonkeyPatch, speech: np.ndarray) -> None:
    monkeypatch.setattr(line_module, "_SHORTEST_RETRY", 0.001)
    with pytest.raises(ReceiverFailed, match="after 30 attempts"):
        simulate(speech, "ws://127.0.0.1:9/", speed=math.inf)


def test_a_receiver_that_restarts_in_the_middle_costs_what_was_said_meanwhile(
    tmp_path: Path, speech: np.ndarray
) -> None:
    folder = tmp_path / "captures"
    rx = receive(0, folder, mode="thread")
    bot = start_simulation(speech, rx.url, speed=10, packet=0.02, recording="call")
    rx.wait(packets=100, timeout=10)
    rx.stop()
    with receive(rx.port, folder, mode="thread") as rx:
        truth = bot.wait(20)
        rx.wait(idle=0.2, timeout=10)
        packets = rx.packets("call")
    assert (truth["outcome"] == "outage").any()
    assert packets["connection"].unique().tolist() == [1, 2]
    lost = set(truth["packet"]) - set(np.rint(packets["relative"] / 0.02).astype(int))
    # what the closing receiver no longer read was handed to the socket all the same
    assert set(truth["packet"][truth["outcome"] == "outage"]) <= lost
    assert len(packets) + len(lost) == len(truth)


def test_it_plays_in_a_running_loop_too(rx: Receiver, speech: np.ndarray) -> None:
    async def main() -> None:
        one, two = await asyncio.gather(
            simulate_async(speech, rx.url, speed=math.inf, recording="a"),
            simulate_async(speech, rx.url, speed=math.inf, recording="b"),
        )
        assert len(one) == len(two) == 60

    asyncio.run(main())
    rx.wait(packets=120, timeout=10)
    assert rx.packets("a")["payload_crc"].equals(rx.packets("b")["payload_crc"])


def test_sync_works_inside_a_running_loop(rx: Receiver, speech: np.ndarray) -> None:
    async def cell() -> int:  # as in a notebook, whose kernel runs a loop
        return len(simulate(speech, rx.url, speed=math.inf))

    assert asyncio.run(cell()) == 60


def test_stopping_ends_the_call_and_what_was_said_is_kept(rx: Receiver, speech: np.ndarray) -> None:
    with start_simulation(speech, rx.url, speed=1, packet=0.02, recording="cut") as bot:
        rx.wait(packets=5, timeout=10)
        assert "playing" in repr(bot)
    assert bot.done
    with pytest.raises(ReceiverFailed, match="stopped"):
        bot.wait()
    assert 5 <= len(rx.packets("cut")) < 600


def test_bad_arguments_are_refused_before_anything_is_sent(
    speech: np.ndarray, tmp_path: Path
) -> None:
    url = "ws://127.0.0.1:9/"
    for options, name in (
        ({"speed": 0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"recording": "../x"}, "recording"),
        ({"form": "cooked"}, "form"),
        ({"packet": 0.00001}, "packet"),
    ):
        with pytest.raises(InvalidArgument, match=name):
            simulate(speech, url, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="url"):
        simulate(speech, "http://127.0.0.1/")
    with pytest.raises(InvalidArgument, match="int16"):
        simulate(speech.astype(float), url)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="at least one sample"):
        simulate(speech[:0], url)
    with pytest.raises(InvalidAudio, match="not a file"):
        simulate(tmp_path / "none.wav", url)


def test_a_bot_that_has_given_up_tries_no_more(
    tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "ATTEMPTS", 3)
    came = 0
    with receive(0, tmp_path, mode="thread") as rx:
        bot = start_simulation(speech, rx.url, speed=8, recording="r1")
        rx.wait(packets=3, timeout=10)
        port = rx.port
    with socket.create_server(("127.0.0.1", port)) as nobody:
        nobody.settimeout(3)  # longer than a bot that plays so fast waits between two attempts
        with contextlib.suppress(TimeoutError):
            while True:
                nobody.accept()[0].close()
                came += 1
    truth = bot.wait(5)
    assert came <= 3
    sent = int((truth["outcome"] == "sent").sum())
    assert 3 <= sent < len(truth)
    assert set(truth["outcome"][sent:]) == {"outage"}
    assert bot.progress == (len(truth), len(truth))
