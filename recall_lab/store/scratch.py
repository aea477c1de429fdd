"""Collect samples on disk until they are an array."""

from __future__ import annotations

import mmap
import tempfile
from typing import Final, Self

import numpy as np

from recall_lab.wire.pcm import SAMPLE_DTYPE, Samples

_IN_MEMORY: Final = 2**25  # bytes: up to 17 minutes no disk is touched


class Scratch:
    """Samples that are written one after another, and then read as one array.

    The longer ones are kept in an unnamed temporary file that is mapped:
    :func:`recall_lab.store.reader.release` gives back the memory of what was read of it.

    Example:
        >>> with Scratch() as scratch:
        ...     scratch.write(np.arange(3, dtype=np.int16))
        ...     scratch.samples()
        array([0, 1, 2], dtype=int16)
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Samples | memoryview) -> None:
        """Add samples, or the bytes of some.

        Raises:
            OSError: when the disk has no room for them.
        """
        view = np.ascontiguousarray(data).data.cast("B")
        self._file.write(view)
        self._size += view.nbytes

    def samples(self) -> Samples:
        """Return all that was written, read-only; it stays when the scratch is closed."""
        if self._size <= _IN_MEMORY:
            self._file.seek(0)
            return np.frombuffer(self._file.read(), SAMPLE_DTYPE)
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, SAMPLE_DTYPE)
