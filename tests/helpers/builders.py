"""Captures made in memory, from plans and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.plans import SOURCE
from recall_lab.capture.capture import Capture
from recall_lab.capture.events import integers, no_events
from recall_lab.capture.frame import COLUMNS, frame_of, storage_dtype
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import pack_header, pack_record
from recall_lab.store.follower import Follower
from recall_lab.wire.messages import Participant

NEW_YEAR = 1_767_225_600_000_000_000
CLEAN, BROKEN = 1000, 1006


def make_capture(
    relative: Sequence[float] | np.ndarray,
    samples: int | Sequence[int] | np.ndarray = 3200,
    *,
    participant: int | None = None,
    events: pd.DataFrame | None = None,
    audio: np.ndarray | None = None,
    **columns: object,
) -> Capture:
    """Return a capture of packets given by their columns; what is not given follows from time."""
    start = np.asarray(relative, float)
    size = len(start)
    counts = np.broadcast_to(np.asarray(samples, np.int32), size)
    sane = np.where(np.abs(start) < 1e9, start, 0.0)  # what a clock can tell
    lasts = sane + counts / 16_000
    arrays: dict[str, np.ndarray] = {
        "relative": start,
        "absolute": NEW_YEAR + np.rint(sane * 1e9).astype(np.int64),
        "received": NEW_YEAR + np.rint((lasts + 0.03) * 1e9).astype(np.int64),
        "monotonic": np.rint((lasts + 100) * 1e9).astype(np.int64),
        "offset": np.cumsum(counts) - counts,
        "samples": counts,
        "connection": np.ones(size),
        "sequence": np.arange(size),
        "flags": np.zeros(size),
        "payload_crc": np.arange(size),
    }
    assert columns.keys() <= arrays.keys()
    arrays |= {name: np.asarray(values) for name, values in columns.items()}  # type: ignore[misc]
    frame = frame_of(
        {name: np.array(arrays[name]).astype(storage_dtype(name), copy=True) for name in COLUMNS}
    )
    if audio is None:
        audio = np.zeros(int(counts.sum()), np.int16)
    who = None if participant is None else Participant(participant)
    told = no_events() if events is None else events
    info = CaptureInfo(recording="call", participant=who)
    return Capture(audio, frame, info, events=lambda: told)


def make_events(*rows: dict[str, object]) -> pd.DataFrame:
    """Return an events frame; what is not given is missing."""
    usual = {
        "kind": "event", "received": NEW_YEAR, "monotonic": 0, "connection": None, "receiver": "",
        "event": "", "participant": None, "relative": np.nan, "seconds": np.nan, "detail": {},
    }  # fmt: skip
    frame = no_events()
    told = [usual | row for row in rows]
    given = pd.DataFrame(told, columns=list(frame.columns))
    for name in ("connection", "participant"):
        given[name] = integers(row[name] for row in told)  # type: ignore[misc]
    given["received"] = pd.to_datetime(given["received"].astype("int64"), utc=True)
    return given.astype(frame.dtypes.to_dict())


def arrive(plan: pd.DataFrame, source: np.ndarray = SOURCE, *, delay: float = 0.02) -> Capture:
    """Return the capture that a perfect receiver makes of a plan (see simulator/plan.py)."""
    sent = plan[plan["outcome"] == "sent"]
    # only connections that brought a packet count
    made, connection = np.unique(sent["connection"].to_numpy(), return_inverse=True)
    connection = connection + 1
    lost = plan.index[plan["outcome"] == "outage"].to_numpy()
    ends = [sent.index[connection == number][-1] for number in range(1, len(made) + 1)]
    counts = sent["samples"].to_numpy()
    pieces = [
        source[at : at + count] if kind == "audio" else np.zeros(count, np.int16)
        for kind, at, count in zip(sent["payload"], sent["offset"], counts, strict=True)
    ]
    arrived = np.rint((sent["due"].to_numpy() + delay) * 1e9).astype(np.int64)
    lines: list[dict[str, object]] = []
    for number, (end, next_end) in enumerate(pairwise([*ends, len(plan)]), 1):
        lines.append({"kind": "connected", "connection": number, "receiver": "run-1"})
        broke = number < len(ends) and ((lost > end) & (lost < next_end)).any()
        code = BROKEN if broke else CLEAN
        lines.append({"kind": "disconnected", "connection": number, "detail": {"code": code}})
    return make_capture(
        sent["relative"].to_numpy(),
        counts,
        audio=np.concatenate([source[:0], *pieces]),
        events=make_events(*lines),
        absolute=sent["absolute"].to_numpy("datetime64[ns]").astype(np.int64),
        received=NEW_YEAR + arrived,
        monotonic=5_000_000_000 + arrived,
        connection=connection,
        payload_crc=sent["payload_crc"].to_numpy(),
    )


def write_long(path: Path, hours: float, lost: float = 0.002) -> Path:
    """Write a capture of 100 ms packets; half a minute of noise every ten minutes, else zeros.

    A share `lost` of the packets is. Zeros are holes in the file: hours take little disk.
    """
    rng = np.random.default_rng(1)
    kept = np.flatnonzero(rng.random(int(hours * 36_000)) >= lost)
    with path.with_suffix(".idx").open("wb") as index:
        index.write(pack_header())
        for sequence, packet in enumerate(kept.tolist()):
            wall = NEW_YEAR + packet * 100_000_000
            index.write(
                pack_record(
                    offset=sequence * 3200, length=3200, flags=0, relative=packet / 10,
                    absolute=wall, received=wall + 150_000_000,
                    monotonic=10**12 + packet * 100_000_000, connection=1, sequence=sequence,
                    payload_crc=0,
                )
            )  # fmt: skip
    noise = rng.integers(-3000, 3000, 30 * 16_000).astype("<i2").tobytes()
    with path.open("wb") as file:
        file.truncate(len(kept) * 3200)
        for start in range(0, len(kept) * 3200 - len(noise), 600 * 32_000):
            file.seek(start)
            file.write(noise)
    return path


PAYLOADS = [b"aaaa", b"", b"bbc", b"dee", b"ffffffff"]  # of the small capture on disk
AUDIO = b"".join(PAYLOADS)


def follow(path: Path) -> Capture:
    """Return what a follower sees."""
    follower = Follower(path)
    follower.poll()
    return follower.capture()


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Fail unless two frames are equal."""
    pd.testing.assert_frame_equal(one, other)
