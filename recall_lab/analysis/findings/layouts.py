"""How bytes can be laid out, told by what takes the fewest bits.

Sound changes little from one sample to the next; bytes that are put together in the wrong way do
not. So the same bytes are read in every layout, and the one is right whose steps from sample to
sample take the fewest bits: ``log2(1 + |step|)`` in the mean. That is how lossless coders choose
their predictor (T. Robinson, *SHORTEN*, 1994; RFC 9639, 9.2.5: FLAC), and needs no idea of what
sound is: speech, music and noise all take fewer bits than the same bytes read wrongly.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

LAYOUTS: Final = ("s16le", "s16be", "shifted", "mu-law", "a-law")
"""16 bits as they should be, with their bytes swapped, half a sample off; 8 bits of telephony."""

Floats = npt.NDArray[np.float32]

_BITS: Final = np.log2(1 + np.arange(2**17, dtype=np.float64)).astype(np.float32)


def _mu_law() -> npt.NDArray[np.int16]:
    """Return the place of each byte of mu-law among the 256 levels (ITU-T G.711, table 2)."""
    code = np.arange(256)
    size = (code & 0x7F) ^ 0x7F  # all bits are sent inverted
    return np.where(code & 0x80, size, -size - 1).astype(np.int16)


def _a_law() -> npt.NDArray[np.int16]:
    """Return the place of each byte of A-law among the 256 levels (ITU-T G.711, table 1)."""
    code = np.arange(256) ^ 0x55  # every other bit is sent inverted
    size = code & 0x7F
    return np.where(code & 0x80, size, -size - 1).astype(np.int16)


_COMPANDED: Final = {"mu-law": _mu_law(), "a-law": _a_law()}


def bits_of(pieces: npt.NDArray[np.int16]) -> Floats:
    """Return the bits that a step takes in each layout.

    Args:
        pieces: int16, shape ``(pieces, samples)``, each a stretch as it came.

    Returns:
        float32, shape ``(len(LAYOUTS),)``: bits for each 16 bits of the stream.
    """
    words = pieces.astype("<i2", copy=False)
    swapped = words.byteswap()
    whole = words.view("<u2")
    high, low = whole[:, :-1] >> 8, (whole[:, 1:] & 0xFF) << 8
    shifted = (high | low).view("<i2")
    found = [_mean_bits(words), _mean_bits(swapped), _mean_bits(shifted)]
    octets = np.ascontiguousarray(words).view(np.uint8)
    found += [2 * _mean_bits(_COMPANDED[law][octets]) for law in LAYOUTS[3:]]
    if not (whole & 0xFF).any():
        found[1] = found[2] = np.float32(np.inf)  # 8 bits' worth of sound: swapped it looks small
    return np.array(found, np.float32)


def phases_of(pieces: npt.NDArray[np.int16]) -> Floats:
    """Return how alike neighbours are, counted by twos: what tells two channels from one.

    Args:
        pieces: int16, shape ``(pieces, samples)``, each beginning with an even sample.

    Returns:
        float32: bits of the step within a pair, of the step from one pair to the next, of the
        step between samples two apart, and mean square of the even and of the odd samples.
    """
    wide = pieces.astype(np.int32)
    steps = _BITS[np.abs(np.diff(wide, axis=1))]
    apart = _BITS[np.abs(wide[:, 2:] - wide[:, :-2])]
    squares = np.square(wide, dtype=np.float64)
    return np.array(
        [
            steps[:, 0::2].mean(), steps[:, 1::2].mean(), apart.mean(),
            squares[:, 0::2].mean(), squares[:, 1::2].mean(),
        ],
        np.float32,
    )  # fmt: skip


def _mean_bits(samples: npt.NDArray[np.int16]) -> np.float32:
    steps = np.diff(samples.astype(np.int32), axis=1)
    return np.float32(_BITS[np.abs(steps, out=steps)].mean())
