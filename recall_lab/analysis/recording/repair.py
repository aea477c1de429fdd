"""Fill gaps of the live stream from the recording.

A fill is a packet like any other, at its place in the frame, but it says of itself that it was
never received: ``Flag.REPAIRED``, connection 0. Analyses of arrival leave it out (see
:func:`recall_lab.analysis.clocks.columns.with_times`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from isal.isal_zlib import crc32

from recall_lab.analysis.alignment.align import Line
from recall_lab.analysis.axis.axis import Timeline
from recall_lab.analysis.axis.resampling import SIDE, interpolated
from recall_lab.analysis.clocks.columns import with_times
from recall_lab.analysis.recording.compare import audio_of, compare
from recall_lab.analysis.recording.comparison import Comparison
from recall_lab.analysis.recording.export import as_int16
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration, duration
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import COLUMNS, frame_of, nanoseconds
from recall_lab.capture.record import Flag
from recall_lab.errors import InvalidArgument, RecordingMismatch
from recall_lab.store.reader import release
from recall_lab.store.scratch import Scratch
from recall_lab.wire.pcm import RATE, Samples

Floats = npt.NDArray[np.float64]
Recording = str | os.PathLike[str] | Capture | npt.ArrayLike

_BY_DESIGN: Final = ("mute", "silence")  # causes: a participant's stream has nothing there to say
_LONGEST: Final = 1.0  # s of a fade
_BESIDE: Final = 8  # samples by which a fill is joined: so many that noise has little say
_PIECE: Final = 2**15  # samples interpolated at once
_COPIED: Final = 2**22  # samples copied at once


class Fill(NamedTuple):
    """Audio for a gap.

    Attributes:
        relative: time of its first sample, s.
        absolute: the same on the sender's wall clock, ns since 1970 UTC.
        samples: int16.
        before: the position that it has among the packets: before the one that stands there.
    """

    relative: float
    absolute: int
    samples: Samples
    before: int


class Repaired(Capture):
    """A capture whose gaps were filled. Made by :func:`repair`.

    Attributes:
        fills: one row a fill, in order: ``start``, ``end`` (s on the relative clock),
            ``recording`` (which of those that were given, from 0), ``source_start``,
            ``source_end`` (s of it), ``level`` (dB by which it was raised), ``inverted`` (bool:
            turned upside down), ``confidence`` (0 to 1: the lesser similarity of what is on its
            two sides).
        left: one row a gap of which something is left: ``start``, ``end``, ``duration`` (s),
            ``cause``, ``filled`` (s), ``why``.
    """

    fills: pd.DataFrame
    left: pd.DataFrame


class _Source(NamedTuple):
    """A recording, and where the capture lies in it."""

    axis: Timeline
    found: Comparison


def repair(
    capture: Capture,
    recording: Recording | Sequence[Recording],
    *,
    comparison: Comparison | None = None,
    fade: Duration = 0.005,
    alone: bool = False,
) -> Repaired:
    """Fill what is missing from the recording of the same meeting.

    A gap is filled only where what is on both sides of it lies on one line of the recording, at
    one level (see :func:`recall_lab.compare`): on the capture's clock, at the capture's level and
    polarity. Packets and their samples stay as they are; what the recording has not, or where
    that cannot be told, stays a gap (``left`` says why), and so do mute and silence in a
    participant's stream. A fill has ``Flag.REPAIRED``, connection 0, sequence 0, the arrival of
    the packet before it, and the checksum of its own audio.

    Args:
        capture: live or loaded, with packets.
        recording: as for :func:`recall_lab.compare`; or a list of such, as the parts that a bot
            recorded: each gap is filled from the one that has the most of it, and parts that do
            not fit are passed over.
        comparison: of the two, where it is there already; of one recording only.
        fade: seconds over which a fill leads from the height of what is beside it to its own, or
            from silence where that is missing, so that it does not click; 0 to 1. The samples
            that were received stay as they are.
        alone: the recording holds the participant of this stream and nobody else. A mixed one
            would put others' voices into the stream, so of a participant it is to be said.

    Returns:
        A capture, with the same information and events, that says what was filled from where,
        and what was not. Hours of it take disk, in an unnamed temporary file, and not memory.

    Raises:
        RecordingMismatch: when the recording does not fit, or none of several.
        MissingTimestamps: for audio without packets, of which nobody knows what is missing.
        InvalidArgument: for a fade that can't be, no recording at all, a comparison of other
            audio, or a participant's stream and a recording that may hold others.
        InvalidAudio: when a file is not there or can't be read as audio.
        OSError: when the disk has no room for hours of it.

    Example:
        >>> whole = rl.repair(cap, "audio_mixed.mp3")  # doctest: +SKIP
        >>> rl.save(whole, "whole.flac")  # doctest: +SKIP
        >>> whole.fills[["start", "source_start", "level"]]  # doctest: +SKIP
        >>> whole.left[["start", "why"]]  # doctest: +SKIP
    """
    fade = duration("fade", fade, 0, _LONGEST)
    if not isinstance(capture, Capture):
        raise InvalidArgument("capture", type(capture), "a Capture, as rl.load() returns")
    if capture.info.participant is not None and not alone:
        valid = (
            "a mixed stream: a recording of the meeting would put others' voices into a "
            "participant's; alone=True says that it holds this participant only"
        )
        raise InvalidArgument("capture", capture.info.stem, valid)
    if comparison is not None and not isinstance(comparison, Comparison):
        raise InvalidArgument("comparison", comparison, "what compare() returned, or None")
    known = analyse(capture)
    with_times(capture)  # of audio without packets nobody knows what is missing
    one = as_timeline(known)
    several = _several(recording)
    if comparison is not None and len(several) > 1:
        raise InvalidArgument("comparison", comparison, "None, where several recordings are given")
    sources = _sources(capture, one, several, comparison)
    fills, left = _chosen(sources, capture.info.participant is not None)
    made = _fills(known, one, sources, fills, fade)
    repaired = _joined(capture, list(made))
    repaired.fills = fills.drop(columns=["gap", "piece"]).reset_index(drop=True)
    repaired.left = left
    return repaired


def _several(recording: Recording | Sequence[Recording]) -> list[Recording]:
    """Return recordings as a list, whether one is given or several."""
    if not isinstance(recording, list | tuple) or isinstance(
        next(iter(recording), ""), int | float
    ):
        return [recording]  # type: ignore[list-item]
    if not recording:
        raise InvalidArgument("recording", recording, "one recording, or a list of some")
    return list(recording)


def _sources(
    capture: Capture,
    one: Timeline,
    several: list[Recording],
    comparison: Comparison | None,
) -> dict[int, _Source]:
    """Return the recordings that fit, by their position among those that were given."""
    sources: dict[int, _Source] = {}
    refused: RecordingMismatch | None = None
    for number, recording in enumerate(several):
        source = audio_of(recording)
        other = as_timeline(source)
        try:
            found = compare(capture, source) if comparison is None else comparison
        except RecordingMismatch as error:
            refused = refused or error
            continue
        if found.span != (one.start, one.end) or found.length != other.end - other.start:
            given = f"of {found.span[0]:.3f} to {found.span[1]:.3f} s with {found.length:.3f} s"
            valid = (
                f"one of {one.start:.3f} to {one.end:.3f} s with {other.end - other.start:.3f} s"
            )
            raise InvalidArgument("comparison", given, valid)
        sources[number] = _Source(other, found)
    if refused is not None and not sources:
        raise refused
    return sources


def _chosen(sources: dict[int, _Source], participant: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what is filled, from the recording that has most of each gap, and what is left."""
    numbers = list(sources)
    found = [sources[number].found for number in numbers]
    gaps = found[0].gaps
    had = np.column_stack([one.gaps["recorded_seconds"] for one in found])
    best = had.argmax(axis=1)
    wanted = np.ones(len(gaps), bool)
    if participant:
        wanted = ~gaps["cause"].isin(_BY_DESIGN).to_numpy()
    parts = []
    for at, one in enumerate(found):
        rows = one.fills[((best == at) & wanted)[one.fills["gap"].to_numpy()]]
        upside = one.pieces["inverted"].to_numpy()[rows["piece"]]
        parts.append(rows.assign(recording=numbers[at], inverted=upside))
    filled = np.where(wanted, had.max(axis=1), 0.0)
    why = np.column_stack([one.gaps["why"].to_numpy(object) for one in found])
    said = why[np.arange(len(gaps)), best]
    left = gaps[["start", "end", "duration", "cause"]].assign(
        filled=filled, why=np.where(wanted, said, "nothing was said there")
    )
    return (
        pd.concat(parts, ignore_index=True).sort_values("start", kind="stable")[
            ["gap", "start", "end", "recording", "source_start", "source_end", "level",
             "inverted", "confidence", "piece"]
        ],
        left[left["why"] != ""].reset_index(drop=True),
    )  # fmt: skip


