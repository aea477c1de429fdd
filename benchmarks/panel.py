"""The live panel beside many streams: what it costs the notebook, and whether anything is lost.

    python benchmarks/panel.py [--bots N] [--rate N] [--rounds N]

In a real Jupyter kernel a receiver is started and its panel shown, while `bots` bots send `rate`
packets a second each. Then the cell computes in pure Python, with the panel and without it in
turn: by how much longer it waits (for the interpreter, or for a core) is what an update takes
from the main thread. Last the cell sleeps, and the kernel's CPU time is the panel's. In the end
every byte is compared with what was sent.

The exit code is 1 when a byte is lost, when an update takes more than 60 ms of the main thread's
time, or all of them more than 15 % of a core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bots as senders
import numpy as np
from bots import Bot, Drive
from child import machine
from kernel import Notebook
from realtime import check

MOST_SECONDS, MOST_SHARE = 0.060, 0.15
SIZE = 640
TURN, IDLE = 6, 15  # seconds

WORK = """
import json

def waited(seconds):
    "Compute for so long; return the share of the time in which this thread did not run."
    begin, ran = time.perf_counter(), time.thread_time()
    while time.perf_counter() - begin < seconds:
        pass
    return 1 - (time.thread_time() - ran) / seconds

taken, busy, updates = [], [], []
for _ in range({rounds}):
    panel = rl.watch(rx)
    time.sleep(2)
    before, with_it = panel.updates, waited({turn})
    updates.append((panel.updates - before) / {turn})
    busy.append(panel.busy)
    panel.stop()
    taken.append((with_it - waited({turn})) / updates[-1])
panel = rl.watch(rx)
time.sleep(3)
begin, before, idle = time.process_time(), panel.updates, []
for _ in range({idle}):
    time.sleep(1)
    idle.append(panel.busy)
share = (time.process_time() - begin) / {idle}
print(json.dumps(dict(
    taken=taken, busy=busy, updates=updates, idle=idle, share=share,
    a_second=(panel.updates - before) / {idle}, error=panel.error,
)))
"""


def watch(directory: str, rounds: int) -> None:
    """Be the person at the notebook: say the port, then what the panel cost."""
    notebook = Notebook(directory, "process")
    print(notebook.start()[1], flush=True)
    sys.stdin.readline()
    told: list[str] = []
    reply = notebook.client.execute_interactive(
        WORK.format(rounds=rounds, turn=TURN, idle=IDLE),
        timeout=600,
        output_hook=lambda message: told.append(message["content"].get("text", "")),
    )
    if reply["content"]["status"] != "ok":
        raise RuntimeError(reply["content"])
    print("".join(told).strip().splitlines()[-1], flush=True)
    sys.stdin.readline()
    notebook.client.execute_interactive("rx.stop()", timeout=60, output_hook=lambda _: None)
    notebook.stop()


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bots", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="packets a second each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--watch", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        watch(options.watch[0], int(options.watch[1]))
        return 0
    print(machine())
    seconds = options.rounds * (2 * TURN + 4) + IDLE + 15.0
    print(f"{options.bots} bots, {options.rate:g} packets a second each, for {seconds:.0f} s")
    scratch = Path(tempfile.mkdtemp(prefix="recall_lab_panel_"))
    directory = scratch / "captures"
    # nothing is timed by the bots here, and looking would take half of a core from the kernel
    senders.POLL_NS = 20_000_000  # type: ignore[misc]
    try:
        with subprocess.Popen(
            [sys.executable, __file__, "--watch", str(directory), str(options.rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as person:
            assert person.stdout is not None
            assert person.stdin is not None
            port = int(person.stdout.readline())
            bots = [Bot(number, SIZE, port, directory) for number in range(options.bots)]
            drive = Drive(bots, options.rate, seconds, SIZE / 32_000)
            begin = iter(["go on\n"])

            def prompt() -> None:
                person.stdin.write(next(begin, ""))  # type: ignore[union-attr]
                person.stdin.flush()  # type: ignore[union-attr]

            drive.run_with(prompt, every=5.0)
            cost = json.loads(person.stdout.readline())
            for bot in bots:
                bot.close()
            person.communicate("enough\n")
        sent = np.array(drive.sent[: drive.count])
        wrong = [
            f"{bot.path.stem}: {what}"
            for bot in bots
            for _, what in [check(bot, sent[bot.number :: options.bots], SIZE / 32_000)]
            if what
        ]
    finally:
        shutil.rmtree(scratch)
    taken, busy, idle = (np.array(cost[name]) for name in ("taken", "busy", "idle"))
    print(f"taken from a main thread that computes: {1e3 * np.median(taken):.0f} ms an update")
    print(f"    in rounds: {np.round(1e3 * taken).astype(int).tolist()} ms")
    print(f"CPU time of an update: {1e3 * np.median(busy):.0f} ms beside a busy cell,")
    print(f"    {1e3 * np.median(idle):.0f} ms (at most {1e3 * idle.max():.0f}) beside an idle one")
    print(f"updates a second: {np.median(cost['updates']):.2f} busy, {cost['a_second']:.2f} idle")
    print(f"CPU of the idle kernel with its panel: {cost['share']:.1%} of a core")
    print(f"{drive.count:,} packets sent; {'all kept' if not wrong else wrong[:5]}")
    held = np.median(taken) <= MOST_SECONDS and cost["share"] <= MOST_SHARE
    return 0 if held and not wrong and not cost["error"] else 1


if __name__ == "__main__":
    sys.exit(main())
