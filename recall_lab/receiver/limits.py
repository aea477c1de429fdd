"""How much a receiver takes from those who connect: space, streams, sockets.

What is near a limit is refused by name and counted; what is already being received goes on.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from recall_lab.errors import InvalidArgument, LimitReached
from recall_lab.text import sized

_DAY: Final = 86_400
_DESCRIPTORS: Final = 65_536
"""Descriptors asked for: two a stream, one a socket."""

_FEWER: Final = 10_240  # what macOS allows
_OURS: Final = 128  # of them, for what is neither
_NEW: Final = 16_384  # bytes that a new stream takes on the disk before it has any audio

K = TypeVar("K")
V = TypeVar("V")

MIB: Final = 1 << 20
GIB: Final = 1 << 30


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver takes at most. Whoever may connect can fill a disk; these bound it.

    Attributes:
        reserve: bytes of the disk that are kept for recordings under way: when fewer are free,
            no new one is begun. 256 MiB are two hours of one stream.
        recording: bytes kept of one recording, all its streams and its journal together.
        day: bytes kept in one day (UTC) by one run of the receiver.
        streams: streams and recordings begun in one day by one run.
        connections: sockets open at once.
        per_address: sockets open at once from one address. Behind a tunnel or a proxy all
            have one and the same.

    Example:
        >>> Limits(recording=4 * 2**30).day == 256 * 2**30
        True
    """

    reserve: int = 256 * MIB
    recording: int = 32 * GIB
    day: int = 256 * GIB
    streams: int = 100_000
    connections: int = 2_048
    per_address: int = 1_024

    def checked(self) -> Limits:
        """Return itself; raises InvalidArgument for the first that can't be."""
        for name in self.__struct_fields__:
            value, least = getattr(self, name), 0 if name == "reserve" else 1
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
                valid = f"a whole number from {least} to 2**63 - 1, as 20 * 2**30"
                raise InvalidArgument(f"limits.{name}", value, valid)
        return self


class Budget:
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


class Door:
    """Counts sockets from before their handshake on, in all and by address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = sockets_at_once(limits)
        self._inside: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> str:
        """Count a socket and return ``""``, or why it may not stay: then it is not counted."""
        if self._all >= self._most:
            return "connections"
        if self._inside[address] >= self._limits.per_address:
            return "address"
        self._inside[address] += 1
        self._all += 1
        return ""

    def leave(self, address: str) -> None:
        """Count a socket no more."""
        self._all -= 1
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]


def keep_newest(remembered: dict[K, V], most: int) -> None:
    """Forget what was put in the longest ago, once there is more than so much."""
    if len(remembered) > most:
        del remembered[next(iter(remembered))]


def raise_descriptors() -> int:
    """Raise the soft limit of descriptors as far as may be needed; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _DESCRIPTORS
    for wanted in (_DESCRIPTORS, _FEWER):  # the system may have a limit of its own
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft >= wanted:
            break
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def sockets_at_once(limits: Limits) -> int:
    """Return how many sockets may be open: each brings streams, of two descriptors each."""
    return min(limits.connections, raise_descriptors() // 4)


def streams_at_once(limits: Limits) -> int:
    """Return how many streams may be open beside the sockets."""
    return max(16, (raise_descriptors() - sockets_at_once(limits) - _OURS) // 2)
