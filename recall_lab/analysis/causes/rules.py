"""The rules for the causes of gaps: when each applies, and what it says.

Their order, and the words for all of them, are in :mod:`recall_lab.analysis.causes.causes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from recall_lab.analysis.causes.evidence import Bools, Evidence, Positions
from recall_lab.text import counted

_CLEAN: Final = (1000, 1001, 1005)
"""Codes of an end in good order: done, going away, and a close frame without any (RFC 6455,
7.4.1)."""

_MOSTLY: Final = 0.5  # of a gap, by the journal: then whatever else was there cost less

NOTHING_TELLS: Final = "nothing tells a loss from the silence of all"
"""The evidence where there is none."""

Says: TypeAlias = Callable[[Positions], list[str]]
"""Gives the evidence for the holes at some positions, a sentence each."""


@dataclass(frozen=True)
class Rule:
    """One reason for which audio is missing.

    Attributes:
        name: in words.
        cause: one of :data:`recall_lab.analysis.causes.causes.CAUSES`.
        fits_where: in words; the table in :mod:`recall_lab.analysis.causes.causes` has the same.
        told: returns where it fits, shape ``(holes,)``, and what to say there.
    """

    name: str
    cause: str
    fits_where: str
    told: Callable[[Evidence], tuple[Bools, Says]]


def _rule(cause: str) -> Callable[[Callable[[Evidence], tuple[Bools, Says]]], Rule]:
    """Make a rule of a function: its name is the rule's, its docstring says where the rule fits."""

    def made(told: Callable[[Evidence], tuple[Bools, Says]]) -> Rule:
        name = told.__name__.replace("_", " ")
        return Rule(name, cause, " ".join((told.__doc__ or "").split()), told)

    return made


@_rule("silence")
def packets_without_audio(seen: Evidence) -> tuple[Bools, Says]:
    """packets without audio stand in it and fill at least half of it, and nobody certainly spoke"""

    def says(at: Positions) -> list[str]:
        counts = seen.empty[at].tolist()
        return [f"{counted(count, 'packet')} without audio in it" for count in counts]

    fits = seen.empty > 0
    return (fits & ~seen.spoken if fits.any() else fits), says


@_rule("dropped")
def not_kept(seen: Evidence) -> tuple[Bools, Says]:
    """the packet after it says that others came and could not be kept, or the journal says so of
    at least half of it
    """
    return seen.flagged | (seen.dropped >= _MOSTLY), seen.why_dropped


@_rule("receiver restart")
def receiver_restarted(seen: Evidence) -> tuple[Bools, Says]:
    """different runs of the receiver kept the packets on either side"""

    def says(at: Positions) -> list[str]:
        return [
            f"connections {left} and {right} were of different runs"
            for left, right in _pairs(seen, at)
        ]

    return seen.restarted, says


@_rule("mute")
def closed_in_good_order(seen: Evidence) -> tuple[Bools, Says]:
    """separate: the bot closed the connection before it in good order (code 1000, 1001 or 1005)
    and opened another, and nobody certainly spoke
    """

    def says(at: Positions) -> list[str]:
        return [f"{_closed(seen, left)} and opened {right}" for left, right in _pairs(seen, at)]

    if not seen.separate or not seen.changed.any():
        return _nowhere(seen), says
    clean = [number for number, code in seen.closed.items() if code in _CLEAN]
    return seen.changed & np.isin(seen.connections[0], clean) & ~seen.spoken, says


@_rule("reconnect")
def connection_changed(seen: Evidence) -> tuple[Bools, Says]:
    """the connection changed otherwise: it broke, or was closed, and the bot came back"""

    def says(at: Positions) -> list[str]:
        sides = zip(_pairs(seen, at), seen.said_words(at), strict=True)
        return [_came_back(seen, left, right, words) for (left, right), words in sides]

    return seen.changed, says


@_rule("loss")
def words(seen: Evidence) -> tuple[Bools, Says]:
    """final transcripts have words in it: of the participant (separate), of anybody (mixed)"""
    return seen.words > 0, lambda at: _while_open(seen, at, seen.said_words(at))


@_rule("loss")
def heard_beside(seen: Evidence) -> tuple[Bools, Says]:
    """mixed: a separate stream of the recording has audio in it"""

    def says(at: Positions) -> list[str]:
        who, time = seen.heard.who[at].tolist(), seen.heard.time[at].tolist()
        return _while_open(
            seen, at,
            [
                f"the separate stream of participant {one} has audio in it, at {when:.3f} s"
                for one, when in zip(who, time, strict=True)
            ],
        )  # fmt: skip

    return ~np.isnan(seen.heard.time), says


@_rule("unknown")
def no_packet_beside_it(seen: Evidence) -> tuple[Bools, Says]:
    """there is no packet before it, or none after"""

    def says(at: Positions) -> list[str]:
        if seen.packets.empty:
            return ["there are no packets"] * len(at)
        before = (seen.holes.before[at] < 0).tolist()
        return [f"no packet {'before' if missing else 'after'} it" for missing in before]

    return ~seen.sided, says


