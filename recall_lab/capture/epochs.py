"""The media clock made one: where `relative` begins again, leaps or stands while time goes on.

What happened is told by which clocks moved from one packet to the next, in the order of arrival:

==========  ==========  ==========  =====================================================
relative    absolute    received    what it is
==========  ==========  ==========  =====================================================
goes on     goes on     goes on     nothing
jumps       jumps       jumps       a gap
falls back  goes on     goes on     a new epoch: the bot came back, or a second call is in the file
leaps       goes on     goes on     a leap of the media clock: nothing is missing
goes on     jumps       jumps       the media clock stood: a pause, or audio that vanished unseen
goes on     jumps       goes on     the sender's wall clock was set
goes on     goes on     jumps       a stall on the way
falls back  falls back  goes on     late packets, or audio sent again
odd, once   any         any         one stamp is wrong, and costs only itself
==========  ==========  ==========  =====================================================

The last rows need nothing here. Epochs are laid one after another by the sender's wall clock, or
by arrival where that makes no sense; nothing is dropped, and ``relative`` itself stays as it came.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.arrays import parts_of
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.wire.messages import MAX_RELATIVE
from recall_lab.wire.pcm import RATE

REPLAYED: Final = 0.05
"""Share by which the media clock may run otherwise than packets arrive, before it is a replay."""

LEAST: Final = 0.25
"""Seconds by which clocks have to part at once: less may be jitter."""

_AHEAD: Final = 6  # packets after a break that tell whether it stays
_SANE: Final = 0.9  # of the packets: so many wall-clock stamps agree with one of the other clocks
_PASSED: Final = 1.0  # s by which the pace is told, at least
_FURTHEST: Final = 1e9  # s: no wall clock tells that much between two packets


class Break(NamedTuple):
    """One place where the clocks part.

    Attributes:
        at: position of the first packet after it.
        kind: ``"restart"``, ``"leap"`` or ``"stood"``.
        seconds: by how much the media clock fell back (below 0), leapt ahead, or stood.
        elapsed: s that passed by the other clocks.
    """

    at: int
    kind: str
    seconds: float
    elapsed: float


class Epochs(NamedTuple):
    """The packets of a capture on one media clock.

    Attributes:
        media: s, shape ``(packets,)``: as ``relative`` in the first epoch, and going on from
            there; NaN where a packet's time is unknown.
        epoch: uint32, likewise: 0 for the first.
        breaks: in the order of arrival.
        odd: positions of packets whose own stamp is wrong.
    """

    media: npt.NDArray[np.float64]
    epoch: npt.NDArray[np.uint32]
    breaks: list[Break]
    odd: npt.NDArray[np.int64]

    def part(self, rows: npt.NDArray[np.int64], later: npt.NDArray[np.float64]) -> Epochs:
        """Return the same of some of the packets, cut in front by so many seconds."""
        place = np.searchsorted(rows, [one.at for one in self.breaks])
        inside = [
            one._replace(at=int(at))
            for one, at in zip(self.breaks, place.tolist(), strict=True)
            if 0 < at < len(rows)  # with packets on both sides
        ]
        odd = np.flatnonzero(np.isin(rows, self.odd))
        return Epochs(self.media[rows] + later, self.epoch[rows], inside, odd)


def epochs_of(packets: pd.DataFrame) -> Epochs:
    """Put packets, in the order of arrival, on one media clock.

    Costs little where nothing parts: then `media` is ``relative`` itself.
    """
    relative = packets["relative"].to_numpy()
    rows = None
    if not (len(relative) and -MAX_RELATIVE <= relative.min() <= relative.max() <= MAX_RELATIVE):
        known = np.abs(relative) <= MAX_RELATIVE  # NaN compares false
        rows = None if known.all() else np.flatnonzero(known)
    times = relative if rows is None else relative[rows]
    epoch = np.zeros(len(relative), np.uint32)
    one = relative if rows is None else np.where(known, relative, np.nan)
    whole = Epochs(one, epoch, [], np.empty(0, np.int64))
    absolute = nanoseconds(packets["absolute"])
    if len(times) < 2 or (rows is None and _together(times, absolute)):  # nearly always
        return whole
    moved = np.diff(times)
    wall = np.diff(absolute if rows is None else absolute[rows]) / 1e9
    apart = moved - wall
    parted = np.abs(apart) > LEAST
    if parted.any() and not (absolute % 1_000_000_000).any():
        parted = np.abs(apart) > LEAST + 1  # the wall clock tells whole seconds
    if not parted.any():
        return whole
    ours = np.diff(arrivals(packets) if rows is None else arrivals(packets)[rows])
    if not (wall.any() or ours.any()):  # clocks that stand all the time tell nothing
        return whole
    ours *= _pace(moved[~parted], ours[~parted])
    sane = np.count_nonzero(parted) <= (1 - _SANE) * len(parted) or (
        # or it goes with our clock, while the media clock is the one that is odd
        np.count_nonzero(np.abs(wall - ours) > LEAST) <= (1 - _SANE) * len(parted)
    )
    elapsed = np.where(np.abs(wall) < _FURTHEST, wall, ours) if sane else ours
    parted &= np.abs(moved - ours) > LEAST
    if sane:  # both other clocks have to tell the same: else it is they that are odd
        parted &= np.abs(wall - ours) <= np.maximum(LEAST, np.abs(apart) / 2)
    if not parted.any():
        return whole
    samples = packets["samples"].to_numpy()
    lasts = (samples if rows is None else samples[rows]) / RATE
    joined = _Joining(times, lasts, elapsed)
    for at in (np.flatnonzero(parted) + 1).tolist():
        joined.part(at)
    media, number = joined.done()
    if rows is None:
        return Epochs(media, number, joined.breaks, np.array(sorted(joined.odd), np.int64))
    spread = np.full(len(relative), np.nan)
    spread[rows] = media
    epoch[rows] = number
    breaks = [one._replace(at=int(rows[one.at])) for one in joined.breaks]
    return Epochs(spread, np.maximum.accumulate(epoch), breaks, rows[sorted(joined.odd)])


def _together(times: npt.NDArray[np.float64], wall: npt.NDArray[np.int64]) -> bool:
    """Tell whether media time and the wall clock, ns, go on together from packet to packet."""
    for some in parts_of(len(times)):
        apart = np.diff(times[some]) - np.diff(wall[some]) / 1e9
        if not (np.abs(apart) <= LEAST).all():
            return False
    return True


def _pace(moved: npt.NDArray[np.float64], ours: npt.NDArray[np.float64]) -> float:
    """Return how fast media time ran against arrival in a replay; 1.0 for a call."""
    passed, took = float(moved.sum()), float(ours.sum())
    if passed < _PASSED or took <= 0 or abs(passed / took - 1) < REPLAYED:
        return 1.0
    return passed / took


class _Joining:
    """Goes through the places where clocks part, and says what each is."""

    def __init__(
        self,
        times: npt.NDArray[np.float64],
        lasts: npt.NDArray[np.float64],
        elapsed: npt.NDArray[np.float64],
    ) -> None:
        self.breaks: list[Break] = []
        self.odd: set[int] = set()
        self._times, self._lasts = times, lasts
        self._clock = np.concatenate([[0.0], np.cumsum(np.maximum(elapsed, 0.0))])
        self._media = times.copy()
        self._from = 0  # first packet of the present stretch
        self._shift = 0.0
        self._reached = -np.inf  # by audio before the present stretch
        self._number = np.zeros(len(times), np.uint32)

    def part(self, at: int) -> None:
        """Look at the packet that the clocks part at."""
        if at in self.odd or (at - 1 in self.odd and self._comes_back(at)):
            return
        before = at - 1
        while before in self.odd:
            before -= 1
        times = self._times
        if before < self._from:  # the first of all was the odd one
            before = at - 1
        moved = times[at] - times[before]
        elapsed = self._clock[at] - self._clock[before]
        if abs(moved - elapsed) <= LEAST:
            return
        if 0 <= moved < elapsed:
            self.breaks.append(Break(at, "stood", elapsed - moved, elapsed))
            return
        stays, returns = self._votes(before, at)
        if returns > stays or (not stays and not returns and moved > 0):
            self._mark_odd(before, at)
            return
        if before == 0 and not self._from and stays:  # one odd stamp, and then all others
            self.odd.add(0)
            self._from = at
            self._media[0] = times[at] - self._lasts[0]
            return
        kind = "restart" if moved < 0 else "leap"
        self.breaks.append(Break(at, kind, moved if moved < 0 else moved - elapsed, elapsed))
        self._begin(before, at, elapsed, new=moved < 0)

    def done(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
        """Return the media time and the epoch of each packet."""
        self._finish(len(self._times))
        for at in sorted(self.odd):
            if at:
                self._media[at] = self._media[at - 1] + self._lasts[at - 1]
        return self._media, np.cumsum(self._number, dtype=np.uint32)

    def _finish(self, end: int) -> None:
        self._media[self._from : end] = self._times[self._from : end] + self._shift
        if self._from == 1 and 0 in self.odd:
            self._media[0] = self._media[1] - self._lasts[0]

    def _begin(self, before: int, at: int, elapsed: float, *, new: bool) -> None:
        """Lay what comes from `at` on behind what was there, by so much as time went on."""
        self._finish(at)
        some = [place for place in range(self._from, at) if place not in self.odd]
        before_it = slice(self._from, at) if len(some) == at - self._from else some
        # no more than the packet itself lasts: its stamp may tell its end
        lasts = np.minimum(self._lasts[before_it], self._lasts[at])
        ends = self._media[before_it] + lasts
        reached = float(ends.max(initial=self._reached))
        when = self._media[before] + max(elapsed, 0.0)
        if new:  # nothing is laid over what is there
            when = max(when, reached)
            self._reached = reached
            self._number[at] = 1
        self._shift = when - self._times[at]
        self._from = at

    def _votes(self, before: int, at: int) -> tuple[int, int]:
        """Return how many of the packets that follow go on from `at`, and from `before`."""
        after = np.arange(at + 1, min(at + 1 + _AHEAD, len(self._times)))
        passed = self._clock[after]
        on = np.abs(self._times[after] - self._times[at] - (passed - self._clock[at])) <= LEAST
        back = self._times[after] - self._times[before] - (passed - self._clock[before])
        return int(np.count_nonzero(on)), int(np.count_nonzero(np.abs(back) <= LEAST))

    def _mark_odd(self, before: int, at: int) -> None:
        """Take stamps for wrong until one goes on from `before`."""
        for place in range(at, min(at + _AHEAD, len(self._times))):
            passed = self._clock[place] - self._clock[before]
            if abs(self._times[place] - self._times[before] - passed) <= LEAST:
                return
            self.odd.add(place)

    def _comes_back(self, at: int) -> bool:
        """Tell whether a packet goes on from the last one before it whose stamp is right."""
        before = at - 1
        while before >= 0 and before in self.odd:
            before -= 1
        if before < 0:
            return False
        passed = self._clock[at] - self._clock[before]
        return bool(abs(self._times[at] - self._times[before] - passed) <= LEAST)
