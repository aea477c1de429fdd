"""The one audio format of the protocol: 16 kHz, mono, signed 16-bit little-endian PCM."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RATE: Final = 16_000
"""Samples per second."""

SAMPLE_BYTES: Final = 2
"""Bytes of one sample."""

SAMPLE_DTYPE: Final = np.dtype("<i2")
"""dtype of one sample as it travels and as it is kept."""

FULL_SCALE: Final = 32_768
"""Magnitude of the most negative sample: what 1.0 means as a float."""

Samples = npt.NDArray[np.int16]


def samples_of(data: bytes | bytearray | memoryview) -> Samples:
    """Return the samples in `data` as a read-only view; a last odd byte is left out.

    Args:
        data: PCM bytes.

    Returns:
        Array of shape ``(len(data) // 2,)``, dtype int16, range -32,768 to 32,767.

    Example:
        >>> samples_of(b"\\x01\\x00\\xff\\xff").tolist()
        [1, -1]
    """
    view = np.frombuffer(data, SAMPLE_DTYPE, count=len(data) // SAMPLE_BYTES)
    view.flags.writeable = False
    return view


def bytes_of(samples: npt.ArrayLike) -> bytes:
    """Return `samples` as PCM bytes.

    Args:
        samples: one-dimensional, any dtype whose values are integers from -32,768 to 32,767.

    Raises:
        ValueError: for another shape, or values that 16 bits can't hold.

    Example:
        >>> bytes_of([1, -1])
        b'\\x01\\x00\\xff\\xff'
    """
    array = np.asarray(samples)
    if array.ndim != 1:
        raise ValueError(f"samples have shape {array.shape}: expected one dimension")
    if array.dtype == SAMPLE_DTYPE:
        return array.tobytes()
    with np.errstate(invalid="ignore"):  # NaN and 1e10 are told by what they become
        cast = array.astype(SAMPLE_DTYPE)
    if not np.array_equal(cast, array):
        raise ValueError("samples hold values that signed 16-bit integers can't")
    return cast.tobytes()


def seconds_of(byte_count: int) -> float:
    """Return how long `byte_count` bytes of audio last, in seconds.

    Example:
        >>> seconds_of(6_400)
        0.2
    """
    return byte_count / (SAMPLE_BYTES * RATE)