def _fills(
    known: Analysis,
    one: Timeline,
    sources: dict[int, _Source],
    fills: pd.DataFrame,
    fade: float,
) -> Iterator[Fill]:
    """Yield the fills, in order."""
    grid = known.order.quantum
    # after what is there up to then: so nothing seems late that was not
    relative = np.nan_to_num(known.capture.media, nan=-np.inf)
    furthest = np.maximum.accumulate(relative)
    starts = known.gaps["start"].to_numpy()
    walls = nanoseconds(known.gaps["absolute"])
    spans = np.rint((fills[["start", "end"]].to_numpy() - one.start) * RATE).astype(np.int64)
    columns = (fills[name].tolist() for name in ("recording", "piece", "gap", "level"))
    for (low, high), number, piece, gap, level in zip(spans.tolist(), *columns, strict=True):
        other, found = sources[number]
        row = found.pieces.iloc[piece]
        at, rate = float(row["at"]), float(row["rate"])
        line = Line((at + rate * one.start - other.start) * RATE, rate)
        gain = (-1 if row["inverted"] else 1) * 10 ** (level / 20)
        samples = _fill(one, other, line, (low, high), fade, gain)
        when = one.start + low / RATE
        when = round(when / grid) * grid if grid else when
        absolute = int(walls[gap]) + round((when - float(starts[gap])) * 1e9)
        yield Fill(when, absolute, samples, int(np.searchsorted(furthest, when, "right")))
        one.release()
        other.release()


