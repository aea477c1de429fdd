"""Who was there, and when they spoke, as the meeting itself told it.

What a bot sends beside the audio says who joined, who left and who began or ceased to speak. A
reconnect may bring the same event twice, the network may bring them out of order, and some never
come: they are put in order of the sender's media clock, exact repeats are dropped, and what is
left is paired::

    told        on     on      off          off        on        leave
    interval    [complete     )                        [ended by )
                                                        leave

An interval that lacks an end ends when the participant leaves, else with the audio; one that
lacks a beginning begins when they join, else with the audio. An end after an end says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.capture.events import payload_of
from recall_lab.errors import InvalidArgument
from recall_lab.wire.messages import MAX_RELATIVE, Participant
from recall_lab.wire.pcm import RATE

JOIN: Final = "participant_events.join"
LEAVE: Final = "participant_events.leave"
SPEECH_ON: Final = "participant_events.speech_on"
SPEECH_OFF: Final = "participant_events.speech_off"

_ORDER: Final = {JOIN: 0, SPEECH_ON: 1, SPEECH_OFF: 1, LEAVE: 2}  # of events at the same moment
_VALID: Final = "a Capture, or the streams of one recording, as recall_lab.load_recording gives"


class WithEvents(Protocol):
    """Anything that has the events of a recording, as a :class:`recall_lab.Capture` has."""

    @property
    def events(self) -> pd.DataFrame:
        """The events frame (see :mod:`recall_lab.capture.events`)."""
        ...


Source: TypeAlias = WithEvents | Sequence[WithEvents]
"""A capture, or several of the same recording, which share its journal."""


def participants(capture: Source) -> pd.DataFrame:
    """Return everybody whom events, transcripts or separate streams tell of.

    What was told last of somebody counts, so an update of a name is followed.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.

    Returns:
        One row a participant, by number: ``participant`` (int64), ``name`` (str, ``""`` if
        unknown), ``is_host`` (boolean, NA if unknown), ``platform``, ``email`` (str), ``joined``
        (float64, s on the relative clock: the first time), ``left`` (float64, s: the last time;
        NaN for who came back and stayed), both NaN if unknown, ``events`` (int64, how many tell
        of them, repeats included). Texts are as they were sent: never trust them.

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.

    Example:
        >>> participants(rl.load("captures/9f3c.bin"))["name"].tolist()  # doctest: +SKIP
        ['Alice', 'Bob']
    """
    streams = streams_of(capture)
    known: dict[int, dict[str, Any]] = {}
    for who in filter(None, map(_owner, streams)):
        fields = ("name", "is_host", "platform", "email")
        _learn(known, who.id, {field: getattr(who, field) for field in fields})
    about = _about(events_of(streams))
    columns = (about[name] for name in ("participant", "event", "relative", "detail"))
    for number, event, relative, detail in zip(*columns, strict=True):
        someone = _learn(known, int(number), payload_of(detail).get("participant"))
        someone["events"] += 1
        if not abs(relative) <= MAX_RELATIVE:
            continue
        if event == JOIN:
            someone["joined"] = min(relative, someone.get("joined", np.inf))
            someone["back"] = max(relative, someone.get("back", -np.inf))
        elif event == LEAVE:
            someone["left"] = max(relative, someone.get("left", -np.inf))
    rows = [
        {
            "participant": number,
            "name": "",
            "platform": "",
            "email": "",
            **someone,
            "left": someone.get("left", np.nan) if _gone(someone) else np.nan,
        }
        for number, someone in sorted(known.items())
    ]
    kinds = {
        "participant": "int64", "name": "str", "is_host": "boolean", "platform": "str",
        "email": "str", "joined": "float64", "left": "float64", "events": "int64",
    }  # fmt: skip
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def speakers(capture: Source) -> pd.DataFrame:
    """Return when each participant spoke, as ``speech_on`` and ``speech_off`` events tell it.

    It is the meeting's own view, of its own ear; :func:`recall_lab.speech` tells it of the audio.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.

    Returns:
        One row an interval, by `start`: ``participant`` (int64), ``name`` (str, ``""`` if
        unknown), ``start``, ``end``, ``duration`` (float64, s on the relative clock, half-open),
        ``complete`` (bool: both ends were told).

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.

    Example:
        >>> told = speakers(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
        >>> told.groupby("name")["duration"].sum()  # doctest: +SKIP
    """
    streams = streams_of(capture)
    told = _about(events_of(streams))
    told = told[told["event"].isin(_ORDER) & (told["relative"].abs() <= MAX_RELATIVE)]
    told = told.drop_duplicates(["participant", "event", "relative"])
    told = told.assign(order=told["event"].map(_ORDER))
    told = told.sort_values(["participant", "relative", "order"], kind="stable")
    firsts, last = _heard(streams, told["relative"].max())
    names = names_of(streams)
    rows = []
    for number, some in told.groupby("participant"):
        who = int(str(number))
        first = firsts.get(who, firsts.get(None))
        for start, end, complete in _pair(
            zip(some["event"], some["relative"], strict=True), first, last
        ):
            if end > start:
                rows.append((who, names.get(who, ""), start, end, end - start, complete))
    kinds = {
        "participant": "int64", "name": "str", "start": "float64", "end": "float64",
        "duration": "float64", "complete": "bool",
    }  # fmt: skip
    found = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    return found.sort_values(["start", "participant"], kind="stable", ignore_index=True)


def streams_of(source: Source) -> list[WithEvents]:
    """Return what was given as a list of streams.

    Raises:
        InvalidArgument: where one has no events, or they are of several recordings.
    """
    streams = list(source) if isinstance(source, Sequence) else [source]
    if not streams or not all(
        isinstance(getattr(one, "events", None), pd.DataFrame) for one in streams
    ):
        raise InvalidArgument("capture", source, _VALID)
    recordings = {one.info.recording for one in streams if isinstance(one, Capture)}
    if len(recordings) > 1:
        raise InvalidArgument("capture", sorted(recordings), f"{_VALID}, of one alone")
    return streams


def events_of(streams: Sequence[WithEvents]) -> pd.DataFrame:
    """Return the events of a recording, which all its streams share; of live ones, the newest."""
    return max((one.events for one in streams), key=len)


def names_of(streams: Sequence[WithEvents]) -> dict[int | None, str]:
    """Return the name of each participant that has one."""
    known = participants(streams)
    return {
        who: name for who, name in zip(known["participant"], known["name"], strict=True) if name
    }


def text_of(value: object) -> str:
    """Return a JSON value that should be a text as one that can be written; ``""`` for others."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _about(events: pd.DataFrame) -> pd.DataFrame:
    """Return the events that are about somebody."""
    return events[(events["event"] != "") & events["participant"].notna()]


def _owner(stream: WithEvents) -> Participant | None:
    return stream.info.participant if isinstance(stream, Capture) else None


def _learn(known: dict[int, dict[str, Any]], number: int, told: object) -> dict[str, Any]:
    """Take over what is told of somebody, where it is of the right type."""
    someone = known.setdefault(number, {"events": 0})
    if isinstance(told, dict):
        for field in ("name", "platform", "email"):
            if text := text_of(told.get(field)):
                someone[field] = text
        if isinstance(told.get("is_host"), bool):
            someone["is_host"] = told["is_host"]
    return someone


def _gone(someone: dict[str, Any]) -> bool:
    return bool(someone.get("left", -np.inf) >= someone.get("back", -np.inf))


def _heard(streams: Sequence[WithEvents], told: float) -> tuple[dict[int | None, float], float]:
    """Return when each participant's audio began, that of all under None, and when it ended.

    Args:
        streams: those with audio count.
        told: when the last event was, s: the end where there is no audio at all.
    """
    firsts: dict[int | None, float] = {}
    last = -np.inf
    for stream in streams:
        if not isinstance(stream, Capture) or not len(stream.audio):
            continue
        packets = stream.packets
        relative = packets["relative"].to_numpy()
        known = np.abs(relative) <= MAX_RELATIVE  # a stamp gone wrong is no end of a call
        low, high = 0.0, stream.duration
        if len(packets):
            ends = relative + packets["samples"].to_numpy() / RATE
            low, high = relative[known].min(initial=np.inf), ends[known].max(initial=-np.inf)
        who = _owner(stream)
        for key in {None, None if who is None else who.id}:
            firsts[key] = min(float(low), firsts.get(key, np.inf))
        last = max(last, float(high))
    return firsts, last if np.isfinite(last) else told


def _pair(
    told: Iterable[tuple[str, float]], first: float | None, last: float
) -> Iterator[tuple[float, float, bool]]:
    """Yield beginning, end, and whether both were told, of what one participant's events say.

    Args:
        told: event and time, in order.
        first, last: when their audio began and when all ended, s.
    """
    begin: float | None = None
    since = first  # an end without a beginning: they may have spoken from here on
    for event, time in told:
        if event == JOIN:
            since = time
        elif event == SPEECH_ON:
            begin = time if begin is None else begin
        else:
            if begin is not None:
                yield begin, time, event == SPEECH_OFF
            elif event == SPEECH_OFF and since is not None:
                yield since, time, False
            begin = since = None
    if begin is not None:
        yield begin, last, False
