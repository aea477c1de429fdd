"""The wall clock set during a capture, by an hour back and by a day on: what does it change?

A receiver's process runs under libfaketime, which tells it another time of day than the system's
and lets its monotonic clock be. It begins an hour ahead, or a day behind, as a machine does whose
clock is wrong; in the middle of a call, while a packet is missing, the clock is put right. The
times of files, which the system gives, are then those of the new clock, as they would be.

The same call is received at the same time by a receiver whose clock is never set: gaps have to be
the same, to the sample and by cause. `rl.clock_steps` has to report the step, and no other;
nothing may be lost. A notebook that comes after it has to find the receiver and its recordings;
syncing has to go on; and a receiver that lingers must end when its seconds are over, not at once
when the clock is set on, nor an hour late when it is set back.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import recall_lab as rl
from benchmarks.torture.abuse import Kernel
from benchmarks.torture.company import free_port, odd_captures, pid_of, place, until
from benchmarks.torture.figures import Figure, Scale, Unavailable
from benchmarks.torture.live import Bots, recording

BOTS = 2
_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
_ABSENT = frozenset({*range(40, 55), *range(90, 110), *range(150, 153)})
_STEP_AT = 100  # packets: in the middle of a gap, and noticed within a second of it
_STEPS = {"an hour back": ("+3600", -3600.0), "a day on": ("-86400", 86_400.0)}
_LINGER = 4.0
_ASTRAY = 0.1  # s; by less two readings of one stamp may part when others use the core
_SLEEP = """
import threading, time
time.sleep = lambda seconds: threading.Event().wait(seconds) and None
"""
_FIND = "import recall_lab as rl; found = rl.receivers(); out = [rx.id for rx in found]"
_LOOK = "out = [sorted(r.recordings()['packets'].tolist()) for r in found if r.id == {id!r}]"
_CELL = "rx = rl.receive({port}, {folder!r}, idle_timeout={idle_timeout}); out = rx.id"


def run(scale: Scale) -> Iterator[Figure]:
    """Set the clock, each way."""
    library = _library()
    for name, (wrong, step) in _STEPS.items():
        rounds = []
        for _ in range(scale.pick(1, 5)):
            with place() as scratch:
                rounds.append(list(_set(name, library, wrong, step, scratch)))
        for same in zip(*rounds, strict=True):  # of each figure a round that broke it, or the last
            yield next((figure for figure in same if not figure.holds), same[-1])


def _library() -> Path:
    """Return where libfaketime is, the one for programs with threads first."""
    for pattern in _PLACES:
        for name in ("libfaketimeMT.so.1", "libfaketime.so.1"):
            for found in sorted(Path("/").glob(f"{pattern[1:]}/{name}")):
                return found
    raise Unavailable("needs libfaketime (Debian and Ubuntu: apt-get install faketime)")


class Clock:
    """The clock of the processes that are started while this is entered."""

    def __init__(self, library: Path, folder: Path, ahead: str) -> None:
        self._file = folder / "clock"
        # libfaketime 0.9.10 lets clock_nanosleep fail when it leaves the monotonic clock alone
        (folder / "sitecustomize.py").write_text(_SLEEP)
        self.set(ahead)
        self._given = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "PYTHONPATH": str(folder),
            "FAKETIME_CACHE_DURATION": "1",  # to read the file for each stamp takes its time
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def __enter__(self) -> Clock:
        self._before = {name: os.environ.get(name) for name in self._given}
        os.environ.update(self._given)
        return self

    def __exit__(self, *_: object) -> None:
        for name, before in self._before.items():
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before

    def set(self, ahead: str) -> None:
        """Put it so many seconds ahead of the system's."""
        beside = self._file.with_suffix(".new")  # never half a file
        beside.write_text(f"{ahead}\n")
        beside.replace(self._file)


