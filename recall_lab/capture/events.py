"""Read events from the journal as a frame.

===========  ====================  =========================================================
column       dtype                 meaning
===========  ====================  =========================================================
kind         str                   ``connected``, ``disconnected``, ``event``, ``stalled`` ...
received     datetime64[ns, UTC]   our wall clock
monotonic    int64                 our monotonic clock, ns
connection   Int64                 which connection of the recording; NA where it is of none
receiver     str                   id of the run of the receiver; ``""`` where not told
event        str                   Recall.ai's name of an event, else ``""``
participant  Int64                 whom the event is about; NA for nobody
relative     float64               sender's media clock, s; of a transcript, of its first word;
                                   NaN where the event has none
seconds      float64               how long it took, for what takes time; else NaN
detail       object                the whole line, as a dict
===========  ====================  =========================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd

STALLED: Final = "stalled"
"""Kind of the line by which a receiver notes that it was held up itself."""

DROPPED: Final = "dropped"
"""Kind of the line that tells of packets which were received and could not be kept."""

_EARLIER: Final = {"lost": DROPPED}
"""Kinds as journals of earlier versions have them."""

UNSYNCED: Final = "unsynced"
"""Kind of the line that tells of a sync that failed."""

PARTICIPANT: Final = "participant"
"""Kind of the line by which a receiver notes that audio messages tell something else of somebody
than the first of their stream did, which the ``.json`` has: a name that comes late, a reused id."""

UNREAD: Final = "unread"
"""Kind of the line by which a receiver names the fields of an audio message that were not as
documented, and that the audio does not need."""

CLOCK: Final = "clock"
"""Kind of the line by which a receiver notes that its wall clock was set."""

_COLUMNS: Final = {
    "kind": "str",
    "received": "datetime64[ns, UTC]",
    "monotonic": "int64",
    "connection": "Int64",
    "receiver": "str",
    "event": "str",
    "participant": "Int64",
    "relative": "float64",
    "seconds": "float64",
    "detail": "object",
}
_INT64 = 2**63


def events_of(own: Iterable[bytes], receivers: Iterable[bytes]) -> pd.DataFrame:
    """Return what two journals say, as :func:`read_events` does.

    Args:
        own: lines of the recording's journal.
        receivers: lines of the receiver's own.
    """
    rows = [_row(line) for line in _objects(own)]
    stalls = (line for line in receivers if b"stalled" in line)  # few of very many
    rows += (_row(line) for line in _objects(stalls) if line.get("kind") == STALLED)
    return _frame(sorted(rows, key=itemgetter("received")))


def no_events() -> pd.DataFrame:
    """Return an events frame without events."""
    return _frame([])


def of_kind(events: pd.DataFrame, kind: str, column: str) -> pd.api.extensions.ExtensionArray:
    """Return what the events of one kind have in a column, in their order.

    A hundred microseconds less than a frame of them, which a survey would pay for each capture.

    Example:
        >>> list(of_kind(no_events(), "connected", "receiver"))
        []
    """
    told: pd.api.extensions.ExtensionArray = events[column].array
    return told[np.flatnonzero(events["kind"].array == kind)]


def payload_of(line: object) -> dict[str, Any]:
    """Return the innermost part of an event's journal line, which speaks of the event itself.

    Args:
        line: what the column ``detail`` holds.

    Returns:
        The payload; empty where there is none, or it is no object. Nothing in it was checked.

    Example:
        >>> payload_of({"message": {"data": {"data": {"words": []}}}})
        {'words': []}
    """
    for name in ("message", "data", "data"):
        line = line.get(name) if isinstance(line, dict) else None
    return line if isinstance(line, dict) else {}


def time_of(stamp: object) -> float:
    """Return the relative time of a timestamp object, s; NaN where it has none.

    Example:
        >>> time_of({"relative": 12.5}), time_of({"relative": "soon"}), time_of(None)
        (12.5, nan, nan)
    """
    return _number(stamp.get("relative")) if isinstance(stamp, dict) else math.nan


def integers(values: Iterable[int | None]) -> pd.api.extensions.ExtensionArray:
    """Return whole numbers, some of them unknown, as Int64: to the last digit.

    pandas itself would make floats of them on the way, which hold 53 bits: an id has 63.
    """
    known = list(values)
    mask = np.array([value is None for value in known], bool)
    return pd.arrays.IntegerArray(np.array([value or 0 for value in known], np.int64), mask)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    # column by column: pandas would take two milliseconds for a frame of few lines
    columns: dict[str, Any] = {}
    for name, dtype in _COLUMNS.items():
        values: Any = [row[name] for row in rows]
        if dtype == "Int64":
            columns[name] = integers(values)
            continue
        if name == "received":
            values = np.array(values, np.int64)
        columns[name] = pd.array(values, dtype=pd.api.types.pandas_dtype(dtype))
    return pd.DataFrame(columns, copy=False)


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in lines:
        try:
            yield decode(line)
        except (ValueError, RecursionError):  # torn by a kill, or by hand
            continue


def _row(line: dict[str, Any]) -> dict[str, Any]:
    payload = payload_of(line)
    who = payload.get("participant")
    kind = _text(line.get("kind"))
    return {
        "kind": _EARLIER.get(kind, kind),
        "received": _integer(line.get("received")) or 0,
        "monotonic": _integer(line.get("monotonic")) or 0,
        "connection": _integer(line.get("connection")),
        "receiver": _text(line.get("receiver")),
        "event": _text(line.get("event")),
        "participant": _integer(who.get("id")) if isinstance(who, dict) else None,
        "relative": _relative(payload),
        "seconds": _number(line.get("seconds")),
        "detail": line,
    }


def _relative(payload: dict[str, Any]) -> float:
    """Return when an event was, s: by its own stamp, or by that of its first word."""
    relative = time_of(payload.get("timestamp"))
    words = payload.get("words")
    if math.isnan(relative) and isinstance(words, list):
        starts = (time_of(word.get("start_timestamp")) for word in words if isinstance(word, dict))
        relative = next((start for start in starts if not math.isnan(start)), math.nan)
    return relative


def _text(value: object) -> str:
    """Return a JSON value that should be a text, or none: others may be of any size and depth."""
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    """Return a JSON value as an integer that int64 holds, or None."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and -_INT64 <= value < _INT64 else None  # type: ignore[operator, return-value]


def _number(value: object) -> float:
    """Return a JSON value as a finite number, or NaN."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return math.nan
        return number if np.isfinite(number) else math.nan
    return math.nan
