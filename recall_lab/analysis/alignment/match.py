"""Cut a capture and a recording into windows that can be compared along lines."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.alignment.align import Line, Windows, compare_windows
from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.sound.levels import measure
from recall_lab.errors import RecordingMismatch
from recall_lab.wire.pcm import FULL_SCALE, RATE

NEAR: Final = 0.15e-3
"""How far from the line a lag may lie and still agree with it, s, were stamps exact."""

SILENT: Final = 2 / FULL_SCALE
"""What a coder makes of digital silence by rounding, full scale 1."""

LOUD: Final = 1e-3
"""Of the loud parts' power: 30 dB below them there is little to hear."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_FEWEST: Final = 4  # windows with something to hear that a capture must have
_SHORTEST: Final = RATE // 4  # samples of a window
_BATCH: Final = 2**20  # samples looked at together


class Pair(NamedTuple):
    """Two sounds to be held against each other.

    Attributes:
        one, other: the capture and the recording.
        starts: first sample of each window of the capture.
        size: samples of a window.
        missing: share of each that was not received.
        informative: positions of the windows in which there is something to hear.
        first, last: the recording without the digital silence around it, samples.
        near: how far from the line a lag may lie and still agree with it, samples.
        stem: the capture's stream.
    """

    one: Timeline
    other: Timeline
    starts: Counts
    size: int
    missing: Floats
    informative: Counts
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
        informative = np.flatnonzero(heard & (power > max(LOUD * loud, SILENT**2)))
        if len(informative) < _FEWEST:
            reason = (
                f"there is something to hear in {len(informative)} of its {len(starts)} windows"
            )
            raise RecordingMismatch(stem, f"{reason}, and {_FEWEST} are the least to tell by")
        first, last = _extent(other)
        if last - first < _FEWEST * size:
            reason = f"of the recording {(last - first) / RATE:.2f} s are not digital silence"
            raise RecordingMismatch(stem, f"{reason}; {_FEWEST * size / RATE:.2f} s are needed")
        missing = 1 - sums.heard / np.diff(edges)
        near = (NEAR + tolerance) * RATE
        return cls(one, other, starts, size, missing, informative, first, last, near, stem)

    def compare(self, which: Counts, line: Line) -> Windows:
        """Compare some of the windows along a line."""
        return compare_windows(self.one, self.other, self.starts[which], self.size, line)

    @property
    def middles(self) -> Floats:
        """Middle of each window, samples of the capture."""
        middles: Floats = self.starts + np.float64(self.size / 2)
        return middles

    @property
    def tells(self) -> Mask:
        """Which windows have something to hear, shape ``(windows,)``."""
        tells = np.zeros(len(self.starts), bool)
        tells[self.informative] = True
        return tells

    def outside(self, line: Line, some: Counts) -> Mask:
        """Return which of some windows do not lie in the recording as a whole."""
        begins = line.of(self.starts[some])
        found: Mask = (begins < self.first) | (begins + self.size > self.last)
        return found


def _extent(other: Timeline) -> tuple[int, int]:
    """Return a sound's first and last sample, half-open, without digital silence around them."""
    bound = SILENT / other.unit

    def sounding(low: int) -> Counts:
        samples = other.take(low, low + _BATCH)
        return low + np.flatnonzero((samples > bound) | (samples < -bound))

    batches = range(0, len(other), _BATCH)
    first = next((int(at[0]) for at in map(sounding, batches) if len(at)), len(other))
    last = next((int(at[-1]) + 1 for at in map(sounding, reversed(batches)) if len(at)), first)
    return first, last
