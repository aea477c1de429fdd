"""Measure by how much one sound comes later than another, or say that it cannot be told."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from recall_lab.analysis.alignment.align import Line, compare_windows
from recall_lab.analysis.alignment.anchors import anchors, track
from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.time.timeline import timeline
from recall_lab.capture.capture import Capture
from recall_lab.wire.pcm import RATE

_NEAR: Final = RATE // 2  # samples either way that are looked at first, and around each guess
_PIECES: Final = 20  # of the loudest, from which a lag is told
_PIECE: Final = 30 * RATE
_ASKED: Final = 20  # windows that have to agree, in part
_AGREE: Final = 0.25  # of them: a lag that holds for less is chance, or one word
_LEAST: Final = 2
_CLOSE: Final = 32.0  # samples, 2 ms
_SHORT: Final = 4096  # samples of a window at least


def lag_between(one: Capture, other: Capture, span: tuple[float, float]) -> int | None:
    """Return by how many samples `other` has the sound of `one` later.

    Within half a second it is told by cross-correlation (Oppenheim & Schafer, Discrete-Time
    Signal Processing, 2.9) of the loudest pieces; farther off by how the energy of bands rises and
    falls (:mod:`recall_lab.analysis.alignment.anchors`), and then likewise.

    Args:
        one, other: on the same relative clock.
        span: of the one, s on that clock.

    Returns:
        The lag; None where windows of the two do not agree on any.
    """
    mine = timeline(one, call=span)
    whole = timeline(other)
    if not len(mine) or not len(whole):
        return None
    apart = round((whole.start - span[0]) * RATE)
    starts, size = _windows(mine)

    def near(guess: int) -> int | None:
        edges = ((at + guess) / RATE for at in (-_NEAR, _NEAR))
        low, high = (time + edge for time, edge in zip(span, edges, strict=True))
        lag = guess + _nearest(mine, timeline(other, call=(low, high)))
        found = compare_windows(mine, whole, starts, size, Line(float(lag - apart)))
        there = np.isfinite(found.similarity)
        agreed = np.count_nonzero(found.agree(_CLOSE))
        enough = max(_AGREE * np.count_nonzero(there), min(_LEAST, len(starts)))
        return lag if agreed and agreed >= enough else None

    lag = near(0)
    if lag is not None:
        return lag
    for guess in anchors(track(mine), track(whole)):
        lag = near(round(guess.other - guess.sample) + apart)
        if lag is not None:
            return lag
    return None


def _windows(line: Timeline) -> tuple[npt.NDArray[np.int64], int]:
    """Return where the loudest windows begin, and how many samples each has."""
    size = max(min(RATE, len(line) // 4), min(_SHORT, len(line)))
    starts = np.arange(0, max(len(line) - size, 0) + 1, size)
    power = np.empty(len(starts))
    for at, low in enumerate(starts.tolist()):
        samples = np.asarray(line.take(low, low + size), np.float64)
        power[at] = float(samples @ samples)
        line.release()
    # the loudest of each part: spread over the whole
    parts = np.array_split(np.arange(len(starts)), min(_ASKED, len(starts)))
    best = np.array([part[np.argmax(power[part])] for part in parts], np.int64)
    return starts[best[power[best] > 0]], size


def _nearest(mine: Timeline, other: Timeline) -> int:
    """Return by how many samples `other` comes later, whose axis begins half a second earlier."""
    begins = range(0, len(mine), _PIECE)
    power = []
    for low in begins:
        piece = mine.take(low, low + _PIECE).astype(np.float64)
        power.append(float(piece @ piece))
        mine.release()
    loudest = sorted(zip(power, begins, strict=True), reverse=True)[:_PIECES]
    total = np.zeros(2 * _NEAR + 1)
    for energy, low in loudest:
        if not energy:
            continue
        x = mine.take(low, low + _PIECE)
        y = other.take(low, low + len(x) + 2 * _NEAR)
        size = next_fast_len(len(x) + 2 * _NEAR, real=True)
        spectrum = np.conj(rfft(x.astype(np.float64), size)) * rfft(y.astype(np.float64), size)
        total += irfft(spectrum, size)[: len(total)]
        mine.release()
        other.release()
    best = float(total.max())
    if best <= 0:
        return 0
    near = np.flatnonzero(total >= best * (1 - 1e-9)) - _NEAR  # of equals the nearest
    return int(near[np.abs(near).argmin()])
