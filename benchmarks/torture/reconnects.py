"""Bots that come back, receivers that come back, listeners that never should have come.

**A ghost.** A bot's network vanishes: its connection stays open and says nothing more, and three
seconds later the bot connects again. That is one capture, both connections are in its index, and
the gap is a reconnect, to the sample. In full, the ghost is seen to be given up by the pings.

**Restarts.** While four live sources send, the receiver is stopped and started, or killed -9 and
started, again and again: each capture is resumed, and each gap has the cause `receiver restart`
and is what the bots did not send, to a packet.

**Listeners.** While twenty sources send 50 packets a second each from a process of their own,
others hang on the receiver: a client of the control socket that asks without end and never reads,
one that sends garbage and half lines, one that sends 10 MB without an end of line, 50 that
attach and stay, a follower that polls without rest, readers that raise, four threads in
`rx.packets()`. What arrives is noted no later than without them, within bounds that a machine
with two cores can keep, and nothing is lost. Each has several turns, and the best one counts: a
listener that does slow the receiver does so every time.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import recall_lab as rl
from benchmarks.torture.company import (
    free_port,
    latencies,
    numbers_of,
    odd_captures,
    pid_of,
    place,
    until,
)
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import SAMPLES, Bot, Bots, recording
from recall_lab.receiver.background.registry import states

BOTS = 4
_AWAY = 3.0  # seconds from vanishing to coming back
_GIVEN_UP = 45.0  # seconds: a ping after 20, its answer missed 20 later
_LISTENED = 20  # sources while others hang on
_TIMES, _MORE = 3.0, 20.0  # how much later may be noted what arrives: the larger of both, ms
_UNENDING = 10_000_000  # bytes without an end of line


def run(scale: Scale) -> Iterator[Figure]:
    """Vanish, restart, hang on."""
    yield from ghost(scale)
    yield from restarts(scale)
    yield from listeners(scale)


def ghost(scale: Scale) -> Iterator[Figure]:
    """Have a bot vanish and come back."""
    with place() as scratch:
        with rl.receive(0, scratch) as rx, Bots(1, rx.port, rest=_AWAY) as bots:
            (bot,) = bots.all
            until(lambda: rx.status.packets > 50, "packets come")
            bot.vanish()
            until(lambda: len(bot.sessions) == 2 and rx.status.connections == 2, "it is back")
            time.sleep(1.0)
            if not scale.short:
                began = time.monotonic()
                until(lambda: rx.status.connections == 1, "the ghost is given up", 2 * _GIVEN_UP)
                took = time.monotonic() - began
            bots.stop()
            until(lambda: rx.status.packets >= bots.sent, "all is kept")
            began = time.monotonic()
            rx.stop()
            stopped = time.monotonic() - began
        captures = list(scratch.glob("*.idx"))
        capture = rl.load(scratch / f"{recording(0)}.bin")
        found = rl.gaps(capture)
        odd = odd_captures(scratch, 1)
    yield Figure("ghost: captures", len(captures), "=", 1)
    brought = capture.packets["connection"].nunique()
    yield Figure("ghost: connections in the index", brought, "=", 2)
    reconnects = int((found["cause"] == "reconnect").sum())
    yield Figure("ghost: gaps told as reconnect", reconnects, "=", 1)
    yield Figure("ghost: gaps of another kind or cause", len(found) - reconnects, "=", 0)
    yield Figure("ghost: packets lost", len(bot.sent) - len(capture.packets), "=", 0)
    yield Figure("ghost: captures damaged or wrong", odd, "=", 0)
    missing = _unsent(bot, 1) * SAMPLES
    astray = abs(int(found["samples"].sum()) - missing)
    yield Figure("ghost: samples by which the gap is wrong", astray, "=", 0)
    yield Figure("ghost: seconds to stop the receiver", stopped, "<=", 15, "s")
    if not scale.short:
        yield Figure("ghost: given up after", took, "<=", _GIVEN_UP, "s")


def restarts(scale: Scale) -> Iterator[Figure]:
    """Stop or kill the receiver and start it again, while bots send."""
    for how in ("stop", "kill -9"):
        with place() as scratch:
            yield from _restarted(how, scratch, scale.pick(2, 20))


def _restarted(how: str, folder: Path, times: int) -> Iterator[Figure]:
    rx = rl.receive(free_port(), folder)
    with Bots(BOTS, rx.port) as bots:
        for number in range(times):
            until(lambda rx=rx: rx.status.packets > 40 * BOTS, "packets come")
            if how == "stop":
                rx.stop()
            else:
                os.kill(pid_of(rx), signal.SIGKILL)
                until(lambda rx=rx: not rx.alive, "it is dead")
            time.sleep(0.1 * (number % 4))
            rx = rl.receive(rx.port, folder)
        until(lambda: rx.status.packets > 40 * BOTS, "packets come")
        bots.stop()
        until(lambda: not rx.status.connections, "the bots are gone")
    rx.stop()
    errors, odd = [0], odd_captures(folder, BOTS)
    for bot in bots.all:
        capture = rl.load(folder / f"{recording(bot.number)}.bin")
        gaps = rl.gaps(capture)
        odd += sum(gaps["cause"] != "receiver restart") + abs(len(gaps) - times)
        odd += capture.packets["connection"].tolist() != sorted(capture.packets["connection"])
        errors += _errors(bot, numbers_of(capture).tolist(), gaps["samples"].tolist())
    note = f"{times} times"
    yield Figure(f"{how} and start: gaps of another number or cause, captures wrong", odd, "=", 0,
                 note=note)  # fmt: skip
    yield Figure(f"{how} and start: packets by which a gap is wrong", max(errors), "<=", 1)


def _errors(bot: Bot, kept: list[int], gaps: list[int]) -> list[float]:
    """Return by how many packets each gap differs from what its bot did not send then."""
    ends = [session.packets[-1][0] for session in bot.sessions if session.packets]
    begins = [session.packets[0][0] for session in bot.sessions if session.packets]
    unsent = [after - before - 1 for before, after in zip(ends, begins[1:], strict=False)]
    if len(unsent) != len(gaps):
        return [float(len(kept))]
    return [abs(gap / SAMPLES - count) for gap, count in zip(gaps, unsent, strict=True)]


def _unsent(bot: Bot, session: int) -> int:
    """Return how many packets were due before a session of a bot, and after the one before it."""
    return bot.sessions[session].packets[0][0] - bot.sessions[session - 1].packets[-1][0] - 1


def listeners(scale: Scale) -> Iterator[Figure]:
    """Let others hang on the receiver while it receives; compare with when nobody does."""
    seconds, turns = scale.pick(2, 8) / 3, scale.pick(2, 4)
    total = turns * (seconds + 0.1) * (len(_LISTENERS) + 1) + 5
    with place() as scratch, rl.receive(free_port(), scratch) as rx:
        command = [sys.executable, "-m", "benchmarks.torture.live"]
        command += [str(rx.port), str(_LISTENED), str(total)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sending:
            until(lambda: rx.status.packets > 50 * _LISTENED, "packets come")
            windows: dict[str, list[tuple[int, int]]] = {}
            for name, listen in [("nobody", None), *_LISTENERS.items()] * turns:
                windows.setdefault(name, []).append(_window(listen, rx, seconds))
            sent = int(sending.communicate(timeout=total + 60)[0])
        until(lambda: not rx.status.connections, "the bots are gone")
        kept = rx.status.packets
        rejected = sum(rx.status.rejected.values())
        captures = [rl.load(scratch / f"{recording(bot)}.bin") for bot in range(_LISTENED)]
        odd = odd_captures(scratch, _LISTENED)
    # what makes it slow does so each time; what else the machine does, now and then
    taken = {
        name: min(_p99(captures, *window) for window in each) for name, each in windows.items()
    }
    quiet = taken.pop("nobody")
    # the short form has other trials beside it, on the same cores
    limit = max(_TIMES * quiet, quiet + scale.pick(3, 1) * _MORE)
    yield Figure("listeners: packets lost, rejected", sent - kept + rejected, "=", 0)
    yield Figure("listeners: captures damaged or wrong", odd, "=", 0)
    yield Figure("p99 of arrival, nobody hanging on", quiet, "<=", 100, "ms")
    for name, late in taken.items():
        yield Figure(f"p99 of arrival, {name}", late, "<=", limit, "ms")


Listen = Callable[[rl.Receiver, threading.Event], None]


def _window(listen: Listen | None, rx: rl.Receiver, seconds: float) -> tuple[int, int]:
    """Let somebody hang on for so long; return from when to when."""
    over = threading.Event()
    began = time.time_ns()
    if listen is not None:
        thread = threading.Thread(target=listen, args=(rx, over))
        thread.start()
    time.sleep(seconds)
    ended = time.time_ns()
    over.set()
    if listen is not None:
        thread.join()
    return began, ended


def _p99(captures: list[rl.Capture], began: int, ended: int) -> float:
    """Return the 99th percentile of how long packets took that were sent in a time, ms."""
    taken = []
    for capture in captures:
        sent = capture.packets["absolute"].astype("int64").to_numpy()
        taken.append(latencies(capture)[(sent >= began) & (sent < ended)])
    return float(np.quantile(np.concatenate(taken), 0.99)) * 1e3


def _hanging(rx: rl.Receiver) -> socket.socket:
    """Return a new client of the control socket."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(1.0)
    client.connect(str(next(state.socket for state in states() if state.id == rx.id)))
    return client


