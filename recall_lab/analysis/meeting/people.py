"""Tables of who was there and when they spoke, by the events of the meeting.

What a bot sends beside the audio says who joined, who left and who began or ceased to speak. A
reconnect may bring the same event twice, the network may bring them out of order, and some never
come: they are put in order of the sender's media clock, exact repeats are dropped, and what is
left is paired::

    told        on     on      off          off        on        leave
    interval    [ lost )[complete)                     [ended by )
                an off                                  leave

An interval that lacks an end ends when the participant speaks anew or leaves, or when another has
their id, else with the audio; one that lacks a beginning begins when they join, else with the
audio. An end after an end says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd

from recall_lab.analysis.meeting.roster import (
    FIELDS,
    JOIN,
    LEAVE,
    SPEECH_OFF,
    SPEECH_ON,
    Roster,
    Stay,
    moments,
    roster_of,
    usable,
)
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.wire.messages import MAX_RELATIVE
from recall_lab.wire.pcm import RATE

_SPEECH: Final = (SPEECH_ON, SPEECH_OFF)
_PAIRED: Final = (JOIN, LEAVE, *_SPEECH)
_FINAL: Final = "transcript.data"
_VALID: Final = "a Capture, or the streams of one recording, as recall_lab.load_recording gives"


class WithEvents(Protocol):
    """Anything that has the events of a recording, as a :class:`recall_lab.Capture` has."""

    @property
    def events(self) -> pd.DataFrame:
        """The events frame (see :mod:`recall_lab.capture.events`)."""
        ...


Source: TypeAlias = WithEvents | Sequence[WithEvents]
"""A capture, or several of the same recording, which share its journal."""


def participants(capture: Source, *, by: Literal["person", "interval"] = "person") -> pd.DataFrame:
    """Return everybody whom events, transcripts or audio messages tell of.

    All is told by the media clock, whatever the order of arrival. An id that is used again after
    its owner left is another person's where name or e-mail address say so.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.
        by: ``"person"``, with what was told last of each; or ``"interval"`` for a row each time
            that they were there, and one more wherever their name or role became another.

    Returns:
        One row a person, by number and time: ``participant`` (int64; a reused id has several
        rows), ``name`` (str, ``""`` if unknown), ``is_host`` (boolean, NA if unknown),
        ``platform``, ``email`` (str), ``joined`` (float64, s on the relative clock: the first
        time), ``left`` (float64, s: the last time; NaN for who came back and stayed), both NaN if
        unknown, ``events`` (int64, how many tell of them, repeats included), ``note`` (str: what
        contradicts that, such as speech after they left; else ``""``).

        By interval, in place of the last four: ``start``, ``end`` (float64, s, half-open; NaN if
        unknown; where a leave was lost, the next join is the end).

        Texts are as they were sent: never trust them.

    Raises:
        InvalidArgument: for what has no events, streams of several recordings, or another `by`.

    Example:
        >>> participants(rl.load("captures/9f3c.bin"))["name"].tolist()  # doctest: +SKIP
        ['Alice', 'Bob']
    """
    if by not in ("person", "interval"):
        raise InvalidArgument("by", by, "'person' or 'interval'")
    _, events, roster = told_of(capture)
    kinds = {
        "participant": "int64", "name": "str", "is_host": "boolean", "platform": "str",
        "email": "str",
    }  # fmt: skip
    rows: list[tuple[Any, ...]]
    if by == "interval":
        kinds |= {"start": "float64", "end": "float64"}
        rows = [
            (who, *told, start, end)
            for who, stays in sorted(roster.stays.items())
            for told, start, end in _intervals(stays)
        ]
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    kinds |= {"joined": "float64", "left": "float64", "events": "int64", "note": "str"}
    notes = _contradictions(roster, events)
    rows = []
    for who, person, stays in roster.people():
        joined = min((one.start for one in stays if not math.isnan(one.start)), default=math.nan)
        told = _told(stays[-1], math.nan)
        count = roster.told.get((who, person), 0)
        note = "; ".join(notes.get((who, person), []))
        rows.append((who, *told, joined, stays[-1].end, count, note))
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def speakers(capture: Source) -> pd.DataFrame:
    """Return when each participant spoke, as ``speech_on`` and ``speech_off`` events tell it.

    It is the meeting's own view, of its own ear; :func:`recall_lab.speech` tells it of the audio.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.

    Returns:
        One row an interval, by `start`: ``participant`` (int64), ``name`` (str, that of the
        moment; ``""`` if unknown), ``start``, ``end``, ``duration`` (float64, s on the relative
        clock, half-open), ``complete`` (bool: both ends were told), ``note`` (str: which end was
        not told, and what contradicts it; else ``""``).

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.

    Example:
        >>> told = speakers(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
        >>> told.groupby("name")["duration"].sum()  # doctest: +SKIP
    """
    return turns_of(*told_of(capture))


def turns_of(streams: Sequence[WithEvents], events: pd.DataFrame, roster: Roster) -> pd.DataFrame:
    """Return what :func:`speakers` does, of a roster that is there already."""
    told: dict[int, dict[float, set[str]]] = {}
    some = events[events["event"].isin(_PAIRED) & events["participant"].notna()]
    columns = (some[name].tolist() for name in ("participant", "event", "relative"))
    last_told = math.nan
    for number, event, relative in zip(*columns, strict=True):
        if not math.isnan(time := usable(relative)):
            told.setdefault(int(number), {}).setdefault(time, set()).add(event)
            last_told = time if math.isnan(last_told) else max(last_told, time)
    firsts, last = _heard(streams, last_told)
    rows = []
    for who, own in told.items():
        first = firsts.get(who, firsts.get(None))
        for turn in _pair(own, roster.stays[who], first, last):
            if turn.end > turn.start:
                name, length = roster.name(who, turn.start), turn.end - turn.start
                rows.append((who, name, turn.start, turn.end, length, turn.complete, turn.note))
    kinds = {
        "participant": "int64", "name": "str", "start": "float64", "end": "float64",
        "duration": "float64", "complete": "bool", "note": "str",
    }  # fmt: skip
    found = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    return found.sort_values(["start", "participant"], kind="stable", ignore_index=True)


def names_of(streams: Source) -> dict[int | None, str]:
    """Return what each participant was called, by id: of an id that was reused, all its names."""
    found: dict[int | None, list[str]] = {}
    told = participants(streams)
    for who, name in zip(told["participant"].tolist(), told["name"].tolist(), strict=True):
        if name and name not in found.setdefault(who, []):
            found[who].append(name)
    return {who: " / ".join(names) for who, names in found.items() if names}


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


def told_of(source: Source) -> tuple[list[WithEvents], pd.DataFrame, Roster]:
    """Return the streams of what was given, their events, and who had which id when.

    Raises:
        InvalidArgument: as for :func:`streams_of`.
    """
    streams = streams_of(source)
    events = events_of(streams)
    return streams, events, roster_of(streams, events)


def events_of(streams: Sequence[WithEvents]) -> pd.DataFrame:
    """Return the events of a recording, which all its streams share; of live ones, the newest."""
    return max((one.events for one in streams), key=len)


def _told(stay: Stay, time: float) -> tuple[str, bool | None, str, str]:
    """Return name, role, platform and address at a moment, as a row has them."""
    name, host, platform, email = (stay.at(what, time) for what in FIELDS)
    return name or "", host, platform or "", email or ""


def _intervals(stays: list[Stay]) -> Iterator[tuple[tuple[Any, ...], float, float]]:
    """Yield what was the case of an id, from when and until when, in order of time."""
    last: tuple[tuple[Any, ...], float, float, int] | None = None
    for stay in stays:
        end = stay.end if not math.isnan(stay.end) or math.isinf(stay.until) else stay.until
        # a time that is unknown is no bound: every comparison with it is false
        inside = [at for at in stay.changes() if not (at <= stay.start or at >= end)]
        for low, high in zip([stay.start, *inside], [*inside, end], strict=True):
            told = _told(stay, low if not math.isnan(low) else -math.inf)
            if last is not None and (last[0], last[2], last[3]) == (told, low, stay.person):
                last = told, last[1], high, stay.person
                continue
            if last is not None:
                yield last[:3]
            last = told, low, high, stay.person
    if last is not None:
        yield last[:3]


def _contradictions(roster: Roster, events: pd.DataFrame) -> dict[tuple[int, int], list[str]]:
    """Return what is told of each id and person while they were not there, once for each stay."""
    some = events[events["event"].isin((*_SPEECH, _FINAL)) & events["participant"].notna()]
    columns = (some[name].tolist() for name in ("participant", "event", "relative"))
    first: dict[tuple[int, int, float, str], tuple[float, str]] = {}
    for number, event, relative in zip(*columns, strict=True):
        who, time = int(number), usable(relative)
        stay = roster.stay(who, time)
        assert stay is not None
        if not (time > stay.end or time < stay.start):
            continue
        what = "speech" if event == _FINAL else event.rpartition(".")[2]
        if time > stay.end:
            key = who, stay.person, stay.end, "after they left"
        else:
            key = who, stay.person, stay.start, "before they joined"
        first[key] = min(first.get(key, (math.inf, "")), (time, what))
    notes: dict[tuple[int, int], list[str]] = {}
    for (who, person, at, when), (time, what) in sorted(first.items()):
        notes.setdefault((who, person), []).append(f"{what} at {time:.3f} s, {when} at {at:.3f} s")
    return notes


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
        packets, media = stream.packets, stream.media
        known = np.abs(media) <= MAX_RELATIVE  # a stamp gone wrong is no end of a call
        low, high = 0.0, stream.duration
        if len(packets):
            ends = media + packets["samples"].to_numpy() / RATE
            low, high = media[known].min(initial=np.inf), ends[known].max(initial=-np.inf)
        who = stream.info.participant
        for key in {None, None if who is None else who.id}:
            firsts[key] = min(float(low), firsts.get(key, np.inf))
        last = max(last, float(high))
    return firsts, last if np.isfinite(last) else told


class _Turn(NamedTuple):
    start: float
    end: float
    complete: bool
    note: str = ""


def _pair(
    told: dict[float, set[str]], stays: list[Stay], first: float | None, last: float
) -> list[_Turn]:
    """Return the intervals in which one participant's events say that they speak.

    Args:
        told: names of events by their time, s.
        stays: of that id.
        first, last: when their audio began and when all ended, s.
    """
    roster = Roster({0: stays}, {})
    turns: list[_Turn] = []
    begin: float | None = None
    since = first  # an end without a beginning: they may have spoken from here on
    left: float | None = None
    for time, event in moments(told):
        after = "" if left is None else f"after they left at {left:.3f} s"
        if event == JOIN:
            if begin is not None and roster.person(0, begin) != roster.person(0, time):
                turns.append(_Turn(begin, time, False, "no speech_off: another has the id"))
                begin = None
            since, left = time, None
        elif event == SPEECH_ON:
            if begin is not None:
                note = f"a speech_off was lost: speech_on again at {time:.3f} s"
                turns.append(_Turn(begin, time, False, "; ".join(filter(None, [note, after]))))
            begin = time
        elif event == SPEECH_OFF:
            if begin is not None:
                turns.append(_Turn(begin, time, True, after))
            elif since is not None:
                turns.append(_Turn(since, time, False, "no speech_on"))
            elif left is not None and turns and turns[-1].end == left:
                note = f"speech_off at {time:.3f} s, {after}"
                turns[-1] = turns[-1]._replace(note=note)
            begin = since = None
        else:
            if begin is not None:
                turns.append(_Turn(begin, time, False, "no speech_off: they left"))
            begin = since = None
            left = time if left is None else left
    if begin is not None:
        turns.append(_Turn(begin, last, False, "no speech_off"))
    return turns
