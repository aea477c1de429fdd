"""Put anything that has samples on the true time axis; list the spans between gaps."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
import pandas as pd

from recall_lab.analysis.axis.axis import LONGEST, Array, Timeline
from recall_lab.analysis.axis.placement import Placed
from recall_lab.analysis.time.analysis import SOURCES, Analysis, Call, analyse
from recall_lab.analysis.time.arguments import crop_of
from recall_lab.arguments import Duration
from recall_lab.capture.capture import Capture, Moment
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE, SAMPLE_DTYPE

_LOUDEST: Final = 1e6
"""Of float samples, of which full scale is 1: integers as floats, of 16 bits lie below."""


def timeline(
    source: Any,
    fill: str | float = "silence",
    *,
    call: Call | None = None,
    tolerance: Duration | None = None,
    clock: str = "media",
) -> Timeline:
    """Put the samples on the true time axis.

    What is empty there is what :func:`recall_lab.gaps` calls missing, to the sample. Where
    packets overlap, the one that arrived first is heard. Where the media clock runs otherwise
    than the samples (a sample clock that is a little off), they are resampled to it, so that an
    hour stays an hour and nothing clicks.

    Args:
        source: as for :func:`recall_lab.analyse`; its audio is read when the timeline is.
        fill: what stands where there is no audio: ``"silence"``, zeros; ``"hold"``, the last
            sample before; ``"nan"`` or a number, for which samples are float32 with full scale 1.
        call: beginning and end of the axis; by default the first and the last instant of the
            capture.
        tolerance: as for :func:`recall_lab.analyse`.
        clock: ``"media"``; or ``"samples"``, which leaves each sample as it was received and lets
            the axis drift away from the media clock instead.

    Raises:
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        InvalidArgument: for a source or an option that can't be.

    Example:
        >>> line = timeline("data/standup-lossy.bin")  # doctest: +SKIP
        >>> len(line), line.real.mean()  # doctest: +SKIP
        (192000, 0.92)
        >>> for samples, real in line.blocks(60):  # doctest: +SKIP
        ...     file.write(samples)
    """
    found = analyse(source, call=call, tolerance=tolerance)
    start, end = (None, None) if found.call is None else found.call
    return found.timeline(fill, start=start, end=end, clock=clock)


def known_of(source: Any) -> Analysis | Array:
    """Return what was analysed of a source, or its samples where it is an array.

    Raises:
        InvalidArgument: for what holds no samples.
    """
    if isinstance(source, Analysis | Capture | str | os.PathLike) or hasattr(source, "newest"):
        return analyse(source)
    return _samples_of(source)


def as_timeline(source: Any, start: Moment | None = None, end: Moment | None = None) -> Timeline:
    """Put anything with samples on a time axis: what every analysis of sound begins with.

    Args:
        source: as for :func:`recall_lab.analyse`; without packets its samples are counted from 0.
            Or samples at 16 kHz, one dimension, int16 or float with full scale 1, counted from 0
            too.
        start, end: seconds of the relative clock, or wall-clock times with a zone; None for
            the beginning and the end.

    Raises:
        InvalidArgument: for what holds no samples, or a span that can't be.
        MissingTimestamps: for a capture that has packets, but no times.
    """
    known = known_of(source)
    found = known if isinstance(known, Analysis) and len(known.capture.packets) else None
    audio = known.capture.audio if isinstance(known, Analysis) else known
    whole = (0.0, len(audio) / RATE) if found is None else found.extent
    capture = known.capture if isinstance(known, Analysis) else None
    first_time, last_time = crop_of(capture, start, end)
    low = whole[0] if first_time is None else first_time
    high = whole[1] if last_time is None else last_time
    if not low <= high:
        raise InvalidArgument(
            "start, end", (start, end),
            f"two times, the end not before the start; the audio lasts from "
            f"{whole[0]:.3f} to {whole[1]:.3f}",
        )  # fmt: skip
    low, high = (min(max(float(edge), whole[0]), whole[1]) for edge in (low, high))
    if (high - low) * RATE > LONGEST:
        raise InvalidArgument(
            "start, end", (start, end),
            f"a span of days at most, not from {whole[0]:.0f} to {whole[1]:.0f} s: a stamp of this "
            "capture has gone wrong; give start and end, or slice the capture",
        )  # fmt: skip
    if found is not None:
        if (low, high) == whole:
            return found.timeline()
        return found.timeline(start=low, end=high)
    first, last = round(low * RATE), round(high * RATE)
    size = np.array([len(audio)])
    here, zero = np.array([-first]), np.zeros(1, np.int64)
    placed = Placed(here, size, zero, zero, size - first, first / RATE, size)
    return Timeline(audio, placed, (first / RATE, last - first), "silence")


def _samples_of(source: Any) -> Array:
    """Return an array of samples."""
    try:
        audio = np.asarray(source)
    except ValueError:  # rows of several lengths, for one
        audio = np.empty(0, object)
    if audio.ndim != 1 or (audio.dtype != SAMPLE_DTYPE and audio.dtype.kind != "f"):
        given = f"{audio.dtype} of shape {audio.shape}" if audio.ndim else source
        valid = f"{SOURCES}; or samples in one dimension, int16 or float with full scale 1"
        raise InvalidArgument("samples", given, valid)
    if audio.dtype.kind == "f" and len(audio):
        # NaN is audio that is missing, as timeline(fill="nan") gives it
        loudest = float(np.fmax(np.fmax.reduce(audio), -np.fmin.reduce(audio)))
        if loudest > _LOUDEST:
            raise InvalidArgument(
                "samples", f"{loudest:g} at the loudest",
                f"float samples with full scale 1, none beyond {_LOUDEST:,.0f}",
            )  # fmt: skip
    return audio


def segments(
    source: Any, *, tolerance: Duration | None = None, call: Call | None = None
) -> pd.DataFrame:
    """Return the contiguous spans of audio: what lies between gaps.

    Args:
        source, tolerance, call: as for :func:`recall_lab.analyse`.

    Returns:
        One row a span: ``start``, ``end``, ``duration`` (float64, s on the relative clock,
        half-open), ``packets`` (int64), ``first`` and ``last`` (int64, packets in order of media
        time), ``absolute`` (datetime64[ns, UTC], its start).

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> segments(rl.load("data/standup-lossy.bin"))["duration"].max()  # doctest: +SKIP
    """
    found = analyse(source, tolerance=tolerance, call=call)
    packets, line = found.standing, found.order
    size = len(line.starts)
    breaks = np.flatnonzero(line.starts[1:] - line.reached[:-1] > line.tolerance) + 1
    heads = np.concatenate([[0], breaks]) if size else breaks
    tails = np.append(breaks, size) - 1 if size else breaks
    start, end = line.starts[heads], line.reached[tails]
    rows = line.row(heads)
    return pd.DataFrame(
        {
            "start": start,
            "end": end,
            "duration": end - start,
            "packets": tails - heads + 1,
            "first": packets.index.to_numpy()[rows],
            "last": packets.index.to_numpy()[line.row(tails)],
            "absolute": packets["absolute"].array[rows],
        }
    )
