"""Sum up in a few numbers what a recording sounds like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_lab.analysis.sound.frames import frames_of
from recall_lab.analysis.sound.levels import levels
from recall_lab.analysis.sound.loudness import loudness
from recall_lab.analysis.sound.overview import Overview, overview
from recall_lab.analysis.sound.speech import speech
from recall_lab.analysis.time.timeline import as_timeline, known_of
from recall_lab.capture.capture import Moment
from recall_lab.wire.pcm import FULL_SCALE

TELEPHONE = 4_800.0
"""Hz. A telephone's audio is sampled at 8 kHz: it ends at 4 kHz, and the resampler's slope lies
above; wide-band speech reaches 7 kHz."""

_FLOOR_EVERY = 0.05  # s: short enough for the pauses between words
_FLOOR_PERCENTILE = 10.0
_FAINT = 1e-5  # of the loudest frequency, 50 dB: sibilants lie some 20 dB below it
_OVER_ROUNDING = 10.0  # times the noise of rounding to 16 bits
_DC = 60.0  # Hz: what the window makes of a mean ends with the second bin
_COLUMN = 2.0  # s: the spectrum of a phrase
_MOST_COLUMNS = 400


def sound_summary(
    source: Any, *, start: Moment | None = None, end: Moment | None = None
) -> pd.Series[Any]:
    """Sum up what a recording sounds like.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Returns:
        ``duration`` (s), ``rms_dbfs``, ``peak_dbfs``, ``crest_db``, ``dc``, ``clips``,
        ``clipped``, ``silence_share``, ``missing_share``, as in :func:`recall_lab.levels` over all;
        ``noise_floor_dbfs`` (the RMS that 90 % of windows of 50 ms exceed, those that are
        digital silence or were not received left out); ``bandwidth_hz`` (the highest
        frequency within 50 dB of the loudest, and above the noise of rounding); ``band``
        (``"narrow-band"``, as of a telephone, up to 4.8 kHz; ``"wide-band"`` above; ``"none"``);
        ``speech_share`` (0 to 1, share of the time, by level); ``integrated_lufs``, ``range_lu``,
        ``momentary_max_lufs``, ``short_term_max_lufs``, as in :func:`recall_lab.loudness`.

    Raises:
        InvalidArgument: for a span that can't be.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> sound_summary(rl.load("data/standup-lossy.bin"))[["rms_dbfs", "band"]]
        ... # doctest: +SKIP
    """
    source = known_of(source)
    line = as_timeline(source, start, end)
    duration = line.end - line.start
    whole = levels(source, None, start=start, end=end).drop(columns="start")
    values: dict[str, Any] = {"duration": duration}
    for name in whole:
        values[str(name)] = whole[name].iloc[0] if len(whole) else np.nan
    short = levels(source, _FLOOR_EVERY, start=start, end=end)
    there = short.loc[(short["silence_share"] == 0) & (short["missing_share"] == 0), "rms_dbfs"]
    there = there[np.isfinite(there)]
    values["noise_floor_dbfs"] = np.percentile(there, _FLOOR_PERCENTILE) if len(there) else np.nan
    columns = int(min(max(duration / _COLUMN, 1), _MOST_COLUMNS))
    values["bandwidth_hz"] = _bandwidth(overview(source, columns, start=start, end=end))
    values["band"] = "none"
    if np.isfinite(values["bandwidth_hz"]):
        values["band"] = "narrow-band" if values["bandwidth_hz"] <= TELEPHONE else "wide-band"
    spoken = speech(source, start=start, end=end)["duration"].sum()
    values["speech_share"] = spoken / duration if duration else np.nan
    return pd.Series(values | loudness(source, start=start, end=end).to_dict(), name="sound")


def _bandwidth(found: Overview) -> float:
    """Return the highest frequency that is used, Hz; NaN where there is none."""
    mean = found.mean[:, np.isfinite(found.mean).all(axis=0)]
    if not mean.size:
        return np.nan
    loud = np.percentile(mean, 95, axis=1)  # a click fills the whole spectrum, but not for long
    frames = frames_of(0)
    rounding = float((frames.window**2).sum()) / 12 / FULL_SCALE**2
    loud[found.frequencies <= _DC] = 0  # however large it is: no sound, and no measure of it
    used = np.flatnonzero(loud > max(_FAINT * loud.max(), _OVER_ROUNDING * rounding))
    return float(found.frequencies[used[-1]]) if len(used) else np.nan
