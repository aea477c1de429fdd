"""A busy notebook: does a receiver started from it lose anything, and does it note arrivals late?

    python benchmarks/kernel.py [--seconds N] [--modes process thread]

In a real Jupyter kernel a receiver is started, once in each mode; then the kernel's main thread
computes in pure Python, sorts long lists, uses pandas and NumPy, sleeps, and is interrupted,
over and over, while 20 bots send 50 packets a second each. In process mode the kernel is
restarted in the middle, and its start cell run again. In the end every byte is compared with
what was sent, and each packet's recorded time of arrival with the time it was sent.

The exit code is 1 when a byte is lost, or the restarted kernel did not find its receiver again.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bots import Bot, Drive
from child import machine
from jupyter_client.manager import KernelManager
from realtime import check, row

BOTS, RATE, SIZE = 20, 50.0, 640
STEPS = 4  # interruptions, or a restart, over the time of one mode

START = """
import time, numpy as np, pandas as pd, recall_lab as rl
rx = rl.receive(0, {directory!r}, mode={mode!r})
print(rx.id, rx.port)
"""
BUSY = """
numbers = np.random.default_rng(0).random(3_000_000).tolist()
try:
    while True:
        sum(i * i % 7 for i in range(3_000_000))
        len(sorted(numbers))
        frame = pd.DataFrame({"a": np.arange(1_000_000) % 1000, "b": np.arange(1_000_000.0)})
        frame.groupby("a").b.mean().sum()
        np.linalg.svd(np.random.default_rng(1).random((300, 300)))
        len(rx.packets("live-00000")) if len(rx.recordings()) else 0
        time.sleep(0.3)
except KeyboardInterrupt:
    print("interrupted")
"""


class Notebook:
    """A kernel and what runs in it."""

    def __init__(self, directory: str, mode: str) -> None:
        self.cell = START.format(directory=directory, mode=mode)
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def start(self) -> list[str]:
        """Run the start cell; return the receiver's id and port."""
        told: list[str] = []
        reply = self.client.execute_interactive(
            self.cell,
            timeout=60,
            output_hook=lambda message: told.append(message["content"].get("text", "")),
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError(reply["content"])
        return "".join(told).split()

    def be_busy(self) -> None:
        """Run the busy cell, without waiting for it."""
        self.client.execute(BUSY)

    def interrupt(self) -> bool:
        """Interrupt the busy cell; tell whether it ended by that."""
        self.manager.interrupt_kernel()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["content"].get("text", "").startswith("interrupted"):
                return True
        return False

    def restart(self) -> None:
        """Restart the kernel at once, as the button does."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=60)

    def stop(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def keep_busy(directory: str, mode: str) -> None:
    """Be the person at the notebook: say the port, do as told, say in the end what was seen."""
    notebook = Notebook(directory, mode)
    id_, port = notebook.start()
    print(port, flush=True)
    restarts: list[bool] = []
    interrupts: list[bool] = []
    told = sys.stdin.readline()
    while told.strip() == "go on":
        notebook.be_busy()
        told = sys.stdin.readline()
        interrupts.append(notebook.interrupt())
        if told.strip() == "restart":
            notebook.restart()
            restarts.append(notebook.start()[0] == id_)
            told = "go on"
    print(json.dumps({"interrupts": interrupts, "found again": restarts}), flush=True)
    notebook.client.execute_interactive("rx.stop()", timeout=60, output_hook=lambda _: None)
    notebook.stop()


def prompt(person: subprocess.Popen[str], mode: str, step: int | None) -> None:
    """Tell the person at the notebook what to do next."""
    if step is not None:
        assert person.stdin is not None
        restart = mode == "process" and step == STEPS // 2
        person.stdin.write("restart\n" if restart else "go on\n")
        person.stdin.flush()


def measure(mode: str, seconds: float) -> bool:
    """Run one mode, print its line; return whether all is well."""
    scratch = Path(tempfile.mkdtemp(prefix="recall_lab_kernel_"))
    directory = scratch / "captures"
    try:
        with subprocess.Popen(
            [sys.executable, __file__, "--busy", str(directory), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as person:
            assert person.stdout is not None
            port = int(person.stdout.readline())
            bots = [Bot(number, SIZE, port, directory) for number in range(BOTS)]
            drive = Drive(bots, RATE, seconds, SIZE / 32_000)
            prompts = iter(range(STEPS))
            prompt(person, mode, next(prompts))
            drive.run_with(lambda: prompt(person, mode, next(prompts, None)), every=seconds / STEPS)
            for bot in bots:
                bot.close()
            seen = json.loads(person.communicate("enough\n")[0].splitlines()[-1])
        sent = np.array(drive.sent[: drive.count])
        found = [check(bot, sent[bot.number :: BOTS], SIZE / 32_000) for bot in bots]
    finally:
        shutil.rmtree(scratch)
    wrong = [f"{bot.path.stem}: {what}" for bot, (_, what) in zip(bots, found, strict=True) if what]
    if not wrong:
        received = np.zeros(drive.count, np.int64)
        for bot, (times, _) in zip(bots, found, strict=True):
            received[bot.number :: BOTS] = times
        print(row(f"{mode}: send -> recorded arrival", received - sent))
    print(f"    {drive.count:,} packets sent; {seen}; {'all kept' if not wrong else wrong[:5]}")
    return not wrong and all(seen["found again"])


def main() -> int:
    """Measure each mode; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each mode (default 40)")
    parser.add_argument("--modes", nargs="+", default=["process", "thread"])
    parser.add_argument("--busy", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.busy:
        keep_busy(*options.busy)
        return 0
    print(machine())
    print(f"{BOTS} bots, {RATE:g} packets a second each, into a receiver of a busy kernel")
    print(f"{'ms':<34} {'packets':>9}      p50      p99    p99.9      max")
    return 0 if all([measure(mode, options.seconds) for mode in options.modes]) else 1


if __name__ == "__main__":
    sys.exit(main())
