"""Whether a repair ever puts in what was said at another moment, and how much it leaves.

    python benchmarks/repairs.py [--pairs 300] [--first 0] [--verbose]

Each pair is a capture of a drawn meeting, of which packets are lost, and a recording made of it on
purpose wrongly: parts are cut out (as Recall.ai leaves out pauses), other sounds put in or in
place of what was said (hold music, a jingle, another meeting), parts are blank, the level steps,
a clock steps by milliseconds or runs up to 1,000 ppm otherwise, the wave may be upside down, noise
and MP3 lie over it; or it is of another meeting that shares its first half minute. Where each
sample of the recording comes from is known, so for each fill it is known whether it was said then.

A fill could be made where the recording has the gap and a second and a half on either side of it
without a break, at one level, with something to hear in it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).parent))

import soxr
from compare import RATE, as_int16, capture_of, meeting

import recall_lab as rl
from recall_lab.capture.capture import Capture

Floats = npt.NDArray[np.float32]

MARGIN = 1.5
"""Seconds on either side of a gap within which nothing may break, for it to be fillable."""

_MS = 1e-3


class Segment(NamedTuple):
    """A part of a recording.

    Attributes:
        begin, end: in the recording, s.
        source: when its beginning was in the meeting, s; NaN for another sound.
        rate: seconds of the recording in a second of the meeting.
        level: dB by which it was raised.
    """

    begin: float
    end: float
    source: float
    rate: float
    level: float


class Drawn(NamedTuple):
    """A pair, and the truth of it.

    Attributes:
        capture: the live one, on the meeting's clock.
        recording: int16.
        segments: of the recording, in order.
        mp3: whether it is to be coded.
        kind: what was done, in words.
    """

    capture: Capture
    recording: npt.NDArray[np.int16]
    segments: list[Segment]
    mp3: bool
    kind: str


class Told(NamedTuple):
    """What came of a pair.

    Attributes:
        kind: of the pair.
        made, possible: fills that were made of those that could be, and how many could.
        wrong: fills from another moment, s of the capture.
        loud: fills whose level is off by more than 3 dB.
        offset, drift: the worst of a piece, s and ppm.
        refused: the reason, where the recording was refused; else empty.
        seconds: that it took.
    """

    kind: str
    made: int
    possible: int
    wrong: list[float]
    loud: list[float]
    offset: float
    drift: float
    refused: str
    seconds: float


def music(seconds: float, seed: int) -> Floats:
    """Return hold music: chords that come again every eight seconds, to the sample."""
    rng = np.random.default_rng((21, seed))
    times = np.arange(round(seconds * RATE)) % (8 * RATE) / RATE
    sound = np.zeros(len(times))
    for chord in range(8):
        there = (times >= chord) & (times < chord + 1)
        for pitch in rng.uniform(150, 1500, 4):
            shape = np.exp(-2 * (times[there] - chord))
            sound[there] += 0.04 * shape * np.sin(2 * np.pi * pitch * times[there])
    return sound.astype(np.float32)


def draw(seed: int, longest: float = 240) -> Drawn:
    """Return a pair, of so many seconds at most."""
    rng = np.random.default_rng((22, seed))
    length = float(rng.choice([60, 90, 150, 240], p=[0.35, 0.35, 0.2, 0.1]))
    length = min(length, longest)
    sound = meeting(length, 5000 + seed)
    kinds = []
    if rng.random() < 0.3:  # the same jingle may come twice in the meeting
        jingle = meeting(6, 9000 + seed % 7) + music(6, seed % 7)
        for at in rng.uniform(5, length - 12, int(rng.integers(1, 3))):
            low = round(float(at) * RATE)
            sound[low : low + len(jingle)] = jingle
        kinds.append("jingle")
    if rng.random() < 0.15:
        low = round(float(rng.uniform(5, length - 25)) * RATE)
        sound[low : low + 20 * RATE] = music(20, seed)
        kinds.append("hold music in both")
    rate = 1.0
    if rng.random() < 0.6:
        rate += float(rng.choice([rng.uniform(-1e-3, 1e-3), rng.uniform(-1e-4, 1e-4)]))
        kinds.append(f"{1e6 * (rate - 1):.0f} ppm")
    parts, source = [], []  # sounds and (when in the meeting, level) of each
    if rng.random() < 0.12:
        shared = 25.0 if rng.random() < 0.5 else float(rng.uniform(10, 30))
        other = meeting(length - shared, 7000 + seed)
        parts, source = [sound[: round(shared * RATE)], other], [(0.0, 0.0), (np.nan, 0.0)]
        kinds.append(f"another meeting after {shared:.0f} s")
    else:
        parts, source = _edited(sound, length, rng, kinds)
    made, segments, at = [], [], 0
    for part, (begin, level) in zip(parts, source, strict=True):
        ends = at + len(part)
        segments.append(Segment(at * rate / RATE, ends * rate / RATE, begin, rate, level))
        made.append(part * np.float32(10 ** (level / 20)))
        at = ends
    base = float(rng.uniform(-8, 8))
    audio = np.concatenate(made) * np.float32(10 ** (base / 20))
    if rate != 1.0:  # as one: each alone would be rounded to whole samples
        audio = soxr.resample(audio, RATE, RATE * rate, "VHQ")
    segments = [one._replace(level=one.level + base) for one in segments]
    if rng.random() < 0.25:
        audio, kinds = -audio, [*kinds, "inverted"]
    noise = float(rng.choice([-75, -55, -40]))
    # exact zeros stay so: a blank is one
    audio = audio + rng.normal(0, 10 ** (noise / 20), len(audio)) * (np.abs(audio) > 1e-6)
    kinds.append(f"noise {noise:.0f} dB")
    mp3 = bool(rng.random() < 0.25)
    kinds += ["MP3"] if mp3 else []
    capture = capture_of(sound, seed, loss=float(rng.choice([0.02, 0.05, 0.1])))
    if rng.random() < 0.4:  # a longer hole
        low = float(rng.uniform(5, length - 12))
        packets = capture.packets
        away = packets["relative"].between(low, low + float(rng.uniform(0.5, 5)))
        kept = packets[~away].reset_index(drop=True).rename_axis("packet")
        capture = Capture(capture.samples, kept)
    return Drawn(capture, as_int16(audio), segments, mp3, ", ".join(kinds))


def _edited(
    sound: Floats, length: float, rng: np.random.Generator, kinds: list[str]
) -> tuple[list[Floats], list[tuple[float, float]]]:
    """Return parts of a recording, and when each was in the meeting, s, with its level, dB."""
    marks = np.sort(rng.uniform(3, length - 3, int(rng.integers(0, 5))))
    # apart, so that there is something to tell each part by
    marks = marks[np.append(True, np.diff(marks) > 10)] if len(marks) else marks
    parts: list[Floats] = []
    source: list[tuple[float, float]] = []
    at, level = 0.0, 0.0
    if rng.random() < 0.2:
        at = float(rng.uniform(1, 15))
        kinds.append(f"begins {at:.1f} s late")
    elif rng.random() < 0.25:
        parts.append(meeting(float(rng.uniform(2, 30)), int(rng.integers(1e6))))
        source.append((np.nan, 0.0))
        kinds.append("begins earlier")
    for mark in marks.tolist():
        if mark <= at + 8:
            continue
        parts.append(sound[round(at * RATE) : round(mark * RATE)])
        source.append((round(at * RATE) / RATE, level))
        at = mark
        kind = str(rng.choice(["cut", "insert", "replace", "blank", "level", "step", "music"]))
        size = float(rng.uniform(0.5, 8))
        kinds.append(f"{kind} at {mark:.1f} s")
        if kind == "cut":
            at += size
        elif kind in ("insert", "replace"):
            parts.append(meeting(size, int(rng.integers(1e6))))
            source.append((np.nan, 0.0))
            at += size if kind == "replace" else 0.0
        elif kind == "music":
            parts.append(music(3 * size, int(rng.integers(1e6))))
            source.append((np.nan, 0.0))
        elif kind == "blank":
            parts.append(np.zeros(round(size * RATE), np.float32))
            source.append((np.nan, 0.0))
            at += size
        elif kind == "level":
            level += float(rng.choice([-1, 1]) * rng.uniform(5, 12))
        else:
            step = float(rng.choice([0.005, 0.02, 0.1, 0.001]))
            parts.append(rng.normal(0, 1e-4, round(step * RATE)).astype(np.float32))
            source.append((np.nan, 0.0))
            kinds[-1] = f"{1e3 * step:.0f} ms step at {mark:.1f} s"
    end = length - float(rng.uniform(0, 15)) if rng.random() < 0.2 else length
    if end > at:
        parts.append(sound[round(at * RATE) : round(end * RATE)])
        source.append((round(at * RATE) / RATE, level))
    return parts, source


def judge(drawn: Drawn) -> Told:
    """Repair a pair and hold it against the truth."""
    began = time.perf_counter()
    try:
        if drawn.mp3:
            with tempfile.TemporaryDirectory() as folder:
                path = rl.save(drawn.recording, Path(folder) / "a.mp3", progress=False)
                recording = rl.from_audio(path)
        else:
            recording = Capture(drawn.recording)
        found = rl.compare(drawn.capture, recording)
        repaired = rl.repair(drawn.capture, recording, comparison=found)
    except rl.errors.RecordingMismatch as error:
        could = _possible(drawn)
        # of another meeting nothing should be filled
        if "another meeting" in drawn.kind:
            could = np.zeros(len(could), bool)
        took = time.perf_counter() - began
        return Told(drawn.kind, 0, int(could.sum()), [], [], 0.0, 0.0, error.reason, took)
    took = time.perf_counter() - began
    wrong, loud = [], []
    for row in repaired.fills.itertuples():
        for share in (0.02, 0.5, 0.98):
            at = row.start + share * (row.end - row.start)
            there = row.source_start + share * (row.source_end - row.source_start)
            true = _meeting_time(drawn, there)
            if not abs(true - at) < 1.5 * _MS:
                wrong.append(at)
                break
        level = _level(drawn, (row.source_start + row.source_end) / 2)
        if abs(row.level + level) > 3 and np.isfinite(level):
            loud.append(row.start)
    could = _possible(drawn)
    made = found.gaps["recorded"].to_numpy()
    offset, drift = _lines(drawn, found)
    return Told(
        drawn.kind,
        int((made & could).sum()),
        int(could.sum()),
        wrong,
        loud,
        offset,
        drift,
        "",
        took,
    )


def _segment(drawn: Drawn, there: float) -> Segment | None:
    for one in drawn.segments:
        if one.begin <= there < one.end:
            return one
    return None


def _meeting_time(drawn: Drawn, there: float) -> float:
    """Return when an instant of the recording was in the meeting, s; NaN for never."""
    one = _segment(drawn, there)
    return np.nan if one is None else one.source + (there - one.begin) / one.rate


def _level(drawn: Drawn, there: float) -> float:
    one = _segment(drawn, there)
    return np.nan if one is None else one.level


def _possible(drawn: Drawn) -> npt.NDArray[np.bool_]:
    """Return which gaps could be filled."""
    gaps = rl.gaps(drawn.capture).query("kind == 'gap'")
    heard = drawn.capture
    line = rl.timeline(heard)
    found = []
    spans = [
        (one.source, one.source + (one.end - one.begin) / one.rate)
        for one in drawn.segments
        if np.isfinite(one.source)
    ]
    for low, high in gaps[["start", "end"]].to_numpy().tolist():
        whole = any(a <= low - MARGIN and high + MARGIN <= b for a, b in spans)
        # a pause says nothing: somebody has to speak on both sides, within the margin
        loud = []
        for edges in ((low - MARGIN, low), (high, high + MARGIN)):
            samples, real = line.read(*edges)
            spoken = samples[real].astype(float)
            loud.append(len(spoken) > 0.5 * RATE and float(np.sqrt(np.mean(spoken**2))) > 300)
        found.append(whole and all(loud))
    return np.array(found, bool)


def _lines(drawn: Drawn, found: rl.Comparison) -> tuple[float, float]:
    """Return by how much pieces miss the truth at worst, s and ppm."""
    late = drift = 0.0
    for row in found.pieces.itertuples():
        # a second that was put in place of another may lie in the midst of a piece
        off = [
            abs(_meeting_time(drawn, row.at + row.rate * at) - at)
            for at in row.start + (row.end - row.start) * np.array([0.3, 0.5, 0.7])
        ]
        late = max(late, float(np.nanmax(off)) if np.isfinite(off).any() else 1.0)
        rate = drawn.segments[0].rate
        if np.isfinite(row.drift):
            drift = max(drift, abs(row.drift - 1e6 * (rate - 1)))
    return late, drift


def main() -> None:
    """Run all and print what came of it; exit code 1 where it does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print each pair that is not whole")
    options = parser.parse_args()
    made = possible = wrong = loud = refused = 0
    offset = drift = seconds = 0.0
    for seed in range(options.first, options.first + options.pairs):
        told = judge(draw(seed))
        made, possible = made + told.made, possible + told.possible
        wrong, loud = wrong + len(told.wrong), loud + len(told.loud)
        refused += bool(told.refused)
        offset, drift = max(offset, told.offset), max(drift, told.drift)
        seconds += told.seconds
        odd = told.wrong or told.loud or told.made < told.possible or told.offset > _MS
        if options.verbose and (odd or told.drift > 2 or told.refused):
            print(
                f"{seed}: {told.kind}\n    made {told.made} of {told.possible}, wrong "
                f"{told.wrong}, loud {told.loud}, {1e3 * told.offset:.3f} ms, "
                f"{told.drift:.3f} ppm {told.refused}",
                flush=True,
            )
    share = 100 * made / max(possible, 1)
    print(f"pairs                         {options.pairs}, {refused} of them refused")
    print(f"fills from another moment     {wrong}")
    print(f"fills off by more than 3 dB   {loud}")
    print(f"fills made                    {made} of {possible} that could be: {share:.2f} %")
    print(f"offset of a piece at worst    {1e3 * offset:.4f} ms")
    print(f"drift of a piece at worst     {drift:.4f} ppm")
    print(f"seconds                       {seconds:.1f}")
    sys.exit(bool(wrong or loud or share < 99 or offset > _MS or drift > 2))


if __name__ == "__main__":
    main()
