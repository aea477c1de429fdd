"""Compare who is told to speak with who is heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import binary_closing, binary_dilation, binary_opening

from recall_lab.analysis.meeting.people import events_of, speakers
from recall_lab.analysis.meeting.roster import Roster, roster_of
from recall_lab.analysis.meeting.transcript import transcript
from recall_lab.analysis.recording.crosstalk import Mask
from recall_lab.analysis.recording.leaks import (
    Leaks,
    frames_between,
    leaks_of,
    owner_of,
    separate_of,
    span_of,
    voices_of,
)
from recall_lab.analysis.recording.mix import mix
from recall_lab.analysis.sound.speech import DETECTORS, FRAME
from recall_lab.analysis.time.analysis import capture_of, each_of
from recall_lab.analysis.time.timeline import timeline
from recall_lab.arrays import runs_of
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import FULL_SCALE, RATE

KINDS: Final = ("unheard", "untold", "wrong_person", "only_in_mix")
"""What can part what is told from what is heard."""

LEAST: Final = 1.0
"""How long a wrong turn is that is told, s; shorter ones are within what events are late by."""

Floats = np.ndarray[Any, np.dtype[np.float64]]

_SECOND: Final = RATE // FRAME
_SLACK: Final = _SECOND // 2  # frames by which events and words may be early or late
_LEAST: Final = round(0.8 * _SECOND)  # frames: a second, and what edges lose of it
_REST: Final = round(0.4 * _SECOND)  # frames of it that lie beyond the slack
_CLICK: Final = round(0.3 * _SECOND)  # frames: what is shorter is no word
_PART: Final = 3 * _SECOND // 2  # frames beyond the slack of a turn that is heard in part
_HEARD: Final = 0.15  # of a turn: less is an edge of another one
_INSTEAD: Final = 0.3  # of a turn that is heard in another's stream
_WINDOW: Final = RATE // 4  # samples over which the mixed stream is held against the sum
_BLOCK: Final = 240  # windows worked on together
_UNLIKE: Final = 0.3  # of a window's power that the streams have no part in: coders leave less
_ABOVE: Final = 10.0  # times the power of the streams' quiet windows
_AUDIBLE: Final = 1e-6 / 2  # mean square: -60 dBFS


class _Row(NamedTuple):
    kind: str
    low: int  # frames
    high: int
    participant: int | None
    stream: int | None
    told_by: str


class _Told(NamedTuple):
    """What one source tells: by participant, spans in frames."""

    source: str
    spans: dict[int, list[tuple[int, int]]]

    def mask(self, who: int, size: int) -> Mask:
        """Return in which frames it tells that somebody speaks."""
        found = np.zeros(size, bool)
        for low, high in self.spans.get(who, ()):
            found[low:high] = True
        return found


def attribution(recording: Any, *, detector: str = "level") -> pd.DataFrame:
    """Hold what events and words tell against what is heard in the streams.

    A wrong turn of a second and more is told. Events and words may be half a second early or
    late, and leave out pauses; of a turn that is heard in part, 2.5 s and more in which it
    is not. A voice that only leaks into a stream (:func:`recall_lab.leaks`) is not heard there.
    Without separate streams the mixed one is all that is heard, and without events that tell who
    speaks and without words nothing is untold.

    Args:
        recording: the streams of one recording, as :func:`recall_lab.load_recording` gives them,
            the mixed one among them.
        detector: of speech, as for :func:`recall_lab.speech`. ``"level"`` takes a door for a
            voice, ``"neural"`` does not.

    Returns:
        One row a wrong turn, by `start`: ``kind`` (str), ``start``, ``end``, ``duration``
        (float64, s on the relative clock, half-open), ``participant`` (Int64, NA for nobody) and
        ``name`` (str), who is told to speak; ``stream`` (Int64, NA for none) and ``stream_name``
        (str), in whose stream speech is heard; ``told_by`` (str: ``events``, ``words``, ``""``).
        The kinds:

        - ``unheard``: somebody is told to speak, and no stream carries it
        - ``untold``: speech in a stream of which nothing tells
        - ``wrong_person``: what is told of one is heard in the stream of another
        - ``only_in_mix``: the mixed stream has what no other has: a screen that is shared with
          its sound, music, or somebody whose stream is lost

        Names are as they were sent: never trust them.

    Raises:
        InvalidArgument: for what are no streams of one recording, or another detector.
        MissingExtra: for ``"neural"`` where it is not installed.
        MissingTimestamps: for audio without packets.

    Example:
        >>> told = rl.attribution(rl.load_recording("captures/9f3c"))  # doctest: +SKIP
        >>> told.groupby("kind")["duration"].sum()  # doctest: +SKIP
    """
    if detector not in DETECTORS:
        raise InvalidArgument("detector", detector, "'level' or 'neural'")
    several = each_of(recording)
    streams = [capture_of(one) for one in ([recording] if several is None else several)]
    separate = separate_of(streams)
    span = span_of(streams)
    return attribution_of(streams, leaks_of(separate, detector, span), detector)


def attribution_of(streams: Sequence[Capture], known: Leaks, detector: str) -> pd.DataFrame:
    """Return the frame of :func:`attribution`.

    Args:
        streams: of a recording.
        known: what leaks between its participants' streams, on the axis of all streams.
        detector: as for :func:`recall_lab.speech`.
    """
    start, end = span_of(streams)
    mixed = next((one for one in streams if one.info.participant is None), None)
    heard = {owner_of(one): _words(own) for one, own in zip(known.streams, known.own, strict=True)}
    size = -(-round((end - start) * RATE) // FRAME)
    told = _told(streams, start, size)
    rows: list[_Row] = []
    if heard:
        alone = np.zeros(size, bool)
        if mixed is not None:
            alone = _only_in_mix(list(streams), (start, end), size)
        rows += _compared(told, heard, alone, size)
    elif mixed is not None and told:
        voice = voices_of([mixed], detector, start, end)[0]
        rows += _against_mix(told, _words(voice.speaking), size)
    return _table(rows, roster_of(streams, events_of(streams)), start)


def _words(speaking: Mask) -> Mask:
    """Return speech without what is too short to be a word."""
    found: Mask = binary_opening(speaking, np.ones(_CLICK, bool))
    return found


def _wide(mask: Mask) -> Mask:
    """Return frames with the slack on either side."""
    return binary_dilation(mask, iterations=_SLACK) if mask.any() else mask


def _told(streams: Sequence[Capture], start: float, size: int) -> list[_Told]:
    """Return what events and words tell, as far as there are any, within the axis."""
    by_events = speakers(list(streams))
    words = transcript(list(streams), by="utterance")
    words = words[words["start"].notna() & words["participant"].notna()]
    found = []
    for source, frame in (("events", by_events), ("words", words)):
        spans: dict[int, list[tuple[int, int]]] = {}
        edges = frames_between(frame["start"], frame["end"].fillna(frame["start"]), start)
        for who, (low, high) in zip(frame["participant"].tolist(), edges, strict=True):
            if low < min(high, size):
                spans.setdefault(int(who), []).append((low, min(high, size)))
        if spans:
            found.append(_Told(source, spans))
    return found


def _compared(told: Sequence[_Told], heard: dict[int, Mask], alone: Mask, size: int) -> list[_Row]:
    """Hold what is told against what the separate streams have.

    Args:
        told: by source.
        heard: frames of speech, by whose stream it is.
        alone: frames of what only the mixed stream has.
        size: of all that.
    """
    nothing = np.zeros(size, bool)
    rows = []
    taken = {who: nothing.copy() for who in heard}  # told, though of somebody else
    carried = nothing.copy()  # of what only the mixed stream has, what is told of somebody
    for source in told:
        wide = {who: _wide(source.mask(who, size)) for who in heard}
        for who, spans in source.spans.items():
            mine = heard.get(who, nothing)
            for low, high in _unheard(spans, mine):
                part = slice(low, high)
                instead = {
                    other: np.count_nonzero(speech[part] & ~wide[other][part])
                    for other, speech in heard.items()
                    if other != who
                }
                most = max(instead, key=lambda other: instead[other], default=None)
                if most is not None and instead[most] >= _INSTEAD * (high - low):
                    taken[most][part] = True
                    rows.append(_Row("wrong_person", low, high, who, most, source.source))
                elif np.count_nonzero(alone[part]) >= _INSTEAD * (high - low):
                    carried[part] = True
                    rows.append(_Row("only_in_mix", low, high, who, None, source.source))
                else:
                    rows.append(_Row("unheard", low, high, who, None, source.source))
    for who, speech in heard.items() if told else ():
        known = taken[who]
        for source in told:
            known = known | source.mask(who, size)
        rows += [_Row("untold", low, high, None, who, "") for low, high in _beyond(speech, known)]
    rows += [
        _Row("only_in_mix", low, high, None, None, "") for low, high in _beyond(alone, carried)
    ]
    return rows


def _against_mix(told: Sequence[_Told], speech: Mask, size: int) -> list[_Row]:
    """Hold what is told against the mixed stream, which has everybody."""
    rows = []
    known = np.zeros(size, bool)
    for source in told:
        for who, spans in source.spans.items():
            known |= source.mask(who, size)
            rows += [
                _Row("unheard", low, high, who, None, source.source)
                for low, high in _unheard(spans, speech)
            ]
    rows += [_Row("untold", low, high, None, None, "") for low, high in _beyond(speech, known)]
    return rows


def _unheard(spans: Sequence[tuple[int, int]], speech: Mask) -> list[tuple[int, int]]:
    """Return of turns that are told those, or those parts, in which nothing is heard."""
    wide = _wide(speech)
    found = []
    for low, high in spans:
        if high - low < _LEAST:
            continue
        if np.count_nonzero(speech[low:high]) < _HEARD * (high - low):
            found.append((low, high))
            continue
        found += [
            (low + begin, low + end)
            for begin, end in _runs(~wide[low:high])
            if end - begin >= _PART
        ]
    return found


def _beyond(speech: Mask, known: Mask) -> list[tuple[int, int]]:
    """Return runs of speech that lie beyond what is known, by more than its edges."""
    rest = speech & ~known
    found = []
    # pauses between words are no ends
    joined = binary_closing(np.pad(speech & ~_wide(known), _SLACK), np.ones(_SLACK, bool))
    for low, high in _runs(joined[_SLACK:-_SLACK]):
        near = slice(max(low - _SLACK, 0), high + _SLACK)
        some = np.flatnonzero(rest[near])
        beyond = np.count_nonzero((speech & ~_wide(known))[low:high])
        if len(some) >= _LEAST and beyond >= _REST:
            found.append((near.start + int(some[0]), near.start + int(some[-1]) + 1))
    return found


def _runs(mask: Mask) -> list[tuple[int, int]]:
    return [(low, high) for low, high in runs_of(mask).tolist()]


def _only_in_mix(streams: list[Capture], span: tuple[float, float], size: int) -> Mask:
    """Return frames in which the mixed stream has what the sum of the others has not.

    Where the two can't be laid over one another, nothing is told.
    """
    known = mix(streams, call=span)
    assert known.mixed is not None
    lag = known.comparison["lag_samples"] if known.comparison is not None else np.nan
    found = np.zeros(size, bool)
    if not np.isfinite(lag):
        return found
    late = int(lag) / RATE
    line = timeline(known.mixed, call=(span[0] + late, span[1] + late))
    windows = min(len(known.samples), len(line)) // _WINDOW
    sums = np.zeros((3, windows))
    for first in range(0, windows, _BLOCK):
        last = min(first + _BLOCK, windows)
        part = first * _WINDOW, last * _WINDOW
        x, y = (
            np.asarray(samples, np.float64).reshape(-1, _WINDOW) / FULL_SCALE
            for samples in (known.samples[slice(*part)], line.take(*part))
        )
        sums[:, first:last] = (x * x).mean(axis=1), (y * y).mean(axis=1), (x * y).mean(axis=1)
        line.release()
    mine, theirs, both = sums
    if not mine.any():
        return found
    # the level of the one in the other, by windows that are alike
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = both**2 > (1 - _UNLIKE) * mine * theirs
    gain = both[alike].sum() / mine[alike].sum() if alike.any() else 0.0
    # by the level of each window: a limiter turns down what several say at once
    left = theirs - np.divide(both**2, mine, out=np.zeros(windows), where=mine > 0)
    quiet = gain**2 * float(np.percentile(mine, 20))
    unlike = (left > _UNLIKE * theirs) & (left > max(_ABOVE * quiet, _AUDIBLE))
    found[: windows * (_WINDOW // FRAME)] = np.repeat(unlike, _WINDOW // FRAME)
    return found


def _table(rows: list[_Row], roster: Roster, start: float) -> pd.DataFrame:
    """Return rows as the frame of :func:`attribution`."""
    second = FRAME / RATE
    table = [
        (
            row.kind, start + row.low * second, start + row.high * second,
            (row.high - row.low) * second, row.participant,
            roster.name(row.participant, start + row.low * second),
            row.stream, roster.name(row.stream, start + row.low * second), row.told_by,
        )
        for row in rows
    ]  # fmt: skip
    kinds = {
        "kind": "str", "start": "float64", "end": "float64", "duration": "float64",
        "participant": "Int64", "name": "str", "stream": "Int64", "stream_name": "str",
        "told_by": "str",
    }  # fmt: skip
    found = pd.DataFrame(table, columns=list(kinds)).astype(kinds)
    return found.sort_values(["start", "kind"], kind="stable", ignore_index=True)
