"""Captures that look whole and are not, each wrong in its own way; and files of any capture."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import soundfile
import soxr

from helpers.builders import NEW_YEAR, make_capture, make_events
from helpers.paths import DATA
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import nanoseconds
from recall_lab.capture.record import pack_header, pack_record

STARTS = np.arange(300) * 0.2
"""Of the packets of a minute, s."""

SAID = {
    "half": ("unexplained_gap", "usable: 30.00 of 60.0 s are not there"),
    "short": ("missing", "poor: 5.98 of 60.0 s are missing in 299 gaps: loss 5.98 s"),
    "restart": ("epochs", "usable: two calls in one file"),
    "stereo": ("two_channels", "poor: two channels are sent as one"),
    "swapped": ("byte_order", "poor: the two bytes of each sample are swapped"),
    "shifted": ("alignment", "poor: samples are off by a byte"),
    "clipped": ("clipping", "poor: peaks are cut off at 0.0 dBFS"),
    "zeros": ("digital_silence", "poor: nothing but zeros"),
    "24k": ("wrong_rate", "poor: it is sampled at 24 kHz, not at 16 kHz"),
    "hidden": ("media_clock_stood", "poor: 18.00 s passed of which there is no audio"),
    "stuck": ("stuck_packet", "poor: the sender repeats itself: "),
}
"""What is found first of each of :func:`broken`, and how its verdict begins."""

_HALF = (STARTS < 20) | (STARTS >= 50)
_BACK = np.concatenate([STARTS[:150], STARTS[:150]])
_PASSED = np.rint(STARTS * 1e9).astype(np.int64)
_CLOCKS = {"absolute": NEW_YEAR + _PASSED, "received": NEW_YEAR + _PASSED + 230_000_000,
           "monotonic": _PASSED + 10**11}  # fmt: skip
_AHEAD = np.where(STARTS >= 30, 18 * 10**9, 0).astype(np.int64)


def voices() -> np.ndarray:
    """Return a minute of two synthetic voices with a little noise, int16."""
    said, _ = soundfile.read(DATA / "standup.wav", dtype="int16")
    noise = np.random.default_rng(0).normal(0, 4, 60 * 16_000)
    return np.rint(np.resize(said, 60 * 16_000) + noise).astype(np.int16)


def call(relative: np.ndarray, audio: np.ndarray, samples: int = 3200, **more: object) -> Capture:
    """Return a capture whose journal tells that its connection has ended."""
    ended = make_events(
        {"kind": "connected", "connection": 1, "receiver": "a"},
        {"kind": "disconnected", "connection": 1, "detail": {"code": 1000}},
    )
    ends = np.cumsum(np.full(len(relative), samples)).tolist()
    crcs = [zlib.crc32(audio[end - samples : end].tobytes()) for end in ends]
    return make_capture(
        relative, samples, audio=audio[: ends[-1]], events=ended, payload_crc=crcs, **more
    )


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return samples of 16 kHz at another rate, int16."""
    return np.rint(soxr.resample(samples.astype(float), 16_000, rate)).astype(np.int16)


def broken(name: str, said: np.ndarray) -> Capture:
    """Return one of the captures of :data:`SAID`, of a minute of speech."""
    parts = said.reshape(300, 3200)
    made = {
        "half": lambda: call(STARTS[_HALF], parts[_HALF].ravel()),
        "short": lambda: call(STARTS, parts[:, :2880].ravel(), 2880),
        "restart": lambda: call(_BACK, said, **_CLOCKS),
        "stereo": lambda: call(STARTS, np.stack([said, np.roll(said, 50)], 1).ravel(), 6400),
        "swapped": lambda: call(STARTS, said.byteswap()),
        "shifted": lambda: call(STARTS, np.frombuffer(said.tobytes()[1:] + b"\0", np.int16)),
        "clipped": lambda: call(STARTS, np.clip(said * 20.0, -32_768, 32_767).astype(np.int16)),
        "zeros": lambda: call(STARTS, np.zeros_like(said)),
        "24k": lambda: call(STARTS, resampled(said, 24_000), 4800),
        "hidden": lambda: call(STARTS, said, **{key: one + _AHEAD for key, one in _CLOCKS.items()}),
        "stuck": lambda: call(STARTS, np.concatenate([
            parts[:100].ravel(), np.tile(parts[101], 100), parts[200:].ravel()])),
    }  # fmt: skip
    return made[name]()


def write(path: Path, capture: Capture) -> Path:
    """Write a capture's files as a receiver does: ``.bin``, ``.idx``, ``.json``, the journal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(capture.samples.astype("<i2").tobytes())
    packets = capture.packets
    columns = [packets[name].tolist() for name in ("offset", "samples", "relative")]
    columns += [
        nanoseconds(packets["absolute"]).tolist(), nanoseconds(packets["received"]).tolist(),
        packets["monotonic"].tolist(), packets["sequence"].tolist(),
        packets["payload_crc"].tolist(),
    ]  # fmt: skip
    with path.with_suffix(".idx").open("wb") as index:
        index.write(pack_header())
        for offset, samples, relative, absolute, received, monotonic, sequence, crc in zip(
            *columns, strict=True
        ):
            index.write(
                pack_record(
                    offset=2 * offset, length=2 * samples, flags=0, relative=relative,
                    absolute=absolute, received=received, monotonic=monotonic, connection=1,
                    sequence=sequence, payload_crc=crc,
                )
            )  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps({"recording": path.stem}))
    journal = [
        {"kind": "connected", "connection": 1, "receiver": "a"},
        {"kind": "disconnected", "connection": 1, "code": 1000},
    ]
    times = {"received": NEW_YEAR, "monotonic": 1}
    lines = "".join(json.dumps(line | times) + "\n" for line in journal)
    path.with_suffix(".events.jsonl").write_text(lines)
    return path
