"""Write packets without naming every clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.builders import PAYLOADS
from recall_lab.capture.info import CaptureInfo
from recall_lab.store.writer import StreamWriter
from recall_lab.wire.messages import Participant

NEW_YEAR = 1_735_689_600_000_000_000

Put = Callable[..., None]
Open = Callable[..., StreamWriter]


def _put(
    writer: StreamWriter,
    payload: bytes,
    relative: float | None = None,
    *,
    connection: int = 1,
    sequence: int | None = None,
    shift: int = 0,
    flags: int = 0,
) -> None:
    """Append a packet; clocks that are not given follow from how much is there already."""
    at = writer.bytes / 32_000 if relative is None else relative
    writer.append(
        payload,
        relative=at,
        absolute=NEW_YEAR + int(at * 1e9) + shift,
        received=NEW_YEAR + int(at * 1e9) + 30_000_000,
        monotonic=5_000_000_000 + writer.packets,
        connection=connection,
        sequence=writer.packets if sequence is None else sequence,
        flags=flags,
    )


def _open(
    directory: Path, recording: str = "r1", participant: int | None = None, receiver: str = "run-1"
) -> StreamWriter:
    who = None if participant is None else Participant(participant)
    return StreamWriter(directory, CaptureInfo(recording=recording, participant=who), receiver)


@pytest.fixture(scope="session")
def put() -> Put:
    """Append one packet to a writer."""
    return _put


@pytest.fixture(scope="session")
def open_writer() -> Open:
    """Open a writer for ``r1`` in a folder."""
    return _open


@pytest.fixture
def small(tmp_path: Path, open_writer: Open, put: Put) -> Path:
    """A capture of five packets; the path of its ``.bin``."""
    writer = open_writer(tmp_path)
    for payload in PAYLOADS:
        put(writer, payload)
    writer.close()
    return tmp_path / "r1.bin"
