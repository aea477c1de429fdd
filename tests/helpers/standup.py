"""The stand-up meeting of ``data/standup.csv`` as a recording, with all that is told beside it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.builders import NEW_YEAR, make_capture
from helpers.paths import DATA
from recall_lab.capture.capture import Capture
from recall_lab.store.audio_files import read_audio
from recall_lab.store.journal import read_events

RATE = 16_000
LASTS = 56.0  # s, from one meeting to the next
PEOPLE: dict[int, dict[str, Any]] = {
    100: {"id": 100, "name": "Alice", "is_host": True, "platform": "desktop", "email": "a@x.org"},
    101: {"id": 101, "name": "Bob", "is_host": False, "platform": "mobile"},
}


def line(event: str, at: float = 0.0, **payload: Any) -> dict[str, Any]:
    """Return a line of a journal about an event that came some time after it was."""
    arrived = round((min(at, 1e8) + 0.3) * 1e9)
    message = {"event": event, "data": {"data": payload}}
    return {
        "kind": "event", "received": NEW_YEAR + arrived, "monotonic": arrived, "connection": 1,
        "event": event, "message": message,
    }  # fmt: skip


def about(event: str, who: int, at: float, **more: Any) -> dict[str, Any]:
    """Return a line about somebody: ``join``, ``speech_on`` and so on."""
    someone = dict(PEOPLE.get(who, {"id": who, "name": None}))
    stamp = {"relative": at, "absolute": "2026-01-01T00:00:00Z"}
    name = f"participant_events.{event}"
    return line(name, at, participant=someone, timestamp=stamp, **more)


def words(
    who: int, *told: tuple[str, float | None, float | None], event: str = "transcript.data"
) -> dict[str, Any]:
    """Return a line with a transcript: text, start and end of each word."""
    spoken = [
        {
            "text": text,
            "start_timestamp": None if start is None else {"relative": start},
            "end_timestamp": None if end is None else {"relative": end},
        }
        for text, start, end in told
    ]
    at = max((end for _, _, end in told if end is not None), default=0.0)
    return line(event, at, words=spoken, participant=dict(PEOPLE.get(who, {"id": who})))


def frame(lines: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return what is read back of a journal with these lines."""
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(f"{json.dumps(one)}\n" for one in lines)
        (Path(folder) / "call.events.jsonl").write_text(text)
        return read_events(Path(folder) / "call.bin")


def turns(times: int = 1) -> Iterator[tuple[int, float, float, str]]:
    """Yield who spoke, from when to when, and what, of so many meetings one after another."""
    table = pd.read_csv(DATA / "standup.csv")
    for again in range(times):
        for turn in table.itertuples():
            who = {"alice": 100, "bob": 101}[str(turn.speaker)]
            shift = again * LASTS
            yield who, float(turn.start) + shift, float(turn.end) + shift, str(turn.text)


def lines(times: int = 1) -> list[dict[str, Any]]:
    """Return the lines of the journal of so many meetings one after another."""
    told = [about("join", who, 0.0) for who in PEOPLE]
    for who, start, end, text in turns(times):
        said = text.split()
        edges = np.linspace(start, end, len(said) + 1).round(3).tolist()
        spans = list(zip(said, edges, edges[1:], strict=False))
        told += [
            about("speech_on", who, start),
            words(who, *spans[:3], event="transcript.partial_data"),
            words(who, *spans),
            about("speech_off", who, end),
        ]
    told.append(about("chat_message", 101, 30.0, data={"text": "the plot?", "to": "everyone"}))
    told += [about("leave", who, times * LASTS) for who in PEOPLE]
    return told


def recording(times: int = 1) -> list[Capture]:
    """Return the mixed stream, and those of both, who are muted but while they speak."""
    sound = np.tile(read_audio(DATA / "standup.wav")[: int(LASTS * RATE)], times)
    events = frame(lines(times))
    packet = RATE // 10
    starts = np.arange(len(sound) // packet) * packet
    streams = [make_capture(starts / RATE, packet, audio=sound, events=events)]
    for who in PEOPLE:
        spoken = np.zeros(len(starts), bool)
        for speaker, start, end, _ in turns(times):
            if speaker == who:
                spoken |= (starts / RATE > start - 0.3) & (starts / RATE < end + 0.2)
        kept = starts[spoken]
        audio = np.concatenate([sound[:0], *(sound[at : at + packet] for at in kept)])
        one = make_capture(kept / RATE, packet, participant=who, audio=audio, events=events)
        info = one.info
        streams.append(Capture(one.samples, one.packets, info, events=lambda: events))
    return streams
