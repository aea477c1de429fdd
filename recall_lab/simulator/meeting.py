"""Describe a meeting: who is there when, as whom, and what they say."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from recall_lab.errors import InvalidArgument, InvalidAudio
from recall_lab.simulator.meeting_truth import MeetingTruth, words_of
from recall_lab.store.audio_files import read_audio
from recall_lab.wire.messages import Participant
from recall_lab.wire.pcm import RATE, Samples

Span: TypeAlias = tuple[float, float]
"""Start and end, s from the first sample."""

_FIRST_ID = 100
_NEVER = 1e9  # s, beyond every meeting


@dataclass(frozen=True)
class Turn:
    """Somebody speaks.

    Attributes:
        start, end: s from the first sample.
        text: what is said, words apart by blanks.
        guess: what is taken for it at first: the words of the partial transcript; by default
            those that are said.
        late: s after its end at which the final words come.
        off: whether an event tells its end.
        language: code of the language that the transcript names; none by default.
    """

    start: float
    end: float
    text: str = ""
    guess: str = ""
    late: float = 0.0
    off: bool = True
    language: str = ""


@dataclass(frozen=True, eq=False)
class Voice:
    """One participant of a meeting.

    Attributes:
        participant: who it is.
        samples: what they say, int16 at 16 kHz, from the first sample of the meeting.
        turns: when they speak.
        mutes: ``(start, end)`` pairs, s, in which they send nothing.
        stays: ``(start, end)`` pairs, s, in order, in which they are there; by default all along.
        changes: ``(time, participant)`` pairs, in order: from then on they are told as that, with
            the same id, such as by another name. A field that is None there stays as it was.
    """

    participant: Participant
    samples: Samples
    turns: tuple[Turn, ...] = ()
    mutes: tuple[Span, ...] = ()
    stays: tuple[Span, ...] = ()
    changes: tuple[tuple[float, Participant], ...] = ()

    def who(self, time: float) -> Participant:
        """Return as whom they are told at a time, s."""
        told = msgspec.structs.asdict(self.participant)
        for when, change in self.changes:
            if when <= time:
                new = msgspec.structs.asdict(change)
                told |= {what: value for what, value in new.items() if value is not None}
        return Participant(**told)

    @property
    def away(self) -> tuple[Span, ...]:
        """When they are not there, ``(start, end)`` pairs in s; the last goes on for good."""
        if not self.stays:
            return ()
        edges = [0.0, *(edge for stay in self.stays for edge in stay), math.inf]
        return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a)

    @cached_property
    def heard(self) -> Samples:
        """The samples with zeros where the participant is muted or not there."""
        heard: Samples = silenced(self.samples, (*self.mutes, *self.away))
        return heard


@dataclass(frozen=True)
class Echo:
    """One person is heard in the stream of another, whose microphone hears the loudspeaker.

    Attributes:
        of, into: ids of who is heard, and in whose stream.
        level: against the speaker's own stream, dB.
        lag: how much later, s.
    """

    of: int
    into: int
    level: float = -20.0
    lag: float = 0.1


@dataclass(frozen=True, eq=False)
class Share:
    """A screen that is shared with sound: it is in the mixed stream, and in no separate one.

    Attributes:
        participant: id of who shares it.
        start: s from the first sample of the meeting.
        samples: its sound, int16 at 16 kHz.
    """

    participant: int
    start: float
    samples: Samples

    @property
    def end(self) -> float:
        """When it ends, s."""
        return self.start + len(self.samples) / RATE


@dataclass(frozen=True, eq=False)
class Meeting:
    """What a stand-in bot hears.

    Attributes:
        voices: who is there. Several may have one id, where they are never there together.
        chat: ``(time, participant id, text)``, s.
        echoes: who is heard in whose stream.
        shares: screens that are shared with sound.
        pauses: ``(start, end)`` pairs, s, in order and apart, in which the recording is paused:
            no audio is sent, the media clock runs on, and the final recording leaves them out.
    """

    voices: tuple[Voice, ...]
    chat: tuple[tuple[float, int, str], ...] = ()
    echoes: tuple[Echo, ...] = ()
    shares: tuple[Share, ...] = ()
    pauses: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        ids = [voice.participant.id for voice in self.voices]
        valid = "at least one participant, each with an id of its own while they are there"
        together: dict[int, list[Span]] = {}
        for voice in self.voices:
            together.setdefault(voice.participant.id, []).extend(voice.stays or ((0.0, math.inf),))
        if not ids or not all(map(_apart, map(sorted, together.values()))):
            raise InvalidArgument("voices", ids, valid)
        if not all(len(voice.samples) for voice in self.voices):
            raise InvalidArgument("voices", ids, "at least one sample of each")
        if not _apart(self.pauses):
            raise InvalidArgument("pauses", self.pauses, "(start, end) pairs, in order and apart")
        named = {id_ for _, id_, _ in self.chat} | {share.participant for share in self.shares}
        named |= {id_ for echo in self.echoes for id_ in (echo.of, echo.into)}
        if not named <= set(ids):
            raise InvalidArgument("participant", sorted(named - set(ids)), f"one of {ids}")

    @property
    def length(self) -> int:
        """Samples from the first to the last."""
        ends = [round(share.start * RATE) + len(share.samples) for share in self.shares]
        return max(*(len(voice.samples) for voice in self.voices), *ends, 0)

    @cached_property
    def mixed(self) -> Samples:
        """All voices in one stream, saturated, with their echoes and what screens sound like."""
        total = np.zeros(self.length, np.int32)
        for voice in self.voices:
            total[: len(voice.samples)] += voice.heard
            echoed = silenced(self._echo_in(voice), (*voice.mutes, *voice.away))
            total[: len(echoed)] += echoed
        for share in self.shares:
            at = round(share.start * RATE)
            total[at : at + len(share.samples)] += share.samples
        return _saturated(total)

    def stream(self, voice: Voice) -> Samples:
        """Return what one's separate stream has: their own voice, and the echoes of others."""
        echo = self._echo_in(voice)
        if not len(echo):
            return voice.samples
        return _saturated(voice.samples.astype(np.int32) + echo)

    def silent(self, voice: Voice | None) -> tuple[Span, ...]:
        """Return when nothing is sent of a voice, or of all: ``(start, end)`` pairs, s."""
        spans = self.pauses if voice is None else (*voice.mutes, *voice.away, *self.pauses)
        last = self.length / RATE
        return tuple((max(a, 0.0), min(b, last)) for a, b in spans if min(b, last) > max(a, 0.0))

    def recorded(self, seconds: float = math.inf) -> Samples:
        """Return the final recording of so many seconds of the meeting: without its pauses."""
        kept = np.ones(self.length, bool)
        for start, end in self.pauses:
            kept[_samples(start, end)] = False
        kept[_samples(seconds, math.inf)] = False
        recorded: Samples = self.mixed[kept]
        return recorded

    @property
    def truth(self) -> MeetingTruth:
        """Who was there, who spoke and what was said: what is to be told of a recording of it."""
        return MeetingTruth.of(self)

    def voice(self, id_: int, time: float) -> Voice:
        """Return who has an id at a time, s; of several who are not there, the first."""
        own = [voice for voice in self.voices if voice.participant.id == id_]
        there = (v for v in own if any(a <= time < b for a, b in v.stays or ((0.0, math.inf),)))
        return next(there, own[0])

    def happenings(self) -> list[tuple[float, str, dict[str, Any]]]:
        """Return what happens, in order of time: when (s), the event's name, its own fields.

        A transcript comes when it does: its words have times of their own.
        """
        found: list[tuple[float, str, dict[str, Any]]] = []
        last = self.length / RATE
        for voice in self.voices:
            for start, end in voice.stays or ((0.0, last),):
                found.append((start, "participant_events.join", _person(voice, start)))
                found.append((min(end, last), "participant_events.leave", _person(voice, end)))
                found += [
                    (when, "participant_events.update", _person(voice, when))
                    for when, _ in voice.changes
                    if start < when < end
                ]
            for turn in voice.turns:
                found.append(
                    (turn.start, "participant_events.speech_on", _person(voice, turn.start))
                )
                if turn.off:
                    off = "participant_events.speech_off"
                    found.append((turn.end, off, _person(voice, turn.end)))
                found += _transcripts(voice, turn)
        for share in self.shares:
            for when, name in ((share.start, "screenshare_on"), (share.end, "screenshare_off")):
                who = _person(self.voice(share.participant, when), when)
                found.append((when, f"participant_events.{name}", who))
        for when, id_, text in self.chat:
            told = {
                **_person(self.voice(id_, when), when),
                "data": {"text": text, "to": "everyone"},
            }
            found.append((when, "participant_events.chat_message", told))
        return sorted(found, key=lambda each: each[0])

    def _echo_in(self, voice: Voice) -> npt.NDArray[np.int32]:
        """Return what a participant's microphone has of others; of no length for nothing."""
        own = [echo for echo in self.echoes if echo.into == voice.participant.id]
        total = np.zeros(len(voice.samples) if own else 0, np.int32)
        for echo in own:
            at, factor = round(echo.lag * RATE), 10 ** (echo.level / 20)
            for other in self.voices:
                if other.participant.id == echo.of:
                    heard = other.heard[: max(len(total) - at, 0)]
                    total[at : at + len(heard)] += np.rint(heard * factor).astype(np.int32)
        return total


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


