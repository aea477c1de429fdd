"""What is refused is kept aside as it came, within bounds, and can be sent again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recall_lab.control.limits import Limits
from recall_lab.errors import InvalidArgument, ReceiverFailed, StreamNotFound, WaitTimeout
from recall_lab.loading import load
from recall_lab.receiver.background.start import receive
from recall_lab.receiver.ingest import Ingest
from recall_lab.receiver.quarantine import Quarantine
from recall_lab.simulator.replay import replay
from recall_lab.wire.messages import AudioPacket, Ref, encode_message
from recall_lab.wire.tape import read_tape


def packet(number: int) -> bytes:
    return encode_message(
        AudioPacket(
            recording=Ref("r1"), payload=bytes([number % 256, 0]) * 160, relative=number * 0.01,
            absolute=1_735_689_600_000_000_000,
        )
    )  # fmt: skip


def broken(number: int) -> bytes:
    """A message whose relative time is somewhere else."""
    return packet(number).replace(b'"relative"', b'"rel"')


def test_what_was_refused_is_on_the_tape_as_it_came(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path, "run1")
    connection = ingest.opened("10.0.0.1:5")
    given = [b"\xff\n\x00", broken(1), b"{", packet(2).replace(b"r1", b"../x")]
    for message in given:
        ingest.text(connection, message, 5, 7)
    ingest.binary(connection, b"\x01\x02" * 100)
    status = ingest.status("")
    ingest.close()
    entries = list(read_tape((tmp_path / "_quarantine" / "run1.tape").read_bytes()))
    assert [one.message for one in entries] == [*given, b"\x01\x02" * 100]
    assert [one.binary for one in entries] == [False] * 4 + [True]
    assert [one.reason for one in entries] == ["utf8", "field", "json", "recording", "binary"]
    assert {one.peer for one in entries} == {"10.0.0.1:5"}
    assert status.quarantined == 5
    assert status.rejected["field data.data.timestamp.relative"] == 1
    assert "v1.10" in status.last_error
    assert oct((tmp_path / "_quarantine").stat().st_mode)[-3:] == "700"


def test_it_is_bounded_over_all_runs_and_junk_leaves_room(tmp_path: Path) -> None:
    first = Quarantine(tmp_path, "a", Limits(quarantine=10_000))
    kept = [first.keep("p:1", "json", "", bytes(400)) for _ in range(20)]
    assert sum(kept) == 4  # a quarter
    kept = [first.keep("p:1", "field", "", bytes(400)) for _ in range(10)]
    assert all(kept)
    again = Quarantine(tmp_path, "b", Limits(quarantine=10_000))
    kept = [again.keep("p:1", "field", "", bytes(400)) for _ in range(100)]
    size = sum(path.stat().st_size for path in (tmp_path / "_quarantine").iterdir())
    assert 9_000 < size <= 10_000
    assert not kept[-1]
    assert not Quarantine(tmp_path, "c", Limits(quarantine=0)).keep("p:1", "field", "", b"x")


def test_nobody_fills_it_in_a_minute(tmp_path: Path) -> None:
    aside = Quarantine(tmp_path, "a", Limits(quarantine=1 << 30))
    kept = [aside.keep("p:1", "field", "", b"x") for _ in range(3_000)]
    assert 2_000 <= sum(kept) < 2_900
    assert aside.keep("q:1", "field", "", b"x")  # another is not held back by it


def test_a_disk_that_is_nearly_full_is_for_recordings(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path, "run1", limits=Limits(reserve=2**62))
    ingest.text(ingest.opened("p:1"), broken(1), 5, 7)
    assert ingest.status("").quarantined == 0
    assert ingest.last_error == ""
    ingest.close()


def test_it_is_told_wherever_one_would_look_and_can_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tape").write_bytes(b"\n".join(map(broken, range(300))))
    with receive(0, tmp_path / "a") as rx:
        assert replay(tmp_path / "tape", rx.url) == 300
        with pytest.raises(WaitTimeout, match="300 messages came and were refused: 300 field data"):
            rx.wait(packets=1, timeout=2)
        with pytest.raises(StreamNotFound, match="300 messages came and were refused") as caught:
            rx.capture()
        assert "nothing has been received" not in str(caught.value)
        assert "data.data.timestamp.relative is missing" in str(caught.value)
        with pytest.warns(UserWarning, match="300 messages came and were refused"):
            assert rx.packets().empty
        (tape,) = (tmp_path / "a" / "_quarantine").iterdir()

        def mended(message: bytes) -> bytes:
            return message.replace(b'"rel"', b'"relative"')

        assert replay(tape, rx.bot_url, change=mended) == 300
        rx.wait(packets=300, timeout=10)
    packets = load(tmp_path / "a" / "r1.bin").packets
    np.testing.assert_allclose(packets["relative"], np.arange(300) / 100)


def test_a_tape_that_can_not_be_sent_is_told(tmp_path: Path) -> None:
    (tmp_path / "tape").write_bytes(b"noise")
    with pytest.raises(InvalidArgument, match="a file with messages"):
        replay(tmp_path / "tape", "ws://127.0.0.1:9/")
    (tmp_path / "tape").write_bytes(packet(1))
    with pytest.raises(ReceiverFailed, match="can't be reached"):
        replay(tmp_path / "tape", "ws://127.0.0.1:9/?token=secret")
