"""What was received and could not be kept, until it can be told: stream by stream."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from recall_lab.capture.events import LOST
from recall_lab.capture.info import stem_of
from recall_lab.errors import CaptureError, StorageFailed
from recall_lab.wire.pcm import RATE

Key: TypeAlias = tuple[str, int | None]
"""A stream: its recording, and its participant or None."""

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED: Final = 20_000  # streams


@dataclass
class _Loss:
    """Packets of a stream, one after another."""

    error: str
    since: float  # relative, s
    until: float
    packets: int = 0
    samples: int = 0


class Losses:
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
        self._pending: dict[Key, _Loss] = {}
        self._unmarked: dict[Key, None] = {}

    def add(self, key: Key, relative: float, samples: int, error: CaptureError) -> None:
        """Count a packet of a recording that has files, which are to tell of it."""
        self.count(samples)
        loss = self._pending.get(key)
        if loss is None:
            loss = self._pending[key] = _Loss(_cause(error), relative, relative)
            keep_newest(self._pending, _REMEMBERED)
        loss.packets += 1
        loss.samples += samples
        loss.since = min(loss.since, relative)
        loss.until = max(loss.until, relative + samples / RATE)
        self._unmarked[key] = None
        keep_newest(self._unmarked, _REMEMBERED)

    def count(self, samples: int) -> None:
        """Count a packet of which nothing else will be told."""
        self.packets += 1
        self.samples += samples

    def mark(self, key: Key) -> bool:
        """Whether the next packet of a stream is to say that others were lost; once."""
        return self._unmarked.pop(key, 0) is None

    def tell(self, key: Key) -> None:
        """Write down what there is of a stream; what can't be written is told the next time.

        Of a loss that goes on there will be several lines, each of its own part.
        """
        loss = self._pending.get(key)
        if loss is not None and self._note(
            key[0], LOST, stream=stem_of(*key), packets=loss.packets,
            seconds=round(loss.samples / RATE, 6), since=loss.since,
            until=round(loss.until, 6), error=loss.error,
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
