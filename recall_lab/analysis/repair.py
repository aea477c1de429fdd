"""What the live stream lost, filled in from the recording.

A fill is a packet like any other, at its place in the frame, but it says of itself that it was
never received: ``Flag.REPAIRED``, connection 0. Analyses of arrival leave it out (see
:func:`recall_lab.analysis.clocks.timed`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from recall_lab.analysis.align import Line
from recall_lab.analysis.analysis import Analysis, analyse
from recall_lab.analysis.axis import Timeline
from recall_lab.analysis.clocks import timed
from recall_lab.analysis.compare import Comparison, audio_of, compare
from recall_lab.analysis.export import as_int16
from recall_lab.analysis.resampling import SIDE, interpolated
from recall_lab.analysis.timeline import axis_of
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import COLUMNS, frame_of, nanoseconds
from recall_lab.capture.record import Flag
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE, Samples

Floats = npt.NDArray[np.float64]

_BY_DESIGN: Final = ("mute", "silence")  # causes: a participant's stream has nothing there to say
_LONGEST: Final = 1.0  # s of a fade
_BESIDE: Final = 8  # samples by which a fill is joined: so many that noise has little say
_PIECE: Final = 2**15  # samples interpolated at once


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


def repair(
    capture: Capture,
    recording: str | os.PathLike[str] | Capture | npt.ArrayLike,
    *,
    comparison: Comparison | None = None,
    fade: float = 0.005,
    alone: bool = False,
) -> Capture:
    """Fill what is missing from the recording of the same meeting.

    It is taken from where the capture lies in the recording, on the capture's clock, at the
    capture's level and polarity. Packets and their samples stay as they are; what the recording
    has not stays a gap, and so do mute and silence in a participant's stream. A fill has
    ``Flag.REPAIRED``, connection 0, sequence 0, the arrival of the packet before it, and the
    checksum of its own audio.

    Args:
        capture: live or loaded, with packets.
        recording: as for :func:`recall_lab.compare`.
        comparison: of the two, where it is there already.
        fade: seconds over which a fill leads from the height of what is beside it to its own, or
            from silence where that is missing, so that it does not click; 0 to 1.
        alone: the recording holds the participant of this stream and nobody else. A mixed one
            would put others' voices into the stream, so of a participant it is to be said.

    Returns:
        A capture in memory, with the same information and events.

    Raises:
        RecordingMismatch: when the recording does not fit.
        MissingTimestamps: for audio without packets, of which nobody knows what is missing.
        InvalidArgument: for a fade that can't be, a comparison of other audio, or a participant's
            stream and a recording that may hold others.
        InvalidAudio: when the file is not there or can't be read as audio.

    Example:
        >>> whole = rl.repair(cap, "audio_mixed.mp3")  # doctest: +SKIP
        >>> rl.save(whole, "whole.flac")  # doctest: +SKIP
        >>> filled = (whole.packets["flags"] & rl.Flag.REPAIRED) != 0  # doctest: +SKIP
    """
    number = isinstance(fade, int | float) and not isinstance(fade, bool)
    if not number or not 0 <= fade <= _LONGEST:
        raise InvalidArgument("fade", fade, f"seconds, 0 to {_LONGEST:g}")
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
    timed(capture)  # of audio without packets nobody knows what is missing
    one = axis_of(known)
    source = audio_of(recording)
    other = axis_of(source)
    found = compare(capture, source) if comparison is None else comparison
    if found.span != (one.start, one.end) or found.length != other.end - other.start:
        given = f"of {found.span[0]:.3f} to {found.span[1]:.3f} s with {found.length:.3f} s"
        valid = f"one of {one.start:.3f} to {one.end:.3f} s with {other.end - other.start:.3f} s"
        raise InvalidArgument("comparison", given, valid)
    return _joined(capture, list(_fills(known, one, other, found, fade)))


def _fills(
    known: Analysis, one: Timeline, other: Timeline, found: Comparison, fade: float
) -> Iterator[Fill]:
    """Yield what can be filled, in order."""
    capture, missing = known.capture, known.gaps
    if capture.info.participant is not None:
        missing = missing[~missing["cause"].isin(_BY_DESIGN)]
    at = (float(found.recording_time(one.start)) - other.start) * RATE
    line = Line(at, found.rate)
    gain = (-1 if found.inverted else 1) * 10 ** (found.level / 20)
    grid = known.order.quantum
    # after what is there up to then: so nothing seems late that was not
    relative = np.nan_to_num(capture.media, nan=-np.inf)
    furthest = np.maximum.accumulate(relative)
    starts, walls = missing["start"].to_numpy(), nanoseconds(missing["absolute"])
    middles = ((starts + missing["end"].to_numpy()) / 2 - one.start) * RATE
    holes = one.holes[np.searchsorted(one.holes[:, 1], middles, "right")]
    for hole, start, wall in zip(holes, starts.tolist(), walls.tolist(), strict=True):
        for low, high in _recorded(hole, other, line, found):
            samples = _fill(one, other, line, (low, high), fade, gain)
            when = one.start + low / RATE
            when = round(when / grid) * grid if grid else when
            absolute = wall + round((when - start) * 1e9)
            before = int(np.searchsorted(furthest, when, "right"))
            yield Fill(when, absolute, samples, before)


def _recorded(
    hole: npt.NDArray[np.int64], other: Timeline, line: Line, found: Comparison
) -> list[tuple[int, int]]:
    """Return the parts of a hole that the recording has, in samples of the capture's axis."""
    low = np.array([found.blank[0] * RATE, *other.holes[:, 1]])
    high = np.array([*other.holes[:, 0], len(other) - found.blank[1] * RATE])
    begins, ends = (np.rint((edge - line.at) / line.rate).astype(np.int64) for edge in (low, high))
    begins, ends = np.maximum(begins, hole[0]), np.minimum(ends, hole[1])
    some = ends > begins
    return list(zip(begins[some].tolist(), ends[some].tolist(), strict=True))


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


def _joined(capture: Capture, fills: list[Fill]) -> Capture:
    """Return the capture with fills among its packets, and their samples among its samples."""
    packets = capture.packets
    ends = (packets["offset"] + packets["samples"]).to_numpy()
    before = np.array([fill.before for fill in fills], np.int64)
    near = np.maximum(before - 1, 0)
    # where the audio of the packet before it ends
    cuts = np.where(before > 0, ends[near], 0)
    counts = np.array([len(fill.samples) for fill in fills], np.int64)
    order = np.argsort(cuts, kind="stable")
    pieces = np.split(capture.samples, cuts[order])
    joined = [pieces[0]]
    for at, piece in zip(order.tolist(), pieces[1:], strict=True):
        joined += [fills[at].samples, piece]
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
    return Capture(
        np.concatenate(joined), frame_of(columns), capture.info, events=lambda: capture.events
    )
