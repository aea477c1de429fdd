"""What NumPy lacks: runs of a mask, long arrays part by part, slices without a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

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


def slice_of(part: slice, length: int) -> tuple[int, int, int]:
    """Return where a slice of samples begins and ends.

    Raises:
        InvalidArgument: for what is no slice, or has a step.
    """
    if not isinstance(part, slice) or part.step not in (None, 1):
        raise InvalidArgument("part", part, "a slice of samples without a step")
    low, high, step = part.indices(length)
    return low, max(low, high), step
