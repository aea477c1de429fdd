"""Many bots in real time: how long until a packet that was sent can be read, and is any lost.

    python benchmarks/realtime.py [--bots N] [--rate N] [--packet-ms MS] [--seconds N]

Each bot has a websocket and a recording of its own and sends `rate` packets a second; all of
them together are spread evenly over time. The receiver, with everything on, has core 0, this
program core 1. For each packet:

send -> visible   from just before the send until its record is seen at the end of the index, which
                  another process could then read; looked at every 0.2 ms, so up to that much more
                  than the truth
send -> received  from the sender's stamp to the receiver's own stamp, both of one wall clock
generator late    how much after its time a packet was sent. One sent over 2 ms late, or not looked
                  for over so long (and a tenth of its time), says more of the generator than of
                  the receiver: it is left out of the times, never out of the loss, and counted

The first seconds, when every recording is opened at once, are shown on their own. In the end all
captures are loaded and every byte, count, checksum and time is compared with what was sent; the
exit code is 1 when anything is lost or wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Final

import load
import numpy as np
import numpy.typing as npt
from bots import NUMBER, Bot, Drive, Overrun
from child import HERE, Child, cpu_of_all, machine, pinned, raise_descriptor_limit
from disk import scratch_folder, touch_memory

from recall_lab.loading import load as load_capture
from recall_lab.loading import verify

SETTLE_SECONDS: Final = 3.0  # shown on their own
INVALID_NS: Final = 2_000_000

Nanoseconds = npt.NDArray[np.int64]


def check(bot: Bot, sent: Nanoseconds, step: float) -> tuple[Nanoseconds, str]:
    """Return when each of a bot's packets was received, and what is wrong with its capture."""
    try:
        capture = load_capture(bot.path)
    except FileNotFoundError:
        return np.empty(0, np.int64), "there is no capture"
    packets = capture.packets
    received = np.asarray(packets["received"].astype(np.int64), np.int64)
    if len(packets) != len(sent) or capture.damage:
        return received, f"{len(packets)} of {len(sent)} packets, damage: {capture.damage}"
    audio = np.tile(np.frombuffer(bot.payload, np.uint8), (len(sent), 1))
    numbers = b"".join(NUMBER.pack(bot.number, packet) for packet in range(len(sent)))
    audio[:, : NUMBER.size] = np.frombuffer(numbers, np.uint8).reshape(-1, NUMBER.size)
    relative = [float(b"%.6f" % (load.RELATIVE_START + n * step)) for n in range(len(sent))]
    same = {
        "audio": np.array_equal(capture.samples.view(np.uint8), audio.reshape(-1)),
        "checksums": not len(verify(capture)),
        "relative": np.array_equal(packets["relative"], relative),
        "absolute": np.array_equal(packets["absolute"].astype(np.int64), sent // 1_000 * 1_000),
    }
    return received, ", ".join(name for name, right in same.items() if not right)


def row(name: str, values: Nanoseconds) -> str:
    """Return one line of the table, in milliseconds."""
    if not len(values):
        return f"{name:<34} {0:>9}"
    found = np.quantile(values, [0.5, 0.99, 0.999, 1.0]) / 1e6
    return f"{name:<34} {len(values):>9,} " + " ".join(f"{value:>8.2f}" for value in found)


def report(drive: Drive, received: Nanoseconds) -> list[str]:
    """Return the table of times."""
    count = drive.count
    sent, late, delay, blind = (
        np.array(values[:count]) for values in (drive.sent, drive.late, drive.delay, drive.blind)
    )
    early = np.arange(count) < SETTLE_SECONDS * 1e9 / drive.interval
    seen = delay >= 0
    valid = seen & (late <= INVALID_NS) & (blind <= np.maximum(INVALID_NS, delay // 10))
    lines = [
        f"{'ms':<34} {'packets':>9} " + " ".join(f"{h:>8}" for h in ["p50", "p99", "p99.9", "max"])
    ]
    lines += [
        row("send -> visible", delay[valid & ~early]),
        row("  with those that are not valid", delay[seen & ~early]),
    ]
    if len(received) == count:
        lines.append(row("send -> received", (received - sent)[valid & ~early]))
    lines += [
        row("generator late", late[~early]),
        row(f"first {SETTLE_SECONDS:.0f} s: send -> visible", delay[seen & early]),
        row(f"first {SETTLE_SECONDS:.0f} s: generator late", late[early]),
        f"not valid, the generator having sent or looked late: "
        f"{np.count_nonzero(~valid & seen & ~early):,}",
    ]
    return lines


def shares(marks: Sequence[tuple[float, float, float, float]]) -> str:
    """Return who used how much of a core, in the first seconds and after them."""
    parts = []
    names = (f"first {SETTLE_SECONDS:.0f} s", "then")
    for name, before, after in zip(names, marks, marks[1:], strict=False):
        wall, server, generator, everybody = (b - a for a, b in zip(before, after, strict=True))
        others = max(0.0, everybody - server - generator)
        used = (f"{part / wall:.0%}" for part in (server, generator, others))
        parts.append("{}: server {}, generator {}, others {}".format(name, *used))
    return f"of a core, {'; '.join(parts)}"


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bots", type=int, default=1_500, help="(default 1500)")
    parser.add_argument("--rate", type=float, default=5.0, help="packets/s of a bot (default 5)")
    parser.add_argument("--packet-ms", type=float, default=200.0, help="audio in one (default 200)")
    parser.add_argument("--seconds", type=float, default=30.0, help="(default 30)")
    given = parser.parse_args()
    given.size = int(given.packet_ms * 16) * 2
    limit = raise_descriptor_limit()
    if not 0 < given.bots <= min(65_535, (limit - 100) // 3):
        parser.error(f"--bots: 1 to {(limit - 100) // 3}, by the limit of {limit} open files")
    if not 0.1 <= given.rate <= 1_000:
        parser.error("--rate: 0.1 to 1000")
    if not NUMBER.size <= given.size <= 200_000:
        parser.error("--packet-ms: 0.25 to 6250")
    if not SETTLE_SECONDS < given.seconds <= 600:
        parser.error(f"--seconds: more than {SETTLE_SECONDS:.0f}, up to 600")
    return given


def main() -> int:
    """Run, check, print; return the exit code."""
    options = arguments()
    step = options.packet_ms / 1_000
    per_second = options.bots * options.rate
    print(machine())
    print(
        f"{options.bots:,} bots, {options.rate:g} packets a second of {options.packet_ms:g} ms "
        f"({options.size:,} bytes), {options.seconds:g} s: {per_second:,.0f} packets and "
        f"{per_second * options.size / 1e6:.1f} MB of audio a second",
        flush=True,
    )
    wrong = []
    marks: list[tuple[float, float, float, float]] = []
    with scratch_folder() as scratch:
        directory = scratch / "out"
        touch_memory(scratch, int(1.2 * per_second * options.seconds * options.size))
        server = Child([sys.executable, str(HERE / "serve.py"), str(directory)], scratch)
        with pinned(1), server as child:

            def mark() -> None:
                # the beginning, the end of the first seconds, the latest
                marks[2:] = [(time.perf_counter(), child.cpu(), time.process_time(), cpu_of_all())]

            bots = [Bot(n, options.size, child.port, directory) for n in range(options.bots)]
            drive = Drive(bots, options.rate, options.seconds, step)
            mark()
            try:
                drive.run_with(mark, SETTLE_SECONDS)
            except Overrun as error:
                wrong.append(str(error))
            mark()
            for bot in bots:
                bot.close()
        told = json.loads(child.said() or "{}")
        if child.complained():
            wrong.append(f"on stderr: {child.complained()[-2000:]}")
        sent = np.array(drive.sent[: drive.count])
        found = [check(bot, sent[bot.number :: len(bots)], step) for bot in bots]
    kept = sum(len(received) for received, _ in found)
    received = np.empty(0, np.int64)
    if not any(what for _, what in found):
        received = np.empty(drive.count, np.int64)
        for bot, (times, _) in zip(bots, found, strict=True):
            received[bot.number :: len(bots)] = times
    wrong += [
        f"{bot.path.stem}: {what}" for bot, (_, what) in zip(bots, found, strict=True) if what
    ]

    print("\n".join(report(drive, received)))
    print(shares(marks), f"the server says: {told}", sep="\n")
    unseen = sum(1 for delay in drive.delay[: drive.count] if delay < 0)
    print(
        f"sent {drive.count:,} packets, never seen while running {unseen:,}, "
        f"lost {drive.count - kept:,}; every byte, checksum and time was compared: "
        f"{'WRONG' if wrong else 'all is right'}"
    )
    print("\n".join(wrong[:10]))
    return 1 if wrong or unseen or kept != drive.count else 0


if __name__ == "__main__":
    sys.exit(main())
