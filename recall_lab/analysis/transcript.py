"""What was said, word by word, and what was written in the chat, as the meeting told it."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.people import Source, events_of, names_of, streams_of, text_of
from recall_lab.capture.events import integers, payload_of, time_of
from recall_lab.errors import InvalidArgument
from recall_lab.wire.messages import MAX_RELATIVE

FINAL: Final = "transcript.data"
PARTIAL: Final = "transcript.partial_data"
CHAT: Final = "participant_events.chat_message"

Word = tuple[str, float, float]
"""Text, start and end in s on the relative clock; NaN where they are unknown."""


class _Utterance(NamedTuple):
    number: int  # of the event
    event: str
    participant: int | None
    name: str
    received: pd.Timestamp
    words: list[Word]
    begin: float  # when its first word that has a time was said


def transcript(
    capture: Source, partial: bool = False, *, by: Literal["word", "utterance"] = "word"
) -> pd.DataFrame:
    """Return the transcript, word by word or as it was said.

    A transcript that came twice, as after a reconnect, is one; one without any time can't be
    told from another that says the same, and stays.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.
        partial: with the guesses that came before the final words, too.
        by: ``"word"``, or ``"utterance"`` for a row each with its words in one text.

    Returns:
        One row a word (or an utterance), utterance by utterance in order of their time (those
        without one last): ``participant`` (Int64, NA if unknown), ``name`` (str, ``""`` if
        unknown), ``text`` (str), ``start``, ``end`` (float64, s on the relative clock,
        NaN if unknown), ``final`` (bool), ``utterance`` (int64, the row of ``capture.events``
        that brought it), ``received`` (datetime64[ns, UTC]). Texts are as they were sent: never
        trust them.

    Raises:
        InvalidArgument: for what has no events, streams of several recordings, or another `by`.

    Example:
        >>> said = transcript(rl.load("captures/9f3c.bin"), by="utterance")  # doctest: +SKIP
        >>> print(*(said["name"] + ": " + said["text"]), sep="\\n")  # doctest: +SKIP
    """
    streams = streams_of(capture)
    names = names_of(streams)
    kinds = (FINAL, PARTIAL) if partial else (FINAL,)
    said = _utterances(events_of(streams), kinds)
    said.sort(key=lambda one: math.inf if math.isnan(one.begin) else one.begin)
    if by not in ("word", "utterance"):
        raise InvalidArgument("by", by, "'word' or 'utterance'")
    if by == "utterance":
        said = [one._replace(words=_joined(one.words)) for one in said]
    rows = [
        (
            one.participant, one.name or names.get(one.participant, ""), *word,
            one.event == FINAL, one.number, one.received,
        )
        for one in said
        for word in one.words
    ]  # fmt: skip
    dtypes = {
        "participant": "Int64", "name": "str", "text": "str", "start": "float64",
        "end": "float64", "final": "bool", "utterance": "int64",
        "received": "datetime64[ns, UTC]",
    }  # fmt: skip
    return _table(rows, dtypes)


def chat(capture: Source) -> pd.DataFrame:
    """Return what was written in the chat.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.

    Returns:
        One row a message, by `relative`: ``participant`` (Int64, NA if unknown), ``name`` (str),
        ``relative`` (float64, s, NaN if unknown), ``to`` (str, to whom; ``""`` if unknown),
        ``text`` (str). A message that came twice is one. Texts are as they were sent: never
        trust them.

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.

    Example:
        >>> chat(rl.load("captures/9f3c.bin"))[["name", "text"]]  # doctest: +SKIP
    """
    streams = streams_of(capture)
    names = names_of(streams)
    events = events_of(streams)
    rows: list[tuple[int | None, str, float, str, str]] = []
    seen = set()
    events = events[events["event"] == CHAT]
    columns = (events[name] for name in ("participant", "relative", "detail"))
    for number, stamp, detail in zip(*columns, strict=True):
        payload = payload_of(detail)
        who = None if pd.isna(number) else int(number)
        message = payload.get("data")
        told = message if isinstance(message, dict) else {}
        relative = stamp if abs(stamp) <= MAX_RELATIVE else math.nan
        key = (who, relative, text_of(told.get("to")), text_of(told.get("text")))
        if math.isnan(relative) or key not in seen:
            seen.add(key)
            rows.append((who, _name(payload) or names.get(who, ""), *key[1:]))
    dtypes = {
        "participant": "Int64", "name": "str", "relative": "float64", "to": "str", "text": "str",
    }  # fmt: skip
    return _table(rows, dtypes).sort_values("relative", kind="stable", ignore_index=True)


def times_said(events: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return when the final words among events were said: what tells a loss from a mute.

    Returns:
        Shape ``(words, 2)``: start and end of each word that has a start, s; of one without an
        end, its start twice.
    """
    spans = [
        (start, start if math.isnan(end) else end)
        for one in _utterances(events, (FINAL,))
        for _, start, end in one.words
        if not math.isnan(start)
    ]
    return np.array(spans, np.float64).reshape(-1, 2)


def _joined(words: list[Word]) -> list[Word]:
    """Return words as one: their texts, the first start and the last end."""
    known = [time for _, *times in words for time in times if not math.isnan(time)]
    span = (min(known), max(known)) if known else (math.nan, math.nan)
    return [(" ".join(word[0] for word in words), *span)] if words else []


def _table(rows: list[Any], dtypes: dict[str, str]) -> pd.DataFrame:
    """Return rows, which begin with a participant, as a frame."""
    table = pd.DataFrame(rows, columns=list(dtypes))
    table["participant"] = integers(row[0] for row in rows)
    return table.astype(dtypes)


def _utterances(events: pd.DataFrame, kinds: tuple[str, ...]) -> list[_Utterance]:
    """Return the transcripts among events, in their order, each once."""
    events = events[events["event"].isin(kinds)]
    found = []
    seen = set()
    columns = (events[name] for name in ("event", "participant", "received", "detail"))
    for number, event, who, received, detail in zip(events.index, *columns, strict=True):
        payload = payload_of(detail)
        words = _words(payload.get("words"))
        begin = next((start for _, start, _ in words if not math.isnan(start)), math.nan)
        who = None if pd.isna(who) else int(who)
        if not math.isnan(begin):
            # NaN is not equal to itself: nothing would be a repeat that lacks an end
            key = (event, who, *((text, repr(start), repr(end)) for text, start, end in words))
            if key in seen:
                continue
            seen.add(key)
        found.append(_Utterance(number, event, who, _name(payload), received, words, begin))
    return found


def _words(told: object) -> list[Word]:
    """Return the words of a transcript, as far as they are words."""
    return [
        (
            text_of(word["text"]),
            _time(word.get("start_timestamp")),
            _time(word.get("end_timestamp")),
        )
        for word in (told if isinstance(told, list) else [])
        if isinstance(word, dict) and isinstance(word.get("text"), str)
    ]


def _time(stamp: object) -> float:
    """Return a word's time, s; NaN where it has none, or none that can be."""
    time = time_of(stamp)
    return time if abs(time) <= MAX_RELATIVE else math.nan


def _name(payload: dict[str, Any]) -> str:
    who = payload.get("participant")
    return text_of(who.get("name")) if isinstance(who, dict) else ""
