"""Measure thousands of captures into one frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from functools import partial
from typing import Final

import pandas as pd
from tqdm import tqdm

from recall_lab.errors import InvalidArgument
from recall_lab.remote.filesystem import is_url
from recall_lab.remote.listing import AUDIO, Source, Stream, find_streams
from recall_lab.surveys.dataset import Dataset
from recall_lab.surveys.measures import (
    ALL,
    MEASURES,
    PASSING,
    Row,
    columns_of,
    failure,
    frame_of_rows,
    key_of,
    measure_streams,
)
from recall_lab.surveys.workers import Client, at_once, shared_out
from recall_lab.text import counted

_BATCH: Final = 128  # streams of a task, at most
_LEAST: Final = 4  # streams of a task, at least, where there are many: each has its cost
_FETCHED: Final = 16  # the same in object storage, as they are fetched together
_BYTES: Final = 64 << 20  # that a task reads, at most, but for a single stream that has more
_SHARE: Final = 8  # tasks for each worker of what is left: large first, small ones at the end


def survey(
    source: Source | Iterable[Source],
    *,
    measures: Sequence[str] = MEASURES,
    client: Client | Executor | None = None,
    dataset: str | os.PathLike[str] | None = None,
    refresh: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every stream of many captures, on all cores or on a cluster.

    A capture that can't be measured is a row with its error, never an exception. With only
    ``"quality"`` no audio is read, only the index: thousands of captures a minute. Then nothing
    is looked for of what is about format or sound in docs/findings.md, but another sample rate;
    the verdict says so.

    Args:
        source: a folder, gone through to its depths; a pattern such as ``"captures/2026-*"``; a
            URL that fsspec knows (``s3://bucket/captures``, ``gs://``, ``memory://`` ...); or a
            list of such, of captures too.
        measures: which of ``"quality"`` (availability, gaps by cause, jitter, delay, drift: from
            the clocks), ``"sound"`` (findings of format and sound), ``"levels"``, ``"speech"``,
            ``"checksums"`` and ``"mos"`` (from the audio; the last needs
            ``pip install 'recall_lab[mos]'`` where the work is done, and takes half a minute or
            so for an hour of audio).
        client: who does the work. None: processes on this machine, kept for a minute for the
            next survey. A ``dask.distributed.Client`` or any ``concurrent.futures.Executor``:
            used as it is, never closed; its workers need recall_lab, and see the same paths.
        dataset: a folder or URL for a Parquet dataset by day (``day=2026-11-25/...``): rows are
            kept there as they come, and what is there and unchanged (size, and tag or time of
            change) is not measured again. ``pandas.read_parquet(dataset)`` reads it: the columns
            below, of every measure, and ``version`` (of the files), ``measured`` (which measures),
            ``surveyed`` (int64, ns since 1970). Rows of captures that are gone stay. Needs
            ``pip install 'recall_lab[scale]'``.
        refresh: measure what is in `dataset` and unchanged, too. Only ``"checksums"`` can find
            anything new there: audio that a disk has not kept.
        progress: whether a bar is shown.

    Returns:
        One row a stream, sorted by source, with the same dtypes and bits whoever does the work:

        - ``source`` (str): what :func:`recall_lab.load` takes; ``recording``, ``name`` (str);
          ``participant`` (Int64, NA for the mixed stream)
        - ``start`` (datetime64[ns, UTC]: the sender's wall clock at the first sample),
          ``duration`` (s, from the first to the last instant)
        - of ``quality``: all of :func:`recall_lab.quality` but ``damage`` under the same names
          (``verdict`` by clocks and files alone, ``available_percent``, ``missing_CAUSE_s``,
          ``unexplained_s``, ``twice_s``, ``epochs``, ``jitter_ms``, ``drift_A_B_ppm``, ``speed``,
          ``clock_leaps``, ``stamp_scatter_ms`` ...); counts are Int64
        - of ``sound``: ``sound`` (str): the verdict on format and sound, such as ``good: ...`` or
          ``poor: the two bytes of each sample are swapped ...``
        - of ``levels``: ``rms_dbfs``, ``peak_dbfs``, ``crest_db``, ``dc``, ``clips``, ``clipped``
          (Int64), ``silence_share`` (0 to 1), as in :func:`recall_lab.levels` over all
        - of ``speech``: ``speech_share`` (0 to 1, share of the duration)
        - of ``checksums``: ``damaged_packets`` (Int64), whose audio is not what was received: as
          many as :func:`recall_lab.verify` returns; NA without an index. Told in ``damage`` too
        - of ``mos``: ``mos`` (1 to 5), the mean of :func:`recall_lab.mos` over all that it scores
        - ``bytes`` (int64, of all files), ``damage`` (str, empty for none), ``error`` (str, empty
          for none; what could be measured is there all the same). From `dataset` both tell what
          other surveys of the same files found, too

    Raises:
        CaptureNotFound: for a path, pattern or URL where nothing is. A folder without captures
            gives no rows.
        InvalidArgument: for a measure, client or place that can't be.
        MissingExtra: for a URL, or `dataset`, where the packages for it are not installed.
        StorageFailed: when nothing can be put into `dataset`, or object storage does not answer.
        KeyboardInterrupt: on Ctrl-C; what was done until then is in `dataset`.

    Example:
        >>> found = survey("captures/")  # doctest: +SKIP
        >>> rank(found).head(10)[["source", "start", "why"]]  # doctest: +SKIP
    """
    measures = _checked(measures)
    store = None if dataset is None else Dataset(dataset, measures)
    streams = {key_of(stream.source): stream for stream in find_streams(source)}
    if client is None and any(key.startswith("memory:") for key in streams):
        valid = "ThreadPoolExecutor() for memory://, which other processes do not see"
        raise InvalidArgument("client", None, valid)
    versions = {key: stream.version for key, stream in streams.items()}
    known = frame_of_rows([], measures) if store is None else store.good(store.read(), versions)
    have = set() if refresh else set(known["source"])
    left = [stream for key, stream in streams.items() if key not in have]
    task = partial(measure_streams, measures=measures)
    rows: list[Row] = []
    with tqdm(
        total=len(streams), initial=len(have), unit=" streams", desc="survey", disable=not progress,
        mininterval=0.5, smoothing=0.05,
    ) as bar:  # fmt: skip
        try:
            batches = _batches(left, measures, at_once(client))
            with closing(shared_out(task, batches, client, _given_up)) as results:
                for done in results:
                    rows += done
                    if store is not None:
                        store.add(done, versions)
                    bar.update(len(done))
            if store is not None:
                store.flush()
                now = store.good(store.join(), versions)
        except (KeyboardInterrupt, Exception) as end:
            _tell(end, len(have) + len(rows), len(streams), store)
            raise
    if store is None:
        found = frame_of_rows(rows, measures)
    else:
        found = _united(rows, measures, now, known)
    found = found.sort_values("source", kind="stable", ignore_index=True)
    return found.astype(columns_of(measures))


