"""Find what the separate streams hold where the mixed stream has nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.clocks.columns import with_times
from recall_lab.analysis.meeting.speaking import ASTRAY, Bools, Floats, Positions
from recall_lab.capture.capture import Audio, Capture
from recall_lab.errors import MissingTimestamps
from recall_lab.wire.pcm import RATE, Samples

_BLOCK: Final = 256  # packets whose audio is read at once


class Beside(NamedTuple):
    """In which holes of the mixed stream a separate stream has audio: arrays ``(holes,)``.

    Attributes:
        who: whose stream has.
        time: where the first packet in the hole begins that is not silent, s; NaN for none.
    """

    who: Positions
    time: Floats


def heard_beside(beside: Sequence[Capture], start: Floats, end: Floats) -> Beside:
    """Return what the separate streams of a recording have where the mixed one has nothing.

    Packets of zeros are no audio: they tell that somebody is silent. A stream without packets
    tells nothing.
    """
    who, time = np.zeros(len(start), np.int64), np.full(len(start), np.nan)
    for stream in beside:
        owner = stream.info.participant
        rest = np.flatnonzero(np.isnan(time))
        if owner is None or not len(rest):
            continue
        first = _first_heard(stream, start[rest], end[rest])
        heard = ~np.isnan(first)
        who[rest[heard]], time[rest[heard]] = owner.id, first[heard]
    return Beside(who, time)


def _first_heard(stream: Capture, start: Floats, end: Floats) -> Floats:
    """Return where the first packet well inside each hole begins that is not silent; NaN."""
    found = np.full(len(start), np.nan)
    try:
        packets = with_times(stream)
    except MissingTimestamps:
        return found
    relative, samples, offsets = (
        packets[name].to_numpy() for name in ("relative", "samples", "offset")
    )
    rows = np.flatnonzero(samples)
    rows = rows[np.argsort(relative[rows], kind="stable")]
    begins = relative[rows]
    ends = begins + samples[rows] / RATE
    low, high = np.searchsorted(begins, start + ASTRAY), np.searchsorted(begins, end - ASTRAY)
    audio = stream.audio
    for at in np.flatnonzero(low < high).tolist():
        for block in range(low[at], high[at], _BLOCK):
            part = slice(block, min(block + _BLOCK, high[at]))
            loud = _loud(audio, offsets[rows[part]], samples[rows[part]])
            loud &= ends[part] <= end[at] - ASTRAY
            if loud.any():
                found[at] = begins[part][np.argmax(loud)]
                break
    return found


def _loud(
    audio: Samples | Audio, offsets: npt.NDArray[np.int64], samples: npt.NDArray[np.int32]
) -> Bools:
    """Return which packets have anything but zeros."""
    if (offsets[1:] == offsets[:-1] + samples[:-1]).all():
        first = int(offsets[0])
        heard = np.asarray(audio[first : int(offsets[-1] + samples[-1])]) != 0
        loud: Bools = np.logical_or.reduceat(heard, offsets - first)
        return loud
    spans = zip(offsets.tolist(), samples.tolist(), strict=True)
    return np.array([np.asarray(audio[at : at + count]).any() for at, count in spans], bool)
