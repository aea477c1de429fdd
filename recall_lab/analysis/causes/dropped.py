"""Find what was received and dropped: from the journal, or from files that lack it now."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from recall_lab.capture.capture import Capture
from recall_lab.capture.events import DROPPED, of_kind
from recall_lab.text import shortened

_GONE: Final = "their audio is not in the file"


class DroppedSpan(NamedTuple):
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


def dropped_spans(capture: Capture) -> list[DroppedSpan]:
    """Return what a capture's journal says of its stream, and what its files have lost since.

    Lines that can't be are passed over.
    """
    damage = capture.damage
    spans, count = damage.missing_spans, damage.missing_payloads
    found = [
        # how many of them were in which span is not known: one for each, all others for the first
        DroppedSpan(start, end, 1 if at else count - len(spans) + 1, _GONE)
        for at, (start, end) in enumerate(spans)
    ]
    for line in filter(_object, of_kind(capture.events, DROPPED, "detail")):
        start, end, packets = line.get("since"), line.get("until"), line.get("packets")
        if line.get("stream") != capture.info.stem or not isinstance(packets, int):
            continue
        if _time(start) and _time(end) and start < end:
            why = shortened(str(line.get("error")), 200)
            found.append(DroppedSpan(float(start), float(end), packets, why))
    return found


def _object(line: object) -> bool:
    return isinstance(line, dict)


def _time(value: object) -> bool:
    return isinstance(value, float | int) and abs(value) < 1e9 and math.isfinite(value)
