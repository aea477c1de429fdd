"""Put the times of events on the media clock of their capture."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.epochs import Epochs
from recall_lab.capture.events import payload_of
from recall_lab.capture.frame import nanoseconds

Shifts = npt.NDArray[np.float64]

_AHEAD: Final = 2.0  # s by which an event may be told before its time: clocks of two services


def on_media_clock(events: pd.DataFrame, packets: pd.DataFrame, epochs: Epochs) -> pd.DataFrame:
    """Return events with their times on the media clock; themselves where it is ``relative``.

    An event is of the stretch in which it came; but what would lie in the future there, such as a
    transcript that comes late, is of the one before.
    """
    if not any(one.kind != "stood" for one in epochs.breaks):
        return events
    relative = packets["relative"].to_numpy()
    known = np.isfinite(epochs.media)
    known[epochs.odd] = False
    rows = np.flatnonzero(known)
    shifts = epochs.media[rows] - relative[rows]
    heads = np.flatnonzero(np.diff(shifts, prepend=np.nan) != 0)
    came = nanoseconds(packets["received"])[rows]
    begins, by = came[heads], shifts[heads]
    told = nanoseconds(events["received"])
    stretch = np.maximum(np.searchsorted(begins, told, "right") - 1, 0)
    near = np.maximum(np.searchsorted(came, told, "right") - 1, 0)
    now = epochs.media[rows][near]
    times = events["relative"].to_numpy()
    with np.errstate(invalid="ignore"):
        for _ in range(2):
            early = (times + by[stretch] > now + _AHEAD) & (stretch > 0)
            stretch = np.where(early, stretch - 1, stretch)
    shift = by[stretch]
    details = [_moved(detail, by, at, now[row]) for row, (detail, at) in enumerate(
        zip(events["detail"], stretch.tolist(), strict=True))]  # fmt: skip
    return events.assign(relative=times + shift, detail=details)


def _moved(detail: Any, by: Shifts, stretch: int, now: float) -> Any:
    """Return what is told of words with their times on the media clock."""
    payload = payload_of(detail)
    words = payload.get("words")
    if not isinstance(words, list):
        return detail
    starts = (_time(word.get("start_timestamp")) for word in words if isinstance(word, dict))
    first = next((start for start in starts if start is not None), None)
    while first is not None and stretch and first + by[stretch] > now + _AHEAD:
        stretch -= 1
    shift = float(by[stretch])
    moved = []
    for word in words:
        if isinstance(word, dict):
            word = dict(word)
            for name in ("start_timestamp", "end_timestamp"):
                at = _time(word.get(name))
                if at is not None:
                    word[name] = dict(word[name]) | {"relative": at + shift}
        moved.append(word)
    message = detail["message"]
    data = message["data"] | {"data": payload | {"words": moved}}
    return detail | {"message": message | {"data": data}}


def _time(stamp: Any) -> float | None:
    at = stamp.get("relative") if isinstance(stamp, dict) else None
    return float(at) if isinstance(at, int | float) and not isinstance(at, bool) else None