def _set(name: str, library: Path, wrong: str, step: float, scratch: Path) -> Iterator[Figure]:
    """Play a call into two receivers, set the clock of one; compare."""
    folder, plain_folder = scratch / "set", scratch / "plain"
    with Clock(library, scratch, wrong) as clock:
        rx = rl.receive(free_port(), folder, idle_timeout=_LINGER)
    plain = rl.receive(free_port(), plain_folder)
    with contextlib.ExitStack() as stack:
        bots = stack.enter_context(Bots(BOTS, rx.port, absent=_ABSENT, exact=True))
        same = stack.enter_context(Bots(BOTS, plain.port, absent=_ABSENT, exact=True))
        until(lambda: all(bot.next >= _STEP_AT for bot in bots.all), "the middle of the call")
        clock.set("+0")
        until(lambda: all(bot.next > 220 for bot in bots.all), "the end of the call")
        bots.stop()
        same.stop()
    until(lambda: rx.status.packets >= bots.sent, "all is kept")
    with contextlib.suppress(TimeoutError):
        until(lambda: not rx.status.unsynced, "all is synced", 5.0)
    unsynced = rx.status.unsynced
    with Kernel() as kernel:
        found = kernel.run(_FIND)
        shown = kernel.run(_LOOK.format(id=rx.id))
        cell = _CELL.format(port=rx.port, folder=str(folder), idle_timeout=_LINGER)
        again = kernel.run(cell)
    id_, kept = rx.id, sorted(rl.load(path).packets.shape[0] for path in folder.glob("*.bin"))
    lingered = _linger(rx, clock, step)
    plain.stop()
    yield Figure(f"{name}: packets lost", bots.sent - sum(kept), "=", 0)
    yield Figure(f"{name}: captures damaged or wrong", odd_captures(folder, BOTS), "=", 0)
    other, steps, astray, what = _compare(folder, plain_folder, step)
    yield Figure(f"{name}: gaps that differ from the other receiver's", other, "=", 0)
    yield Figure(f"{name}: steps of the clock reported, per capture", steps, "=", 1, note=what)
    yield Figure(f"{name}: by how much the reported step is wrong", astray, "<=", _ASTRAY, "s")
    yield Figure(f"{name}: packets not synced 5 s later", unsynced, "=", 0)
    missed = str(id_) not in found or again != id_
    yield Figure(f"{name}: receivers not found by a new notebook", int(missed), "=", 0)
    unseen = shown != str([kept])
    yield Figure(f"{name}: receivers whose recordings it does not see", int(unseen), "=", 0)
    yield Figure(f"{name}: seconds that it lingered alone", lingered, ">=", _LINGER - 1, "s")
    yield Figure(f"{name}: and no longer than", lingered, "<=", _LINGER + 4, "s")


def _linger(rx: rl.Receiver, clock: Clock, step: float) -> float:
    """Leave a receiver alone, set its clock once more; return how long it lived."""
    pid = pid_of(rx)
    rx._host.close()
    began = time.monotonic()
    time.sleep(1.0)
    clock.set(f"{step:+.0f}")
    with contextlib.suppress(TimeoutError):
        until(lambda: not _lives(pid), "it has ended", 3 * _LINGER)
    return time.monotonic() - began


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _compare(folder: Path, plain: Path, step: float) -> tuple[int, float, float, str]:
    """Return gaps that differ, steps found in a capture on average, the largest error; which."""
    other, steps, astray, told = 0, [], [0.0], set()
    for bot in range(BOTS):
        capture = rl.load(folder / f"{recording(bot)}.bin")
        gaps = [
            rl.gaps(each)[["kind", "cause", "start", "end", "samples"]].values.tolist()
            for each in (capture, rl.load(plain / f"{recording(bot)}.bin"))
        ]
        other += gaps[0] != gaps[1] or len(gaps[0]) != 3
        found = rl.clock_steps(capture)
        found = found[found["step"].abs() > _ASTRAY]
        steps.append(len(found))
        astray += np.abs(found["step"].to_numpy() - step).tolist()
        other += sum(found["clock"] != "received")
        told |= {f"{size:+.2f} s" for size in found["step"]}
    return other, float(np.mean(steps)), max(astray), ", ".join(sorted(told))
