"""Our own server in a process of its own, everything on: ``python serve.py DIRECTORY
[SECONDS]``, the seconds being those between two syncs of a capture.

Measures nothing by itself: ``ingest.py`` and ``realtime.py`` run it. It says its port on stderr,
ends at SIGTERM, and then writes its counts and what the collector of garbage did, as one line of
JSON, to stdout: the collector's longest pause is the first suspect for a late packet.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import time
from typing import Any

from child import raise_descriptor_limit

from recall_lab.receiver.server import Server


class Pauses:
    """Counts the collections of garbage and times them, by generation."""

    def __init__(self) -> None:
        self.counts = [0, 0, 0]
        self.longest = [0, 0, 0]  # ns
        self._begun = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._begun = time.perf_counter_ns()
            return
        generation = info["generation"]
        self.counts[generation] += 1
        took = time.perf_counter_ns() - self._begun
        self.longest[generation] = max(self.longest[generation], took)


async def main(directory: str, sync: float, pauses: Pauses) -> None:
    """Receive until told to end."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    async with Server(directory, port=0, sync=sync) as server:
        gc.freeze()  # as the receiver's own process does
        print(server.port, file=sys.stderr, flush=True)
        await end.wait()
        status = server.status
    report = {
        "packets": status.packets,
        "rejected": status.rejected,
        "last_error": status.last_error,
        "collections": pauses.counts,
        "longest_ms": [round(ns / 1e6, 3) for ns in pauses.longest],
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    raise_descriptor_limit()
    watch = Pauses()
    gc.callbacks.append(watch)
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 1.0, watch))
