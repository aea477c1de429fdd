"""Write, read and merge the files of a dataset.

A row is of one source in one version, and holds what one survey measured of it. Rows of the same
version make up one: the newest, with what the older ones have beside.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.errors import InvalidArgument
from recall_lab.surveys.measures import ALL, OF, columns_of

FORMAT: Final = 2
"""Of a row: an older one has to be measured anew, a newer one is left to who knows it."""

_OURS: Final = {"version": "str", "measured": "str", "surveyed": "int64"}
_LATEST: Final = 2**62  # ns: no clock tells more, and one may be added to it


def noted(measures: Sequence[str]) -> str:
    """Return the note of what a row holds: its ``measured``."""
    return f"{FORMAT}: {', '.join(measure for measure in ALL if measure in measures)}"


def holds(rows: pd.DataFrame, measure: str) -> npt.NDArray[np.bool_]:
    """Tell of each row whether it holds a measure, in this format."""
    known = {note: measure in _measures_of(note) for note in rows["measured"].unique()}
    return np.array([known[note] for note in rows["measured"]], bool)


def together(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several files, none too, in their order and numbered anew."""
    return pd.concat([_typed(pd.DataFrame()), *parts], ignore_index=True)


def merged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a source, sorted: the newest, with what older ones of its version have beside.

    Each keeps the place in the index that its newest row had, which has to be unique. What is
    wrong is united: an ``error`` may be of a measure that was not asked for this time.
    """
    rows = rows.sort_values(["source", "surveyed", "measured", "version"], kind="stable")
    newest = rows.drop_duplicates("source", keep="last")
    if len(newest) == len(rows):
        return newest
    found = newest.set_index("source", drop=False)
    version = rows["source"].map(found["version"])
    same = rows[(rows["version"] == version) & (version != "")]
    ours = np.array([bool(_measures_of(note)) for note in found["measured"]])
    for measure in ALL:
        lacking = found.index[ours & ~holds(found, measure)]
        able = same[holds(same, measure) & same["source"].isin(lacking)]
        able = able.drop_duplicates("source", keep="last").set_index("source")
        if able.empty:
            continue
        taken, old = found.index.isin(able.index), able.reindex(found.index)
        for name in OF[measure]:
            found[name] = found[name].mask(taken, old[name])
        for name in ("damage", "error") if measure == "checksums" else ("error",):
            both = (found[name] + "; " + old[name]).where(taken, "").str.split("; ")
            once = ["; ".join(dict.fromkeys(filter(None, pieces))) for pieces in both]
            found[name] = found[name].where(~taken, once)
        notes = [noted([*_measures_of(note), measure]) for note in found["measured"]]
        found["measured"] = found["measured"].where(~taken, notes)
    return found.set_index(newest.index)


def bytes_of(rows: pd.DataFrame) -> bytes:
    """Return rows as a file of Parquet."""
    file = io.BytesIO()
    rows.to_parquet(file, index=False, engine="pyarrow", compression="zstd")
    return file.getvalue()


def rows_in(data: bytes) -> pd.DataFrame:
    """Return a file's rows, with the columns of all measures and no others.

    Raises:
        Exception: whatever a file that is none of ours leads to.
    """
    import pyarrow.parquet  # noqa: PLC0415 - comes with an extra only

    table = pyarrow.parquet.read_table(io.BytesIO(data))
    table.validate(full=True)  # bytes that are no text would be found late, far from here
    rows = table.to_pandas().reset_index(drop=True)
    missing = {"source", *_OURS} - set(rows.columns)
    if missing:
        raise InvalidArgument("columns", sorted(rows.columns), f"those of a survey, {missing} too")
    rows = _typed(rows)
    newer = max(map(_format_of, rows["measured"].unique()), default=0)
    if newer > FORMAT:
        raise InvalidArgument("format", newer, f"{FORMAT}: a newer recall_lab wrote it")
    # a row of a clock that was far ahead would else be the newest for ever
    return rows.assign(surveyed=rows["surveyed"].where(rows["surveyed"] < _LATEST, 0))


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns of all measures, their dtypes, and no others."""
    kinds: dict[str, Any] = columns_of(ALL) | _OURS
    for name, kind in kinds.items():
        if name not in rows.columns:
            empty = "" if kind == "str" else pd.NA if kind == "Int64" else np.nan
            filler: Any = 0 if kind == "int64" else pd.NaT if kind.startswith("date") else empty
            rows = rows.assign(**{name: pd.Series(filler, index=rows.index, dtype=kind)})
        elif kind == "str" and rows[name].isna().any():
            rows = rows.assign(**{name: rows[name].astype(kind).fillna("")})
    return rows[list(kinds)].astype(kinds)


def _format_of(note: str) -> int:
    number = note.partition(": ")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 0


def _measures_of(note: str) -> list[str]:
    """Return the measures that a note tells of; none of another format, nor ones unknown here."""
    measures = note.partition(": ")[2].split(", ")
    return [measure for measure in ALL if measure in measures] if _format_of(note) == FORMAT else []
