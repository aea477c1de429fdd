"""Turn what was found of time into frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.clocks.columns import times_of
from recall_lab.analysis.time.joins import NOBODY, Found, Positions
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import nanoseconds
from recall_lab.wire.pcm import RATE

_NO_TIME = np.iinfo(np.int64).min


def gap_table(packets: pd.DataFrame, found: Found) -> pd.DataFrame:
    """Return discontinuities as the frame of :func:`recall_lab.discontinuities`.

    Args:
        packets: the timed packets.
        found: what was found among them.
    """
    duration = found.duration
    # by the packet before, where there is one: a gap has no stamp of its own
    is_gap = found.kind == "gap"
    known = np.where(is_gap, found.before, found.after)
    known = np.where(known == NOBODY, np.where(is_gap, found.after, found.before), known)
    times = times_of(np.full(len(duration), _NO_TIME))  # not a time
    if len(packets):
        shift = found.start - packets["relative"].to_numpy()[known]
        stamp = nanoseconds(packets["absolute"])[known]
        times = times_of(stamp + np.rint(shift * 1e9).astype(np.int64))
    numbers, connections = packets.index.to_numpy(), packets["connection"].to_numpy()
    nobody = found.before == NOBODY, found.after == NOBODY
    return pd.DataFrame(
        {
            "kind": pd.Series(found.kind, dtype="str"),
            "cause": pd.Series(found.cause, dtype="str"),
            "start": found.start,
            "end": found.end,
            "duration": duration,
            "samples": found.samples,
            "absolute": times,
            "before": _masked(numbers, found.before, nobody[0]),
            "after": _masked(numbers, found.after, nobody[1]),
            "connection_before": _masked(connections, found.before, nobody[0]),
            "connection_after": _masked(connections, found.after, nobody[1]),
            "evidence": pd.Series(found.evidence, dtype="str"),
        }
    )


def _masked(
    values: npt.NDArray[np.generic], at: Positions, nobody: npt.NDArray[np.bool_]
) -> pd.api.extensions.ExtensionArray:
    """Return values at positions as Int64, NA where there is nobody."""
    taken = values[at].astype(np.int64) if len(values) else np.zeros(len(at), np.int64)
    return pd.arrays.IntegerArray(taken, nobody.copy())


def epoch_table(capture: Capture) -> pd.DataFrame:
    """Return the epochs of a capture as the frame of :func:`recall_lab.epochs`."""
    epochs, packets = capture.epochs, capture.packets
    known = np.flatnonzero(np.isfinite(epochs.media))
    number = epochs.epoch[known]
    heads = np.flatnonzero(np.diff(number.astype(np.int64), prepend=-1))
    first = known[heads]
    last = known[np.append(heads[1:], len(known)) - 1] if len(known) else first
    media, relative = epochs.media, packets["relative"].to_numpy()
    lasts = packets["samples"].to_numpy() / RATE
    ends = np.maximum.reduceat((media + lasts)[known], heads) if len(heads) else media[first]
    back = {one.at: -one.seconds for one in epochs.breaks if one.kind == "restart"}
    evidence = [
        f"relative fell back by {back[at]:.3f} s while the other clocks went on"
        if at in back
        else "the first"
        for at in first.tolist()
    ]
    return pd.DataFrame(
        {
            "start": media[first],
            "end": ends,
            "relative": relative[first],
            "absolute": times_of(nanoseconds(packets["absolute"])[first]).array,
            "first": first,
            "last": last,
            "packets": np.diff(heads, append=len(known)),
            "evidence": pd.Series(evidence, dtype="str"),
        },
        index=pd.RangeIndex(len(first), name="epoch"),
    )
