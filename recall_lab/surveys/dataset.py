"""Keep rows of surveys as a Parquet dataset, by day.

Nothing is ever changed in place. New rows come as new files, each written whole or not at all, and
the newest row of a source is the one that counts; what it has not measured is taken from the older
ones of the same files. At the end of a survey the files of a day are joined: first the joined file
is written, then those that it replaces are deleted. Whoever is killed in between, or joins the
same files at the same time, leaves rows twice, never too few.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from recall_lab.archives.destinations import store_of
from recall_lab.errors import MissingExtra
from recall_lab.surveys.measures import ALL, PASSING, Row, columns_of, frame_of_rows
from recall_lab.surveys.rows import bytes_of, holds, merged, noted, rows_in, together

_EVERY: Final = 5.0  # s between two files: what a kill may cost
_SHARE: Final = 0.1  # of the time that may go into writing; rows of many days make many files
_MOST: Final = 20_000  # rows of a file that is written under way
_READ: Final = 64  # files read at once
_WRITE: Final = 16  # files written or deleted at once: each takes tens of milliseconds in a bucket
_LOOKS: Final = 5  # at what is there, while others join it
_SUFFIX: Final = ".parquet"


class Dataset:
    """Rows kept under a folder or URL.

    Args:
        dataset: the folder, made if it is not there, or a URL that fsspec knows.
        measures: what rows are to hold.

    Raises:
        MissingExtra: where pyarrow, or fsspec for a URL, is not installed.
        InvalidArgument: for a place that can't hold it.
        StorageFailed: when nothing can be put there.
    """

    def __init__(self, dataset: str | os.PathLike[str], measures: Sequence[str]) -> None:
        try:
            import pyarrow  # noqa: F401, PLC0415 - comes with an extra only
        except ImportError as error:
            raise MissingExtra("scale", "pyarrow") from error
        self._store = store_of(dataset, "dataset")
        self._store.ask()  # before there is much to do
        self._measures = tuple(measures)
        self._note = noted(measures)
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
        rows = together(self._parts().values())
        self._last = int(rows["surveyed"].max()) if len(rows) else 0
        return merged(rows).reset_index(drop=True)

    def good(self, rows: pd.DataFrame, versions: dict[str, str]) -> pd.DataFrame:
        """Return the rows that are still good: of these sources, in these versions.

        Returns:
            With the columns of a survey only.
        """
        wanted = [versions.get(source, "") for source in rows["source"]]
        good = (rows["version"] == wanted) & (rows["version"] != "")
        for measure in self._measures:
            good &= holds(rows, measure)
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
                bytes_of(part),
            )
            for day, part in frame.groupby(_days(frame["start"]), sort=True)
        )
        del self._rows[: len(rows)]  # only now: an interrupt may come in between
        now = time.monotonic()
        self._next = now + max(_EVERY, (now - begin) / _SHARE)

    def join(self) -> pd.DataFrame:
        """Make one file of each day that has several; leave out rows that newer ones replace.

        Returns:
            What is known of each source then, as :meth:`read` does.
        """
        parts = self._parts()
        rows = together(parts.values())
        folders = [name.rpartition("/")[0] for name in parts]
        day_of = np.repeat(np.array(folders, object), [len(part) for part in parts.values()])
        kept = merged(rows)
        same = kept["measured"] == rows["measured"].reindex(kept.index)
        days = {str(day): part for day, part in kept.groupby(day_of[kept.index], sort=False)}
        written: set[str] = set()

        def join_one(day: str, names: Sequence[str]) -> None:
            some = days.get(day, kept[:0])
            if len(names) == 1 and len(some) == len(parts[names[0]]) and same[some.index].all():
                written.add(names[0])  # as it is
            elif len(some):
                data = bytes_of(some)
                # named by what is in it: whoever joins the same rows writes the same file
                name = f"{day}/all-{hashlib.sha256(data).hexdigest()[:16]}{_SUFFIX}"
                self._write(name, data)
                written.add(name)

        by_day: dict[str, list[str]] = {}
        for name, folder in zip(parts, folders, strict=True):
            by_day.setdefault(folder, []).append(name)
        _all_of(partial(join_one, day, names) for day, names in by_day.items())
        # only now: a row may have taken from one of another day
        replaced = [name for name in parts if name not in written]
        pieces = [replaced[at::_WRITE] for at in range(min(_WRITE, len(replaced)))]
        _all_of(partial(self._store.delete, piece) for piece in pieces)
        return kept.reset_index(drop=True)

    def _names(self) -> list[str]:
        return [
            name
            for name in self._store.names()
            if name.startswith("day=") and name.endswith(_SUFFIX)
        ]

    def _write(self, name: str, data: bytes) -> None:
        self._store.write(name, [data], len(data))

    def _parts(self) -> dict[str, pd.DataFrame]:
        """Return files by name, as far as they can be read."""
        for _ in range(_LOOKS):
            names = self._names()
            found = {name: self._known[name] for name in names if name in self._known}
            left = [name for name in names if name not in found and name not in self._foreign]
            gone = 0
            for at in range(0, len(left), _READ):
                for name, data in self._store.read(left[at : at + _READ]).items():
                    if isinstance(data, FileNotFoundError):
                        gone += 1
                    elif isinstance(data, Exception):
                        raise data
                    else:
                        self._take(name, data, found)
            self._known = found
            if not gone:  # else somebody has just joined them, and their rows are elsewhere
                break
        return found

    def _take(self, name: str, data: bytes, found: dict[str, pd.DataFrame]) -> None:
        """Add the rows of a file, or tell that it has none."""
        try:
            found[name] = rows_in(data)
        except Exception as error:
            self._foreign.add(name)
            told = f"{self._store}/{name} is no part of a survey and is passed over"
            warnings.warn(f"{told}: {error!r:.200}; move it away", RuntimeWarning, stacklevel=5)


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
