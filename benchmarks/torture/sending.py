"""Bots whose audio follows from their names and their packets' numbers: whoever reads it back
knows what it has to be.

Measures nothing by itself. All bots of a trial live in one process, a thread each; a bot whose
connection is lost connects again, and goes on with the next number.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Final, Self

import recall_lab as rl
from benchmarks import load
from benchmarks.torture.company import numbers_of
from benchmarks.torture.live import STEP, payload
from benchmarks.torture.served import PROCESSES

_PING: Final = b"\x89\x80\0\0\0\0"  # masked with a zero key (RFC 6455, 5.5.2)


@dataclass(frozen=True)
class Bot:
    """One connection, one recording.

    Attributes:
        recording: its id.
        pause: seconds from one write to the next; `STEP` is real time.
        burst: packets in one write: from one to so many.
        asks: send a ping behind each write and wait for the pong: what was sent is kept by then,
            and no two writes can come in one read.
    """

    recording: str
    pause: float = STEP
    burst: int = 1
    asks: bool = False


def wrong_audio(capture: rl.Capture, first: int = 0) -> int:
    """Count the packets, from the first one named, whose audio is not what was sent."""
    numbers = numbers_of(capture)[first:]
    rows = capture.packets[["offset", "samples"]].iloc[first:].itertuples(index=False)
    return sum(
        capture.samples[at : at + count].tobytes() != payload(capture.info.recording, number)
        for (at, count), number in zip(rows, numbers.tolist(), strict=True)
    )


class Senders:
    """Bots in a process of their own, as a context manager.

    Args:
        bots: who sends.
        port: of the receiver, which need not be there yet.

    Attributes:
        answered: number of the last packet that each bot knows to be kept; -1 for none.
    """

    def __init__(self, bots: Sequence[Bot], port: int) -> None:
        self._pipe, theirs = PROCESSES.Pipe()
        self.answered = PROCESSES.RawArray("q", [-1] * len(bots))
        self._process = PROCESSES.Process(
            target=_send_all, args=(theirs, bots, port, self.answered), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _send_all(
    pipe: Connection, bots: Sequence[Bot], port: int, answered: MutableSequence[int]
) -> None:
    for which, bot in enumerate(bots):
        note = partial(answered.__setitem__, which)
        threading.Thread(target=_send, args=(bot, port, note), daemon=True).start()
    with contextlib.suppress(EOFError):
        pipe.recv()  # comes to an end with whoever started us
    os._exit(0)


def _send(bot: Bot, port: int, note: Callable[[int], None]) -> None:
    draw = random.Random(bot.recording)
    number = 0
    while True:
        try:
            with contextlib.closing(load.connect(port)) as peer:
                peer.setblocking(True)
                due = time.monotonic()
                while True:
                    burst = range(number, number + draw.randint(1, bot.burst))
                    number = burst.stop
                    frames = [frame(bot.recording, each) for each in burst]
                    peer.sendall(b"".join(frames) + (_PING if bot.asks else b""))
                    if bot.asks:
                        if not peer.recv(64):
                            raise ConnectionError("hung up")
                        note(number - 1)
                    due = max(due + bot.pause, time.monotonic() - bot.pause)
                    time.sleep(max(0.0, due - time.monotonic()))
        except OSError:
            time.sleep(0.01)


def frame(recording: str, number: int) -> bytes:
    """Return a packet as a websocket frame."""
    packet = rl.wire.AudioPacket(
        recording=rl.wire.Ref(recording),
        payload=payload(recording, number),
        relative=number * STEP,
        absolute=time.time_ns(),
    )
    text = rl.wire.encode_message(packet)
    return load.frame_head(len(text)) + bytes(4) + text  # a key of zeros is a valid one
