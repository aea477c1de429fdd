"""How fast audio is received and kept: this library beside the receivers one would write first.

    python benchmarks/ingest.py [--quick] [--messages N] [--repetitions N] [--sizes N ...]
                                [--connections N ...]

Contenders, each alone in its own process on core 0, the generator on core 1:

(a)   Node, ``ws``: Recall.ai's quickstart, which logs each message (here to /dev/null)
(b)   the same without the log
(c)   Python, ``websockets``, ``json``, ``base64``, append
ours  ``recall_lab``'s server with everything on: checks, index with checksums, sync every second
sink  reads and throws away: shows that it is the receivers which are measured, not the generator

Measured: messages per CPU second of the receiving process, all its threads together, and messages
per second of wall time from the first byte sent to the last byte of audio in its file. Handshakes
are not counted; opening a capture is. Every byte of every ``.bin`` is then compared with what was
sent, and our captures are loaded: right packets, right times, right checksums, no damage.
Contenders take turns in each of several repetitions; shown are medians, and for the ratios the
median of those within each repetition. --quick takes under a
minute and is for looking, not for quoting.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import load
import numpy as np
from child import (
    HERE,
    NODE,
    Child,
    cpu_of_all,
    machine,
    pinned,
    prepare_node,
    raise_descriptor_limit,
)
from disk import scratch_folder, touch_memory

from recall_lab.loading import load as load_capture
from recall_lab.loading import verify

RUN_SECONDS: Final = 120.0  # for one run, warm-up and all
MAX_MESSAGES: Final = 200_000  # longer, and the keepalive of some receivers hangs up on us
WARM_MESSAGES: Final = 2_000
SINK_MARGIN: Final = 5.0
SINK_ROUNDS: Final = 5  # one is over before it can be timed

CONTENDERS: Final = {
    "a": "(a) Node ws, log",
    "b": "(b) Node ws",
    "c": "(c) Python naive",
    "ours": "recall_lab",
    "sink": "sink",
}


@dataclass(frozen=True)
class Cell:
    """One line of load: bytes of audio a message, sockets, messages in all."""

    size: int
    connections: int
    messages: int


@dataclass(frozen=True)
class Result:
    """One run."""

    cpu: float  # messages per CPU second of the receiver
    wall: float  # messages per second
    generator: float  # share of a core that the generator used
    others: float  # share of a core that was used by neither of the two


class Wrong(Exception):
    """A receiver did not keep what was sent."""


def command(name: str, directory: Path) -> list[str]:
    """Return how to start a contender."""
    if name in "ab":
        log = ["log"] if name == "a" else []
        return ["node", str(NODE / "receive.js"), str(directory), *log]
    program = {"c": "naive.py", "ours": "serve.py", "sink": "sink.py"}[name]
    return [sys.executable, str(HERE / program), str(directory)]


def run(name: str, cell: Cell, sources: list[load.Stream], warm: list[load.Stream]) -> Result:
    """Start a contender, warm it up, measure it, end it, and check what it kept."""
    deadline = time.monotonic() + RUN_SECONDS
    sink = name == "sink"
    rounds = SINK_ROUNDS if sink else 1
    with scratch_folder() as scratch:
        directory = scratch / "out"
        directory.mkdir()
        with Child(command(name, directory), scratch, log=name == "a") as child:
            # first, what is not to be measured: imports, JIT, caches
            for source in (*warm, *sources):
                source.rewind()
            peers = [load.connect(child.port) for _ in warm]
            load.push(peers, warm, deadline)
            if sink:
                load.drain(peers, deadline)
            else:
                load.await_audio(directory, warm, deadline)
                load.close(peers)
            touch_memory(scratch, 2 * cell.messages * cell.size)
            peers = [load.connect(child.port) for _ in sources]
            time.sleep(0.2)  # let the receiver finish with the handshakes

            before, everybody = child.cpu(), cpu_of_all()
            busy, begun = time.process_time(), time.perf_counter()
            load.push(peers, sources, deadline)
            if sink:
                for _ in range(rounds - 1):
                    for source in sources:
                        source.rewind()
                    load.push(peers, sources, deadline)
                load.drain(peers, deadline)
            else:
                load.await_audio(directory, sources, deadline)
            wall = time.perf_counter() - begun
            busy = time.process_time() - busy
            cpu = child.cpu() - before
            others = cpu_of_all() - everybody - cpu - busy
            if not sink:
                load.close(peers)
        if child.complained():
            raise Wrong(f"{CONTENDERS[name]}: {child.complained()[-2000:]}")
        if not sink:
            check(directory, sources, ours=name == "ours")
    count = rounds * sum(source.count for source in sources)
    return Result(count / cpu, count / wall, busy / wall, max(0.0, others / wall))


def check(directory: Path, sources: list[load.Stream], *, ours: bool) -> None:
    """Raise unless everything that was sent is there."""
    for source in sources:
        path = directory / f"{source.recording}.bin"
        if not load.same_audio(path, source):
            raise Wrong(f"{path.name} is not what was sent")
        if not ours:
            continue
        capture = load_capture(path)
        packets = capture.packets
        if capture.damage or len(packets) != source.count or len(verify(capture)):
            raise Wrong(f"{path.name}: {len(packets)} packets, damage: {capture.damage}")
        if not np.array_equal(packets["relative"], source.relative() / 1e6):
            raise Wrong(f"{path.name}: the packets' times are not those that were sent")


def table(results: dict[tuple[Cell, str], list[Result]], names: list[str]) -> list[str]:
    """Return the lines of the table, and after them whatever is to be warned of."""
    heads = ("bytes", "sockets", "receiver", "msg/CPU-s", "spread", "msg/s", "ours: CPU", "wall")
    rows: list[tuple[str, ...]] = [heads]
    warnings = []
    for cell in dict.fromkeys(cell for cell, _ in results):
        cpu = {n: statistics.median(r.cpu for r in results[cell, n]) for n in names}
        wall = {n: statistics.median(r.wall for r in results[cell, n]) for n in names}
        ours = results[cell, "ours"]
        for name in names:
            runs = results[cell, name]
            found = [run.cpu for run in runs]
            # neighbours in time are compared: what disturbs one disturbs the other
            ratios = (
                statistics.median(a.cpu / b.cpu for a, b in zip(ours, runs, strict=True)),
                statistics.median(a.wall / b.wall for a, b in zip(ours, runs, strict=True)),
            )
            rows.append((
                f"{cell.size:,}", f"{cell.connections}", CONTENDERS[name],
                f"{cpu[name]:,.0f}", f"{(max(found) - min(found)) / cpu[name]:.0%}",
                f"{wall[name]:,.0f}",
                *(f"{ratio:.2f} x" if name in "abc" else "" for ratio in ratios),
            ))  # fmt: skip
        fastest = max(wall[n] for n in names if n != "sink")
        margin = wall["sink"] / fastest
        at = f"{cell.size:,} bytes, {cell.connections} sockets"
        if margin < SINK_MARGIN:
            warnings.append(
                f"WARNING: {at}: the generator is only {margin:.1f} x as fast as the fastest "
                f"receiver (wanted: {SINK_MARGIN:.0f} x); go by the CPU column"
            )
        else:
            warnings.append(f"{at}: the generator is {margin:.1f} x as fast as the fastest")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        if row[2] == CONTENDERS[names[0]] or row is heads:
            lines.append("")
        lines.append(
            "  ".join(
                text.ljust(width) if head == "receiver" else text.rjust(width)
                for text, width, head in zip(row, widths, heads, strict=True)
            ).rstrip()
        )
    return [*lines, "", *warnings]


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute")
    parser.add_argument("--messages", type=int, help="per run (default 20000; quick: 4000)")
    parser.add_argument("--repetitions", type=int, help="of everything (default 7; quick: 2)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 3_200, 6_400])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 50])
    given = parser.parse_args()
    given.messages = given.messages or (4_000 if given.quick else 20_000)
    given.repetitions = given.repetitions or (2 if given.quick else 7)
    if not 0 < given.messages <= MAX_MESSAGES:
        parser.error(f"--messages: 1 to {MAX_MESSAGES}")
    if not all(0 < size <= 200_000 and size % 2 == 0 for size in given.sizes):
        parser.error("--sizes: even, up to 200000 bytes")
    if not all(0 < n <= 1_000 for n in given.connections):
        parser.error("--connections: 1 to 1000")
    return given


def main() -> int:
    """Run everything and print the table."""
    options = arguments()
    started = time.monotonic()
    raise_descriptor_limit()
    names = list(CONTENDERS)
    problem = prepare_node()
    if problem:
        print(f"(a) and (b) are left out: {problem}")
        names = [name for name in names if name not in "ab"]
    print(machine(), flush=True)

    results: dict[tuple[Cell, str], list[Result]] = defaultdict(list)
    with pinned(1):
        for size, connections in itertools.product(options.sizes, options.connections):
            sources = load.streams("bench", connections, options.messages, size)
            warm = load.streams("warm", connections, WARM_MESSAGES, size)
            cell = Cell(size, connections, sources[0].count * connections)
            for repetition in range(options.repetitions):
                turn = repetition % len(names)
                for name in names[turn:] + names[:turn]:
                    if sys.stderr.isatty():
                        print(f"\r\033[K{cell} {repetition + 1} {name}", end="", file=sys.stderr)
                    results[cell, name].append(run(name, cell, sources, warm))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print("\n".join(table(results, names)))
    receivers = [r for (_, name), runs in results.items() if name != "sink" for r in runs]
    print(
        f"every byte was compared; {options.messages:,} messages a run, medians of "
        f"{options.repetitions}, {time.monotonic() - started:.0f} s in all\n"
        f"the generator used {max(r.generator for r in receivers):.0%} of a core at most; "
        f"other processes {statistics.median(r.others for r in receivers):.0%} of one in the "
        f"median, {max(r.others for r in receivers):.0%} at most"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
