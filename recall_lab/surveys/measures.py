"""Measure one stream in one row: the task that workers run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from recall_lab.analysis.causes.causes import CAUSES, missing_label
from recall_lab.analysis.clocks.rates import PAIRS, drift_label
from recall_lab.analysis.sound.levels import levels
from recall_lab.analysis.sound.mos import mean_mos, mos
from recall_lab.analysis.sound.speech import speech
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.analysis.verdict.quality import quality_of
from recall_lab.analysis.verdict.verdict import findings_of_sound, ordered, verdict_of
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import nanoseconds
from recall_lab.loading import verify
from recall_lab.remote.filesystem import is_passing
from recall_lab.remote.listing import Stream
from recall_lab.surveys.loading import load_many
from recall_lab.text import as_unicode, counted, printable, redacted, shortened

Row = dict[str, Any]

PASSING: Final = "passing"
"""Entry of a row, beside its columns: whether what failed may succeed another time."""

_ABOUT: Final = {
    "source": "str",
    "recording": "str",
    "participant": "Int64",
    "name": "str",
    "start": "datetime64[ns, UTC]",
    "duration": "float64",
}
_COUNTS: Final = (
    "gaps", "overlaps", "duplicates", "conflicting_duplicates", "reordered", "packets",
    "packets_without_audio", "connections", "epochs", "stalls", "receiver_stalls",
    "clock_steps", "clock_leaps",
)  # fmt: skip
_QUALITY: Final = (
    "verdict", "available_percent", "available_without_silence_percent", "span_s", "audio_s",
    "missing_s", *(missing_label(cause) for cause in CAUSES), "twice_s", "unexplained_s",
    "repaired_s", "gaps", "overlaps",
    "duplicates", "conflicting_duplicates", "reordered", "longest_gap_s", "packets",
    "packets_without_audio", "connections", "epochs", "jitter_ms", "jitter_mean_ms",
    "jitter_max_ms", "delay_p50_ms", "delay_p95_ms",
    "delay_p99_ms", "delay_max_ms", "stalls", "receiver_stalls", "longest_stall_s",
    "speed", *(drift_label(pair) for pair in PAIRS), "clock_steps", "clock_leaps",
    "stamp_scatter_ms", "stamp_grid_ms",
)  # fmt: skip
OF: Final[dict[str, dict[str, str]]] = {
    "quality": {
        name: "str" if name == "verdict" else "Int64" if name in _COUNTS else "float64"
        for name in _QUALITY
    },
    "sound": {"sound": "str"},
    "levels": {
        "rms_dbfs": "float64", "peak_dbfs": "float64", "crest_db": "float64", "dc": "float64",
        "clips": "Int64", "clipped": "Int64", "silence_share": "float64",
    },
    "speech": {"speech_share": "float64"},
    "checksums": {"damaged_packets": "Int64"},
    "mos": {"mos": "float64"},
}  # fmt: skip
"""Columns of each measure, with their dtypes."""

_END: Final = {"bytes": "int64", "damage": "str", "error": "str"}

ALL: Final = tuple(OF)
"""What can be measured; all but ``quality`` read the audio: clocks and files alone tell no
finding of format or sound but another sample rate."""

MEASURES: Final = ("quality", "sound", "levels", "speech")
"""What is measured where nothing else is said."""

_ELSEWHERE: Final = (OSError, ImportError, MemoryError)  # errors of this machine, not of files
_LONGEST: Final = 300  # characters of what is told of an error
_UNREAD: Final = "can't be read"  # what is damaged of a file that could not be opened
_ESCAPED: Final = re.compile(r"\\(?=u(?:d[89a-f]|005c))")  # a backslash like one of our own
_MOST: Final = 2**63 - 1  # what an Int64 holds; a file's name may have a participant beyond it


def columns_of(measures: Sequence[str]) -> dict[str, str]:
    """Return name and dtype of each column of a survey, in order."""
    columns = dict(_ABOUT)
    for measure in measures:
        columns |= OF[measure]
    return columns | _END


def frame_of_rows(rows: Sequence[Row], measures: Sequence[str]) -> pd.DataFrame:
    """Return rows as a frame, with the same dtypes whatever is in them."""
    columns: dict[str, pd.Series[Any]] = {}
    for name, dtype in columns_of(measures).items():
        values = [row.get(name) for row in rows]
        if name == "start":
            stamps = [np.iinfo(np.int64).min if value is None else value for value in values]
            column = pd.Series(np.array(stamps, np.int64)).astype("datetime64[ns]")
            columns[name] = column.dt.tz_localize("UTC")
        elif dtype == "Int64":
            known = [0 if value is None or abs(value) > _MOST else int(value) for value in values]
            absent = np.array([value is None or abs(value) > _MOST for value in values], bool)
            array = pd.arrays.IntegerArray(np.array(known, np.int64), absent)
            columns[name] = pd.Series(array)
        elif dtype == "str":
            columns[name] = pd.Series([as_unicode(value or "") for value in values], dtype=dtype)
        else:
            floats = [np.nan if value is None else value for value in values]
            columns[name] = pd.Series(floats, dtype=dtype)
    return pd.DataFrame(columns)


def key_of(source: str) -> str:
    """Return a source as a column can hold it, another text for each source.

    A name may have what we write for bytes that are no UTF-8 in it already: it is escaped, so that
    two files never share a row.
    """
    return as_unicode(_ESCAPED.sub(r"\\u005c", source))


def measure_streams(streams: Sequence[Stream], measures: Sequence[str]) -> list[Row]:
    """Measure streams, a row each. Runs in a worker; whatever fails is told in its row."""
    audio = any(measure != "quality" for measure in measures)
    return [
        measure_stream(stream, capture, measures)
        for stream, capture in load_many(streams, audio=audio)
    ]


def measure_stream(stream: Stream, capture: Capture | Exception, measures: Sequence[str]) -> Row:
    """Measure one stream; what could not be measured is left out, and told in ``error``."""
    row: Row = {
        "source": key_of(stream.source),
        "recording": stream.recording,
        "participant": stream.participant,
        "bytes": sum(file.size for file in stream.files),
    }
    errors: list[Exception] = []
    if isinstance(capture, Exception):
        errors.append(capture)
    else:
        known = analyse(capture)  # one for all: each thing is computed once
        for work in (_about, *(_WORK[measure] for measure in measures)):
            try:
                row |= work(known)
            except Exception as error:
                errors.append(error)
    if row.get("damaged_packets"):
        wrong = f"{counted(row['damaged_packets'], 'packet')} with other audio than received"
        row["damage"] = "; ".join(filter(None, (row.get("damage"), wrong)))
    row |= failure(*errors)
    row[PASSING] |= _UNREAD in row.get("damage", "")
    return row


def failure(*errors: Exception) -> Row:
    """Return what a row tells of errors: each once; and whether one may pass.

    What is wrong with the place where it was measured may pass: a folder that is not mounted, a
    file that may not be read, a worker without the packages. What is wrong in the files stays.
    """
    told = dict.fromkeys(_told(error) for error in errors)
    passing = any(isinstance(error, _ELSEWHERE) or is_passing(error) for error in errors)
    return {"error": "; ".join(told), PASSING: passing}


def _told(error: Exception) -> str:
    return shortened(printable(redacted(f"{type(error).__name__}: {error}")), _LONGEST)


def _about(known_of: Analysis) -> Row:
    capture = known_of.capture
    who = capture.info.participant
    packets, media = capture.packets, capture.media
    known = np.isfinite(media)
    start = None
    if known.any():
        first = int(np.where(known, media, np.inf).argmin())
        start = int(nanoseconds(packets["absolute"])[first])
    spans = [*([capture.span] if known.any() else []), *capture.damage.missing_spans]
    low = min((low for low, _ in spans), default=0.0)
    high = max((high for _, high in spans), default=0.0)
    return {
        "recording": capture.info.recording,
        "participant": None if who is None else who.id,
        "name": None if who is None or who.name is None else printable(who.name),
        "start": start,
        "duration": high - low,
        "damage": "" if not capture.damage else printable(str(capture.damage)),
    }


def _quality(known: Analysis) -> Row:
    found = quality_of(known, sound=False)
    return {name: found[name] for name in _QUALITY}


def _sound(known: Analysis) -> Row:
    if not len(known.capture.audio):
        return {"sound": "empty: there is no audio"}
    return {"sound": verdict_of(ordered(findings_of_sound(known)), clocks=False)}


def _levels(known: Analysis) -> Row:
    found = levels(known, None)
    return {name: found[name].iloc[0] for name in OF["levels"]} if len(found) else {}


def _speech(known: Analysis) -> Row:
    line = as_timeline(known)
    if not len(line):
        return {}
    return {"speech_share": float(speech(known)["duration"].sum()) / (line.end - line.start)}


def _checksums(known: Analysis) -> Row:
    if known.capture.packets.empty:  # nothing says what it should be
        return {}
    return {"damaged_packets": len(verify(known.capture))}


def _mos(known: Analysis) -> Row:
    return {"mos": mean_mos(mos(known))}


_WORK: Final[dict[str, Callable[[Analysis], Row]]] = {
    "quality": _quality,
    "sound": _sound,
    "levels": _levels,
    "speech": _speech,
    "checksums": _checksums,
    "mos": _mos,
}
