"""Estimate how good speech sounds to people, with a network that hears the audio alone."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.axis.axis import Timeline, covered
from recall_lab.analysis.sound.levels import windows_of
from recall_lab.analysis.sound.plcmos import RATERS, network
from recall_lab.analysis.sound.speech import speech
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.timeline import as_timeline, known_of
from recall_lab.arguments import Duration, duration, number
from recall_lab.capture.capture import Capture, Moment
from recall_lab.wire.pcm import RATE

LEVEL: Final = -23.0
"""dBFS of which 0 is a sine of full scale: -26 dBov, at which ITU-T P.56 has speech be tested."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_SHORTEST, _LONGEST = 1.0, 60.0  # s that are scored at once: what listeners rate are sentences
_BESIDE = RATE // 10  # samples on either side of a phrase: its ends are cut off else


def mos(
    source: Any,
    every: Duration = 10.0,
    *,
    level: float | None = LEVEL,
    start: Moment | None = None,
    end: Moment | None = None,
) -> pd.DataFrame:
    """Estimate how listeners would rate the speech of each window, from 1 (bad) to 5 (excellent).

    The network is PLCMOS 2 (Diener et al., "PLCMOS: a data-driven non-intrusive metric for the
    evaluation of packet loss concealment algorithms", Interspeech 2023), taught what people think
    of lost packets, and of what is put in their place. It comes with
    ``pip install 'recall_lab[mos]'``. The same audio always gets the same score.

    What it can tell: whether speech has losses in the audio itself, as the zeros of a sender are,
    or crackles, noise, clipping; real speech without them gets 4.4, with 5 % of its packets of
    20 ms put to zero 3.5, with 19 % 2.1 (docs/measurements.md). What it can't: which of these it
    was (noise 30 dB below is as bad as 8 % of packets); whether it was the right voice, or words
    that make sense; echo and delay; whether somebody was heard at all. Windows without fault get
    3.9 to 4.7, other voices and rooms less: hold calls against one another, and look at means.
    Only English was tried. Silence, and zeros of more than 0.3 s, part phrases and are not heard;
    music or noise that :func:`recall_lab.speech` takes for speech gets a score that means nothing.

    What was not received is left out, so that losses on the way to us change nothing: hear them
    with ``rl.mos(np.asarray(rl.timeline(capture)))``, which has silence there.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
            Or a list of captures, such as the streams of a recording.
        every: length of a window, s, 1 to 60; the last may be shorter.
        level: dBFS that each phrase is brought to before it is scored, DC taken off, as the
            network would rate down what is merely quiet. What rounding to 16 bits took from it
            is heard: 1 less at -56 dBFS. None: as it is.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Returns:
        One row a window: ``start``, ``end``, ``duration`` (float64, s on the relative clock,
        half-open), ``mos`` (float64, 1 to 5; NaN where nothing was scored), ``spread`` (float64:
        standard deviation of the 15 raters that the network imagines), ``scored_s`` (float64:
        phrases of a second or more that were received without a hole), ``speech_share`` (0 to 1,
        of the window, by level), ``missing_share`` (0 to 1, not received). Of a list, the windows
        of one capture after those of another, and ``stream`` (str) before them.

    Raises:
        InvalidArgument: for a window, level or span that can't be.
        MissingExtra: where onnxruntime or speechmos, which has the network, is not installed.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> mos(rl.load("data/standup-lossy.bin"))["mos"].mean()  # doctest: +SKIP
    """
    every = duration("every", every, _SHORTEST, _LONGEST)
    if level is not None:
        level = number("level", level, -60, 0, "None, or dBFS")
    several = source if isinstance(source, list | tuple) else []
    if not any(isinstance(one, Capture | Analysis | str | os.PathLike) for one in several):
        return _windows(known_of(source), every, level, start, end)
    frames = []
    for one in several:
        known = analyse(one)
        part = _windows(known, every, level, start, end)
        part.insert(0, "stream", pd.Series(known.capture.info.stem, part.index, dtype="str"))
        frames.append(part)
    return pd.concat(frames, ignore_index=True)


def mean_mos(found: pd.DataFrame) -> float:
    """Return the mean of windows, each counted by how much of it was scored; NaN for none.

    Args:
        found: of :func:`mos`.
    """
    scored = found[found["mos"].notna()]
    return float(np.average(scored["mos"], weights=scored["scored_s"])) if len(scored) else np.nan


def _windows(
    source: Any,
    every: Duration,
    level: float | None,
    start: Moment | None,
    end: Moment | None,
) -> pd.DataFrame:
    rate = network().raters
    line = as_timeline(source, start, end)
    edges = windows_of(len(line), every)
    found = speech(source, start=start, end=end)[["start", "end"]].to_numpy()
    spoken = np.rint((found - line.start) * RATE).astype(np.int64)
    beside = np.array([-_BESIDE, _BESIDE])  # less than half of what lies between two phrases
    around = np.clip(spoken + beside, 0, len(line))
    pieces = _pieces(line, edges, around)
    size = np.diff(edges)
    owners = np.searchsorted(edges, pieces[:, 0], "right") - 1
    raters, weights = np.zeros((len(size), RATERS)), np.zeros((len(size), 1))
    for owner, (low, high) in zip(owners.tolist(), pieces.tolist(), strict=True):
        raters[owner] += rate(_at_level(line, low, high, level)) * (high - low)
        weights[owner] += high - low
        line.release()
    with np.errstate(invalid="ignore"):
        raters /= weights
    return pd.DataFrame(
        {
            "start": line.start + edges[:-1] / RATE,
            "end": line.start + edges[1:] / RATE,
            "duration": size / RATE,
            "mos": raters.mean(axis=1),
            "spread": raters.std(axis=1),
            "scored_s": weights[:, 0] / RATE,
            "speech_share": np.diff(covered(spoken[:, 0], spoken[:, 1], edges)) / size,
            "missing_share": np.diff(line.missing(edges)) / size,
        }
    )


def _pieces(line: Timeline, edges: Counts, spoken: Counts) -> Counts:
    """Return what is scored at once: shape ``(pieces, 2)``, samples from the start, in order.

    Each is of speech, was received without a hole, lies in one window, and is long enough.
    """
    bounds = np.unique(np.concatenate([edges, line.holes.ravel(), spoken.ravel()]))
    size = np.diff(bounds)
    inside = np.diff(covered(spoken[:, 0], spoken[:, 1], bounds)) == size
    kept = inside & (np.diff(line.missing(bounds)) == 0) & (size >= _SHORTEST * RATE)
    pieces: Counts = np.column_stack([bounds[:-1], bounds[1:]])[kept]
    return pieces


def _at_level(line: Timeline, low: int, high: int, level: float | None) -> Floats:
    """Return samples of full scale 1, as loud as is wanted; zeros stay zeros, and do not count."""
    samples = np.asarray(line.take(low, high), np.float64) * line.unit
    if level is not None:
        there = samples != 0
        samples -= samples.mean(where=there)
        samples[~there] = 0
        samples *= np.sqrt(10 ** (level / 10) / 2 / np.mean(samples**2, where=there))
    return np.clip(samples, -1, 1, out=samples)
