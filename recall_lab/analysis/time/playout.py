"""Simulate a player with a jitter buffer: what comes too late at each delay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.time.analysis import analyse
from recall_lab.arguments import number
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE


def playout(source: Any, delays: Sequence[float] | None = None) -> pd.DataFrame:
    """Return what a fixed playout delay would cost.

    The player starts so long after the fastest packet could have come, and from then on plays at
    the sender's rate: what has not come when its turn is there is late. Drift between the clocks
    is taken out, as a player that follows it would.

    Args:
        source: as for :func:`recall_lab.analyse`.
        delays: playout delays to try, s; by default 0 and a 1-2-5 series until nothing is late.

    Returns:
        Index ``delay`` (s, rising), and ``late`` (int64, packets), ``late_seconds`` (float64, s of
        audio) and ``late_share`` (float64, 0 to 1, of the audio received). A packet that came
        twice counts once, as it came first.

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for delays that can't be.

    Example:
        >>> playout(cap, [0.02, 0.05, 0.1])["late_share"]  # doctest: +SKIP
    """
    late, samples = _delays(source)
    if delays is None:
        grid = [factor * 10.0**power for power in range(-3, 5) for factor in (1, 2, 5)]
        enough = int(np.searchsorted(grid, late.max(initial=0.0))) + 1
        tried = np.array([0.0, *grid[:enough]])
    else:
        tried = _checked(delays)
    order = np.argsort(late, kind="stable")
    # audio that has come by each delay: what is left is late
    behind = np.concatenate([np.cumsum(samples[order][::-1])[::-1], [0]]) / RATE
    first = np.searchsorted(late[order], tried, "right")
    total = behind[0]
    return pd.DataFrame(
        {
            "late": len(late) - first,
            "late_seconds": behind[first],
            "late_share": behind[first] / total if total else np.zeros(len(tried)),
        },
        index=pd.Index(tried, name="delay"),
    )


def playout_delay(source: Any, late_share: float = 0.01) -> float:
    """Return the smallest playout delay, in s, at which no more than a share of the audio is late.

    Args:
        source: as for :func:`recall_lab.analyse`.
        late_share: 0 to 1, of the audio received.

    Returns:
        Seconds; 0.0 for a capture without audio.

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a share that is none.

    Example:
        >>> playout_delay(cap, 0.001)  # doctest: +SKIP
        0.12
    """
    late_share = number("late_share", late_share, 0, 1, "a share")
    late, samples = _delays(source)
    if not samples.any():
        return 0.0
    order = np.argsort(late, kind="stable")
    after = 1 - np.cumsum(samples[order]) / samples.sum()  # late if it plays as this one comes
    at = int(np.argmax(after <= late_share + 1e-12))
    return 0.0 if late_share == 1 else float(late[order][at])


def _delays(source: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return delay variation and samples of each packet with audio, the first of equal ones."""
    found = analyse(source)
    packets, variation = found.packets, found.delays[1]
    samples = packets["samples"].to_numpy()
    once = (samples > 0) & ~packets.duplicated(["relative", "samples", "payload_crc"]).to_numpy()
    return variation[once], samples[once].astype(np.int64)


def _checked(delays: Sequence[float]) -> npt.NDArray[np.float64]:
    try:
        tried = np.sort(np.atleast_1d(np.asarray(delays, float)))
    except (TypeError, ValueError):
        tried = np.array([np.nan])
    if tried.ndim != 1 or not np.all(tried >= 0) or not np.isfinite(tried).all():
        raise InvalidArgument("delays", delays, "seconds, 0 or more each")
    return tried
