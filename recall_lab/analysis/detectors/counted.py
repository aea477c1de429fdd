"""The counts that one pass over the samples leaves for the detectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.arrays import runs_of
from recall_lab.wire.pcm import FULL_SCALE, RATE

FRAME: Final = RATE // 200
"""Samples whose lowest and highest are kept: 5 ms."""

SLOT: Final = 4 * FRAME
"""Samples whose energy and sum are kept: 20 ms."""

WINDOW: Final = 10 * RATE
"""Samples read at once, and of which layout and spectrum are told: 10 s."""

PIECE: Final = 256
"""Samples of a piece whose layout is looked at."""

SPECTRUM: Final = 512
"""Samples of a frame of the spectrum: 32 ms, bins of 31.25 Hz."""

SLOW: Final = 1_000
"""Rate of the samples that hum is looked for in, Hz."""

_LINES: Final = 12  # bins of the spectrum: four tones
_TONAL: Final = 0.998  # of the power is in them

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Clips(NamedTuple):
    """What is cut off at the top or bottom of a window.

    Attributes:
        samples: how many, in runs of three or more.
        longest: run of them.
        top: the sample that is not exceeded.
    """

    samples: int
    longest: int
    top: int


@dataclass(frozen=True, eq=False)
class Scan:
    """What one pass has counted. Made by :func:`recall_lab.analysis.detectors.scan.scan`.

    Attributes:
        samples: how many there are.
        low, high: lowest and highest sample of every 5 ms, int16; a rest at the end is left out.
        energy: mean square of every 20 ms, float32, in units of a sample squared.
        mean: mean of every 20 ms, float32.
        ends: how zeros begin after each 5 ms that are followed by 5 ms of zeros, or the edge of a
            window: which 5 ms, how many zeros they end with, and the largest magnitude in the
            5 ms before those, shape ``(ends, 3)``, int64.
        begins: the same of each 5 ms that follow: zeros they begin with, what comes after.
        clips: of each window.
        wraps: samples of each window at which the wave leaps from end to end of the scale.
        bits: bits a sample takes in each layout of ``LAYOUTS``, shape ``(windows, layouts)``,
            float32; NaN where a window is silent.
        phases: of each window, shape ``(windows, 3)``, see ``phases_of``; NaN likewise.
        spectra: mean power of louder frames of some windows, shape ``(some, 257)``, float32.
        slow: the lowest power of 2 s frames at 1 kHz, of the same windows, bins of
            0.5 Hz, in units of a sample squared, so that a sine's bin holds its mean square;
            shape ``(some, 1001)``.
        seen: which windows those are, int64.
        joins: how many joins of packets were looked at, where there is sound.
        leaps: first sample after each join at which the wave leaps.
        offset, relative: first sample of each packet and its time, s; empty without packets.
    """

    samples: int
    low: npt.NDArray[np.int16]
    high: npt.NDArray[np.int16]
    energy: Floats
    mean: Floats
    ends: Counts
    begins: Counts
    clips: tuple[Clips, ...]
    wraps: tuple[int, ...]
    bits: Floats
    phases: Floats
    spectra: Floats
    slow: Floats
    seen: Counts
    joins: int
    leaps: Counts
    offset: Counts
    relative: npt.NDArray[np.float64]

    def time(self, sample: int) -> float:
        """Return when a sample was, s on the relative clock; of the end: after the last."""
        if not len(self.offset):
            return sample / RATE
        # the end of a span belongs to the packet before
        row = max(int(np.searchsorted(self.offset, sample, "right")) - 1, 0)
        if sample == self.samples and row and self.offset[row] == sample:
            row -= 1
        return float(self.relative[row] + (sample - self.offset[row]) / RATE)

    def end_time(self, sample: int) -> float:
        """Return when the sample before `sample` ended."""
        return self.time(sample - 1) + 1 / RATE if sample else self.time(0)

    @cached_property
    def peak(self) -> npt.NDArray[np.int32]:
        """The largest magnitude of every 5 ms."""
        return np.maximum(self.high.astype(np.int32), -self.low.astype(np.int32))

    @cached_property
    def power(self) -> Floats:
        """The energy of every 20 ms with its mean taken off."""
        return np.asarray(np.maximum(self.energy - self.mean**2, 0))

    @cached_property
    def loud(self) -> float:
        """RMS of the loudest second there is, of 20 ms each, as dBFS; -inf for silence."""
        if not len(self.power):
            return -np.inf
        count = min(len(self.power), RATE // SLOT)
        return dbfs(float(np.partition(self.power, -count)[-count:].mean()))

    @cached_property
    def sounding(self) -> npt.NDArray[np.bool_]:
        """Which 20 ms are within 30 dB of the loudest second: speech, not pauses."""
        return self.power > _square(self.loud - 30)

    @cached_property
    def tonal(self) -> bool:
        """Whether all that sounds is a tone or a few, as of a test or a keypad."""
        power = self.spectra[np.isfinite(self.spectra).all(axis=1)].sum(axis=0, dtype=np.float64)
        return bool(power.sum() > 0 and np.sort(power)[-_LINES:].sum() > _TONAL * power.sum())

    @cached_property
    def zeros(self) -> Counts:
        """Runs of exact zeros within sound that hold a whole 5 ms, shape ``(runs, 4)``.

        First and last sample (half-open, exact), and the largest magnitude in the 5 ms before and
        after. All runs of 10 ms or more are among them, but those at the edges of the call.
        """
        silent = (self.low == 0) & (self.high == 0)
        first, last = runs_of(silent).T
        inside = (first > 0) & (last < len(silent))
        first, last = first[inside], last[inside]
        before = self.ends[np.searchsorted(self.ends[:, 0], first - 1)]
        after = self.begins[np.searchsorted(self.begins[:, 0], last)]
        return np.column_stack(
            [first * FRAME - before[:, 1], last * FRAME + after[:, 1], before[:, 2], after[:, 2]]
        ).astype(np.int64)


def dbfs(square: float) -> float:
    """Return a mean square of samples as dBFS, of which 0 is a sine of full scale."""
    return 10 * float(np.log10(2 * square / FULL_SCALE**2)) if square > 0 else -np.inf


def _square(level: float) -> float:
    return 10 ** (level / 10) * FULL_SCALE**2 / 2
