"""One capture in one column of numbers, and one line that says how good it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, overload

import numpy as np
import pandas as pd

from recall_lab.analysis.causes import CAUSES
from recall_lab.analysis.clocks import nanoseconds, repaired_seconds, steps_of, timed, times_of
from recall_lab.analysis.drift import PAIRS, drifts
from recall_lab.analysis.gaps import find, gaps, line_up, seconds_pair
from recall_lab.analysis.loss import LOST
from recall_lab.analysis.timeline import covered
from recall_lab.analysis.timing import delay_percentiles, delays_of, running_jitter, stalls_of
from recall_lab.analysis.unkept import unkept
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity import HALF_SAMPLE
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, html_table
from recall_lab.wire.pcm import RATE

GOOD: Final = 99.9
"""Availability from which a capture is good, %."""

USABLE: Final = 99.0
"""Availability from which it is usable, %."""

_PERCENTILES: Final = ((50.0, "p50"), (95.0, "p95"), (99.0, "p99"), (100.0, "max"))


class Quality(pd.Series):
    """A series of numbers with a verdict, shown as one line of text or as a table.

    What is made from it (a part, a sum, a frame) is plain pandas; ``to_string()`` shows it all.
    """

    @property
    def _constructor(self) -> type[pd.Series[Any]]:
        return pd.Series

    def __repr__(self) -> str:
        missing = f"{self['missing s']:.3f} s missing in {counted(self['gaps'], 'gap')}"
        return f"<quality of {self.name}: {self['verdict']}; {missing}>"

    def _repr_html_(self) -> str:
        facts = {
            str(name): f"{value:,.6g}" if isinstance(value, float) else str(value)
            for name, value in self.items()
        }
        return html_table(f"Quality of {self.name}", facts)


@overload
def quality(capture: Capture, *, span: tuple[float, float] | None = None) -> Quality: ...
@overload
def quality(
    capture: Sequence[Capture], *, span: tuple[float, float] | None = None
) -> pd.DataFrame: ...


def quality(
    capture: Capture | Sequence[Capture], *, span: tuple[float, float] | None = None
) -> Quality | pd.DataFrame:
    """Return what there is to say of a capture in numbers, each with its unit in its name.

    Args:
        capture: one; or several, such as the streams of a recording
            (:func:`recall_lab.load_recording`): a row each.
        span: when the call began and ended, s on the relative clock; by default what the capture
            itself has seen.

    Returns:
        Series, or a frame with one row a stream:

        - ``verdict`` (str): ``good``, ``usable`` or ``poor``, with the threshold that made it
        - ``availability %``: audio there of the span; ``availability without silence %``: with
          mutes, pauses and silence by design not held against it: this makes the verdict
        - ``span s``, ``audio s``, ``missing s``, and ``missing s: CAUSE`` for each cause;
          ``repaired s``: filled in by :func:`recall_lab.repair`, so neither missing nor received
        - ``gaps``, ``overlaps``, ``duplicates``, ``conflicting duplicates``, ``reordered``,
          ``longest gap s``, ``packets``, ``packets without audio``, ``connections``
        - ``jitter ms`` (RFC 3550, the last), ``delay p50 ms`` to ``delay max ms`` (variation,
          RFC 5481), ``stalls``, ``stalls of the receiver``, ``longest stall s``
        - ``drift PAIR ppm`` for each pair of clocks, ``clock steps``
        - ``stamps rounded to ms`` (0 for exact ones), ``damage`` (str)

    Raises:
        MissingTimestamps: for audio without packets.

    Example:
        >>> quality(rl.load("data/standup-lossy.bin"))["verdict"]  # doctest: +SKIP
        'poor: 92.5 % of the audio is there (99 % would be usable)'
    """
    if isinstance(capture, Capture):
        return _quality(capture, seconds_pair(span))
    rows = [_quality(one, seconds_pair(span)) for one in capture]
    return pd.DataFrame(rows).rename_axis("stream")


def _quality(capture: Capture, span: tuple[float, float] | None) -> Quality:
    # by the arrays under the public functions: frames of each would cost most of the time
    packets = timed(capture)
    standing = timed(capture, repaired=True)
    line = line_up(standing)
    found = find(capture, standing, line, span)
    missing = found.kind == "gap"
    start, end = _span_of(capture, packets) if span is None else span
    low, high = (np.clip(edge[missing], start, end) for edge in (found.start, found.end))
    lost_by = found.cause[missing]
    by_cause = {cause: math.fsum((high - low)[lost_by == cause]) for cause in CAUSES}
    lost = sum(by_cause.values())
    held_against = sum(by_cause[cause] for cause in LOST)
    length = end - start
    expected = length - (lost - held_against)
    variation = delays_of(packets)[1]
    delays = delay_percentiles(variation) * 1e3
    held = stalls_of(capture, packets, variation)
    running = running_jitter(packets)[1]
    steps = steps_of(packets)
    rates = dict(zip(PAIRS, drifts(packets, steps), strict=True))
    repaired = repaired_seconds(capture.packets)
    there = 100 * (expected - held_against) / expected if expected > 0 else np.nan
    return Quality(
        {
            "verdict": _verdict(there, length)
            + (f", {repaired:.2f} s of it from a recording" if repaired else ""),
            "availability %": 100 * (length - lost) / length if length > 0 else np.nan,
            "availability without silence %": there,
            "span s": length,
            "audio s": capture.duration,
            "missing s": lost,
            **{f"missing s: {cause}": seconds for cause, seconds in by_cause.items()},
            "repaired s": repaired,
            "gaps": int(missing.sum()),
            "overlaps": int((found.kind == "overlap").sum()),
            "duplicates": int((found.kind == "duplicate").sum()),
            "conflicting duplicates": int((found.cause == "conflicting").sum()),
            "reordered": int((found.kind == "reordered").sum()),
            "longest gap s": float((found.end - found.start)[missing].max(initial=0.0)),
            "packets": len(packets),
            "packets without audio": int(np.count_nonzero(packets["samples"].to_numpy() == 0)),
            "connections": int(packets["connection"].nunique()),
            "jitter ms": 1e3 * float(running[-1]) if len(running) else np.nan,
            **{f"delay {name} ms": float(delays[at]) for at, name in _PERCENTILES},
            "stalls": len(held),
            "stalls of the receiver": sum(stall.cause == "receiver" for stall in held),
            "longest stall s": max((stall.duration for stall in held), default=0.0),
            **{f"drift {pair} ppm": float(rates[pair]["drift"]) for pair in PAIRS},
            "clock steps": len(steps),
            "stamps rounded to ms": 1e3 * line_up(packets).quantum,
            "damage": str(capture.damage),
        },
        name=capture.info.stem,
    )


def _verdict(there: float, length: float) -> str:
    """Say how good it is, and what made it so."""
    if not length > 0 or np.isnan(there):
        return "empty: no audio was expected"
    said = f"{there:.2f} % of the audio is there"
    if there >= GOOD:
        return f"good: {said} ({GOOD:g} % or more)"
    if there >= USABLE:
        return f"usable: {said} ({USABLE:g} % or more; {GOOD:g} % would be good)"
    return f"poor: {said} ({USABLE:g} % would be usable)"


def _span_of(capture: Capture, packets: pd.DataFrame) -> tuple[float, float]:
    """Return from when to when packets came, those included that could not be kept."""
    relative = packets["relative"].to_numpy()
    spans = [(one.start, one.end) for one in unkept(capture)]
    if len(relative):
        ends = relative + packets["samples"].to_numpy() / RATE
        spans.append((float(relative.min()), float(ends.max())))
    return (min(spans)[0], max(end for _, end in spans)) if spans else (0.0, 0.0)


def availability(
    capture: Capture, every: str | float = "10s", *, span: tuple[float, float] | None = None
) -> pd.DataFrame:
    """Return how much audio is there, window by window.

    Args:
        capture: live or loaded.
        every: length of a window: seconds, or a duration as pandas reads it (``"10s"``).
        span: beginning and end, s on the relative clock; by default those of the capture.

    Returns:
        One row a window: index ``start`` (s on the relative clock), and ``end`` (s; the last
        window may be shorter), ``absolute`` (datetime64[ns, UTC], of the start, by the packet
        nearest before), ``available`` (float64, 0 to 1), ``missing`` (s), ``gaps`` (int64, that
        touch it), ``packets`` (int64, that begin in it).

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a window or span that can't be.

    Example:
        >>> availability(cap, "1min")["available"].min()  # doctest: +SKIP
    """
    width = _width(every)
    packets = timed(capture)
    start, end = seconds_pair(span) or _span_of(capture, packets)
    if (end - start) / width > _MOST_WINDOWS:
        raise InvalidArgument("every", every, f"at most {_MOST_WINDOWS:,} windows in the span")
    edges = start + width * np.arange(int(np.ceil((end - start) / width - 1e-9)) + 1)
    edges[-1] = max(end, start)
    found = gaps(capture, span=(start, end))
    missing = found[found["kind"] == "gap"]
    low, high = missing["start"].to_numpy(), missing["end"].to_numpy()
    relative = packets["relative"].to_numpy()
    order = np.argsort(relative, kind="stable")
    ordered = relative[order]
    lost = np.diff(covered(low, high, edges))
    lengths = np.diff(edges)
    absolute = np.full(len(lengths), np.iinfo(np.int64).min)  # not a time
    if len(ordered):
        near = order[np.maximum(np.searchsorted(ordered, edges[:-1], "right") - 1, 0)]
        away = np.rint((edges[:-1] - relative[near]) * 1e9).astype(np.int64)
        absolute = nanoseconds(packets["absolute"])[near] + away
    return pd.DataFrame(
        {
            "end": edges[1:],
            "absolute": times_of(absolute).array,
            "available": 1 - lost / lengths,
            "missing": lost,
            "gaps": np.searchsorted(low, edges[1:] - HALF_SAMPLE)
            - np.searchsorted(high, edges[:-1] + HALF_SAMPLE),
            "packets": np.diff(np.searchsorted(ordered, edges)),
        },
        index=pd.Index(edges[:-1], name="start"),
    )


_MOST_WINDOWS = 10_000_000


def _width(every: str | float) -> float:
    try:
        is_text = isinstance(every, str)
        width = pd.Timedelta(every).total_seconds() if is_text else float(every)
    except (TypeError, ValueError):
        width = np.nan
    if not 1 / RATE <= width < 1e9:
        raise InvalidArgument("every", every, "a duration such as '10s' or 10.0")
    return width
