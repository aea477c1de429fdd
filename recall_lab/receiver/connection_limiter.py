"""Limit how many sockets and streams a receiver holds open at once."""

from __future__ import annotations

import contextlib
import resource
from collections import Counter
from typing import Final

from recall_lab.control.limits import Limits

_DESCRIPTORS: Final = 65_536
"""Descriptors asked for: two a stream, one a socket."""

_FEWER: Final = 10_240  # what macOS allows
_OURS: Final = 128  # of them, for what is neither


class ConnectionLimiter:
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
