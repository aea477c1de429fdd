"""How often leaks and attribution are right: counted on drawn meetings of real speech.

    python benchmarks/leaks.py [--meetings 100] [--speech FOLDER] [--seed 0]
                               [--only clean leaks told]

Speech is that of findings.py. A meeting lasts 60 to 150 s and has two to five people, each with a
voice of their own, who at times talk over one another, in rooms of different noise, through Opus,
MP3, a gate or nothing.

- ``clean``: nobody leaks; whatever is found is a false alarm.
- ``leaks``: one to three voices leak, at -6 to -40 dB below the speaker, through a room, by up to
  0.6 s (echo) or within 15 ms (one room). Lag and attenuation are held against what was drawn. No
  promise is broken by a leak that a gate takes out, or that lies 10 dB under the noise: these are
  listed by themselves.
- ``told``: events and words of which some are wrong, with leaks in half of the meetings; each
  wrong turn of a second and more has to be found, and nothing else.

Prints tables in Markdown; the exit code is 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from findings import (
    as_int16,
    db,
    espeak,
    fetched,
    gated,
    limited,
    music,
    noise,
    through,
    voices_of,
)
from scipy.signal import fftconvolve

import recall_lab as rl
from recall_lab.capture.events import no_events
from recall_lab.capture.frame import COLUMNS, frame_of, storage_dtype
from recall_lab.capture.info import CaptureInfo

RATE = 16_000
NEW_YEAR = 1_767_225_600_000_000_000
BURIED = 10  # dB under the noise of the stream that it leaks into
CODECS = ("none", "none", "opus", "mp3", "gate")

Array = np.ndarray[Any, Any]
Generator = np.random.Generator


@dataclass
class Turn:
    """Somebody's words: who, when (s), and what tells of them."""

    who: int
    start: float
    end: float


@dataclass
class Drawn:
    """A meeting: voices as they are spoken, float with full scale 1, and who speaks when."""

    spoken: list[Array]
    turns: list[Turn]
    gains: list[float]
    room: list[Array]
    codecs: list[str]
    leaks: list[tuple[int, int, float, float]] = field(default_factory=list)

    def streams(self) -> list[Array]:
        """Return each stream, int16, with what leaks, noise, and its codec."""
        heard = [voice + room for voice, room in zip(self.spoken, self.room, strict=True)]
        for at, part in self.leaked:
            heard[at] = heard[at] + part
        return [as_int16(32_768 * coded(one, codec, self.rng)) for one, codec in
                zip(heard, self.codecs, strict=True)]  # fmt: skip

    leaked: list[tuple[int, Array]] = field(default_factory=list)
    rng: Generator = field(default_factory=np.random.default_rng)


def coded(samples: Array, codec: str, rng: Generator) -> Array:
    samples = limited(samples)
    if codec == "opus":
        return through(samples, "OGG", "OPUS")
    if codec == "mp3":
        return through(samples, "MP3", "MPEG_LAYER_III")
    return gated(rng, samples) if codec == "gate" else samples


