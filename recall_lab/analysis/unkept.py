"""What was received and could not be kept, as the journal tells it."""

from __future__ import annotations

import math
from typing import NamedTuple

from recall_lab.capture.capture import Capture
from recall_lab.capture.events import LOST, of_kind
from recall_lab.text import shortened


class Unkept(NamedTuple):
    """Packets, one after another, that the disk or a limit has cost.

    Attributes:
        start, end: s on the relative clock, half-open.
        packets: how many.
        why: in words.
    """

    start: float
    end: float
    packets: int
    why: str


def unkept(capture: Capture) -> list[Unkept]:
    """Return what a capture's journal says of its stream; lines that can't be are passed over."""
    found = []
    for line in of_kind(capture.events, LOST, "detail"):
        start, end, packets = line.get("since"), line.get("until"), line.get("packets")
        if line.get("stream") != capture.info.stem or not isinstance(packets, int):
            continue
        if _time(start) and _time(end) and start < end:
            why = shortened(str(line.get("error")), 200)
            found.append(Unkept(float(start), float(end), packets, why))
    return found


def _time(value: object) -> bool:
    return isinstance(value, float | int) and abs(value) < 1e9 and math.isfinite(value)
