"""Who had which id when: names and roles as intervals on the media clock.

An id is one person's until something tells otherwise. What is told is put in order of the
sender's media clock, never of arrival, so a transcript that comes late undoes nothing::

    told        join Alice    update Alicia   leave      join Carol     (all of the id 100)
    stays       [ a stay                           )     [ another
    name        Alice         Alicia                     Carol
    people      one                                      another: the name says so

A stay begins when they join and ends when they leave; where a leave was lost it ends with the
next join. Two stays of an id are one person's unless name or e-mail address tell otherwise. What
is told by events and audio messages counts; a transcript, or what is kept beside the audio, names
only whom nothing else had named by then.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.capture.events import PARTICIPANT, payload_of
from recall_lab.wire.messages import MAX_RELATIVE, Participant

JOIN: Final = "participant_events.join"
LEAVE: Final = "participant_events.leave"
SPEECH_ON: Final = "participant_events.speech_on"
SPEECH_OFF: Final = "participant_events.speech_off"
UPDATE: Final = "participant_events.update"

FIELDS: Final = ("name", "is_host", "platform", "email")
"""What is told of somebody, beside the id."""

_TRANSCRIPT: Final = "transcript."
# of what tells of somebody at the same moment: where one leaves and another joins, the join counts
_RANK: Final = {JOIN: 2, UPDATE: 3}
_OTHERS: Final = 1
_BESIDE: Final = 0


class _Told(NamedTuple):
    """What is told of somebody at a moment; in the order in which it counts."""

    time: float  # s; NaN where unknown
    rank: int
    fields: tuple[tuple[str, Any], ...]
    firm: bool  # whether it counts against what was told before


@dataclass
class Stay:
    """One time that an id was in the meeting.

    Attributes:
        start, end: s on the media clock; NaN where no event tells.
        until: where the next stay of this id begins, s; infinity for the last.
        person: number of the person among those who had this id, from 0.
    """

    start: float
    end: float = math.nan
    until: float = math.inf
    person: int = 0
    _changes: dict[str, tuple[list[float], list[Any]]] = field(default_factory=dict)

    def at(self, what: str, time: float) -> Any:
        """Return what was the case at a time; None where nothing tells.

        Before the first that is told of it, that is taken to have been so.
        """
        times, values = self._changes.get(what, ([], []))
        if not times:
            return None
        return values[-1 if math.isnan(time) else max(bisect_right(times, time) - 1, 0)]

    def values(self, what: str) -> list[Any]:
        """Return all that was ever told."""
        return self._changes.get(what, ([], []))[1]

    def changes(self) -> list[float]:
        """Return when anything became another, s, in order."""
        return sorted({time for times, _ in self._changes.values() for time in times[1:]})

    def learn(self, told: Iterable[_Told]) -> None:
        """Take over what is told, in order of time."""
        firm: set[str] = set()
        for one in told:
            for what, value in one.fields:
                if not one.firm and what in firm:
                    continue
                if one.firm:
                    firm.add(what)
                times, values = self._changes.setdefault(what, ([], []))
                if times and times[-1] == one.time:  # at the same moment the last counts
                    times.pop()
                    values.pop()
                if not values or values[-1] != value:
                    times.append(one.time)
                    values.append(value)


class Roster(NamedTuple):
    """Everybody who is told of, by id.

    Attributes:
        stays: of each id, in order of time; at least one.
        told: how many events tell of each id and person, repeats included.
    """

    stays: dict[int, list[Stay]]
    told: dict[tuple[int, int], int]

    def stay(self, who: int, time: float) -> Stay | None:
        """Return the stay of an id that a moment belongs to; the last one for NaN."""
        stays = self.stays.get(who)
        if not stays:
            return None
        last = len(stays) - 1
        if not last or math.isnan(time):
            return stays[last]
        return stays[min(bisect_right(stays, time, key=lambda stay: stay.until), last)]

    def name(self, who: int | None, time: float) -> str:
        """Return the name that an id had at a moment, s; ``""`` where nothing tells."""
        stay = None if who is None else self.stay(who, time)
        return "" if stay is None else stay.at("name", time) or ""

    def person(self, who: int, time: float) -> int:
        """Return the number of the person who had an id at a moment."""
        stay = self.stay(who, time)
        return 0 if stay is None else stay.person

    def people(self) -> Iterator[tuple[int, int, list[Stay]]]:
        """Yield id, number and stays of each person, by id and time."""
        for who, stays in sorted(self.stays.items()):
            for person in sorted({one.person for one in stays}):
                yield who, person, [one for one in stays if one.person == person]


def roster_of(streams: Sequence[Any], events: pd.DataFrame) -> Roster:
    """Return who had which id when, as events, transcripts and audio messages tell it.

    Args:
        streams: of a recording; of captures, whose they are is known.
        events: the events frame that all of them share.
    """
    told: dict[int, list[_Told]] = {}
    moves: dict[int, dict[float, set[str]]] = {}
    times: dict[int, list[float]] = {}
    about = events[(events["event"] != "") & events["participant"].notna()]
    columns = (
        about[name].tolist() for name in ("participant", "kind", "event", "relative", "detail")
    )
    noted: dict[int, float] = {}  # when audio messages first tell of another, s
    for number, kind, event, relative, detail in zip(*columns, strict=True):
        who, time = int(number), usable(relative)
        if event in (JOIN, LEAVE) and not math.isnan(time):
            moves.setdefault(who, {}).setdefault(time, set()).add(event)
        if kind != PARTICIPANT:
            times.setdefault(who, []).append(time)
        elif time < noted.get(who, math.inf):
            noted[who] = time
        fields = fields_of(payload_of(detail).get("participant"))
        firm = not event.startswith(_TRANSCRIPT)
        if event == LEAVE:  # of who goes, though at that moment another may come
            time, firm = math.nextafter(time, -math.inf), False
        told.setdefault(who, []).append(_Told(time, _RANK.get(event, _OTHERS), fields, firm))
    for one in streams:
        if isinstance(one, Capture) and (owner := one.info.participant) is not None:
            told.setdefault(owner.id, []).append(_kept_beside(one, owner, noted.get(owner.id)))
    stays: dict[int, list[Stay]] = {}
    count: dict[tuple[int, int], int] = {}
    for who, some in told.items():
        own = stays[who] = _stays(moves.get(who, {}))
        _share_out(own, some)
        _recognise(own)
        _complete(own)
    found = Roster(stays, count)
    for who, some_times in times.items():
        if len(stays[who]) == 1:
            count[who, 0] = len(some_times)
            continue
        for time in some_times:
            key = who, found.person(who, time)
            count[key] = count.get(key, 0) + 1
    return found


def usable(time: float) -> float:
    """Return a time that the wire takes, s; NaN for another."""
    return float(time) if abs(time) <= MAX_RELATIVE else math.nan


def text_of(value: object) -> str:
    """Return a JSON value that should be a text as one that can be written; ``""`` for others."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def fields_of(told: object) -> tuple[tuple[str, Any], ...]:
    """Return what a message tells of somebody, as far as it is of the right type."""
    if not isinstance(told, dict):
        return ()
    found: list[tuple[str, Any]] = [
        (what, text)
        for what in ("name", "platform", "email")
        if (value := told.get(what)) and (text := text_of(value))
    ]
    if isinstance(told.get("is_host"), bool):
        found.append(("is_host", told["is_host"]))
    return tuple(found)


