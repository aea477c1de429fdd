"""Gather the evidence around gaps: packets, journal, and who spoke.

Each thing is found when it is first asked for, for all holes at once: rules of causes
(:mod:`recall_lab.analysis.causes.causes`) are then comparisons of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.causes.dropped import DroppedSpan, dropped_spans
from recall_lab.analysis.causes.other_streams import Beside, heard_beside
from recall_lab.analysis.meeting.speaking import (
    Everybody,
    Own,
    everybodys_events,
    own_events,
    words_in,
)
from recall_lab.capture.capture import Capture
from recall_lab.capture.events import of_kind
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.capture.record import Flag
from recall_lab.text import counted
from recall_lab.wire.pcm import RATE

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_PAUSE: Final = 0.5  # seconds by which the sender's clocks must part


class Spans(NamedTuple):
    """Spans between packets.

    Attributes:
        start, end: s on the relative clock, shape ``(spans,)``.
        before, after: positions of the packets on either side; -1 for none.
    """

    start: Floats
    end: Floats
    before: Positions
    after: Positions


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of holes. All arrays have the shape ``(holes,)``.

    Args:
        capture: whose events are heard.
        packets: its timed packets, in the order of arrival.
        holes: where audio is missing.
        mute: seconds from which a hole within a connection is no lost packet.
        beside: other streams of the same recording; those of others are passed over.
    """

    capture: Capture
    packets: pd.DataFrame
    holes: Spans
    mute: float
    beside: Sequence[Capture] = ()

    @cached_property
    def separate(self) -> bool:
        """Whether the stream is one participant's."""
        return self.capture.info.participant is not None

    @cached_property
    def events(self) -> pd.DataFrame:
        """All events of the recording."""
        return self.capture.events

    @cached_property
    def duration(self) -> Floats:
        """How long each hole is, s."""
        return self.holes.end - self.holes.start

    @cached_property
    def sided(self) -> Bools:
        """Whether there are packets on both sides."""
        there = (self.holes.before >= 0) & (self.holes.after >= 0)
        return there if len(self.packets) else np.zeros_like(there)

    @cached_property
    def connections(self) -> tuple[Positions, Positions]:
        """Which connection brought the packet before, and the one after; 0 where unknown."""
        numbers = self.packets["connection"].to_numpy()
        before, after = self.holes.before, self.holes.after
        return self._beside_it(numbers, before), self._beside_it(numbers, after)

    @cached_property
    def within(self) -> Bools:
        """Whether one known connection brought the packets on both sides."""
        left, right = self.connections
        same: Bools = (left > 0) & (left == right)
        return same

    @cached_property
    def changed(self) -> Bools:
        """Whether two known connections brought them."""
        left, right = self.connections
        other: Bools = (left > 0) & (right > 0) & (left != right)
        return other

    @cached_property
    def empty(self) -> Positions:
        """How many packets without audio each hole has; 0 where they fill less than half."""
        samples = self.packets["samples"].to_numpy()
        if samples.all():
            return np.zeros(len(self.duration), np.int64)
        stamps = np.unique(self.packets["relative"].to_numpy()[samples == 0])
        edge = 1 / RATE
        low = np.searchsorted(stamps, self.holes.start - edge)
        count = np.searchsorted(stamps, self.holes.end + edge) - low
        # how long an empty packet lasts nobody says: no longer than one with audio
        longest = float(samples.max()) / RATE or np.inf
        count[count * longest < self.duration / 2] = 0
        return count

    @cached_property
    def stood(self) -> Floats:
        """For how long the media clock stood still in each hole, s; 0.0 where it did not."""
        if not self.sided.any():
            return np.zeros(len(self.duration))
        before, after = self.holes.before, self.holes.after
        relative = self.packets["relative"].to_numpy()
        absolute = nanoseconds(self.packets["absolute"])
        media = relative[after] - relative[before]
        wall = (absolute[after] - absolute[before]) / 1e9
        stood = wall - media
        # a step of the sender's wall clock looks the same: our own clock tells which one is right
        ours = arrivals(self.packets, after) - arrivals(self.packets, before)
        agrees = np.abs(ours - wall) < np.abs(ours - media)
        return np.where((stood > _PAUSE) & agrees & self.sided, stood, 0.0)

    @cached_property
    def flagged(self) -> Bools:
        """Whether the packet after says that others before it could not be kept."""
        return self._flag(Flag.DROPPED)

    @cached_property
    def dropped(self) -> Floats:
        """Share of each hole of which the journal says that it came and could not be kept."""
        share = np.zeros(len(self.duration))
        for at, lost in self._drops.items():
            start, end = self.holes.start[at], self.holes.end[at]
            seconds = sum(min(one.end, end) - max(one.start, start) for one in lost)
            share[at] = seconds / (end - start)
        return share

    def why_dropped(self, at: Positions) -> list[str]:
        """Say what came in some holes and could not be kept."""
        said = []
        for lost in map(self._drops.get, at.tolist()):
            if lost:
                count = counted(sum(one.packets for one in lost), "packet")
                said.append(f"{count} came and could not be kept: {lost[0].why}")
            else:
                said.append("packets came and could not be kept")
        return said

    @cached_property
    def restarted(self) -> Bools:
        """Whether different runs of the receiver kept the packets on either side."""
        at = np.flatnonzero(self.changed)
        if not len(at):
            return self.changed
        runs = _by_connection(self.events, "connected", "receiver")
        restarted = self.changed & self._flag(Flag.RESUMED)
        pairs = zip(*(numbers[at].tolist() for numbers in self.connections), strict=True)
        for hole, (left, right) in zip(at.tolist(), pairs, strict=True):
            if runs.get(left) and runs.get(right):
                restarted[hole] = runs[left] != runs[right]
        return restarted

    @cached_property
    def closed(self) -> dict[int, int | None]:
        """With which code each connection ended that is told to have; None for an unknown one."""
        ended = _by_connection(self.events, "disconnected", "detail")
        return {number: _code(line) for number, line in ended.items()}

    @cached_property
    def words(self) -> Positions:
        """How many words of final transcripts are in each: the participant's own, or anybody's."""
        told = self.events
        who = self.capture.info.participant
        if who is not None and len(told):
            told = told[(told["participant"].array == who.id).fillna(False)]
        return words_in(told, self.holes.start, self.holes.end)

    def said_words(self, at: Positions) -> list[str]:
        """Say how many words are in some holes, never which; ``""`` where there are none."""
        whose = " of theirs" if self.separate else ""
        return [
            f"the transcript has {counted(count, 'word')}{whose} in it" if count else ""
            for count in self.words[at].tolist()
        ]

    @cached_property
    def heard(self) -> Beside:
        """Whether a separate stream has audio in a hole of the mixed one."""
        recording = self.capture.info.recording
        others = [one for one in self.beside if one.info.recording == recording]
        return heard_beside([] if self.separate else others, self.holes.start, self.holes.end)

    @cached_property
    def spoken(self) -> Bools:
        """Whether it is certain that somebody spoke in it, who should be heard in this stream."""
        return (self.words > 0) | ~np.isnan(self.heard.time)

    @cached_property
    def own(self) -> Own:
        """What the participant's own events say. Of a separate stream only."""
        who = self.capture.info.participant
        assert who is not None
        return own_events(self.events, who.id, self.holes.start, self.holes.end)

    @cached_property
    def everybody(self) -> Everybody:
        """What the events of all say."""
        owners = [one.info.participant for one in self.beside]
        numbers = [who.id for who in owners if who is not None]
        return everybodys_events(self.events, numbers, self.holes.start, self.holes.end)

    @cached_property
    def _drops(self) -> dict[int, list[DroppedSpan]]:
        """What could not be kept, by hole, in the order told; holes without are left out."""
        told = dropped_spans(self.capture)
        if not told:
            return {}
        start, end = self.holes.start, self.holes.end
        starts = np.array([one.start for one in told])
        ends = np.array([one.end for one in told])
        touched = np.searchsorted(np.sort(starts), end) > np.searchsorted(
            np.sort(ends), start, "right"
        )
        found = {}
        for at in np.flatnonzero(touched & (end > start)).tolist():
            there = np.flatnonzero((starts < end[at]) & (start[at] < ends))
            found[at] = [told[one] for one in there.tolist()]
        return found

    def _flag(self, flag: Flag) -> Bools:
        """Return whether the packet after each hole has a flag; never where one side is missing."""
        flags = self._beside_it(self.packets["flags"].to_numpy(), self.holes.after)
        flagged: Bools = (flags & int(flag)) != 0
        return flagged

    def _beside_it(self, values: npt.NDArray[Any], at: Positions) -> Positions:
        """Return values of packets beside the holes; 0 for holes without packets on both sides."""
        if not len(values):
            return np.zeros(len(at), np.int64)
        return np.where(self.sided, values[at].astype(np.int64), 0)


def _by_connection(events: pd.DataFrame, kind: str, column: str) -> dict[int, Any]:
    """Return what the last event of a kind says of each connection."""
    numbers, told = (of_kind(events, kind, name) for name in ("connection", column))
    known = ~np.asarray(numbers.isna(), bool)
    values = np.asarray(told, object)[known].tolist()
    return dict(zip(np.asarray(numbers[known], np.int64).tolist(), values, strict=True))


def _code(line: object) -> int | None:
    """Return the close code of a journal line; None where it has none that can be."""
    code = line.get("code") if isinstance(line, dict) else None
    return code if type(code) is int and 0 <= code < 1 << 16 else None
