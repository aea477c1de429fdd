"""Find the pieces in which a capture lies in a recording: one line each, as many as there are.

Each guess is followed as far as it holds (:mod:`~.alignment.trace`); of what is left over, guesses
are made anew. A piece whose windows would as well lie elsewhere tells nothing, and pieces follow
one another in both sounds: a jingle that is played twice has one right place.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.alignment.align import ALIKE, Fit, Line, Windows, compare_windows
from recall_lab.analysis.alignment.anchors import (
    Anchor,
    Finder,
    Track,
    anchors,
    anchors_of_part,
    finder_of_parts,
    track,
)
from recall_lab.analysis.alignment.match import Pair
from recall_lab.analysis.alignment.trace import FEWEST, Trace, line_near, trace
from recall_lab.arrays import runs_of
from recall_lab.wire.pcm import RATE

STEP: Final = 3.0
"""By how many dB the level has to change for a new piece to begin."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_ASKED: Final = 24  # windows of a piece that are asked whether they would lie elsewhere as well
_APART: Final = 0.05 * RATE  # samples between two places, at least
_NEXT: Final = 8  # windows next to a guess
_RIVAL: Final = 0.5  # of them: as many do, and the others have to say that they don't
_PROBES: Final = 48  # of what is left over, in vain
_PARTS: Final = 16  # stretches left over that are looked at in a turn
_BESIDE: Final = 8  # windows on either side of a change of level
_SURE: Final = 4.0  # times the scatter of their mean
_PART: Final = 0.4  # of the usual similarity, or of a window
_FINE: Final = RATE // 2  # samples of the windows by which the ends of a piece are told


class Piece(NamedTuple):
    """A stretch of the capture that lies on one line of the recording, at one level.

    Attributes:
        line: where it lies.
        fit: of the lags of its windows around the line.
        agree: positions of the windows that agree, rising.
        low, high: its ends, samples of the capture, half-open.
        level: median over those windows of the capture's level less the recording's, dB.
        similarity: median over them.
    """

    line: Line
    fit: Fit
    agree: Counts
    low: int
    high: int
    level: float
    similarity: float

    def joins(self, other: Piece, near: float) -> bool:
        """Return whether another piece lies on the same line, to so many samples."""
        edges = np.array([self.low, self.high, other.low, other.high])
        off = np.abs(self.line.of(edges) - other.line.of(edges))
        return self.line.sign == other.line.sign and bool(np.median(off) <= near)


class Found(NamedTuple):
    """What a search has found.

    Attributes:
        pieces: in order, those of one line but several levels one after another.
        rows: what was found of each window along its piece's line, or the next one's, as in
            :class:`recall_lab.analysis.alignment.trace.Trace`.
        owner: which piece a window agrees with, -1 for none, shape ``(windows,)``.
        noise: whose it is that makes them less alike, as for :func:`true_levels`.
        correlation: of the best rough guess.
        best: windows that agreed with the best guess, and how many could have.
        rivals: traces that would as well lie elsewhere, with the samples to there.
    """

    pieces: list[Piece]
    rows: Floats
    owner: Counts
    noise: int
    correlation: float
    best: tuple[int, int]
    rivals: list[tuple[Trace, float]]


def pieces_of(pair: Pair) -> Found:
    """Find the pieces in which the capture lies in the recording; none is no error."""
    search = _Search(pair)
    search.run()
    traces = _chain(pair, search.traces)
    rows = np.full((len(Windows._fields), len(pair.starts)), np.nan)
    noise = _whose(traces)
    pieces: list[Piece] = []
    owner = np.full(len(pair.starts), -1, np.int64)
    for one in traces:
        held = slice(*one.ends)
        rows[:, held] = one.rows[:, held]
        for agree in _levels(one, noise):
            owner[agree] = len(pieces)
            pieces.append(_piece(pair, one, agree))
    pieces = [
        one._replace(low=low, high=high)
        for one, (low, high) in zip(pieces, _all_ends(pair, pieces), strict=True)
    ]
    _rest(pair, pieces, rows)
    return Found(pieces, rows, owner, noise, search.correlation, search.best, search.rivals)


