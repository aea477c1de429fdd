"""A bot that does nothing wrong, in a process of its own: what others do must not cost it a packet.

Measures nothing by itself. Every 20 ms a packet whose audio follows from its number; it never
connects twice, so that whatever throws it out shows. It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import numpy as np
from websockets.sync.client import connect

import recall_lab as rl
from benchmarks.torture.live import SIZE, STEP, payload


def packet(name: str, number: int) -> bytes:
    """Return the message of a packet."""
    return rl.wire.encode_message(
        rl.wire.AudioPacket(
            recording=rl.wire.Ref(name),
            payload=payload(name, number),
            relative=number * STEP,
            absolute=time.time_ns(),
        )
    )


class Steady:
    """One such bot, as a context manager: it says goodbye when it is left.

    Args:
        port: where it connects.
        name: of its recording.

    Attributes:
        sent: packets that it says it has sent; 0 before it has been left.
    """

    def __init__(self, port: int, name: str = "steady") -> None:
        self.name, self.sent = name, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(port), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the steady bot did not get in")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            said, _ = self._process.communicate(timeout=30)
            self.sent = int(said or 0)
        finally:
            self._process.kill()
            self._process.wait()

    def lost(self, folder: Path) -> int:
        """Return how many of its packets are not there, byte for byte, once each and in order."""
        if not self.sent:
            return 1  # it was thrown out, and can't say how many
        capture = rl.load(folder / f"{self.name}.bin")
        held, audio = len(capture.packets), capture.samples.tobytes()
        right = sum(
            audio[number * SIZE : (number + 1) * SIZE] == payload(self.name, number)
            for number in range(self.sent)
        )
        return self.sent - right + abs(held - self.sent) + len(rl.verify(capture))

    def pause(self, folder: Path) -> float:
        """Return the longest time between two packets' arrivals, s."""
        arrived = rl.load(folder / f"{self.name}.bin").packets["monotonic"]
        return float(np.diff(arrived).max(initial=0)) / 1e9


def main() -> None:
    """Be the bot: port and name. Says a word once it is in, and at the end how many it has sent."""
    port, name = sys.argv[1:]
    number = 0
    with connect(f"ws://127.0.0.1:{port}/") as line, selectors.DefaultSelector() as told:
        told.register(sys.stdin, selectors.EVENT_READ)
        begun = time.monotonic()
        while not told.select(max(0.0, begun + number * STEP - time.monotonic())):
            line.send(packet(name, number), text=True)
            number += 1
            if number == 1:
                print("in", flush=True)
    print(number, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
