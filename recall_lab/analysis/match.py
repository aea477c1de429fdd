"""Whether a capture lies in a recording at all, where, and if that is the only place.

A guess is followed to a line, and the windows in which there is something to hear are held against
the recording along it: in the right place most of them say so, in a wrong one hardly any.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.align import Fit, Line, Windows, follow, hold_against, straight
from recall_lab.analysis.anchors import Anchor, anchors, track
from recall_lab.analysis.axis import Timeline
from recall_lab.analysis.levels import measure
from recall_lab.errors import RecordingMismatch
from recall_lab.text import counted
from recall_lab.wire.pcm import FULL_SCALE, RATE

AGREE: Final = 0.5
"""Share of the windows with something to hear that have to agree, or it is another meeting."""

NEAR: Final = 0.15e-3
"""How far from the line a lag may lie and still agree with it, s, were stamps exact."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NONE: Final = np.empty(0, np.int64)
_ALIKE: Final = 0.8  # a rough correlation from which some of it is the same sound
_FEWEST: Final = 4  # windows that have to agree
_CHANGED: Final = 2  # windows upside down; of 14,000 of unchanged recordings none was
_OVERLAP: Final = 0.05  # of the shorter one: less in common may be the same jingle in two meetings
_RIVAL: Final = 0.5  # of the windows that agree: as many agree on another place, and it is neither
_LOOK: Final = 60  # windows by which a place is judged
_SILENT: Final = 2 / FULL_SCALE  # a coder's rounding of digital silence
_LOUD: Final = 1e-3  # of the loud parts' power: 30 dB below them there is little to hear
_SHORTEST: Final = RATE // 4  # samples of a window
_SETTLED: Final = 0.2  # samples: a line that moves by less has little effect on what it shows
_BATCH: Final = 2**20  # samples looked at together


