"""Find audio that is missing, unexplained or twice, and damaged files.

What they tell of themselves is in :mod:`recall_lab.analysis.detectors.clocks`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.causes.dropped import dropped_spans
from recall_lab.analysis.causes.rules import NOTHING_TELLS
from recall_lab.analysis.detectors.clocks import findings_of_clocks
from recall_lab.analysis.findings.catalogue import CATALOGUE, Kind
from recall_lab.analysis.findings.values import Finding, Severity
from recall_lab.analysis.time.analysis import Analysis
from recall_lab.analysis.time.loss import KNOWN_LOST, UNEXPLAINED
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.events import of_kind
from recall_lab.text import counted, shortened

GROWING: Final = "it may still grow"
"""How the evidence of an open capture begins."""

_ROUNDED: Final = 1e-3 + HALF_SAMPLE  # s: a clock whose stamps are rounded to 1 ms moves by that
_LONGEST: Final = 200  # characters of what a journal says


def findings_of_time(known: Analysis) -> list[Finding]:
    """Find what is wrong with a capture by its clocks and files; no audio is read.

    Args:
        known: what was analysed.

    Returns:
        Findings, in no order.

    Example:
        >>> findings_of_time(analyse("data/standup-lossy.bin"))[0].finding  # doctest: +SKIP
        'missing'
    """
    capture = known.capture
    told = [*_files(capture), *_open(capture)]
    kind = CATALOGUE["no_timestamps"]
    if capture.packets.empty and capture.duration and not capture.damage.missing_payloads:
        return [*told, kind.found(capture.duration, "there is no index beside the audio")]
    if not np.isfinite(capture.media).any() and len(capture.packets):
        return [*told, kind.found(capture.duration, "no packet has a time that can be read")]
    for find in (_empty, _missing, _unexplained, _stood, _short, _dropped, _twice):
        told += find(known)
    return told + findings_of_clocks(known)


def expected_of(known: Analysis) -> float:
    """Return the seconds of audio that are to be expected: not what was silent by design."""
    lost = _lost(known, (*KNOWN_LOST, UNEXPLAINED))
    start, end = known.span
    silent = lost.of_all - lost.seconds
    return end - start - silent + known.unexplained


def _files(capture: Capture) -> list[Finding]:
    damage = capture.damage
    if not damage:
        return []
    worst = damage.missing_payloads + damage.damaged_records
    kind = CATALOGUE["damaged_files"]
    severity: Severity = "bad" if worst else "warning"
    return [kind.found(worst, f"its files are damaged: {damage}", severity=severity)]


def _open(capture: Capture) -> list[Finding]:
    """A capture whose last connection is not known to have ended, where a journal tells of any."""
    opened = set(of_kind(capture.events, "connected", "connection"))
    if not opened or capture.packets.empty:
        return []
    ended = set(of_kind(capture.events, "disconnected", "connection"))
    last = int(capture.packets["connection"].iloc[-1])
    if last not in opened or last in ended:
        return []
    evidence = f"{GROWING}: nothing tells that connection {last} has ended"
    return [CATALOGUE["open_capture"].found(1, evidence)]


def _empty(known: Analysis) -> list[Finding]:
    packets, damage = len(known.packets), known.capture.damage
    if len(known.order.starts) or damage.missing_payloads or damage.damaged_records:
        return []  # or there was some
    start, end = known.span
    brought = f"{counted(packets, 'packet')} in {end - start:.1f} s, none with any"
    evidence = f"there is no audio: {brought if packets else 'no packet came'}"
    return [CATALOGUE["empty"].found(end - start, evidence)]


class _Lost(NamedTuple):
    """Gaps of some causes, within the span.

    Attributes:
        low, high: of every gap, s.
        some: which are of these causes.
        seconds: that these last; `of_all`: that all gaps last.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    some: npt.NDArray[np.bool_]
    seconds: float
    of_all: float

    @property
    def longest(self) -> int:
        """Position of the longest of these."""
        return int(np.argmax(np.where(self.some, self.high - self.low, -1)))


def _lost(known: Analysis, causes: tuple[str, ...]) -> _Lost:
    missing = known.found.of("gap")
    start, end = known.span
    low, high = np.clip(missing.start, start, end), np.clip(missing.end, start, end)
    lasts = high - low
    some = np.isin(missing.cause.astype(str), causes) & (lasts > 0)
    return _Lost(low, high, some, float(lasts[some].sum()), float(lasts.sum()))


def _graded(kind: Kind, share: float) -> Severity | None:
    """Return that less than the threshold is a note; None for what the kind says itself."""
    return "note" if share < kind.threshold else None


def _within_scatter(known: Analysis, lost: _Lost, share: float) -> bool:
    """Whether so little is missing that stamps which miss by as much may have made it up."""
    longest = float(np.where(lost.some, lost.high - lost.low, 0.0).max(initial=0.0))
    bound = max(2 * known.order.scatter, _ROUNDED)
    return share < CATALOGUE["missing"].threshold and longest <= bound


