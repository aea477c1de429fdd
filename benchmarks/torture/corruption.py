"""A capture's four files, cut, flipped and mangled: it always loads, and nothing is invented.

**Cut.** The index and the audio of a capture of 300 packets are cut at every byte. What is left
has to be exactly the packets whose record and audio are whole.

**One bit.** One random bit is flipped in one of the four files. A flip in the index may cost one
record; one in the audio costs none, but the packet it lies in, and no other, has to be told by
`rl.verify`.

**Several things at once.** Hypothesis draws bits flipped, files cut, parts swapped, zeroed or
doubled, rubbish appended, files emptied or missing, up to six at a time. Then all is asked that
reads a capture: `load`, its frame, events, `gaps`, `quality`, `verify`, a fresh `Follower`, and one
that had followed the files before. At last a receiver's writer goes on with it.

A packet counts as invented when its row is not that of a packet that was written: all ten
columns, by the monotonic time, which each packet has to itself.
"""

from __future__ import annotations

import os
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

import recall_lab as rl
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.mangled import (
    FAULTS,
    KINDS,
    MOST,
    SUFFIXES,
    Fault,
    Whole,
    flipped,
)
from benchmarks.torture.served import PROCESSES
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES

PACKETS: Final = 300
FEW: Final = 60  # of a capture that is mangled: asking everything takes long enough


