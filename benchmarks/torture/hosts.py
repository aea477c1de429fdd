"""A receiver's two modes under abuse: does what happens to a notebook or a child cost data?

**The kernel**, which called `rl.receive`, in each mode, while four live sources send: stopped
(SIGSTOP), halted in a debugger, killed -9 and started again, with the same cell. A child goes on
through all of it and is found again. A thread is stopped and killed with its kernel: what it had
committed stays, and the next kernel goes on in the same captures.

**The child**: killed -9; stopped for 20 s while the notebook asks it; short of memory (its
address space is bounded just above what it has, then it is flooded), until it refuses or dies.

**Its note** in the runtime folder: see `strangers.py`. **Its disk**: see `vanishing.py`. In full,
`benchmarks/kernel.py` tells besides how late a busy kernel makes it, in each mode.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

import recall_lab as rl
from benchmarks import load
from benchmarks.torture import strangers, vanishing
from benchmarks.torture.abuse import Kernel, halted
from benchmarks.torture.company import (
    free_port,
    kept,
    latencies,
    lost,
    odd_captures,
    pid_of,
    place,
    until,
)
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import Bots, recording
from recall_lab.wire.messages import MAX_MESSAGE_BYTES

BOTS = 4
_START = "import recall_lab as rl; rx = rl.receive({port}, {folder!r}, mode={mode!r})\n"
_CHILD_MS, _THREAD_MS = 50.0, 100.0  # by how much a packet may be noted late, of 99 in 100
_ROOM = 8 << 20  # bytes of address space left to a child that is short of memory
_FLOODING = 30  # connections, each with a large message


def run(scale: Scale) -> Iterator[Figure]:
    """Abuse the kernel, the child, its note, its disk."""
    for trial in (kernels, killed, stopped, starved, strangers.run, vanishing.run, busy):
        yield from trial(scale)


def kernels(scale: Scale) -> Iterator[Figure]:
    """Stop, halt and kill the process that called receive, in each mode."""
    for mode in ("process", "thread"):
        with place() as scratch:
            yield from _kernel(mode, scratch / "captures", scale.pick(1, 6))


def _kernel(mode: str, folder: Path, seconds: int) -> Iterator[Figure]:
    windows = {}
    with Kernel() as first:
        port = free_port()
        cell = _START.format(port=port, folder=str(folder), mode=mode) + "out = rx.id"
        id_ = first.run(cell)
        with Bots(BOTS, port) as bots, Kernel() as second:
            until(lambda: _count(folder) > 50 * BOTS, "packets come")
            began = time.time_ns()
            with halted(first.process.pid, seconds):
                pass
            windows["stopped"] = (began, time.time_ns())
            time.sleep(1.0)
            began = time.time_ns()
            first.begin("breakpoint()")
            time.sleep(seconds)
            windows["in a debugger"] = (began, time.time_ns())
            first.say("continue")
            first.end()
            before = kept(folder, BOTS)
            first.kill()
            time.sleep(0.5)
            found = second.run(cell)
            time.sleep(1.0)
            bots.stop()
            until(lambda: second.run("out = rx.status.connections") == "0", "the bots are gone")
            second.run("rx.stop()")
    yield Figure(f"{mode}: committed packets gone by a killed kernel", lost(before, folder), "=", 0)
    yield Figure(f"{mode}: captures damaged or wrong", odd_captures(folder, BOTS), "=", 0)
    captures = [rl.load(folder / f"{recording(bot)}.bin") for bot in range(BOTS)]
    for what, (start, end) in windows.items():
        if mode == "process" or what == "in a debugger":
            limit = _CHILD_MS if mode == "process" else _THREAD_MS
            yield Figure(f"{mode}: p99 of arrival, kernel {what}",
                         _p99(captures, start, end), "<=", limit, "ms")  # fmt: skip
    if mode == "process":
        total = sum(len(capture.packets) for capture in captures)
        yield Figure("process: packets lost, whatever the kernel did", bots.sent - total, "=", 0)
        yield Figure("process: receivers not found again", int(found != id_), "=", 0)
    else:
        causes = [cause for capture in captures for cause in rl.gaps(capture)["cause"]]
        odd = sum(cause != "receiver restart" for cause in causes) + abs(len(causes) - BOTS)
        yield Figure("thread: gaps but the one of the killed kernel", odd, "=", 0)


def killed(scale: Scale) -> Iterator[Figure]:
    """Kill the child, run the cell again."""
    wrong = gone = odd = 0
    rounds = scale.pick(2, 20)
    with place() as scratch:
        folder = scratch / "captures"
        rx = rl.receive(free_port(), folder)
        with Bots(BOTS, rx.port) as bots:
            for _ in range(rounds):
                held = _count(folder)
                until(lambda held=held: _count(folder) > held + 20 * BOTS, "packets come")
                before = kept(folder, BOTS)
                os.kill(pid_of(rx), signal.SIGKILL)
                until(lambda rx=rx: not rx.alive, "it is dead")
                wrong += "run the start cell again" not in rx.status.last_error
                rx = rl.receive(rx.port, folder)
                gone += lost(before, folder)
            until(lambda: rx.status.connections == BOTS, "the bots are back")
            time.sleep(0.5)
            bots.stop()
            until(lambda: not rx.status.connections, "the bots are gone")
        rx.stop()
        for bot in range(BOTS):
            causes = rl.gaps(rl.load(folder / f"{recording(bot)}.bin"))["cause"].tolist()
            odd += sum(cause != "receiver restart" for cause in causes)
            odd += len(causes) > rounds
        odd += odd_captures(folder, BOTS)
    yield Figure("child killed -9: committed packets gone", gone, "=", 0, note=f"{rounds} times")
    yield Figure("child killed -9: errors that do not say what to do", wrong, "=", 0)
    yield Figure("child killed -9: gaps of another cause, captures wrong", odd, "=", 0)


def stopped(scale: Scale) -> Iterator[Figure]:
    """Stop the child, ask it, run the cell again, let it go on."""
    seconds = scale.pick(6, 20)
    with place() as scratch:
        folder = scratch / "captures"
        with rl.receive(free_port(), folder) as rx:
            pid = pid_of(rx)
            with Bots(BOTS, rx.port) as bots:
                until(lambda: rx.status.packets > 50 * BOTS, "packets come")
                with halted(pid, seconds) as began:
                    told = rx.status.last_error
                    took = time.monotonic() - began
                    shown = len(rx.packets(recording(0)))
                time.sleep(1.0)
                again = rx.status
                same = rl.receive(rx.port, folder).id == rx.id
                bots.stop()
                until(lambda: not rx.status.connections, "the bots are gone")
            missing = bots.sent - rx.status.packets
        odd = odd_captures(folder, BOTS)
    note = f"for {seconds} s"
    yield Figure("child stopped: packets lost", missing, "=", 0, note=note)
    yield Figure("child stopped: captures damaged or wrong", odd, "=", 0)
    helps = f"kill -CONT {pid}" in told
    yield Figure("child stopped: errors that do not say what to do", int(not helps), "=", 0)
    yield Figure("child stopped: seconds until the error", took, "<=", 6, "s")
    yield Figure("child stopped: packets to be read meanwhile", shown, ">=", 50)
    well = again.state == "running" and same
    yield Figure("child stopped: not usable once it went on", int(not well), "=", 0)


def starved(scale: Scale) -> Iterator[Figure]:
    """Leave the child no more memory, flood it; give it memory again."""
    with place() as scratch:
        folder = scratch / "captures"
        rx = rl.receive(free_port(), folder)
        pid = pid_of(rx)
        with Bots(BOTS, rx.port) as bots:
            until(lambda: rx.status.packets > 50 * BOTS, "packets come")
            before = kept(folder, BOTS)
            bound = psutil.Process(pid).memory_info().vms + _ROOM
            resource.prlimit(pid, resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))
            _flood(rx.port, scale.pick(3, 10))
            during = rx.status
            if rx.alive:
                free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.prlimit(pid, resource.RLIMIT_AS, free)
            gone = lost(before, folder)
            again = rl.receive(rx.port, folder)
            held = again.status.packets
            until(lambda: again.status.packets > held + 50 * BOTS, "packets come again")
            bots.stop()
            until(lambda: not again.status.connections, "the bots are gone")
        again.stop()
        odd = odd_captures(folder, BOTS)
    end = "went on" if during.state == "running" else "died"
    yield Figure("child out of memory: committed packets gone", gone, "=", 0, note=f"it {end}")
    yield Figure("child out of memory: captures damaged or wrong", odd, "=", 0)
    clear = "memory" in during.last_error.lower() or "start cell again" in during.last_error
    yield Figure("child out of memory: errors that do not say so", int(not clear), "=", 0)


def _flood(port: int, seconds: float) -> None:
    """Send large messages on many connections at once, each but for its last byte."""
    head = b"\x81\xff" + MAX_MESSAGE_BYTES.to_bytes(8, "big") + bytes(4)
    data = head + bytes(MAX_MESSAGE_BYTES - 1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peers: list[socket.socket] = []
        with contextlib.suppress(OSError):  # it may refuse us, hang up on us, or be dead
            for _ in range(_FLOODING):
                peers.append(load.connect(port))
                peers[-1].settimeout(1.0)
                peers[-1].sendall(data)
        for peer in peers:
            peer.close()
        time.sleep(0.01)


def busy(scale: Scale) -> Iterator[Figure]:
    """Have benchmarks/kernel.py tell how a busy kernel disturbs each mode."""
    if scale.short:
        return  # a run of its own in tests/test_endurance.py
    program = Path(load.__file__).with_name("kernel.py")
    told = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=600
    )
    for mode in ("process", "thread"):
        found = re.search(
            rf"{mode}: send -> recorded arrival +[\d,]+ +[\d.]+ +([\d.]+)", told.stdout
        )
        whole = found is not None
        yield Figure(f"{mode}: a busy kernel loses packets", int(not whole), "=", 0)
        if found is not None:
            limit = _CHILD_MS if mode == "process" else 10_000.0
            yield Figure(f"{mode}: p99 of arrival, kernel busy", float(found[1]), "<=", limit, "ms")
    yield Figure("a busy kernel finds its receiver again", int(told.returncode == 0), "=", 1)


def _count(folder: Path) -> int:
    """Return how many packets of the bots a reader finds now."""
    return sum(map(len, kept(folder, BOTS)))


def _p99(captures: list[rl.Capture], start: int, end: int) -> float:
    """Return the 99th percentile of how long packets took that were sent in a time, ms."""
    taken = []
    for capture in captures:
        sent = capture.packets["absolute"].astype("int64").to_numpy()
        taken.append(latencies(capture)[(sent >= start) & (sent < end)])
    return float(np.quantile(np.concatenate(taken), 0.99)) * 1e3
