"""Follow a line from a rough guess outwards, as long as the windows agree.

A cut, a pause that was left out, an insert or a step of a clock ends it: what lies beyond is for
other lines (see :mod:`~.alignment.pieces`), of which a trace says what it has seen.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.alignment.align import ALIKE, Fit, Line, Windows, straight
from recall_lab.analysis.alignment.anchors import STEEPEST, Anchor
from recall_lab.analysis.alignment.match import Pair
from recall_lab.wire.pcm import RATE

FEWEST: Final = 3
"""Windows that have to agree on one line: chance makes two."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_AROUND: Final = 15.0  # s around a guess in which windows are asked first
_ASKED: Final = 8  # of them
_SURE: Final = 0.6  # of those asked: as many agree, and no other rate is tried
_RATES: Final = (0.0, 250e-6, -250e-6, 500e-6, -500e-6, 750e-6, -750e-6, 1e-3, -1e-3)
_STEP: Final = 8  # windows held together at first; then twice as many every time
_LONGEST: Final = 256
_AGAINST: Final = 2  # windows in a row that say another thing, and the line has ended
_UNSURE: Final = 8  # windows in a row that could tell and do not agree, likewise
_SLACK: Final = 1e-3 * RATE  # samples by which a line that is extended may be off at most
_RESUME: Final = 12  # windows beyond its end that are asked whether the line holds there again
_LOUD: Final = 1e-2  # of what the line's windows have: so much power is something to hear


class Trace(NamedTuple):
    """A stretch in which one line holds.

    Attributes:
        line: where the one lies in the other.
        fit: of the lags around it.
        agree: positions of the windows that agree, rising.
        rows: what was found of each window of the pair, the fields of
            :class:`recall_lab.analysis.alignment.align.Windows` with lags around `line`, shape
            ``(fields, windows)``; NaN for windows that were not looked at.
        leads: guesses of other lines that were seen on the way.
    """

    line: Line
    fit: Fit
    agree: Counts
    rows: Floats
    leads: list[Anchor]

    @property
    def ends(self) -> tuple[int, int]:
        """First and last window that agree, half-open."""
        return int(self.agree[0]), int(self.agree[-1]) + 1


def trace(pair: Pair, guess: Anchor, free: Mask, rate: float = 1.0) -> Trace | None:
    """Follow a guess to a line, and the line as far as it holds; None where there is none.

    Args:
        pair: the sounds.
        guess: good to some 30 ms, if it is.
        free: which windows may be used, shape ``(windows,)``.
        rate: of the line, where others of the pair are known.
    """
    seed = _seed(pair, guess, free, rate)
    if seed is None:
        return None
    growth = _Growth(pair, free, *seed)
    middle = int(np.argmin(np.abs(pair.middles - guess.sample)))
    growth.grow(np.arange(middle, len(pair.starts)))
    growth.grow(np.arange(middle - 1, -1, -1))
    return growth.trace()


def line_near(pair: Pair, guess: Anchor, some: Counts, line: Line) -> tuple[Line, int]:
    """Return the line through a guess on which most windows agree, and how many.

    Args:
        pair: the sounds.
        guess: good to some 30 ms.
        some: windows to ask.
        line: of which the new one has the rate, roughly, and the sign, but where the windows
            prefer the other.
    """
    line = Line(guess.other - line.rate * guess.sample, line.rate, line.sign)
    found = pair.compare(some, line)
    lag, clear = found.lag, found.clear
    opposed = np.isfinite(found.opposed)
    if np.count_nonzero(opposed) > np.count_nonzero(clear):
        line = line._replace(sign=-line.sign)
        lag, clear = found.opposed, opposed
    times, lags = pair.middles[some][clear], lag[clear]
    if not len(times):
        return line, 0
    # the line through any two points on which most others lie
    left, right = np.triu_indices(len(times), 1)
    slopes = (lags[right] - lags[left]) / (times[right] - times[left])
    possible = np.abs(slopes) <= STEEPEST
    slopes = np.append(slopes[possible], np.zeros(len(times)))
    origins = np.append(left[possible], np.arange(len(times)))
    off = lags[origins, None] + slopes[:, None] * (times - times[origins, None]) - lags
    on = np.abs(off) <= pair.near
    best = int(np.argmax(on.sum(axis=1)))
    fit = straight(times[on[best]], lags[on[best]])
    return line.moved(fit.line), int(on[best].sum())


def _seed(pair: Pair, guess: Anchor, free: Mask, rate: float) -> tuple[Line, Counts] | None:
    """Return a line that windows around a guess agree on, and those windows."""
    usable = pair.informative[free[pair.informative]]
    away = np.abs(pair.middles[usable] - guess.sample)
    near = usable[away <= max(_AROUND * RATE, 2 * pair.size)]
    if len(near) < FEWEST:
        near = usable[np.argsort(away, kind="stable")[:FEWEST]]
    some = near[np.unique(np.linspace(0, len(near) - 1, min(len(near), _ASKED)).astype(np.int64))]
    if len(some) < FEWEST:
        return None
    best, most = Line(0.0), 0
    for more in _RATES:
        line, count = line_near(pair, guess, some, Line(0.0, rate + more))
        if count > most:
            best, most = line, count
        if most >= max(_SURE * len(some), FEWEST):
            break
    if most < FEWEST:
        return None
    # once more, along the line itself: drift no longer smears the windows
    found = pair.compare(some, best)
    agreed = some[found.agree(pair.near)]
    if len(agreed) < FEWEST:
        return None
    fit = straight(pair.middles[agreed], found.lag[found.agree(pair.near)])
    return best.moved(fit.line), agreed


