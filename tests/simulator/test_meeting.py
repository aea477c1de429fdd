"""Meetings: the voices add up, every stream and event arrives, and the truth says what did not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_lab as rl
from recall_lab.errors import InvalidArgument, InvalidAudio, ReceiverFailed
from recall_lab.loading import load_recording
from recall_lab.receiver.background.start import receive
from recall_lab.simulator import connection
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.meeting import Meeting, Turn, Voice, read_meeting
from recall_lab.simulator.meeting_player import EVENTS, MeetingCall, simulate_meeting, start_meeting
from recall_lab.store.audio_files import read_audio
from recall_lab.wire.messages import Participant, Ref


def test_the_voices_of_the_bundled_meeting_add_up_to_the_file(root: Path) -> None:
    meeting = read_meeting(root / "data" / "standup.wav")
    assert [voice.participant.name for voice in meeting.voices] == ["Alice", "Bob"]
    assert np.array_equal(meeting.mixed, read_audio(root / "data" / "standup.wav"))
    total = sum(voice.samples.astype(np.int32) for voice in meeting.voices)
    assert np.array_equal(total, meeting.mixed)
    assert sum(len(voice.turns) for voice in meeting.voices) == 14
    both = slice(round(26.65 * 16_000), round(27.15 * 16_000))
    assert all(np.any(voice.samples[both]) for voice in meeting.voices)
    alone = slice(round(1.0 * 16_000), round(2.9 * 16_000))
    assert not np.any(meeting.voices[1].samples[alone])


def test_a_muted_voice_is_not_in_the_mix() -> None:
    loud = np.full(16_000, 20_000, "<i2")
    one = Voice(Participant(1), loud, mutes=((0.25, 0.5),))
    two = Voice(Participant(2), loud[:8_000])
    mixed = Meeting((one, two)).mixed
    assert len(mixed) == 16_000
    assert set(mixed[:4_000]) == {32_767}  # saturated, never wrapped
    assert set(mixed[4_000:8_000]) == {20_000}


def small() -> Meeting:
    rng = np.random.default_rng(2)
    voices = [
        Voice(
            Participant(id_, f"P{id_}"),
            rng.integers(-2000, 2000, 3 * 16_000).astype("<i2"),
            (Turn(0.5 * id_, 0.5 * id_ + 0.4, "one two three"),),
            ((1.0, 1.5),) if id_ == 2 else (),
        )
        for id_ in (1, 2)
    ]
    return Meeting(tuple(voices), ((0.2, 1, "hello <b>"),))


@pytest.mark.parametrize("speed", [math.inf, 20])
def test_every_stream_and_event_arrives_as_one_recording(speed: float, tmp_path: Path) -> None:
    meeting = small()
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        truth = simulate_meeting(
            meeting, rx.url, speed=speed, packet=0.1, recording="call",
            faults={2: Faults(loss=0.2, seed=1)}, refs={"bot": Ref("bot-1", {"team": "red"})},
        )  # fmt: skip
        rx.wait(packets=int((truth["outcome"] == "sent").sum()), timeout=10)
        rx.wait(idle=0.2, timeout=10)
        assert rx.status.recordings == 1
    streams = {one.info.stem: one for one in load_recording(tmp_path / "captures" / "call")}
    assert set(streams) == {"call", "call.1", "call.2"}
    assert np.array_equal(streams["call"].samples, meeting.mixed)
    assert np.array_equal(streams["call.1"].samples, meeting.voices[0].samples)
    assert streams["call.2"].info.participant == Participant(2, "P2")
    assert streams["call"].info.bot == Ref("bot-1", {"team": "red"})
    mine = truth[truth["participant"] == 2]
    assert (mine["outcome"] == "muted").sum() == 5
    assert len(streams["call.2"].packets) == (mine["outcome"] == "sent").sum() < 25
    # the streams began at one moment, so that they can be laid side by side
    starts = [one.packets["absolute"].iloc[0] for one in streams.values()]
    assert max(starts) == min(starts)
    events = streams["call"].events
    told = events.loc[events["kind"] == "event", "event"]
    assert told.value_counts().to_dict() == {
        "participant_events.join": 2, "participant_events.leave": 2,
        "participant_events.speech_on": 2, "participant_events.speech_off": 2,
        "participant_events.chat_message": 1, "transcript.data": 2, "transcript.partial_data": 2,
    }  # fmt: skip
    assert told.iloc[0] == "participant_events.join"
    assert told.iloc[-1] == "participant_events.leave"


def test_what_is_sent_is_what_the_protocol_says() -> None:
    made = MeetingCall(small(), "ws://127.0.0.1:9/", recording="call")
    when, name, fields = next(each for each in small().happenings() if each[1] == "transcript.data")
    sent = json.loads(made._event(name, when, 1_767_225_600_000_000_000, fields))
    assert set(sent) == {"event", "data"}
    assert set(sent["data"]) == {"data", "realtime_endpoint", "recording", "bot", "transcript"}
    assert sent["data"]["recording"] == {"id": "call", "metadata": {}}
    assert set(sent["data"]["data"]) == {"words", "participant"}
    word = sent["data"]["data"]["words"][0]
    assert word["text"] == "one"
    assert word["start_timestamp"]["relative"] == pytest.approx(0.5)
    when, name, fields = small().happenings()[0]
    sent = json.loads(made._event(name, when, 1_767_225_600_000_000_000, fields))
    assert sent["data"]["data"]["timestamp"] == {
        "relative": 0.0, "absolute": "2026-01-01T00:00:00.000000Z",
    }  # fmt: skip
    assert sent["data"]["data"]["data"] is None


def test_16_people_with_mutes_of_their_own_are_16_captures_whose_mix_is_their_sum(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(5)
    voices = []
    for id_ in range(16):
        packets = rng.integers(0, 37, rng.integers(0, 4)).tolist()  # whole ones: none half muted
        mutes = tuple((at / 10, (at + 3) / 10) for at in packets)
        samples = rng.integers(-1500, 1500, 4 * 16_000).astype("<i2")
        voices.append(Voice(Participant(id_, f"P{id_}"), samples, mutes=mutes))
    meeting = Meeting(tuple(voices))
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        truth = simulate_meeting(meeting, rx.url, speed=20, packet=0.1, recording="call")
        rx.wait(packets=int((truth["outcome"] == "sent").sum()), timeout=10)
    streams = load_recording(tmp_path / "captures" / "call")
    assert len([one for one in streams if one.info.participant is not None]) == 16
    assert truth["outcome"].value_counts()["muted"] > 30
    mixed = rl.mix(streams, call=(0.0, 4.0))
    total = np.sum([voice.heard.astype(np.int64) for voice in voices], axis=0)
    np.testing.assert_array_equal(mixed.samples, np.clip(total, -32_768, 32_767))
    assert mixed.comparison is not None
    assert mixed.comparison["exact"]


def noise(seed: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-2000, 2000, round(seconds * 16_000)).astype("<i2")


def eventful() -> Meeting:
    """A meeting in which happens what the field knows."""
    alice = Voice(
        Participant(1, "Alice", is_host=True), noise(1, 6), stays=((0.0, 2.0),),
        turns=(Turn(0.5, 1.0, "one two", guess="won two"),),
    )  # fmt: skip
    carol = Voice(
        Participant(1, "Carol"), noise(2, 6), stays=((3.0, 6.0),),
        turns=(Turn(3.2, 3.6, "hello", off=False), Turn(4.0, 4.4, "again", late=1.5)),
    )  # fmt: skip
    late = Voice(
        Participant(2), noise(3, 6), turns=(Turn(1.2, 1.6, "\u306f\u3044", language="ja"),),
        stays=((0.0, 1.8), (2.4, 6.0)),
        changes=((1.0, Participant(2, "Bob")), (5.0, Participant(2, "Robert"))),
    )  # fmt: skip
    screen = rl.simulator.Share(2, 4.6, noise(4, 0.4))
    return Meeting(
        (alice, carol, late), echoes=(rl.simulator.Echo(1, 2, -20.0, 0.05),), shares=(screen,),
        pauses=((2.0, 2.2), (5.2, 5.4)),
    )  # fmt: skip


def test_the_truth_of_a_meeting_is_found_in_what_was_received_of_it(tmp_path: Path) -> None:
    meeting = eventful()
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        sent = simulate_meeting(meeting, rx.url, speed=20, packet=0.1, recording="call")
        rx.wait(packets=int((sent["outcome"] == "sent").sum()), timeout=10)
        rx.wait(idle=0.2, timeout=10)
    streams = load_recording(tmp_path / "captures" / "call")
    truth = meeting.truth
    for found, expected in (
        (rl.participants(streams, by="interval"), truth.people),
        (rl.speakers(streams), truth.turns), (rl.transcript(streams), truth.words),
    ):  # fmt: skip
        pd.testing.assert_frame_equal(found[list(expected.columns)], expected)
    assert truth.people["name"].tolist() == ["Alice", "Carol", "Bob", "Bob", "Robert"]
    assert truth.turns["complete"].tolist() == [True, True, False, True]
    assert rl.corrections(streams)[["partial", "final"]].to_numpy().tolist() == [["won", "one"]]
    absolute = rl.transcript(streams)["absolute"]
    walls = streams[0].packets
    begin = walls["absolute"].iloc[0] - pd.Timedelta(seconds=walls["relative"].iloc[0])
    away = (absolute - begin).dt.total_seconds().to_numpy()
    np.testing.assert_allclose(away, truth.words["start"], atol=2e-6)
    # who is away, and all while the recording is paused, send nothing
    own = next(one for one in streams if one.info.participant is not None)
    media = own.packets["relative"].to_numpy()
    assert not ((media >= 1.999) & (media < 2.999)).any()
    for one in streams:
        media = one.packets["relative"].to_numpy()
        assert not ((media > 5.199) & (media < 5.399)).any()
    assert own.info.participant.name == "Alice"  # and the journal tells of Carol
    audio = own.events[(own.events["kind"] == "participant") & (own.events["participant"] == 1)]
    assert audio["relative"].tolist() == pytest.approx([3.0])


def test_names_are_told_by_audio_alone(tmp_path: Path) -> None:
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        sent = simulate_meeting(
            eventful(), rx.url, speed=20, packet=0.1, recording="call", streams=("separate",),
            events=(),
        )  # fmt: skip
        rx.wait(packets=int((sent["outcome"] == "sent").sum()), timeout=10)
    found = rl.participants(load_recording(tmp_path / "captures" / "call"), by="interval")
    assert found["name"].tolist() == ["Alice", "Carol", "Bob", "Robert"]
    assert found["end"][[0, 2]].tolist() == pytest.approx([3.0, 5.0])


def test_echoes_shared_screens_and_pauses_are_where_they_belong() -> None:
    meeting = eventful()
    alice, carol, late = meeting.voices
    assert meeting.stream(alice) is alice.samples
    echo = meeting.stream(late).astype(np.int32) - late.samples
    both = np.concatenate([alice.heard[:48_000], carol.heard[48_000:]])
    np.testing.assert_array_equal(echo[800:], np.rint(both[:-800] * 0.1))
    assert not echo[:800].any()
    alone = Meeting(meeting.voices, echoes=meeting.echoes).mixed
    shared = meeting.mixed.astype(np.int32) - alone
    np.testing.assert_array_equal(np.flatnonzero(shared)[[0, -1]] // 160, [460, 499])
    kept = np.r_[0:32_000, 35_200:83_200, 86_400:96_000]
    np.testing.assert_array_equal(meeting.recorded(), meeting.mixed[kept])
    assert len(meeting.recorded(2.1)) == 32_000
    sound = meeting.truth.sound
    assert sound["what"].tolist() == ["pause", "pause", "echo", "screenshare"]
    assert sound[["start", "end"]].to_numpy().tolist()[-1] == pytest.approx([4.6, 5.0])
    assert sound["level"][2] == -20.0
    names = [name for _, name, _ in meeting.happenings()]
    assert names.count("participant_events.screenshare_on") == 1
    assert names.count("participant_events.update") == 2


def test_only_what_is_asked_for_is_sent(tmp_path: Path) -> None:
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        call = start_meeting(small(), rx.url, streams=("separate",), events=(), speed=math.inf)
        truth = call.wait(10)
        rx.wait(packets=int((truth["outcome"] == "sent").sum()), timeout=10)
        assert rx.status.events == 0
        assert sorted(rx.recordings()["participant"]) == [1, 2]
        assert call.progress == (len(truth), len(truth))


def test_a_meeting_can_be_stopped_in_the_middle(tmp_path: Path) -> None:
    with receive(0, tmp_path / "captures", mode="thread") as rx:
        call = start_meeting(small(), rx.url, speed=1)
        rx.wait(packets=3, timeout=10)
        call.stop()
        assert call.done
        with pytest.raises(ReceiverFailed, match="stopped"):
            call.wait()


def test_nobody_there_is_said_once_and_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 2)
    with pytest.raises(ReceiverFailed, match="after 2 attempts"):
        simulate_meeting(small(), "ws://127.0.0.1:9/", speed=math.inf)


def test_what_can_not_be(tmp_path: Path, root: Path) -> None:
    voice = small().voices[0]
    with pytest.raises(InvalidArgument, match="voices"):
        Meeting(())
    with pytest.raises(InvalidArgument, match="an id of its own"):
        Meeting((voice, voice))
    with pytest.raises(InvalidArgument, match="in order and apart"):
        Meeting((voice,), pauses=((1.0, 2.0), (1.5, 3.0)))
    for stray in ({"chat": ((0.0, 9, "x"),)}, {"echoes": (rl.simulator.Echo(9, 1),)}):
        with pytest.raises(InvalidArgument, match="participant"):
            Meeting((voice,), **stray)  # type: ignore[arg-type]
    for options in ({"streams": ()}, {"streams": "mixed"}, {"streams": ("stereo",)},
                    {"events": ("weather",)}, {"events": EVENTS[0]}):  # fmt: skip
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            simulate_meeting(small(), "ws://127.0.0.1:9/", **options)
    rl.save(read_audio(root / "data" / "standup.wav")[:32_000], tmp_path / "a.wav")
    with pytest.raises(InvalidAudio, match=r"a\.csv"):
        read_meeting(tmp_path / "a.wav")
    (tmp_path / "a.csv").write_text("speaker,start,end,text\nada,soon,later,x\n")
    with pytest.raises(InvalidAudio, match="who speaks when"):
        read_meeting(tmp_path / "a.wav")
    (tmp_path / "a.csv").write_text("speaker,start,end,text\n")
    with pytest.raises(InvalidAudio, match="no rows"):
        read_meeting(tmp_path / "a.wav")
