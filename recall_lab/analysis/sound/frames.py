"""Samples → power of short frames: the one loop under every spectrum, on all cores.

SciPy's real FFT keeps float32 and lets go of the GIL, so plain threads share the work. Each has
buffers of its own, small enough to stay in the cache and used again for every block: fresh
arrays of an hour would cost more time in page faults than the FFT does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

from recall_lab.analysis.axis.axis import Timeline
from recall_lab.arguments import Duration, duration, whole
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE

Power: TypeAlias = npt.NDArray[np.float32]

THREADS: Final = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
"""More gain nothing: between two FFTs only one of them runs."""

MOST: Final = 2**20
"""Longest frame and FFT, in samples: a minute."""

_BLOCK: Final = 2**18  # samples of a block's frames: 1 MiB as float32
_RELEASE: Final = 64  # blocks between two releases of what was read of the file


@dataclass(frozen=True, eq=False)
class Frames:
    """How samples are cut into frames. Made by :func:`frames_of`.

    Attributes:
        window: float32, shape ``(length,)``.
        hop: samples from one frame to the next.
        fft: points of the FFT; zeros follow the frame where it is longer.
        first: sample at which frame 0 begins; before 0 where frames are centred.
        count: of frames.
    """

    window: npt.NDArray[np.float32]
    hop: int
    fft: int
    first: int
    count: int

    @property
    def bins(self) -> int:
        """Number of frequencies, from 0 to half the rate."""
        return self.fft // 2 + 1

    @property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """Frequency of each bin, Hz."""
        return np.arange(self.bins, dtype=np.float64) * (RATE / self.fft)

    @property
    def reference(self) -> float:
        """Power that a sine of full scale has in its bin: 0 dBFS."""
        return float(self.window.sum(dtype=np.float64) / 2) ** 2

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Sample at which each frame begins, from the start of the axis."""
        return self.first + np.arange(self.count) * self.hop

    @property
    def block(self) -> int:
        """How many frames are best worked on together."""
        return max(16, min(1024, _BLOCK // self.fft))

    def missing(self, line: Timeline, low: int = 0, high: int | None = None) -> Power:
        """Return the share of frames `low` to `high` that was not received, 0 to 1."""
        count = (self.count if high is None else high) - low
        if not len(line.holes):
            return np.zeros(count, np.float32)
        starts = self.first + np.arange(low, low + count) * self.hop
        lost = line.missing(starts + len(self.window)) - line.missing(starts)
        return (lost / len(self.window)).astype(np.float32)


def frames_of(
    samples: int,
    window: str | tuple[str, float] = "hann",
    length: Duration = 0.025,
    hop: Duration = 0.010,
    fft: int | None = None,
    center: bool = False,
) -> Frames:
    """Say how so many samples are cut into frames.

    Args:
        samples: how many there are.
        window: a name that ``scipy.signal.get_window`` knows, or name and parameter.
        length: of a frame, s; rounded to samples.
        hop: from one frame to the next, s; rounded to samples.
        fft: points of the FFT; the samples of a frame by default.
        center: False: frame `k` begins at ``k * hop``, and only whole frames count, as
            ``librosa.stft(center=False)`` does. True: its middle is at ``k * hop``, and zeros
            stand before the beginning and after the end, as in ``librosa.stft`` and SciPy's
            ``ShortTimeFFT`` by default.

    Raises:
        InvalidArgument: for a window, length, hop or size that can't be.
    """
    size = _samples("length", length, 2)
    step = _samples("hop", hop, 1)
    if fft is None:
        fft = size
    whole("fft", fft, size, MOST, "a whole number from the length of a frame on")
    try:
        shape = window_of(window, size)
    except (ValueError, TypeError, AttributeError):
        valid = "a window of scipy.signal.get_window, such as 'hann' or ('kaiser', 8.0)"
        raise InvalidArgument("window", window, valid) from None
    if not shape.sum() > 0:
        raise InvalidArgument("window", window, "a window whose sum is above 0")
    if center:
        return Frames(shape, step, fft, -(size // 2), 1 + samples // step if samples else 0)
    return Frames(shape, step, fft, 0, max(0, 1 + (samples - size) // step))


def window_of(window: str | tuple[str, float], size: int) -> Power:
    """Return a periodic window of so many samples, float32.

    ``"hann"`` costs no import: scipy.signal, which has the others, takes most of a second.
    """
    if window == "hann":
        return np.hanning(size + 1)[:-1].astype(np.float32)
    shape: Power = scipy.signal.get_window(window, size).astype(np.float32)
    return shape


def each_block(
    line: Timeline,
    frames: Frames,
    take: Callable[[int, int, Power], None],
    *,
    into: Power | None = None,
    relative: bool = False,
) -> None:
    """Work out the power of every frame, block by block, on all cores.

    Args:
        line: the samples.
        frames: how they are cut.
        take: called with first frame, last frame (half-open) and the power of shape
            ``(frames, bins)``, float32, which is used again afterwards; from several threads,
            in no order.
        into: shape ``(frames.count, bins)``, float32: where the power is put, if it is to be
            kept.
        relative: in units of :attr:`Frames.reference`, not of samples with full scale 1.
    """

    def work(blocks: range) -> None:
        spectra = Spectra(line, frames, relative=relative)
        for low in blocks:
            high = min(low + frames.block, frames.count)
            take(low, high, spectra.power(low, high, None if into is None else into[low:high]))

    on_all_cores(work, frames.count, frames.block)


class Spectra:
    """The power of one block of frames after another, in the same memory: one for each thread.

    Args:
        line: the samples.
        frames: how they are cut.
        relative: in units of :attr:`Frames.reference`, not of samples with full scale 1.
    """

    def __init__(self, line: Timeline, frames: Frames, *, relative: bool = False) -> None:
        self._line, self._frames = line, frames
        unit = line.unit
        if relative:
            unit /= np.sqrt(frames.reference)
        self._window = (frames.window * unit).astype(np.float32)
        length, block = len(self._window), frames.block
        self._samples = np.empty((block - 1) * frames.hop + length, np.float32)
        self._cut = np.zeros((block, frames.fft), np.float32)
        self._power = np.empty((block, frames.bins), np.float32)
        self._turn = 0

    def power(self, low: int, high: int, out: Power | None = None) -> Power:
        """Return the power of frames `low` to `high`, :attr:`Frames.block` of them at most.

        Returns:
            float32, shape ``(high - low, bins)``: `out`, or memory that the next call uses again.
        """
        frames, count, length = self._frames, high - low, len(self._window)
        span = self._samples[: (count - 1) * frames.hop + length]
        _fill(self._line, frames.first + low * frames.hop, span)
        pieces = sliding_window_view(span, length)[:: frames.hop]
        np.multiply(pieces, self._window, out=self._cut[:count, :length])
        values = rfft(self._cut[:count], axis=1).view(np.float32)
        np.square(values, out=values)
        self._turn += 1
        if self._turn % _RELEASE == 0:
            self._line.release()
        out = self._power[:count] if out is None else out
        return np.add(values[:, 0::2], values[:, 1::2], out=out)


def on_all_cores(work: Callable[[range], None], count: int, size: int) -> None:
    """Call `work` once a thread, with the first items of the blocks that are its own.

    Args:
        work: gets a range over every so many-th block of `size` items.
        count: of items.
        size: items in a block.
    """
    workers = min(THREADS, -(-count // size))
    if workers < 2:
        work(range(0, count, size))
        return
    with ThreadPoolExecutor(workers) as pool:
        shares = [range(worker * size, count, workers * size) for worker in range(workers)]
        for done in [pool.submit(work, share) for share in shares]:
            done.result()


def _fill(line: Timeline, first: int, span: npt.NDArray[np.float32]) -> None:
    """Copy the samples from `first` on; zeros where there are none."""
    low, high = max(first, 0), min(first + len(span), len(line))
    span[: low - first] = 0
    span[max(high - first, 0) :] = 0
    if low < high:
        span[low - first : high - first] = line.take(low, high)


def _samples(name: str, seconds: Duration, least: int) -> int:
    """Return a duration as whole samples."""
    return round(duration(name, seconds, least / RATE, MOST / RATE) * RATE)
