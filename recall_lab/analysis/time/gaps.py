"""Find what is missing from a capture, and every other discontinuity of its media clock."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recall_lab.analysis.time.analysis import Analysis, Call, analyse, analyses_of
from recall_lab.arguments import Duration


def gaps(
    source: Any,
    *,
    call: Call | None = None,
    mute: Duration | None = None,
    tolerance: Duration | None = None,
) -> pd.DataFrame:
    """Return what is missing: spans of the call for which there is no audio.

    Args:
        source: as for :func:`recall_lab.analyse`; or a list of such, such as the streams of a
            recording.
        call, mute, tolerance: as for :func:`recall_lab.analyse`.

    Returns:
        One row a gap, by `start`:

        - ``kind`` (str): ``gap``
        - ``cause`` (str): ``reconnect``, ``loss``, ``mute``, ``silence`` (packets without audio),
          ``dropped``, ``receiver restart``, ``pause`` or ``unknown`` (see
          :mod:`recall_lab.analysis.causes.causes`)
        - ``start``, ``end``, ``duration`` (float64): s on the relative clock, half-open
        - ``samples`` (int64): the duration, in samples of :func:`recall_lab.timeline`
        - ``absolute`` (datetime64[ns, UTC]): the start on the sender's wall clock; NaT where no
          packet tells it
        - ``before``, ``after`` (Int64): the packets on either side
        - ``connection_before``, ``connection_after`` (Int64): which connections brought them
        - ``evidence`` (str): what the cause was told by

        Of a list, with a column ``stream`` (str) before them.

    Raises:
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        InvalidArgument: for a source or an option that can't be.

    Example:
        >>> rl.gaps("data/standup-lossy.bin")["duration"].sum()  # doctest: +SKIP
    """
    return _table(source, "gaps", call=call, mute=mute, tolerance=tolerance)


def discontinuities(
    source: Any,
    *,
    call: Call | None = None,
    mute: Duration | None = None,
    tolerance: Duration | None = None,
) -> pd.DataFrame:
    """Return every discontinuity of the media clock against the samples counted.

    Args:
        source, call, mute, tolerance: as for :func:`recall_lab.gaps`.

    Returns:
        The columns of :func:`recall_lab.gaps`, with

        - ``kind``: ``gap``, no audio there; ``overlap``, new audio that begins before the last
          ended; ``duplicate``, same time and length as an earlier packet; ``reordered``, arrived
          after one that begins later; ``unexplained``, time that passed by both wall clocks and
          not by the media clock: its start is its end, and its duration is of the wall clocks
        - ``cause``: of a gap as there; of a duplicate, ``exact`` or ``conflicting`` by the
          payload's checksum; of the unexplained, ``pause or hidden loss``; else ``""``
        - ``before``, ``after``: of a duplicate or what is late, the packet that it repeats or came
          behind, and itself

    Raises:
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        InvalidArgument: for a source or an option that can't be.

    Example:
        >>> rl.discontinuities("data/standup-lossy.bin").groupby("kind").size()  # doctest: +SKIP
    """
    return _table(source, "discontinuities", call=call, mute=mute, tolerance=tolerance)


def epochs(source: Any) -> pd.DataFrame:
    """Return where the media clock begins again: a bot that came back, or a second call.

    Args:
        source: as for :func:`recall_lab.analyse`.

    Returns:
        One row an epoch, index ``epoch`` (from 0): ``start``, ``end`` (float64, s on the one clock
        that all times are told by: ``Capture.media``), ``relative`` (float64, s: what its first
        packet says), ``absolute`` (datetime64[ns, UTC], likewise), ``first``, ``last``,
        ``packets`` (int64), ``evidence`` (str).

    Raises:
        InvalidArgument: for a source that can't be.

    Example:
        >>> len(rl.epochs("captures/9f3c.bin"))  # doctest: +SKIP
        1
    """
    found: pd.DataFrame = analyse(source).epochs.copy()
    return found


def _table(source: Any, what: str, **options: Any) -> pd.DataFrame:
    several = analyses_of(source, **options)
    if several is None:
        return _one(analyse(source, **options), what)
    parts = []
    for found in several:
        part = _one(found, what)
        part.insert(0, "stream", pd.Series(found.capture.info.stem, part.index, dtype="str"))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _one(found: Analysis, what: str) -> pd.DataFrame:
    table: pd.DataFrame = getattr(found, what)
    return table.copy(deep=False)
