"""How fast a capture is found in its recording: ours beside one big correlation, in one run.

    python benchmarks/compare.py [--minutes 2 10 30] [--repetitions 5] [--drift 0]

Meetings of synthetic speech, made of the turns of data/standup.wav, each at a pitch and level of
its own. The recording begins 200 s earlier, is 10 dB louder, has noise, and its clock may drift;
of the capture 5 % are lost. The peer is what one would write by hand: `scipy.signal.correlate` by
FFT over all samples of both, and the highest peak. It tells the offset and no more, to a sample,
and knows nothing of drift, of which it is spared unless `--drift` is given. Ours does everything:
offset, drift, intervals, similarity by windows, gaps; the search alone is timed as well. The
contenders take turns and the median counts; each runs in a process of its own, whose peak of
memory is printed.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile
import soxr

from recall_lab.analysis.alignment.anchors import anchors, track
from recall_lab.analysis.recording.compare import compare
from recall_lab.analysis.time.timeline import as_timeline, timeline
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import COLUMNS, frame_of, storage_dtype

RATE, SAMPLES = 16_000, 1600
DATA = Path(__file__).parent.parent / "data"
EPOCH = 1_767_225_600_000_000_000
BEFORE = 200.0

Floats = npt.NDArray[np.float32]


def meeting(seconds: float, seed: int) -> Floats:
    """Return speech of full scale 1 that does not repeat: turns at pitches and levels of their own.

    Two seeds make two meetings of the same two voices.
    """
    rng = np.random.default_rng((5, seed))
    audio, _ = soundfile.read(DATA / "standup.wav", dtype="float32")
    turns = pd.read_csv(DATA / "standup.csv")
    spans = [(round(a * RATE), round(b * RATE)) for a, b in turns[["start", "end"]].to_numpy()]
    pieces, size = [], 0
    while size < seconds * RATE:
        low, high = spans[rng.integers(len(spans))]
        turn = soxr.resample(audio[low:high], RATE, RATE * rng.uniform(0.85, 1.18))
        pause = np.zeros(round(rng.uniform(0.15, 1.5) * RATE), np.float32)
        pieces += [turn * 10 ** (rng.uniform(-5, 5) / 20), pause]
        size += len(turn) + len(pause)
    speech = np.concatenate(pieces)[: round(seconds * RATE)]
    room = rng.normal(0, 2e-4, len(speech))
    return (speech + room).astype(np.float32)


def as_int16(sound: Floats) -> npt.NDArray[np.int16]:
    """Return sound of full scale 1 as int16."""
    return np.clip(np.rint(sound * 32_768), -32_768, 32_767).astype("<i2")


def capture_of(sound: Floats, seed: int, *, loss: float = 0.05, start: float = 0.0) -> Capture:
    """Return a capture of packets of 100 ms, some of which were lost, but not the outer ones."""
    packets = len(sound) // SAMPLES
    kept = np.random.default_rng((7, seed)).random(packets) >= loss
    kept[[0, -1]] = True
    numbers = np.flatnonzero(kept)
    audio = as_int16(sound[: packets * SAMPLES]).reshape(packets, SAMPLES)[kept].ravel()
    arrays = {name: np.zeros(len(numbers), storage_dtype(name)) for name in COLUMNS}
    relative = start + numbers * SAMPLES / RATE
    arrays["relative"][:] = relative
    arrays["absolute"][:] = EPOCH + np.rint(relative * 1e9)
    arrays["received"][:] = arrays["absolute"] + 130_000_000
    arrays["monotonic"][:] = arrays["received"] - EPOCH
    arrays["samples"][:] = SAMPLES
    arrays["offset"][:] = np.arange(len(numbers)) * SAMPLES
    arrays["connection"][:] = 1
    arrays["sequence"][:] = np.arange(len(numbers))
    arrays["payload_crc"][:] = numbers
    return Capture(audio, frame_of(arrays))


def recording_of(
    sound: Floats, seed: int, offset: float, drift: float, *, level: float = -10, noise: float = -45
) -> tuple[npt.NDArray[np.int16], float]:
    """Return a recording of a meeting, and its true offset, a whole number of samples.

    Args:
        sound: the meeting.
        seed: of what was before, and of the noise.
        offset: s of something else before it; below 0, by how much it begins late.
        drift: ppm by which the recording lasts longer.
        level: dB by which the capture is louder.
        noise: RMS of what is added, dB of full scale 1.
    """
    drawn = soxr.resample(sound, RATE, RATE * (1 + drift * 1e-6), "VHQ")
    size = round(offset * RATE)
    if size >= 0:
        drawn = np.concatenate([meeting(offset + 1, 1000 + seed)[:size], drawn])
    else:
        drawn = drawn[-size:]
    rng = np.random.default_rng((8, seed))
    drawn = drawn * np.float32(10 ** (-level / 20))
    return as_int16(drawn + rng.normal(0, 10 ** (noise / 20), len(drawn))), size / RATE


def ours(capture: Capture, recording: npt.NDArray[np.int16]) -> tuple[float, float]:
    """Everything: offset and drift are two of it."""
    found = compare(capture, recording)
    return found.offset, found.drift


def one_correlation(capture: Capture, recording: npt.NDArray[np.int16]) -> tuple[float, float]:
    """All of one against all of the other, as floats: where they agree best, to a sample."""
    from scipy.signal import correlate

    mine = np.asarray(timeline(capture).samples, np.float64)
    theirs = np.asarray(recording, np.float64)
    scores = correlate(theirs, mine, mode="full", method="fft")
    return (int(np.argmax(np.abs(scores))) - (len(mine) - 1)) / RATE, np.nan


def rough(capture: Capture, recording: npt.NDArray[np.int16]) -> tuple[float, float]:
    """The search alone: where it lies, roughly; the part that one correlation stands against."""
    best = anchors(track(as_timeline(capture)), track(as_timeline(recording)))[0]
    return (best.other - best.sample) / RATE, np.nan


CONTENDERS = {"recall_lab": ours, "its rough search": rough, "one correlation": one_correlation}


def child(name: str, folder: str) -> None:
    """Time one contender once, after a short run to warm up, and print it as JSON."""
    samples, recording = (np.load(f"{folder}/{of}.npy") for of in ("samples", "recording"))
    capture = Capture(samples, pd.read_pickle(f"{folder}/packets"))
    run = CONTENDERS[name]
    run(capture.slice(0, 30), recording[: 240 * RATE])
    began = time.perf_counter()
    offset, drift = run(capture, recording)
    took = time.perf_counter() - began
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps([took, offset, drift, int(peak[1]) // 1024 if peak else 0]))


def measure(folder: str, repetitions: int) -> dict[str, Any]:
    """Let the contenders take turns; return seconds (median), offset, drift, peak MiB of each."""
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    told: dict[str, tuple[float, float, int]] = {}
    for _ in range(repetitions):
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--child", name, folder]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            took, *rest = json.loads(ran.stdout)
            times[name].append(took)
            told[name] = (rest[0], rest[1], rest[2])
    return {name: (statistics.median(times[name]), *told[name]) for name in CONTENDERS}


def main() -> None:
    """Run all and print the table."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 30])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--drift", type=float, default=0.0, help="ppm (0)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    print(f"the recording drifts by {options.drift:g} ppm; errors are those of the last turn")
    heads = ("minutes", "contender", "seconds", "ratio", "offset ms", "drift ppm", "peak MiB")
    print("{:>7}  {:<17}{:>9}{:>8}{:>12}{:>11}{:>10}".format(*heads))
    for minutes in options.minutes:
        sound = meeting(60 * minutes, 1)
        capture = capture_of(sound, 1)
        recording, offset = recording_of(sound, 1, BEFORE, options.drift)
        with tempfile.TemporaryDirectory() as folder:
            capture.packets.to_pickle(f"{folder}/packets")
            np.save(f"{folder}/samples.npy", capture.samples)
            np.save(f"{folder}/recording.npy", recording)
            results = measure(folder, options.repetitions)
        least = results["recall_lab"][0]
        for name, (took, told, drift, peak) in results.items():
            print(
                f"{minutes:>7g}  {name:<17}{took:>9.3f}{took / least:>7.1f}x"
                f"{1e3 * (told - offset):>12.4f}{drift - options.drift:>11.4f}{peak:>10,}"
            )


if __name__ == "__main__":
    main()
