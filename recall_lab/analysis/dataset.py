"""Rows of surveys kept as a Parquet dataset: by day, added to, read by anything that reads Parquet.

Nothing is ever changed in place. New rows come as new files, each written whole or not at all, and
the newest row of a source is the one that counts; what it has not measured is taken from the older
ones of the same files. At the end of a survey the files of a day are joined: first the joined file
is written, then those that it replaces are deleted. Whoever is killed in between, or joins the
same files at the same time, leaves rows twice, never too few.
"""

from __future__ import annotations

import hashlib
import io
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.measures import ALL, OF, PASSING, Row, columns_of, frame_of_rows
from recall_lab.capture.stores import store_of
from recall_lab.errors import InvalidArgument, MissingExtra

FORMAT: Final = 1
"""Of a row: another one has to be measured anew."""

_OURS: Final = {"version": "str", "measured": "str", "surveyed": "int64"}
_EVERY: Final = 5.0  # s between two files: what a kill may cost
_SHARE: Final = 0.1  # of the time that may go into writing; rows of many days make many files
_MOST: Final = 20_000  # rows of a file that is written under way
_READ: Final = 64  # files read at once
_WRITE: Final = 16  # files written or deleted at once: each takes tens of milliseconds in a bucket
_SUFFIX: Final = ".parquet"
_LATEST: Final = 2**62  # ns: no clock tells more, and one may be added to it


class Dataset:
    """Rows kept under a folder or URL.

    Args:
        into: the folder, made if it is not there, or a URL that fsspec knows.
        measures: what rows are to hold.

    Raises:
        MissingExtra: where pyarrow, or fsspec for a URL, is not installed.
        InvalidArgument: for a place that can't hold it.
    """

    def __init__(self, into: str | Path, measures: Sequence[str]) -> None:
        try:
            import pyarrow  # noqa: F401, PLC0415 - comes with an extra only
        except ImportError as error:
            raise MissingExtra("scale", "pyarrow") from error
        self._store = store_of(into, "into")
        self._measures = tuple(measures)
        self._note = _measured(measures)
        self._rows: list[Row] = []
        self._known: dict[str, pd.DataFrame] = {}  # files by name, which never change
        self._foreign: set[str] = set()  # files that were told of
        self._last = 0  # ns, when the newest row that was read here was measured
        self._next = time.monotonic() + _EVERY  # when rows are written again

    def read(self) -> pd.DataFrame:
        """Return what is known of each source.

        Returns:
            A row a source, with the columns of a survey and ``version``, ``measured``,
            ``surveyed``. Files that can't be read are passed over, with a warning.
        """
        parts = [part for part in self._parts(self._names()).values() if len(part)]
        if not parts:
            return _typed(pd.DataFrame())
        rows = pd.concat(parts, ignore_index=True)
        self._last = int(rows["surveyed"].max())
        return _merged(rows)

    def good(self, rows: pd.DataFrame, versions: dict[str, str]) -> pd.DataFrame:
        """Return the rows that are still good: of these sources, in these versions.

        Returns:
            With the columns of a survey only.
        """
        wanted = rows["source"].map(versions).fillna("")
        good = (rows["version"] == wanted) & (rows["version"] != "")
        for measure in self._measures:
            good &= _holds(rows, measure)
        return rows.loc[good, list(columns_of(self._measures))]

    def add(self, rows: Sequence[Row], versions: dict[str, str]) -> None:
        """Take new rows; they are written every few seconds. What may pass is not kept."""
        # newer than what it replaces, though this machine's clock may be behind another's
        now = self._last = max(time.time_ns(), self._last + 1)
        self._rows += [
            row | {"version": versions[row["source"]], "surveyed": now}
            for row in rows
            if not row[PASSING]
        ]
        if time.monotonic() > self._next or len(self._rows) > _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what was taken since the last time."""
        rows, begin = list(self._rows), time.monotonic()
        if not rows:
            return
        # all columns in every file, as readers take those of the first one for those of all
        frame = frame_of_rows(rows, ALL)
        frame["version"] = pd.Series([row["version"] for row in rows], dtype="str")
        frame["measured"] = pd.Series([self._note] * len(rows), dtype="str")
        frame["surveyed"] = np.array([row["surveyed"] for row in rows], np.int64)
        _all_of(
            partial(
                self._write,
                f"day={day}/part-{time.time_ns()}-{uuid.uuid4().hex[:8]}{_SUFFIX}",
                _bytes_of(part),
            )
            for day, part in frame.groupby(_days(frame["start"]), sort=True)
        )
        del self._rows[: len(rows)]  # only now: an interrupt may come in between
        now = time.monotonic()
        self._next = now + max(_EVERY, (now - begin) / _SHARE)

    def join(self) -> None:
        """Make one file of each day that has several; leave out rows that newer ones replace."""
        parts = self._parts(self._names())
        rows = pd.concat([_typed(pd.DataFrame()), *parts.values()], keys=["", *parts])
        needed = _needed(rows)
        by_day: dict[str, list[str]] = {}
        for name in parts:
            by_day.setdefault(name.rpartition("/")[0], []).append(name)

        def join_one(day: str, names: Sequence[str]) -> None:
            there = rows.index.get_level_values(0).isin(names)
            kept = rows[there & needed]
            if len(names) == 1 and len(kept) == there.sum() == kept["source"].nunique():
                return
            joined = ""
            if len(kept):
                data = _bytes_of(_merged(kept))
                # named by what is in it: whoever joins the same rows writes the same file
                joined = f"{day}/all-{hashlib.sha256(data).hexdigest()[:16]}{_SUFFIX}"
                self._write(joined, data)
            self._store.delete([name for name in names if name != joined])

        _all_of(partial(join_one, day, names) for day, names in by_day.items())

    def _names(self) -> list[str]:
        return [
            name
            for name in self._store.names()
            if name.startswith("day=") and name.endswith(_SUFFIX)
        ]

    def _write(self, name: str, data: bytes) -> None:
        self._store.write(name, [data], len(data))

    def _parts(self, names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Return files by name, as far as they can be read; one that was just deleted is none."""
        found = {name: self._known[name] for name in names if name in self._known}
        left = [name for name in names if name not in found and name not in self._foreign]
        for at in range(0, len(left), _READ):
            for name, data in self._store.read(left[at : at + _READ]).items():
                if isinstance(data, FileNotFoundError):
                    continue
                if isinstance(data, Exception):
                    raise data
                try:
                    found[name] = _frame_of(data)
                except Exception as error:
                    self._foreign.add(name)
                    warnings.warn(
                        f"{self._store}/{name} is no part of a survey and is passed over: "
                        f"{error!r:.200}; move it away",
                        RuntimeWarning,
                        stacklevel=4,
                    )
        self._known = found
        return found


