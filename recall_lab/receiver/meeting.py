"""A meeting that the stand-in bot can hear: several people, who says what, and when."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from recall_lab.capture.audio import read_audio
from recall_lab.errors import InvalidArgument, InvalidAudio
from recall_lab.wire.messages import Participant
from recall_lab.wire.pcm import RATE, Samples

_FIRST_ID = 100


@dataclass(frozen=True)
class Turn:
    """Somebody speaks.

    Attributes:
        start, end: s from the first sample.
        text: what is said.
    """

    start: float
    end: float
    text: str = ""


@dataclass(frozen=True, eq=False)
class Voice:
    """One participant of a meeting.

    Attributes:
        participant: who it is.
        samples: what they say, int16 at 16 kHz, from the first sample of the meeting.
        turns: when they speak.
        mutes: ``(start, end)`` pairs, s, in which they send nothing.
    """

    participant: Participant
    samples: Samples
    turns: tuple[Turn, ...] = ()
    mutes: tuple[tuple[float, float], ...] = ()

    @cached_property
    def heard(self) -> Samples:
        """The samples with zeros where the participant is muted."""
        heard = self.samples.copy()
        for start, end in self.mutes:
            heard[max(round(start * RATE), 0) : max(round(end * RATE), 0)] = 0
        return heard


@dataclass(frozen=True, eq=False)
class Meeting:
    """What a stand-in bot hears.

    Attributes:
        voices: who is there.
        chat: ``(time, participant id, text)``, s.
    """

    voices: tuple[Voice, ...]
    chat: tuple[tuple[float, int, str], ...] = ()

    def __post_init__(self) -> None:
        ids = [voice.participant.id for voice in self.voices]
        if not ids or len(set(ids)) < len(ids):
            raise InvalidArgument(
                "voices", ids, "at least one participant, each with an id of its own"
            )
        if not all(len(voice.samples) for voice in self.voices):
            raise InvalidArgument("voices", ids, "at least one sample of each")

    @property
    def length(self) -> int:
        """Samples from the first to the last."""
        return max(len(voice.samples) for voice in self.voices)

    @cached_property
    def mixed(self) -> Samples:
        """All voices in one stream, saturated: what the mixed stream and the recording hold."""
        total = np.zeros(self.length, np.int32)
        for voice in self.voices:
            total[: len(voice.samples)] += voice.heard
        return np.clip(total, -32_768, 32_767).astype("<i2")

    def happenings(self) -> list[tuple[float, str, dict[str, Any]]]:
        """Return what happens, in order of time: when (s), the event's name, its own fields."""
        found: list[tuple[float, str, dict[str, Any]]] = []
        for voice in self.voices:
            who = {"participant": msgspec.to_builtins(voice.participant)}
            found.append((0.0, "participant_events.join", who))
            for turn in voice.turns:
                found.append((turn.start, "participant_events.speech_on", who))
                found.append((turn.end, "participant_events.speech_off", who))
                for share, name in ((0.5, "transcript.partial_data"), (1.0, "transcript.data")):
                    words = list(_words(turn, share))
                    if words:
                        when = turn.start + share * (turn.end - turn.start)
                        found.append((when, name, {**who, "words": words}))
            found.append((self.length / RATE, "participant_events.leave", who))
        people = {voice.participant.id: voice.participant for voice in self.voices}
        for when, id_, text in self.chat:
            who = {"participant": msgspec.to_builtins(people[id_])}
            told = {**who, "data": {"text": text, "to": "everyone"}}
            found.append((when, "participant_events.chat_message", told))
        return sorted(found, key=lambda each: each[0])


def read_meeting(path: str | os.PathLike[str]) -> Meeting:
    """Return the meeting in an audio file, with the ``.csv`` beside it saying who speaks when.

    Each sample goes to whoever has the turn, or had it last; where two speak at once, half of it
    to each: so the voices add up to the file exactly.

    Args:
        path: the audio. The table has the columns ``speaker``, ``start``, ``end`` (s), ``text``.

    Raises:
        InvalidAudio: when either can't be read.

    Example:
        >>> [v.participant.name for v in read_meeting("data/standup.wav").voices]
        ['Alice', 'Bob']
    """
    samples = read_audio(path)
    table = Path(path).with_suffix(".csv")
    try:
        with table.open(newline="", encoding="utf-8") as file:
            turns = [
                (row["speaker"], Turn(float(row["start"]), float(row["end"]), row["text"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidAudio(
            f"{str(table)!r} does not say who speaks when ({error!r}): it needs the columns "
            "speaker, start, end, text"
        ) from None
    names = list(dict.fromkeys(speaker for speaker, _ in turns))
    if not names:
        raise InvalidAudio(f"{str(table)!r} has no rows")
    speaking = np.zeros((len(names), len(samples)), bool)
    for speaker, turn in turns:
        speaking[names.index(speaker), round(turn.start * RATE) : round(turn.end * RATE)] = True
    nobody = ~speaking.any(axis=0)
    last = np.maximum.accumulate(np.where(nobody, -1, np.arange(len(samples))))
    first = int(np.argmin(nobody))
    speaking[:, nobody] = speaking[:, np.where(last < 0, first, last)[nobody]]
    shared = np.count_nonzero(speaking, axis=0)
    part = samples // np.maximum(shared, 1).astype("<i2")
    voices = []
    for at, name in enumerate(names):
        own = np.where(speaking[at], part, 0).astype("<i2")
        if at == 0:  # and what is left over when it is divided
            own += samples - part * shared.astype("<i2")
        who = Participant(_FIRST_ID + at, name.title(), is_host=at == 0, platform="stand-in")
        own_turns = tuple(turn for speaker, turn in turns if speaker == name)
        voices.append(Voice(who, own, own_turns))
    return Meeting(tuple(voices), ((1.0, _FIRST_ID, "Hello, here are the notes."),))


def _words(turn: Turn, share: float) -> Iterator[dict[str, Any]]:
    """Yield the words of the first part of a turn, each as long as it has letters."""
    words = turn.text.split()
    letters = np.cumsum([0, *(len(word) + 1 for word in words)]) / max(
        1, sum(len(word) + 1 for word in words)
    )
    length = turn.end - turn.start
    for word, begin, end in zip(words, letters[:-1].tolist(), letters[1:].tolist(), strict=True):
        if end <= share + 1e-9:
            yield {
                "text": word,
                "start_timestamp": {"relative": round(turn.start + begin * length, 6)},
                "end_timestamp": {"relative": round(turn.start + end * length, 6)},
            }
