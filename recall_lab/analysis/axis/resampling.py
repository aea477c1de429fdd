"""Read audio at fractions of a sample."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Floats = npt.NDArray[np.float64]

SIDE: Final = 16
"""Samples on either side from which one between them is interpolated."""

_PHASES: Final = 512
_BETA: Final = 9.0  # of Kaiser's window: images are some 90 dB down


def interpolated(samples: npt.NDArray[np.generic], places: Floats, first: int) -> Floats:
    """Return samples at places between them.

    By a sinc of 32 samples under Kaiser's window (Smith, "Digital audio resampling", 2002), whose
    512 phases are interpolated linearly. Made for clocks: rates differ so little that nothing need
    be filtered out.

    Args:
        samples: one dimension; all from :data:`SIDE` before to :data:`SIDE` after the places.
        places: where to read, in samples, rising, shape ``(n,)``.
        first: the place of ``samples[0]``.

    Returns:
        float64, shape ``(n,)``, in the unit of the samples.
    """
    if not len(places):
        return np.empty(0)
    whole = np.floor(places).astype(np.int64)
    around = sliding_window_view(samples, 2 * SIDE)[whole - (SIDE - 1) - first]
    phase = (places - whole) * _PHASES
    lower = np.minimum(phase.astype(np.int64), _PHASES - 1)
    part = (phase - lower)[:, None]
    weights = _KERNEL[lower]
    weights += part * _SLOPES[lower]
    found: Floats = np.einsum("ij,ij->i", around, weights)
    return found


def _kernel() -> Floats:
    """Return the weights of 32 samples for each phase, from 0 to 1 sample."""
    away = np.arange(_PHASES + 1)[:, None] / _PHASES - np.arange(1 - SIDE, SIDE + 1)
    window = np.i0(_BETA * np.sqrt(np.maximum(1 - (away / SIDE) ** 2, 0))) / np.i0(_BETA)
    weights: Floats = np.sinc(away) * window
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


_KERNEL: Final = _kernel()
_SLOPES: Final = np.diff(_KERNEL, axis=0)
