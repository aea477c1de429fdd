"""What the panel knows, held against the truth of the stand-in bot, gap by gap."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recall_lab as rl
from recall_lab.capture.info import CaptureInfo
from recall_lab.control.status import Status
from recall_lab.notebook.live import Live
from recall_lab.store.writer import StreamWriter


def test_what_a_call_did_is_what_the_truth_says(tmp_path: Path, speech: np.ndarray) -> None:
    faults = rl.Faults(loss=0.05, disconnects=(5.0,), seed=2)
    with rl.receive(0, tmp_path, mode="thread") as rx:
        live = Live(rx)
        assert live.look().streams == []
        with rl.start_simulation(
            speech, rx.url, packet=0.1, faults=faults, recording="r", participant=4
        ) as bot:
            while not bot.done:
                seen = live.look()
                time.sleep(0.1)
            truth = bot.wait()
        rx.wait(packets=int((truth["outcome"] == "sent").sum()), timeout=10)
        live.tell_all()
        live.look()
        live.tell_all()
        seen = live.look()
        (stream,) = seen.streams
        capture = rx.capture()
    found = rl.gaps(capture)
    missing = found
    assert (stream.recording, stream.participant, stream.packets) == ("r", 4, len(capture.packets))
    assert stream.seconds == pytest.approx(capture.duration)
    assert stream.end == pytest.approx(capture.span[1])
    assert stream.gaps == len(missing) > 3
    assert stream.missing == pytest.approx(missing["duration"].sum())
    by_cause = missing.groupby("cause")["duration"].sum()
    assert stream.causes == pytest.approx(by_cause.to_dict())
    assert set(stream.causes) >= {"reconnect", "loss"}
    assert stream.verdict == rl.quality(capture)["verdict"]
    assert stream.verdict.startswith("poor: ")
    last = capture.samples[-16_000:] / 32_768
    assert stream.rms == pytest.approx(10 * np.log10(2 * (last**2).mean()), abs=0.01)
    assert stream.peak == pytest.approx(20 * np.log10(np.abs(last).max()), abs=0.01)
    delays = rl.latency(capture)["delay"].to_numpy()
    arrived = capture.packets["monotonic"].to_numpy()
    recent = delays[arrived > arrived[-1] - 10**9]
    assert 0 <= stream.delay == pytest.approx(np.median(recent), abs=0.2)


class Still:
    """A receiver of which only the files are there."""

    url = "ws://127.0.0.1:1/"
    alive = True

    def __init__(self, folder: Path, streams: int) -> None:
        self.folder = folder
        self.status = Status(state="running", url=self.url, streams=streams)

    def recordings(self) -> object:
        import pandas as pd

        paths = sorted(self.folder.glob("*.bin"))
        return pd.DataFrame(
            {
                "recording": [path.stem for path in paths],
                "participant": pd.array([None] * len(paths), dtype="Int64"),
                "name": None,
                "path": [str(path) for path in paths],
            }
        )


def write_clocks(
    writer: StreamWriter, media: np.ndarray, wall: np.ndarray, came: np.ndarray
) -> None:
    """Write packets of 0.1 s by their three clocks, s."""
    payload = np.full(1600, 1000, "<i2").tobytes()
    for packet, times in enumerate(zip(media, wall, came, strict=True)):
        relative, absolute, arrived = times
        ns = round(arrived * 1e9)
        writer.stage(
            payload, relative, 10**18 + round(absolute * 1e9), 10**18 + ns, 10**12 + ns, 1, packet,
            False,
        )  # fmt: skip
    writer.commit()


def seen_of(folder: Path, media: np.ndarray, wall: np.ndarray, came: np.ndarray) -> object:
    """Return what is told of a stream that came like that."""
    writer = StreamWriter(folder, CaptureInfo(recording="r"), "run")
    write_clocks(writer, media, wall, came)
    (stream,) = Live(Still(folder, 1)).look().streams  # type: ignore[arg-type]
    writer.close()
    return stream


CALL = np.arange(600) * 0.1


@pytest.mark.parametrize("speed", [0.5, 4.0, 10.0])
def test_of_a_replay_no_delay_is_told(tmp_path: Path, speed: float) -> None:
    stream: Any = seen_of(tmp_path, CALL, CALL, CALL / speed)
    assert stream.replayed
    assert stream.pace == pytest.approx(speed, rel=0.01)
    assert math.isnan(stream.delay)
    assert math.isnan(Live(Still(tmp_path, 1)).look().streams[0].delay)  # type: ignore[arg-type]


def test_a_call_with_a_stall_is_no_replay(tmp_path: Path) -> None:
    came = np.maximum(CALL, np.where((CALL > 20) & (CALL < 26), 26, 0)) + 0.1
    stream: Any = seen_of(tmp_path, CALL, CALL, came)
    assert not stream.replayed
    assert stream.delay == pytest.approx(0, abs=1e-3)


LATE = np.where(CALL >= 59, 0.4, 0.0)  # the last second


@pytest.mark.parametrize(
    ("media", "wall", "came"),
    [
        (CALL, CALL, CALL),
        (np.where(CALL >= 30, CALL - 30, CALL), CALL, CALL),  # relative begins again
        (np.where(CALL >= 30, CALL + 3600, CALL), CALL, CALL),  # it leaps
        (CALL, np.where(CALL >= 30, CALL + 18, CALL), np.where(CALL >= 30, CALL + 18, CALL)),
        (CALL, np.where(CALL >= 30, CALL - 50, CALL), CALL),  # the wall clock is set
        (np.where(CALL == 20, 9.9e8, CALL), CALL, CALL),  # one stamp is impossible
        (np.where(CALL == 59.9, np.nan, CALL), CALL, CALL),
    ],
    ids=["plain", "restart", "leap", "hidden loss", "clock set", "odd stamp", "no stamp"],
)
def test_a_clock_that_does_not_simply_run_on_is_no_delay(
    tmp_path: Path, media: np.ndarray, wall: np.ndarray, came: np.ndarray
) -> None:
    stream: Any = seen_of(tmp_path, media, wall, came + 0.1 + LATE)
    assert stream.delay == pytest.approx(0.4, abs=1e-3)
    assert not stream.replayed
    assert math.isfinite(stream.end)


def write(
    writer: StreamWriter, first: int, count: int, every: int = 320, value: int = 1000
) -> None:
    payload = np.full(every, value, "<i2").tobytes()
    for packet in range(first, first + count):
        now = time.time_ns()
        writer.stage(
            payload, packet * every / 16_000, now, now, time.monotonic_ns(), 1, packet, False
        )
    writer.commit()


def test_it_takes_up_a_capture_that_is_long_already(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, CaptureInfo(recording="long"), "run")
    write(writer, 0, 5_000)
    write(writer, 5_010, 5_000)
    live = Live(Still(tmp_path, 1))  # type: ignore[arg-type]
    (stream,) = live.look().streams
    assert (stream.packets, stream.gaps) == (10_000, 1)
    assert stream.missing == pytest.approx(0.2)
    write(writer, 10_020, 50)
    (stream,) = live.look().streams
    assert (stream.packets, stream.gaps) == (10_050, 2)
    assert stream.missing == pytest.approx(0.4)
    writer.close()


def test_swapped_bytes_are_told_while_the_call_goes_on(tmp_path: Path, speech: np.ndarray) -> None:
    writer = StreamWriter(tmp_path, CaptureInfo(recording="r"), "run")
    live = Live(Still(tmp_path, 1))  # type: ignore[arg-type]
    swapped = np.tile(speech, 4)[: 40 * 16_000].byteswap()
    told = []
    for packet in range(400):
        now = time.time_ns()
        payload = swapped[packet * 1600 :][:1600].tobytes()
        writer.stage(payload, packet / 10, now, now, time.monotonic_ns(), 1, packet, False)
        if packet % 20 == 19:
            writer.commit()
            (stream,) = live.look().streams
            told.append(stream.verdict.partition(":")[0])
    assert told[:14] == [""] * 14  # too little to judge by
    assert told[-1] == "poor"
    assert "swapped" in stream.verdict
    writer.close()


def test_the_meter_falls_when_nothing_comes_and_knows_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("recall_lab.notebook.live.time.monotonic", lambda: now[0])
    writer = StreamWriter(tmp_path, CaptureInfo(recording="r"), "run")
    live = Live(Still(tmp_path, 1))  # type: ignore[arg-type]
    write(writer, 0, 60, value=32_767)
    (stream,) = live.look().streams
    assert stream.rms == pytest.approx(10 * np.log10(2), abs=0.01)
    assert stream.peak == pytest.approx(0, abs=0.01)
    now[0] += 1
    write(writer, 60, 60, value=0)
    (stream,) = live.look().streams
    assert math.isinf(stream.rms)
    assert stream.rate == pytest.approx(60)
    now[0] += 5
    (stream,) = live.look().streams
    assert math.isnan(stream.rms)
    assert stream.rate == pytest.approx(10)
    writer.close()


def test_causes_are_told_within_a_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred streams that all lose something: each look tells some, none is forgotten."""
    for number in range(40):
        writer = StreamWriter(tmp_path, CaptureInfo(recording=f"r{number:02d}"), "run")
        write(writer, 0, 5)
        write(writer, 7, 5)
        writer.close()
    spent = [0.0]
    monkeypatch.setattr("recall_lab.notebook.live.time.thread_time", lambda: spent[0])
    told = []

    def slow(capture: rl.Capture) -> rl.Analysis:
        spent[0] += 0.004
        told.append(capture.info.recording)
        return rl.analyse(capture)

    monkeypatch.setattr("recall_lab.notebook.followed.analyse", slow)
    now = [0.0]
    monkeypatch.setattr("recall_lab.notebook.live.time.monotonic", lambda: now[0])
    live = Live(Still(tmp_path, 40))  # type: ignore[arg-type]
    for _ in range(40):
        now[0] += 1
        before = len(told)
        streams = live.look().streams
        assert len(told) - before <= 3  # 5 ms a second, of 4 ms each, and what was saved up
    assert sorted(told) == [f"r{number:02d}" for number in range(40)]
    assert all(stream.causes == pytest.approx({"loss": 0.04}) for stream in live.look().streams)
    assert all(stream.missing == pytest.approx(0.04) for stream in streams)
