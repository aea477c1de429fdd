"""Read sockets in a thread while the loop is held up, so that packets keep their arrival time.

Audio is written by the loop itself: that takes microseconds, and a packet is kept before the next
is looked at. When the disk stalls, the loop stands still within such a write. Then this thread
takes what comes in from the sockets, notes when it came, and holds it, up to a bound; beyond that
it stays in the system's own buffers, and senders have to wait. Once the loop goes on it takes
what was held first, in order. Nothing is dropped, and nothing is read by both: the loop touches
no socket before it has left, and it leaves under the lock under which this thread reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

HELD: Final = 32 << 20
"""Bytes that are held at most, of all connections together."""

HELD_OF_ONE: Final = 4 << 20
"""And of one: more than a minute of a stream, five seconds of twenty."""

_LATE: Final = 0.03  # seconds in one callback after which the loop counts as held up
_LOOK: Final = 0.02  # seconds between two looks
_READ: Final = 256 * 1024
_OVERHEAD: Final = 256  # bytes that an entry takes besides its data


class Source(Protocol):
    """What is read from: an open connection."""

    def feed(self, data: bytearray, received: int, monotonic: int) -> None:
        """Take bytes that were read earlier, with our clocks at that time, in ns.

        What comes of them need not be kept before all have been fed.
        """

    def failed(self, error: Exception) -> None:
        """Give up: what it was fed, it could not take."""


class StallReader:
    """Reads for a loop that is held up. One for each server.

    The loop's callbacks that may touch the disk run within it: ``with stall_reader: ...``

    Args:
        settle: keeps what sources were fed; called once for all that was held.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._since = 0  # when the loop came into its callback, monotonic ns; 0: it is in none
        self._lock = threading.Lock()
        self._sources: dict[int, Source] = {}
        self._held: deque[tuple[int, Source, bytearray, int, int]] = deque()
        self._sizes: Counter[int] = Counter()  # of what is held, by descriptor
        self._size = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall reader", daemon=True)

    def start(self) -> None:
        """Begin to watch the loop."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, descriptor: int, source: Source) -> None:
        """Read from this connection, too, when it comes to that."""
        self._sources[descriptor] = source

    def remove(self, descriptor: int) -> None:
        """Read from it no more: called before the descriptor is closed."""
        with self._lock:
            self._sources.pop(descriptor, None)

    def __enter__(self) -> None:
        self._since = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if not self._held:
                self._since = 0
                return
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the loop what was read for it.

        It may well be held up again by that, and relieved again; but once only, for on a disk
        that is slow for long there would be no end to it.
        """
        for last in (False, True):
            with self._lock:
                held, self._held = self._held, deque()
                self._size = 0
                self._sizes.clear()
                self._since = 0 if last or not held else time.monotonic_ns()
            for descriptor, source, data, received, monotonic in held:
                if self._sources.get(descriptor) is not source:
                    continue
                try:
                    source.feed(data, received, monotonic)
                except Exception as error:  # what is held of others is to be taken all the same
                    source.failed(error)
            self._settle()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            if self._held_up():
                with contextlib.suppress(MemoryError):  # then what comes stays in the sockets
                    self._stand_in()

    def _held_up(self) -> bool:
        since = self._since
        return bool(since) and time.monotonic_ns() - since > _LATE * 1e9

    def _stand_in(self) -> None:
        """Read from all sockets until the loop goes on."""
        poll = select.poll()
        for descriptor in list(self._sources):
            poll.register(descriptor, select.POLLIN)
        while not self._over.is_set():
            ready = poll.poll(_LOOK * 1000)
            with self._lock:
                if not self._held_up() or self._size >= HELD:
                    return
                for descriptor, _ in ready:
                    if self._size >= HELD:
                        return
                    source = self._sources.get(descriptor)
                    if source is None or not self._read(descriptor, source):
                        poll.unregister(descriptor)

    def _read(self, descriptor: int, source: Source) -> bool:
        """Read what has come in; False when there is nothing more to be had from it now."""
        if self._sizes[descriptor] >= HELD_OF_ONE:
            return False
        with contextlib.suppress(OSError):  # the loop will meet it too
            (waiting,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
            data = bytearray(min(waiting, _READ))  # before it is read: there may be no memory
            count = os.readv(descriptor, [data]) if data else 0
            if count:
                del data[count:]
                self._held.append((descriptor, source, data, time.time_ns(), time.monotonic_ns()))
                self._size += count + _OVERHEAD
                self._sizes[descriptor] += count + _OVERHEAD
                return True
        return False
