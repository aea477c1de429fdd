"""Sync captures to the disk in a thread, one after another."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from recall_lab.store.writer import StreamWriter

# Rests for each sync: however many streams, most of the core is the receiver's. Whoever is behind
# rests for what it has worked, and not for what it has waited for the disk.
_REST = 2.0
_PATIENCE = 10.0  # for each sync that failed
_GOLDEN = 0.6180339887498949  # its multiples spread evenly over a turn, however many there are


class Syncer:
    """Calls ``sync`` on each stream once an interval, spread over the interval.

    All streams at once would stall the disk, and with it the event loop, for milliseconds once
    a second; spread out, each sync is too small to be noticed. With more streams than can be
    synced in an interval (on a small machine about a thousand a second) each waits longer for
    its turn, and reception goes on undisturbed.

    Args:
        interval: seconds between two syncs of a stream.
        failed: told of a sync that failed, in the syncing thread.
    """

    def __init__(self, interval: float, failed: Callable[[StreamWriter, Exception], None]) -> None:
        self._interval = interval
        self._failed = failed
        self._queue: list[tuple[float, int, StreamWriter]] = []
        self._live: set[StreamWriter] = set()
        self._later: dict[StreamWriter, float] = {}  # when those that failed are tried again
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, writer: StreamWriter) -> None:
        """Begin to sync a stream."""
        with self._wake:
            number = next(self._count)
            first = time.monotonic() + self._interval * (number * _GOLDEN % 1.0)
            heapq.heappush(self._queue, (first, number, writer))
            self._live.add(writer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
                self._thread.start()
            self._wake.notify()

    def remove(self, writer: StreamWriter) -> None:
        """Sync a stream no more."""
        with self._wake:
            self._live.discard(writer)
            self._later.pop(writer, None)

    def stop(self) -> None:
        """End the thread; waits for a sync that is under way."""
        with self._wake:
            thread, self._thread = self._thread, None
            self._queue.clear()
            self._wake.notify()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (writer := self._next()) is not None:
            if writer.synced == writer.packets or time.monotonic() < self._later.get(writer, 0.0):
                continue
            self._later.pop(writer, None)
            began, worked = time.monotonic(), time.thread_time()
            try:
                writer.sync()
            except Exception as error:  # whatever it is, the others are to be synced
                self._failed(writer, error)
                # recovery takes long where much is to be recovered: most of the time is for others
                self._later[writer] = time.monotonic() + _PATIENCE * (time.monotonic() - began)
            behind = self._queue and self._queue[0][0] < began
            took = time.thread_time() - worked if behind else time.monotonic() - began
            time.sleep(min(_REST * took, self._interval / 10))

    def _next(self) -> StreamWriter | None:
        """Wait for the next stream that is due; None when there is to be an end."""
        with self._wake:
            while self._thread is threading.current_thread():
                if not self._queue:
                    self._wake.wait()
                    continue
                due, number, writer = self._queue[0]
                now = time.monotonic()
                if due > now:
                    self._wake.wait(due - now)
                    continue
                heapq.heappop(self._queue)
                if writer in self._live:
                    # from now, not from when it was due: a slow disk is not to be chased
                    heapq.heappush(self._queue, (now + self._interval, number, writer))
                    return writer
            return None
