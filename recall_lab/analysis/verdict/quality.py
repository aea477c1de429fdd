"""Describe a capture in one column of numbers and one line."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from recall_lab.analysis.axis.axis import covered
from recall_lab.analysis.causes.causes import CAUSES, missing_label
from recall_lab.analysis.clocks.columns import repaired_seconds, times_of
from recall_lab.analysis.clocks.delays import Stall, delay_percentiles
from recall_lab.analysis.clocks.rates import PAIRS, drift_label
from recall_lab.analysis.time.analysis import Analysis, Call, analyse, analyses_of
from recall_lab.analysis.time.loss import LOST
from recall_lab.analysis.verdict.verdict import findings_of, verdict_of
from recall_lab.arguments import Duration, duration
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.frame import nanoseconds
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, html_table
from recall_lab.wire.pcm import RATE

_PERCENTILES: Final = ((50.0, "p50"), (95.0, "p95"), (99.0, "p99"), (100.0, "max"))


class Quality(pd.Series):
    """A series of numbers with a verdict, shown as one line of text or as a table.

    What is made from it (a part, a sum, a frame) is plain pandas; ``to_string()`` shows it all.
    """

    @property
    def _constructor(self) -> type[pd.Series[Any]]:
        return pd.Series

    def __repr__(self) -> str:
        causes = [(cause, self[missing_label(cause)]) for cause in CAUSES]
        told = ", ".join(f"{cause} {seconds:.3f} s" for cause, seconds in causes if seconds > 0)
        gaps = counted(self["gaps"], "gap") + f" ({told})" * bool(told)
        return f"<quality of {self.name}: {self['verdict']}; {gaps}>"

    def _repr_html_(self) -> str:
        facts = {
            str(name): f"{value:,.6g}" if isinstance(value, float) else str(value)
            for name, value in self.items()
        }
        return html_table(f"Quality of {self.name}", facts)


def quality(
    source: Any,
    *,
    call: Call | None = None,
    mute: Duration | None = None,
    tolerance: Duration | None = None,
    sound: bool = True,
) -> Any:
    """Return what there is to say of a capture in numbers, each with its unit in its name.

    Args:
        source: as for :func:`recall_lab.analyse`; or a list of such, such as the streams of a
            recording (:func:`recall_lab.load_recording`): a row each.
        call, mute, tolerance: as for :func:`recall_lab.analyse`.
        sound: whether the verdict looks at the samples, too; False: by the clocks alone, without
            reading any audio.

    Returns:
        :class:`Quality`, a series; of a list, a frame with one row a stream:

        - ``verdict`` (str): ``good``, ``usable``, ``poor`` or ``empty``, with the evidence of the
          worst of :func:`recall_lab.findings`, from which it follows
        - ``available_percent``: audio there of the time that passed;
          ``available_without_silence_percent``: with mutes, pauses and silence by design not held
          against it
        - ``span_s``, ``audio_s``, ``missing_s``, and ``missing_CAUSE_s`` for each cause;
          ``twice_s``; ``unexplained_s``: time that passed by wall clocks, and not by the
          media clock, which stood or runs slow; ``repaired_s``: filled in by
          :func:`recall_lab.repair`, so neither missing nor received
        - ``gaps``, ``overlaps``, ``duplicates``, ``conflicting_duplicates``, ``reordered``,
          ``longest_gap_s``, ``packets``, ``packets_without_audio``, ``connections``, ``epochs``
        - ``jitter_ms`` (RFC 3550, the last), ``jitter_mean_ms``, ``jitter_max_ms``,
          ``delay_p50_ms`` to ``delay_max_ms`` (variation, RFC 5481), ``stalls``,
          ``receiver_stalls``, ``longest_stall_s``: NaN, or 0, for a replay
        - ``speed``: media time against arrival, 1 for a call; NaN where it is too short to tell
        - ``drift_A_B_ppm`` for each pair of clocks, ``clock_steps``, ``clock_leaps``
        - ``stamp_scatter_ms``: 97 % of the stamps miss by less (0 for exact ones);
          ``stamp_grid_ms``: to what they are rounded; ``damage`` (str)

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a source or an option that can't be.

    Example:
        >>> quality("data/standup-lossy.bin")["verdict"]  # doctest: +SKIP
        'poor: 1.10 of 12.0 s are missing in 6 gaps: loss 0.70 s, reconnect 0.40 s'
    """
    options: dict[str, Any] = {"call": call, "mute": mute, "tolerance": tolerance}
    several = analyses_of(source, **options)
    if several is None:
        return quality_of(analyse(source, **options), sound=sound)
    rows = [quality_of(one, sound=sound) for one in several]
    return pd.DataFrame(rows).rename_axis("stream")


def quality_of(found: Analysis, *, sound: bool = True) -> Quality:
    """Return the quality of what was analysed; `sound` as for :func:`quality`."""
    # by the arrays under the public functions: frames of each would cost most of the time
    capture, packets = found.capture, found.packets
    all_of = found.found
    missing = all_of.of("gap")
    start, end = found.span
    low, high = (np.clip(edge, start, end) for edge in (missing.start, missing.end))
    by_cause = {cause: math.fsum((high - low)[missing.cause == cause]) for cause in CAUSES}
    lost = sum(by_cause.values())
    held_against = sum(by_cause[cause] for cause in LOST) + found.unexplained
    length = end - start
    expected = length - lost + held_against
    passed = length + found.unexplained
    delays, running, late = _arrival(found)
    rates = found.drift["drift"]
    repaired = repaired_seconds(capture.packets)
    there = 100 * (expected - held_against) / expected if expected > 0 else np.nan
    kinds = all_of.kind
    return Quality(
        {
            "verdict": verdict_of(findings_of(found, sound=sound), sound=sound)
            + (f"; {repaired:.2f} s of it from a recording" if repaired else ""),
            "available_percent": 100 * (length - lost) / passed if passed > 0 else np.nan,
            "available_without_silence_percent": there,
            "span_s": length,
            "audio_s": capture.duration,
            "missing_s": lost,
            **{missing_label(cause): seconds for cause, seconds in by_cause.items()},
            "twice_s": found.twice,
            "unexplained_s": found.unexplained,
            "repaired_s": repaired,
            "gaps": len(missing.start),
            "overlaps": int((kinds == "overlap").sum()),
            "duplicates": int((kinds == "duplicate").sum()),
            "conflicting_duplicates": int((all_of.cause == "conflicting").sum()),
            "reordered": int((kinds == "reordered").sum()),
            "longest_gap_s": float(missing.duration.max(initial=0.0)),
            "packets": len(packets),
            "packets_without_audio": int(np.count_nonzero(packets["samples"].to_numpy() == 0)),
            "connections": int(packets["connection"].nunique()),
            "epochs": len(found.epochs),
            "jitter_ms": running[0],
            "jitter_mean_ms": running[1],
            "jitter_max_ms": running[2],
            **{f"delay_{name}_ms": delays[at] for at, name in _PERCENTILES},
            "stalls": len(late),
            "receiver_stalls": sum(stall.cause == "receiver" for stall in late),
            "longest_stall_s": max((stall.duration for stall in late), default=0.0),
            "speed": found.pace,
            **{drift_label(pair): float(rates[pair]) for pair in PAIRS},
            "clock_steps": len(found.clock_steps),
            "clock_leaps": sum(one.kind == "leap" for one in capture.epochs.breaks),
            "stamp_scatter_ms": 1e3 * found.order.scatter,
            "stamp_grid_ms": 1e3 * found.order.quantum,
            "damage": str(capture.damage),
        },
        name=capture.info.stem,
    )


def _arrival(
    found: Analysis,
) -> tuple[dict[float, float], tuple[float, float, float], list[Stall]]:
    """Return delays by percentile, jitter (last, mean, greatest), ms, and stalls."""
    unknown = (np.nan, np.nan, np.nan)
    if found.replayed:
        return dict.fromkeys((at for at, _ in _PERCENTILES), np.nan), unknown, []
    delays = delay_percentiles(found.delays[1]) * 1e3
    running = 1e3 * found.jitter[1]
    told = unknown
    if len(running):
        told = float(running[-1]), float(running.mean()), float(running.max())
    return {at: float(delays[at]) for at, _ in _PERCENTILES}, told, found.stalls


def availability(
    source: Any,
    every: Duration = "10s",
    *,
    call: Call | None = None,
    tolerance: Duration | None = None,
) -> pd.DataFrame:
    """Return how much audio is there, window by window.

    Args:
        source, call, tolerance: as for :func:`recall_lab.analyse`.
        every: length of a window: seconds, or a duration as pandas reads it (``"10s"``).

    Returns:
        One row a window: index ``start`` (s on the relative clock), and ``end`` (s; the last
        window may be shorter), ``absolute`` (datetime64[ns, UTC], of the start, by the packet
        nearest before), ``available_share`` (float64, 0 to 1), ``missing_s``, ``gaps`` (int64,
        that touch it), ``packets`` (int64, that begin in it).

    Raises:
        MissingTimestamps: for audio without packets.
        InvalidArgument: for a window or span that can't be.

    Example:
        >>> availability(cap, "1min")["available_share"].min()  # doctest: +SKIP
    """
    width = duration("every", every, 1 / RATE)
    known = analyse(source, call=call, tolerance=tolerance)
    packets = known.packets
    start, end = known.span
    if (end - start) / width > _MOST_WINDOWS:
        raise InvalidArgument("every", every, f"at most {_MOST_WINDOWS:,} windows in the span")
    edges = start + width * np.arange(int(np.ceil((end - start) / width - 1e-9)) + 1)
    edges[-1] = max(end, start)
    missing = known.found.of("gap")
    low, high = missing.start, missing.end
    relative = packets["relative"].to_numpy()
    order = np.argsort(relative, kind="stable")
    ordered = relative[order]
    lost = np.diff(covered(low, high, edges.astype(np.float64)))
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
            "available_share": 1 - lost / lengths,
            "missing_s": lost,
            "gaps": np.searchsorted(low, edges[1:] - HALF_SAMPLE)
            - np.searchsorted(high, edges[:-1] + HALF_SAMPLE),
            "packets": np.diff(np.searchsorted(ordered, edges)),
        },
        index=pd.Index(edges[:-1], name="start"),
    )


_MOST_WINDOWS = 10_000_000
