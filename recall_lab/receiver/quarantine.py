"""Keep refused messages aside as they came, so that they can be sent again.

One tape (:mod:`recall_lab.wire.tape`) for each run of a receiver, in ``_quarantine`` of its
folder; all of them together are bounded, and so is what a minute may bring. What is no message of
Recall.ai's at all may take a quarter: a flood of it leaves room for a call's audio.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Final

from recall_lab.control.limits import Limits
from recall_lab.errors import LimitReached
from recall_lab.receiver.quota import Quota
from recall_lab.store.files import open_own
from recall_lab.store.journal import Throttle
from recall_lab.wire.tape import Entry, pack_entry

FOLDER: Final = "_quarantine"
_JUNK: Final = frozenset({"json", "utf8", "binary"})  # reasons


class Quarantine:
    """Keeps refused messages of one run of a receiver.

    Args:
        directory: where captures go.
        receiver: id of this run.
        limits: what is kept of all tapes there together.
        budget: says whether the disk has room beside recordings.

    Attributes:
        kept: messages, of this run.
    """

    def __init__(
        self, directory: Path, receiver: str, limits: Limits, budget: Quota | None = None
    ) -> None:
        self.path = directory / FOLDER / f"{receiver}.tape"
        self.kept = 0
        self._most = limits.quarantine
        self._budget = budget
        self._size = self._junk = 0
        self._known = False  # how much there is already
        self._throttle = Throttle(burst=2_000, rate=100.0)

    def keep(self, peer: str, reason: str, problem: str, message: bytes | bytearray) -> bool:
        """Keep a message; tell whether there was room for it.

        Raises:
            OSError: when the disk refuses.
        """
        junk = reason in _JUNK
        if len(message) > self._room(junk=junk):
            return False
        told: dict[str, Any] = {
            "peer": peer,
            "reason": reason,
            "problem": problem,
            "received": time.time_ns(),
        }
        try:
            if self._budget is not None:
                self._budget.check_room()
        except LimitReached:
            return False
        data = pack_entry(Entry(message=bytes(message), binary=reason == "binary", **told))
        if len(data) > self._room(junk=junk):
            return False
        if self._throttle.admit((peer.rpartition(":")[0], junk), time.monotonic()) is None:
            return False
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = open_own(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            end = os.fstat(descriptor).st_size
            if os.write(descriptor, data) < len(data):  # half an entry would spoil the next one
                os.ftruncate(descriptor, end)
                return False
        finally:
            os.close(descriptor)
        self._size += len(data)
        self._junk += len(data) * junk
        self.kept += 1
        return True

    def _room(self, *, junk: bool) -> int:
        """Return the bytes that there is room for."""
        if not self._known:
            self._known = True
            with contextlib.suppress(OSError):
                self._size = sum(one.stat().st_size for one in os.scandir(self.path.parent))
        room = self._most - self._size
        return min(room, self._most // 4 - self._junk) if junk else room