def _united(
    rows: Sequence[Row], measures: Sequence[str], now: pd.DataFrame, before: pd.DataFrame
) -> pd.DataFrame:
    """Return a row a source, as it is kept now: with what other surveys of the same files found.

    What failed this time and may pass is not kept. What is not there, as others work on the same
    dataset, is as it was measured, or as it was kept before.
    """
    passing = {row["source"] for row in rows if row[PASSING]}
    parts = [
        frame_of_rows([row for row in rows if row[PASSING]], measures),
        now[~now["source"].isin(passing)],
        frame_of_rows([row for row in rows if not row[PASSING]], measures),
        before,
    ]
    return pd.concat(parts).drop_duplicates("source")


def _checked(measures: Sequence[str]) -> tuple[str, ...]:
    given = (measures,) if isinstance(measures, str) else measures
    if not isinstance(given, Iterable) or not (given := tuple(given)):
        raise InvalidArgument("measures", measures, f"some of {', '.join(ALL)}")
    for measure in given:
        if measure not in ALL:
            raise InvalidArgument("measures", measure, f"some of {', '.join(ALL)}")
    return tuple(measure for measure in ALL if measure in given)


def _batches(
    streams: Sequence[Stream], measures: Sequence[str], workers: int
) -> Iterator[list[Stream]]:
    """Cut streams into tasks: by how much there is to read, smaller and smaller ones.

    So that nobody works on a large one while all others have nothing left to do.
    """
    read = (".idx",) if list(measures) == ["quality"] else (".idx", *AUDIO)
    batch: list[Stream] = []
    weight = 0
    workers = max(workers, 2)

    def size_for(left: int) -> int:
        return max(least, min(_BATCH, left // (_SHARE * workers)))

    least = _FETCHED if streams and is_url(streams[0].source) else _LEAST
    least = max(1, min(least, len(streams) // (4 * workers)))
    most = size_for(len(streams))
    for at, stream in enumerate(streams):
        size = sum(stream.size(suffix) or 0 for suffix in read)
        if batch and (len(batch) >= most or weight + size > _BYTES):
            yield batch
            batch, weight = [], 0
            most = size_for(len(streams) - at)
        batch.append(stream)
        weight += size
    if batch:
        yield batch


def _given_up(stream: Stream, error: Exception) -> Row:
    about = {
        "source": key_of(stream.source),
        "recording": stream.recording,
        "participant": stream.participant,
        "bytes": sum(file.size for file in stream.files),
    }
    return about | failure(error) | {PASSING: True}  # a machine with more memory may do it


def _tell(end: BaseException, done: int, streams: int, store: Dataset | None) -> None:
    """Write what is done, and note beside an exception what became of it."""
    kept = "lost: with dataset= it would be kept"
    if store is not None:
        try:
            try:
                store.flush()
            except KeyboardInterrupt:  # pressed twice: what is done is wanted all the same
                store.flush()
            kept = "kept in dataset=: run it again to go on"
        except Exception as error:
            kept = f"kept in dataset= only in part, as it can't be written: {error}"
    end.add_note(f"survey: {done:,} of {counted(streams, 'stream')} are measured, and {kept}")