class _Search:
    """Guesses, followed one after another, and made anew of what is left over."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.traces: list[Trace] = []
        self.rivals: list[tuple[Trace, float]] = []
        self.best = (0, 0)
        self._free = np.ones(len(pair.starts), bool)
        self._one, self._other = track(pair.one), track(pair.other)
        self._guesses = anchors(self._one, self._other)
        self.correlation = max((guess.best for guess in self._guesses), default=0.0)
        self._rate = 1.0

    def run(self) -> None:
        """Follow all that there is."""
        for guess in self._guesses:
            self._follow(guess, self._guesses)
        if not self.traces and self.correlation < 2 * ALIKE:
            return
        self._left_over()

    def _follow(self, guess: Anchor, others: list[Anchor]) -> bool:
        """Follow a guess and where it leads; return whether anything came of it."""
        queue, found = [guess], False
        while queue:
            one = trace(self.pair, queue.pop(0), self._free, self._rate)
            if one is None:
                continue
            low, high = one.ends
            informative = int(np.count_nonzero(self.pair.tells[low:high]))
            self.best = max(self.best, (len(one.agree), informative))
            self._free[one.agree] = False
            away = self._elsewhere(one, others)
            if away is None:
                if not self.traces:
                    self._rate = one.line.rate
                self.traces.append(one)
                found = True
            else:
                self.rivals.append((one, away))
            queue = one.leads + queue
        return found

    def _elsewhere(self, one: Trace, others: list[Anchor]) -> float | None:
        """Return how far away a trace would lie as well, samples; None where its place is sure."""
        pair = self.pair
        picked = np.linspace(0, len(one.agree) - 1, min(len(one.agree), _ASKED)).astype(np.int64)
        some = one.agree[np.unique(picked)]
        similarity = one.rows[Windows._fields.index("similarity"), some]
        for guess in others:
            away = guess.other - float(one.line.of(guess.sample))
            if abs(away) <= _APART or not pair.starts[one.agree[0]] <= guess.sample <= (
                pair.starts[one.agree[-1]] + pair.size
            ):
                continue
            far = np.abs(pair.middles[one.agree] - guess.sample)
            near = np.sort(one.agree[np.argsort(far, kind="stable")[:_NEXT]])
            near = near[~pair.outside(one.line._replace(at=one.line.at + away), near)]
            if len(near) < 2:
                continue
            line, count = line_near(pair, guess, near, one.line)
            if count < 2:
                continue
            inside = ~pair.outside(line, some)
            found = pair.compare(some[inside], line)
            agree = int(np.count_nonzero(found.agree(pair.near)))
            against = found.similarity <= np.maximum(ALIKE, 0.5 * similarity[inside])
            if agree >= max(_RIVAL * np.count_nonzero(inside), 2) and against.sum() < FEWEST:
                return away
        return None

    def _left_over(self) -> None:
        """Look for what is left over, stretch by stretch, until nothing more is found."""
        asked: set[tuple[int, int]] = set()
        finder: Finder | None = None
        vain = 0
        while vain < _PROBES:
            parts = [part for part in self._stretches() if part not in asked][:_PARTS]
            if not parts:
                return
            finder = finder or finder_of_parts(self._other)
            for part in parts:
                asked.add(part)
                vain += self._look(self._one, finder, part)

    def _look(self, one: Track, finder: Finder, part: tuple[int, int]) -> int:
        """Look for one stretch; return how many probes were in vain."""
        starts = self.pair.starts
        vain = 0
        low, high = float(starts[part[0]]), float(starts[part[1] - 1]) + self.pair.size
        for guesses in anchors_of_part(one, finder, low, high):
            some = [guess for guess in guesses if guess.best > 2 * ALIKE]
            vain += not any([self._follow(guess, guesses) for guess in some])
            if vain >= _PROBES:
                break
        return vain

    def _stretches(self) -> list[tuple[int, int]]:
        """Return runs of windows that could tell and are in no piece, the longest first."""
        informative = self.pair.informative
        left = self._free[informative]
        edges = runs_of(left)
        edges = edges[edges[:, 1] - edges[:, 0] >= FEWEST]
        runs = [
            (int(informative[low]), int(informative[high - 1]) + 1) for low, high in edges.tolist()
        ]
        return sorted(runs, key=lambda run: run[0] - run[1])


def _chain(pair: Pair, traces: list[Trace]) -> list[Trace]:
    """Return those traces that follow one another in both sounds, with the most windows."""
    order = sorted(traces, key=lambda one: one.ends)
    spans = [
        tuple(one.line.of([pair.starts[one.agree[0]], pair.starts[one.agree[-1]] + pair.size]))
        for one in order
    ]
    total: list[tuple[int, int]] = []  # windows up to here, and the trace before
    for at, one in enumerate(order):
        before = [
            (total[k][0], k)
            for k in range(at)
            # a window that holds a cut may agree with either side of it
            if spans[k][1] <= spans[at][0] + 2 * pair.size
            and sum(spans[k]) < sum(spans[at])
            and order[k].ends[1] <= one.ends[0] + 1
        ]
        most, last = max(before, default=(0, -1))
        total.append((most + len(one.agree), last))
    kept: list[Trace] = []
    at = max(range(len(total)), key=lambda k: total[k][0], default=-1)
    while at >= 0:
        kept.append(order[at])
        at = total[at][1]
    return kept[::-1]


def _levels(one: Trace, noise: int) -> list[Counts]:
    """Cut the windows of a trace where the level changes."""
    level = true_levels(one.rows[:, one.agree], noise)
    cuts = [0, *_steps(level, 0, len(level)), len(level)]
    return [one.agree[low:high] for low, high in pairwise(cuts)]


def true_levels(rows: Floats, noise: int) -> Floats:
    """Return the levels of windows with the noise of one of the two taken out, dB.

    Args:
        rows: of the windows, as in :class:`recall_lab.analysis.alignment.trace.Trace`.
        noise: whose it is: -1 the recording's, 1 the capture's, 0 nobody's.
    """
    similarity, mine, theirs = (
        rows[Windows._fields.index(name)] for name in ("similarity", "mine", "theirs")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = 10 * np.log10(mine / theirs)
    found: Floats = plain + noise * 20 * np.log10(np.clip(similarity, ALIKE, 1))
    return found


def _whose(traces: list[Trace]) -> int:
    """Return whose noise makes the windows less alike: without it their levels scatter least."""

    def scatter(noise: int) -> float:
        changes = [np.diff(true_levels(one.rows[:, one.agree], noise)) for one in traces]
        return float(np.median(np.abs(np.concatenate(changes)))) if changes else 0.0

    return min((0, -1, 1), key=scatter)


def _steps(level: Floats, low: int, high: int) -> list[int]:
    """Return where in a part of the levels a new one begins, rising."""
    best, at = 0.0, 0
    for k in range(low + FEWEST, high - FEWEST + 1):
        left, right = level[max(k - _BESIDE, low) : k], level[k : min(k + _BESIDE, high)]
        change = abs(float(np.median(right) - np.median(left)))
        if change <= max(STEP, best):
            continue
        scatter = np.median(np.abs(left - np.median(left))) + np.median(
            np.abs(right - np.median(right))
        )
        if change > _SURE * float(scatter) / np.sqrt(min(len(left), len(right))):
            best, at = change, k
    if not at:
        return []
    return [*_steps(level, low, at), at, *_steps(level, at, high)]


def _piece(pair: Pair, one: Trace, agree: Counts) -> Piece:
    mine, theirs, similarity = (
        one.rows[Windows._fields.index(name), agree] for name in ("mine", "theirs", "similarity")
    )
    alike = float(np.median(similarity))
    high = min(int(pair.starts[agree[-1]]) + pair.size, len(pair.one))
    return Piece(
        one.line, one.fit, agree, int(pair.starts[agree[0]]), high,
        float(np.median(10 * np.log10(mine / theirs))), alike,
    )  # fmt: skip


def _all_ends(pair: Pair, pieces: list[Piece]) -> list[tuple[int, int]]:
    """Return the ends of all pieces, told as exactly as can be; they do not overlap."""
    ends: list[tuple[int, int]] = []
    for at, one in enumerate(pieces):
        before = pieces[at - 1] if at else None
        after = pieces[at + 1] if at + 1 < len(pieces) else None
        # a change of level on one line: there the windows say all
        held = (
            before is not None and before.line == one.line,
            after is not None and after.line == one.line,
        )
        low, high = _end(
            pair, one,
            (ends[-1][1] if ends else 0, after.low + pair.size if after else len(pair.one)),
        )  # fmt: skip
        ends.append((one.low if held[0] else low, one.high if held[1] else high))
    return ends


def _end(pair: Pair, piece: Piece, limits: tuple[int, int]) -> tuple[int, int]:
    """Return the ends of a piece to half a second: how far shorter windows are alike on its line.

    Args:
        pair: the sounds.
        piece: whose ends are those of its windows.
        limits: how far it may reach, samples of the capture: to where others begin.
    """
    inside = [(edge - piece.line.at) / piece.line.rate for edge in (pair.first, pair.last)]
    limits = max(limits[0], round(inside[0])), min(limits[1], round(inside[1]))
    size = min(_FINE, pair.size)
    ends = []
    for edge, way, limit in ((piece.low, -1, limits[0]), (piece.high, 1, limits[1])):
        # from within the last window that agrees to beyond the next two
        first = edge - way * pair.size
        count = min(3 * pair.size, abs(limit - first)) // size
        steps = first + way * size * np.arange(count)
        begins = steps if way > 0 else steps - size
        found = compare_windows(pair.one, pair.other, begins, size, piece.line)
        off = found.clear & (np.abs(found.lag) > pair.near)
        alike = (found.similarity > max(ALIKE, _PART * piece.similarity)) & ~off
        against = ((found.similarity <= ALIKE) | off) & (found.common > _PART)
        stop = int(np.argmax(against)) if against.any() else count
        last = int(np.flatnonzero(alike[:stop])[-1]) + 1 if alike[:stop].any() else 0
        near = abs(limit - first) - last * size < size  # nothing else is left to be told
        ends.append(limit if near and stop == count else int(first + way * size * last))
    return ends[0], ends[1]


def _rest(pair: Pair, pieces: list[Piece], rows: Floats) -> None:
    """Hold windows that are in no piece along the line of the one that is next."""
    if not pieces:
        return
    left = np.flatnonzero(np.isnan(rows[Windows._fields.index("common")]))
    bounds = np.array([(one.low + one.high) / 2 for one in pieces])
    nearest = np.abs(pair.middles[left][:, None] - bounds).argmin(axis=1)
    for number in np.unique(nearest).tolist():
        line = pieces[number].line
        some = left[nearest == number]
        rows[:, some] = pair.compare(some, line)
