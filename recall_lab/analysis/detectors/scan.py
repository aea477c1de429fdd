"""Scan the samples once, and count what the detectors need.

The samples are read in the order of arrival, ten seconds at a time, and each once: there are no
holes to be taken for silence, nothing that overlaps is hidden, and what stands in object storage
is fetched once.

Everything is counted from every sample but two: how the bytes are laid out and the spectrum are
looked at in short pieces of ten seconds, from their louder half. A wrong layout spoils every
sample, and a band has an edge at all times, so a few thousand samples tell as much as all. The
spectrum, and hum with it, is looked at in ten minutes of a call at most, evenly spread.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.fft import rfft

from recall_lab.analysis.detectors.counted import (
    FRAME,
    PIECE,
    SLOT,
    SLOW,
    SPECTRUM,
    WINDOW,
    Clips,
    Counts,
    Floats,
    Scan,
)
from recall_lab.analysis.detectors.layouts import LAYOUTS, bits_of, phases_of
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import empty_frame
from recall_lab.store.reader import release
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, Samples

_PIECES: Final = 16  # a window; 4,096 samples
_FRAMES: Final = 8  # of the spectrum, a window
_SLOW_FRAME: Final = 2 * SLOW  # 2 s, bins of half a hertz
_SLOW_FRAMES: Final = 4  # of a window, at least: a voice may hold a tone for two seconds
_CONSTANT: Final = 1e-5  # of the energy: what rounding makes of a value that stays
_TOGETHER: Final = 16  # windows whose layouts are told at once
_MOST_SPECTRA: Final = 60  # windows whose spectra are looked at, evenly spread
_RELEASE: Final = 6  # windows between two releases of what was read of the file
_FLAT: Final = 3  # samples in a row at the top that are clipping, as in levels
_FLAT_FRAMES: Final = 3  # frames of a window that reach the very same top: it may be flat
_LOWEST_TOP: Final = 1_000  # a flat top lower than that is rounding
_BESIDE: Final = RATE // 1000  # samples on either side of a join: 1 ms
_LEAP: Final = 2.0  # times the largest step beside it
_LEAST_LEAP: Final = 64
_JOINED: Final = 0.005  # s: packets whose stamps are nearer than that follow one another
_WRAPS: Final = 3 * FULL_SCALE // 2  # from one sample to the next
_SMOOTH: Final = FULL_SCALE // 4  # the step that it is, counted on beyond the end
_STEEP: Final = 0.01  # of the top: a wave that is cut off comes in steeper than one that turns


def scan(capture: Capture | npt.ArrayLike) -> Scan:
    """Read all samples once and count.

    Args:
        capture: live or loaded, with packets or without; or int16 or float samples at 16 kHz.

    Raises:
        InvalidArgument: for what holds no samples.
    """
    audio, packets = _source(capture)
    some = packets["samples"].to_numpy() > 0
    offset = packets["offset"].to_numpy()[some].astype(np.int64)
    relative = packets["relative"].to_numpy()[some]
    order = np.argsort(offset, kind="stable")
    joins = joins_of(packets)
    total = len(audio)
    frames, slots = total // FRAME, total // SLOT
    windows = -(-total // WINDOW)
    seen = np.unique(np.linspace(0, windows - 1, min(windows, _MOST_SPECTRA)).astype(np.int64))
    found = _Found(frames, slots, windows)
    room = np.empty(WINDOW, np.float32)
    at_spectra = {int(window): row for row, window in enumerate(seen)}
    spectra = np.full((len(seen), SPECTRUM // 2 + 1), np.nan, np.float32)
    slow = np.full((len(seen), _SLOW_FRAME // 2 + 1), np.nan, np.float32)
    for window in range(windows):
        samples = _as_int16(audio[window * WINDOW : (window + 1) * WINDOW])
        floats = room[: len(samples)]
        np.copyto(floats, samples)
        slot = found.add(window, samples, floats)
        first, last = np.searchsorted(joins, [window * WINDOW, (window + 1) * WINDOW])
        found.add_joins(samples, joins[first:last], window * WINDOW)
        row = at_spectra.get(window)
        if row is not None and slot.any():
            spectra[row] = _spectrum(floats, slot)
            slow[row] = _slow(floats)
        if window % _RELEASE == _RELEASE - 1:
            release(audio)
    found.tell()
    return Scan(
        total, found.low, found.high, found.energy, found.mean, found.edges(0), found.edges(1),
        tuple(found.clips), tuple(found.wraps), found.bits, found.phases, spectra, slow, seen,
        found.joins, np.concatenate([joins[:0], *found.leaps]), offset[order], relative[order],
    )  # fmt: skip


def _source(capture: Capture | npt.ArrayLike) -> tuple[Any, pd.DataFrame]:
    """Return samples and packets."""
    if isinstance(capture, Capture):
        return capture.audio, capture.packets.assign(relative=capture.media)
    audio = np.asarray(capture)
    as_timeline(audio)  # refuses what is no sound
    return audio, empty_frame()


def joins_of(packets: pd.DataFrame) -> Counts:
    """Return the first sample of each packet that goes on where the one before it ended."""
    some = packets[packets["samples"] > 0]
    offset, samples = some["offset"].to_numpy(), some["samples"].to_numpy()
    relative = some["relative"].to_numpy()
    goes_on = np.abs(relative[1:] - relative[:-1] - samples[:-1] / RATE) <= _JOINED
    follows = offset[1:] == offset[:-1] + samples[:-1]
    return np.sort(offset[1:][goes_on & follows].astype(np.int64))


def _as_int16(samples: npt.NDArray[Any]) -> Samples:
    if samples.dtype == SAMPLE_DTYPE:
        return samples
    scaled = np.nan_to_num(samples * np.float32(FULL_SCALE))
    return np.rint(scaled).clip(-FULL_SCALE, FULL_SCALE - 1).astype(SAMPLE_DTYPE)


class _Found:
    """What is counted, filled in window by window."""

    def __init__(self, frames: int, slots: int, windows: int) -> None:
        self.low, self.high = np.zeros(frames, np.int16), np.zeros(frames, np.int16)
        self._edged: tuple[list[Counts], list[Counts]] = [], []
        self.energy, self.mean = np.zeros(slots, np.float32), np.zeros(slots, np.float32)
        self.clips: list[Clips] = []
        self.wraps: list[int] = []
        self.joins = 0
        self.leaps: list[Counts] = []
        self.bits = np.full((windows, len(LAYOUTS)), np.nan, np.float32)
        self.phases = np.full((windows, 3), np.nan, np.float32)
        self._pieces = np.zeros((_TOGETHER, _PIECES, PIECE), np.int16)
        self._told: list[int] = []

    def add(self, window: int, samples: Samples, floats: Floats) -> Floats:
        """Count a window; return the energy of its slots, means taken off."""
        first = window * WINDOW // FRAME
        rows = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
        last = first + len(rows)
        low, high = self.low[first:last], self.high[first:last]
        rows.min(axis=1, out=low)
        rows.max(axis=1, out=high)
        self._edges(first, samples, rows, (low == 0) & (high == 0))
        slots = floats[: len(floats) // SLOT * SLOT].reshape(-1, SLOT)
        at = window * WINDOW // SLOT
        energy, mean = self.energy[at : at + len(slots)], self.mean[at : at + len(slots)]
        np.vecdot(slots, slots, out=energy)
        np.divide(energy, SLOT, out=energy)
        np.matmul(slots, np.full(SLOT, 1 / SLOT, np.float32), out=mean)
        power: Floats = np.maximum(energy - mean**2, 0)
        self.clips.append(_clips(samples, low, high))
        self.wraps.append(_wraps(rows, low, high))
        picked = _pick(np.where(power > _CONSTANT * energy, power, 0), _PIECES)
        if len(picked):
            self._pieces[window % _TOGETHER] = slots[picked, :PIECE]
            self._told.append(window)
        if window % _TOGETHER == _TOGETHER - 1:
            self.tell()
        return power

    def tell(self) -> None:
        """Work out the layouts of the windows since the last time: together, which is quicker."""
        if self._told:
            pieces = self._pieces[[window % _TOGETHER for window in self._told]]
            self.bits[self._told], self.phases[self._told] = bits_of(pieces), phases_of(pieces)
            self._told.clear()

    def add_joins(self, samples: Samples, joins: Counts, first: int) -> None:
        """Look for leaps: a step at a join that is far larger than any within 1 ms."""
        at = joins - first
        at = at[(at > _BESIDE) & (at < len(samples) - _BESIDE)]
        if not len(at):
            return
        around = samples[at[:, None] + np.arange(-_BESIDE, _BESIDE)].astype(np.int32)
        sides = around.reshape(len(around), 2, -1)
        sound = sides.any(axis=2).all(axis=1)  # a step to zeros is no click, but a loss or a gate
        around = around[sound]
        bends = np.abs(np.diff(around, n=2, axis=1))
        middle = slice(_BESIDE - 2, _BESIDE)  # of which the join is part
        leap = bends[:, middle].max(axis=1)
        bends[:, middle] = 0
        most = bends.max(axis=1)
        self.joins += int(np.count_nonzero(np.maximum(most, leap) >= _LEAST_LEAP))
        self.leaps.append(first + at[sound][(leap >= _LEAST_LEAP) & (leap > _LEAP * most)])

    def _edges(
        self, first: int, samples: Samples, rows: Samples, silent: npt.NDArray[np.bool_]
    ) -> None:
        """Look at frames that are not silent themselves, but the next or the one before is.

        Of the next window nothing is known yet, so those at its edges count, too.
        """
        if not len(rows):
            return
        ends = np.flatnonzero(np.append(silent[1:], True) & ~silent)
        begins = np.flatnonzero(np.insert(silent[:-1], 0, True) & ~silent)
        for at, order, kept in zip((ends, begins), (-1, 1), self._edged, strict=True):
            zeros = (rows[at, ::order] != 0).argmax(axis=1)
            edge = (at + 1) * FRAME - 1 - zeros if order < 0 else at * FRAME + zeros
            beside = np.clip(edge[:, None] + order * np.arange(FRAME), 0, len(samples) - 1)
            loudest = np.abs(samples[beside].astype(np.int32)).max(axis=1)
            kept.append(np.column_stack([first + at, zeros, loudest]).astype(np.int64))

    def edges(self, which: int) -> Counts:
        """Return how zeros begin (0) or end (1), of all windows."""
        return np.concatenate([np.zeros((0, 3), np.int64), *self._edged[which]])


def _pick(energy: Floats, count: int) -> Counts:
    """Return slots of the louder half of those that sound, evenly spread; none if there are few."""
    there = np.flatnonzero(energy > 0)
    if not len(there):
        return there
    some = energy[there]
    there = there[some >= np.median(some)]
    if len(there) < count:  # too little to tell anything
        return there[:0]
    return there[np.linspace(0, len(there) - 1, count).astype(np.int64)]


def _clips(samples: Samples, low: npt.NDArray[np.int16], high: npt.NDArray[np.int16]) -> Clips:
    """Count what is cut off, at full scale or below: the wave stays at its top, and falls steep."""
    if not len(high):
        return Clips(0, 0, 0)
    count = longest = 0
    tops = int(high.max()), int(low.min())
    for top, reached in ((tops[0], high), (tops[1], low)):
        if abs(top) < _LOWEST_TOP or np.count_nonzero(reached == top) < _FLAT_FRAMES:
            continue
        at = np.flatnonzero(samples == top)
        breaks = np.flatnonzero(np.diff(at) > 1)
        starts = at[np.concatenate([[0], breaks + 1])]
        ends = at[np.append(breaks, len(at) - 1)] + 1
        flat = ends - starts >= _FLAT
        starts, ends = starts[flat], ends[flat]
        if not len(starts):
            continue
        before = samples[np.maximum(starts - 1, 0)].astype(np.int32)
        after = samples[np.minimum(ends, len(samples) - 1)].astype(np.int32)
        fall = np.maximum(np.abs(before - top), np.abs(after - top))
        if np.median(fall) < _STEEP * abs(top):
            continue
        count += int((ends - starts).sum())
        longest = max(longest, int((ends - starts).max()))
    return Clips(count, longest, max(tops[0], -tops[1]))


def _wraps(rows: Samples, low: npt.NDArray[np.int16], high: npt.NDArray[np.int16]) -> int:
    """Count leaps from one end of the scale to the other, against the way the wave was going.

    Of a wave that is cut off, more samples are at an end, and its leaps go on as it went.
    """
    far = np.flatnonzero(high.astype(np.int32) - low > _WRAPS)
    if not len(far):
        return 0
    some = rows[far].astype(np.int32)
    inside = np.abs(some) < FULL_SCALE - 1
    steps = np.diff(some)
    leaps = (np.abs(steps) > _WRAPS) & inside[:, 1:] & inside[:, :-1]
    leaps &= 2 * FULL_SCALE - np.abs(steps) < _SMOOTH
    leaps[:, 1:] &= steps[:, :-1] * np.sign(steps[:, 1:]) < 0
    count = int(leaps[:, 1:].sum())
    return count if count > np.count_nonzero(~inside) else 0


_HANN: Final = np.hanning(SPECTRUM + 1)[:-1].astype(np.float32)
_SLOW_HANN: Final = np.hanning(_SLOW_FRAME + 1)[:-1].astype(np.float32)


def _spectrum(floats: Floats, power: Floats) -> Floats:
    """Return the mean power of some louder frames, each without its mean."""
    picked = _pick(power[: max((len(floats) - SPECTRUM) // SLOT + 1, 0)], _FRAMES)
    if not len(picked):
        return np.full(SPECTRUM // 2 + 1, np.nan, np.float32)
    frames = floats[picked[:, None] * SLOT + np.arange(SPECTRUM)]
    frames -= frames.mean(axis=1, keepdims=True)
    squares = np.square(np.abs(rfft(frames * _HANN, axis=1))).mean(axis=0)
    return np.asarray(squares / (np.square(_HANN.sum() / 2) * 2), np.float32)


def _slow(floats: Floats) -> Floats:
    """Return the lowest power of what is below 500 Hz: what is always there."""
    step = RATE // SLOW
    few = floats[: len(floats) // step * step].reshape(-1, step) @ np.full(step, 1 / step, "f4")
    hop = _SLOW_FRAME
    count = len(few) // hop
    if count < _SLOW_FRAMES:
        return np.full(_SLOW_FRAME // 2 + 1, np.nan, np.float32)
    frames = few[: count * hop].reshape(count, hop)
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.square(np.abs(rfft(frames * _SLOW_HANN, axis=1)))
    power /= np.square(_SLOW_HANN.sum() / 2) * 2
    return np.asarray(power.min(axis=0), np.float32)
