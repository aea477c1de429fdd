"""What NumPy lacks: runs of a mask, long arrays part by part, values that rise, slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recall_lab.errors import InvalidArgument

_PART: Final = 1 << 15


def runs_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return where a mask is true without a break: first and last position, half-open.

    Returns:
        int64, shape ``(runs, 2)``, in order.

    Example:
        >>> runs_of(np.array([True, False, True, True])).tolist()
        [[0, 1], [2, 4]]
    """
    return np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)


def parts_of(count: int) -> Iterator[slice]:
    """Yield parts of an array that share one element with the next, for differences within them.

    Each stays in the processor's cache: of millions of elements, making room for all differences
    takes longer than to form them.

    Example:
        >>> list(parts_of(5)), list(parts_of(1))
        ([slice(0, 32769, None)], [])
    """
    for low in range(0, count - 1, _PART):
        yield slice(low, low + _PART + 1)


def rise(values: npt.NDArray[Any]) -> None:
    """Make values rise, in place: each becomes the largest so far.

    ``np.maximum.accumulate`` takes several times as long as to see that they rise already.
    """
    for part in parts_of(len(values)):
        some = values[part]
        if not (some[1:] >= some[:-1]).all():
            np.maximum.accumulate(values[part.start :], out=values[part.start :])
            return


def falls_of(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the positions of values that are larger than the next.

    Example:
        >>> falls_of(np.array([1, 3, 2, 2, 5, 4])).tolist()
        [1, 4]
    """
    found = [np.empty(0, np.int64)]
    for part in parts_of(len(values)):
        some = values[part]
        found.append(np.flatnonzero(some[1:] < some[:-1]) + part.start)
    return np.concatenate(found)


def slice_of(part: slice, length: int) -> tuple[int, int, int]:
    """Return where a slice of samples begins and ends.

    Raises:
        InvalidArgument: for what is no slice, or has a step.
    """
    if not isinstance(part, slice) or part.step not in (None, 1):
        raise InvalidArgument("part", part, "a slice of samples without a step")
    low, high, step = part.indices(length)
    return low, max(low, high), step
