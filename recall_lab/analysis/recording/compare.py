"""Compare a live capture with the recording of the same meeting.

Two clocks are at work, as the recording is made by another machine than the live stream: relative
time `t` is at ``offset + rate * t`` of the recording. That holds piece by piece: a recording
leaves pauses out, or has what the capture has not. A wrong recording has no such place, and a
sound that repeats itself has several: both are refused. Polarity is none of that: a recording
whose wave is upside down sounds the same, and is told as such.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.alignment.align import Windows
from recall_lab.analysis.alignment.coverage import coverage, refuse
from recall_lab.analysis.alignment.match import Pair
from recall_lab.analysis.alignment.pieces import Found, Piece, pieces_of
from recall_lab.analysis.alignment.sources import Sources
from recall_lab.analysis.axis.axis import covered as axis_covered
from recall_lab.analysis.recording.comparison import Comparison
from recall_lab.analysis.sound.levels import measure
from recall_lab.analysis.sound.speech import speech
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration, duration
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.errors import InvalidArgument
from recall_lab.store.audio_files import from_audio
from recall_lab.wire.pcm import RATE

DRIFT_FROM: Final = 60.0
"""Seconds that a piece must span for a drift to be told."""


def compare(
    capture: Capture,
    recording: str | os.PathLike[str] | Capture | npt.ArrayLike,
    *,
    every: Duration = 2.0,
) -> Comparison:
    """Find where a live capture lies in the recording of the same meeting, and how alike they are.

    Either may be longer, begin earlier, be louder, coded or noisy; the capture may have holes,
    and the clocks may run apart by up to 1,000 ppm. The recording may leave out parts or have
    more, and its level, its clock and its polarity may change on the way: it is told by pieces,
    in each of which one line holds. Its wave may be upside down (``inverted``), which
    :func:`recall_lab.analysis.detectors.comparison.findings_of_comparison` tells as the finding
    ``inverted_polarity``.

    Args:
        capture: live or loaded; without packets its samples are counted from 0.
        recording: an audio file (see :func:`recall_lab.read_audio`), a capture, as of
            :func:`recall_lab.from_audio`, or samples at 16 kHz, which are taken as exact.
        every: length of a window, s; shorter where the capture has less than ten.

    Returns:
        A :class:`recall_lab.Comparison`: offset and drift with their intervals, level, and as
        frames the pieces, what is in one of the two only, the similarity by windows, and what the
        recording has of each gap.

    Raises:
        RecordingMismatch: when the recording is of another meeting, holds nothing to tell by,
            or fits in several places.
        InvalidArgument: for a length or a recording that can't be.
        InvalidAudio: when the file is not there or can't be read as audio.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> found = rl.compare(cap, "audio_mixed.mp3")  # doctest: +SKIP
        >>> found  # doctest: +SKIP
        <Comparison 9f3c, offset: +12.3451 s (±0.004 ms), drift: +80.001 ppm (+79.983 to ...
        >>> found.gaps.query("recorded and speech > 0")  # doctest: +SKIP
    """
    every = duration("every", every, 0.25, 60)
    if not isinstance(capture, Capture):
        raise InvalidArgument("capture", type(capture), "a Capture, as rl.load() returns")
    known = analyse(capture) if len(capture.packets) else None
    source = audio_of(recording)
    one, other = as_timeline(known or capture), as_timeline(source)
    tolerance = max(known.order.scatter, HALF_SAMPLE) if known else 0.0
    pair = Pair.of(one, other, round(every * RATE), tolerance=tolerance, stem=capture.info.stem)
    found = pieces_of(pair)
    covered = coverage(pair, found)
    evidence = refuse(pair, found, covered)
    # what the scatter can't show: the steps to which the capture's stamps are rounded
    rounding = known.order.quantum / 2 if known else 0.0
    # what encoders put in front of either, nobody knows how much: the sound comes too late by it
    before = source.encoder_delay if isinstance(source, Capture) else 0.0
    delays = before, capture.encoder_delay
    rows = [_row(pair, piece, rounding, delays) for piece in found.pieces]
    longest = max(range(len(rows)), key=lambda number: len(found.pieces[number].agree))
    main = rows[longest]
    table = _table(pair, found)
    low, level, high = np.percentile(table["level"][found.owner >= 0], [25, 50, 75]).tolist()
    gaps, fills = _gaps(known, pair, found, speech(source))
    return Comparison(
        stem=pair.stem,
        span=(one.start, one.end),
        length=other.end - other.start,
        pieces=pd.DataFrame(rows),
        unmatched=covered.unmatched,
        share=covered.share,
        alike=covered.similarity,
        offset=main["offset"],
        offset_interval=(main["offset_low"], main["offset_high"]),
        rate=main["rate"],
        drift=main["drift"],
        drift_interval=(main["drift_low"], main["drift_high"]),
        level=level,
        level_range=(low, high),
        inverted=bool(main["inverted"]),
        similarity=table,
        gaps=gaps,
        fills=fills,
        blank=(pair.first / RATE, (len(other) - pair.last) / RATE),
        evidence=evidence | {"scatter": found.pieces[longest].fit.scatter / RATE},
    )


def audio_of(
    recording: str | os.PathLike[str] | Capture | npt.ArrayLike,
) -> Capture | npt.ArrayLike:
    """Return a recording as something with samples: a file is read, whole, as a capture.

    Raises:
        InvalidAudio: for a file that is not there or can't be read as audio.
    """
    return from_audio(recording) if isinstance(recording, str | os.PathLike) else recording


def _row(
    pair: Pair, piece: Piece, rounding: float, delays: tuple[float, float]
) -> dict[str, float | bool | int]:
    """Return a piece as a row of ``Comparison.pieces``.

    Args:
        pair: the sounds.
        piece: one of theirs.
        rounding: half a step of the capture's stamps, s.
        delays: what may be an encoder's at the beginning of the recording and of the capture, s.
    """
    line, fit = piece.line, piece.fit
    zero = -pair.one.start * RATE  # relative time 0, in samples of the axis
    offset = pair.other.start + float(line.of(zero)) / RATE
    drift = 1e6 * (line.rate - 1)
    height, slope = fit.errors
    reach = float(np.hypot(height, slope * (zero - fit.middle))) / RATE + rounding
    spread = float(pair.starts[piece.agree[-1]] - pair.starts[piece.agree[0]] + pair.size) / RATE
    bound = 1e6 * (slope + 2 * rounding / spread)
    told = spread >= DRIFT_FROM
    return {
        "start": pair.one.start + piece.low / RATE,
        "end": pair.one.start + piece.high / RATE,
        "offset": offset,
        "offset_low": offset - reach - delays[0],
        "offset_high": offset + reach + delays[1],
        "drift": drift if told else np.nan,
        "drift_low": drift - bound if told else np.nan,
        "drift_high": drift + bound if told else np.nan,
        "level": piece.level,
        "inverted": line.sign < 0,
        "similarity": min(piece.similarity, 1.0),
        "windows": len(piece.agree),
        "at": offset,
        "rate": line.rate,
    }


def _table(pair: Pair, found: Found) -> pd.DataFrame:
    """Return what there is to say of each window."""
    windows = Windows(*found.rows)
    start = pair.one.start + pair.starts / RATE
    with np.errstate(divide="ignore", invalid="ignore"):
        level = 10 * np.log10(windows.mine / windows.theirs)
    return pd.DataFrame(
        {
            "start": start,
            "end": np.minimum(start + pair.size / RATE, pair.one.end),
            "similarity": np.clip(windows.similarity, 0, 1),
            "lag": np.where(windows.clear, windows.lag, np.nan) / RATE,
            "level": level,
            "missing": pair.missing,
            "piece": found.owner,
        }
    )


def _gaps(
    known: Analysis | None, pair: Pair, found: Found, spoken: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the capture's gaps with what the recording has of them, and what can be filled."""
    columns = ["start", "end", "duration", "cause"]
    if known is None:
        gaps = pd.DataFrame({name: np.empty(0) for name in columns}).astype({"cause": "str"})
    else:
        gaps = known.gaps[columns].reset_index(drop=True)
    one, other = pair.one, pair.other
    middles = ((gaps["start"] + gaps["end"]).to_numpy() / 2 - one.start) * RATE
    holes = one.holes[np.searchsorted(one.holes[:, 1], middles, "right")]
    sources = Sources(pair, found)
    told = [sources.of(low, high) for low, high in holes.tolist()]
    parts = [
        (gap, low, high, *source.line.of([low, high]).tolist(), source)
        for gap, source in enumerate(told)
        for low, high in source.parts
    ]
    gap, low, high, begin, end = np.array([part[:5] for part in parts], float).reshape(-1, 5).T
    fills = pd.DataFrame(
        {
            "gap": gap.astype(np.int64),
            "start": one.start + low / RATE,
            "end": one.start + high / RATE,
            "source_start": other.start + begin / RATE,
            "source_end": other.start + end / RATE,
            "piece": np.array([part[5].piece for part in parts], np.int64),
            "level": np.array([part[5].level for part in parts], float),
            "confidence": np.array([part[5].confidence for part in parts], float),
        }
    )
    seconds = np.bincount(fills["gap"], (high - low) / RATE, len(gaps))
    # of what is filled only: what lies elsewhere says nothing of the gap
    held = np.clip(np.rint(np.column_stack([begin, end])), 0, len(other)).astype(np.int64)
    sums = measure(other, np.maximum.accumulate(np.append(held.ravel(), len(other))), runs=False)
    heard, squares = (
        np.bincount(fills["gap"], values[: 2 * len(held) : 2], len(gaps))
        for values in (sums.heard, sums.squares)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = 10 * np.log10(2 * squares / heard)
    begins, ends = ((spoken[edge].to_numpy() - other.start) * RATE for edge in ("start", "end"))
    said = np.diff(axis_covered(begins, ends, held.astype(np.float64)))[:, 0] / RATE
    return gaps.assign(
        recorded=seconds >= gaps["duration"] - 2 / RATE,
        recorded_seconds=seconds,
        rms=rms,
        speech=np.bincount(fills["gap"], said, len(gaps)),
        why=pd.Series([source.why for source in told], gaps.index, dtype="str"),
    ), fills
