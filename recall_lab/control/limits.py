"""Limits: how much a receiver takes from those who connect.

What is near a limit is refused by name and counted; what is already being received goes on.
"""

from __future__ import annotations

from typing import Final

import msgspec

from recall_lab.arguments import whole

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
        quarantine: bytes of refused messages that are kept aside as they came; 0 for none.

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
    quarantine: int = 64 * MIB

    def checked(self) -> Limits:
        """Return itself; raises InvalidArgument for the first that can't be."""
        for name in self.__struct_fields__:
            value, least = getattr(self, name), 0 if name in ("reserve", "quarantine") else 1
            whole(f"limits.{name}", value, least, 2**63 - 1, "a whole number such as 20 * 2**30")
        return self
