"""Put together a stream's files, wherever their bytes come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.capture import Audio, Capture
from recall_lab.capture.damage import Damage
from recall_lab.capture.frame import frame_of_records
from recall_lab.capture.info import CaptureInfo, info_by_name
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES, good_records, header_problem
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, SAMPLE_DTYPE, Samples

_LATEST: Final = 1e9  # s on the relative clock: what is beyond is no time
_LONGEST: Final = 60 * RATE  # samples of one packet: a forged length makes no gap of days
_TOGETHER: Final = 0.1  # s between packets that are told as one span
_FAR: Final = np.uint64(2**62)  # beyond the end of any file, and sums with it do not overflow


def assemble(
    index: bytes | memoryview | None,
    audio: Samples | Audio,
    odd: bool,
    info: CaptureInfo | None,
    problem: str | None,
    *,
    events: Callable[[], pd.DataFrame],
    path: Path | None = None,
    url: str | None = None,
) -> Capture:
    """Return the capture of an index and audio; never fails for damage.

    Args:
        index: the whole ``.idx``; None where there is none.
        audio: the samples.
        odd: whether half a sample is left over after them.
        info: ids and metadata.
        problem: what is wrong with those, in words.
        events: reads what happened beside the audio.
        path: the ``.bin``.
        url: the same, in object storage.
    """
    notes = [problem] if problem else []
    if index is None:
        damage = Damage(odd_byte=odd, notes=tuple(notes))
        return Capture(audio, None, info, damage, path, events, url=url)
    problem = header_problem(bytes(index[:HEADER_BYTES]))
    if problem:
        notes.append(problem)
    body = index[HEADER_BYTES:]
    records, damaged = good_records(body)
    # in samples; copied out of the records once, whose fields lie 64 bytes apart
    starts = np.minimum(records["offset"] // SAMPLE_BYTES, _FAR).astype(np.int64)
    ends = starts + records["length"] // SAMPLE_BYTES
    missing = 0
    spans: tuple[tuple[float, float], ...] = ()
    if ends.max(initial=0) > len(audio):
        within = ends <= len(audio)
        missing = len(records) - int(np.count_nonzero(within))
        spans = _spans(records[~within])
        records, starts, ends = records[within], starts[within], ends[within]
    damage = Damage(
        torn_bytes=len(body) % RECORD_BYTES,
        damaged_records=damaged,
        missing_payloads=missing,
        missing_spans=spans,
        orphan_spans=_orphans(starts, ends, len(audio)),
        odd_byte=odd,
        notes=tuple(notes),
    )
    return Capture(audio, lambda: frame_of_records(records), info, damage, path, events, url=url)


def _spans(records: npt.NDArray[np.void]) -> tuple[tuple[float, float], ...]:
    """Return when the audio of records was, those put together that follow one another."""
    begin = records["relative"].astype(np.float64)
    length = np.minimum(records["length"] // SAMPLE_BYTES, _LONGEST).astype(np.float64) / RATE
    known = np.abs(begin) < _LATEST  # else, or NaN, nobody knows when
    begin, length = begin[known], length[known]
    if not len(begin):
        return ()
    order = np.argsort(begin, kind="stable")
    begin = begin[order]
    reached = np.maximum.accumulate(begin + length[order])
    new = np.ones(len(begin), bool)
    new[1:] = begin[1:] > reached[:-1] + _TOGETHER
    last = np.append(np.flatnonzero(new)[1:], len(begin)) - 1
    return tuple(zip(begin[new].tolist(), reached[last].tolist(), strict=True))


def _orphans(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], samples: int
) -> tuple[tuple[int, int], ...]:
    """Return the spans of samples that no record claims."""
    starts = np.append(starts, samples)
    reached = np.maximum.accumulate(np.concatenate([[0], ends]))
    holes = np.flatnonzero(starts > reached)
    return tuple((int(reached[i]), int(starts[i])) for i in holes)


def events_alone(recording: str, events: Callable[[], pd.DataFrame]) -> Capture:
    """Return a recording of which there is a journal, and no audio."""
    return Capture(np.empty(0, SAMPLE_DTYPE), info=info_by_name(recording), events=events)