def draw(
    rng: Generator, voices: list[list[Array]], pause: tuple[float, float] = (0.1, 2.0),
    over: float = 0.25,
) -> Drawn:  # fmt: skip
    """Draw a meeting: sentences in turn, some of which begin before the last has ended."""
    people = int(rng.integers(2, 6))
    chosen = [voices[at] for at in rng.permutation(len(voices))[:people]]
    size = int(rng.uniform(60, 150) * RATE)
    gains = [float(rng.uniform(-32, -14)) for _ in chosen]
    spoken = [np.zeros(size) for _ in chosen]
    turns: list[Turn] = []
    at, last = int(rng.uniform(0.2, 1.5) * RATE), -1
    while at < size - 9 * RATE:
        who = int(rng.integers(people))
        if who == last and people > 1:
            continue
        said = trimmed(chosen[who][rng.integers(len(chosen[who]))])
        begin = max(
            [at, *(round(turn.end * RATE) + RATE // 2 for turn in turns if turn.who == who)]
        )
        spoken[who][begin : begin + len(said)] += db(gains[who]) * said
        turns.append(Turn(who, begin / RATE, (begin + len(said)) / RATE))
        at = begin + len(said) + int(rng.uniform(*pause) * RATE)
        if rng.random() < over:
            at -= int(rng.uniform(0.5, 1) * len(said))
        last = who
    room = [db(max(gain - rng.uniform(25, 55), -85)) * noise(rng, size) for gain in gains]
    codecs = [str(rng.choice(CODECS)) for _ in chosen]
    return Drawn(spoken, turns, gains, room, codecs, rng=rng)


def trimmed(said: Array) -> Array:
    """Return a sentence without the silence around it."""
    frames = np.square(said[: len(said) // 160 * 160].reshape(-1, 160)).mean(axis=1)
    loud = np.flatnonzero(frames > 10**-2.5 * np.percentile(frames, 90))
    return said[loud[0] * 160 : (loud[-1] + 1) * 160]


def leak(rng: Generator, meeting: Drawn, one: int, other: int, below: float, lag: float) -> None:
    """Let a voice be heard in another stream, through a room."""
    decay = rng.uniform(0.1, 0.5)  # s, RT60
    tail = rng.normal(0, 1, int(decay * RATE)) * 10 ** (
        -3 * np.arange(int(decay * RATE)) / RATE / decay
    )
    tail[0] = 0
    tail *= db(-rng.uniform(2, 10)) / np.sqrt(np.square(tail).sum())
    tail[0] = rng.choice([1.0, 1.0, -1.0])
    voice = meeting.spoken[one]
    heard = fftconvolve(voice, tail)[: len(voice)]
    heard *= db(-below) * np.sqrt(np.square(voice).sum() / np.square(heard).sum())
    late = round(lag * RATE)
    moved = np.zeros(len(voice))
    moved[max(late, 0) : len(voice) + min(late, 0)] = heard[
        max(-late, 0) : len(voice) - max(late, 0)
    ]
    meeting.leaked.append((other, moved))
    meeting.leaks.append((one, other, late / RATE, below))


def capture_of(
    samples: Array, who: int | None, name: str = "", events: pd.DataFrame | None = None
) -> rl.Capture:
    """Return a participant's stream, in packets of 0.2 s."""
    starts = np.arange(0, len(samples), 3200)
    counts = np.minimum(3200, len(samples) - starts)
    wall = NEW_YEAR + starts * 62_500
    arrays = {
        "relative": starts / RATE, "absolute": wall, "received": wall + 30_000_000,
        "monotonic": starts * 62_500, "offset": starts, "samples": counts,
        "connection": np.ones(len(starts)), "sequence": np.arange(len(starts)),
        "flags": np.zeros(len(starts)),
        "payload_crc": [zlib.crc32(samples[a : a + n].tobytes()) for a, n in
                        zip(starts, counts, strict=True)],
    }  # fmt: skip
    frame = frame_of({key: np.array(arrays[key]).astype(storage_dtype(key)) for key in COLUMNS})
    person = None if who is None else rl.wire.Participant(who, name)
    told = no_events() if events is None else events
    return rl.Capture(
        samples, frame, CaptureInfo(recording="call", participant=person), events=lambda: told
    )


def recording(meeting: Drawn, events: pd.DataFrame | None = None) -> list[rl.Capture]:
    return [
        capture_of(samples, 100 + at, f"Person {at}", events)
        for at, samples in enumerate(meeting.streams())
    ]


# --- leaks ---------------------------------------------------------------------------------------


def count_clean(rng: Generator, voices: list[list[Array]], meetings: int) -> list[str]:
    wrong = []
    for at in range(meetings):
        meeting = draw(rng, voices)
        found = rl.leaks(recording(meeting))
        wrong += [
            f"clean {at}: {row.participant} in {row.stream}, {row.attenuation:.1f} dB, "
            f"{row.lag:.1f} ms, share {row.share:.2f}, {meeting.codecs}"
            for row in found.itertuples()
        ]
    print(f"\n{meetings} clean meetings: {len(wrong)} false alarms")
    return wrong


def count_leaks(rng: Generator, voices: list[list[Array]], meetings: int) -> list[str]:
    wrong: list[str] = []
    beyond: list[str] = []
    errors = []
    drawn = 0
    for at in range(meetings):
        meeting = draw(rng, voices)
        people = len(meeting.spoken)
        pairs = [
            (a, b)
            for a in range(people)
            for b in range(people)
            if a != b and sum(turn.end - turn.start for turn in meeting.turns if turn.who == a) > 4
        ]
        same_room = rng.random() < 0.3
        for pick in rng.permutation(len(pairs))[: int(rng.integers(1, 4))]:
            lag = rng.uniform(-0.015, 0.015) if same_room else rng.uniform(0.03, 0.6)
            leak(rng, meeting, *pairs[pick], float(rng.uniform(6, 40)), float(lag))
        found = rl.leaks(recording(meeting))
        rows = {(row.participant - 100, row.stream - 100): row for row in found.itertuples()}
        for one, other, lag, below in meeting.leaks:
            drawn += 1
            row = rows.pop((one, other), None)
            spoken = sum(turn.end - turn.start for turn in meeting.turns if turn.who == one)
            noise_at = (
                meeting.gains[one] - below - 10 * np.log10(2 * np.mean(meeting.room[other] ** 2))
            )
            about = (
                f"leak {at}: {one} in {other}, {below:.1f} dB, {1e3 * lag:.1f} ms, spoken "
                f"{spoken:.0f} s, over noise {noise_at:.0f} dB, {meeting.codecs[one]} > "
                f"{meeting.codecs[other]}, others {meeting.leaks}"
            )
            # a gate takes out what is quiet, and with it what would have to be found
            promised = meeting.codecs[other] != "gate" and noise_at > -BURIED
            failed = wrong if promised else beyond
            if row is None:
                failed.append(f"missed {about}")
                continue
            off = row.attenuation - below, row.lag - 1e3 * lag
            errors.append((*off, row.share, below))
            if abs(off[0]) > 2 or abs(off[1]) > 1:
                failed.append(
                    f"off by {off[0]:+.1f} dB, {off[1]:+.1f} ms, share {row.share:.2f} {about}"
                )
        for (one, other), row in rows.items():
            wrong.append(
                f"made up {at}: {one} in {other}, {row.attenuation:.1f} dB, {row.lag:.1f} ms "
                f"leaks {meeting.leaks}"
            )
    off = np.array(errors)
    print(f"\n{drawn} leaks in {meetings} meetings: {len(errors)} found")
    print("| | median | 95 % | most |\n| --- | ---: | ---: | ---: |")
    for name, column in (("attenuation, dB", 0), ("lag, ms", 1)):
        size = np.abs(off[:, column])
        print(
            f"| {name} | {np.median(size):.2f} | {np.percentile(size, 95):.2f} | {size.max():.2f} |"
        )
    print("Beyond what is promised (a gate, or noise that is louder by far):", *beyond, sep="\n")
    return wrong


# --- attribution ---------------------------------------------------------------------------------


@dataclass
class Wrong:
    """What is done to a meeting: its kind, whose, when."""

    kind: str
    who: int
    start: float
    end: float


def told_events(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return an events frame."""
    usual = {
        "kind": "event", "received": pd.Timestamp(NEW_YEAR, tz="UTC"), "monotonic": 0,
        "connection": None, "receiver": "", "event": "", "participant": None,
        "relative": np.nan, "seconds": np.nan, "detail": {},
    }  # fmt: skip
    frame = no_events()
    given = pd.DataFrame([usual | row for row in rows], columns=list(frame.columns))
    return given.astype(frame.dtypes.to_dict())


def telling(
    rng: Generator, who: int, start: float, end: float, source: str
) -> list[dict[str, Any]]:
    """Return the events of a turn: late as those of meetings are."""
    if source == "events":
        times = start + rng.uniform(-0.1, 0.35), end + rng.uniform(-0.2, 0.45)
        return [
            {"event": f"participant_events.speech_{name}", "participant": 100 + who, "relative": at}
            for name, at in zip(("on", "off"), times, strict=True)
        ]
    edges = np.linspace(start, end, max(round((end - start) / 0.35), 1) + 1)
    edges = np.sort(edges + rng.uniform(-0.1, 0.1, len(edges)))
    words = [
        {"text": "word", "start_timestamp": {"relative": float(a)},
         "end_timestamp": {"relative": float(b)}}
        for a, b in pairwise(edges)
    ]  # fmt: skip
    payload = {"participant": {"id": 100 + who, "name": f"Person {who}"}, "words": words}
    return [{"event": "transcript.data", "participant": 100 + who, "relative": float(edges[0]),
             "detail": {"message": {"data": {"data": payload}}}}]  # fmt: skip


def quiet(meeting: Drawn, who: int, start: float, end: float) -> bool:
    """Whether somebody says nothing then, nor a second before and after."""
    return not any(
        turn.who == who and turn.start < end + 1 and turn.end > start - 1 for turn in meeting.turns
    )


def spoil(
    rng: Generator, meeting: Drawn
) -> tuple[list[dict[str, Any]], list[Wrong], list[tuple[float, float]]]:
    """Return events of a meeting, what is wrong with them, and when the mix alone has music."""
    people = len(meeting.spoken)
    size = len(meeting.spoken[0]) / RATE
    rows: list[dict[str, Any]] = []
    wrong: list[Wrong] = []
    for turn in meeting.turns:
        sources = ["events", "words"]
        outcome = rng.choice(["right", "untold", "wrong"], p=[0.8, 0.1, 0.1])
        if turn.end - turn.start < 1:
            outcome = "right"
        if outcome == "untold":
            wrong.append(Wrong("untold", turn.who, turn.start, turn.end))
            continue
        others = [one for one in range(people) if quiet(meeting, one, turn.start, turn.end)]
        if outcome == "wrong" and others:
            other = int(rng.choice(others))
            wrong.append(Wrong("wrong_person", other, turn.start, turn.end))
            mistaken = ["events", "words"] if rng.random() < 0.5 else [str(rng.choice(sources))]
            for source in sources:
                who = other if source in mistaken else turn.who
                rows += telling(rng, who, turn.start, turn.end, source)
            continue
        for source in sources:
            rows += telling(rng, turn.who, turn.start, turn.end, source)
    for _ in range(int(rng.integers(0, 4))):  # nobody says that
        start = rng.uniform(1, size - 7)
        end = start + rng.uniform(1, 6)
        who = int(rng.integers(people))
        # beside another's turn that nobody tells, it is that turn, told of the wrong person
        apart = all(one.start > end + 1 or one.end < start - 1 for one in wrong)
        if quiet(meeting, who, start, end) and apart:
            wrong.append(Wrong("unheard", who, start, end))
            rows += telling(rng, who, start, end, str(rng.choice(["events", "words"])))
    shared = []
    for _ in range(int(rng.integers(0, 3))):
        start = rng.uniform(1, size - 9)
        end = start + rng.uniform(1.3, 8)
        if all(
            one.kind != "unheard" or one.start > end or one.end < start for one in wrong
        ) and all(low > end + 1 or high < start - 1 for low, high in shared):
            shared.append((start, end))
            wrong.append(Wrong("only_in_mix", -1, start, end))
    return rows, wrong, shared


def mixed_of(
    rng: Generator, meeting: Drawn, streams: list[Array], shared: list[tuple[float, float]]
) -> Array:
    """Return the mixed stream: the sum, with what is shared, at times through a codec."""
    total = np.sum([one.astype(float) for one in streams], axis=0) / 32_768
    for start, end in shared:
        low, high = round(start * RATE), round(end * RATE)
        total[low:high] += db(max(meeting.gains) + rng.uniform(-3, 3)) * music(rng, high - low)
    total *= db(rng.uniform(-6, 0))
    return as_int16(32_768 * coded(total, str(rng.choice(["none", "opus", "mp3"])), rng))


def count_told(rng: Generator, voices: list[list[Array]], meetings: int) -> list[str]:
    failed = []
    done, made_up = Counter[str](), Counter[str]()
    found_of = Counter[str]()
    for at in range(meetings):
        meeting = draw(rng, voices)
        people = len(meeting.spoken)
        if rng.random() < 0.5:
            one, other = (int(who) for who in rng.permutation(people)[:2])
            leak(rng, meeting, one, other, float(rng.uniform(6, 40)), float(rng.uniform(0.03, 0.6)))
        rows, wrong, shared = spoil(rng, meeting)
        streams = meeting.streams()
        events = told_events(rows)
        captures = [
            capture_of(samples, 100 + who, f"Person {who}", events)
            for who, samples in enumerate(streams)
        ]
        captures.append(capture_of(mixed_of(rng, meeting, streams, shared), None, "", events))
        table = rl.attribution(captures)
        used = np.zeros(len(table), bool)
        for one in wrong:
            done[one.kind] += 1
            covered = 0.0
            for number, row in enumerate(table.itertuples()):
                who = row.stream if one.kind == "untold" else row.participant
                same = row.kind == one.kind and (pd.isna(who) or who == 100 + one.who)
                both = min(row.end, one.end) - max(row.start, one.start)
                if same and both >= 0.5 * (row.end - row.start):
                    used[number] = True
                    covered += both
            if covered >= 0.5 * (one.end - one.start):
                found_of[one.kind] += 1
            else:
                failed.append(f"missed {at}: {one} of {meeting.leaks} {meeting.codecs}")
        for row in table[~used].itertuples():
            made_up[row.kind] += 1
            failed.append(f"made up {at}: {row} of {meeting.leaks} {meeting.codecs}")
    print(
        f"\n{meetings} meetings\n| Wrong | Turns | Found | Made up |\n| --- | ---: | ---: | ---: |"
    )
    for kind, count in done.items():
        print(f"| `{kind}` | {count} | {found_of[kind]} | {made_up[kind]} |")
    return failed


RUNS = {"clean": count_clean, "leaks": count_leaks, "told": count_told}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--meetings", type=int, default=100)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(RUNS))
    options = parser.parse_args()
    voices = voices_of(options.speech or fetched(Path("build/speech"))) + espeak()
    wrong = []
    for turn, (name, run) in enumerate(RUNS.items()):
        if name in options.only:
            began = time.perf_counter()
            found = run(np.random.default_rng([options.seed, turn]), voices, options.meetings)
            print(f"{time.perf_counter() - began:.0f} s")
            print(*found, sep="\n")
            wrong += found
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
