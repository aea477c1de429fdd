"""The packets frame: one row a packet, in the order of arrival.

============  ====================  ====================================================
column        dtype                 meaning
============  ====================  ====================================================
relative      float64               sender's media clock at the first sample, s
absolute      datetime64[ns, UTC]   sender's wall clock at the first sample
received      datetime64[ns, UTC]   our wall clock at arrival
monotonic     int64                 our monotonic clock at arrival, ns; only differences mean
                                    something, and only within one boot of the machine
offset        int64                 position of the first sample in ``Capture.samples``
samples       int32                 number of samples; 16,000 are a second
connection    uint32                which connection of the recording brought it, from 1
sequence      uint32                number of the message within its connection, from 0
flags         uint32                what is odd: :class:`recall_lab.capture.record.Flag`
payload_crc   uint32                CRC-32 of the payload bytes
============  ====================  ====================================================

The index is a RangeIndex named ``packet``. It is plain pandas: slice it, plot it, write it to
Parquet. The three clocks stand as they came; none is ever corrected by another.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.arrays import falls_of
from recall_lab.capture.record import Records
from recall_lab.errors import InvalidFrame
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES

_UTC_NS: Final = pd.DatetimeTZDtype("ns", "UTC")

COLUMNS: Final[dict[str, np.dtype[np.generic] | pd.DatetimeTZDtype]] = {
    "relative": np.dtype(np.float64),
    "absolute": _UTC_NS,
    "received": _UTC_NS,
    "monotonic": np.dtype(np.int64),
    "offset": np.dtype(np.int64),
    "samples": np.dtype(np.int32),
    "connection": np.dtype(np.uint32),
    "sequence": np.dtype(np.uint32),
    "flags": np.dtype(np.uint32),
    "payload_crc": np.dtype(np.uint32),
}
"""Name and dtype of every column, in order."""

INDEX_NAME: Final = "packet"

_FAR: Final = 1 << 61  # ns: 73 years


def storage_dtype(column: str) -> np.dtype[np.generic]:
    """Return the NumPy dtype that holds `column` in memory: times are int64 nanoseconds."""
    dtype = COLUMNS[column]
    return dtype if isinstance(dtype, np.dtype) else np.dtype(np.int64)


def column_of(records: Records, column: str) -> npt.NDArray[np.generic]:
    """Return one column of the frame from index records, as a new contiguous array."""
    if column == "offset":
        return (records["offset"] // SAMPLE_BYTES).astype(np.int64)
    if column == "samples":
        return (records["length"] // SAMPLE_BYTES).astype(np.int32)
    return np.ascontiguousarray(records[column], storage_dtype(column))


def frame_of(arrays: dict[str, npt.NDArray[np.generic]]) -> pd.DataFrame:
    """Return a packets frame over `arrays`, one for each column, without copying them.

    pandas copies a column when it is written to as long as another frame shares it: whoever
    hands out shares of such a frame keeps the frame itself, and the arrays stay as they are.
    """
    columns: dict[str, Any] = {}
    for name, dtype in COLUMNS.items():
        array = arrays[name]
        if isinstance(dtype, pd.DatetimeTZDtype):
            # of int64 pandas makes times without a copy; from datetime64 it would make one
            columns[name] = pd.array(array, dtype=dtype, copy=False)
        else:
            columns[name] = array
    size = len(arrays["relative"])
    index = pd.RangeIndex(size, name=INDEX_NAME)
    return pd.DataFrame(columns, index=index, copy=False)


def frame_of_records(records: Records) -> pd.DataFrame:
    """Return the packets frame of index records."""
    return frame_of({name: column_of(records, name) for name in COLUMNS})


def empty_frame() -> pd.DataFrame:
    """Return a packets frame without packets."""
    return frame_of({name: np.empty(0, storage_dtype(name)) for name in COLUMNS})


def check_frame(packets: pd.DataFrame) -> None:
    """Raise unless `packets` keeps the contract of this module.

    Further columns are welcome; the ones above must be there with their dtypes, and counts and
    positions must not be negative.

    Raises:
        InvalidFrame: names the column, what it is and what it must be.

    Example:
        >>> check_frame(empty_frame())
    """
    if not isinstance(packets, pd.DataFrame):
        raise InvalidFrame(f"packets is a {type(packets).__name__}: expected a pandas DataFrame")
    for name, dtype in COLUMNS.items():
        if name not in packets.columns:
            have = ", ".join(map(str, packets.columns)) or "none"
            raise InvalidFrame(f"column {name!r} is missing (there are: {have})")
        if packets.columns.tolist().count(name) > 1:
            raise InvalidFrame(f"column {name!r} is there twice: expected one of that name")
        if packets[name].dtype != dtype:
            raise InvalidFrame(
                f"column {name!r} has dtype {packets[name].dtype}: expected {dtype}; "
                f"convert it with packets.astype({{{name!r}: {str(dtype)!r}}})"
            )
    for name in ("offset", "samples"):
        if len(packets) and packets[name].min() < 0:
            row = packets[name].idxmin()
            raise InvalidFrame(f"column {name!r} is {packets[name].min()} at {row}: must be >= 0")


def reach_of(packets: pd.DataFrame) -> int:
    """Return how many samples a capture of these packets has at least."""
    offsets, samples = packets["offset"].to_numpy(), packets["samples"].to_numpy()
    if not len(offsets):
        return 0
    last = int(offsets[-1]) + int(samples[-1])
    if last >= int(offsets.max()) + int(samples.max()):  # nearly always, and soon seen
        return last
    return int((offsets + samples).max())


def seconds(packets: pd.DataFrame) -> pd.Series[float]:
    """Return how long each packet lasts, in seconds, from its samples.

    Example:
        >>> seconds(empty_frame()).sum()
        0.0
    """
    return packets["samples"] / RATE


def nanoseconds(times: pd.Series[pd.Timestamp]) -> npt.NDArray[np.int64]:
    """Return a column of times as int64 ns since 1970 UTC, without a copy."""
    return times.to_numpy("datetime64[ns]").view(np.int64)


def arrivals(
    packets: pd.DataFrame, at: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """Return when each packet arrived, or those `at` some positions: s since the first.

    On our monotonic clock.

    Where the machine was started anew in between, and its monotonic clock with it, the wall
    clock bridges the two.

    Returns:
        Shape ``(packets,)``, or that of `at`; float64, exact to the nanosecond over a day.
    """
    monotonic = packets["monotonic"].to_numpy()
    if not len(monotonic):
        return np.empty(0)
    restarts = falls_of(monotonic) + 1
    if len(restarts):
        received = nanoseconds(packets["received"])
        monotonic = monotonic.copy()
        for new in restarts:
            wall, ours = (int(times[new]) - int(times[new - 1]) for times in (received, monotonic))
            monotonic[new:] += min(max(wall - ours, -_FAR), _FAR)  # stamps may be anything
    some = monotonic if at is None else monotonic[at]
    elapsed: npt.NDArray[np.float64] = (some - monotonic[0]) / 1e9
    return elapsed
