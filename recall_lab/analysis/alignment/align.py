"""Find where one sound lies in another, exactly: compare waveforms along a line.

Windows are compared by their cross spectrum, weighted by the smoothed coherence (Carter, Nuttall
& Cable, "The smoothed coherence transform", Proc. IEEE 61, 1973, 1497), block by block along the
line known so far, so that drift does not smear it. How a line is found and how far it holds is
told in :mod:`recall_lab.analysis.alignment.trace`; its slope is the drift of the clocks.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft
from scipy.special import stdtrit

from recall_lab.analysis.alignment.anchors import STEEPEST, Singles, vertex
from recall_lab.analysis.axis.axis import Timeline
from recall_lab.wire.pcm import RATE

SEARCH: Final = 0.04
"""How far from the line a window's lag is looked for, s either way."""

ALIKE: Final = 0.1
"""Least similarity of a window that agrees: noise 20 dB above the speech leaves so much."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BLOCK: Final = 4096  # samples of a cross spectrum: 256 ms
_BAND: Final = (100.0, 7000.0)  # Hz: no hum, and nothing that coders cut off
_PHASES: Final = 16  # parts of a sample to which blocks are shifted at once
_FINER: Final = 4  # points a sample, between which a parabola tells the peak
_LOBE: Final = 0.0015  # s on either side of a peak that are still it
_QUIET: Final = 1e-6  # of a block's loudest bin: below is the rounding of 16 bits
_CLEAR: Final = 0.05  # least height of a peak: twice what chance makes of other speech
_OUTSTANDING: Final = 2.0  # times the next peak, or a tone would do

_RELEASE: Final = 256  # windows between two releases of what was read of the files

_SHARPEST: Final = 0.02  # samples: no lag is told more sharply
_USUAL: Final = 100e-6  # drift
_SAMPLE: Final = 300  # points whose pairs are looked at


class Line(NamedTuple):
    """Where samples of the one lie in the other.

    Attributes:
        at: where the first sample of the one lies, in samples of the other.
        rate: samples of the other for a sample of the one.
        sign: 1, or -1 where the wave of the other is upside down: inverted polarity.
    """

    at: float
    rate: float = 1.0
    sign: int = 1

    def of(self, samples: npt.ArrayLike) -> Floats:
        """Return where samples lie in the other."""
        return self.at + self.rate * np.asarray(samples, np.float64)

    def moved(self, lag: Line) -> Line:
        """Return the line later by a lag, which may grow along it."""
        return Line(self.at + lag.at, self.rate + lag.rate, self.sign)


class Windows(NamedTuple):
    """How windows of the one compare to the other along a line; all of shape ``(windows,)``.

    The other is taken with the sign of the line: where that is -1, turned upside down.

    Attributes:
        lag: how much later the window lies in the other than the line says, samples.
        peak: height of the correlation there; 1.0 would be coherence at all frequencies.
        side: height of the next peak beside it.
        similarity: normalised correlation, -1 to 1: at the lag where that is clear, else on the
            line itself; NaN where either is silent.
        mine, theirs: variance of what is there of both, full scale 1; NaN where nothing is.
        common: share of the window that is there in both.
        opposed: lag at which the window is alike with the other sign, samples; NaN where that is
            not clear, or where it is more alike with the line's.
    """

    lag: Floats
    peak: Floats
    side: Floats
    similarity: Floats
    mine: Floats
    theirs: Floats
    common: Floats
    opposed: Floats

    @property
    def clear(self) -> Mask:
        """Which windows have one peak that stands out: chance and tones make none."""
        # a wave that is upside down has peaks too, on either side of its trough
        found: Mask = _stands_out(self.peak, self.side) & np.isnan(self.opposed)
        return found

    def agree(self, near: float | Floats) -> Mask:
        """Return which windows say that the line is right, to so many samples.

        Words that were only said alike may correlate at a few frequencies, but not on the whole.
        """
        found: Mask = self.clear & (np.abs(self.lag) <= near) & (self.similarity > ALIKE)
        return found

    def oppose(self, near: float) -> Mask:
        """Return which windows say that the line is right, to so many samples, but for its sign."""
        found: Mask = np.abs(self.opposed) <= near
        return found


class Fit(NamedTuple):
    """A straight line through lags.

    Attributes:
        line: the lag at sample 0, in samples, and how much it grows a sample.
        used: which points agree with it.
        scatter: standard deviation of those around it, samples.
        middle: mean of their positions, samples.
        errors: half widths of the 95 % intervals of the height at `middle` and of the slope.
    """

    line: Line
    used: Mask
    scatter: float
    middle: float
    errors: tuple[float, float]


def compare_windows(
    one: Timeline, other: Timeline, starts: Counts, size: int, line: Line
) -> Windows:
    """Hold windows of the one against the other where a line says they lie.

    Args:
        one, other: the sounds.
        starts: first sample of each window, in the one.
        size: samples of a window.
        line: where they should lie.
    """
    found = np.full((len(Windows._fields), len(starts)), np.nan)
    pair = _Pair(one, other, size, line)
    # in one thread: the calls are so short that two would only wait for each other
    for turn, start in enumerate(starts.tolist(), 1):
        found[:, turn - 1] = pair.window(start)
        if turn % _RELEASE == 0:
            one.release()
            other.release()
    return Windows(*found)


class _Pair:
    """Two sounds along a line; what comparing their windows needs is made once."""

    def __init__(self, one: Timeline, other: Timeline, size: int, line: Line) -> None:
        self._one, self._other, self._size, self._line = one, other, size, line
        self._block = min(_BLOCK, 2 ** max(int(np.log2(max(size, 2))) - 1, 4))
        self._hops = np.arange(0, max(size - self._block, 0) + 1, self._block // 2)
        self._shape = np.hanning(self._block + 1)[:-1].astype(np.float32)
        bins = np.arange(self._block // 2 + 1)
        self._band = slice(*np.searchsorted(bins * RATE / self._block, _BAND).tolist())
        parts = np.arange(_PHASES)[:, None] / _PHASES - 0.5
        self._omega = 2 * np.pi * bins[self._band] / self._block
        self._turns = np.exp(1j * self._omega * parts).astype(np.complex64)

    def window(self, start: int) -> tuple[float, ...]:
        """Return the fields of :class:`Windows` for one."""
        half = self._block / 2
        begins = self._line.of(start + self._hops + half) - half
        whole = np.floor(begins + 0.5).astype(np.int64)
        first = int(whole[0])
        mine, here = _piece(self._one, start, self._size)
        # one more than the window has, as drift moves its blocks
        theirs, there = _piece(self._other, first, int(whole[-1] - first) + self._size)
        common = here & there[: self._size]
        count = int(np.count_nonzero(common))
        if not count:
            return np.nan, 0.0, 0.0, np.nan, np.nan, np.nan, 0.0, np.nan
        powers = [float(samples[: self._size][common].var()) for samples in (mine, theirs)]
        within = np.arange(self._block)
        rows, columns = self._hops[:, None] + within, (whole - first)[:, None] + within
        x, y = mine[rows], theirs[columns]
        if count < self._size:  # what only one of them has would count against them
            both = here[rows] & there[columns]
            x, y = x * both, y * both
        *found, opposed = self._cross(x * self._shape, y * self._shape, begins - whole)
        return *found, *powers, count / self._size, opposed

    def _cross(self, mine: Singles, theirs: Singles, part: Floats) -> tuple[float, ...]:
        """Return lag, peak, side peak, similarity and opposed lag of blocks.

        Args:
            mine, theirs: blocks, shape ``(blocks, samples)``.
            part: of a sample by which each block lies later than it was taken.
        """
        x, y = (rfft(blocks, axis=1)[:, self._band] for blocks in (mine, theirs))
        phase = np.clip(np.rint((part + 0.5) * _PHASES), 0, _PHASES - 1).astype(np.int64)
        cross = self._line.sign * (x.conj() * y * self._turns[phase]).sum(axis=0)
        xx, yy = (np.square(np.abs(spectra)).sum(axis=0) for spectra in (x, y))
        energy = float(xx.sum(dtype=np.float64)) * float(yy.sum(dtype=np.float64))
        if not energy > 0:
            return np.nan, 0.0, 0.0, np.nan, np.nan
        coherence = cross / np.sqrt((xx + _QUIET * xx.max()) * (yy + _QUIET * yy.max()))
        turned = float((part - (phase / _PHASES - 0.5)).mean())  # too little, of a sample

        def similarity(at: float) -> float:
            aligned = (cross * np.exp(1j * self._omega * at)).real.sum(dtype=np.float64)
            return float(aligned) / float(np.sqrt(energy))

        near = self._correlation(coherence)
        lag, peak, side = _highest(near)
        opposed = np.nan
        if -near.min() > peak:
            away, depth, beside = _highest(-near)
            if _stands_out(depth, beside) and -similarity(away) > ALIKE:
                opposed = away - turned
        clear = _stands_out(peak, side) and np.isnan(opposed)
        like = similarity(lag if clear else turned)
        return lag - turned, peak, side, like, opposed

    def _correlation(self, coherence: npt.NDArray[np.complex64]) -> Singles:
        """Return the correlation at the lags that are looked at, the middle one being none."""
        points = self._block * _FINER
        spectrum = np.zeros(points // 2 + 1, np.complex64)
        # by its own size once more: what is not coherent has little say
        spectrum[self._band] = coherence * np.abs(coherence)
        found = irfft(spectrum, points) * (points / 2 / len(coherence))
        reach = min(round(SEARCH * RATE), self._block // 2 - 1) * _FINER
        return np.concatenate([found[-reach:], found[: reach + 1]])


def _highest(near: Singles) -> tuple[float, float, float]:
    """Return where a correlation peaks, samples; how high; and how high beside it."""
    at = int(np.argmax(near))
    lobe = round(_LOBE * RATE) * _FINER
    rest = np.concatenate([near[: max(at - lobe, 0)], near[at + lobe :]])
    lag = (at + vertex(near, at) - len(near) // 2) / _FINER
    return lag, float(near[at]), float(np.abs(rest).max(initial=0))


def _stands_out(peak: Any, side: Any) -> Any:
    """Return whether a peak is high, and higher than the next beside it."""
    return (peak > _CLEAR) & (peak > _OUTSTANDING * side)


def straight(positions: Floats, lags: Floats) -> Fit:
    """Fit a straight line through lags, whatever some of them say.

    It begins with the median of the slopes between any two points (Theil, 1950; Sen, 1968);
    points that lie off are left out, and least squares do the rest. Where the points can't tell
    a slope, it is drawn to none, as clocks seldom differ by more than 100 ppm. Intervals come
    from the scatter of what is left and Student's t.

    Args:
        positions: where windows lie, samples, shape ``(windows,)``, at least one.
        lags: of the windows, samples.

    Example:
        >>> straight(np.array([0.0, 1e6, 2e6]), np.array([3.0, 13.0, 23.0])).line.of([5e5])
        array([8.])
    """
    line = _median_line(positions, lags)
    used = np.ones(len(lags), bool)
    while True:
        off = lags - line.of(positions)
        spread = 1.4826 * float(np.median(np.abs(off[used])))
        kept = used & (np.abs(off) <= 4 * max(spread, _SHARPEST))
        times, heights = positions[kept], lags[kept]
        middle, mean = float(times.mean()), float(heights.mean())
        freedom = max(len(times) - 2, 1)
        scatter = max(float(np.sqrt(np.square(off[kept]).sum() / freedom)), _SHARPEST)
        power = float(np.square(times - middle).sum()) + (scatter / _USUAL) ** 2
        rate = float(((times - middle) * (heights - mean)).sum()) / power
        line = Line(mean - rate * middle, rate)
        if (kept == used).all():
            break
        used = kept
    bound = float(stdtrit(freedom, 0.975)) * scatter
    errors = bound / np.sqrt(len(times)), bound / np.sqrt(power)
    return Fit(line, used, scatter, middle, errors)


def _median_line(positions: Floats, lags: Floats) -> Line:
    some = np.unique(np.linspace(0, len(lags) - 1, min(len(lags), _SAMPLE)).astype(np.int64))
    times, heights = positions[some], lags[some]
    left, right = np.triu_indices(len(some), 1)
    run = times[right] - times[left]
    slopes = (heights[right] - heights[left])[run != 0] / run[run != 0]
    slopes = slopes[np.abs(slopes) <= STEEPEST]
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    return Line(float(np.median(heights - slope * times)), slope)


def piece_of(line: Timeline, first: int, size: int) -> Singles:
    """Return samples with full scale 1, float32, zero where there are none."""
    samples = np.zeros(size, np.float32)
    low, high = max(first, 0), min(first + size, len(line))
    if low < high:
        inside = slice(low - first, high - first)
        np.multiply(line.take(low, high), line.unit, out=samples[inside], casting="unsafe")
    return samples


def _piece(line: Timeline, first: int, size: int) -> tuple[Singles, Mask]:
    """Return the same, and which samples there are."""
    there = np.zeros(size, bool)
    low, high = max(first, 0), min(first + size, len(line))
    if low < high:
        there[low - first : high - first] = line.heard(low, high)
    return piece_of(line, first, size), there
