"""The truth of a simulated meeting: people, turns, words, stray sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from recall_lab.wire.pcm import RATE

if TYPE_CHECKING:
    from recall_lab.simulator.meeting import Meeting, Turn, Voice

_FIELDS: Final = ("name", "is_host", "platform", "email")


class MeetingTruth(NamedTuple):
    """Frames, in the form in which analyses give them.

    Attributes:
        people: as ``participants(by="interval")``: ``participant``, ``name``, ``is_host``,
            ``platform``, ``email``, ``start``, ``end``. A name that comes late was theirs before.
        turns: as ``speakers``: ``participant``, ``name``, ``start``, ``end``, ``complete``; where
            no event tells the end, it is the latest that it can be.
        words: as ``transcript``: ``participant``, ``name``, ``text``, ``start``, ``end``,
            ``language``.
        sound: what a stream has that nobody says there, or lacks: ``what`` (``"pause"``: in no
            stream, and left out of the final recording; ``"echo"``: of ``of`` in the stream of
            ``participant``, at ``level`` dB and ``lag`` s; ``"screenshare"``: in the mixed stream
            alone), ``participant``, ``of`` (Int64), ``start``, ``end``, ``level``, ``lag``.
    """

    people: pd.DataFrame
    turns: pd.DataFrame
    words: pd.DataFrame
    sound: pd.DataFrame

    @classmethod
    def of(cls, meeting: Meeting) -> MeetingTruth:
        """Return the truth of a meeting of which all events are told."""
        last = meeting.length / RATE
        people = [row for voice in meeting.voices for row in _people(voice, last)]
        turns = [row for voice in meeting.voices for row in _turns(voice, last)]
        words = [row for voice in meeting.voices for row in _said(voice)]
        sound: list[tuple[Any, ...]] = [
            ("pause", None, None, start, end, math.nan, math.nan) for start, end in meeting.pauses
        ]
        sound += [
            ("echo", one.into, one.of, 0.0, last, one.level, one.lag) for one in meeting.echoes
        ]
        sound += [
            ("screenshare", one.participant, None, one.start, one.end, math.nan, math.nan)
            for one in meeting.shares
        ]
        return cls(
            _frame(sorted(people, key=lambda row: (row[0], row[5])), {
                "participant": "int64", "name": "str", "is_host": "boolean", "platform": "str",
                "email": "str", "start": "float64", "end": "float64",
            }),
            _frame(sorted(turns, key=lambda row: (row[2], row[0])), {
                "participant": "int64", "name": "str", "start": "float64", "end": "float64",
                "complete": "bool",
            }),
            _frame([row for *_, row in sorted(words)], {
                "participant": "Int64", "name": "str", "text": "str", "start": "float64",
                "end": "float64", "language": "str",
            }),
            _frame(sound, {
                "what": "str", "participant": "Int64", "of": "Int64", "start": "float64",
                "end": "float64", "level": "float64", "lag": "float64",
            }),
        )  # fmt: skip


def words_of(turn: Turn, text: str) -> Iterator[tuple[str, float, float]]:
    """Yield the words of a turn with their start and end, s: each as long as it has letters."""
    words = text.split()
    letters = np.cumsum([0, *(len(word) + 1 for word in words)])
    edges = (turn.start + letters / max(letters[-1], 1) * (turn.end - turn.start)).tolist()
    for word, (begin, end) in zip(words, pairwise(edges), strict=True):
        yield word, round(begin, 6), round(end, 6)


def _told(voice: Voice, time: float) -> tuple[Any, ...]:
    """Return name, role, platform and address at a time; before the first told, that one."""
    moments = [time, *(when for when, _ in voice.changes if when > time)]
    values = []
    for what in _FIELDS:
        told = (getattr(voice.who(moment), what) for moment in moments)
        value = next((one for one in told if one is not None), None)
        values.append("" if value is None and what != "is_host" else value)
    return tuple(values)


def _stays(voice: Voice, last: float) -> list[tuple[float, float]]:
    return [(start, min(end, last)) for start, end in voice.stays or ((0.0, last),)]


def _people(voice: Voice, last: float) -> Iterator[tuple[Any, ...]]:
    for start, end in _stays(voice, last):
        edges = [start, *(when for when, _ in voice.changes if start < when < end), end]
        row: tuple[Any, ...] | None = None
        for low, high in pairwise(edges):
            told = _told(voice, low)
            if row is not None and row[1:5] == told:
                row = *row[:6], high
                continue
            if row is not None:
                yield row
            row = voice.participant.id, *told, low, high
        if row is not None:
            yield row


def _turns(voice: Voice, last: float) -> Iterator[tuple[Any, ...]]:
    begins = sorted(turn.start for turn in voice.turns)
    for turn in voice.turns:
        end = turn.end
        if not turn.off:  # at the latest when they begin anew, or leave
            ends = [begin for begin in begins if begin > turn.start]
            ends += [end for start, end in _stays(voice, last) if start <= turn.start < end]
            end = min(ends, default=last)
        yield voice.participant.id, _told(voice, turn.start)[0], turn.start, end, turn.off


def _said(voice: Voice) -> Iterator[tuple[float, int, int, tuple[Any, ...]]]:
    for turn in voice.turns:
        who, name = voice.participant.id, _told(voice, turn.start)[0]
        for at, (text, begin, end) in enumerate(words_of(turn, turn.text)):
            yield turn.start, who, at, (who, name, text, begin, end, turn.language)


def _frame(rows: list[tuple[Any, ...]], kinds: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
