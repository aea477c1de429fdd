"""Find where one sound may lie in another, roughly: by how the energy of a few bands changes.

That is what two recordings of one meeting have in common whatever their level, coding and noise.
Stretches of half a minute of the one are looked for in the whole other, by a normalised
correlation over what is known of both (Padfield, "Masked object registration in the Fourier
domain", IEEE TIP 21, 2012, 2706), of features whose mean is zero.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.sound.frames import each_block, frames_of
from recall_lab.wire.pcm import RATE

HOP: Final = 0.01
"""From one feature to the next, s."""

STEEPEST: Final = 1.1e-3
"""By how much clocks may run apart: more than any do, but a player told to catch up does."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]

_EDGES: Final = (150.0, 400.0, 800.0, 1600.0, 3400.0)  # Hz, of the bands: where speech is
_DEPTH: Final = 1e-4  # of the loudest: what is 40 dB below it is no more than noise to us
_STEP: Final = 4  # features over which a rise is taken: a syllable's
_MOST: Final = 1.5  # powers of ten: a greater rise is an edge of digital silence
_FLAT: Final = 0.05  # powers of ten: what changes less has no shape to be known by

_PROBE: Final = round(30 / HOP)  # features: so short that drift does not blur it
_PROBES: Final = 24
_PEAKS: Final = 3  # places kept of each probe
_APART: Final = round(0.25 / HOP)  # features between two of them
_BLUR: Final = 0.03  # s by which a rough place may be wrong
_USUAL: Final = 500e-6  # drift within which places of distant probes count as one
_BRIEF: Final = round(15 / HOP)  # features of a probe for what is left over, which may be short


class Track(NamedTuple):
    """How the energy of bands rises and falls.

    Attributes:
        rises: powers of ten over 40 ms, float32, shape ``(bands, features)``; 0 where not known.
        known: 1.0 where all of a feature was received, else 0.0, float32, shape ``(features,)``.
    """

    rises: Singles
    known: Singles


class Anchor(NamedTuple):
    """A rough guess.

    Attributes:
        sample: of the one.
        other: where that lies in the other, in samples.
        support: correlations of all probes that agree with it, summed up.
        best: the highest of them, 0 to 1.
    """

    sample: float
    other: float
    support: float
    best: float


def track(line: Timeline) -> Track:
    """Return the features of a sound, one every 10 ms."""
    frames = frames_of(len(line), length=0.032, hop=HOP)
    if frames.count <= _STEP:
        return Track(np.zeros((len(_EDGES) - 1, 0), np.float32), np.zeros(0, np.float32))
    low, high = np.array(_EDGES[:-1])[:, None], np.array(_EDGES[1:])[:, None]
    member = ((frames.frequencies >= low) & (frames.frequencies < high)).astype(np.float32).T
    bands = np.empty((frames.count, member.shape[1]), np.float32)

    def take(first: int, last: int, power: Singles) -> None:
        np.matmul(power, member, out=bands[first:last])

    each_block(line, frames, take)
    heard = frames.missing(line) == 0
    if heard.any():
        bands += _DEPTH * np.percentile(bands[heard], 99, axis=0).astype(np.float32)
    bands += np.float32(1e-12)  # digital silence has no logarithm
    np.log10(bands, out=bands)
    rises = np.clip(bands[_STEP:] - bands[:-_STEP], -_MOST, _MOST).T
    known = (heard[_STEP:] & heard[:-_STEP]).astype(np.float32)
    return Track(np.ascontiguousarray(rises * known), known)


