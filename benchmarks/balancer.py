"""Does a recording stay on one receiver behind a balancer? The configuration of docs/scale.md, run.

    python benchmarks/balancer.py [--calls 30]

nginx (1.22 or newer, found on the PATH) with the configuration that stands in docs/scale.md,
before three receivers on loopback. Stand-in bots, each with a key of its own in the path, whose
lines break twice: each recording has to be on one receiver, whole but for what the breaks cost.
Then the same while one receiver is stopped: its calls have to go on elsewhere, and no other call
may move.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from helpers.bucket import free_port

import recall_lab as rl

ROOT = Path(__file__).parent.parent
FAULTS = rl.Faults(disconnects=(4, 12))


def configuration(folder: Path, port: int, receivers: list[int]) -> Path:
    """Write what stands in docs/scale.md, for these ports and without certificates."""
    text = (ROOT / "docs" / "scale.md").read_text()
    block = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert block is not None
    told = block[1].replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    for number, other in enumerate(receivers, 1):
        told = told.replace(f"receiver-{number}:3456", f"127.0.0.1:{other}")
    assert "3456" not in told and str(port) in told
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{told}\n}}\n"
    )
    return path


def places(receivers: list[rl.Receiver], prefix: str) -> dict[str, tuple[int, ...]]:
    """Return which receivers have something of each recording."""
    found: dict[str, tuple[int, ...]] = {}
    for number, rx in enumerate(receivers, 1):
        for path in sorted(Path(rx.directory).glob(f"{prefix}*.idx")):
            found[path.stem] = (*found.get(path.stem, ()), number)
    return found


def run(folder: Path, calls: int) -> bool:
    """Play calls through the balancer, twice."""
    speech = rl.read_audio(ROOT / "data" / "standup.wav")[: 20 * 16_000]
    receivers = [rl.receive(port=0, directory=folder / str(number)) for number in (1, 2, 3)]
    port = free_port()
    config = configuration(folder, port, [rx.port for rx in receivers])

    def call(number: int, prefix: str) -> None:
        url = f"ws://127.0.0.1:{port}/calls/{uuid.UUID(int=number * 7919)}"
        faults = FAULTS if prefix == "a" else rl.Faults()
        rl.simulate(speech, url, speed=2, recording=f"{prefix}-{number:03}", faults=faults)

    with subprocess.Popen(["nginx", "-c", config], stderr=subprocess.DEVNULL) as balancer:
        try:
            time.sleep(1)
            with ThreadPoolExecutor(calls) as pool:
                list(pool.map(lambda number: call(number, "a"), range(calls)))
                time.sleep(1)
                first = places(receivers, "a-")
                under_way = [pool.submit(call, number, "b") for number in range(calls)]
                time.sleep(4)
                receivers[0].stop()
                for future in under_way:
                    future.result()
                second = places(receivers, "b-")
        finally:
            balancer.terminate()
            for rx in receivers[1:]:
                rx.stop()
    several = sum(len(where) > 1 for where in first.values())
    print(f"{len(first)} recordings with two breaks each, {several} on several receivers")
    print(f"  shared out: {dict(sorted(Counter(where[0] for where in first.values()).items()))}")
    moved = [where for where in second.values() if where[0] == 1]
    stayed = [where for where in second.values() if where[0] != 1]
    print(f"one receiver stopped: {len(moved)} of its calls went on elsewhere, "
          f"{sum(len(where) > 1 for where in stayed)} of {len(stayed)} others moved")  # fmt: skip
    return (
        len(first) == len(second) == calls
        and not several
        and all(len(where) == 2 for where in moved)
        and all(len(where) == 1 for where in stayed)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=30)
    options = parser.parse_args()
    if shutil.which("nginx") is None:
        print("nginx is not installed: nothing to run")
        return 0
    with tempfile.TemporaryDirectory() as name:
        good = run(Path(name), options.calls)
    print("a recording stays where it is" if good else "BROKEN: a recording moved, or was lost")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