class Pair(NamedTuple):
    """Two sounds to be held against each other.

    Attributes:
        one, other: the capture and the recording.
        starts: first sample of each window of the capture.
        size: samples of a window.
        missing: share of each that was not received.
        telling: positions of the windows in which there is something to hear.
        first, last: the recording without the digital silence around it, samples.
        near: how far from the line a lag may lie and still agree with it, samples.
        stem: the capture's stream.
    """

    one: Timeline
    other: Timeline
    starts: Counts
    size: int
    missing: Floats
    telling: Counts
    first: int
    last: int
    near: float
    stem: str

    @classmethod
    def of(cls, one: Timeline, other: Timeline, size: int, *, tolerance: float, stem: str) -> Pair:
        """Find out what there is to hear.

        Args:
            one, other: the capture and the recording.
            size: samples of a window, if there are enough.
            tolerance: of the capture's stamps, s.
            stem: the capture's stream.
        """
        size = max(min(size, len(one) // 10), _SHORTEST)
        starts = np.arange(0, len(one), size)
        edges = np.append(starts, len(one))
        sums = measure(one, edges, runs=False)
        with np.errstate(invalid="ignore"):
            power = sums.squares / sums.heard - (sums.total / sums.heard) ** 2
        heard = sums.heard >= size / 2
        loud = float(np.percentile(power[heard], 95)) if heard.any() else 0.0
        telling = np.flatnonzero(heard & (power > max(_LOUD * loud, _SILENT**2)))
        if len(telling) < _FEWEST:
            reason = f"there is something to hear in {len(telling)} of its {len(starts)} windows"
            raise RecordingMismatch(stem, f"{reason}, and {_FEWEST} are the least to tell by")
        first, last = _extent(other)
        if last - first < _FEWEST * size:
            reason = f"of the recording {(last - first) / RATE:.2f} s are not digital silence"
            raise RecordingMismatch(stem, f"{reason}; {_FEWEST * size / RATE:.2f} s are needed")
        missing = 1 - sums.heard / np.diff(edges)
        near = (NEAR + tolerance) * RATE
        return cls(one, other, starts, size, missing, telling, first, last, near, stem)

    def compare(self, which: Counts, line: Line) -> Windows:
        """Compare some of the windows along a line."""
        return hold_against(self.one, self.other, self.starts[which], self.size, line)

    def within(self, line: Line) -> Counts:
        """Return those telling windows that lie in the recording."""
        begins = line.of(self.starts[self.telling])
        return self.telling[(begins >= self.first) & (begins + self.size <= self.last)]

    def follow(self, guess: Anchor) -> Line:
        """Follow a guess to a line, by the telling windows."""
        return follow(self.one, self.other, guess, self.starts[self.telling], self.size)

    def agreeing(self, line: Line, windows: Counts | None = None) -> tuple[Counts, Counts, Counts]:
        """Return which windows were asked, which agree with a line, and which but for its sign.

        Args:
            line: that may be right.
            windows: to ask; by default telling ones all over the recording, not too many.
        """
        if windows is None:
            windows = self.within(line)
            step = -(-len(windows) // _LOOK) or 1
            windows = windows[::step]
        found = self.compare(windows, line)
        return windows, windows[found.agree(self.near)], windows[found.oppose(self.near)]

    def refuse_change(self, agree: Counts, opposed: Counts, **evidence: float) -> None:
        """Refuse a recording whose polarity changes on the way: no one line holds for all of it.

        Args:
            agree, opposed: windows that agree with a line, and those that do but for its sign.
            evidence: for the error.

        Raises:
            RecordingMismatch: where there are too many of the latter to be chance.
        """
        if len(opposed) < _CHANGED:
            return
        first = self.one.start + float(self.starts[opposed[0]]) / RATE
        reason = (
            f"of {counted(len(agree) + len(opposed), 'window')} that agree on the place "
            f"{len(opposed)} are upside down against the others, the first at {first:.1f} s of the "
            "capture: the polarity changes on the way. Multiply one of the two by -1 there"
        )
        raise RecordingMismatch(self.stem, reason, opposed=float(len(opposed)), **evidence)


class Match(NamedTuple):
    """What all windows say along a line.

    Attributes:
        windows: as they are along the line that was known before.
        fit: of their lags.
        line: the line that follows from it.
        used: which windows it was told by.
    """

    windows: Windows
    fit: Fit
    line: Line
    used: Mask

    @classmethod
    def of(cls, pair: Pair, line: Line) -> Match:
        """Compare all windows, and again if the line moves by more than a part of a sample.

        Raises:
            RecordingMismatch: when some of them say that the polarity changes.
        """
        for _ in range(3):
            windows = pair.compare(np.arange(len(pair.starts)), line)
            within = pair.within(line)
            told = within[windows.agree(pair.near)[within]]
            pair.refuse_change(told, within[windows.oppose(pair.near)[within]])
            middles: Floats = pair.starts[told] + np.float64(pair.size / 2)
            fit = straight(middles, windows.lag[told])
            step = fit.line
            line = line.moved(step)
            if np.abs(step.of(middles)).max() < _SETTLED:
                break
        used = np.zeros(len(pair.starts), bool)
        used[told[fit.used]] = True
        return cls(windows, fit, line, used)


def place(pair: Pair) -> tuple[Line, dict[str, float]]:
    """Return the line along which the capture lies in the recording, and the evidence for it.

    Raises:
        RecordingMismatch: when there is none, or more than one, or its polarity changes.
    """
    guesses = anchors(track(pair.one), track(pair.other))
    lines = [pair.follow(guess) for guess in guesses]
    agreeing = [pair.agreeing(line) for line in lines]
    best = max(range(len(lines)), key=lambda at: len(agreeing[at][1]), default=None)
    told, agreed, opposed, line = (
        (_NONE, _NONE, _NONE, Line(0.0)) if best is None else (*agreeing[best], lines[best])
    )
    agree, windows = len(agreed), len(told)
    # windows that would as well lie elsewhere: of another place's own, nothing follows
    middle = float(pair.starts[agreed].mean()) if agree else 0.0
    others = [one for one in lines if abs(float(one.of(middle) - line.of(middle))) > pair.near]
    rivals = [len(pair.agreeing(other, agreed)[1]) for other in others]
    rival = max(rivals, default=0)
    evidence = {
        "windows": float(windows),
        "agreeing": float(agree),
        "correlation": max((guess.best for guess in guesses), default=0.0),
        "rival": float(rival),
    }
    pair.refuse_change(agreed, opposed, **evidence)
    shorter = min(len(pair.telling), (pair.last - pair.first) // pair.size)
    share = max(AGREE, _OVERLAP * shorter / max(len(pair.within(line)), 1))
    needed = max(_FEWEST, math.ceil(share * windows))
    if agree < needed:
        best_match = evidence["correlation"]
        why = (
            "too little is in both to be sure"
            if best_match > _ALIKE
            else "it is of another meeting, or a sound such as a tone, which fits anywhere"
        )
        reason = (
            f"in the best place {agree} of {counted(windows, 'window')} with something to hear "
            f"agree, where {needed} would have to (best rough correlation {best_match:.2f}): {why}"
        )
        raise RecordingMismatch(pair.stem, reason, **evidence)
    if rival >= _RIVAL * agree:
        away = abs(float(others[rivals.index(rival)].of(middle) - line.of(middle))) / RATE
        reason = (
            f"of {counted(agree, 'window')} that agree on one place {rival} agree on another as "
            f"well, {away:.3f} s away: its sound repeats itself"
        )
        raise RecordingMismatch(pair.stem, reason, **evidence)
    return line, evidence


def _extent(other: Timeline) -> tuple[int, int]:
    """Return a sound's first and last sample, half-open, without digital silence around them."""
    bound = _SILENT / other.unit

    def sounding(low: int) -> Counts:
        samples = other.take(low, low + _BATCH)
        return low + np.flatnonzero((samples > bound) | (samples < -bound))

    batches = range(0, len(other), _BATCH)
    first = next((int(at[0]) for at in map(sounding, batches) if len(at)), len(other))
    last = next((int(at[-1]) + 1 for at in map(sounding, reversed(batches)) if len(at)), first)
    return first, last
