"""Count packets that were received and dropped, by stream, until the journal tells them."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from recall_lab.capture.events import DROPPED
from recall_lab.capture.info import stem_of
from recall_lab.errors import CaptureError, StorageFailed
from recall_lab.wire.pcm import RATE

Key: TypeAlias = tuple[str, int | None]
"""A stream: its recording, and its participant or None."""

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED: Final = 20_000  # streams


@dataclass
class _Run:
    """Packets of a stream, one after another."""

    error: str
    since: float  # relative, s
    until: float
    packets: int = 0
    samples: int = 0


class Dropped:
    """Counts what could not be kept, and writes it down once writing goes on.

    Args:
        note: writes a line into the journal, of a recording, a kind and fields; tells whether it
            could.

    Attributes:
        packets, samples: since the start.
    """

    def __init__(self, note: Callable[..., bool]) -> None:
        self.packets = self.samples = 0
        self._note = note
        self._pending: dict[Key, _Run] = {}
        self._unmarked: dict[Key, None] = {}

    def add(self, key: Key, relative: float, samples: int, error: CaptureError) -> None:
        """Count a packet of a recording that has files, which are to tell of it."""
        self.count(samples)
        run = self._pending.get(key)
        if run is None:
            run = self._pending[key] = _Run(_cause(error), relative, relative)
            keep_newest(self._pending, _REMEMBERED)
        run.packets += 1
        run.samples += samples
        run.since = min(run.since, relative)
        run.until = max(run.until, relative + samples / RATE)
        self._unmarked[key] = None
        keep_newest(self._unmarked, _REMEMBERED)

    def count(self, samples: int) -> None:
        """Count a packet of which nothing else will be told."""
        self.packets += 1
        self.samples += samples

    def mark(self, key: Key) -> bool:
        """Whether the next packet of a stream is to say that others were dropped; once."""
        return self._unmarked.pop(key, 0) is None

    def tell(self, key: Key) -> None:
        """Write down what there is of a stream; what can't be written is told the next time.

        Of a run that goes on there will be several lines, each of its own part.
        """
        run = self._pending.get(key)
        if run is not None and self._note(
            key[0], DROPPED, stream=stem_of(*key), packets=run.packets,
            seconds=round(run.samples / RATE, 6), since=run.since,
            until=round(run.until, 6), error=run.error,
        ):  # fmt: skip
            del self._pending[key]

    def tell_all(self, recordings: Container[str]) -> None:
        """Write down what there is of these recordings: others have no files, and get none."""
        for key in [key for key in self._pending if key[0] in recordings]:
            self.tell(key)


def _cause(error: CaptureError) -> str:
    """Say in a few words why something could not be kept."""
    if isinstance(error, StorageFailed):
        return str(error.cause.strerror or error.cause)
    return str(error)


def keep_newest(remembered: dict[K, V], most: int) -> None:
    """Forget what was put in the longest ago, once there is more than so much."""
    if len(remembered) > most:
        del remembered[next(iter(remembered))]
