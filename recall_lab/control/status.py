"""Status: how a receiver is doing, as the value that its control socket tells."""

from __future__ import annotations

from typing import Literal

import msgspec

from recall_lab.control.visits import HINTS
from recall_lab.text import counted


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver is doing, at one moment.

    Attributes:
        state: ``running``, ``stopped`` or ``failed``.
        url: where bots on this machine connect; without the token.
        public_url: where bots elsewhere connect, without the token; ``""`` for nowhere.
        auth_required: what whoever connects has to have, in words; ``""`` for nothing.
        trouble: what is wrong with the tunnel now; ``""`` while it holds, or where there is none.
        stays: how long it stays, in words.
        started: when it started, in ns since 1970 UTC.
        connections: sockets open now.
        connected: sockets ever opened.
        recordings: recordings seen since the start.
        streams: streams seen since the start.
        gaps: spans for which there is no audio, in the streams seen since the start, by the
            same rule as :func:`recall_lab.gaps`.
        missing: how long they are together, s.
        packets: audio packets kept since the start.
        packets_per_second: over the last five seconds.
        bytes: bytes of audio kept since the start.
        events: messages that were not audio.
        video: those of them that were pictures.
        rejected: messages refused, by reason and, where one is at fault, field:
            ``"field data.data.buffer"``.
        quarantined: how many of them are kept aside, in ``_quarantine``.
        refused: connections not let in, by reason (see :mod:`recall_lab.receiver.access`).
        visits: sockets that came to nothing, by what they were
            (:mod:`recall_lab.control.visits`): health checks, plain GETs, TLS on a plain port ...
        dropped: audio packets that were received and could not be kept: the disk refused them, or
            a limit did.
        dropped_s: how long their audio is, s.
        unsynced: packets kept that are not yet known to be durable.
        last_error: the last thing that went wrong, in words; "" when nothing did.
    """

    state: Literal["running", "stopped", "failed"]
    url: str
    public_url: str = ""
    auth_required: str = ""
    trouble: str = ""
    stays: str = ""
    started: int = 0
    connections: int = 0
    connected: int = 0
    recordings: int = 0
    streams: int = 0
    gaps: int = 0
    missing: float = 0.0
    packets: int = 0
    packets_per_second: float = 0.0
    bytes: int = 0
    events: int = 0
    video: int = 0
    rejected: dict[str, int] = {}
    quarantined: int = 0
    refused: dict[str, int] = {}
    visits: dict[str, int] = {}
    dropped: int = 0
    dropped_s: float = 0.0
    unsynced: int = 0
    last_error: str = ""

    @property
    def hints(self) -> list[str]:
        """What to do about sockets that came to nothing, where a bot may have been meant."""
        return [
            f"{counted(count, 'socket')} came to nothing: {HINTS[what]}"
            for what, count in self.visits.items()
            if HINTS.get(what)
        ]

    def __repr__(self) -> str:
        told = [
            f"{field.name}={value!r}"
            for field in msgspec.structs.fields(self)
            if (value := getattr(self, field.name)) not in (field.default, {})
        ]
        return f"Status({', '.join(told)})"