def moments(told: dict[float, set[str]]) -> Iterator[tuple[float, str]]:
    """Yield time and name of what one id's events tell, put in order where moments are the same.

    At one moment nothing but sense tells an order: who is there leaves before another joins, who
    speaks ceases before they begin anew, and all that is told of a stay lies within it.

    Args:
        told: names of events by their time, s.
    """
    there = speaks = False
    for time in sorted(told):
        events = told[time]
        handover = {JOIN, LEAVE} <= events and there
        order = [LEAVE, JOIN] if handover else [JOIN]
        speech = [SPEECH_OFF, SPEECH_ON] if speaks else [SPEECH_ON, SPEECH_OFF]
        if handover:
            # of who goes: their end; of who comes: their beginning
            order = [*speech[: int(speaks)], *order, *speech[int(speaks) :]]
        else:
            order = [*order, *speech, LEAVE]
        for event in order:
            if event in events:
                yield time, event
                there = {JOIN: True, LEAVE: False}.get(event, there)
                speaks = {SPEECH_ON: True, SPEECH_OFF: False, LEAVE: False}.get(event, speaks)


def _kept_beside(stream: Capture, owner: Participant, noted: float | None) -> _Told:
    """Return what the first packet of a stream told of whose it is.

    Of a part of a capture the first packet may be one of long after; what other packets told is
    journalled, and came later than the first of all.
    """
    media = stream.media
    time = usable(media[0]) if len(media) else math.nan
    if noted is not None and not time <= noted:
        time = noted
    return _Told(time, _BESIDE, fields_of({what: getattr(owner, what) for what in FIELDS}), False)