class Finder:
    """Looks for probes in a whole track: its spectra are made once.

    Args:
        whole: where to look.
        longest: of a probe, features; kept as an attribute.
    """

    def __init__(self, whole: Track, longest: int) -> None:
        self.longest = max(longest, 1)
        self._size = next_fast_len(max(8 * self.longest, 2**14), real=True)
        self._step = self._size - self.longest + 1
        self._lags = whole.known.size + self.longest - 1
        self._rises = self._spectra(whole.rises)
        self._known = self._spectra(whole.known)
        self._squares = self._spectra(np.square(whole.rises).sum(axis=0))

    def correlate(self, probe: Track) -> Singles:
        """Return the normalised correlation, -1 to 1, wherever the probe may begin.

        Shape ``(features + longest - 1,)``, from ``1 - longest`` on: it may reach beyond either
        end. 0 where less than half of what it has lies within.
        """
        squares = np.square(probe.rises).sum(axis=0)
        both = self._back(*((self._rises[at], rises) for at, rises in enumerate(probe.rises)))
        mine = self._back((self._known, squares))
        theirs = self._back((self._squares, probe.known))
        flat = _FLAT**2 * len(probe.rises) * max(float(probe.known.sum()), 1.0)
        mine, theirs = np.maximum(mine, 0), np.maximum(theirs, 0)
        found = np.asarray(both / np.sqrt((mine + flat) * (theirs + flat)), np.float32)
        found[mine < 0.5 * squares.sum()] = 0
        return found

    def _spectra(self, values: Singles) -> Spectra:
        """Return the spectra of overlapping pieces (overlap-save), the last padded with zeros."""
        pieces = -(-self._lags // self._step)
        padded = np.zeros((*values.shape[:-1], (pieces - 1) * self._step + self._size), np.float32)
        padded[..., self.longest - 1 : self.longest - 1 + values.shape[-1]] = values
        cut = np.lib.stride_tricks.sliding_window_view(padded, self._size, axis=-1)
        return np.asarray(rfft(cut[..., :: self._step, :], axis=-1), np.complex64)

    def _back(self, *pairs: tuple[Spectra, Singles]) -> Singles:
        """Return the correlation of pieces with a probe, summed over pairs of them."""
        total = np.zeros(self._known.shape, np.complex64)
        for spectra, probe in pairs:
            total += spectra * rfft(probe, self._size).conj()
        valid = irfft(total, self._size, axis=-1)[:, : self._step]
        return np.asarray(valid, np.float32).reshape(-1)[: self._lags]


def anchors(one: Track, other: Track, most: int = 3) -> list[Anchor]:
    """Return the best guesses of where the one lies in the other, the best first, all different.

    Probes are taken of the shorter, so that they lie within the longer.
    """
    if one.known.size > other.known.size:
        return [
            Anchor(found.other, found.sample, found.support, found.best)
            for found in anchors(other, one, most)
        ]
    size = min(_PROBE, one.known.size)
    if not size:
        return []
    finder = Finder(other, size)
    found = [
        (number, start, *peak)  # probe, first feature of it, where that lies, correlation
        for number, start in enumerate(_lively(one, size))
        for peak in _peaks(one, finder, start, size)
    ]
    return _ranked(np.array(found).reshape(-1, 4), size, most)


def anchors_of_part(one: Track, finder: Finder, low: float, high: float) -> list[list[Anchor]]:
    """Return guesses of where a part of the one lies, a list a probe of it, the best first.

    Args:
        one: of which it is a part.
        finder: for the whole other, and probes of 15 s.
        low, high: the part's first and last sample, half-open.
    """
    first = max(int(low / RATE / HOP), 0)
    last = min(int(high / RATE / HOP), one.known.size)
    count = max(-(-(last - first) // _BRIEF), 1)
    edges = np.linspace(first, last, count + 1).astype(int).tolist()
    found = []
    for start, end in pairwise(edges):
        size = end - start
        middle = (start + size / 2) * HOP * RATE
        peaks = _peaks(one, finder, start, size) if one.rises[:, start:end].any() else []
        found.append(
            [
                Anchor(middle, middle + (place - start) * HOP * RATE, score, score)
                for place, score in peaks
            ]
        )
    return found


def finder_of_parts(other: Track) -> Finder:
    """Return what :func:`anchors_of_part` looks with."""
    return Finder(other, _BRIEF)


def _peaks(one: Track, finder: Finder, start: int, size: int) -> list[tuple[float, float]]:
    """Return where a probe lies best, in features of the other, and how well."""
    part = slice(start, start + size)
    scores = finder.correlate(Track(one.rises[:, part], one.known[part]))
    found = []
    for _ in range(_PEAKS):
        at = int(np.argmax(scores))
        found.append((at + vertex(scores, at) - (finder.longest - 1), float(scores[at])))
        scores[max(at - _APART, 0) : at + _APART] = 0
    return found


def _lively(one: Track, size: int) -> list[int]:
    """Return where probes begin: the liveliest of each part of the whole."""
    starts = np.arange(0, max(one.known.size - size // 2, 1), size)
    starts = np.minimum(starts, max(one.known.size - size, 0))
    energy = np.add.reduceat(np.square(one.rises).sum(axis=0), starts)
    parts = np.array_split(np.arange(len(starts)), min(_PROBES, len(starts)))
    best = [part[np.argmax(energy[part])] for part in parts]
    return [int(starts[at]) for at in best if energy[at] > 0]


def _ranked(found: Floats, size: int, most: int) -> list[Anchor]:
    """Count for each place which other probes' places agree with it, and keep the best."""
    probe, start, place, score = found.T
    # the middle of a probe, which drift does not move
    middle = (start + size / 2) * HOP * RATE
    lag = (place - start) * HOP * RATE
    far = np.abs(lag[:, None] - lag)
    near = far <= RATE * _BLUR + _USUAL * np.abs(middle[:, None] - middle)
    left = np.ones(len(found), bool)
    ranked: list[Anchor] = []
    while left.any() and len(ranked) < most:
        support = np.zeros(len(found))
        for number in np.unique(probe):
            own = (probe == number) & left
            if own.any():
                support += np.where(near[:, own], score[own], 0).max(axis=1)
        support[~left] = -np.inf
        agree = np.flatnonzero((support >= support.max() - 1e-9) & left)
        at = int(agree[np.argmax(score[agree])])
        best = float(score[near[at] & left].max())
        ranked.append(Anchor(middle[at], middle[at] + lag[at], float(support[at]), best))
        left &= ~near[at]
    return ranked


def vertex(values: Singles, at: int) -> float:
    """Return where the parabola through a peak and its neighbours is highest, -0.5 to 0.5."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, middle, right = (float(values[k]) for k in (at - 1, at, at + 1))
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0
