"""Find packets that came more than once."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from recall_lab.capture.continuity.rule import share
from recall_lab.wire.pcm import SAMPLE_BYTES

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHARED: Final = 0.3
"""Share of the joins around that have no time between them: then packets share stamps, and are no
duplicates."""


def repeated(
    media: Floats,
    samples: npt.NDArray[np.int32],
    checksums: npt.NDArray[np.uint32],
    order: Positions | None,
    stamps: Floats,
) -> tuple[Positions, Positions, Positions]:
    """Return packets that are the same as an earlier one in all, which one that is, and where.

    `order` is that of their stamps, and `stamps` are these in order: where they are counts these.
    """
    nothing = np.empty(0, np.int64)
    alike = np.flatnonzero(stamps[1:] == stamps[:-1])
    if not len(alike):
        return nothing, nothing, nothing
    members = np.union1d(alike, alike + 1)
    rows = members if order is None else order[members]
    first = rows[earliest(media[rows], samples[rows], checksums[rows])]
    same = first != rows
    again, first, where = rows[same], first[same], members[same]
    if len(again):
        # packets of nothing but zeros are all the same: they may share a stamp, too
        counts = samples[again]
        silent = np.zeros(len(again), bool)
        for count in np.unique(counts).tolist():
            silent |= (counts == count) & (
                checksums[again] == crc32(bytes(int(count) * SAMPLE_BYTES))
            )
        if silent.any():
            equal = np.zeros(len(stamps), bool)
            equal[alike] = True
            silent &= share(equal, where) > SHARED
            again, first, where = again[~silent], first[~silent], where[~silent]
    return again, first, where


def earliest(*columns: npt.NDArray[Any]) -> Positions:
    """Return for each row the position of the first that is the same: its own, where none is."""
    order = np.lexsort(columns)
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    first = np.empty_like(order)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def others(some: Positions, than: Positions) -> Mask:
    """Tell which of some positions are not among others, which rise."""
    if not len(than):
        return np.ones(len(some), bool)
    return np.asarray(than[np.minimum(np.searchsorted(than, some), len(than) - 1)] != some)
