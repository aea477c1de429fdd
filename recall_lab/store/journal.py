"""The journal: connections, events that are not audio, and everything refused or odd.

One JSON object a line in ``{recording}.events.jsonl``; what belongs to no recording goes to
``_receiver.events.jsonl`` beside it, a name that no recording can have. Every line has ``kind``
and both times of ours; ``pandas.read_json(path, lines=True)`` reads it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pandas as pd

from recall_lab.capture.events import events_of
from recall_lab.capture.info import parse_stem
from recall_lab.store.files import open_own, open_plain

SUFFIX: Final = ".events.jsonl"
RECEIVER_STEM: Final = "_receiver"
EARLIER_STEM: Final = "_receiver.1"
"""What the receiver's own journal is called once it is turned over; the one before goes."""

TURNED_OVER: Final = 16 << 20
"""Bytes of the receiver's own journal at which it is turned over: strangers fill it."""

RECEIVERS: Final = (f"{EARLIER_STEM}{SUFFIX}", f"{RECEIVER_STEM}{SUFFIX}")
"""Files of the receiver's own journal, the older one first."""


class Journal:
    """Appends lines to the journals of one folder.

    A file is opened for each line and closed after it: lines are rare, descriptors are not free.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._encode = msgspec.json.Encoder().encode

    def write(self, recording: str | None, kind: str, **fields: Any) -> int:
        """Append one line, in one write; return its length in bytes.

        Args:
            recording: whose journal; None for the receiver's own. Must be a valid id.
            kind: what happened.
            **fields: JSON values, or :class:`msgspec.Raw` for JSON as it came.

        Raises:
            OSError: when the disk refuses.
        """
        line = {"kind": kind, "received": time.time_ns(), "monotonic": time.monotonic_ns()}
        # JSON as it came may have been laid out over several lines: between values all the same
        data = self._encode(line | fields).replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
        path = self.directory / f"{recording or RECEIVER_STEM}{SUFFIX}"
        descriptor = open_own(path, os.O_WRONLY | os.O_APPEND)
        try:
            end = os.fstat(descriptor).st_size
            if recording is None and end >= TURNED_OVER:
                path.replace(self.directory / f"{EARLIER_STEM}{SUFFIX}")
                os.close(descriptor)
                descriptor = open_own(path, os.O_WRONLY | os.O_APPEND)
                end = 0
            if os.write(descriptor, data) < len(data):
                os.ftruncate(descriptor, end)  # half a line would spoil the next one too
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(descriptor)
        return len(data)


class Throttle:
    """Lets `burst` lines through a key and `rate` more a second; counts what it holds back.

    The clock is passed in with each call, so that tests need not wait.
    """

    def __init__(self, burst: int, rate: float, keys: int = 1_024) -> None:
        self.burst = burst
        self.rate = rate
        self.keys = keys
        self._buckets: dict[object, tuple[float, float, int]] = {}

    def admit(self, key: object, now: float) -> int | None:
        """Return None to hold the line back, else how many were held back since the last one.

        Args:
            key: what is counted together.
            now: seconds on any clock that does not run backward.
        """
        tokens, last, held = self._buckets.pop(key, (float(self.burst), now, 0))
        tokens = min(float(self.burst), tokens + (now - last) * self.rate)
        admitted = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0, now, 0) if admitted else (tokens, now, held + 1)
        if len(self._buckets) > self.keys:  # whoever was quiet the longest is forgotten
            del self._buckets[next(iter(self._buckets))]
        return held if admitted else None


class StrangersThrottle:
    """Lets through lines of what strangers do: so many of an address, and so many in all.

    An address alone is no bound: whoever has a network of them has as many as there are.
    """

    def __init__(self) -> None:
        self._each = Throttle(burst=20, rate=1.0)
        self._all = Throttle(burst=200, rate=2.0)

    def admit(self, peer: str, reason: str, now: float) -> int | None:
        """As :meth:`Throttle.admit`, of a peer's ``address:port`` and what it did."""
        held = self._each.admit((peer.rpartition(":")[0], reason), now)
        return held if held is not None and self._all.admit(reason, now) is not None else None


def read_events(audio_path: Path) -> pd.DataFrame:
    """Return what the journals beside a ``.bin`` say of its recording; never raises for damage.

    Lines that can't be read are passed over. Of the receiver's own journal only the stalls are
    taken: they befall every recording.
    """
    parsed = parse_stem(audio_path.stem)
    own = _lines(audio_path.with_name(f"{parsed[0]}{SUFFIX}")) if parsed else ()
    receivers = (_lines(audio_path.with_name(name)) for name in RECEIVERS)
    return events_of(own, itertools.chain.from_iterable(receivers))


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, as far as they can be read."""
    with contextlib.suppress(OSError), open(open_plain(path), "rb") as file:
        yield from file
