"""Reading back: how long does it take to load an index, to make a frame, to follow a capture?

    python benchmarks/store.py [--packets N]

An index of a million records is written; then loaded, made into a frame, and followed while one
second of packets at a time is added, beside what people would do without it: the same facts as
lines of JSON, read with json or pandas, and a pickled frame. An 8 h capture is opened, and what
that touched of its files is counted. Medians of several runs, alternating.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from child import machine

import recall_lab as rl
from recall_lab.capture.info import CaptureInfo
from recall_lab.store.writer import StreamWriter


def write(folder: Path, recording: str, packets: int, samples: int, *, audio: bool) -> Path:
    """Write a capture of so many packets; without audio the ``.bin`` is one hole."""
    payload = np.random.default_rng(0).integers(-999, 999, samples).astype("<i2").tobytes()
    writer = StreamWriter(folder, CaptureInfo(recording=recording))
    begun = time.time_ns()
    for number in range(packets):
        at = begun + number * samples * 62_500
        writer.stage(payload, number * samples / 16_000, at, at, at, 1, number)
        if not audio:
            writer._payloads.clear()  # the records claim it, the file's length provides it
        if number % 4096 == 4095 or number == packets - 1:
            if audio:
                writer.commit()
            else:
                _commit_records(writer)
    writer.close()
    return writer.audio_path


def _commit_records(writer: StreamWriter) -> None:
    """Commit records whose audio is a hole in the file: a day of it costs no disk."""
    import os

    staged, writer._staged = writer._staged, 0
    os.ftruncate(writer._audio, writer.bytes + staged)
    writer.commit()
    writer.bytes += staged


def mapped() -> float:
    """Return how much of mapped files this process has touched, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssFile:")[1].split()[0]) * 1024 / 1e6


def median(what: Callable[[], object], runs: int) -> float:
    """Return the median time of a call, in ms."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        what()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packets", type=int, default=1_000_000, help="(default 1,000,000)")
    options = parser.parse_args()
    count = options.packets
    folder = Path(tempfile.mkdtemp(prefix="recall_lab_store_"))
    print(machine())
    try:
        path = write(folder, "million", count, 320, audio=False)
        packets = rl.load(path).packets
        assert len(packets) == count
        lines = folder / "packets.jsonl"
        packets.head(count // 10).to_json(lines, orient="records", lines=True, date_format="iso")
        pickle = folder / "packets.pickle"
        packets.to_pickle(pickle)

        def by_json() -> list[dict[str, object]]:
            return [json.loads(line) for line in lines.read_text().splitlines()]

        rows = {
            f"load {count:,} records": median(lambda: rl.load(path), 9),
            f"load and make the frame of {count:,}": median(lambda: rl.load(path).packets, 9),
            f"pickled frame of {count:,}": median(lambda: pd.read_pickle(pickle), 9),
            f"lines of JSON, json.loads, {count // 10:,} only": median(by_json, 3),
            f"lines of JSON, pandas, {count // 10:,} only": median(
                lambda: pd.read_json(lines, lines=True), 3
            ),
        }
        for name, took in rows.items():
            print(f"{name:<56} {took:>9.1f} ms")

        follower = rl.Follower(path)
        begun = time.perf_counter()
        follower.poll()
        follower.frame()
        print(f"{'follow: the first look':<56} {(time.perf_counter() - begun) * 1e3:>9.1f} ms")
        writer = StreamWriter(folder, CaptureInfo(recording="million"))
        costs = []
        for _ in range(100):
            for _ in range(50):  # a second of packets of 20 ms
                now = time.time_ns()
                writer.append(
                    bytes(640), relative=writer.packets * 0.02, absolute=now, received=now,
                    monotonic=now, connection=2, sequence=0,
                )  # fmt: skip
            begun = time.perf_counter()
            follower.poll()
            follower.frame()
            costs.append((time.perf_counter() - begun) * 1e3)
        writer.close()
        assert len(follower.frame()) == count + 5_000
        print(
            f"{'follow: a second more, and the frame again':<56} "
            f"{statistics.median(costs):>9.1f} ms (worst {max(costs):.1f})"
        )

        eight = write(folder, "eight-hours", 8 * 3600 * 50, 320, audio=False)
        took = median(lambda: rl.load(eight), 5)
        before = mapped()
        capture = rl.load(eight)
        touched = mapped() - before
        audio, index = eight.stat().st_size / 1e6, eight.with_suffix(".idx").stat().st_size / 1e6
        print(
            f"{'open an 8 h capture':<56} {took:>9.1f} ms; {touched:.0f} MB of files touched "
            f"(index {index:.0f} MB, audio {audio:.0f} MB)"
        )
        assert capture.duration == 8 * 3600
        return 0 if touched < index + 8 else 1
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