def _all_of(calls: Iterable[Callable[[], None]]) -> None:
    """Make calls that wait for a disk or a bucket, several at once.

    Raises:
        Exception: the first that one of them raised, once all of them have ended.
    """
    with ThreadPoolExecutor(_WRITE) as threads:
        futures = [threads.submit(call) for call in calls]
    for future in futures:
        future.result()


def _days(starts: pd.Series[Any]) -> pd.Series[Any]:
    """Return the day of each row in UTC, as the name of its partition."""
    days = starts.to_numpy("datetime64[ns]").astype("datetime64[D]").astype(str)
    return pd.Series(np.where(starts.isna(), "unknown", days), index=starts.index)


def _measured(measures: Sequence[str]) -> str:
    """Return what is noted in a row of what it holds."""
    return f"{FORMAT}: {', '.join(sorted(measures, key=[*ALL, *measures].index))}"


def _noted(measured: str) -> list[str]:
    """Return the measures of such a note; none of another format."""
    format_, _, measures = measured.partition(": ")
    return measures.split(", ") if format_ == str(FORMAT) else []


def _holds(rows: pd.DataFrame, measure: str) -> npt.NDArray[np.bool_]:
    """Tell of each row whether this was measured, in this format."""
    known = {note: measure in _noted(note) for note in rows["measured"].unique()}
    return np.array([known[note] for note in rows["measured"]], bool)


def _donors(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the newest row of each source, and by measure the older rows that have what it lacks.

    Those are of the same files, and the newest that have it; all in the index of `rows`.
    """
    rows = rows.sort_values(["source", "surveyed", "measured", "version"], kind="stable")
    newest = rows.drop_duplicates("source", keep="last")
    if len(newest) == len(rows):
        return newest, {}
    version = rows["source"].map(newest.set_index("source")["version"])
    same = rows[(rows["version"] == version) & (version != "")]
    ours = [bool(_noted(note)) for note in newest["measured"]]
    donors = {}
    for measure in ALL:
        lacking = newest.loc[ours & ~_holds(newest, measure), "source"]
        able = same[_holds(same, measure) & same["source"].isin(lacking)]
        donors[measure] = able.drop_duplicates("source", keep="last")
    return newest, donors


def _needed(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell which rows there must be for :func:`_merged` to return the same; the index is unique."""
    newest, donors = _donors(rows)
    parts = [newest, *donors.values()]
    return rows.index.isin(np.concatenate([part.index for part in parts]))


def _merged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a source: the newest, with what older ones of the same files have beside."""
    newest, donors = _donors(rows)
    merged = newest.set_index("source", drop=False)
    for measure, able in donors.items():
        taken = merged.index.isin(able["source"])
        old = able.set_index("source").reindex(merged.index)
        for name in OF[measure]:
            merged[name] = merged[name].mask(taken, old[name])
        for name in ("damage", "error") if measure == "checksums" else ("error",):
            both = (merged[name] + "; " + old[name]).where(taken, "").str.split("; ")
            once = ["; ".join(dict.fromkeys(filter(None, pieces))) for pieces in both]
            merged[name] = merged[name].where(~taken, once)
        notes = [_measured([*_noted(note), measure]) for note in merged["measured"]]
        merged["measured"] = merged["measured"].where(~taken, notes)
    return merged.reset_index(drop=True)


def _bytes_of(rows: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    rows.to_parquet(file, index=False, engine="pyarrow", compression="zstd")
    return file.getvalue()


def _frame_of(data: bytes) -> pd.DataFrame:
    """Return a file's rows, of whatever measures."""
    rows = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    missing = {"source", *_OURS} - set(rows.columns)
    if missing:
        raise InvalidArgument("columns", sorted(rows.columns), f"those of a survey, {missing} too")
    rows = _typed(rows)
    # a row of a clock that was far ahead would else be the newest for ever
    return rows.assign(surveyed=rows["surveyed"].where(rows["surveyed"] < _LATEST, 0))


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns of all measures, and the dtypes that they have."""
    kinds = columns_of(ALL) | _OURS
    if all(name in rows.columns and rows[name].dtype == kind for name, kind in kinds.items()):
        return rows
    for name, kind in kinds.items():
        if name not in rows.columns:
            empty = "" if kind == "str" else pd.NA if kind == "Int64" else np.nan
            filler: Any = 0 if kind == "int64" else pd.NaT if kind.startswith("date") else empty
            rows = rows.assign(**{name: pd.Series(filler, index=rows.index, dtype=kind)})
    return rows.astype(kinds)