class _Growth:
    """A line that grows, window by window."""

    def __init__(self, pair: Pair, free: Mask, line: Line, agreed: Counts) -> None:
        self._pair, self._free = pair, free
        self._base = self._line = line
        self._rows = np.full((len(Windows._fields), len(pair.starts)), np.nan)
        self._places = np.full(len(pair.starts), np.nan)
        self._agree = np.zeros(len(pair.starts), bool)
        self._leads: list[Anchor] = []
        self._fit = straight(pair.middles[agreed], np.zeros(len(agreed)))
        self._seen = float(np.median(self._hold(agreed).theirs))

    def _hold(self, some: Counts) -> Windows:
        found = self._pair.compare(some, self._line)
        self._rows[:, some] = found
        self._places[some] = self._line.of(self._pair.middles[some]) + found.lag
        return found

    def _slack(self, some: Counts) -> Floats:
        """Return by how much the line may be off where it is only extended, samples."""
        far = np.abs(self._pair.middles[some] - self._fit.middle)
        found: Floats = np.minimum(np.hypot(self._fit.errors[1] * far, 0.1), _SLACK)
        return found

    def grow(self, order: Counts) -> None:
        """Extend the line over windows, from the first on, as long as it holds."""
        pair = self._pair
        taken = np.zeros(len(pair.starts), bool)
        taken[pair.informative] = ~self._free[pair.informative]
        blocked = np.flatnonzero(taken[order])
        order = order[: blocked[0]] if len(blocked) else order
        at, size, last, against, unsure = 0, _STEP, 0, 0, 0
        while at < len(order):
            some = order[at : at + size]
            found = self._hold(some)
            tolerance = pair.near + self._slack(some)
            agree = found.agree(tolerance) & pair.tells[some]
            loud = pair.tells[some] | (found.theirs > _LOUD * self._seen)
            there = (found.common > 0.5) & loud
            other = (found.clear & (np.abs(found.lag) > tolerance)) | np.isfinite(found.opposed)
            opposed = there & ~agree & (other | ~(found.similarity > ALIKE))
            for number in range(len(some)):
                if agree[number]:
                    last, against, unsure = at + number + 1, 0, 0
                elif there[number]:
                    against += int(opposed[number])
                    unsure += 1
                if against >= _AGAINST or unsure >= _UNSURE:
                    break
            within = np.arange(len(some)) < last - at
            self._agree[some[agree & within]] = True
            beyond = some[~within]
            self._refit()
            if against >= _AGAINST or unsure >= _UNSURE:
                self._lead(beyond, found, ~within & there & other)
                break
            out = pair.outside(self._line, some)
            if out.all() and at:
                break
            at += size
            size = min(2 * size, _LONGEST)
        beyond = order[last:]
        self._rows[:, beyond], self._places[beyond] = np.nan, np.nan
        self._resume(beyond)

    def _lead(self, beyond: Counts, found: Windows, seen: Mask) -> None:
        """Note where windows lie that say another thing."""
        middles = self._pair.middles
        for number in np.flatnonzero(seen)[:_AGAINST].tolist():
            lag, opposed = found.lag[number], found.opposed[number]
            middle = float(middles[beyond[number - (len(found.lag) - len(beyond))]])
            place = float(self._line.of(middle)) + float(lag if np.isnan(opposed) else opposed)
            self._leads.append(Anchor(middle, place, 0.0, 0.0))

    def _resume(self, beyond: Counts) -> None:
        """Note where the same line holds again: something was put in place of what was said."""
        pair = self._pair
        informative = beyond[pair.tells[beyond] & self._free[beyond]]
        informative = informative[~pair.outside(self._line, informative)]
        if not len(informative):
            return
        picked = np.linspace(0, len(informative) - 1, min(len(informative), _RESUME)).astype(
            np.int64
        )
        some = np.unique(np.append(informative[: _RESUME // 2], informative[picked]))
        found = pair.compare(some, self._line)
        good = some[found.agree(pair.near + self._slack(some))]
        if len(good):
            near = good[np.argmin(np.abs(good - beyond[0]))]
            middle = float(pair.middles[near])
            self._leads.append(Anchor(middle, float(self._line.of(middle)), 0.0, 0.0))

    def _refit(self) -> None:
        some = np.flatnonzero(self._agree)
        if len(some) < 2:
            return
        middles = self._pair.middles[some]
        self._fit = straight(middles, self._places[some] - self._base.of(middles))
        self._line = self._base.moved(self._fit.line)

    def trace(self) -> Trace | None:
        """Return what was found; None where too few windows agree."""
        self._refit()
        middles = self._pair.middles
        off = self._places - self._line.of(middles)
        agree = np.flatnonzero(self._agree & (np.abs(off) <= self._pair.near))
        if len(agree) < FEWEST:
            return None
        lag = Windows._fields.index("lag")
        self._rows[lag] = off
        self._rows[:, : agree[0]] = np.nan
        self._rows[:, agree[-1] + 1 :] = np.nan
        fit = straight(middles[agree], off[agree])
        line = self._line.moved(fit.line)
        self._rows[lag] -= fit.line.of(middles)
        return Trace(line, fit, agree, self._rows, self._leads)
