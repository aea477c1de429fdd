"""Find what only all streams of a recording together can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.analysis.recording.attribution import KINDS, attribution_of
from recall_lab.analysis.recording.leaks import (
    Leaks,
    leaks_of,
    separate_of,
    span_of,
    table_of_leaks,
)
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingTimestamps
from recall_lab.text import counted, shortened

_SELDOM: Final = 0.05  # of what somebody says: a leak that is heard less often is not told
_NAME: Final = 24  # characters


def findings_of_streams(captures: Sequence[Capture]) -> dict[str, list[Finding]]:
    """Return what is wrong between streams, by the stem of the stream that it is told of.

    Args:
        captures: of one recording or of several; those without packets tell nothing.

    Returns:
        What leaks into a stream, what is told of it and not heard, and what is heard in it and
        not told, of that stream; what has none, of the mixed stream, or else the first.
    """
    found: dict[str, list[Finding]] = {}
    recordings: dict[str, dict[str, Capture]] = {}
    for one in captures:
        if len(one.packets) and len(one.audio):
            recordings.setdefault(one.info.recording, {})[one.info.stem] = one
    for streams in recordings.values():
        if len(streams) > 1:
            for stem, finding in _of_recording(list(streams.values())):
                found.setdefault(stem, []).append(finding)
    return found


def _of_recording(streams: list[Capture]) -> list[tuple[str, Finding]]:
    try:
        separate = separate_of(streams)
        known = leaks_of(separate, span=span_of(streams))
    except (InvalidArgument, MissingTimestamps):
        return []  # times that can't be: findings of each stream tell
    stems = {one.info.participant.id: one.info.stem for one in separate if one.info.participant}
    mixed = [one.info.stem for one in streams if one.info.participant is None]
    rest = [*mixed, *stems.values()][0]
    found = [*_of_leaks(known, stems)]
    table = attribution_of(streams, known, "level")
    for kind in KINDS:
        some = table[table["kind"] == kind]
        for (who, stream), rows in some.groupby(["participant", "stream"], dropna=False):
            told_of = next((stems[one] for one in (stream, who) if one in stems), rest)
            found.append((told_of, _of_turns(kind, rows)))
    return found


def _of_leaks(known: Leaks, stems: dict[int, str]) -> list[tuple[str, Finding]]:
    kind = CATALOGUE["voice_leak"]
    found = []
    for row in table_of_leaks(known).to_dict("records"):
        if -row["attenuation"] < kind.threshold or row["share"] < _SELDOM:
            continue
        evidence = (
            f"{_named(row['name'], row['participant'])} is heard in the stream of "
            f"{_named(row['stream_name'], row['stream'])}: {row['attenuation']:.1f} dB below, "
            f"{row['lag']:+.1f} ms, in {row['share']:.0%} of what they say"
        )
        one = kind.found(-row["attenuation"], evidence, row["start"], row["end"])
        found.append((stems[row["stream"]], one))
    return found


_WORDS: Final = {
    "unheard": "{who} is told to speak, and no stream carries it",
    "untold": "speech in the stream of {stream}, of which nothing tells",
    "wrong_person": "{who} is told to speak, and it is heard in the stream of {stream}",
    "only_in_mix": "the mixed stream has sound that no other has",
}


def _of_turns(kind: str, rows: pd.DataFrame) -> Finding:
    """Return the finding of all turns that are wrong in one way."""
    first = rows.iloc[0]
    words = _WORDS[kind].format(
        who=_named(first["name"], first["participant"]),
        stream=_named(first["stream_name"], first["stream"]),
    )
    if kind == "only_in_mix" and not pd.isna(first["participant"]):
        words += f", while {_named(first['name'], first['participant'])} is told to speak"
    seconds = float(rows["duration"].sum())
    evidence = f"{words}: {counted(len(rows), 'time')}, {seconds:.1f} s in all"
    return CATALOGUE[kind].found(
        seconds, evidence, float(rows["start"].min()), float(rows["end"].max())
    )


def _named(name: str, who: object) -> str:
    """Return a name from the network, fit to be shown, or else the number."""
    return shortened(name, _NAME) or f"participant {who}"
