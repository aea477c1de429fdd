"""Count what one run of a receiver has kept against its limits."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

from recall_lab.control.limits import Limits
from recall_lab.errors import LimitReached
from recall_lab.text import sized

_DAY: Final = 86_400
_NEW: Final = 16_384  # bytes that a new stream takes on the disk before it has any audio


class Quota:
    """Counts what has been kept, and says when it is enough.

    Args:
        limits: what is enough.
        directory: on the disk that is written to.
    """

    def __init__(self, limits: Limits, directory: Path) -> None:
        self._limits = limits
        self._directory = directory
        self._today = int(time.time()) // _DAY
        self._day = self._begun = 0
        self._recordings: Counter[str] = Counter()

    def spend(self, recording: str | None, size: int) -> None:
        """Count bytes that were written."""
        self._day += size
        if recording is not None:
            self._recordings[recording] += size

    def check(self, recording: str) -> None:
        """Raise LimitReached when no more is to be kept of a recording."""
        if self._day >= self._limits.day:
            why = f"{sized(self._limits.day)} have been kept today, until 00:00 UTC no more are"
            raise LimitReached("quota", why, "day")
        if self._recordings[recording] >= self._limits.recording:
            why = f"{sized(self._limits.recording)} of recording {recording!r} have been kept"
            raise LimitReached("quota", why, "recording")

    def found(self, recording: str, size: int) -> None:
        """Count what earlier runs have kept of a recording; it is none of today's."""
        self._recordings.setdefault(recording, size)

    def check_room(self) -> None:
        """Raise LimitReached when the disk has no room for a new recording.

        Raises OSError when the disk can't be asked.
        """
        disk = os.statvfs(self._directory)
        free = disk.f_bavail * disk.f_frsize
        if free < self._limits.reserve:
            raise LimitReached(
                "reserve",
                f"{sized(free)} are free on the disk of {str(self._directory)!r}, and "
                f"{sized(self._limits.reserve)} are kept for recordings under way (make room)",
                "reserve",
            )

    def check_begin(self, recording: str) -> None:
        """Raise LimitReached when no more streams are to be begun today."""
        self.check(recording)
        if self._begun >= self._limits.streams:
            raise LimitReached("streams", f"{self._begun:,} streams were begun today", "streams")

    def begun(self, recording: str) -> None:
        """Count a new stream or recording."""
        self._begun += 1
        self.spend(recording, _NEW)

    def tick(self) -> None:
        """Begin a new day when there is one."""
        today = int(time.time()) // _DAY
        if today != self._today:  # a clock that is set may begin one too: then more is kept
            self._today, self._day, self._begun = today, 0, 0