def _fill(
    one: Timeline, other: Timeline, line: Line, span: tuple[int, int], fade: float, gain: float
) -> Samples:
    """Return recorded audio for a span of the capture's axis, joined to what is beside it."""
    low, high = span
    audio = gain * interpolate(other, line, low - _BESIDE, high + _BESIDE)
    fill = audio[_BESIDE:-_BESIDE]
    size = round(fade * RATE)
    ramp = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, size + 1) / (size + 1)))[: len(fill)]
    for at, there, edge in (
        (low - _BESIDE, audio[:_BESIDE], fill[: len(ramp)]),
        (high, audio[-_BESIDE:], fill[::-1][: len(ramp)]),
    ):
        if at >= 0 and at + _BESIDE <= len(one) and one.heard(at, at + _BESIDE).all():
            # what is beside lies so much higher, as by another's direct current: no click of that
            step = float((one.take(at, at + _BESIDE) * one.unit - there).mean())
            edge += step * ramp
        else:
            edge *= 1 - ramp
    return as_int16(fill.astype(np.float32))


def interpolate(other: Timeline, line: Line, low: int, high: int) -> Floats:
    """Return the samples of `other` at ``line.of(low)`` to ``line.of(high)``, full scale 1.

    Returns:
        float64, shape ``(high - low,)``; zero where `other` has nothing.
    """
    found = np.zeros(high - low)
    for first in range(low, high, _PIECE):
        places = line.of(np.arange(first, min(first + _PIECE, high)))
        begin, end = int(np.floor(places[0])) - SIDE, int(np.floor(places[-1])) + SIDE + 1
        samples = np.zeros(end - begin)
        inside = slice(max(-begin, 0), max(min(end, len(other)) - begin, 0))
        samples[inside] = other.take(max(begin, 0), min(end, len(other)))
        found[first - low : first - low + len(places)] = interpolated(samples, places, begin)
    return found * np.float64(other.unit)


def _joined(capture: Capture, fills: list[Fill]) -> Repaired:
    """Return the capture with fills among its packets, and their samples among its samples."""
    packets = capture.packets
    ends = (packets["offset"] + packets["samples"]).to_numpy()
    before = np.array([fill.before for fill in fills], np.int64)
    near = np.maximum(before - 1, 0)
    # where the audio of the packet before it ends
    cuts = np.where(before > 0, ends[near], 0)
    counts = np.array([len(fill.samples) for fill in fills], np.int64)
    order = np.argsort(cuts, kind="stable")
    edges = [0, *cuts[order].tolist(), len(capture.audio)]
    with Scratch() as scratch:
        for number, (low, high) in enumerate(pairwise(edges)):
            if number:
                scratch.write(fills[int(order[number - 1])].samples)
            for first in range(low, high, _COPIED):
                scratch.write(capture.audio[first : min(first + _COPIED, high)])
                release(capture.audio)
        samples = scratch.samples()
    grown = np.concatenate([[0], np.cumsum(counts[order])])
    shift = grown[np.searchsorted(cuts[order], packets["offset"].to_numpy(), "right")]
    own = {
        "relative": [fill.relative for fill in fills],
        "absolute": [fill.absolute for fill in fills],
        "received": nanoseconds(packets["received"])[near],
        "monotonic": packets["monotonic"].to_numpy()[near],
        "offset": (cuts[order] + grown[:-1])[np.argsort(order, kind="stable")],
        "samples": counts,
        "connection": np.zeros(len(fills)),
        "sequence": np.zeros(len(fills)),
        "flags": np.full(len(fills), int(Flag.REPAIRED)),
        "payload_crc": [crc32(fill.samples.tobytes()) for fill in fills],
    }
    columns = {}
    for name in COLUMNS:
        values = (
            nanoseconds(packets[name])
            if name in ("absolute", "received")
            else packets[name].to_numpy()
        )
        values = values + shift if name == "offset" else values
        columns[name] = np.insert(values, before, np.asarray(own[name], values.dtype))
    return Repaired(samples, frame_of(columns), capture.info, events=lambda: capture.events)
