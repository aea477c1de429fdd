"""Folders of many small captures, with faults, written as a receiver would have."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import soundfile

from helpers.builders import NEW_YEAR
from helpers.paths import DATA
from recall_lab.capture.record import pack_header, pack_record

PACKET = 3200  # samples
DAY = 86_400 * 10**9
_SPEECH = DATA / "standup.wav"


def write_captures(
    folder: Path, count: int, seconds: int = 60, *, seed: int = 0, damaged: int = 0
) -> list[Path]:
    """Write captures of speech, one in three with losses, over some weeks.

    Args:
        folder: where to.
        count: how many.
        seconds: how long each is.
        seed: of chance.
        damaged: how many have broken files: torn, forged, cut off, empty, without times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    speech, _ = soundfile.read(_SPEECH, dtype="int16")
    speech = np.tile(speech, seconds * 16_000 // len(speech) + 2)
    written = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        path = folder / f"call-{number:05}.bin"
        packets = np.arange(seconds * 5)
        if number % 3 == 0:
            packets = packets[rng.random(len(packets)) > 0.03]
        shift = int(rng.integers(0, 16_000))
        sound = speech[shift : shift + seconds * 16_000].reshape(-1, PACKET)[packets]
        start = NEW_YEAR + number % 21 * DAY + number * 10**9
        path.write_bytes((sound // (1 + number % 4)).astype("<i2").tobytes())
        _write_index(path.with_suffix(".idx"), packets, start, rng)
        info = {"recording": path.stem, "metadata": {"team": number % 5}, "created": start}
        path.with_suffix(".json").write_text(json.dumps(info))
        lines = [{"kind": "connected", "received": start, "monotonic": 1, "connection": 1,
                  "receiver": "r1"},
                 {"kind": "disconnected", "received": start, "monotonic": 2, "connection": 1,
                  "code": 1000}]  # fmt: skip
        journal = "".join(json.dumps(line) + "\n" for line in lines)
        path.with_suffix(".events.jsonl").write_text(journal)
        written.append(path)
    for number, path in enumerate(written[: 10 * damaged : 10] if damaged else []):
        _damage(path, number)
    return written


def _write_index(path: Path, packets: np.ndarray, start: int, rng: np.random.Generator) -> None:
    late = (rng.exponential(0.01, len(packets)) * 1e9).astype(np.int64)
    with path.open("wb") as file:
        file.write(pack_header())
        for at, (packet, delay) in enumerate(zip(packets.tolist(), late.tolist(), strict=True)):
            wall = start + packet * 200_000_000
            file.write(
                pack_record(
                    offset=at * PACKET * 2, length=PACKET * 2, flags=0, relative=packet / 5,
                    absolute=wall, received=wall + 220_000_000 + delay,
                    monotonic=10**12 + packet * 200_000_000 + delay, connection=1, sequence=at,
                    payload_crc=0,
                )
            )  # fmt: skip


def _damage(path: Path, kind: int) -> None:
    """Break a capture in one of ten ways."""
    index = path.with_suffix(".idx")
    data = bytearray(index.read_bytes())
    match kind % 10:
        case 0:
            index.write_bytes(data[:-30])
        case 1:
            data[64 * (len(data) // 128) + 9] ^= 0xFF
            index.write_bytes(data)
        case 2:
            index.unlink()
        case 3:
            os.truncate(path, path.stat().st_size // 2)
        case 4:
            path.with_suffix(".json").write_bytes(b'{"recording": ')
        case 5:
            index.write_bytes(b"")
        case 6:
            path.write_bytes(b"")
        case 7:
            path.unlink()
        case 8:
            index.write_bytes(np.random.default_rng(kind).bytes(len(data)))
        case 9:
            os.truncate(path, path.stat().st_size - 1)
