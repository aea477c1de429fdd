"""A disk that fills up while it is received, and has room again: what is lost, and is it told?

A receiver writes to a small disk of its own (tmpfs), another one elsewhere. The disk is filled in
two steps: first below the reserve, where a new recording is refused and those under way go on;
then to the last byte. What could not be kept is held against what the bots sent, packet by
packet: in the status, in the journals, in the flags and in the gaps. Then there is room again, and
it is timed until each stream goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from websockets.sync.client import connect

import recall_lab as rl
from benchmarks.torture.company import numbers_of, odd_captures, place, until
from benchmarks.torture.disks import SmallDisk
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import STEP, Bots, recording

BOTS: Final = 4
MIB: Final = 1 << 20
LIMITS: Final = rl.Limits(reserve=2 * MIB)


def run(scale: Scale) -> Iterator[Figure]:
    """Fill the disk and make room again, once or several times."""
    rounds, full = (1, 1.0) if scale.short else (5, 5.0)
    with place() as scratch, SmallDisk(scratch / "disk") as disk:
        small = rl.receive(0, disk.folder / "captures", limits=LIMITS)
        other = rl.receive(0, scratch / "captures")
        early, rooms = 0, []
        with Bots(BOTS, small.port) as there, Bots(BOTS, other.port) as here:
            until(lambda: small.status.streams == BOTS, "all streams are there")
            for number in range(rounds):
                before = small.status.dropped
                disk.fill(leave=MIB)
                _knock(small, f"new-{number}")
                time.sleep(0.5)
                early += small.status.dropped - before - 1
                disk.fill(leave=0)
                time.sleep(full)
                rooms.append(time.time_ns())
                disk.fill(leave=16 * MIB)
                time.sleep(2.5)
        status, elsewhere = small.stop(), other.stop()
        refused = status.rejected.get("reserve", 0)
        begun = len(list(small.directory.glob("new-*")))
        yield Figure("new recordings refused below the reserve", refused, "=", rounds)
        yield Figure("files of theirs", begun, "=", 0)
        yield Figure("packets lost by those under way, until it was full", early, "=", 0)
        yield from _told(small.directory, there, status, refused, rooms)
        yield Figure("packets lost by the other receiver", here.sent - elsewhere.packets, "=", 0)
        odd = odd_captures(small.directory, BOTS) + odd_captures(other.directory, BOTS)
        yield Figure("captures damaged, or with other audio than was sent", odd, "=", 0)


def _told(
    folder: Path, bots: Bots, status: rl.Status, refused: int, rooms: list[int]
) -> Iterator[Figure]:
    """Hold what is told of the loss against what was sent and is not there."""
    missing = journalled = 0
    seconds = marked = slowest = 0.0
    for bot in bots.all:
        capture = rl.load(folder / recording(bot.number))
        missing += len(set(bot.sent) - set(numbers_of(capture).tolist()))
        lines = capture.events.query("kind == 'dropped'")
        journalled += sum(line["packets"] for line in lines["detail"])
        gaps = rl.gaps(capture).query("kind == 'gap' and cause == 'dropped'")
        seconds += float(gaps["duration"].sum())
        marked += bool((capture.packets["flags"] & rl.Flag.DROPPED).any())
        received = capture.packets["received"].astype("int64").to_numpy()
        slowest = max(slowest, *(received[received > room].min() - room for room in rooms))
    yield Figure("packets that the full disk took", missing, ">=", len(rooms) * BOTS * 20)
    yield Figure("of them, not in the status", missing - (status.dropped - refused), "=", 0)
    yield Figure("of them, not in the journals", missing - journalled, "=", 0)
    untold = missing * STEP - seconds
    yield Figure("seconds of them, in no gap of cause storage", round(untold, 6), "=", 0, "s")
    wrong = (status.dropped - refused) * STEP - (status.dropped_s - refused * STEP)
    yield Figure("seconds that the status tells wrong", round(wrong, 6), "=", 0, "s")
    yield Figure("captures marked by a flag", marked, "=", BOTS)
    yield Figure("from room on the disk to every stream going on", slowest / 1e9, "<=", 2, "s")


def _knock(rx: rl.Receiver, name: str) -> None:
    """Send one packet of a new recording."""
    packet = rl.wire.AudioPacket(
        recording=rl.wire.Ref(name), payload=bytes(640), relative=0.0, absolute=time.time_ns()
    )
    with connect(rx.url, compression=None, proxy=None) as peer:
        peer.send(rl.wire.encode_message(packet), text=True)
