"""Tables of what was said, word by word, and of the chat."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.clocks.columns import times_of
from recall_lab.analysis.meeting.people import Source, WithEvents, told_of
from recall_lab.analysis.meeting.roster import Roster, text_of, usable
from recall_lab.capture.capture import Capture
from recall_lab.capture.events import integers, payload_of, time_of
from recall_lab.capture.frame import nanoseconds
from recall_lab.errors import InvalidArgument, InvalidMessage
from recall_lab.text import spoken
from recall_lab.wire.timestamps import parse_absolute

FINAL: Final = "transcript.data"
PARTIAL: Final = "transcript.partial_data"
CHAT: Final = "participant_events.chat_message"

_LATEST: Final = 9_200_000_000  # s since 1970 that nanoseconds in 64 bits hold


class Word(NamedTuple):
    """A word as it was told; or several joined.

    Attributes:
        text: as it was sent.
        start, end: s on the relative clock; NaN where unknown.
        absolute: its start on the sender's wall clock, ns since 1970 UTC; None where not told.
        language: code such as ``"ja"``; ``""`` where not told.
    """

    text: str
    start: float
    end: float
    absolute: int | None
    language: str


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
        partial: with the guesses that came before the final words, too; :func:`corrections` says
            what became of them.
        by: ``"word"``, or ``"utterance"`` for a row each with its words in one text, joined as
            their script does.

    Returns:
        One row a word (or an utterance), utterance by utterance in order of their time (those
        without one last), whenever they came: ``participant`` (Int64, NA if unknown), ``name``
        (str, that of the moment; ``""`` if unknown), ``text`` (str), ``start``, ``end``
        (float64, s on the relative clock, NaN if unknown: an utterance whose last word has no
        end has none), ``final`` (bool), ``utterance`` (int64, the row of ``capture.events`` that
        brought it), ``received`` (datetime64[ns, UTC]), ``absolute`` (datetime64[ns, UTC]: the
        start on the sender's wall clock, as the word has it, else by the packets of that time;
        NaT where neither tells), ``language`` (str, a code; ``""`` if unknown). Texts are as
        they were sent: never trust them.

    Raises:
        InvalidArgument: for what has no events, streams of several recordings, or another `by`.

    Example:
        >>> said = transcript(rl.load("captures/9f3c.bin"), by="utterance")  # doctest: +SKIP
        >>> print(*(said["name"] + ": " + said["text"]), sep="\\n")  # doctest: +SKIP
    """
    return words_of(*told_of(capture), partial, by=by)


def words_of(
    streams: Sequence[WithEvents],
    events: pd.DataFrame,
    roster: Roster,
    partial: bool = False,
    *,
    by: Literal["word", "utterance"] = "word",
) -> pd.DataFrame:
    """Return what :func:`transcript` does, of a roster that is there already."""
    if by not in ("word", "utterance"):
        raise InvalidArgument("by", by, "'word' or 'utterance'")
    said = _utterances(events, (FINAL, PARTIAL) if partial else (FINAL,))
    if by == "utterance":
        said = [one._replace(words=_joined(one.words)) for one in said]
    rows: list[tuple[Any, ...]] = []
    for one in said:
        name, final = roster.name(one.participant, one.begin) or one.name, one.event == FINAL
        rows += [
            (
                one.participant, name, word.text, word.start, word.end, final, one.number,
                one.received, word.language,
            )
            for word in one.words
        ]  # fmt: skip
    dtypes = {
        "participant": "Int64", "name": "str", "text": "str", "start": "float64",
        "end": "float64", "final": "bool", "utterance": "int64",
        "received": "datetime64[ns, UTC]", "language": "str",
    }  # fmt: skip
    table = _table(rows, dtypes)
    walls = _walls(streams, table["start"].to_numpy())
    told = [word.absolute for one in said for word in one.words]
    own = [wall if mine is None else mine for mine, wall in zip(told, walls.tolist(), strict=True)]
    table.insert(8, "absolute", times_of(np.array(own, np.int64)))
    return table


