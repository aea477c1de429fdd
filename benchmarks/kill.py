"""Kill -9 in a loop while receiving: does every capture load, and is any committed packet lost?

    python benchmarks/kill.py [--kills 300] [--seed 0]

Four bots send without pause, each packet with audio that follows from its number. The receiver's
process is killed at a random moment, started again on the same port and folder, and so on. After
each kill every capture is loaded: each packet that had been seen before must be there, in its
place, and the audio of every new one must be what was sent. The counts are printed; the exit
code is 1 when anything was lost, invented or unreadable.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

import recall_lab as rl
from recall_lab.receiver.state import states

BOTS, STEP, SIZE = 4, 0.02, 640


def audio(bot: int, number: int) -> bytes:
    """Return the audio of a bot's packet."""
    return hashlib.blake2b(f"{bot}:{number}".encode(), digest_size=64).digest() * (SIZE // 64)


async def send(bot: int, url: str) -> None:
    """Send packets for ever, connecting again whenever the connection is lost."""
    recording = rl.Ref(f"killed-{bot}")
    number = 0
    while True:
        try:
            async with connect(url, compression=None, proxy=None) as socket:
                while True:
                    packet = rl.AudioPacket(
                        recording=recording,
                        payload=audio(bot, number),
                        relative=number * STEP,
                        absolute=time.time_ns(),
                    )
                    number += 1
                    await socket.send(rl.encode(packet), text=True)
                    await asyncio.sleep(0.001)
        except (OSError, TimeoutError, WebSocketException):
            await asyncio.sleep(0.02)


async def send_all(url: str) -> None:
    """Be all the bots."""
    await asyncio.gather(*(send(bot, url) for bot in range(BOTS)))


class Books:
    """What has been seen of each capture; says what is wrong after a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = [np.empty(0, np.int64) for _ in range(BOTS)]
        self.counts: Counter[str] = Counter()

    def look(self) -> None:
        """Note what a reader sees while the receiver runs: that must never be gone again."""
        for bot in range(BOTS):
            if (self.folder / f"killed-{bot}.idx").exists():
                self._compare(bot, rl.load(self.folder / f"killed-{bot}.idx"))

    def after_kill(self) -> None:
        """Load everything."""
        self.look()
        for bot in range(BOTS):
            try:
                capture = rl.load(self.folder / f"killed-{bot}")
            except rl.CaptureNotFound:
                continue
            damage = capture.damage
            self.counts["captures loaded"] += 1
            self.counts["torn records"] += damage.torn_bytes > 0
            self.counts["damaged records"] += damage.damaged_records
            self.counts["records without audio"] += damage.missing_payloads
            self.counts["most orphan packets in a capture"] = max(
                self.counts["most orphan packets in a capture"], damage.orphan_samples * 2 // SIZE
            )

    def _compare(self, bot: int, capture: rl.Capture) -> None:
        packets = capture.packets
        numbers = np.rint(packets["relative"] / STEP).to_numpy().astype(np.int64)
        before = self.seen[bot]
        self.counts["committed packets lost"] += int(
            len(before) - np.count_nonzero(before == numbers[: len(before)])
        )
        for row in packets.iloc[len(before) :].itertuples():
            held = capture.samples[row.offset : row.offset + row.samples].tobytes()
            self.counts["packets with wrong audio"] += held != audio(bot, numbers[row.Index])
        self.counts["packets kept"] += len(numbers) - len(before)
        self.seen[bot] = numbers

    @property
    def wrong(self) -> int:
        """How many things went wrong."""
        return sum(
            self.counts[name]
            for name in (
                "committed packets lost", "packets with wrong audio",
                "damaged records", "records without audio",
            )
        )  # fmt: skip


def run(kills: int, seed: int) -> Books:
    """Kill so often; return the books."""
    draw = random.Random(seed)
    scratch = Path(tempfile.mkdtemp(prefix="recall_lab_kill_"))
    books = Books(scratch / "captures")
    rx = rl.receive(0, books.folder)
    sender = subprocess.Popen([sys.executable, __file__, "--send", rx.url])
    try:
        for number in range(kills):
            before = sum(map(len, books.seen))
            rx.wait(packets=before + draw.randrange(1, 200), timeout=60)
            books.look()
            pid = next(state.pid for state in states() if state.id == rx.id)
            time.sleep(draw.random() * 0.05)
            os.kill(pid, signal.SIGKILL)
            while rx.alive:
                time.sleep(0.001)
            books.counts["kills"] += 1
            books.after_kill()
            if number % 50 == 49:
                print(f"    {number + 1} kills: {dict(books.counts)}", flush=True)
            rx.stop()
            rx = rl.receive(rx.port, books.folder)
        rx.stop()
        books.after_kill()
    finally:
        sender.kill()
        sender.wait()
        for left in rl.running():
            if left.directory == books.folder:
                left.stop()
        shutil.rmtree(scratch)
    return books


def main() -> int:
    """Run, print, return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=300, help="(default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--send", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        asyncio.run(send_all(options.send))
        return 0
    books = run(options.kills, options.seed)
    for name, count in books.counts.items():
        print(f"{name:<36} {count:>10,}")
    print("nothing was lost" if not books.wrong else f"{books.wrong} WRONG")
    return 1 if books.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
