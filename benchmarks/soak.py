"""A day in minutes: do memory, threads or descriptors grow with the packets received?

    python benchmarks/soak.py [--hours 24]

One bot's call of so many hours, in packets of 20 ms, is pushed into a receiver as fast as it
takes them, while this process, the notebook, asks for the frame and the status once a second.
Memory is what the process has for itself (RssAnon): pages of mapped files are the system's to
drop. The exit code is 1 when the two processes together grow by 300 MB or more, when threads or
descriptors do, or when a packet is missing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import load
import psutil
from child import machine

import recall_lab as rl
from recall_lab.receiver.state import states

SIZE = 640
HOUR = 180_000  # packets of 20 ms
LIMIT_MB = 300


def anonymous(process: psutil.Process) -> float:
    """Return the memory a process has for itself, in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float(process.memory_full_info().uss) / 1e6


def push(port: int, packets: int) -> None:
    """Be the bot. It connects anew for each hour of the call, and so needs not answer pings."""
    while packets > 0:
        sources = load.streams("day", 1, min(packets, HOUR), SIZE)
        peers = [load.connect(port)]
        load.push(peers, sources, time.monotonic() + 100)
        load.drain(peers, time.monotonic() + 100)
        packets -= HOUR


def main() -> int:
    """Run, print, return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=24.0, help="of audio (default 24)")
    parser.add_argument("--push", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.push:
        push(*options.push)
        return 0
    packets = int(options.hours * 3600 / 0.02)
    print(machine())
    scratch = Path(tempfile.mkdtemp(prefix="recall_lab_soak_"))
    rx = rl.receive(0, scratch / "captures")
    child = psutil.Process(next(state.pid for state in states() if state.id == rx.id))
    us = psutil.Process()
    processes = {"notebook": us, "receiver": child}
    bot = None
    try:
        rx.packets()
        before = {name: anonymous(process) for name, process in processes.items()}
        settled: dict[str, tuple[int, int]] = {}
        begun = time.perf_counter()
        bot = subprocess.Popen([sys.executable, __file__, "--push", str(rx.port), str(packets)])
        slowest, kept = 0.0, 0
        while kept < packets:
            asked = time.perf_counter()
            kept = len(rx.packets())
            status = rx.status
            slowest = max(slowest, time.perf_counter() - asked)
            if not settled and kept:
                settled = {n: (p.num_threads(), p.num_fds()) for n, p in processes.items()}
            if time.perf_counter() - begun > 500 or (bot.poll() and kept < packets):
                break
            time.sleep(max(0.0, 1.0 - (time.perf_counter() - asked)))
        took = time.perf_counter() - begun
        capture = rx.capture()
        after = {name: anonymous(process) for name, process in processes.items()}
        ended = {n: (p.num_threads(), p.num_fds()) for n, p in processes.items()}
    finally:
        if bot is not None:
            bot.kill()
            bot.wait()
        rx.stop()
        shutil.rmtree(scratch)
    grown = sum(after.values()) - sum(before.values())
    print(f"{kept:,} of {packets:,} packets, {options.hours:g} h of audio in {took:.0f} s")
    print(f"rejected {status.rejected}, damage: {capture.damage}")
    print(f"slowest frame and status while it ran: {slowest * 1000:.0f} ms")
    for name in processes:
        print(
            f"{name}: {before[name]:.0f} MB before, {after[name]:.0f} MB after; "
            f"threads, descriptors {settled[name]} then {ended[name]}"
        )
    frame = capture.packets.memory_usage(deep=True).sum() / 2**20
    print(f"grown by {grown:.0f} MB, of which the live frame's columns are {frame:.0f} MB")
    # what differs while a file is just being opened or synced is one or two
    steady = all(
        abs(a - b) <= 2
        for name in processes
        for a, b in zip(settled[name], ended[name], strict=True)
    )
    good = kept == packets and grown < LIMIT_MB and steady and not capture.damage
    print("steady" if good else "NOT steady")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
