"""Measure one voice in another's stream: find it by correlation, measure it by its filter.

Whitened stretches in which A speaks are correlated with what B's stream has there (generalised
cross-correlation, Knapp & Carter, IEEE Trans. ASSP 24, 1976, 320), and summed over the meeting:
what leaks has one lag all the time, what does not has none. It counts where it stands out over
all other lags, and over the same stretches held against wrong ones, which tells hum and music.

Then the filter from A to B is fitted by least squares (Wiener; Haykin, Adaptive Filter Theory,
2), of two halves of the blocks each. The level of what leaks is told by the covariance of B with
what the *other* half's filter foretells, so that noise and B's own words add nothing to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import solve_toeplitz
from scipy.ndimage import binary_dilation, uniform_filter1d
from scipy.signal import butter, fftconvolve, sosfilt

from recall_lab.analysis.alignment.align import piece_of
from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.sound.speech import FRAME
from recall_lab.wire.pcm import RATE

FURTHEST: Final = 1.0
"""How far a leak may lag, s either way: an echo's way through two networks is shorter."""

FAINTEST: Final = 46.0
"""How far below the speaker a leak is told, dB: what is fainter is not heard beside a voice."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_STRETCH: Final = 2 * RATE  # samples that are correlated at once: some words
_REACH: Final = round(FURTHEST * RATE)
_MOST: Final = 60  # stretches of a speaker: two minutes tell, however long the meeting is
_SPOKEN: Final = 0.3  # of a stretch that tells
_BAND: Final = (150.0, 7000.0)  # Hz: little hum, and nothing that coders cut off
_SMOOTH: Final = 25.0  # Hz over which a spectrum is whitened
_SURE: Final = 9.0  # deviations: the highest of 32,000 lags of chance has 4.5
_OVER: Final = 1.6  # times the highest peak of stretches held against wrong ones
_MOST_SAY: Final = 10.0  # deviations
_WRONG: Final = 3  # times that this is tried
_AGREE: Final = 16  # samples, 1 ms: that near are lags the same
_OWN: Final = 4.0  # deviations of a stretch's own peak that is one

_BLOCK: Final = RATE // 2  # samples of a block of the fit
_BEFORE: Final = 128  # taps before the direct sound
_TAPS: Final = 2048  # 128 ms of a room
_RIDGE: Final = 1e-4  # of the power: keeps bands in which nothing is said out of the filter
_ALIKE: Final = 0.12  # correlation of a block with what is foretold: chance stays below
_TELLS: Final = 0.03  # of a block's power that is foretold: less could not be told from the rest
_HEARD: Final = 0.3  # of what is foretold that has to be there
_TURNS: Final = 2
_FULL: Final = 0.5  # of a block that is speech, at least
_EMPHASIS: Final = 0.95
_SETTLES: Final = RATE // 10  # samples after which the high-pass has forgotten its beginning
_STEADY: Final = 20  # frames over which levels are held against each other, 0.2 s
_LOUDER: Final = 0.7  # of the power of the loudest: who speaks is about as loud as any copy of it
_TAIL: Final = 20  # frames after speech in which a room still sounds
_HIGH: Final = butter(2, 100, "high", fs=RATE, output="sos")


class Voice(NamedTuple):
    """One stream on the axis that all share.

    Attributes:
        line: its samples.
        powers: mean squares of frames of 10 ms, full scale 1; NaN where there is no level.
        speaking: which frames are speech, by its own level.
    """

    line: Timeline
    powers: Floats
    speaking: Mask


class Measured(NamedTuple):
    """How a voice is heard in another stream.

    Attributes:
        lag: how much later it is there, samples.
        attenuation: how far below the speaker's own stream, dB.
        share: of the speaker's blocks that tell, in which it is heard, 0 to 1.
        compared: s that tell.
        peak: deviations by which the correlation stands out.
        start, end: first and last block in which it is heard, samples of the axis.
    """

    lag: int
    attenuation: float
    share: float
    compared: float
    peak: float
    start: int
    end: int


class Peak(NamedTuple):
    """Where a correlation stands out: lag in samples, how far in deviations."""

    lag: int
    height: float


def _stretches(own: Mask) -> npt.NDArray[np.int64]:
    """Return where stretches begin in which somebody speaks, samples: not too many, spread out."""
    size = _STRETCH // FRAME
    share = own[: len(own) // size * size].reshape(-1, size).mean(axis=1)
    informative = np.flatnonzero(share >= _SPOKEN)
    some = np.unique(
        np.linspace(0, len(informative) - 1, min(len(informative), _MOST)).astype(np.int64)
    )
    return np.asarray(informative[some] * _STRETCH, np.int64)


class Correlator:
    """Correlates one speaker's stretches with other streams: their spectra are made once.

    Args:
        speaker: whose voice is looked for.
        own: frames of the speaker's own speech; the rest is left out.
    """

    def __init__(self, speaker: Voice, own: Mask) -> None:
        self._starts = _stretches(own)
        self._size = next_fast_len(_STRETCH + 2 * _REACH, real=True)
        bins = np.arange(self._size // 2 + 1) * (RATE / self._size)
        self._band = slice(*np.searchsorted(bins, _BAND).tolist())
        self._width = max(round(_SMOOTH * self._size / RATE), 1)
        size = _STRETCH // FRAME
        self._mine = [
            self._spectrum(
                piece_of(speaker.line, at, _STRETCH)
                * np.repeat(own[at // FRAME : at // FRAME + size], FRAME)
            )
            for at in self._starts.tolist()
        ]
        speaker.line.release()

    def peak(self, stream: Voice) -> Peak | None:
        """Return where the speaker's voice stands out in a stream; None where it does not."""
        theirs = [
            self._spectrum(piece_of(stream.line, at - _REACH, _STRETCH + 2 * _REACH))
            for at in self._starts.tolist()
        ]
        stream.line.release()
        found = [self._scores(x, y) for x, y in zip(self._mine, theirs, strict=True)]
        known = [scores for scores in found if scores is not None]
        if not known:
            return None
        total = np.sum(known, axis=0) / np.sqrt(len(known))
        at = int(np.argmax(np.abs(total)))
        height = float(abs(total[at]))
        if height < _SURE:
            return None
        # one stretch alone may be alike by a sound that both have by chance, such as a ring
        near = slice(max(at - _AGREE, 0), at + _AGREE + 1)
        agree = sum(float(np.abs(scores[near]).max()) > _OWN for scores in known)
        if agree < min(3, len(known)):
            return None
        if height < _OVER * self._by_chance(theirs):
            return None
        return Peak(at - _REACH, height)

    def _by_chance(self, theirs: list[npt.NDArray[np.complex64] | None]) -> float:
        """Return the highest peak of stretches that are held against wrong ones."""
        highest = 0.0
        for turn in range(1, min(_WRONG, len(theirs) - 1) + 1):
            turned = theirs[turn:] + theirs[:turn]
            found = [self._scores(x, y) for x, y in zip(self._mine, turned, strict=True)]
            known = [scores for scores in found if scores is not None]
            if known:
                total = np.sum(known, axis=0) / np.sqrt(len(known))
                highest = max(highest, float(np.abs(total).max()))
        return highest

    def _spectrum(self, samples: Singles) -> npt.NDArray[np.complex64] | None:
        """Return the whitened spectrum of a piece within the band; None where it is silent."""
        if not samples.any():
            return None
        spectrum = rfft(samples, self._size)[self._band]
        power = uniform_filter1d(np.square(np.abs(spectrum)), self._width, mode="nearest")
        return np.asarray(spectrum / np.sqrt(power + 1e-12 * power.max() + 1e-20), np.complex64)

    def _scores(
        self,
        mine: npt.NDArray[np.complex64] | None,
        theirs: npt.NDArray[np.complex64] | None,
    ) -> Singles | None:
        """Return the correlation at every lag, in its own deviations."""
        if mine is None or theirs is None:
            return None
        cross = np.zeros(self._size // 2 + 1, np.complex64)
        cross[self._band] = mine.conj() * theirs
        scores = irfft(cross, self._size)[: 2 * _REACH + 1]
        # by the median: a peak, and all a room makes of it, are none of the noise
        size = np.abs(scores)
        # no stretch has more say than some: two that are alike by chance, as a ring is, say nothing
        deviation = max(1.4826 * float(np.median(size)), float(size.max()) / _MOST_SAY)
        return np.asarray(scores / deviation, np.float32) if deviation > 0 else None


class _Block(NamedTuple):
    """Half a second of both; the filter's taps are ``_TAPS``.

    Attributes:
        start: where it begins on the axis, samples.
        weight: the less, the louder the stream is: what its owner says is noise to the fit.
        auto: of the speaker's samples with themselves, at lags from -(taps - 1) to taps - 1.
        cross: of the speaker's with the stream's, at the taps.
        spoken: the speaker's samples that the filter reaches, shape ``(_BLOCK + _TAPS - 1,)``.
        heard: the stream's, shape ``(_BLOCK,)``.
    """

    start: int
    weight: float
    auto: Floats
    cross: Floats
    spoken: Floats
    heard: Floats


def measured(voices: tuple[Voice, Voice], peak: Peak, own: Mask) -> Measured | None:
    """Measure how a voice is heard in another's stream; None where it is not, after all.

    Args:
        voices: the speaker's stream and the other's.
        peak: where the voice stands out.
        own: frames of the speaker's own speech.
    """
    blocks = _blocks(voices, peak.lag, own)
    heard = np.array([float(block.heard @ block.heard) for block in blocks])
    spoken = np.array([float(np.square(block.spoken[-_BLOCK:]).sum()) for block in blocks])
    there = heard > 0
    for _ in range(_TURNS):
        if np.count_nonzero(there) < 2:
            return None
        both, foretold = _foretold(blocks, there)
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = np.where(foretold * heard > 0, both / np.sqrt(foretold * heard), 0)
        there = (alike >= _ALIKE) & (both >= _HEARD * foretold)
    tells = there | (foretold >= _TELLS * heard)
    weights = np.array([block.weight for block in blocks])[there]
    leaked, said = float(weights @ both[there]), float(weights @ spoken[there])
    if leaked <= 0 or said <= 0:
        return None
    where = [block.start for block, is_there in zip(blocks, there, strict=True) if is_there]
    return Measured(
        peak.lag, -10 * float(np.log10(leaked / said)),
        float(np.count_nonzero(there) / np.count_nonzero(tells)),
        float(np.count_nonzero(tells) * _BLOCK / RATE), peak.height,
        min(where), max(where) + _BLOCK,
    )  # fmt: skip


def _blocks(voices: tuple[Voice, Voice], lag: int, own: Mask) -> list[_Block]:
    """Return the blocks in which the speaker speaks, spread over the meeting."""
    speaker, stream = voices
    size = _BLOCK // FRAME
    share = own[: len(own) // size * size].reshape(-1, size).mean(axis=1)
    informative = np.flatnonzero(share >= _FULL)
    most = _MOST * _STRETCH // _BLOCK
    some = np.unique(
        np.linspace(0, len(informative) - 1, min(len(informative), most)).astype(np.int64)
    )
    reach = _TAPS - 1
    points = next_fast_len(_BLOCK + 3 * reach, real=True)
    found = []
    for start in (informative[some] * _BLOCK).tolist():
        x = _high_passed(speaker.line, start + _BEFORE - reach, _BLOCK + 2 * reach)
        y = _high_passed(stream.line, start + lag, _BLOCK + reach)
        # speech falls by 6 dB an octave: without that, its lows alone would tell
        sharp_x, sharp_y = (np.append(0, z[1:] - _EMPHASIS * z[:-1]) for z in (x, y))
        middle = rfft(sharp_x[reach : reach + _BLOCK], points).conj()
        auto = irfft(middle * rfft(sharp_x, points), points)[: 2 * reach + 1]
        cross = irfft(middle * rfft(sharp_y, points), points)[: reach + 1]
        power = float(sharp_y @ sharp_y) + float(auto[reach]) * 10 ** (-FAINTEST / 10)
        if auto[reach] > 0:
            found.append(_Block(start, 1 / power, auto, cross, x[: _BLOCK + reach], y[:_BLOCK]))
    speaker.line.release()
    stream.line.release()
    return found


def _high_passed(line: Timeline, first: int, size: int) -> Floats:
    samples = piece_of(line, first - _SETTLES, size + _SETTLES).astype(np.float64)
    found: Floats = sosfilt(_HIGH, samples)[_SETTLES:]
    return found


def _foretold(blocks: list[_Block], used: Mask) -> tuple[Floats, Floats]:
    """Foretell each block by the filter of the other half of them.

    Returns:
        The covariance of what is heard with what is foretold, and the energy of that; both of
        shape ``(blocks,)``.
    """
    half = np.zeros(len(blocks), np.int64)
    half[used] = np.arange(np.count_nonzero(used)) % 2
    both, foretold = np.zeros(len(blocks)), np.zeros(len(blocks))
    for side in (0, 1):
        fit = [block for at, block in enumerate(blocks) if used[at] and half[at] != side]
        auto = np.sum([block.weight * block.auto for block in fit], axis=0)
        cross = np.sum([block.weight * block.cross for block in fit], axis=0)
        auto[_TAPS - 1] *= 1 + _RIDGE
        taps = solve_toeplitz((auto[_TAPS - 1 :], auto[_TAPS - 1 :: -1]), cross)
        for at in np.flatnonzero(half == side).tolist():
            expected = fftconvolve(blocks[at].spoken, taps, "valid")
            both[at] = float(expected @ blocks[at].heard)
            foretold[at] = float(expected @ expected)
    return both, foretold


def steady(powers: Floats) -> Floats:
    """Return powers of frames as means over 0.2 s."""
    found: Floats = uniform_filter1d(np.nan_to_num(powers), _STEADY, mode="constant")
    return found


def dominant(voices: Sequence[Voice]) -> list[Mask]:
    """Return the frames in which each speaks and nobody who speaks is louder."""
    if not voices:
        return []
    levels = [
        steady(one.powers) * binary_dilation(one.speaking, iterations=_TAIL) for one in voices
    ]
    loudest = np.max(levels, axis=0)
    return [
        voice.speaking & (level >= _LOUDER * loudest)
        for voice, level in zip(voices, levels, strict=True)
    ]