def _deaf(rx: rl.Receiver, over: threading.Event) -> None:
    with _hanging(rx) as client, contextlib.suppress(TimeoutError):
        while not over.is_set():
            client.sendall(b'{"ask":"status","pid":1}\n' * 100)
    over.wait()


def _garbage(rx: rl.Receiver, over: threading.Event) -> None:
    lines = itertools.cycle([b"\xff\xfe\0\n", b'{"ask":', b"[" * 5_000 + b"\n", b'{"ask":7}\n'])
    while not over.is_set():
        with _hanging(rx) as client, contextlib.suppress(OSError):
            client.sendall(next(lines))
        time.sleep(0.001)


def _unending(rx: rl.Receiver, over: threading.Event) -> None:
    while not over.is_set():
        with _hanging(rx) as client, contextlib.suppress(OSError):
            client.sendall(bytes(_UNENDING))


def _attached(rx: rl.Receiver, over: threading.Event) -> None:
    with contextlib.ExitStack() as stack:
        for pid in range(50):
            client = stack.enter_context(_hanging(rx))
            client.sendall(b'{"ask":"attach","pid":%d}\n' % (pid + 1))
        over.wait()


def _following(rx: rl.Receiver, over: threading.Event) -> None:
    follower = rl.Follower(rx.directory / f"{recording(0)}.bin")
    while not over.is_set():
        follower.poll()


def _raising(rx: rl.Receiver, over: threading.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(ZeroDivisionError):
            raise ZeroDivisionError(len(rx.recordings()), rx.status.packets)


def _reading(rx: rl.Receiver, over: threading.Event) -> None:
    def read(bot: int) -> None:
        while not over.is_set():
            rx.packets(recording(bot))

    threads = [threading.Thread(target=read, args=(bot,)) for bot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


_LISTENERS: dict[str, Listen] = {
    "one asking and never reading": _deaf,
    "garbage and half lines": _garbage,
    "10 MB without an end of line": _unending,
    "50 attached": _attached,
    "a follower polling without rest": _following,
    "readers that raise": _raising,
    "four threads in packets()": _reading,
}
