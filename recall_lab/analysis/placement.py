"""Where each packet stands on the true time axis, to the sample.

Packets that follow one another are counted on from a common start, so that rounded stamps leave
no cracks between them; the start is the middle of what their stamps allow. Where stamps drift
away from the count by more than the tolerance, a new start is made.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.gaps import Line
from recall_lab.wire.pcm import RATE

Positions = npt.NDArray[np.int64]

_PART: Final = 4_096  # packets looked at together for a new start


class Placed(NamedTuple):
    """Packets with audio by where they stand.

    Attributes:
        at: first sample of each on the axis, rising.
        samples: how many.
        offset: first sample of each in the capture.
        arrival: which came first, second, ...
        reached: how far the audio up to each reaches.
    """

    at: Positions
    samples: Positions
    offset: Positions
    arrival: Positions
    reached: Positions


def place(packets: pd.DataFrame, line: Line, start: float) -> Placed:
    """Say where each packet stands, in samples from `start`."""
    counts = line.samples.astype(np.int64)
    rows = np.arange(len(counts)) if line.rows is None else line.rows
    counted = np.cumsum(counts) - counts
    exact = (line.starts - start) * RATE
    exact -= counted  # what is left is where a packet's run begins
    bound = 2 * line.tolerance * RATE
    heads = np.flatnonzero(np.abs(np.diff(exact)) > line.tolerance * RATE) + 1
    heads = np.concatenate([[0], heads]) if len(counts) else heads
    high, low = (
        f.reduceat(exact, heads) if len(heads) else exact for f in (np.maximum, np.minimum)
    )
    if (high - low > bound).any():
        tails = np.append(heads[1:], len(counts))
        heads = np.concatenate(
            [
                _starts(exact[a:b], bound) + a if wide else np.array([a])
                for a, b, wide in zip(heads, tails, high - low > bound, strict=True)
            ]
        )
        high, low = np.maximum.reduceat(exact, heads), np.minimum.reduceat(exact, heads)
    begins = np.rint((high + low) / 2).astype(np.int64)
    at = counted + np.repeat(begins, np.diff(heads, append=len(counts)))
    offset = packets["offset"].to_numpy()[rows]
    if not (at[1:] >= at[:-1]).all():
        order = np.argsort(at, kind="stable")
        at, counts, offset, rows = at[order], counts[order], offset[order], rows[order]
    return Placed(at, counts, offset, rows, np.maximum.accumulate(at + counts))


def _starts(values: npt.NDArray[np.float64], bound: float) -> Positions:
    """Cut `values` into pieces that spread by `bound` at most; return where each begins."""
    begins = [0]
    low = high = values[0]
    for part in range(0, len(values), _PART):
        at, stop = part, min(part + _PART, len(values))
        while at < stop:
            highs = np.maximum(np.maximum.accumulate(values[at:stop]), high)
            lows = np.minimum(np.minimum.accumulate(values[at:stop]), low)
            wide = highs - lows > bound
            if not wide.any():
                low, high = lows[-1], highs[-1]
                break
            at += int(np.argmax(wide))
            begins.append(at)
            low = high = values[at]
    return np.array(begins)