@_rule("unknown")
def connection_not_told(seen: Evidence) -> tuple[Bools, Says]:
    """the packets do not say which connection brought them"""
    said = "the packets do not say which connection brought them"
    return ~(seen.within | seen.changed), lambda at: [said] * len(at)


@_rule("pause")
def media_clock_stood(seen: Evidence) -> tuple[Bools, Says]:
    """the sender's wall clock and our own ran on while its media clock stood"""

    def says(at: Positions) -> list[str]:
        stood = [f"the sender's media clock stood for {time:.3f} s" for time in seen.stood[at]]
        return _while_open(seen, at, stood)

    return seen.stood > 0, says


@_rule("mute")
def ceased_to_speak(seen: Evidence) -> tuple[Bools, Says]:
    """separate: by their own events the participant ceased to speak or left, in it or in the 2 s
    before
    """
    fits = seen.own.ceased if seen.separate else _nowhere(seen)
    return fits, lambda at: _while_open(seen, at, map(seen.own.said, at.tolist()))


@_rule("loss")
def still_speaking(seen: Evidence) -> tuple[Bools, Says]:
    """separate: by their own events the participant spoke when it began, or began to in it more
    than 2 s before its end
    """
    fits = seen.own.speaking if seen.separate else _nowhere(seen)
    return fits, lambda at: _while_open(seen, at, map(seen.own.said, at.tolist()))


@_rule("loss")
def somebody_speaking(seen: Evidence) -> tuple[Bools, Says]:
    """mixed: by their events somebody spoke for the first 2 s of it, or began to in it"""
    fits = _nowhere(seen) if seen.separate else seen.everybody.speaking
    return fits, lambda at: _while_open(seen, at, map(seen.everybody.said, at.tolist()))


@_rule("loss")
def too_short(seen: Evidence) -> tuple[Bools, Says]:
    """it is shorter than `mute`: the bot or its network dropped packets (a websocket itself loses
    nothing while it is open)
    """
    said = f"too short for a mute (under {seen.mute:g} s)"
    return seen.duration < seen.mute, lambda at: _while_open(seen, at, said)


@_rule("mute")
def everybody_silent(seen: Evidence) -> tuple[Bools, Says]:
    """mixed: everybody is known by events, and each was silent or not there"""

    def says(at: Positions) -> list[str]:
        people = counted(seen.everybody.people, "participant")
        said = {
            True: f"nobody was there, by the events of {people}",
            False: f"nobody spoke, by the events of {people}",
        }
        return _while_open(seen, at, [said[away] for away in seen.everybody.away[at].tolist()])

    if seen.separate:
        return _nowhere(seen), says
    return seen.everybody.silent | seen.everybody.away, says


@_rule("mute")
def long(seen: Evidence) -> tuple[Bools, Says]:
    """separate: it lasts `mute` or longer, and the sender's clocks ran on"""
    said = f"the sender's clocks ran on for {seen.mute:g} s or more"
    return np.full(len(seen.duration), seen.separate), lambda at: _while_open(seen, at, said)


@_rule("unknown")
def nothing_tells(seen: Evidence) -> tuple[Bools, Says]:
    """mixed: it lasts `mute` or longer, and nothing tells a loss from the silence of all"""
    return ~_nowhere(seen), lambda at: _while_open(seen, at, NOTHING_TELLS)


def _nowhere(seen: Evidence) -> Bools:
    return np.zeros(len(seen.duration), bool)


def _pairs(seen: Evidence, at: Positions) -> list[tuple[int, int]]:
    """Return the connections before and after some holes."""
    left, right = seen.connections
    return list(zip(left[at].tolist(), right[at].tolist(), strict=True))


def _while_open(seen: Evidence, at: Positions, said: str | Iterable[str]) -> list[str]:
    """Return sentences, one or one each, after the words that the connection stayed open."""
    numbers = np.where(seen.within, seen.connections[0], 0)[at].tolist()
    where = {one: f"connection {one} stayed open; " if one else "" for one in set(numbers)}
    if isinstance(said, str):
        whole = {one: told + said for one, told in where.items()}
        return [whole[one] for one in numbers]
    return [where[one] + told for one, told in zip(numbers, said, strict=True)]


def _closed(seen: Evidence, connection: int) -> str:
    return f"the bot closed connection {connection} in good order (code {seen.closed[connection]})"


def _came_back(seen: Evidence, left: int, right: int, words: str) -> str:
    """Say how a connection ended, and what came next."""
    code = seen.closed.get(left)
    if code in _CLEAN and seen.separate and words:
        return f"{_closed(seen, left)}, but {words}"
    if code in _CLEAN:
        said = f"{_closed(seen, left)}, {right} brought what came next"
    else:
        how = f"broke (code {code})" if left in seen.closed else "ended"
        said = f"connection {left} {how}, {right} brought what came next"
    return f"{said}; {words}" if words else said
