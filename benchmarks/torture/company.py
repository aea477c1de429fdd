"""What the trials of a receiver's life share: a place of their own, and who runs there."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

import recall_lab as rl
from benchmarks.torture.live import SAMPLES, STEP, payload, recording
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE, states


@contextmanager
def place() -> Iterator[Path]:
    """Give a fresh folder, where receivers are noted too; what still runs there is ended."""
    scratch = Path(tempfile.mkdtemp(prefix="rl-"))
    os.environ[RUNTIME_VARIABLE] = str(scratch / "run")
    try:
        yield scratch
    finally:
        for left in rl.receivers():
            left.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def pid_of(rx: rl.Receiver) -> int:
    """Return the process of a receiver."""
    return next(state.pid for state in states() if state.id == rx.id)


def anonymous(process: psutil.Process) -> float:
    """Return the memory a process has for itself, in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float(process.memory_full_info().uss) / 1e6


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], object], what: str, timeout: float = 30.0) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: when it does not become so; says what was waited for.
    """
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout:g} s until {what}")
        time.sleep(0.01)


def numbers_of(capture: rl.Capture) -> npt.NDArray[np.int64]:
    """Return which packet of its bot each row is."""
    relative = capture.packets["relative"].to_numpy()
    return np.rint(relative / STEP).astype(np.int64)


def wrong_audio(capture: rl.Capture, bot: int) -> int:
    """Return how many packets hold other bytes than their bot sent under that number."""
    offsets = capture.packets["offset"].to_numpy()
    lengths = capture.packets["samples"].to_numpy()
    wrong = 0
    for number, offset, length in zip(numbers_of(capture), offsets, lengths, strict=True):
        held = capture.samples[offset : offset + length].tobytes()
        wrong += length != SAMPLES or held != payload(bot, int(number))
    return wrong


def latencies(capture: rl.Capture) -> npt.NDArray[np.float64]:
    """Return how long each packet took from its bot into the receiver, s."""
    packets = capture.packets
    taken = packets["received"].astype("int64") - packets["absolute"].astype("int64")
    return np.asarray(taken.to_numpy() / 1e9, np.float64)


def kept(folder: Path, bots: int) -> list[npt.NDArray[np.int64]]:
    """Return the numbers of the packets of each bot that a reader finds now."""
    found = []
    for bot in range(bots):
        try:
            found.append(numbers_of(rl.load(folder / f"{recording(bot)}.idx")))
        except rl.errors.CaptureNotFound:
            found.append(np.empty(0, np.int64))
    return found


def lost(before: list[npt.NDArray[np.int64]], folder: Path) -> int:
    """Return how many packets that a reader has seen are gone, or in another place."""
    after = kept(folder, len(before))
    return sum(
        len(old) - int(np.count_nonzero(old[: len(new)] == new[: len(old)]))
        for old, new in zip(before, after, strict=True)
    )


def odd_captures(folder: Path, bots: int) -> int:
    """Return how many captures are damaged, or hold a packet twice or other than it was sent."""
    odd = 0
    for bot in range(bots):
        capture = rl.load(folder / f"{recording(bot)}.bin")
        numbers = numbers_of(capture)
        again = len(numbers) - len(np.unique(numbers))
        odd += bool(capture.damage) or again > 0 or wrong_audio(capture, bot) > 0
    return odd
