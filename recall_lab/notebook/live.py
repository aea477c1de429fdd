"""Gather what a receiver's streams are doing, from their files, about once a second.

Each look costs what is new: packets are followed, counted and measured as they come. Only the
causes of gaps need the whole frame; they are told a few streams at a time, so that a hundred
streams cost no more than a set share of a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.control.status import Status
from recall_lab.notebook.followed import Followed, Stream
from recall_lab.store.follower import Follower

_TELLING: Final = 0.005  # s that telling causes may take of each second


class Receiving(Protocol):
    """What is needed of a receiver: it is known by what it says of itself, and by its files."""

    @property
    def url(self) -> str:
        """Where bots connect."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    @property
    def status(self) -> Status:
        """How it is."""

    def recordings(self) -> pd.DataFrame:
        """One row a stream: recording, participant, name and path among them."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A receiver at one moment.

    Attributes:
        at: when, in ns since 1970 UTC.
        url: where bots connect.
        health: what it says of itself.
        streams: in the order in which they began.
    """

    at: int
    url: str
    health: Status
    streams: list[Stream]


class Live:
    """Looks at a receiver again and again.

    Args:
        receiver: a :class:`recall_lab.Receiver`.
    """

    def __init__(self, receiver: Receiving) -> None:
        self._receiver = receiver
        self._followed: dict[str, Followed] = {}
        self._known = -1  # streams that the receiver spoke of when they were looked for
        self._spare = _TELLING  # s that may be spent on telling causes; may be owed
        self._looked = time.monotonic()

    def look(self) -> Look:
        """Return how things are now."""
        now = time.monotonic()
        health = self._receiver.status
        if health.streams != self._known or health.state != "running":
            self._find()
            self._known = health.streams
        for followed in self._followed.values():
            followed.look(now)
        self._tell(now)
        return Look(
            at=time.time_ns(),
            url=self._receiver.url,
            health=health,
            streams=[followed.stream() for followed in self._followed.values()],
        )

    def last(self, stream: Stream, seconds: float) -> Capture:
        """Return the packets of the last seconds of a stream."""
        for followed in self._followed.values():
            if (followed.recording, followed.participant) == (stream.recording, stream.participant):
                return followed.follower.last(seconds)
        raise KeyError(stream)

    def tell_all(self) -> None:
        """Tell of every stream all that is wrong, whatever it costs: for the last picture."""
        for followed in self._followed.values():
            followed.tell(time.monotonic(), last=True)

    def _find(self) -> None:
        for row in self._receiver.recordings().to_dict("records"):
            if row["path"] not in self._followed:
                whose, name = row["participant"], row["name"]
                self._followed[row["path"]] = Followed(
                    Follower(Path(row["path"])),
                    row["recording"],
                    None if pd.isna(whose) else int(whose),
                    name if isinstance(name, str) else None,
                )

    def _tell(self, now: float) -> None:
        """Tell what is wrong with those that wait longest, as many as there is time for."""
        self._spare = min(self._spare + (now - self._looked) * _TELLING, 1.0)
        self._looked = now
        waiting = [x for x in self._followed.values() if x.due]
        for followed in sorted(waiting, key=lambda x: x.told_at):
            if self._spare <= 0:
                break
            begin = time.thread_time()
            followed.tell(now)
            self._spare -= time.thread_time() - begin
