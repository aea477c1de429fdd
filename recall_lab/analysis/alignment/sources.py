"""Find the audio of a gap in a recording, or say why that is not possible.

A gap is filled only where windows on both sides of it agree on one line, at one level; what lies
between them cannot be seen, so nothing less will do. In the midst of a piece the windows of the
comparison say so; near its ends, and wherever one of them is odd, shorter ones are asked.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.alignment.align import ALIKE, Line, Windows, compare_windows
from recall_lab.analysis.alignment.match import LOUD, SILENT, Pair
from recall_lab.analysis.alignment.pieces import STEP, Found, Piece, true_levels
from recall_lab.arrays import runs_of
from recall_lab.wire.pcm import RATE

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_REACH: Final = RATE  # samples beyond the ends of a piece, which are told to half a second
_INSIDE: Final = 1.5  # windows from its ends: there the windows of the comparison will do
_USUAL: Final = 0.85  # of the piece's similarity: a window that has less is odd
_APART: Final = 3  # windows between a gap and the next that could tell, at most
_SIZE: Final = 2**14  # samples of the windows beside a gap: whole blocks of their spectra
_HOP: Final = 2**13
_COUNT: Final = 12  # of them on a side
_HEARD: Final = 0.05  # of such a window that is heard at least
_MINE: Final = 0.75  # of the similarity that the piece's noise leaves it: else another sound
_PLAIN: Final = 0.5  # that is as much: of windows that noise covers nothing follows
_MORE: Final = 4.0  # times the power that level and noise say: another sound, too
_OTHER: Final = 10.0  # times the power that the level says: the recording has another thing there
_CLOSE: Final = 1.5  # dB by which the level beside a gap may be off before it counts
_BLANK: Final = RATE // 50  # samples of digital silence that are a blank
_EDGE: Final = RATE // 20  # samples beside it that say whether the meeting was silent, too


class Source(NamedTuple):
    """Where the audio of a gap lies.

    Attributes:
        parts: spans of the capture's axis that can be filled, samples; none where `why` says so.
        line: where they lie in the recording.
        piece: number of the piece, -1 for none.
        level: of the capture less the recording's there, dB; NaN for none.
        confidence: the lesser similarity of what is on its two sides, 0 to 1; 0 for none.
        why: it, or a part of it, can't be filled; empty where all can.
    """

    parts: list[tuple[int, int]]
    line: Line
    piece: int
    level: float
    confidence: float
    why: str


class _Side(NamedTuple):
    """What is beside a gap: similarity and level, dB; or why it does not agree."""

    similarity: float
    level: float
    why: str = ""


class Sources:
    """Looks for the audio of gaps; what it needs of a comparison is made once.

    Args:
        pair: capture and recording.
        found: where the one lies in the other.
    """

    def __init__(self, pair: Pair, found: Found) -> None:
        self._pair, self._found = pair, found
        self._similarity, self._theirs, self._mine, self._common = (
            found.rows[Windows._fields.index(name)]
            for name in ("similarity", "theirs", "mine", "common")
        )
        self._tells = pair.tells
        self._levels = np.full(len(pair.starts), np.nan)
        self._expected = np.zeros(len(pair.starts))
        self._usual: list[float] = []  # true level of each piece, dB
        self._noise: list[float] = []  # power of its noise, in the sound that has it
        for one in found.pieces:
            levels = true_levels(found.rows[:, one.agree], found.noise)
            self._levels[one.agree] = levels
            self._usual.append(float(np.median(levels)))
            mine, theirs = self._mine[one.agree], self._theirs[one.agree]
            gain = 10 ** (self._usual[-1] / 10)
            more = mine - theirs * gain if found.noise > 0 else theirs - mine / gain
            self._noise.append(max(float(np.median(more)), 0.0))
            self._expected[one.agree] = self._expect(mine, theirs, len(self._noise) - 1)[0]
        heard = self._mine[pair.informative]
        self._quiet = LOUD * float(np.nanpercentile(heard, 95)) if len(heard) else 0.0

    def _expect(self, mine: Any, theirs: Any, number: int) -> tuple[Any, Any]:
        """Return what a piece's level and noise say of windows with so much power.

        Args:
            mine, theirs: their power in the capture and in the recording.
            number: of the piece.

        Returns:
            Their similarity, and their power in the recording.
        """
        gain, noise = 10 ** (self._usual[number] / 10), self._noise[number]
        with np.errstate(divide="ignore", invalid="ignore"):
            if self._found.noise > 0:
                return np.sqrt(theirs * gain / (theirs * gain + noise)), mine / gain
            return np.sqrt(mine / (mine + noise * gain)), mine / gain + noise

    def of(self, low: int, high: int) -> Source:
        """Return where the audio of a gap lies, samples of the capture, half-open."""
        reasons = []
        for left, right in self._candidates(low, high):
            before, after = self._beside(low, high, left, right)
            level, reason = self._level(before, after, left, (low + high) // 2)
            if not reason:
                piece = self._found.pieces[left]
                parts, why = self._recorded(low, high, piece.line)
                confidence = min(before.similarity, after.similarity)
                if not parts:
                    return Source([], piece.line, -1, np.nan, 0.0, why)
                return Source(parts, piece.line, left, level, min(confidence, 1.0), why)
            reasons.append(reason)
        reason = self._between(low, high) or (reasons[0] if reasons else self._outside(low, high))
        return Source([], Line(0.0), -1, np.nan, 0.0, reason)

    def _candidates(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return pieces that may be on the left and on the right of a gap, on one line."""
        pieces = self._found.pieces
        held = [
            number
            for number, one in enumerate(pieces)
            if one.low - _REACH <= low and high <= one.high + _REACH
        ]
        # those that contain it as a whole come first
        held.sort(key=lambda at: not (pieces[at].low <= low and high <= pieces[at].high))
        found = [(at, at) for at in held]
        before = [at for at, one in enumerate(pieces) if one.low < low]
        after = [at for at, one in enumerate(pieces) if one.high > high]
        if before and after and before[-1] < after[0]:
            left, right = before[-1], after[0]
            if pieces[left].joins(pieces[right], self._pair.near):
                found.append((left, right))
        return found

    def _outside(self, low: int, high: int) -> str:
        """Return why no piece holds a gap, where none is before it, or none after it."""
        pieces, pair = self._found.pieces, self._pair
        if pieces[0].low >= low:
            outside = float(pieces[0].line.of(high)) <= pair.first
            return "the recording begins later" if outside else "what is before it lies nowhere"
        outside = float(pieces[-1].line.of(low)) >= pair.last
        return "the recording ends before" if outside else "what is after it lies nowhere"

    def _between(self, low: int, high: int) -> str:
        """Return what lies between the pieces on both sides of a gap; empty for one line."""
        pieces = self._found.pieces
        before = [one for one in pieces if one.low < low]
        after = [one for one in pieces if one.high > high]
        if not before or not after or before[-1].joins(after[0], self._pair.near):
            return ""
        left, right = before[-1], after[0]
        if left.line.sign != right.line.sign:
            return "the polarity changes around it"
        more = float(right.line.of(high) - left.line.of(high)) / RATE
        had = f"has {more:.3f} s more" if more > 0 else f"leaves out {-more:.3f} s"
        return f"the recording {had} around it"

    def _beside(self, low: int, high: int, left: int, right: int) -> tuple[_Side, _Side]:
        """Return what is on the left of a gap and on its right."""
        if left == right:
            sides = self._plain(low, high, left)
            if sides is not None:
                return sides
        room = high - low
        before = self._near(low, -1, room, left)
        return before, before if before.why else self._near(high, 1, room, right)

    def _plain(self, low: int, high: int, number: int) -> tuple[_Side, _Side] | None:
        """Return the sides as the comparison's windows tell them; None where one is odd."""
        pair, piece = self._pair, self._found.pieces[number]
        room = round(_INSIDE * pair.size)
        if low - piece.low < room or piece.high - high < room:
            return None
        informative = pair.informative
        before = int(np.searchsorted(informative, low // pair.size)) - 1
        after = int(np.searchsorted(informative, -(-high // pair.size)))
        if before < 0 or after >= len(informative):
            return None
        first, last = int(informative[before]), int(informative[after])
        if low // pair.size - first > _APART or last - high // pair.size > _APART:
            return None
        some = np.arange(first, last + 1)
        told = some[self._tells[some]]
        odd = (self._found.owner[told] != number) | (
            self._similarity[told] < _USUAL * self._expected[told]
        )
        if odd.any() or self._strange(some[~self._tells[some]], piece):
            return None
        one, two = (
            _Side(float(self._similarity[at]), float(self._levels[at])) for at in (first, last)
        )
        return None if abs(one.level - two.level) > STEP else (one, two)

    def _strange(self, some: Counts, piece: Piece) -> bool:
        """Return whether the recording is loud in any of some windows where the capture is not."""
        theirs = self._theirs[some] * 10 ** (piece.level / 10)
        loud = (theirs > _OTHER * self._mine[some]) & (theirs > _OTHER * self._quiet)
        return bool((loud & (self._common[some] > 0.5)).any())

    def _near(self, edge: int, way: int, room: int, number: int) -> _Side:
        """Return what is beside a gap by shorter windows, the nearest first.

        Args:
            edge: where it begins or ends, samples.
            way: -1 for what is before it, 1 for what is after it.
            room: samples of the gap.
            number: of the piece that should hold it.
        """
        pair, side = self._pair, "before" if way < 0 else "after"
        piece = self._found.pieces[number]
        begins = edge + way * _HOP * np.arange(_COUNT) - (_SIZE if way < 0 else 0)
        begins = begins[(begins + _SIZE > 0) & (begins < len(pair.one))].tolist()
        rest = edge if way < 0 else len(pair.one) - edge
        if rest < _SIZE:  # all that there is, in the middle of a window, which fades at its ends
            inside = min((_SIZE - rest) // 2, room)
            begins.append(edge - inside if way > 0 else edge + inside - _SIZE)
        for begin in begins:
            found = compare_windows(pair.one, pair.other, np.array([begin]), _SIZE, piece.line)
            mine, theirs = float(found.mine[0]), float(found.theirs[0])
            if found.common[0] >= _HEARD and mine > self._quiet and theirs <= SILENT**2:
                return _Side(0.0, np.nan, f"the recording is blank {side} it")
            if found.common[0] < _HEARD or np.isnan(found.similarity[0]):
                continue
            theirs *= 10 ** (piece.level / 10)
            similarity, lag = float(found.similarity[0]), abs(float(found.lag[0]))
            expected, power = self._expect(mine, float(found.theirs[0]), number)
            strange = expected > _PLAIN and similarity < _MINE * expected
            if mine > self._quiet and (strange or found.theirs[0] > _MORE * power):
                return _Side(0.0, np.nan, f"the recording has another sound {side} it")
            if found.agree(pair.near)[0] and similarity >= _MINE * min(expected, _PLAIN):
                level = true_levels(np.array(found), self._found.noise)
                return _Side(similarity, float(level[0]))
            if max(mine, theirs / _OTHER) <= self._quiet:
                continue  # a pause: what is below it need not be in both
            if (found.clear[0] and lag > pair.near) or not similarity > 2 * ALIKE:
                return _Side(0.0, np.nan, f"what is {side} it lies elsewhere, or nowhere")
        return self._beyond(edge, way, number, side)

    def _beyond(self, edge: int, way: int, number: int, side: str) -> _Side:
        """Return the next window that could tell, where all beside a gap is a pause."""
        pair = self._pair
        at = edge // pair.size
        some = np.arange(at + 1, len(pair.starts)) if way > 0 else np.arange(at - 1, -1, -1)
        told = some[self._tells[some]]
        little = _Side(0.0, np.nan, f"too little is heard {side} it")
        if not len(told):
            return little
        owner = int(self._found.owner[told[0]])
        pieces = self._found.pieces
        if owner < 0 or not (owner == number or pieces[owner].joins(pieces[number], pair.near)):
            return _Side(0.0, np.nan, f"what is {side} it lies elsewhere, or nowhere")
        between = some[: int(np.flatnonzero(some == told[0])[0])]
        if self._strange(between, pieces[number]):
            return _Side(0.0, np.nan, f"the recording has another sound {side} it")
        return _Side(float(self._similarity[told[0]]), float(self._levels[told[0]]))

    def _level(self, before: _Side, after: _Side, number: int, at: int) -> tuple[float, str]:
        """Return the level between two sides, dB, or why there is none."""
        if before.why or after.why:
            return np.nan, before.why or after.why
        noise = -20 * np.log10(max(min(before.similarity, after.similarity), ALIKE))
        change = after.level - before.level
        if abs(change) > STEP + max(float(noise), 0.0):
            return np.nan, f"the level changes by {abs(change):.1f} dB around it"
        usual, beside = self._usual[number], (before.level + after.level) / 2
        # beside noise a single window knows less than the whole piece, but for where it changes
        room = _CLOSE if self._changes(number, at) else max(_CLOSE, 2 * float(noise))
        return (usual if abs(beside - usual) <= room else beside), ""

    def _changes(self, number: int, at: int) -> bool:
        """Return whether the level changes near a sample: that is told to two windows."""
        pieces, room = self._found.pieces, 2 * self._pair.size
        return any(
            other.line == pieces[number].line and other.low - room <= at <= other.high + room
            for other in pieces[max(number - 1, 0) : number + 2]
            if other is not pieces[number]
        )

    def _recorded(self, low: int, high: int, line: Line) -> tuple[list[tuple[int, int]], str]:
        """Return the parts of a gap that the recording has, and why not all."""
        pair = self._pair
        edges = np.array([pair.first, pair.last, *pair.other.holes.ravel()])
        begins = np.rint((edges - line.at) / line.rate).astype(np.int64)
        inside = max(low, int(begins[0])), min(high, int(begins[1]))
        if inside[0] >= inside[1]:
            early = float(line.of(high)) <= pair.first + 1
            return [], "the recording begins later" if early else "the recording ends before"
        why = "the recording does not have all of it" if inside != (low, high) else ""
        blanks: list[tuple[int, int]] = [
            *((begin, end) for begin, end in begins[2:].reshape(-1, 2).tolist()),
            *self._blanks(*inside, line),
        ]
        parts, at = [], inside[0]
        for begin, end in sorted(blanks):
            if end <= at or begin >= inside[1]:
                continue
            if begin > at:
                parts.append((at, begin))
            at, why = end, "the recording is blank there"
        if at < inside[1]:
            parts.append((at, inside[1]))
        return parts, why

    def _blanks(self, low: int, high: int, line: Line) -> list[tuple[int, int]]:
        """Return digital silence of the recording in a gap, but for that of the meeting itself."""
        pair = self._pair
        places = np.rint(line.of([low, high])).astype(np.int64).tolist()
        first, last = max(places[0] - _EDGE, 0), min(places[1] + _EDGE, len(pair.other))
        quiet = np.abs(pair.other.take(first, last).astype(np.float64)) * pair.other.unit <= SILENT
        runs = runs_of(quiet) + first
        runs = runs[runs[:, 1] - runs[:, 0] >= _BLANK]
        found = []
        for begin, end in np.rint((runs - line.at) / line.rate).astype(np.int64).tolist():
            if begin < high and end > low and not self._silent(begin, end, low, high):
                found.append((max(begin, low), min(end, high)))
        return found

    def _silent(self, begin: int, end: int, low: int, high: int) -> bool:
        """Return whether the capture is silent, too, as far as it has a blank of the recording."""
        heard = False
        for first, last in ((max(begin, low - _EDGE), low), (high, min(end, high + _EDGE))):
            if last - first < _EDGE // 4:
                continue
            samples = self._pair.one.take(first, last).astype(np.float64) * self._pair.one.unit
            if np.abs(samples).max(initial=0) > 2 * SILENT:
                return False
            heard = True
        return heard
