"""Sounds made up."""

from __future__ import annotations

import numpy as np

from recall_lab.wire.pcm import RATE


def chatter(seconds: float, seed: int) -> np.ndarray:
    """Return noise that swells and fades three times a second, full scale 1."""
    rng = np.random.default_rng((31, seed))
    size = round(seconds * RATE)
    swell = np.interp(
        np.arange(size), np.arange(0, size, RATE // 3), rng.uniform(-4, -1, size // (RATE // 3) + 1)
    )
    return (rng.normal(0, 1, size) * 10.0**swell).astype(np.float32)
