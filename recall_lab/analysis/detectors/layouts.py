"""Tell how bytes are laid out, by which layout takes the fewest bits.

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

LAYOUTS: Final = ("s16le", "s16be", "shifted", "mu-law", "a-law", "two channels")
"""16 bits as they should be, with their bytes swapped, half a sample off; 8 bits of telephony; and
every other sample of another channel."""

Floats = npt.NDArray[np.float32]

_BITS: Final = np.log2(1 + np.arange(2**17, dtype=np.float64)).astype(np.float32)


RANDOM: Final = 13.84 - 2 * 5.90
"""Bits by which random bytes take fewer as 8-bit levels than as 16-bit samples: that much is no
sign of companding. The mean of ``log2(1 + |a - b|)`` over all pairs of 65,536 and 256 levels."""

_ROUGHER: Final = 0.05  # by chance, of noise whose neighbours are not alike either way
_CERTAIN: Final = 4.5  # bits: where so many are saved, how rough it is says nothing
_ALIKE: Final = 1.0  # bits
_EMPTY: Final = 0.5  # of the low bytes are zero, and few are 255: sound of 8 bits or so
_SIGNS: Final = 0.05  # of them; swapped, the small samples of both signs have 0 and 255 there


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


COMPANDED: Final = {"mu-law": _mu_law(), "a-law": _a_law()}
"""Place of each byte among the 256 levels."""


def bits_of(pieces: npt.NDArray[np.int16]) -> Floats:
    """Return the bits that a step takes in each layout.

    Args:
        pieces: int16, shape ``(windows, pieces, samples)``, each piece a stretch as it came,
            beginning with an even sample.

    Returns:
        float32, shape ``(windows, len(LAYOUTS))``: bits for each 16 bits of the stream.
    """
    words = pieces.astype("<i2", copy=False)
    whole = words.view("<u2")
    bottom = whole & 0xFF
    shifted = ((whole[..., :-1] >> 8) | (bottom[..., 1:] << 8)).view("<i2")
    wide = words.astype(np.int32)
    octets = np.ascontiguousarray(words).view(np.uint8)
    read = [_bits_and_roughness(some) for some in (words, words.byteswap(), shifted)]
    found = np.stack(
        [
            *(bits for bits, _ in read),
            *(_code_bits(COMPANDED[law][octets]) for law in LAYOUTS[3:5]),
            _BITS[np.abs(wide[..., 2:] - wide[..., :-2])].mean(axis=(1, 2)),
        ],
        axis=1,
    )
    small = (bottom == 0).mean(axis=(1, 2)) > _EMPTY
    small &= (bottom == 0xFF).mean(axis=(1, 2)) < _SIGNS
    found[small, 1:3] = np.inf  # swapped it would look small, and be wrong
    for layout in (1, 2):  # bytes that are right make no rougher a wave
        rougher = read[layout][1] > read[0][1] + _ROUGHER
        found[rougher & (found[:, layout] > found[:, 0] - _CERTAIN), layout] = np.inf
    # swapped bytes put together from halves are nearly right, and the other way round: where both
    # are as good, the bends of the wave tell, which are smaller than its steps
    alike = np.isfinite(found[:, 1:3]).all(axis=1)
    alike[alike] = np.abs(found[alike, 1] - found[alike, 2]) < _ALIKE
    if alike.any():
        bends = [_bend_bits(some[alike]) for some in (words.byteswap(), shifted)]
        worse = np.where(bends[0] < bends[1], 2, 1)
        found[np.flatnonzero(alike), worse] = np.inf
    return found


def step_bits(values: npt.NDArray[np.integer]) -> float:
    """Return the bits that a step takes in the mean.

    Args:
        values: of at most 16 bits, shape ``(values,)``.
    """
    return float(_BITS[np.abs(np.diff(values.astype(np.int32)))].mean())


def phases_of(pieces: npt.NDArray[np.int16]) -> Floats:
    """Return how alike neighbours are, counted by twos: what tells two channels from one.

    Args:
        pieces: as for :func:`bits_of`.

    Returns:
        float32, shape ``(windows, 3)``: bits of the step within a pair, of the step from one
        pair to the next, and the standard error of their difference, from piece to piece.
    """
    steps = _BITS[np.abs(np.diff(pieces.astype(np.int32), axis=2))]
    within, across = steps[..., 0::2].mean(axis=2), steps[..., 1::2].mean(axis=2)
    error = (within - across).std(axis=1, ddof=1) / np.sqrt(pieces.shape[1])
    return np.stack([within.mean(axis=1), across.mean(axis=1), error], axis=1)


def _bits_and_roughness(samples: npt.NDArray[np.int16]) -> tuple[Floats, Floats]:
    """Return the bits of a step, and how rough the wave is: 1 less its correlation at a sample."""
    wide = samples.astype(np.int32)
    steps = np.diff(wide, axis=2)
    bits = _BITS[np.abs(steps)].mean(axis=(1, 2))
    squares = np.square(steps, dtype=np.float32).mean(axis=(1, 2))
    variance = wide.astype(np.float32).var(axis=(1, 2))
    return bits, squares / (2 * np.maximum(variance, 1e-9))


def _bend_bits(samples: npt.NDArray[np.int16]) -> Floats:
    bends = np.abs(np.diff(samples.astype(np.int32), n=2, axis=2))
    return np.asarray(_BITS[np.minimum(bends, len(_BITS) - 1)].mean(axis=(1, 2)))


def _code_bits(codes: npt.NDArray[np.int16]) -> Floats:
    """Return the bits of two steps of 8 bits, as many as 16 bits of the stream have."""
    return np.asarray(2 * _BITS[np.abs(np.diff(codes, axis=2))].mean(axis=(1, 2)) + RANDOM)
