"""Frames as a survey returns them, made up: of any size, with what goes wrong by days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from helpers.builders import NEW_YEAR
from recall_lab.surveys.measures import MEASURES, frame_of_rows

DAY = 86_400_000_000_000
HOUR = 3_600_000_000_000


def row(number: int = 0, *, day: float = 0, there: float = 100.0, **more: Any) -> dict[str, Any]:
    """Return one row: so much of an hour is there, the rest lost on the way."""
    lost = (100 - there) * 36
    kind = "good" if there >= 99.9 else "usable" if there >= 99 else "poor"
    said = f"{lost:.2f} of 3600.0 s are missing in 9 gaps: loss {lost:.2f} s"
    if kind == "good":
        said = "nothing is missing by its clocks, its sound was not looked at"
    values: dict[str, Any] = {
        "source": f"s3://calls/call-{number:06}.bin",
        "recording": f"call-{number:06}",
        "start": NEW_YEAR + round(day * DAY),
        "duration": 3600.0,
        "verdict": f"{kind}: {said}",
        "available_percent": there,
        "available_without_silence_percent": there,
        "span_s": 3600.0,
        "missing_s": lost,
        "missing_loss_s": lost,
        "silence_share": 0.0,
        "bytes": 10**8,
    }
    return values | more


def failed(
    number: int = 0, error: str = "StorageFailed: it is gone", **more: Any
) -> dict[str, Any]:
    """Return a row of a capture that could not be measured."""
    return {
        "source": f"s3://calls/call-{number:06}.bin",
        "recording": f"call-{number:06}",
        "bytes": 10**6,
        "error": error,
    } | more


def frame_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return rows as a survey does."""
    return frame_of_rows(rows, MEASURES)


def made_up(count: int, days: int, seed: int = 0) -> pd.DataFrame:
    """Return a survey: mostly good, a bad week, reconnects, storage, damage, failures."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        day = rng.uniform(0, days)
        bad = 0.45 < day / days < 0.55
        there = float(100 - min(rng.exponential(0.02) if rng.random() < 0.8 else
                                rng.exponential(0.6), 100))  # fmt: skip
        if bad and rng.random() < 0.4:
            there = float(rng.uniform(50, 99))
        one = row(number, day=day, there=there)
        lost = one["missing_s"]
        if bad:
            one |= {"missing_loss_s": lost * 0.2, "missing_reconnect_s": lost * 0.5}
            one |= {"missing_dropped_s": lost * 0.3}
        if rng.random() < 0.05:
            one |= {"missing_mute_s": 30.0, "missing_s": lost + 30}
        if rng.random() < 0.01:
            one |= {"damage": "34 bytes of a torn record"}
        if rng.random() < 0.005:
            one = failed(number, "MissingTimestamps: there are 10.000 s of audio, but no packets")
        elif rng.random() < 0.002:
            one = failed(number, start=one["start"])
        rows.append(one)
    return frame_of(*rows)