def corrections(capture: Source) -> pd.DataFrame:
    """Return where the final words are not those that were guessed before.

    A guess belongs to the final utterance of the same participant that begins nearest to it, of
    those that its time overlaps. That it ends earlier, or lacks the words that followed, corrects
    nothing. What several guesses had wrong in the same way is one row.

    Args:
        capture: one, or the streams of a recording; or anything else that has ``events``.

    Returns:
        One row a correction, in order of time: ``participant`` (Int64, NA if unknown), ``name``
        (str), ``start`` (float64, s: of the first word guessed there, or of the one that it
        stands before), ``partial``, ``final`` (str: the words guessed, and what became of them;
        ``""`` for words that were put in, or dropped), ``utterance`` (int64, the row of
        ``capture.events`` that has the final words). Texts are as they were sent: never trust
        them.

    Raises:
        InvalidArgument: for what has no events, or streams of several recordings.

    Example:
        >>> corrections(rl.load("captures/9f3c.bin"))[["partial", "final"]]  # doctest: +SKIP
    """
    _, events, roster = told_of(capture)
    said = _utterances(events, (FINAL, PARTIAL))
    finals: dict[int | None, list[_Utterance]] = {}
    for one in said:
        if one.event == FINAL and not math.isnan(one.begin):
            finals.setdefault(one.participant, []).append(one)
    rows: dict[tuple[Any, ...], None] = {}
    for guess in said:
        if guess.event == PARTIAL and (final := _became(guess, finals.get(guess.participant, []))):
            name = roster.name(final.participant, final.begin) or final.name
            for start, was, became in _differences(guess.words, final.words):
                rows[final.participant, name, start, was, became, final.number] = None
    dtypes = {
        "participant": "Int64", "name": "str", "start": "float64", "partial": "str",
        "final": "str", "utterance": "int64",
    }  # fmt: skip
    return _table(list(rows), dtypes).sort_values(
        ["start", "participant", "partial", "final"], kind="stable", ignore_index=True
    )


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
    _, events, roster = told_of(capture)
    rows: list[tuple[int | None, str, float, str, str]] = []
    seen = set()
    events = events[events["event"] == CHAT]
    columns = (events[name] for name in ("participant", "relative", "detail"))
    for number, stamp, detail in zip(*columns, strict=True):
        payload = payload_of(detail)
        who = None if pd.isna(number) else int(number)
        message = payload.get("data")
        told = message if isinstance(message, dict) else {}
        relative = usable(stamp)
        key = (who, relative, text_of(told.get("to")), text_of(told.get("text")))
        if math.isnan(relative) or key not in seen:
            seen.add(key)
            rows.append((who, roster.name(who, relative) or _name(payload), *key[1:]))
    dtypes = {
        "participant": "Int64", "name": "str", "relative": "float64", "to": "str", "text": "str",
    }  # fmt: skip
    return _table(rows, dtypes).sort_values(
        ["relative", "participant", "to", "text"], kind="stable", ignore_index=True
    )