def _stays(moves: dict[float, set[str]]) -> list[Stay]:
    """Return the stays of an id by what joins and leaves say; one where they say nothing."""
    stays: list[Stay] = []
    for time, event in moments(moves):
        if event == LEAVE:
            if not stays:
                stays.append(Stay(math.nan))
            if math.isnan(stays[-1].end):
                stays[-1].end = time
            continue
        if stays:
            stays[-1].until = time
        stays.append(Stay(time))
    return stays or [Stay(math.nan)]


def _share_out(stays: list[Stay], told: list[_Told]) -> None:
    """Have each stay learn what is told of it; what is told before the first join is of the first.

    Where nothing that has a time tells anything, what has none does.
    """
    timed = [one for one in told if one.fields and not math.isnan(one.time)]
    if not timed:
        timed = [one._replace(time=-math.inf) for one in told if one.fields]
    ordered = sorted(timed)  # of the same moment and rank by what they tell: whatever came first
    begin = 0
    for stay in stays:
        end = bisect_left(ordered, stay.until, key=lambda one: one.time)
        stay.learn(ordered[begin:end])
        begin = end


def _recognise(stays: list[Stay]) -> None:
    """Number the people of an id."""
    names: dict[str, int] = {}
    emails: dict[str, int] = {}
    known: list[dict[str, bool]] = []  # whether name and address of each person are known
    for stay in stays:
        own = {"name": stay.values("name"), "email": stay.values("email")}
        same = next((emails[one] for one in own["email"] if one in emails), None)
        if same is None:
            near = [names[one] for one in own["name"] if one in names]
            if near and not (own["email"] and known[near[0]]["email"]):
                same = near[0]
            elif not near and known and not any(own[what] and known[-1][what] for what in own):
                same = len(known) - 1  # nothing contradicts
        if same is None:
            same = len(known)
            known.append({"name": False, "email": False})
        stay.person = same
        for what, numbers in (("name", names), ("email", emails)):
            known[same][what] |= bool(own[what])
            numbers.update(dict.fromkeys(own[what], same))


def _complete(stays: list[Stay]) -> None:
    """Have stays in which something is not told take it from others of the same person."""
    for order in (stays, stays[::-1]):
        last: dict[tuple[int, str], Any] = {}
        for stay in order:
            for what in FIELDS:
                key = stay.person, what
                if not stay.values(what) and key in last:
                    stay.learn([_Told(-math.inf, _BESIDE, ((what, last[key]),), False)])
                if values := stay.values(what):
                    last[key] = values[-1 if order is stays else 0]
