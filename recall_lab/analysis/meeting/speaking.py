"""Say who spoke while audio is missing, by words and events.

Everything here is vectorised over holes, which are given by their start and end on the relative
clock; they may overlap and come in any order. Events may be wrong, late, twice or missing: one
without a usable time or participant is never taken as proof that all were silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.meeting.roster import JOIN, LEAVE, SPEECH_OFF, SPEECH_ON
from recall_lab.analysis.meeting.transcript import FINAL, times_said
from recall_lab.wire.messages import MAX_RELATIVE

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

BEFORE: Final = 2.0
"""Seconds by which events and audio may part: a detector of speech lets go only after a while."""

ASTRAY: Final = 0.2
"""Seconds by which a time that others measured may be wrong: what is at an edge tells nothing."""

_NONE: Final = -1  # position of no event and no interval
_NOBODY: Final = int(np.iinfo(np.int64).min)  # number of whom an event does not name
_KINDS: Final = {JOIN: 1, SPEECH_ON: 2, SPEECH_OFF: 3, LEAVE: 4}
_JOIN, _ON, _OFF, _LEAVE = _KINDS.values()
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_ORDER: Final = np.array([0, 0, 1, 1, 2])  # of kinds at the same moment


def words_in(events: pd.DataFrame, start: Floats, end: Floats) -> Positions:
    """Return how many words of the final transcripts among events lie well inside each hole.

    Returns:
        Shape ``(holes,)``, int64. A word at an edge counts for nothing.
    """
    count = np.zeros(len(start), np.int64)
    if not (events["event"].array == FINAL).any():
        return count
    words = times_said(events)
    words = words[np.argsort(words[:, 0], kind="stable")]
    begins, ends = words.T
    low, high = np.searchsorted(begins, start + ASTRAY), np.searchsorted(begins, end - ASTRAY)
    for at in np.flatnonzero(low < high).tolist():
        count[at] = np.count_nonzero(ends[low[at] : high[at]] <= end[at] - ASTRAY)
    return count


class Own(NamedTuple):
    """What one participant's own events say of each hole: arrays of shape ``(holes,)``.

    Attributes:
        ceased: whether they ceased to speak or left, in the hole or just before it.
        speaking: whether they spoke when it began, or began to in it and still nothing came.
        name: the event that tells it, by its kind; 0 for none.
        time: when that event was, s.
        since: whether it tells it because no end came after it.
    """

    ceased: Bools
    speaking: Bools
    kind: Positions
    time: Floats
    since: Bools

    def said(self, at: int) -> str:
        """Return the event that tells it, in words."""
        said = f"{_NAMES[int(self.kind[at])]} at {self.time[at]:.3f} s"
        return f"{said}, and no speech_off since" if self.since[at] else said


def own_events(events: pd.DataFrame, participant: int, start: Floats, end: Floats) -> Own:
    """Return what a participant's own events say of holes in their separate stream.

    The latest event before the end of a hole that says anything counts::

        hole                      |------------------------------|
        event           speech_off          in it, or up to 2 s before it       ceased
                         speech_on          up to 2 s before it, none after     speaking
                                    speech_on   in it, but the last 2 s         speaking
        long before      speech_on          nothing since, where ends are told  speaking
    """
    told = _States.of(events, participant)
    times, kinds = told.times, told.kinds
    if not len(times):
        no, nothing = np.zeros(len(start), bool), np.zeros(len(start), np.int64)
        return Own(no, no, nothing, nothing.astype(float), no)
    low, high = np.searchsorted(times, start - BEFORE), np.searchsorted(times, end)
    last_on = _last(kinds == _ON)
    ceased = _last((kinds == _OFF) | (kinds == _LEAVE))[high]
    ceased = np.where(ceased >= low, ceased, _NONE)
    # they speak in it, and still nothing comes
    inside = last_on[np.searchsorted(times, end - BEFORE)]
    inside = np.where((inside >= low) & (times[inside] > start), inside, _NONE)
    # began before it; one who begins once more had ceased in between
    before = last_on[high]
    before = np.where((before >= low) & (times[before] <= start), before, _NONE)
    # began long ago, and still speaks where ends are told at all
    ago = (low == high) & (low > 0) & bool((kinds == _OFF).any())
    ago &= kinds[low - 1] == _ON
    began = np.where(ago, low - 1, before)
    speaking = np.maximum(inside, began)
    latest = np.maximum(ceased, speaking)
    quiet = (ceased > speaking) & (ceased >= 0)
    known = latest >= 0
    return Own(
        quiet,
        known & ~quiet,
        np.where(known, kinds[latest], 0),
        np.where(known, times[latest], np.nan),
        known & ~quiet & (latest == began),
    )


def _last(those: Bools) -> Positions:
    """Return for 0, 1, ... all events the position of the last one of those among so many."""
    found = np.where(those, np.arange(len(those)), _NONE)
    return np.concatenate([[_NONE], np.maximum.accumulate(found)]).astype(np.int64)


class Everybody(NamedTuple):
    """What the events of all say of each hole of the mixed stream: arrays of shape ``(holes,)``.

    Attributes:
        speaking: whether somebody spoke all through the first 2 s of it, or began to in it.
        who: their number; the least int64 where the event names nobody.
        on, off: when they began and ceased, s; infinity where no end was told.
        silent: whether everybody is known, and known not to speak in it.
        away: whether everybody is known, and known not to be there.
        people: how many are known.
    """

    speaking: Bools
    who: Positions
    on: Floats
    off: Floats
    silent: Bools
    away: Bools
    people: int

    def said(self, at: int) -> str:
        """Return who spoke, in words."""
        who = "somebody" if self.who[at] == _NOBODY else f"participant {self.who[at]}"
        said = f"speech_on of {who} at {self.on[at]:.3f} s"
        off = f"speech_off at {self.off[at]:.3f} s"
        return f"{said}, {off}" if np.isfinite(self.off[at]) else f"{said}, and no speech_off since"


def everybodys_events(
    events: pd.DataFrame, owners: Iterable[int], start: Floats, end: Floats
) -> Everybody:
    """Return what the events of all participants say of holes in the mixed stream.

    Everybody is known where each whom any event names, or who owns a stream, joined by an event,
    or had spoken, ceased or left by one before the hole, and none of their events lacks its time.

    Args:
        events: of the recording.
        owners: participants that have separate streams.
        start, end: of the holes, s.
    """
    told = _States.of(events)
    times, kinds, who = told.times, told.kinds, told.who
    if not len(times):
        no, nothing = np.zeros(len(start), bool), np.full(len(start), np.nan)
        return Everybody(no, np.full(len(start), _NOBODY), nothing, nothing, no, no, 0)
    last = np.append(who[1:] != who[:-1], True)  # of its participant
    until = np.where(last, np.inf, np.append(times[1:], np.inf))
    ended = ~last & np.isin(np.append(kinds[1:], 0), (_OFF, _LEAVE))
    ends_told = bool((kinds == _OFF).any())
    # where no end is told, they spoke for a moment for all we know
    proven = np.where(ended | (last & ends_told), until, np.minimum(until, times + 2 * BEFORE))
    proven[who == _NOBODY] = times[who == _NOBODY]
    spoke = _Intervals.of(times, proven, kinds == _ON).one_in(start, end)
    may_speak = _Intervals.of(times, until, kinds == _ON).one_in(start, end) >= 0
    present = _Intervals.of(times, until, kinds != _LEAVE).one_in(start, end) >= 0
    known = told.known_from(owners) <= start
    said = spoke >= 0
    return Everybody(
        said,
        np.where(said, who[spoke], _NOBODY),
        np.where(said, times[spoke], np.nan),
        np.where(said & ended[spoke], until[spoke], np.inf),
        known & ~may_speak & ends_told,
        known & ~present,
        len(told.named.union(owners)),
    )


class _Intervals(NamedTuple):
    """Spans in which somebody spoke, or was there, by their beginning."""

    rows: Positions
    on: Floats
    furthest: Positions  # which of those up to each one reaches furthest
    off: Floats

    @classmethod
    def of(cls, on: Floats, off: Floats, those: Bools) -> _Intervals:
        rows = np.flatnonzero(those)
        rows = rows[np.argsort(on[rows], kind="stable")]
        reach = off[rows]
        each = np.arange(len(rows))
        leads = reach >= np.maximum.accumulate(reach)
        furthest = np.maximum.accumulate(np.where(leads, each, 0)) if len(rows) else each
        return cls(rows, on[rows], furthest, reach)

    def one_in(self, start: Floats, end: Floats) -> Positions:
        """Return the event that began an interval which lasts into each hole, or began in it; -1.

        To last into it is to last for the first 2 s, or as long as it does.
        """
        if not len(self.rows):
            return np.full(len(start), _NONE)
        low, high = np.searchsorted(self.on, start, "right"), np.searchsorted(self.on, end - ASTRAY)
        before = self.furthest[low - 1]
        lasts = (low > 0) & (self.off[before] >= np.minimum(start + BEFORE, end))
        inside = np.where(low < high, low, _NONE)
        found = np.where(lasts, before, inside)
        return np.where(found >= 0, self.rows[found], _NONE)


class _States(NamedTuple):
    """Events that tell who is there and who speaks, by participant and time.

    Attributes:
        who: participants; the least int64 for nobody.
        times: s, all within what the wire takes.
        kinds: values of `_KINDS`.
        named: everybody whom any event names.
        untimed: participants of whom an event has no usable time.
    """

    who: Positions
    times: Floats
    kinds: Positions
    named: set[int]
    untimed: set[int]

    @classmethod
    def of(cls, events: pd.DataFrame, participant: int | None = None) -> _States:
        """Read them from an events frame; only those of one participant, where one is given."""
        numbers = events["participant"].array
        nobody = np.asarray(numbers.isna(), bool)
        who = numbers.to_numpy(np.int64, na_value=0)
        kinds = np.array([_KINDS.get(name, 0) for name in events["event"].tolist()], np.int64)
        about = kinds > 0
        if participant is not None:
            about &= (who == participant) & ~nobody
        named = set(who[~nobody].tolist())
        who = np.where(nobody, _NOBODY, who)[about]
        kinds, times = kinds[about], events["relative"].to_numpy()[about]
        usable = np.abs(times) <= MAX_RELATIVE
        untimed = set(who[~usable].tolist())
        who, kinds, times = who[usable], kinds[usable], times[usable]
        if participant is None:
            order = np.lexsort((_ORDER[kinds], times, who))
        else:  # of one, those at the same moment stay as they came
            order = np.argsort(times, kind="stable")
        return cls(who[order], times[order], kinds[order], named, untimed)

    def known_from(self, owners: Iterable[int]) -> float:
        """Return from when on it is known of everybody whether they speak; infinity for never."""
        first = np.flatnonzero(np.append(True, self.who[1:] != self.who[:-1]))
        joined = self.kinds[first] == _JOIN
        told = set(self.who[first].tolist())
        everybody = self.named.union(owners)
        if not joined.any() or self.untimed or not everybody <= told or _NOBODY in told:
            return np.inf
        return float(self.times[first][~joined].max(initial=-np.inf))
