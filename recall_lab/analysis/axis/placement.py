"""Place each packet on the true time axis, to the sample.

Packets that follow one another are counted on from a common start, so that rounded stamps leave
no cracks between them; a new start is made at each discontinuity
(:mod:`recall_lab.capture.continuity.rule`) and nowhere else: what is empty is what is missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.arrays import rise
from recall_lab.capture.continuity.media_order import MediaOrder, apart
from recall_lab.wire.pcm import RATE

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Placed(NamedTuple):
    """Packets with audio by where they stand, in samples from :attr:`origin`.

    Attributes:
        at: first sample of each on the axis, rising.
        samples: how many there.
        offsets: first sample in the capture of every packet, in the order of arrival.
        arrival: which of them each is.
        reached: how far the audio up to each reaches.
        origin: relative time of sample 0, s.
        counts: how many samples each has in the capture.
        exact: where each begins and ends to a part of a sample, shape ``(packets, 2)``, where the
            media clock runs otherwise than the samples: they are to be resampled. None else.
    """

    at: Positions
    samples: npt.NDArray[np.integer]
    offsets: Positions
    arrival: Positions
    reached: Positions
    origin: float
    counts: npt.NDArray[np.integer]
    exact: Floats | None = None

    def since(self, start: float) -> Placed:
        """Return the same in samples from a relative time `start`."""
        shift = round((self.origin - start) * RATE)
        exact = None if self.exact is None else self.exact + shift
        return self._replace(
            at=self.at + shift, reached=self.reached + shift, origin=start, exact=exact
        )


def place(packets: pd.DataFrame, order: MediaOrder, *, resampled: bool = True) -> Placed:
    """Say where each packet stands.

    Args:
        packets: those that were put in order.
        order: their order.
        resampled: whether a packet lasts as long as the media clock says. False: one sample of
            the capture is one of the axis, and what follows a stretch stands where it ends.
    """
    counts: npt.NDArray[np.integer] = order.samples
    rows = np.arange(len(counts)) if order.rows is None else order.rows
    offsets = packets["offset"].to_numpy()
    if not len(counts):
        return Placed(rows, counts, offsets, rows, rows, 0.0, counts)
    starts = order.starts
    origin = float(starts[0])
    at_joins, steps = apart(starts, starts, order.tolerance, order.lasts)
    heads = at_joins + 1
    edges: Floats | None = None
    lengths: npt.NDArray[np.integer] = counts
    if order.stretched and not resampled:
        # the media clock is left: each start lies so much after the end before as it did
        jumps = np.zeros(len(counts), np.int64)
        jumps[heads] = np.rint(steps * RATE)
        at = np.cumsum(counts, dtype=np.int64) - counts + np.cumsum(jumps)
    else:
        heads = np.concatenate([[0], heads])
        begins = (starts[heads] - origin) * RATE
        if order.stretched:
            sizes = np.diff(heads, append=len(counts))
            spans = order.lasts * RATE
            begin = np.cumsum(spans) - spans
            begin += np.repeat(begins - begin[heads], sizes)
            edges = np.column_stack([begin, begin + spans])
            at = np.rint(begin).astype(np.int64)
            lengths = np.rint(edges[:, 1]).astype(np.int64) - at
        else:
            # counted on from one to the next, and at a head by so much more
            at = np.zeros(len(counts), np.int64)
            at[1:] = counts[:-1]
            lengths_of = np.add.reduceat(at, heads)
            ends = np.cumsum(lengths_of) - lengths_of + at[heads]
            at[heads] += np.diff(np.rint(begins).astype(np.int64) - ends, prepend=0)
            np.cumsum(at, out=at)
    if not (at[1:] >= at[:-1]).all():
        again = np.argsort(at, kind="stable")
        at, lengths, counts, rows = at[again], lengths[again], counts[again], rows[again]
        if edges is not None:
            edges = edges[again]
    reached = at + lengths
    rise(reached)
    return Placed(at, lengths, offsets, rows, reached, origin, counts, edges)
