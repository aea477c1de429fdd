"""Samples that are read by slices: of an object in storage, as of an array."""

from __future__ import annotations

from typing import Final

import numpy as np

from recall_lab.capture.remote import RemoteBytes
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import SAMPLE_BYTES, SAMPLE_DTYPE, Samples

_PIECE: Final = 16 << 20  # bytes joined at once when a long stretch is read


class RemoteAudio:
    """The samples of a ``.bin`` in object storage: int16, fetched when they are read."""

    dtype: Final = SAMPLE_DTYPE

    def __init__(self, source: RemoteBytes) -> None:
        self._source = source

    def __len__(self) -> int:
        return self._source.size // SAMPLE_BYTES

    @property
    def nbytes(self) -> int:
        """Two for each sample."""
        return len(self) * SAMPLE_BYTES

    def __getitem__(self, part: slice) -> Samples:
        low, high, _ = slice_of(part, len(self))
        piece = _PIECE // SAMPLE_BYTES
        if high - low <= piece:
            data = self._source.read(low * SAMPLE_BYTES, high * SAMPLE_BYTES)
            return np.frombuffer(data, SAMPLE_DTYPE)
        samples = np.empty(high - low, SAMPLE_DTYPE)
        for at in range(low, high, piece):
            samples[at - low : at - low + piece] = self[at : min(at + piece, high)]
        samples.flags.writeable = False
        return samples

    def __repr__(self) -> str:
        return f"<RemoteAudio, {len(self):,} samples>"


def slice_of(part: slice, length: int) -> tuple[int, int, int]:
    """Return where a slice of samples begins and ends.

    Raises:
        InvalidArgument: for what is no slice, or has a step.
    """
    if not isinstance(part, slice) or part.step not in (None, 1):
        raise InvalidArgument("part", part, "a slice of samples without a step")
    low, high, step = part.indices(length)
    return low, max(low, high), step
