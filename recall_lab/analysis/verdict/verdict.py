"""List all findings of a capture, worst first, and sum them up in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from recall_lab.analysis.detectors.clocks import rate_by_clocks, ratio_of
from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.analysis.detectors.streams import findings_of_streams
from recall_lab.analysis.detectors.time import findings_of_time
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import SEVERITIES, Finding
from recall_lab.analysis.time.analysis import Analysis, Call, analyse, analyses_of
from recall_lab.arguments import Duration

WORDS: Final = {"bad": "poor", "warning": "usable"}
"""What a capture is called whose worst finding is of a severity; ``good`` without one."""

COLUMNS: Final = ("severity", "finding", "start", "end", "value", "unit", "evidence", "advice")
"""Of the frame of :func:`findings`."""

MISSING: Final = ("missing", "unexplained_gap", "media_clock_stood")
"""Findings of audio that is not there; less than their threshold is a note."""

_ABOUT: Final = ("format", "time", "streams", "sound")  # what spoils the rest is told first
_RESTATED: Final = ("missing", "overlap", "unexplained_gap")  # by a rate that is not 16 kHz
_RATE: Final = ("wrong_rate", "two_channels")


def findings(
    source: Any,
    *,
    call: Call | None = None,
    mute: Duration | None = None,
    tolerance: Duration | None = None,
    sound: bool = True,
) -> pd.DataFrame:
    """Return what is wrong with a capture, the worst first, with evidence and advice.

    All there can be is listed in docs/findings.md, with meaning, threshold and source.

    Args:
        source: as for :func:`recall_lab.analyse`; or a list of such. The streams of one recording
            are held against one another as well, and against its events and words
            (:func:`recall_lab.leaks`, :func:`recall_lab.attribution`).
        call, mute, tolerance: as for :func:`recall_lab.analyse`.
        sound: whether the samples are read; False: only clocks, packets and files are looked at.

    Returns:
        One row a finding: ``severity`` (str: ``bad``, ``warning``, ``note``), ``finding`` (str: a
        key that stays), ``start``, ``end`` (float64, s on the relative clock; NaN for the whole
        call), ``value`` (float64), ``unit`` (str), ``evidence`` (str: what was seen), ``advice``
        (str: what to do). Of a list, with a column ``stream`` (str) before them.

    Raises:
        InvalidArgument: for a source or an option that can't be.

    Example:
        >>> rl.findings("data/standup-lossy.bin")["finding"].tolist()  # doctest: +SKIP
        ['missing', 'conflicting_audio']
    """
    options: dict[str, Any] = {"call": call, "mute": mute, "tolerance": tolerance}
    several = analyses_of(source, **options)
    if several is None:
        return table_of(findings_of(analyse(source, **options), sound=sound))
    parts = []
    together = findings_of_streams([one.capture for one in several]) if sound else {}
    for known in several:
        more = together.get(known.capture.info.stem, [])
        part = table_of(ordered([*findings_of(known, sound=sound), *more]))
        part.insert(0, "stream", pd.Series(known.capture.info.stem, part.index, dtype="str"))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def findings_of(known: Analysis, *, sound: bool = True) -> list[Finding]:
    """Return the findings of what was analysed, the worst first; looked for once."""
    return known.once(_all_of if sound else _by_clocks)


def _by_clocks(known: Analysis) -> list[Finding]:
    rate = rate_by_clocks(known)
    return ordered([*rate, *_without_restated(known, bool(rate))])


def findings_of_sound(known: Analysis) -> list[Finding]:
    """Return what is wrong with the samples, the worst first; they are read."""
    if not len(known.capture.audio):
        return []
    return findings_of_samples(known.capture, ratio=ratio_of(known))


def _all_of(known: Analysis) -> list[Finding]:
    of_sound = known.once(findings_of_sound)
    rate = ratio_of(known) is not None and any(one.finding in _RATE for one in of_sound)
    return ordered([*of_sound, *_without_restated(known, rate)])


def _without_restated(known: Analysis, rate: bool) -> list[Finding]:
    """Return what the clocks tell; another sample rate looks to them like gaps or overlaps."""
    told = known.once(findings_of_time)
    return [one for one in told if one.finding not in _RESTATED] if rate else told


def ordered(told: Sequence[Finding]) -> list[Finding]:
    """Return findings in order: by severity, and then what spoils the rest first."""
    return sorted(
        told,
        key=lambda one: (
            SEVERITIES.index(one.severity), _ABOUT.index(CATALOGUE[one.finding].about)
        ),
    )  # fmt: skip


def table_of(told: Sequence[Finding]) -> pd.DataFrame:
    """Return findings as the frame of :func:`findings`."""
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        values = [getattr(one, name) for one in told]
        numeric = name in ("start", "end", "value")
        columns[name] = (
            pd.Series(values, dtype="float64") if numeric else pd.Series(values, dtype="str")
        )
    return pd.DataFrame(columns)


def word_of(told: Sequence[Finding]) -> str:
    """Return ``good``, ``usable``, ``poor`` or ``empty``: what a capture with these is called."""
    worst = min((SEVERITIES.index(one.severity) for one in told), default=len(SEVERITIES))
    word = WORDS.get(SEVERITIES[worst], "good") if told else "good"
    empty = any(one.finding == "empty" for one in told)
    return "empty" if empty and word != WORDS["bad"] else word


def verdict_of(told: Sequence[Finding], *, clocks: bool = True, sound: bool = True) -> str:
    """Return the one line that follows from findings, which are in order.

    Args:
        told: all there are.
        clocks, sound: whether clocks and files, and the samples, were looked at.

    Returns:
        The word, a colon, and the evidence of the worst finding; of a good one, what was looked
        at and what little is missing. Whether it may still grow is told at the end.
    """
    word = word_of(told)
    still = [one.evidence for one in told if one.finding == "open_capture"]
    end = "".join(f"; {evidence}" for evidence in still)
    if word == "good":
        parts = [_of_clocks(told)] if clocks else []
        parts += ["nothing is wrong with its sound"] if sound else ["its sound was not looked at"]
        return f"good: {', '.join(parts)}{end}"
    worst = [one for one in told if one.severity != "note"]
    first = next((one for one in worst if one.finding == "empty" == word), worst[0])
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    return f"{word}: {first.evidence}{more}{end}"


def _of_clocks(told: Sequence[Finding]) -> str:
    """Return what little is missing of a capture that is good."""
    little = [one.evidence for one in told if one.finding in MISSING]
    return "; ".join(little) or "nothing is missing by its clocks"