def silenced(samples: npt.NDArray[Any], spans: Iterable[Span]) -> npt.NDArray[Any]:
    """Return samples with zeros in spans of time, s."""
    left = samples.copy()
    for start, end in spans:
        left[_samples(start, end)] = 0
    return left


def _samples(start: float, end: float) -> slice:
    """Return the samples of a span, s; infinity is beyond the last."""
    low, high = (round(min(max(edge, 0.0), _NEVER) * RATE) for edge in (start, end))
    return slice(low, high)


def _saturated(total: npt.NDArray[np.int32]) -> Samples:
    return np.clip(total, -32_768, 32_767).astype("<i2")


def _apart(spans: Sequence[Span]) -> bool:
    """Whether spans are in order, and none begins before another ends."""
    edges = [edge for span in spans for edge in span]
    return all(a < b for a, b in spans) and edges == sorted(edges)


def _person(voice: Voice, time: float) -> dict[str, Any]:
    return {"participant": msgspec.to_builtins(voice.who(time))}


def _transcripts(voice: Voice, turn: Turn) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Yield the transcripts of a turn: half of it as it is guessed, then all that was said."""
    who = _person(voice, turn.start)
    if turn.language:
        who["language_code"] = turn.language
    middle = turn.start + 0.5 * (turn.end - turn.start)
    guessed = [word for word in words_of(turn, turn.guess or turn.text) if word[2] <= middle + 1e-9]
    said = list(words_of(turn, turn.text))
    for when, name, words in (
        (middle, "transcript.partial_data", guessed),
        (turn.end + turn.late, "transcript.data", said),
    ):
        if words:
            stamped = [
                {
                    "text": text,
                    "start_timestamp": {"relative": begin},
                    "end_timestamp": {"relative": end},
                }
                for text, begin, end in words
            ]
            yield when, name, {**who, "words": stamped}
