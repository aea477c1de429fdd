"""Find who is heard in whose stream: echo, and one voice in two tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from recall_lab.analysis.axis.axis import LONGEST
from recall_lab.analysis.meeting.people import names_of, streams_of
from recall_lab.analysis.recording.crosstalk import (
    FAINTEST,
    Correlator,
    Mask,
    Measured,
    Voice,
    dominant,
    measured,
    steady,
)
from recall_lab.analysis.sound.speech import FRAME, frame_powers, speech_on
from recall_lab.analysis.time.analysis import analyse, capture_of, each_of
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE

Floats = np.ndarray[Any, np.dtype[np.float64]]

_TAIL: Final = 20  # frames after speech in which a room still sounds
_CLOSE: Final = 1.0  # dB: a copy may be as loud, or by chance a little louder
_SAME: Final = 32  # samples, 2 ms
_MINE: Final = 4.0  # times the power of all that leaks in: what is louder is said here
_PURE: Final = 20.0  # times: what leaks in is no more to be found there
_VALID: Final = "the streams of one recording, as recall_lab.load_recording gives them"


class Leaks(NamedTuple):
    """What leaks between the streams of a recording.

    Attributes:
        streams: the participants'.
        start: of the axis, s on the relative clock.
        voices: the streams on that axis.
        own: frames of 10 ms in which each speaks, without what leaks in, by stream.
        found: by speaker and stream, as they are numbered in `streams`.
    """

    streams: tuple[Capture, ...]
    start: float
    voices: tuple[Voice, ...]
    own: tuple[Mask, ...]
    found: dict[tuple[int, int], Measured]


def leaks(recording: Any) -> pd.DataFrame:
    """Tell who is heard in whose stream: echo, and one voice in two tracks.

    A voice leaks into another's stream by an open loudspeaker (later by the way there and back),
    or because two people sit in one room (by some milliseconds). It is found by correlation, at
    one lag of up to 1 s either way that holds for the whole meeting, and down to 46 dB below the
    speaker; how often that is right stands in docs/measurements.md. Of each speaker two minutes
    are listened to, spread over the meeting.

    Args:
        recording: the streams of one recording, as :func:`recall_lab.load_recording` gives them;
            mixed ones are left out.

    Returns:
        One row for each voice that leaks into a stream, the loudest first: ``participant``
        (int64) and ``name`` (str, ``""`` if unknown), who speaks; ``stream`` (int64) and
        ``stream_name`` (str), in whose stream; ``lag`` (float64, ms, by which it comes later
        there), ``attenuation`` (float64, dB, how far below the speaker's own stream), ``share``
        (float64, 0 to 1, of the time in which the speaker speaks and one can tell), ``compared``
        (float64, s, that time), ``start``, ``end`` (float64, s on the relative clock: first and
        last heard). Names are as they were sent: never trust them.

    Raises:
        InvalidArgument: for what are no streams of one recording.
        MissingTimestamps: for audio without packets.

    Example:
        >>> rl.leaks(rl.load_recording("captures/9f3c"))[["name", "lag"]]  # doctest: +SKIP
    """
    return table_of_leaks(leaks_of(separate_of(recording)))


def table_of_leaks(known: Leaks) -> pd.DataFrame:
    """Return what leaks as the frame of :func:`leaks`."""
    names = names_of(known.streams)
    who = [owner_of(one) for one in known.streams]
    rows = [
        (
            who[a], names.get(who[a], ""), who[b], names.get(who[b], ""), 1e3 * one.lag / RATE,
            one.attenuation, one.share, one.compared, known.start + one.start / RATE,
            known.start + one.end / RATE,
        )
        for (a, b), one in known.found.items()
    ]  # fmt: skip
    kinds = {
        "participant": "int64", "name": "str", "stream": "int64", "stream_name": "str",
        "lag": "float64", "attenuation": "float64", "share": "float64", "compared": "float64",
        "start": "float64", "end": "float64",
    }  # fmt: skip
    found = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    return found.sort_values("attenuation", kind="stable", ignore_index=True)


def separate_of(recording: Any) -> list[Capture]:
    """Return the participants' streams of a recording.

    Raises:
        InvalidArgument: for what are no streams of one recording, or one that comes twice.
    """
    several = each_of(recording)
    streams = [capture_of(one) for one in ([recording] if several is None else several)]
    streams_of(streams)
    separate = [one for one in streams if one.info.participant is not None]
    stems = [one.info.stem for one in separate]
    if len(set(stems)) < len(stems):
        raise InvalidArgument("recording", stems, f"{_VALID}, each once")
    return separate


def leaks_of(
    streams: Sequence[Capture],
    detector: str = "level",
    span: tuple[float, float] | None = None,
) -> Leaks:
    """Return what leaks between participants' streams.

    Args:
        streams: of one recording.
        detector: as for :func:`recall_lab.speech`.
        span: of the axis, s on the relative clock; by default that of all of them.
    """
    start, end = span or span_of(streams)
    voices = voices_of(streams, detector, start, end)
    own = dominant(voices)
    found = _each_once(_found(voices, own, range(len(voices))))
    # a voice that leaks into two streams makes these alike: of whom it leaks to, only what they
    # say themselves can leak on
    cleared = [one & pure for one, pure in zip(own, _louder(found, voices, _PURE), strict=True)]
    again = sorted({b for _, b in found if any(a == b for a, _ in found)})
    kept = {pair: one for pair, one in found.items() if pair[0] not in again}
    found = _each_once(kept | _found(voices, cleared, again))
    louder = _louder(found, voices, _MINE)
    said = tuple(one.speaking & mine for one, mine in zip(voices, louder, strict=True))
    return Leaks(tuple(streams), start, voices, said, found)


def span_of(streams: Sequence[Capture]) -> tuple[float, float]:
    """Return the first and the last instant of some streams, s on the relative clock."""
    spans = [analyse(one).extent for one in streams if len(one.audio)]
    start = min((low for low, _ in spans), default=0.0)
    end = max((high for _, high in spans), default=start)
    if (end - start) * RATE > LONGEST:
        raise InvalidArgument(
            "recording", (start, end), "a call of days at most: a stamp has gone wrong"
        )
    return start, end


def voices_of(
    streams: Sequence[Capture], detector: str, start: float, end: float
) -> tuple[Voice, ...]:
    """Return streams on an axis from `start` to `end`, s on the relative clock."""
    known = [analyse(one) for one in streams]
    voices = []
    for one in known:
        line = one.timeline(start=start, end=end)
        powers = frame_powers(line)
        told = speech_on(line, powers, detector)
        speaking = np.zeros(len(powers), bool)
        for low, high in frames_between(told["start"], told["end"], start):
            speaking[low:high] = True
        voices.append(Voice(line, powers, speaking))
    return tuple(voices)


def frames_between(starts: pd.Series[Any], ends: pd.Series[Any], zero: float) -> list[list[int]]:
    """Return spans of the relative clock, s, as frames of an axis that begins at `zero`."""
    edges = np.rint((np.column_stack([starts, ends]) - zero) * (RATE / FRAME))
    found: list[list[int]] = np.maximum(edges, 0).astype(np.int64).tolist()
    return found


def _found(
    voices: Sequence[Voice], own: Sequence[Mask], speakers: Sequence[int]
) -> dict[tuple[int, int], Measured]:
    """Return the leaks of some speakers."""
    found: dict[tuple[int, int], Measured] = {}
    for a in speakers:
        correlator = Correlator(voices[a], own[a])
        for b, stream in enumerate(voices):
            peak = None if a == b else correlator.peak(stream)
            one = peak and measured((voices[a], stream), peak, own[a])
            if one and -_CLOSE <= one.attenuation <= FAINTEST:
                found[a, b] = one
    return found


def _each_once(found: dict[tuple[int, int], Measured]) -> dict[tuple[int, int], Measured]:
    """Return leaks without those that are others the wrong way round.

    Where a voice is as loud in both streams, it is of whom it is heard first.
    """
    kept = dict(found)
    for a, b in found:
        one, back = kept.get((a, b)), kept.get((b, a))
        if not one or not back or abs(one.lag + back.lag) > _SAME:
            continue
        if abs(one.attenuation + back.attenuation) <= 2 * _CLOSE:
            del kept[(b, a) if (one.lag, b) >= (back.lag, a) else (a, b)]
    return kept


def leaked_in(at: int, voices: Sequence[Voice], found: dict[tuple[int, int], Measured]) -> Floats:
    """Return the power of all that leaks into a stream, by frame."""
    total = np.zeros(len(voices[at].powers))
    for (a, b), one in found.items():
        if b == at:
            late = round(one.lag / FRAME)
            level = steady(voices[a].powers) * 10 ** (-one.attenuation / 10)
            moved = np.roll(level, late)
            moved[: max(late, 0)] = 0
            moved[len(moved) + min(late, 0) :] = 0
            # reverberation fades after the voice
            for step in range(1, _TAIL, 4):
                moved[step:] = np.maximum(moved[step:], moved[:-step] * 10 ** (-step / 60))
            total += moved
    return total


def _louder(
    leaks: dict[tuple[int, int], Measured], voices: Sequence[Voice], times: float
) -> list[Mask]:
    """Return the frames in which each stream is so many times the power of what leaks into it."""
    return [
        steady(voice.powers) > times * leaked_in(at, voices, leaks)
        for at, voice in enumerate(voices)
    ]


def owner_of(stream: Capture) -> int:
    """Return whose a participant's stream is."""
    assert stream.info.participant is not None
    return stream.info.participant.id
