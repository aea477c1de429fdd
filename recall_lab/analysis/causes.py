"""Why audio is missing: each gap's cause, and in plain words what it was told by.

=================  =======================================================================
cause              told by
=================  =======================================================================
silence            packets without audio stand in the gap and fill at least half of it: an
                   unmuted participant who says nothing
storage            the packet after it says that others before it were received and could not be
                   kept, or the journal says so of at least half of it: the disk refused them, or
                   a limit of the receiver did
receiver restart   the packets on either side were kept by different runs of the receiver
mute               a participant's connection was closed in good order; or their own events
                   say so: they ceased to speak or left, in the gap or just before it; or the
                   connection stayed open for `mute` seconds or longer, and the sender's
                   clocks ran on
reconnect          the connection changed otherwise: it broke and the bot came back
pause              the sender's wall clock and our own ran on while its media clock stood
loss               within one connection: a final transcript has words of the participant in
                   the gap; or they spoke by their own events when it began, or began to in
                   it; or it is shorter than a mute: the bot or its network dropped it (a
                   websocket itself loses nothing while it is open)
unknown            one side is not there, or does not say which connection brought it
=================  =======================================================================

The first that fits is taken, but it is no mute where the transcript has words of the participant
in the gap: whatever else was told, they spoke, and were heard by the meeting. What the data
can't tell: loss and silence of equal length where no event speaks of it (the wire numbers no
packets), and what else was lost right beside a reconnect or a mute (it is one gap with them).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.clocks import arrivals, nanoseconds
from recall_lab.analysis.people import JOIN, LEAVE, SPEECH_OFF, SPEECH_ON
from recall_lab.analysis.transcript import times_said
from recall_lab.analysis.unkept import unkept
from recall_lab.capture.capture import Capture
from recall_lab.capture.events import of_kind
from recall_lab.capture.record import Flag
from recall_lab.text import counted
from recall_lab.wire.pcm import RATE

CAUSES: Final = (
    "reconnect", "loss", "storage", "mute", "silence", "receiver restart", "pause", "unknown",
)  # fmt: skip
"""What a gap's cause can be."""

_PAUSE: Final = 0.5  # seconds by which the sender's clocks must part
_CLEAN: Final = (1000, 1001)  # RFC 6455, 7.4.1: done, and going away
_BEFORE: Final = 2.0  # seconds by which an event may come before the audio ends
_QUIET: Final = (SPEECH_OFF, LEAVE)
_SPEAKING: Final = (SPEECH_ON, JOIN)
_MOSTLY: Final = 0.5  # of a gap, by the journal: then whatever else was there cost less
_ASTRAY: Final = 0.2  # seconds by which a word's time may be wrong: words at an edge tell nothing


class Holes(NamedTuple):
    """Spans between packets.

    Attributes:
        start, end: s on the relative clock, shape ``(spans,)``.
        before, after: positions of the packets on either side; -1 for none.
    """

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]


def causes_of(
    capture: Capture, packets: pd.DataFrame, holes: Holes, mute: float
) -> tuple[list[str], list[str]]:
    """Return the cause of each hole and the evidence for it.

    Args:
        capture: whose events are heard.
        packets: its timed packets, in the order of arrival.
        holes: where audio is missing.
        mute: seconds from which a hole within a connection counts as silence by design.
    """
    if not len(holes.start):
        return [], []
    if packets.empty:
        journal = _Journal(capture)
        spans = zip(holes.start.tolist(), holes.end.tolist(), strict=True)
        lost = [journal.unkept(*span) for span in spans]
        return (
            ["storage" if share >= _MOSTLY else "unknown" for _, share in lost],
            [why if share >= _MOSTLY else "there are no packets" for why, share in lost],
        )
    connection = packets["connection"].to_numpy().astype(np.int64)
    flags = packets["flags"].to_numpy()
    sided = (holes.before >= 0) & (holes.after >= 0)
    left = np.where(sided, connection[holes.before], 0)
    right = np.where(sided, connection[holes.after], 0)
    flagged = sided & ((flags[holes.after] & int(Flag.UNKEPT)) != 0)
    resumed = sided & ((flags[holes.after] & int(Flag.RESUMED)) != 0)
    silent = _silent(packets, holes)
    paused = _paused(packets, holes)
    journal = _Journal(capture)
    causes, evidence = [], []
    for at, (start, end) in enumerate(zip(holes.start.tolist(), holes.end.tolist(), strict=True)):
        why, share = journal.unkept(start, end)
        if silent[at]:
            told = "silence", f"{counted(int(silent[at]), 'packet')} without audio in it"
        elif flagged[at] or share >= _MOSTLY:
            told = "storage", why
        elif holes.before[at] < 0 or holes.after[at] < 0:
            side = "before" if holes.before[at] < 0 else "after"
            told = "unknown", f"no packet {side} it"
        elif not left[at] or not right[at]:
            told = "unknown", "the packets do not say which connection brought them"
        elif left[at] != right[at]:
            told = journal.change(int(left[at]), int(right[at]), bool(resumed[at]), start, end)
        else:
            told = journal.within(int(left[at]), start, end, mute, float(paused[at]))
        causes.append(told[0])
        evidence.append(told[1])
    return causes, evidence


