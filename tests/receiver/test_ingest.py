"""Ingest: bytes in, files out; nothing a peer sends makes it raise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.capture.record import Flag
from recall_lab.loading import load
from recall_lab.receiver.ingest import Connection, Ingest
from recall_lab.receiver.open_streams import IDLE_CLOSE
from recall_lab.wire.messages import AudioPacket, Participant, Ref, encode_message


def packet(
    number: int = 0, recording: str = "r1", payload: bytes = b"\1\0" * 160, who: int | None = None
) -> bytes:
    """One audio message."""
    return encode_message(
        AudioPacket(
            recording=Ref(recording, {"team": "audio"}),
            payload=payload,
            relative=number * 0.01,
            absolute=1_735_689_600_000_000_000 + number * 10_000_000,
            participant=None if who is None else Participant(who, name="Ada"),
            bot=Ref("bot-1"),
        )
    )


def give(ingest: Ingest, connection: Connection, *messages: bytes) -> None:
    """Hand messages over as the server does."""
    for message in messages:
        ingest.text(connection, message, received=5, monotonic=7)
    ingest.flush()


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    return Ingest(tmp_path / "captures", "run-1")


def journal(ingest: Ingest, name: str) -> pd.DataFrame:
    return pd.read_json(ingest.directory / f"{name}.events.jsonl", lines=True)


def test_mixed_and_separate_streams_go_to_files_of_their_own(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    give(ingest, connection, packet(0), packet(0, who=100), packet(0, who=200), packet(1, who=100))
    ingest.close()
    names = sorted(path.name for path in ingest.directory.glob("*.bin"))
    assert names == ["r1.100.bin", "r1.200.bin", "r1.bin"]
    spoken = load(ingest.directory / "r1.100.bin")
    assert spoken.packets["sequence"].tolist() == [1, 3]
    assert spoken.info.participant == Participant(100, name="Ada")
    assert spoken.info.metadata == {"team": "audio"}
    assert spoken.info.bot == Ref("bot-1")
    assert spoken.info.writer is not None
    assert spoken.info.writer.closed is not None


def test_connections_are_numbered_within_a_recording_and_never_again(ingest: Ingest) -> None:
    first, second = ingest.opened("a:1"), ingest.opened("b:2")
    give(ingest, first, packet(0), packet(0, "r2"))
    give(ingest, second, packet(1), packet(1, who=5))
    ingest.closed(first, 1000, "")
    ingest.close()
    again = Ingest(ingest.directory, "run-2")
    third = again.opened("c:3")
    give(again, third, packet(2))
    again.close()
    packets = load(ingest.directory / "r1.bin").packets
    assert packets["connection"].tolist() == [1, 2, 3]
    assert [bool(flags & Flag.RESUMED) for flags in packets["flags"]] == [False, False, True]
    told = journal(ingest, "r1")
    first_run = ["connected", "connected", "disconnected", "disconnected"]
    assert told["kind"].tolist() == [*first_run, "connected", "disconnected"]
    assert told["connection"].tolist() == [1, 2, 1, 2, 3, 3]


def test_a_new_stream_of_an_old_recording_does_not_reuse_connection_numbers(
    ingest: Ingest,
) -> None:
    give(ingest, ingest.opened("a:1"), packet(0))
    give(ingest, ingest.opened("a:2"), packet(1))
    ingest.close()
    again = Ingest(ingest.directory, "run-2")
    give(again, again.opened("a:3"), packet(0, who=9))
    again.close()
    assert load(ingest.directory / "r1.9.bin").packets["connection"].tolist() == [3]


def test_what_is_refused_is_counted_by_reason_and_journalled_as_an_excerpt(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    give(
        ingest,
        connection,
        b"x" * 5000,
        packet().replace(b'"r1"', b'"../../etc/passwd"'),
        packet().replace(b'"relative":0.0', b'"relative":NaN'),
        packet(),
    )
    ingest.binary(connection, b"\0\1" * 400)
    assert ingest.status("").rejected == {"json": 2, "recording": 1, "binary": 1}
    assert ingest.status("").packets == 1
    told = journal(ingest, "_receiver")
    assert told["reason"].tolist() == ["json", "recording", "json", "binary"]
    assert told["size"].tolist()[0] == 5000
    assert told["start"].str.len().max() <= 200
    assert load(ingest.directory / "r1.bin").packets["sequence"].tolist() == [3]
    suffixes = {path.suffix for path in ingest.directory.rglob("*") if path.is_file()}
    assert suffixes <= {".bin", ".idx", ".json", ".jsonl", ".tape"}


def test_a_flood_of_bad_messages_writes_few_lines(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    for _ in range(2_000):
        ingest.text(connection, b"{", 1, 1)
    assert ingest.status("").rejected == {"json": 2_000}
    assert len(journal(ingest, "_receiver")) <= 40


def test_other_events_are_kept_with_their_json_and_pictures_are_not(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    chat = {
        "event": "participant_events.chat_message",
        "data": {
            "recording": {"id": "r1"},
            "data": {"data": {"text": "hi\u2028\u202e", "to": "all"}},
        },
    }
    video = {
        "event": "video_separate_png.data",
        "data": {"recording": {"id": "r1"}, "data": {"buffer": "A" * 4000}},
    }
    homeless = {"event": "transcript.data", "data": {}}
    give(ingest, connection, packet(), *(json.dumps(e).encode() for e in (chat, video, homeless)))
    told = journal(ingest, "r1")
    events = told[told["kind"] == "event"]
    assert events["message"].iloc[0] == chat
    assert events["bytes"].iloc[1] > 4000
    assert (ingest.directory / "r1.events.jsonl").stat().st_size < 3000
    assert events["message"].iloc[2] == homeless  # it is its socket's
    assert ingest.status("").events == 3
    assert ingest.status("").video == 1


def said(name: str, recording: str | None = None) -> bytes:
    about = {} if recording is None else {"recording": {"id": recording}}
    return json.dumps({"event": name, "data": about}).encode()


def test_events_that_name_no_recording_are_those_of_their_socket(ingest: Ingest) -> None:
    first, other, silent = (ingest.opened(f"peer:{at}") for at in range(3))
    give(ingest, first, said("a.early"), packet(), said("a.late"))
    give(ingest, other, said("b.early"), said("b.named", "r2"), said("b.late"))
    give(ingest, first, packet(0, "r3"), said("a.resumed"))
    give(ingest, silent, *(said("c.nobody's") for _ in range(100)))
    told = {name: journal(ingest, name) for name in ("r1", "r2", "r3", "_receiver")}
    own = {name: list(found["event"].dropna()) for name, found in told.items()}
    assert own["r1"] == ["a.early", "a.late"]
    assert own["r2"] == ["b.early", "b.named", "b.late"]
    assert own["r3"] == ["a.resumed"]
    # nothing waits in memory alone, or without an end
    assert own["_receiver"] == ["a.early", "b.early", *["c.nobody's"] * 100]
    assert len(silent.waiting) < 100
    assert told["r2"]["waited"].tolist()[0]
    early = told["r2"].iloc[0]
    assert early["received"] <= told["r2"].iloc[1]["received"]


def of(number: int, **who: Any) -> bytes:
    return encode_message(
        AudioPacket(
            recording=Ref("r1"), payload=b"\1\0" * 160, relative=number * 0.01,
            absolute=1_735_689_600_000_000_000, participant=Participant(7, **who),
        )
    )  # fmt: skip


def test_names_that_come_late_in_audio_and_ids_that_are_used_again(tmp_path: Path) -> None:
    first = Ingest(tmp_path, "run-1")
    connection = first.opened("peer:1")
    give(first, connection, of(0), of(1), of(2, name="Alice", extra_data={"n": 1}),
         of(3, name="Alice", extra_data={"n": 2}), of(4), of(5, name="A" * 5_000))  # fmt: skip
    first.close()
    again = Ingest(tmp_path, "run-2")
    give(again, again.opened("peer:2"), of(6, name="Carol", is_host=True), of(7, name="Carol"))
    again.close()
    capture = load(tmp_path / "r1.7.bin")
    told = capture.events[capture.events["kind"] == "participant"]
    assert told["relative"].tolist() == [0.02, 0.05, 0.06]
    assert told["participant"].tolist() == [7, 7, 7]
    assert (tmp_path / "r1.events.jsonl").stat().st_size < 4_000
    found = rl.participants(capture, by="interval")
    assert found["name"].tolist() == ["Alice", "A" * 1_000, "Carol"]
    assert found["is_host"].fillna(False).tolist()[-1]


def test_a_name_in_each_packet_floods_no_journal(ingest: Ingest) -> None:
    give(ingest, ingest.opened("peer:1"), *(of(n, name=f"N{n}") for n in range(2_000)))
    assert (journal(ingest, "r1")["kind"] == "participant").sum() <= 40


def test_half_a_sample_at_the_end_of_a_connection_is_journalled(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    give(ingest, connection, packet(payload=b"\1\2\3"))
    ingest.closed(connection, 1006, "")
    assert journal(ingest, "r1")["half_samples"].iloc[-1] == {"r1": "03"}
    assert (ingest.directory / "r1.bin").read_bytes() == b"\1\2"


def test_a_locked_capture_is_refused_while_others_go_on(ingest: Ingest) -> None:
    give(ingest, ingest.opened("a:1"), packet())
    second = Ingest(ingest.directory, "run-2")
    connection = second.opened("b:1")
    give(second, connection, packet(1), packet(2), packet(0, "r2"))
    status = second.status("")
    assert status.rejected == {"storage": 2}
    assert "is being written by process" in status.last_error
    assert status.packets == 1
    ingest.close()
    second.storage._refusals.clear()  # the second it waits before trying again
    give(second, connection, packet(3))
    second.close()
    assert load(ingest.directory / "r1.bin").packets["relative"].tolist() == [0.0, 0.03]


def test_a_folder_that_was_moved_away_is_made_again(ingest: Ingest, tmp_path: Path) -> None:
    ingest.directory.rename(tmp_path / "elsewhere")
    give(ingest, ingest.opened("a:1"), packet())
    assert ingest.status("").packets == 1
    ingest.close()


def test_metadata_nested_as_deeply_as_it_goes_harms_only_its_own_stream(ingest: Ingest) -> None:
    connection = ingest.opened("a:1")
    for depth in range(900, 1100, 2):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        deep = packet(recording=f"deep{depth}").replace(b'{"team":"audio"}', nested)
        give(ingest, connection, deep, packet(recording="good"))
        # the same recording, without the metadata, is not locked out by what went wrong
        ingest.storage._refusals.clear()
        give(ingest, connection, packet(1, recording=f"deep{depth}"))
    status = ingest.status("")
    assert 200 <= status.packets <= 300
    assert status.packets + sum(status.rejected.values()) == 300
    ingest.close()
    assert len(load(ingest.directory / "good.bin").packets) == 100


def test_files_deleted_while_they_are_written_are_noticed_and_begun_again(ingest: Ingest) -> None:
    connection = ingest.opened("a:1")
    give(ingest, connection, packet(0))
    shutil.rmtree(ingest.directory)
    give(ingest, connection, packet(1))  # nobody can know yet
    ingest.tick(0.0)
    assert "r1 are gone (deleted" in ingest.status("").last_error
    give(ingest, connection, packet(2))
    ingest.close()
    assert load(ingest.directory / "r1.bin").packets["relative"].tolist() == [0.02]


def test_a_connection_of_many_recordings_closes_at_once(ingest: Ingest) -> None:
    busy, other = ingest.opened("a:1"), ingest.opened("b:1")
    give(ingest, busy, *(packet(recording=f"r{n}") for n in range(300)))
    give(ingest, other, packet(recording="x"))
    seen = 0

    class Watched(dict):  # type: ignore[type-arg]
        def items(self):  # type: ignore[no-untyped-def]
            nonlocal seen
            seen += 1
            return super().items()

    ingest.storage._open = Watched(ingest.storage._open)
    ingest.closed(busy, 1000, "")
    assert seen == 0  # it looks at its own streams, not at everybody's for each
    ingest.close()


def test_a_full_disk_loses_only_what_could_not_be_written(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = ingest.opened("a:1")
    give(ingest, connection, packet(0))
    import os

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        give(ingest, connection, packet(1), packet(2))
    give(ingest, connection, packet(3))
    status = ingest.status("")
    assert status.packets == 2
    assert status.rejected == {"storage": 2}
    assert (status.gaps, status.missing) == (1, pytest.approx(0.02))  # what was not kept is missing
    assert "No space left" in status.last_error
    ingest.close()
    capture = load(ingest.directory / "r1.bin")
    assert capture.packets["relative"].tolist() == [0.0, 0.03]
    assert not capture.damage


def test_idle_streams_are_closed_and_opened_again_on_demand(ingest: Ingest) -> None:
    connection = ingest.opened("a:1")
    give(ingest, connection, packet(0))
    ingest.tick(now=1e9 + IDLE_CLOSE)
    assert not ingest.storage._open
    give(ingest, connection, packet(1))
    ingest.close()
    packets = load(ingest.directory / "r1.bin").packets
    assert packets["connection"].tolist() == [1, 1]
    assert not (packets["flags"] & int(Flag.RESUMED)).any()  # the receiver never stopped


def test_the_rate_is_that_of_the_last_seconds(ingest: Ingest) -> None:
    connection = ingest.opened("a:1")
    for second in range(8):
        ingest.tick(float(second))
        give(ingest, connection, *(packet(i) for i in range(5)))
    assert ingest.status("").packets_per_second == 5.0
    ingest.close()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.tuples(st.integers(0, 350), st.binary(min_size=1, max_size=4)).map(
            lambda x: packet()[: x[0]] + x[1] + packet()[x[0] + len(x[1]) :]
        ),
    )
)
def test_no_bytes_make_it_raise_or_write_outside(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "in" / "captures"
    ingest = Ingest(folder, "run")
    give(ingest, ingest.opened("peer:1"), data)
    ingest.close()
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"captures"}
    status = ingest.status("")
    assert status.packets + status.events + sum(status.rejected.values()) == 1


def test_audio_whose_time_of_day_can_not_be_read_has_that_of_its_arrival(ingest: Ingest) -> None:
    stamp = b'"2025-01-01T00:00:00.000000Z"'
    assert stamp in packet()
    connection = ingest.opened("peer:1")
    for value in (b"null", b'"soon"', b"1735689600", stamp[:-2] + b'"'):
        give(ingest, connection, packet().replace(stamp, value))
    ingest.close()
    packets = load(ingest.directory / "r1.bin").packets
    assert packets["absolute"].astype("int64").tolist()[:2] == [5, 5]
    flags = [flags & ~(Flag.RESUMED | Flag.IMPLAUSIBLE) for flags in packets["flags"]]
    assert flags == [Flag.UNSTAMPED, Flag.UNSTAMPED, Flag.ZONELESS | Flag.UNREAD, Flag.ZONELESS]


def test_fields_that_can_not_be_read_are_flagged_and_named_once_a_stream(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    odd = packet(who=100).replace(b'"name":"Ada"', b'"name":5')
    give(ingest, connection, odd, odd, packet(who=100), odd.replace(b'"id":100', b'"id":"100"'))
    ingest.close()
    flags = load(ingest.directory / "r1.100.bin").packets["flags"]
    assert [bool(flag & Flag.UNREAD) for flag in flags] == [True, True, False, True]
    told = journal(ingest, "r1")
    told = told[told["kind"] == "unread"]
    named = ["data.data.participant.id", "data.data.participant.name"]
    assert told["fields"].tolist() == [named[1:], named]
    assert told["stream"].tolist() == ["r1.100"] * 2
    assert ingest.status("").rejected == {}


def test_json_in_binary_messages_is_taken(ingest: Ingest) -> None:
    connection = ingest.opened("peer:1")
    ingest.binary(connection, packet(0))
    ingest.binary(connection, bytearray(b" \n" + packet(1)))
    ingest.flush()
    ingest.binary(connection, b"\1\0" * 3200)
    ingest.close()
    assert load(ingest.directory / "r1.bin").packets["sequence"].tolist() == [0, 1]
    assert ingest.status("").rejected == {"binary": 1}
    assert "v1.10, which Recall.ai ended" in journal(ingest, "_receiver")["problem"].iloc[0]
