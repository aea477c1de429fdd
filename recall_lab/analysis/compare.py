"""A live capture against the recording of the same meeting: where it lies in it, and how alike.

Two clocks are at work, as the recording is made by another machine than the live stream: relative
time `t` is at ``offset + rate * t`` of the recording. A wrong recording has no such place, and a
sound that repeats itself has several: both are refused. Polarity is none of that: a recording
whose wave is upside down sounds the same, and is told as such.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.align import Line
from recall_lab.analysis.analysis import Analysis, analyse
from recall_lab.analysis.axis import covered
from recall_lab.analysis.levels import measure
from recall_lab.analysis.match import Match, Pair, place
from recall_lab.analysis.speech import speech
from recall_lab.analysis.timeline import axis_of
from recall_lab.capture.audio import from_audio
from recall_lab.capture.capture import Capture
from recall_lab.capture.level_steps import HALF_SAMPLE
from recall_lab.errors import InvalidArgument
from recall_lab.text import html_table
from recall_lab.wire.pcm import RATE

DRIFT_FROM: Final = 60.0
"""Seconds that a capture must span for a drift to be told."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Where a capture lies in a recording, and how alike they are. Made by :func:`compare`.

    Attributes:
        stem: the capture's stream.
        span: the capture's beginning and end, s on the relative clock.
        length: of the recording, s.
        offset: when relative time 0 is in the recording, s; negative where it began later.
        offset_interval: its 95 % interval, s. Lower by what an encoder may have put in front of
            the recording, where its file does not say how much (``Capture.encoder_delay``); the
            offset is where the sound lies in the file as it is decoded.
        rate: seconds of the recording in a second of the relative clock; the best guess where the
            drift can't be told.
        drift: how much slower the relative clock runs than the recording's, ppm:
            ``1e6 * (rate - 1)``; NaN where less than a minute is common to both.
        drift_interval: its 95 % interval, ppm; NaN likewise.
        level: how much louder the capture is, dB: median over the windows that agree, of RMS
            without direct current. Noise in one of the two counts as its level.
        level_range: its quartiles, dB.
        inverted: bool: the recording's wave is upside down, as by a swapped cable. Nobody hears
            it, but adding the two would cancel. All else is told as if it had been turned back.
        similarity: one row a window of the capture: ``start``, ``end`` (s on the relative
            clock), ``similarity`` (0 to 1, normalised correlation, 100 to 7,000 Hz, with the
            sign of the polarity taken out; NaN where either is silent or missing), ``lag`` (s,
            how much later the window lies in the recording than the line says; NaN where that is
            not clear), ``level`` (dB, capture less recording, over what both have), ``missing``
            (0 to 1, share that the capture has not).
        gaps: one row a gap of :func:`recall_lab.gaps`: ``start``, ``end``, ``duration`` (s),
            ``cause``, ``recorded`` (bool: the recording has all of it), ``recorded_seconds``,
            ``rms`` (dBFS, in the recording; NaN where it has none), ``speech`` (s of it).
        blank: digital silence at the beginning and at the end of the recording, s.
        evidence: numbers that it was told by: ``windows`` that could tell, ``agreeing`` ones,
            ``scatter`` of their lags around the line (s), ``correlation`` of the best rough
            guess, ``rival``: windows that agree on another place.
    """

    stem: str
    span: tuple[float, float]
    length: float
    offset: float
    offset_interval: tuple[float, float]
    rate: float
    drift: float
    drift_interval: tuple[float, float]
    level: float
    level_range: tuple[float, float]
    inverted: bool
    similarity: pd.DataFrame
    gaps: pd.DataFrame
    blank: tuple[float, float]
    evidence: Mapping[str, float]

    def recording_time(self, relative: npt.ArrayLike) -> Floats:
        """Return when instants of the relative clock are in the recording, s."""
        return self.offset + self.rate * np.asarray(relative, np.float64)

    def relative_time(self, recording: npt.ArrayLike) -> Floats:
        """Return when instants of the recording are on the relative clock, s."""
        return (np.asarray(recording, np.float64) - self.offset) / self.rate

    def offset_words(self) -> str:
        """Return how far off the offset may be, in words.

        ``±0.004 ms``; or ``-106 to +0.004 ms, as its encoder's delay is not told``, where a file
        does not say how much its encoder put in front.
        """
        low, high = (1e3 * (edge - self.offset) for edge in self.offset_interval)
        if math.isclose(-low, high, rel_tol=1e-3):
            return f"±{high:.2g} ms"
        least, most = (format(edge, "+.0f" if abs(edge) >= 10 else "+.2g") for edge in (low, high))
        return f"{least} to {most} ms, as its encoder's delay is not told"

    def facts(self) -> dict[str, str]:
        """Return what was found, in words, by what it is: what the repr shows."""
        shown = int(self.gaps["recorded"].sum())
        slow, fast = self.drift_interval
        drift = f"{self.drift:+.3f} ppm ({slow:+.3f} to {fast:+.3f})"
        return {
            "offset": f"{_signed(self.offset, 4)} s ({self.offset_words()})",
            "drift": "too short to tell" if np.isnan(self.drift) else drift,
            "level": f"{_signed(self.level, 1)} dB",
            **({"polarity": "inverted"} if self.inverted else {}),
            "similarity": f"{self.similarity['similarity'].median():.3f}",
            "gaps in the recording": f"{shown:,} of {len(self.gaps):,}",
        }

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {fact}" for name, fact in self.facts().items())
        return f"<Comparison {self.stem}, {facts}>"

    def _repr_html_(self) -> str:
        least, most = self.level_range
        told = f"{self.evidence['agreeing']:,.0f} of {self.evidence['windows']:,.0f} windows"
        more = {
            "level, quartiles": f"{_signed(least, 1)} to {_signed(most, 1)} dB",
            "blank in the recording": "{:.2f} s before, {:.2f} s after".format(*self.blank),
            "told by": f"{told}, scatter {self.evidence['scatter'] * 1e6:.1f} us",
        }
        return html_table(f"Comparison of {self.stem}", self.facts() | more)


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign; nothing is no less than zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def compare(
    capture: Capture,
    recording: str | os.PathLike[str] | Capture | npt.ArrayLike,
    *,
    every: float = 2.0,
) -> Comparison:
    """Find where a live capture lies in the recording of the same meeting, and how alike they are.

    Either may be longer, begin earlier, be louder, coded or noisy; the capture may have holes,
    and the clocks may drift by up to 500 ppm. The recording's wave may be upside down
    (``inverted``), which :func:`recall_lab.analysis.findings.comparison.findings_of_comparison`
    tells as the finding ``inverted_polarity``.

    Args:
        capture: live or loaded; without packets its samples are counted from 0.
        recording: an audio file (see :func:`recall_lab.read_audio`), a capture, as of
            :func:`recall_lab.from_audio`, or samples at 16 kHz, which are taken as exact.
        every: length of a window, s; shorter where the capture has less than ten.

    Returns:
        A :class:`Comparison`: offset and drift with their intervals, level, and as frames the
        similarity by windows and what each gap holds in the recording.

    Raises:
        RecordingMismatch: when the recording is of another meeting, holds nothing to tell by,
            fits in several places, or changes its polarity on the way.
        InvalidArgument: for a length or a recording that can't be.
        InvalidAudio: when the file is not there or can't be read as audio.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> found = rl.compare(cap, "audio_mixed.mp3")  # doctest: +SKIP
        >>> found  # doctest: +SKIP
        <Comparison 9f3c, offset: +12.3451 s (±0.004 ms), drift: +80.001 ppm (+79.983 to ...
        >>> found.gaps.query("recorded and speech > 0")  # doctest: +SKIP
    """
    number = isinstance(every, int | float) and not isinstance(every, bool)
    if not number or not 0.25 <= every <= 60:
        raise InvalidArgument("every", every, "seconds, 0.25 to 60")
    if not isinstance(capture, Capture):
        raise InvalidArgument("capture", type(capture), "a Capture, as rl.load() returns")
    known = analyse(capture) if len(capture.packets) else None
    source = audio_of(recording)
    one, other = axis_of(known or capture), axis_of(source)
    tolerance = max(known.order.scatter, HALF_SAMPLE) if known else 0.0
    pair = Pair.of(one, other, round(every * RATE), tolerance=tolerance, stem=capture.info.stem)
    line, evidence = place(pair)
    found = Match.of(pair, line)
    table, fit, line = _table(pair, found), found.fit, found.line
    low, level, high = np.percentile(table["level"][found.used], [25, 50, 75]).tolist()
    zero = -one.start * RATE  # relative time 0, in samples of the axis
    offset = other.start + float(line.of(zero)) / RATE
    drift = 1e6 * (line.rate - 1)
    # what the scatter can't show: the steps to which the capture's stamps are rounded
    rounding = known.order.quantum / 2 if known else 0.0
    height, slope = fit.errors
    reach = float(np.hypot(height, slope * (zero - fit.middle))) / RATE + rounding
    # what encoders put in front of either, nobody knows how much: the sound comes too late by it
    before = source.encoder_delay if isinstance(source, Capture) else 0.0
    common = pair.starts[found.used]
    spread = float(np.ptp(common) + pair.size) / RATE
    bound = 1e6 * (slope + 2 * rounding / spread)
    told = spread >= DRIFT_FROM
    return Comparison(
        stem=pair.stem,
        span=(one.start, one.end),
        length=other.end - other.start,
        offset=offset,
        offset_interval=(offset - reach - before, offset + reach + capture.encoder_delay),
        rate=line.rate,
        drift=drift if told else np.nan,
        drift_interval=(drift - bound, drift + bound) if told else (np.nan, np.nan),
        level=level,
        level_range=(low, high),
        inverted=line.sign < 0,
        similarity=table,
        gaps=_gaps(known, pair, line, speech(source)),
        blank=(pair.first / RATE, (len(other) - pair.last) / RATE),
        evidence=evidence | {"scatter": fit.scatter / RATE},
    )


def audio_of(
    recording: str | os.PathLike[str] | Capture | npt.ArrayLike,
) -> Capture | npt.ArrayLike:
    """Return a recording as something with samples: a file is read, whole, as a capture.

    Raises:
        InvalidAudio: for a file that is not there or can't be read as audio.
    """
    return from_audio(recording) if isinstance(recording, str | os.PathLike) else recording


def _table(pair: Pair, found: Match) -> pd.DataFrame:
    """Return what there is to say of each window."""
    windows = found.windows
    middles = pair.starts + pair.size / 2
    start = pair.one.start + pair.starts / RATE
    with np.errstate(divide="ignore", invalid="ignore"):
        level = 10 * np.log10(windows.mine / windows.theirs)
    return pd.DataFrame(
        {
            "start": start,
            "end": np.minimum(start + pair.size / RATE, pair.one.end),
            "similarity": np.clip(windows.similarity, 0, 1),
            "lag": np.where(windows.clear, windows.lag - found.fit.line.of(middles), np.nan) / RATE,
            "level": level,
            "missing": pair.missing,
        }
    )


def _gaps(known: Analysis | None, pair: Pair, line: Line, spoken: pd.DataFrame) -> pd.DataFrame:
    """Return the capture's gaps, and what the recording has of them."""
    columns = ["start", "end", "duration", "cause"]
    if known is None:
        found = pd.DataFrame({name: np.empty(0) for name in columns}).astype({"cause": "str"})
    else:
        found = known.gaps[columns].reset_index(drop=True)
    other = pair.other
    edges = line.of((found[["start", "end"]].to_numpy() - pair.one.start) * RATE)
    held = np.clip(np.rint(edges), pair.first, pair.last).astype(np.int64)
    length = held[:, 1] - held[:, 0] - np.diff(other.missing(held.ravel()).reshape(-1, 2))[:, 0]
    sums = measure(other, np.maximum.accumulate(np.append(held.ravel(), len(other))), runs=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = 10 * np.log10(2 * sums.squares / sums.heard)
    begins, ends = ((spoken[edge].to_numpy() - other.start) * RATE for edge in ("start", "end"))
    said = covered(begins, ends, held.astype(np.float64))
    return found.assign(
        recorded=length >= np.rint(found["duration"] * RATE) - 1,
        recorded_seconds=length / RATE,
        rms=rms[: len(held) * 2 : 2],
        speech=np.diff(said)[:, 0] / RATE,
    )