class _Journal:
    """What the events of a capture say about its gaps."""

    def __init__(self, capture: Capture) -> None:
        events = capture.events
        self._receivers = _by_connection(events, "connected", "receiver")
        ended = _by_connection(events, "disconnected", "detail")
        self._codes = {connection: line.get("code") for connection, line in ended.items()}
        self._unkept = unkept(capture)
        who = capture.info.participant
        self._separate = who is not None
        self._times, self._names, self._words = np.empty(0), [], np.empty((0, 2))
        if who is None:  # what all say together tells of no gap
            return
        events = events[(events["participant"].array == who.id).fillna(False)]
        names, times = events["event"].to_numpy(), events["relative"].to_numpy()
        about = np.flatnonzero(np.isin(names, [*_QUIET, *_SPEAKING]) & ~np.isnan(times))
        about = about[np.argsort(times[about], kind="stable")]
        self._times, self._names = times[about], names[about].tolist()
        self._words = times_said(events)

    def change(
        self, left: int, right: int, resumed: bool, start: float, end: float
    ) -> tuple[str, str]:
        """Return cause and evidence where the connection changed."""
        runs = self._receivers.get(left), self._receivers.get(right)
        if (runs[0] != runs[1]) if all(runs) else resumed:
            return "receiver restart", f"connections {left} and {right} were of different runs"
        code = self._codes.get(left)
        words = self._spoken(start, end)
        if self._separate and code in _CLEAN:
            said = f"the bot closed connection {left} in good order (code {code})"
            if words:
                return "reconnect", f"{said}, but {words}"
            return "mute", f"{said} and opened {right}"
        how = f"broke (code {code})" if left in self._codes else "ended"
        said = f"connection {left} {how}, {right} brought what came next"
        return "reconnect", f"{said}; {words}" if words else said

    def within(
        self, connection: int, start: float, end: float, mute: float, paused: float
    ) -> tuple[str, str]:
        """Return cause and evidence where the connection stayed the same."""
        where = f"connection {connection} stayed open"
        if paused:
            return "pause", f"{where}; the sender's media clock stood for {paused:.3f} s"
        words = self._spoken(start, end)
        if words:
            return "loss", f"{where}; {words}"
        low, high = np.searchsorted(self._times, [start - _BEFORE, end])
        again = False  # they began to speak once more, so they had ceased in between
        for at in reversed(range(low, high)):
            name, when = self._names[at], self._times[at]
            said = f"{where}; {name} at {when:.3f} s"
            if name in _QUIET:
                return "mute", said
            if start < when < end - _BEFORE:  # speaks, and still nothing comes
                return "loss", said
            if name == SPEECH_ON and when <= start and not again:
                return "loss", f"{said}, and no speech_off since"
            again = again or name == SPEECH_ON
        # one who began long ago still speaks, where ends are told at all
        if low and low == high and self._names[low - 1] == SPEECH_ON and SPEECH_OFF in self._names:
            said = f"{where}; {SPEECH_ON} at {self._times[low - 1]:.3f} s"
            return "loss", f"{said}, and no speech_off since"
        if end - start >= mute:
            return "mute", f"{where}; the sender's clocks ran on for {mute:g} s or more"
        return "loss", f"{where}; too short for a mute (under {mute:g} s)"

    def unkept(self, start: float, end: float) -> tuple[str, float]:
        """Say why packets that came in a span could not be kept, and how much of it they are."""
        there = [lost for lost in self._unkept if lost.start < end and start < lost.end]
        if not there:
            return "packets came and could not be kept", 0.0
        count = sum(lost.packets for lost in there)
        seconds = sum(min(lost.end, end) - max(lost.start, start) for lost in there)
        said = f"{counted(count, 'packet')} came and could not be kept: {there[0].why}"
        return said, seconds / (end - start)

    def _spoken(self, start: float, end: float) -> str:
        """Say how many words of the participant lie in a gap; never which. Empty for none."""
        begins, ends = self._words.T
        inside = (begins >= start + _ASTRAY) & (ends <= end - _ASTRAY)
        count = int(np.count_nonzero(inside & (begins < end - _ASTRAY)))
        return f"the transcript has {counted(count, 'word')} of theirs in it" if count else ""


def _by_connection(events: pd.DataFrame, kind: str, column: str) -> dict[int, Any]:
    """Return what the last event of a kind says of each connection."""
    numbers, told = (of_kind(events, kind, name) for name in ("connection", column))
    return {int(at): value for at, value in zip(numbers, told, strict=True) if at is not pd.NA}


def _silent(packets: pd.DataFrame, holes: Holes) -> npt.NDArray[np.int64]:
    """Return how many packets without audio each hole has; 0 where they fill less than half."""
    samples = packets["samples"].to_numpy()
    if samples.all():
        return np.zeros(len(holes.start), np.int64)
    stamps = np.unique(packets["relative"].to_numpy()[samples == 0])
    edge = 1 / RATE
    low, high = (
        np.searchsorted(stamps, times - edge) for times in (holes.start, holes.end + 2 * edge)
    )
    count = high - low
    # how long an empty packet lasts nobody says: no longer than one with audio
    longest = float(samples.max()) / RATE or np.inf
    count[count * longest < (holes.end - holes.start) / 2] = 0
    return count


def _paused(packets: pd.DataFrame, holes: Holes) -> npt.NDArray[np.float64]:
    """Return for how long the media clock stood still in each hole, s; 0.0 where it did not."""
    before, after = holes.before, holes.after
    relative = packets["relative"].to_numpy()
    absolute = nanoseconds(packets["absolute"])
    media = relative[after] - relative[before]
    wall = (absolute[after] - absolute[before]) / 1e9
    stood = wall - media
    # a step of the sender's wall clock looks the same: our own clock tells which one is right
    arrival = arrivals(packets)
    ours = arrival[after] - arrival[before]
    agrees = np.abs(ours - wall) < np.abs(ours - media)
    return np.where((stood > _PAUSE) & agrees & (before >= 0) & (after >= 0), stood, 0.0)
