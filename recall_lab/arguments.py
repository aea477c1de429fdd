"""Check numbers and durations that people give, with one wording."""

from __future__ import annotations

import math
from datetime import timedelta
from numbers import Integral, Real
from typing import Any, TypeAlias

from recall_lab.errors import InvalidArgument

Duration: TypeAlias = float | str | timedelta
"""Seconds, or what ``pandas.Timedelta`` reads, such as ``"200ms"``."""

FOREVER = 1e9
"""Seconds: no duration is as long."""


def whole(
    name: str, value: Any, least: int = 0, most: int | None = None, what: str = "a whole number"
) -> int:
    """Return a whole number, of Python or of NumPy, from `least` to `most`.

    Raises:
        InvalidArgument: for anything else; it says what is valid.

    Example:
        >>> whole("columns", 800, 1, 4000)
        800
    """
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if not good or value < least or (most is not None and value > most):
        upper = "or more" if most is None else f"to {most:,}"
        raise InvalidArgument(name, value, f"{what}, {least:,} {upper}")
    return int(value)


def number(
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    what: str = "a number",
    *,
    above: bool = False,
) -> float:
    """Return a number from `least` to `most`, or `above` the least.

    Raises:
        InvalidArgument: for anything else, NaN too; it says what is valid.

    Example:
        >>> number("speed", 10, 0, above=True)
        10.0
    """
    good = isinstance(value, Real) and not isinstance(value, bool)
    if not good or not least <= value <= most or (above and value == least):
        raise InvalidArgument(name, value, f"{what}, {_range(least, most, above)}")
    return float(value)


def duration(
    name: str,
    value: Any,
    least: float = 0.0,
    most: float = FOREVER,
    *,
    above: bool = False,
    what: str = "seconds",
) -> float:
    """Return a duration in seconds.

    Raises:
        InvalidArgument: for what is none, or not from `least` to `most`; it says what is valid.

    Example:
        >>> duration("every", 10), duration("every", "200ms"), duration("every", timedelta(hours=1))
        (10.0, 0.2, 3600.0)
    """
    seconds = _seconds(value)
    if not least <= seconds <= most or (above and seconds == least):
        valid = f"{what}, {_range(least, most, above)}, or a duration such as '500ms'"
        raise InvalidArgument(name, value, valid)
    return seconds


def _seconds(value: Any) -> float:
    """Return a duration in seconds; NaN for what is none."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, bool) and isinstance(value, Real):
        return float(value)
    if not isinstance(value, str) or value.replace(".", "", 1).strip().isdecimal():
        return math.nan  # "5" of what? pandas would say nanoseconds
    from pandas import Timedelta  # noqa: PLC0415 - the command line starts without it

    try:
        return float(Timedelta(value).total_seconds())
    except (ValueError, OverflowError):
        return math.nan


def _range(least: float, most: float, above: bool) -> str:
    if above:
        return f"above {least:g}" + ("" if most in (math.inf, FOREVER) else f", {most:g} at most")
    if most in (math.inf, FOREVER):
        return f"{least:g} or more"
    return f"{least:g} to {most:,.10g}"
