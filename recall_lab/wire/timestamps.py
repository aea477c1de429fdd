"""ISO 8601 timestamps of the protocol ⇄ nanoseconds since 1970-01-01 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from recall_lab.errors import InvalidMessage

VALID = (
    "an ISO 8601 time between 1678 and 2261 such as 2025-01-01T00:00:00.123456Z "
    "(a zone is optional: UTC)"
)

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  both ends of the subtraction are zoneless
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", re.ASCII)
_ISO = re.compile(
    rf"({_STAMP.pattern})"
    r"(?:[.,](\d{1,18}))?"
    r"(?: ?(?:([Zz])|([+-])(\d\d):?(\d\d)?))?",
    re.ASCII,
)
# what 64 bits of nanoseconds hold, less a day so that no zone can overflow them
_FIRST = -9_200_000_000
_LAST = 9_200_000_000


def parse_absolute(text: str) -> tuple[int, bool]:
    """Return the nanoseconds since the epoch that `text` means, and whether it named no zone.

    Digits beyond nanoseconds are dropped, a time without a zone is taken as UTC.

    Raises:
        InvalidMessage: when `text` is no such time.

    Example:
        >>> parse_absolute("1970-01-01 00:00:01.5")
        (1500000000, True)
    """
    if (
        len(text) == 27
        and text[26] == "Z"
        and text[19] == "."
        and text[20:26].isdecimal()
        and text.isascii()
    ):
        # the usual form: its seconds are those of the packet before, or of another bot's
        return _seconds(text[:19]) * _SECOND + int(text[20:26]) * 1_000, False
    match = _ISO.fullmatch(text)
    if match is None:
        raise _invalid(text)
    stamp, fraction, zulu, sign, hours, minutes = match.groups()
    seconds = _seconds(stamp)
    if sign:
        if int(hours) > 23 or int(minutes or 0) > 59:
            raise _invalid(text)
        offset = int(hours) * 3_600 + int(minutes or 0) * 60
        seconds -= offset if sign == "+" else -offset
    nanoseconds = seconds * _SECOND
    if fraction:
        nanoseconds += int(fraction[:9].ljust(9, "0"))
    return nanoseconds, zulu is None and sign is None


@lru_cache(maxsize=1_024)
def _seconds(stamp: str) -> int:
    """Return the seconds since the epoch of a time to the second, as it stands on a UTC clock."""
    if not _STAMP.fullmatch(stamp):
        raise _invalid(stamp)
    try:
        since = datetime.fromisoformat(stamp) - _EPOCH
    except ValueError:  # the 31st of June
        raise _invalid(stamp) from None
    seconds = since.days * 86_400 + since.seconds
    if not _FIRST < seconds < _LAST:
        raise _invalid(stamp)
    return seconds


def format_absolute(nanoseconds: int) -> str:
    """Return `nanoseconds` since the epoch as the protocol writes times: UTC, microseconds.

    Nanoseconds are written only where there are any, so that every value survives the way back.

    Raises:
        InvalidMessage: outside the years that :func:`parse_absolute` takes.

    Example:
        >>> format_absolute(1_735_689_600_123_456_000)
        '2025-01-01T00:00:00.123456Z'
    """
    seconds, rest = divmod(nanoseconds, _SECOND)
    if not _FIRST < seconds < _LAST:
        raise _invalid(nanoseconds)
    stamp = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime(
        "%Y-%m-%dT%H:%M:%S"
    )
    digits = f"{rest:09d}" if rest % 1_000 else f"{rest // 1_000:06d}"
    return f"{stamp}.{digits}Z"


def _invalid(text: object) -> InvalidMessage:
    return InvalidMessage("data.data.timestamp.absolute", text, VALID, reason="timestamp")