def run(scale: Scale) -> Iterator[Figure]:
    """Cut, flip, mangle."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a hundred thousand small files
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a hundred thousand small files
    with tempfile.TemporaryDirectory(prefix="recall_lab_corruption_", dir=memory) as scratch:
        whole = Whole(_made(scratch, "whole"), PACKETS)
        yield from cut(whole, scale.pick(53, 1))
        yield from flip(whole, scale.pick(300, 3_000), random.Random(scale.seed))
        yield from mangle(Path(scratch), scale.pick(120, 20_000), scale.seed)


def _made(scratch: str | Path, name: str) -> Path:
    folder = Path(scratch, name)
    folder.mkdir()
    return folder


def cut(whole: Whole, step: int) -> Iterator[Figure]:
    """Cut the index, then the audio, byte by byte from the end."""
    counts: Counter[str] = Counter()
    ends = ((whole.packets["offset"] + whole.packets["samples"]) * 2).to_numpy()
    for suffix in (".idx", ".bin"):
        whole.put({})
        follower = rl.Follower(whole.path)
        for size in range(len(whole.files[suffix]), -1, -step):
            whole.truncate(suffix, size)
            if suffix == ".idx":
                expected = max(size - HEADER_BYTES, 0) // RECORD_BYTES
            else:
                expected = int(np.count_nonzero(ends <= size))
            counts["cuts"] += 1
            try:
                packets = rl.load(whole.path).packets
                follower.poll()
            except Exception:
                counts["failures"] += 1
                continue
            counts["invented"] += whole.invented(packets)
            counts["other"] += abs(len(packets) - expected)
            counts["followed"] += suffix == ".idx" and follower.packets != expected
    least = 25_000 // step - 10
    yield Figure(
        "cuts of .idx or .bin",
        counts["cuts"],
        ">=",
        least,
        note="at every byte" if step == 1 else f"one byte in {step}",
    )
    yield Figure("cut captures that don't load", counts["failures"], "=", 0)
    yield Figure("packets invented by a cut", counts["invented"], "=", 0)
    yield Figure("packets more or fewer than were left whole", counts["other"], "=", 0)
    yield Figure("followers that see others than are left", counts["followed"], "=", 0)


def flip(whole: Whole, times: int, draw: random.Random) -> Iterator[Figure]:
    """Flip one bit of one file."""
    counts: Counter[str] = Counter()
    fewest = PACKETS
    for _ in range(times):
        suffix = draw.choice(SUFFIXES)
        at = draw.randrange(len(whole.files[suffix]))
        whole.put({suffix: flipped(whole.files[suffix], at, draw.randrange(8))})
        counts["flips"] += 1
        try:
            capture = rl.load(whole.path)
            packets, events = capture.packets, capture.events
            told = rl.verify(capture)
        except Exception:
            counts["failures"] += 1
            continue
        counts["invented"] += whole.invented(packets)
        counts["lines"] = max(counts["lines"], whole.lines - len(events))
        fewest = min(fewest, len(packets))
        counts[suffix] += 1
        if suffix == ".idx":
            counts["unseen"] += not capture.damage
        else:
            counts["lost beside the index"] += PACKETS - len(packets)
        hit = _packet_at(whole.packets, at) if suffix == ".bin" else []
        counts["audio told"] += suffix == ".bin" and told.index.tolist() == hit
        counts["audio"] += suffix == ".bin"
        counts["false alarms"] += suffix != ".bin" and len(told)
    yield Figure("bits flipped, one a capture", counts["flips"], "=", times)
    yield Figure("captures that don't load for a flip", counts["failures"], "=", 0)
    yield Figure("packets invented by a flip", counts["invented"], "=", 0)
    yield Figure(
        "flips in audio that verify tells, and of that packet only",
        100 * counts["audio told"] / counts["audio"],
        "=",
        100,
        "%",
        f"{counts['audio']:,} flips",
    )
    yield Figure(
        "flips in the index that damage passes over",
        counts["unseen"],
        "=",
        0,
        note=f"{counts['.idx']:,} flips",
    )
    yield Figure(
        "records kept of 300 after one flip in the index, at least", fewest, ">=", PACKETS - 1
    )
    yield Figure("packets lost for a flip in another file", counts["lost beside the index"], "=", 0)
    yield Figure("sound packets that verify calls damaged", counts["false alarms"], "=", 0)
    yield Figure("lines of the journal lost for one flip, at most", counts["lines"], "<=", 2)


def _packet_at(packets: pd.DataFrame, byte: int) -> list[int]:
    """Return the packet in whose audio a byte lies."""
    begins = packets["offset"].to_numpy() * 2
    return [int(np.searchsorted(begins, byte, "right")) - 1]


def mangle(scratch: Path, times: int, seed: int) -> Iterator[Figure]:
    """Do several things at once to a capture, and ask everything of it: on all cores."""
    cores = len(os.sched_getaffinity(0))
    counts: Counter[str] = Counter()
    pipes = []
    for core in range(cores):
        pipe, theirs = PROCESSES.Pipe()
        folder = _made(scratch, f"mangled-{core}")
        arguments = (theirs, folder, -(-times // cores), seed * 1_000 + core)
        PROCESSES.Process(target=_mangle, args=arguments, daemon=True).start()
        theirs.close()
        pipes.append(pipe)
    for pipe in pipes:
        counts += pipe.recv()
    fewest = min(counts[kind] for kind in KINDS)
    yield Figure(
        "captures mangled", counts["times"], ">=", times,
        note=f"up to {MOST} of {len(KINDS)} kinds of fault, each {fewest:,} times",
    )  # fmt: skip
    yield Figure("of them, damaged by their own word", counts["damaged"], ">=", times // 2)
    told = [f"{count} {name[2:]}" for name, count in counts.most_common() if name[0] == "!"]
    yield Figure("exceptions", counts["exceptions"], "=", 0, note="; ".join(told[:3]))
    for promise in (
        "packets invented", "packets that a follower invents", "captures a writer can't go on with",
    ):  # fmt: skip
        yield Figure(promise, counts[promise], "=", 0)


def _mangle(pipe: Connection, folder: Path, times: int, seed: int) -> None:
    whole = Whole(folder, FEW)
    counts: Counter[str] = Counter()

    @seeded(seed)
    @settings(
        max_examples=times * 2, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(FAULTS)
    def once(faults: list[Fault]) -> None:
        if counts["times"] == times:  # Hypothesis stops somewhat short of what it was asked for
            return
        counts["times"] += 1
        counts.update(fault.kind for fault in faults)
        try:
            ask(whole, faults, counts)
        except Exception as error:
            counts["exceptions"] += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            counts[f"! {type(error).__name__} at {Path(last.filename).name}:{last.lineno}"] += 1

    once()
    pipe.send(counts)


def ask(whole: Whole, faults: list[Fault], counts: Counter[str]) -> None:
    """Ask everything of one mangled capture."""
    whole.put({})
    before = rl.Follower(whole.path)
    before.poll()
    files: dict[str, bytes | None] = dict(whole.files)
    for fault in faults:
        files[fault.suffix] = fault.done(files[fault.suffix])
    whole.put(files)
    for follower in (before, rl.Follower(whole.path)):
        follower.poll()
        follower.last(1.0)
        counts["packets that a follower invents"] += whole.invented(follower.frame())
        whole.invented(follower.capture().packets)
    if files[".idx"] is not None or files[".bin"] is not None:
        read(whole, counts)
    went_on = False
    try:
        went_on = whole.goes_on()
    finally:
        counts["captures a writer can't go on with"] += not went_on


def read(whole: Whole, counts: Counter[str]) -> None:
    """Load what is there, and ask what a notebook asks."""
    capture = rl.load(whole.path)
    packets = capture.packets
    counts["packets invented"] += whole.invented(packets)
    counts["damaged"] += bool(capture.damage) or len(rl.verify(capture)) > 0
    rl.check_frame(packets)
    _ = capture.events, str(capture.damage), repr(capture)
    if len(packets):  # without any there is nothing to measure, and it says so
        rl.gaps(capture)
        rl.quality(capture)