def _missing(known: Analysis) -> list[Finding]:
    """What is known to be lost, by cause."""
    lost = _lost(known, KNOWN_LOST)
    expected = expected_of(known)
    share = 100 * lost.seconds / expected if expected > 0 else 0.0
    if not lost.seconds or _within_scatter(known, lost, share):
        return []
    causes = known.found.of("gap").cause.astype(str)
    lasts = lost.high - lost.low
    by_cause = {one: float(lasts[lost.some & (causes == one)].sum()) for one in KNOWN_LOST}
    ranked = sorted(by_cause.items(), key=lambda item: -item[1])
    told = ", ".join(f"{cause} {lasting:.2f} s" for cause, lasting in ranked if lasting > 0)
    gaps = counted(int(np.count_nonzero(lost.some)), "gap")
    evidence = f"{lost.seconds:.2f} of {expected:.1f} s are missing in {gaps}: {told}"
    at = lost.longest
    kind = CATALOGUE["missing"]
    low, high = float(lost.low[at]), float(lost.high[at])
    return [kind.found(share, evidence, low, high, severity=_graded(kind, share))]


def _unexplained(known: Analysis) -> list[Finding]:
    """What is not there of the mixed stream, and nothing tells why."""
    lost = _lost(known, (UNEXPLAINED,))
    expected = expected_of(known)
    share = 100 * lost.seconds / expected if expected > 0 else 0.0
    if not lost.seconds or _within_scatter(known, lost, share):
        return []
    at = lost.longest
    gaps = counted(int(np.count_nonzero(lost.some)), "gap")
    evidence = f"{lost.seconds:.2f} of {expected:.1f} s are not there, in {gaps}: "
    seen = str(known.found.of("gap").evidence[at])
    usual = seen.endswith(NOTHING_TELLS)
    evidence += "lost, or nobody was to be heard, which nothing tells"
    evidence += "" if usual else f" ({seen})"
    kind = CATALOGUE["unexplained_gap"]
    low, high = float(lost.low[at]), float(lost.high[at])
    return [kind.found(share, evidence, low, high, severity=_graded(kind, share))]


def _stood(known: Analysis) -> list[Finding]:
    if not known.stood:
        return []
    seconds, expected = sum(one.seconds for one in known.stood), expected_of(known)
    share = 100 * seconds / expected if expected > 0 else 100.0
    worst = max(known.stood, key=lambda one: one.seconds)
    at = float(known.standing["relative"].iloc[worst.after])
    times = "" if len(known.stood) == 1 else f", {counted(len(known.stood), 'time')}"
    evidence = (
        f"{seconds:.2f} s passed of which there is no audio{times}: the media clock stood while "
        "both wall clocks ran on (hidden loss, or a pause)"
    )
    kind = CATALOGUE["media_clock_stood"]
    return [kind.found(share, evidence, at, at, severity=_graded(kind, share))]


def _short(known: Analysis) -> list[Finding]:
    """A media clock that runs slower or faster than wall clocks, by more than an oscillator."""
    rate = known.clock_rate
    if rate is None:
        return []
    percent = round(abs(rate.ppm) / 1e4, 3)
    how = "slower" if rate.ppm < 0 else "faster"
    evidence = f"the media clock runs {percent:.2f} % {how} than {rate.than}"
    if rate.seconds:
        evidence = f"{rate.seconds:.2f} s of the call are not in the audio: {evidence}"
    elif not rate.sure:
        other = "our own contradicts it" if "sender" in rate.than else "the sender's contradicts it"
        evidence += f" ({other})"
    severity: Severity | None = None if rate.sure else "warning"
    return [CATALOGUE["clock_rate"].found(percent, evidence, severity=severity)]


def _dropped(known: Analysis) -> list[Finding]:
    of_files = len(known.capture.damage.missing_spans)
    lost = dropped_spans(known.capture)[of_files:]  # those that the journal tells
    if not lost:
        return []
    packets = sum(one.packets for one in lost)
    evidence = f"{counted(packets, 'packet')} came and could not be kept: "
    evidence += shortened(lost[0].why, _LONGEST)
    first, last = min(one.start for one in lost), max(one.end for one in lost)
    return [CATALOGUE["dropped"].found(packets, evidence, first, last)]


def _twice(known: Analysis) -> list[Finding]:
    told = []
    found = known.found
    conflicting = np.flatnonzero(found.cause == "conflicting")
    if len(conflicting):
        at, count = int(conflicting[0]), len(conflicting)
        brings = "brings" if count == 1 else "bring"
        evidence = f"{counted(count, 'packet')} {brings} other audio for a time that is there"
        kind = CATALOGUE["conflicting_audio"]
        told.append(kind.found(count, evidence, float(found.start[at]), float(found.end[at])))
    start, end = known.span
    overlaps = found.of("overlap")
    seconds = float(overlaps.duration.sum())
    share = 100 * seconds / (end - start) if end > start else 0.0
    kind = CATALOGUE["overlap"]
    if share >= kind.threshold:
        count = len(overlaps.start)
        begins = "begins" if count == 1 else "begin"
        evidence = (
            f"{seconds:.2f} of {end - start:.1f} s are there twice: {counted(count, 'packet')} "
            f"{begins} before the last has ended"
        )
        told.append(kind.found(share, evidence))
    again, packets = int(np.count_nonzero(found.cause == "exact")), len(known.packets)
    share = 100 * again / packets if packets else 0.0
    kind = CATALOGUE["duplicates"]
    if share >= kind.threshold:
        evidence = f"{again:,} of {counted(packets, 'packet')} came twice"
        told.append(kind.found(share, evidence))
    return told
