"""Meetings drawn at random, with all that befalls people and words, and their journal."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from helpers import standup
from helpers.builders import NEW_YEAR
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.simulator.meeting import Meeting, Turn, Voice
from recall_lab.simulator.meeting_player import MeetingCall
from recall_lab.wire.messages import Participant

NAMES = ("Alice", "Bob", "Carol", "Ann Lee", "Zoë", "\u5c71\u7530")
WORDS = ("so", "we", "can", "ship", "it", "on", "Monday", "if", "nobody", "objects", "会議")
LASTS = 30.0  # s


def draw(seed: int) -> Meeting:
    """Return a meeting: rejoins, reused ids, renames, late and corrected words, lost ends.

    Ids of who leaves for good are taken by others; two people of one meeting may have one name.
    """
    rng = np.random.default_rng(seed)
    silence = np.zeros(int(LASTS * 16_000), "<i2")
    voices = []
    for at in range(rng.integers(1, 6)):
        id_ = int(100 + at)
        edges = np.sort(rng.choice(np.arange(1, int(LASTS * 1000)), 4, replace=False)) / 1000
        a, b, c, d = edges.tolist()
        kind = rng.choice(["stays", "comes", "rejoins", "reused"])
        stays: list[tuple[tuple[float, float], ...]] = {
            "stays": [((0.0, LASTS),)], "comes": [((a, d),)], "rejoins": [((a, b), (c, d))],
            "reused": [((a, b),), ((c, d),)],
        }[str(kind)]  # fmt: skip
        names = rng.permutation(sorted(set(NAMES)))
        for own, name in zip(stays, names, strict=False):
            voices.append(_voice(rng, id_, str(name), str(names[-1]), own, silence))
    return Meeting(tuple(voices))


def _voice(
    rng: np.random.Generator, id_: int, name: str, later: str,
    stays: tuple[tuple[float, float], ...], silence: np.ndarray,
) -> Voice:  # fmt: skip
    changes: list[tuple[float, Participant]] = []
    who = Participant(id_, name, bool(rng.integers(2)), "desktop")
    start, end = stays[-1]
    when = round(float(rng.uniform(start, end)), 3)
    match rng.integers(4):
        case 0:  # a rename
            changes.append((when, Participant(id_, later)))
        case 1:  # a role
            changes.append((when, Participant(id_, is_host=not who.is_host)))
        case 2:  # a name that comes late, in their last stay
            if len(stays) == 1:
                changes.append((when, who))
                who = Participant(id_)
    turns = []
    for low, high in stays:
        count = int(rng.integers(0, 5))
        if high - low < 1:
            continue
        edges = np.sort(
            rng.choice(np.arange(1, int((high - low) * 1000)), 2 * count, replace=False)
        )
        for begin, stop in (edges / 1000 + low).round(3).reshape(-1, 2).tolist():
            said = rng.choice(WORDS, rng.integers(1, 9)).tolist()
            wrong = [*said]
            wrong[0] = "uh"
            turns.append(
                Turn(
                    begin, stop, " ".join(said), " ".join(wrong) if rng.random() < 0.3 else "",
                    late=float(rng.choice([0.0, 0.5, 30.0])), off=bool(rng.random() > 0.2),
                    language=str(rng.choice(["", "en"])),
                )
            )  # fmt: skip
    return Voice(who, silence, tuple(turns), stays=stays, changes=tuple(changes))


def lines_of(meeting: Meeting, *, stale: bool = False) -> list[dict[str, Any]]:
    """Return the journal of a meeting of which every event was received, as it came.

    Args:
        meeting: of which it is.
        stale: transcripts name whom they are of as that one was named first, however late.
    """
    call = MeetingCall(meeting, "ws://127.0.0.1:9/", recording="call")
    lines = []
    for when, name, fields in meeting.happenings():
        if stale and "words" in fields:
            begin = fields["words"][0]["start_timestamp"]["relative"]
            voice = meeting.voice(fields["participant"]["id"], begin)
            fields = fields | {"participant": msgspec.to_builtins(voice.participant)}
        lines.append(
            {
                "kind": "event", "received": NEW_YEAR + round(when * 1e9), "monotonic": 1,
                "connection": 1, "event": name,
                "message": json.loads(call._event(name, when, NEW_YEAR, fields)),
            }
        )  # fmt: skip
    return lines


def arrived(lines: list[dict[str, Any]], rng: Any = None) -> Capture:
    """Return the recording of such a journal, its lines come in another order where drawn."""
    order = list(range(len(lines)))
    if rng is not None:
        rng.shuffle(order)
    shuffled = [
        dict(lines[at], received=NEW_YEAR + number) if rng is not None else lines[at]
        for number, at in enumerate(order)
    ]
    events = standup.frame(shuffled)
    info = CaptureInfo(recording="call")
    return Capture(np.zeros(0, np.int16), info=info, events=lambda: events)


def told(frame: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return what a frame has of the columns of another, in a common order of rows."""
    return frame[list(like.columns)].sort_values(list(like.columns), ignore_index=True)
