"""Causes of gaps: every rule where it fits and where it must not, in mixed and separate streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.builders import make_capture, make_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recall_lab.analysis.causes import causes
from recall_lab.analysis.causes.causes import CAUSES, RULES, Rule, Spans, causes_of
from recall_lab.analysis.clocks.columns import with_times
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import Flag

Event = dict[str, object]
NAMED = {rule.name: rule for rule in RULES}
MIXED, SEPARATE = None, 7
PACKET, RATE = 3200, 16_000
START = 10.0
NEW_YEAR = 1_767_225_600_000_000_000


def own(event: str, at: float, who: int | None = 7) -> Event:
    return {"event": f"participant_events.{event}", "participant": who, "relative": at}


def said(*spans: tuple[float, float | None], who: int | None = 7) -> Event:
    """Return a final transcript whose words lie so."""
    words = [
        {
            "text": "secret",
            "start_timestamp": {"relative": start},
            "end_timestamp": None if end is None else {"relative": end},
        }
        for start, end in spans
    ]
    detail = {"message": {"data": {"data": {"words": words}}}}
    return {"event": "transcript.data", "participant": who, "detail": detail}


def ended(code: object, connection: int = 1) -> Event:
    return {"kind": "disconnected", "connection": connection, "detail": {"code": code}}


def run(connection: int, receiver: str) -> Event:
    return {"kind": "connected", "connection": connection, "receiver": receiver}


def dropped(since: float, until: float, stream: str, packets: int = 20) -> Event:
    line = {
        "stream": stream, "since": since, "until": until, "packets": packets, "error": "disk full",
    }  # fmt: skip
    return {"kind": "dropped", "detail": line}


def voice(
    start: float,
    end: float,
    *,
    who: int | None = 8,
    level: int = 900,
    recording: str = "call",
    backward: bool = False,
) -> Capture:
    """Return a separate stream of the recording that has audio from start to end."""
    count = round((end - start) / 0.2)
    stamps = start + np.arange(count)[:: -1 if backward else 1] * 0.2
    audio = np.full(count * PACKET, level, np.int16)
    one = make_capture(stamps, PACKET, participant=who, audio=audio)
    return Capture(
        one.samples, one.packets, CaptureInfo(recording=recording, participant=one.info.participant)
    )


@dataclass(frozen=True)
class Case:
    """A stream of 200 ms packets with a hole from 10 s on, and what is known beside it.

    Attributes:
        rule: the one that fits.
        evidence: what it says, a regular expression for all of it.
        who: the participant; None for the mixed stream.
        end: of the hole, s.
        empty: packets without audio in it, from its start on.
        connection: before and after.
        flags: of the packet after.
        wall, ours: by how much the sender's wall clock and our own run on beside the hole, s.
        events: of the recording.
        beside: other streams of it.
        sides: whether there are packets before and after.
        mute: s.
    """

    rule: str
    evidence: str
    who: int | None
    events: Sequence[Event] = ()
    end: float = 20.0
    empty: int = 0
    connection: tuple[int, int] = (1, 1)
    flags: int = 0
    wall: float = 0.0
    ours: float = 0.0
    beside: Sequence[Capture] = field(default=(), repr=False)
    sides: tuple[bool, bool] = (True, True)
    mute: float = 1.0

    def told(self) -> tuple[str, str]:
        """Return cause and evidence."""
        before = np.arange(50) * 0.2 if self.sides[0] else np.empty(0)
        silent = START + np.arange(self.empty) * 0.2
        after = np.array([self.end]) if self.sides[1] else np.empty(0)
        starts = np.concatenate([before, silent, after])
        counts = np.full(len(starts), PACKET)
        counts[len(before) : len(before) + len(silent)] = 0
        late = starts >= self.end
        capture = make_capture(
            starts,
            counts,
            participant=self.who,
            events=make_events(*self.events),
            connection=np.where(late, self.connection[1], self.connection[0]),
            flags=np.where(late, self.flags, 0),
            absolute=NEW_YEAR + np.rint((starts + late * self.wall) * 1e9).astype(np.int64),
            monotonic=np.rint((starts + late * self.ours + 100) * 1e9).astype(np.int64),
        )
        packets = with_times(capture)
        one = np.array([len(before) - 1]) if self.sides[0] else np.array([-1])
        other = np.array([len(starts) - 1]) if self.sides[1] else np.array([-1])
        holes = Spans(np.array([START]), np.array([self.end]), one, other)
        (cause,), (evidence,) = causes_of(capture, packets, holes, self.mute, self.beside)
        return cause, evidence


OPEN = "connection 1 stayed open; "
RAN_ON = OPEN + "the sender's clocks ran on for 1 s or more"
NOTHING = OPEN + "nothing tells a loss from the silence of all"
SHORT = OPEN + r"too short for a mute \(under 1 s\)"
CHANGED = "connection 1 ended, 2 brought what came next"
JOINED = [own("join", 0.0), own("join", 1.0, who=8)]
QUIET = [*JOINED, own("speech_on", 2.0), own("speech_off", 6.0)]
NOBODY_SPOKE = OPEN + "nobody spoke, by the events of 2 participants"
ON_8 = OPEN + r"speech_on of participant 8 at {} s, and no speech_off since"

CASES = [
    # silence: packets without audio, half of it at least
    Case("packets without audio", "50 packets without audio in it", MIXED, empty=50),
    Case("packets without audio", "25 packets without audio in it", SEPARATE, empty=25),
    Case("packets without audio", "50 packets .*", MIXED, QUIET, empty=50),
    Case("packets without audio", "50 packets .*", MIXED, [own("speech_on", 9.0)], empty=50),
    Case("packets without audio", "50 packets .*", SEPARATE, [own("speech_on", 9.0)], empty=50),
    Case("packets without audio", "50 packets .*", MIXED, empty=50, flags=Flag.DROPPED),
    Case("nothing tells", NOTHING, MIXED, empty=20),
    Case("long", RAN_ON, SEPARATE, empty=20),
    Case("words", OPEN + "the transcript has 1 word in it", MIXED, [said((12, 13))], empty=50),
    Case("words", OPEN + "the .* 1 word of theirs in it", SEPARATE, [said((12, 13))], empty=50),
    Case("heard beside", OPEN + ".*", MIXED, empty=50, beside=[voice(12, 14)]),
    # storage: what came and was not kept
    Case("not kept", "packets came and could not be kept", MIXED, flags=Flag.DROPPED),
    Case("not kept", "packets came and could not be kept", SEPARATE, flags=Flag.DROPPED),
    Case("not kept", "20 packets came .*: disk full", MIXED, [dropped(10, 15, "call")]),
    Case("not kept", "20 packets came .*: disk full", SEPARATE, [dropped(10, 15, "call.7")]),
    Case("not kept", ".* disk full", MIXED, [dropped(10, 16, "call")], sides=(True, False)),
    Case("not kept", "packets .*", MIXED, [said((12, 13))], flags=Flag.DROPPED, connection=(1, 2)),
    Case(
        "not kept", "packets .*", MIXED, [run(1, "a"), run(2, "b")],
        flags=Flag.DROPPED | Flag.RESUMED, connection=(1, 2),
    ),
    Case(
        "not kept", "41 packets came .*: disk full", MIXED,
        [dropped(8, 12.6, "call"), dropped(12.6, 15.5, "call", 21)],
    ),
    Case("nothing tells", NOTHING, MIXED, [dropped(10, 14.9, "call")]),
    Case("nothing tells", NOTHING, MIXED, [dropped(0, 10, "call"), dropped(20, 99, "call")]),
    Case("nothing tells", NOTHING, MIXED, [dropped(10, 20, "call.7")]),
    Case("long", RAN_ON, SEPARATE, [dropped(10, 20, "call")]),
    Case("long", RAN_ON, SEPARATE, flags=Flag.ODD),
    # receiver restart: two runs kept what is beside it
    Case(
        "receiver restarted", "connections 1 and 2 were of different runs", MIXED,
        [run(1, "a"), run(2, "b")], connection=(1, 2),
    ),
    Case(
        "receiver restarted", "connections 1 and 2 .*", SEPARATE,
        [run(1, "a"), run(2, "b"), ended(1000)], connection=(1, 2),
    ),
    Case("receiver restarted", ".* runs", MIXED, connection=(1, 2), flags=Flag.RESUMED),
    Case("connection changed", CHANGED, MIXED, [run(1, "a"), run(2, "a")], connection=(1, 2)),
    Case("connection changed", CHANGED, SEPARATE, [run(1, "a"), run(2, "a")], connection=(1, 2)),
    Case(
        "connection changed", CHANGED, MIXED,
        [run(1, "a"), run(2, "a")], connection=(1, 2), flags=Flag.RESUMED,
    ),
    Case("nothing tells", NOTHING, MIXED, flags=Flag.RESUMED),
    # a participant's socket that closes in good order is a mute; the mixed one's is not
    *(
        Case(
            "closed in good order",
            rf"the bot closed connection 1 in good order \(code {code}\) and opened 2", SEPARATE,
            [ended(code)], connection=(1, 2), end=end,
        )
        for code in (1000, 1001, 1005)
        for end in (10.4, 20.0)
    ),
    *(
        Case(
            "connection changed",
            rf"the bot closed connection 1 in good order \(code {code}\), 2 brought .* next", MIXED,
            [ended(code), *QUIET], connection=(1, 2),
        )
        for code in (1000, 1001, 1005)
    ),
    Case(
        "connection changed",
        r"the bot closed connection 1 in good order \(code 1000\), "
        "but the transcript has 1 word of theirs in it", SEPARATE,
        [ended(1000), said((13.0, 13.5))], connection=(1, 2),
    ),
    *(
        Case(
            "connection changed", rf"connection 1 broke \(code {told}\), 2 brought what came next",
            who, [ended(code)], connection=(1, 2),
        )
        for who in (MIXED, SEPARATE)
        for code, told in (
            (1006, 1006), (1011, 1011), (None, None), ("1000", None), ([1000], None), (True, None),
            (1000.0, None), (-1, None), (10**9, None),
        )
    ),
    Case("long", RAN_ON, SEPARATE, [ended(1000)]),  # it closed later
    Case("connection changed", CHANGED, SEPARATE, [ended(1000, 2)], connection=(1, 2)),
    Case(
        "connection changed", CHANGED + "; the transcript has 1 word in it", MIXED,
        [said((12, 13))], connection=(1, 2), beside=[voice(12, 14)],
    ),
    # words of whom it is about
    Case("words", OPEN + "the transcript has 2 words in it", MIXED, [said((12, 13), (14, None))]),
    Case("words", OPEN + ".* 2 words of theirs in it", SEPARATE, [said((12, 13), (14, None))]),
    Case("words", OPEN + "the .* 1 word in it", MIXED, [*QUIET, said((12, 13), who=None)]),
    Case("words", OPEN + "the .* 1 word in it", MIXED, [*QUIET, said((12, 13), who=8)]),
    Case("words", "the transcript has 1 word in it", MIXED, [said((12, 13))], connection=(0, 0)),
    Case("words", "the transcript .*", MIXED, [said((12, 13))], sides=(True, False)),
    Case("words", OPEN + ".*", MIXED, [said((12, 13))], wall=4, ours=4),
    Case("words", OPEN + ".*", SEPARATE, [own("speech_off", 9.9), said((12, 13))]),
    Case("words", OPEN + ".*", MIXED, [said((10.25, 10.7))], end=10.9),
    Case("long", RAN_ON, SEPARATE, [said((12, 13), who=8)]),
    Case("nothing tells", NOTHING, MIXED, [said((9.6, 10.1), (10.1, 10.6), (19.7, 20.1))]),
    Case("nothing tells", NOTHING, MIXED, [said((9.0, 25.0), (12.0, 30.0))]),
    Case(
        "nothing tells", NOTHING, MIXED, [said((12, 13)) | {"event": "transcript.partial_data"}]
    ),
    Case("words", OPEN + "the trans.*", MIXED, [said((12, 13))], beside=[voice(12, 14)]),
    # audio of somebody beside the mixed stream
    Case(
        "heard beside", OPEN + "the separate stream of participant 8 has audio in it, at 12.000 s",
        MIXED, QUIET, beside=[voice(0, 9), voice(12, 14)],
    ),
    Case("heard beside", OPEN + ".* 8 .* at 10.200 s", MIXED, beside=[voice(5, 30)]),
    Case("heard beside", OPEN + ".*", MIXED, beside=[voice(5, 30, backward=True)]),
    Case("heard beside", "the separate .*", MIXED, beside=[voice(5, 30)], connection=(0, 1)),
    Case("heard beside", "the separate .*", MIXED, beside=[voice(5, 30)], sides=(False, True)),
    Case("heard beside", OPEN + ".*", MIXED, wall=4, ours=4, beside=[voice(12, 14)]),
    Case("nothing tells", NOTHING, MIXED, beside=[voice(12, 14, level=0)]),
    Case("nothing tells", NOTHING, MIXED, beside=[voice(12, 14, recording="other")]),
    Case("nothing tells", NOTHING, MIXED, beside=[voice(12, 14, who=None)]),
    Case("nothing tells", NOTHING, MIXED, beside=[voice(8, 10.2), voice(19.8, 25)]),
    Case("nothing tells", NOTHING, MIXED, beside=[Capture(np.ones(99, np.int16)), voice(0, 0)]),
    Case("long", RAN_ON, SEPARATE, beside=[voice(12, 14), voice(12, 14, who=7)]),
    # one side is not there, or does not say what brought it
    *(
        case
        for who in (MIXED, SEPARATE)
        for case in (
            Case("no packet beside it", "no packet before it", who, QUIET, sides=(False, True)),
            Case("no packet beside it", "no packet after it", who, QUIET, sides=(True, False)),
            Case("no packet beside it", "there are no packets", who, QUIET, sides=(False, False)),
            Case("connection not told", "the packets .*", who, QUIET, connection=(0, 0)),
            Case("connection not told", "the packets .*", who, QUIET, connection=(1, 0)),
            Case("connection not told", "the packets .*", who, QUIET, connection=(0, 1)),
            # pause: both clocks but the media clock ran on
            Case("media clock stood", OPEN + ".* stood for 4.000 s", who, QUIET, wall=4, ours=4.05),
            Case("media clock stood", OPEN + ".*", who, [own("speech_off", 9.9)], wall=4, ours=4),
            Case("media clock stood", OPEN + ".*", who, [own("speech_on", 9.5)], wall=4, ours=4),
            Case("media clock stood", OPEN + ".* 1.000 s", who, wall=1, ours=1, end=10.4),
            Case("too short", SHORT, who, wall=0.4, ours=0.4, end=10.4),
            Case("too short", SHORT, who, wall=4, ours=0, end=10.4),  # set, not stood
            Case("too short", SHORT, who, wall=0, ours=4, end=10.4),  # late, not stood
            Case("too short", SHORT, who, wall=-4, ours=-4, end=10.4),
            # shorter than a mute, or not
            Case("too short", SHORT, who, end=10.4),
            Case("too short", OPEN + r".* \(under 5 s\)", who, end=14.0, mute=5.0),
        )
    ),
    Case("nothing tells", NOTHING, MIXED, end=11.0),
    Case("long", RAN_ON, SEPARATE, end=11.0),
    Case("nothing tells", NOTHING, MIXED, end=10.4, mute=0.0),
    Case("too short", SHORT, MIXED, QUIET, end=10.4),  # packets came in their silence before it
    # a participant's own events
    Case("ceased to speak", OPEN + ".*speech_off at 9.900 s", SEPARATE, [own("speech_off", 9.9)]),
    Case("ceased to speak", OPEN + ".*speech_off at 8.500 s", SEPARATE, [own("speech_off", 8.5)]),
    Case("ceased to speak", OPEN + ".*leave at 12.000 s", SEPARATE, [own("leave", 12.0)]),
    Case(
        "ceased to speak", OPEN + ".*speech_off at 12.000 s", SEPARATE,
        [own("speech_on", 9.5), own("speech_off", 12.0)],
    ),
    Case("ceased to speak", OPEN + ".*", SEPARATE, [own("speech_off", 10.1)], end=10.4),
    Case(
        "ceased to speak", OPEN + ".*", SEPARATE,  # out of order
        [own("speech_off", 12.0), own("speech_on", 11.0)],
    ),
    Case("long", RAN_ON, SEPARATE, [own("speech_off", 7.9)]),
    Case("long", RAN_ON, SEPARATE, [own("speech_off", 20.0)]),
    Case("long", RAN_ON, SEPARATE, [own("speech_off", 9.9, who=8)]),
    Case("nothing tells", NOTHING, MIXED, [own("speech_off", 9.9)]),  # of one explains nothing
    Case("nothing tells", NOTHING, MIXED, [*JOINED, own("speech_on", 2.0), own("leave", 9.9)]),
    Case(
        "still speaking", OPEN + ".*speech_on at 9.500 s, and no speech_off since", SEPARATE,
        [own("speech_on", 9.5)],
    ),
    Case(
        "still speaking", OPEN + ".*speech_on at 2.000 s, and no speech_off since", SEPARATE,
        [own("speech_off", 1.0), own("speech_on", 2.0)],
    ),
    Case(
        "still speaking", OPEN + ".*speech_on at 2.000 s, .*", SEPARATE,
        [own("speech_on", 2.0), own("speech_off", 21.0)],
    ),
    Case("still speaking", OPEN + ".*speech_on at 14.000 s", SEPARATE, [own("speech_on", 14.0)]),
    Case(
        "still speaking", OPEN + ".*speech_on at 14.000 s", SEPARATE,
        [own("speech_off", 12.0), own("speech_on", 14.0), own("speech_on", 19.0)],
    ),
    Case("long", RAN_ON, SEPARATE, [own("speech_on", 2.0)]),  # perhaps ends are not told at all
    Case("long", RAN_ON, SEPARATE, [own("speech_on", 9.5), own("speech_on", 19.0)]),  # ceased then
    Case("long", RAN_ON, SEPARATE, [own("speech_on", 18.5)]),  # the audio comes with it
    Case("long", RAN_ON, SEPARATE, [own("join", 9.5)]),  # being there is not speaking
    Case("long", RAN_ON, SEPARATE, [own("join", 12.0)]),
    Case("long", RAN_ON, SEPARATE, [own("speech_on", 9.5, who=8)]),
    # somebody speaks, by their events, and the mixed stream has nothing
    Case("somebody speaking", ON_8.format("9.500"), MIXED, [own("speech_on", 9.5, who=8)]),
    Case("somebody speaking", ON_8.format("14.000"), MIXED, [*QUIET, own("speech_on", 14.0, 8)]),
    Case("somebody speaking", ON_8.format("19.500"), MIXED, [*QUIET, own("speech_on", 19.5, 8)]),
    Case("somebody speaking", ON_8.format("3.000"), MIXED, [*QUIET, own("speech_on", 3.0, who=8)]),
    Case(
        "somebody speaking", OPEN + "speech_on of participant 7 at 5.000 s, speech_off at 12.500 s",
        MIXED, [own("speech_on", 5.0), own("speech_off", 12.5)],
    ),
    Case(
        "somebody speaking", OPEN + "speech_on of participant 7 at 10.1.*", MIXED,
        [own("speech_on", 10.1), own("speech_off", 10.3)], end=10.6,
    ),
    Case(
        "somebody speaking", OPEN + "speech_on of participant 7 at 5.*", MIXED,
        [own("speech_on", 5.0), own("speech_off", 10.5)], end=10.4,
    ),
    Case(
        "somebody speaking", OPEN + "speech_on of participant 7 at 5.*", MIXED,
        # one who ceased in time does not hide the other, in any order
        [own("speech_off", 9.0, who=8), own("speech_off", 15.0), own("speech_on", 6.0, who=8),
         own("speech_on", 5.0)],
    ),
    Case(
        "somebody speaking", OPEN + "speech_on of somebody at 14.000 s, .*", MIXED,
        [own("speech_on", 14.0, who=None)],
    ),
    Case("somebody speaking", OPEN + ".* participant -1 .*", MIXED, [own("speech_on", 9.5, -1)]),
    Case("everybody silent", NOBODY_SPOKE, MIXED, [*QUIET, own("speech_on", 19.9, who=8)]),
    Case("everybody silent", NOBODY_SPOKE, MIXED, [*QUIET, own("speech_on", 20.1, who=8)]),
    Case("nothing tells", NOTHING, MIXED, [own("speech_on", 2.0)]),  # ends are perhaps not told
    Case("nothing tells", NOTHING, MIXED, [own("speech_on", 5.0, None), own("speech_off", 6.0)]),
    # a detector of speech lets go late
    Case(
        "everybody silent", NOBODY_SPOKE, MIXED,
        [*JOINED, own("speech_on", 5.0), own("speech_off", 11.5)],
    ),
    # everybody is known, and silent
    Case("everybody silent", NOBODY_SPOKE, MIXED, QUIET),
    Case("everybody silent", NOBODY_SPOKE, MIXED, [*QUIET, *QUIET]),  # told twice
    Case("everybody silent", NOBODY_SPOKE, MIXED, QUIET[::-1]),
    Case("everybody silent", NOBODY_SPOKE, MIXED, [*QUIET, said((2, 3))], beside=[voice(2, 5)]),
    Case(
        "everybody silent", OPEN + "nobody spoke, by the events of 3 participants", MIXED,
        [*QUIET, own("join", 30.0, who=9), own("speech_on", 31.0, who=9)],  # not there yet
    ),
    Case(
        "everybody silent", OPEN + "nobody spoke, by the events of 3 participants", MIXED,
        [*QUIET, own("speech_off", 4.0, who=9)],  # had come before us, and has ceased by now
    ),
    Case(
        "everybody silent", OPEN + "nobody was there, by the events of 2 participants", MIXED,
        [*JOINED, own("leave", 8.0), own("leave", 9.0, who=8)],
    ),
    Case("nothing tells", NOTHING, MIXED),
    Case("nothing tells", NOTHING, MIXED, JOINED),  # who speaks is not told at all
    Case("nothing tells", NOTHING, MIXED, [*JOINED, own("leave", 8.0)]),
    Case("nothing tells", NOTHING, MIXED, [*QUIET, own("speech_off", 12.0, who=9)]),
    Case("nothing tells", NOTHING, MIXED, [*QUIET, said((2, 3), who=9)]),  # a third, unheard of
    Case("nothing tells", NOTHING, MIXED, QUIET, beside=[voice(2, 5, who=9)]),
    Case("nothing tells", NOTHING, MIXED, [*QUIET, own("speech_off", np.nan, who=8)]),
    Case("nothing tells", NOTHING, MIXED, [*QUIET, own("speech_on", 3e9)]),
    Case("nothing tells", NOTHING, MIXED, [*QUIET, own("join", 3.0, who=None)]),
    Case("nothing tells", NOTHING, MIXED, [*QUIET[:1], *QUIET[2:], own("webcam_on", 1.0, who=8)]),
    Case(  # began twice without an end in between: one of the ends is not known
        "nothing tells", NOTHING, MIXED,
        [*QUIET, own("speech_on", 7.0, who=8), own("speech_on", 25.0, who=8)],
    ),
    Case("long", RAN_ON, SEPARATE, [*QUIET, own("join", 0.0, who=9)]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.who}")
def test_what_a_cause_is_told_by(case: Case) -> None:
    cause, evidence = case.told()
    assert re.fullmatch(case.evidence, evidence)
    assert cause == NAMED[case.rule].cause
    assert "secret" not in evidence


def test_every_rule_has_its_cases_in_both_kinds_of_streams() -> None:
    tried = {(case.rule, case.who) for case in CASES}
    kinds = {"mixed": {MIXED}, "separate": {SEPARATE}}
    for rule in RULES:
        for who in kinds.get(rule.fits_where.split(":")[0], {MIXED, SEPARATE}):
            assert (rule.name, who) in tried


def test_the_table_in_the_documentation_has_every_rule_in_order() -> None:
    assert causes.__doc__
    _, head, body, *_ = re.split(r"^=[= ]+=$", causes.__doc__, flags=re.MULTILINE)
    assert head.split() == ["rule", "cause", "fits", "where"]
    rows: list[list[str]] = []
    for line in body.strip("\n").splitlines():
        cells = [line[:31].strip(), line[31:49].strip(), line[49:].strip()]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    assert rows == [[rule.name, rule.cause, rule.fits_where] for rule in RULES]
    assert {rule.cause for rule in RULES} == set(CAUSES)


def test_rules_have_names_of_their_own() -> None:
    assert len(NAMED) == len(RULES)
    assert all(isinstance(rule, Rule) for rule in RULES)


def test_many_holes_are_told_as_each_by_itself() -> None:
    """Rules compare arrays: what is beside one hole must not tell of another."""
    rng = np.random.default_rng(3)
    starts = np.cumsum(rng.choice([0.2, 0.4, 1.0, 4.0, 9.0], 300))
    rows: list[Event] = [ended(1000, 1), ended(1006, 2), run(1, "a"), run(2, "a"), run(3, "b")]
    names = ["join", "leave", "speech_on", "speech_off"]
    rows += [
        own(str(rng.choice(names)), float(at), int(rng.choice([7, 8])))
        for at in rng.uniform(0, starts[-1], 60)
    ]
    rows += [said((float(at), float(at) + 0.3)) for at in rng.uniform(0, starts[-1], 20)]
    told = set()
    for who, stem in ((MIXED, "call"), (SEPARATE, "call.7")):
        lost = [dropped(float(at), float(at) + 3, stem) for at in rng.uniform(0, starts[-1], 9)]
        counts = rng.choice([0, PACKET], 300, p=[0.1, 0.9])
        capture = make_capture(
            starts, counts, participant=who, events=make_events(*rows, *lost),
            connection=np.arange(300) // 60, flags=np.where(rng.random(300) < 0.03, 1024, 0),
        )  # fmt: skip
        packets = with_times(capture)
        at = np.arange(299)
        holes = Spans(starts[:-1] + 0.2, starts[1:] + 1e-9, at, at + 1)
        beside = [voice(50, 80), voice(200, 230, who=9)]
        order = rng.permutation(299)  # holes of two epochs may stand in any order
        shuffled = Spans(*(values[order] for values in holes))
        cause, evidence = causes_of(capture, packets, shuffled, 1.0, beside)
        for one, *found in zip(order, cause, evidence, strict=True):
            alone = Spans(*(values[one : one + 1] for values in holes))
            assert [found[:1], found[1:]] == list(causes_of(capture, packets, alone, 1.0, beside))
        told |= set(cause)
    assert told == set(CAUSES) - {"pause"}


def test_no_holes_and_one_of_no_length(make: Callable[..., Capture]) -> None:
    nothing = np.empty(0)
    capture = make([0.0, 0.2], events=make_events(*QUIET, dropped(0, 3, "call"), said((0, 1))))
    none = Spans(nothing, nothing, nothing.astype(int), nothing.astype(int))
    assert causes_of(capture, capture.packets, none, 1.0) == ([], [])
    edge = Spans(np.array([0.2]), np.array([0.2]), np.array([0]), np.array([1]))
    assert causes_of(capture, capture.packets, edge, 1.0)[0] == ["loss"]


ANY: Any = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5),
    st.lists(st.none(), max_size=2), st.dictionaries(st.text(max_size=5), st.none(), max_size=2),
)  # fmt: skip
STAMP = st.one_of(ANY, st.fixed_dictionaries({"relative": st.one_of(st.floats(0, 30), ANY)}))
WORD = st.one_of(
    ANY,
    st.fixed_dictionaries(
        {"text": st.one_of(st.text(max_size=3), ANY), "start_timestamp": STAMP},
        optional={"end_timestamp": STAMP},
    ),
)
LINE = st.one_of(
    ANY,
    st.fixed_dictionaries(
        {},
        optional={
            "code": ANY, "stream": st.sampled_from(["call", "call.7", None]), "since": ANY,
            "until": ANY, "packets": ANY, "error": ANY,
            "message": st.fixed_dictionaries(
                {"data": st.fixed_dictionaries({"data": st.fixed_dictionaries({"words": st.one_of(
                    ANY, st.lists(WORD, max_size=3))})})}
            ),
        },
    ),
)  # fmt: skip
HOSTILE = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["event", "connected", "disconnected", "dropped", ""]),
        "event": st.sampled_from(
            ["", "transcript.data", "participant_events.nonsense", "participant_events.join",
             "participant_events.leave", "participant_events.speech_on",
             "participant_events.speech_off"]
        ),
        "participant": st.one_of(
            st.none(), st.sampled_from([-(2**63), -1, 7, 8, 2**63 - 1])
        ),
        "relative": st.one_of(st.floats(0, 30), st.floats()),
        "connection": st.one_of(st.none(), st.sampled_from([-(2**63), 0, 1, 2, 2**63 - 1])),
        "receiver": st.sampled_from(["", "a", "b"]),
        "detail": LINE,
    }
)  # fmt: skip


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(HOSTILE, max_size=8), who=st.sampled_from([MIXED, SEPARATE]))
def test_no_event_whatever_it_holds_stops_the_telling(rows: list[Event], who: int | None) -> None:
    capture = make_capture(
        [0.0, 3.0, 3.2, 20.0, 25.0], [PACKET, PACKET, 0, PACKET, PACKET],
        participant=who, events=make_events(*rows), connection=[1, 1, 1, 1, 2],
    )  # fmt: skip
    holes = Spans(
        np.array([0.2, 3.2, 20.2, 25.2]), np.array([3.0, 20.0, 25.0, 30.0]),
        np.array([0, 1, 3, 4]), np.array([1, 3, 4, -1]),
    )  # fmt: skip
    cause, evidence = causes_of(capture, capture.packets, holes, 1.0, [voice(1, 2)])
    assert set(cause) <= set(CAUSES)
    assert all(evidence)
    if who is MIXED:  # what is told may prove a loss or a silence, never one by length alone
        assert not any("ran on" in one for one in evidence)


def test_more_than_a_block_of_silent_packets_does_not_hide_the_voice_behind_them() -> None:
    quiet, loud = voice(11, 71, level=0), voice(71, 72)
    audio = np.concatenate([quiet.samples, loud.samples])
    stamps = np.concatenate([quiet.packets["relative"], loud.packets["relative"]])
    one = make_capture(stamps, PACKET, participant=8, audio=audio)
    case = Case("heard beside", "", MIXED, end=90.0, beside=[one])
    assert case.told() == (
        "loss", OPEN + "the separate stream of participant 8 has audio in it, at 71.000 s"
    )  # fmt: skip
    assert Case("", "", MIXED, end=70.0, beside=[one]).told() == ("unknown", NOTHING)


def test_events_frames_without_rows_are_fine() -> None:
    assert isinstance(make_events(), pd.DataFrame)
    assert Case("", "", MIXED).told() == ("unknown", NOTHING)
