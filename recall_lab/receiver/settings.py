"""What a receiver is told, and what it tells: two frozen values that travel as JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from recall_lab.errors import InvalidArgument

Mode = Literal["process", "thread"]
MODES: Final = ("process", "thread")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}", re.ASCII)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver is to run. Two receivers with equal settings are the same receiver.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        directory: where captures go, absolute.
        mode: in a child process or in a thread.
        linger: seconds a child goes on without a notebook and without a bot.
        sync: seconds between two syncs of a capture to the disk.
    """

    host: str = "127.0.0.1"
    port: int = 3456
    directory: str
    mode: Mode = "process"
    linger: float = 600.0
    sync: float = 1.0

    @classmethod
    def checked(
        cls, *, host: str, port: int, directory: str | Path, mode: str, linger: float, sync: float
    ) -> Settings:
        """Return settings, or raise :class:`InvalidArgument` for the first that can't be."""
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65_535:
            raise InvalidArgument("port", port, "0 (any free port) to 65535")
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise InvalidArgument("host", host, "an address or a host name, such as 127.0.0.1")
        if mode not in MODES:
            raise InvalidArgument("mode", mode, "'process' or 'thread'")
        for name, value in (("linger", linger), ("sync", sync)):
            if not 0 < value < 1e9:
                raise InvalidArgument(name, value, "a positive number of seconds")
        return cls(
            host=host,
            port=port,
            directory=str(Path(directory).expanduser().absolute()),
            mode="process" if mode == "process" else "thread",
            linger=float(linger),
            sync=float(sync),
        )


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver is doing, at one moment.

    Attributes:
        state: ``running``, ``stopped`` or ``failed``.
        url: where bots connect.
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
        rejected: messages refused, by reason.
        unsynced: packets kept that are not yet known to be durable.
        last_error: the last thing that went wrong, in words; "" when nothing did.
    """

    state: Literal["running", "stopped", "failed"]
    url: str
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
    rejected: dict[str, int] = {}
    unsynced: int = 0
    last_error: str = ""

    def __repr__(self) -> str:
        told = [
            f"{field.name}={value!r}"
            for field in msgspec.structs.fields(self)
            if (value := getattr(self, field.name)) not in (field.default, {})
        ]
        return f"Status({', '.join(told)})"