def times_said(events: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return when the final words among events were said: what tells a loss from a mute.

    Returns:
        Shape ``(words, 2)``: start and end of each word that has a start, s; of one without an
        end, its start twice.
    """
    spans = [
        (start, start if math.isnan(end) else end)
        for one in _utterances(events, (FINAL,))
        for _, start, end, *_ in one.words
        if not math.isnan(start)
    ]
    return np.array(spans, np.float64).reshape(-1, 2)


def _joined(words: list[Word]) -> list[Word]:
    """Return words as one: their texts, from the first start to the end of the last word.

    The last is the one that begins last; where its end was not told none is known.
    """
    if not words:
        return []
    languages = Counter(word.language for word in words if word.language)
    language = max(sorted(languages), key=languages.__getitem__, default="")
    text = spoken((word.text for word in words), language)
    timed = [word for word in words if not math.isnan(word.start)]
    if not timed:
        return [Word(text, math.nan, math.nan, None, language)]
    first = min(timed, key=lambda word: word.start)
    last = max(word.start for word in timed)
    ends = [word.end for word in timed]
    # of several that begin last, the one that ends last; another may outlast them all
    open_ = any(math.isnan(word.end) for word in timed if word.start == last)
    end = math.nan if open_ else max(end for end in ends if not math.isnan(end))
    return [Word(text, first.start, end, first.absolute, language)]


def _became(guess: _Utterance, finals: list[_Utterance]) -> _Utterance | None:
    """Return the final utterance that a guess became; finals by their beginning."""
    if math.isnan(guess.begin):
        return None
    reach = _reach(guess)
    at = bisect_left(finals, guess.begin, key=lambda one: one.begin)
    # what began before may last on; of what begins later, the first is the nearest
    near = [one for one in finals[max(at - 2, 0) : at + 1]
            if one.begin <= reach and guess.begin <= _reach(one)]  # fmt: skip
    return min(near, key=lambda one: abs(one.begin - guess.begin), default=None)


def _reach(said: _Utterance) -> float:
    """Return how far the times of an utterance go, s."""
    times = [time for word in said.words for time in (word.start, word.end)]
    return max(time for time in times if not math.isnan(time))


def _differences(guess: list[Word], final: list[Word]) -> Iterator[tuple[float, str, str]]:
    """Yield time, words guessed, and words that they became, where these differ."""
    was, became = ([word.text for word in words] for words in (guess, final))
    matcher = SequenceMatcher(None, was, became, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal" or (tag == "insert" and a == len(was)):  # it only went on
            continue
        if tag == "replace" and b == len(was):  # the end of a guess stands for as many words
            d = min(d, c + b - a) if d == len(became) else d
        language = next((word.language for word in final if word.language), "")
        start = next((word.start for word in guess[a:] if not math.isnan(word.start)), math.nan)
        yield start, spoken(was[a:b], language), spoken(became[c:d], language)


def _walls(streams: Sequence[WithEvents], times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return moments on the sender's wall clock, by the nearest packet; NaT where none tells."""
    walls = np.full(len(times), np.iinfo(np.int64).min)
    for one in streams:
        if not isinstance(one, Capture) or one.packets.empty:
            continue
        media, absolute = one.media, nanoseconds(one.packets["absolute"])
        known = np.flatnonzero(np.isfinite(media))
        some = np.flatnonzero(np.isfinite(times))
        if not len(known):
            continue
        known = known[np.argsort(media[known], kind="stable")]
        near = np.searchsorted(media[known], times[some], "right") - 1
        near = known[np.maximum(near, 0)]
        walls[some] = absolute[near] + np.rint((times[some] - media[near]) * 1e9).astype(np.int64)
        break  # the first is the mixed stream, or as good as any
    return walls


def _table(rows: list[Any], dtypes: dict[str, str]) -> pd.DataFrame:
    """Return rows, which begin with a participant, as a frame."""
    table = pd.DataFrame(rows, columns=list(dtypes))
    table["participant"] = integers(row[0] for row in rows)
    return table.astype(dtypes)


def _utterances(events: pd.DataFrame, kinds: tuple[str, ...]) -> list[_Utterance]:
    """Return the transcripts among events, in order of their time, each once."""
    events = events[events["event"].isin(kinds)]
    found = []
    seen = set()
    columns = (events[name] for name in ("event", "participant", "received", "detail"))
    for number, event, who, received, detail in zip(events.index, *columns, strict=True):
        payload = payload_of(detail)
        words = _words(payload)
        begin = next((word.start for word in words if not math.isnan(word.start)), math.nan)
        who = None if pd.isna(who) else int(who)
        if not math.isnan(begin):
            # NaN is not equal to itself: nothing would be a repeat that lacks an end
            key = (event, who, *((word.text, repr(word.start), repr(word.end)) for word in words))
            if key in seen:
                continue
            seen.add(key)
        found.append(_Utterance(number, event, who, _name(payload), received, words, begin))
    ordered: list[_Utterance] = []
    for _, same in groupby(sorted(found, key=_key), _key):
        few = list(same)
        if len(few) > 1:
            few.sort(key=lambda one: (repr(one.words), one.name))
        ordered += few
    return ordered


def _key(said: _Utterance) -> tuple[float, int, bool, int]:
    """By which they are in order, whenever they came: those without a time last."""
    begin = math.inf if math.isnan(said.begin) else said.begin
    who = -1 if said.participant is None else said.participant
    return begin, who, said.event == FINAL, len(said.words)


def _words(payload: dict[str, Any]) -> list[Word]:
    """Return the words of a transcript, as far as they are words."""
    told = payload.get("words")
    language = _language(payload)
    return [
        Word(
            text_of(word["text"]),
            usable(time_of(word.get("start_timestamp"))),
            usable(time_of(word.get("end_timestamp"))),
            _absolute(word.get("start_timestamp")),
            _language(word) or language,
        )
        for word in (told if isinstance(told, list) else [])
        if isinstance(word, dict) and isinstance(word.get("text"), str)
    ]


def _language(told: dict[str, Any]) -> str:
    code = told.get("language_code") or told.get("language")
    return text_of(code) if code else ""


def _absolute(stamp: object) -> int | None:
    """Return a word's time on the wall clock, ns: told as ISO 8601, or as seconds since 1970."""
    told = stamp.get("absolute") if isinstance(stamp, dict) else None
    try:
        if isinstance(told, str):
            return parse_absolute(told)[0]
        if isinstance(told, int | float) and not isinstance(told, bool) and abs(told) < _LATEST:
            return round(told * 1_000_000_000)
    except InvalidMessage:
        pass
    return None


def _name(payload: dict[str, Any]) -> str:
    who = payload.get("participant")
    return text_of(who.get("name")) if isinstance(who, dict) else ""
