"""What the clocks and files tell of a capture: missing, unexplained, late, doubtful."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from recall_lab.analysis.analysis import Analysis
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.format import rates_that_fit
from recall_lab.analysis.findings.values import Finding
from recall_lab.analysis.loss import KNOWN_LOST, UNEXPLAINED
from recall_lab.analysis.unkept import unkept
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity import HALF_SAMPLE
from recall_lab.capture.events import of_kind
from recall_lab.text import counted
from recall_lab.wire.pcm import RATE

_ALIKE: Final = 0.8  # of the packets last as long, against their slots, as the median does
_SAME: Final = 0.02  # share by which two of them may differ
_DRIFT: Final = ("drift", "low", "high")
_REAL: Final = 1e-3  # s: shorter ones together are told as one


def findings_of_time(known: Analysis) -> list[Finding]:
    """Find what is wrong with a capture by its clocks and files; no audio is read.

    Args:
        known: what was analysed.
    """
    capture = known.capture
    told = [*_files(capture), *_open(capture)]
    if capture.packets.empty and capture.duration and not capture.damage.missing_payloads:
        kind = CATALOGUE["no_timestamps"]
        return [*told, kind.found(capture.duration, "the audio has no index beside it")]
    if not np.isfinite(capture.media).any() and len(capture.packets):
        kind = CATALOGUE["no_timestamps"]
        return [*told, kind.found(capture.duration, "no packet's time can be read")]
    for find in (_empty, _missing, _unexplained, _stood, _short, _dropped, _twice, _epochs, _leaps,
                 _clocks, _arrival, _stamps):  # fmt: skip
        told += find(known)
    return told


def ratio_of(known: Analysis) -> float | None:
    """Return the samples there are by those that 16 kHz has in the time, if all packets agree.

    None where they do not: then some are missing, or come twice, and the rate is right; and where
    no rate that senders use would explain it.
    """
    if known.capture.packets.empty or len(known.order.starts) < 9:
        return None
    order = known.order
    each = order.samples[:-1] / RATE
    slots = order.starts[1:] - order.starts[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = each / slots
    ratio = float(np.median(ratios))
    if not math.isfinite(ratio) or abs(ratio - 1) < _SAME:
        return None
    if np.mean(np.abs(ratios - ratio) < _SAME * ratio) < _ALIKE:
        return None
    fits = rates_that_fit(ratio, stereo=False) or rates_that_fit(ratio, stereo=True)
    return ratio if fits else None


def expected_of(known: Analysis) -> float:
    """Return the seconds of audio that are to be expected: not what was silent by design."""
    missing = known.found.of("gap")
    start, end = known.span
    low, high = np.clip(missing.start, start, end), np.clip(missing.end, start, end)
    lost = np.isin(missing.cause.astype(str), (*KNOWN_LOST, UNEXPLAINED))
    silent = float((high - low)[~lost].sum())
    return end - start - silent + known.unexplained


def _files(capture: Capture) -> list[Finding]:
    damage = capture.damage
    if not damage:
        return []
    worst = damage.missing_payloads + damage.damaged_records
    kind = CATALOGUE["damaged_files"]
    return [kind.found(worst, str(damage), severity="bad" if worst else "warning")]


def _open(capture: Capture) -> list[Finding]:
    """A capture whose last connection is not known to have ended, where a journal tells of any."""
    opened = list(of_kind(capture.events, "connected", "connection"))
    if not opened or capture.packets.empty:
        return []
    ended = set(of_kind(capture.events, "disconnected", "connection"))
    left = [number for number in opened if number not in ended]
    last = int(capture.packets["connection"].iloc[-1])
    if last not in left:
        return []
    evidence = f"the journal tells of no end of connection {last}: it is open, or was cut off"
    return [CATALOGUE["open_capture"].found(1, evidence)]


def _empty(known: Analysis) -> list[Finding]:
    if len(known.order.starts):
        return []
    start, end = known.span
    packets = counted(len(known.packets), "packet")
    evidence = f"{packets}, none with audio, in {end - start:.1f} s"
    return [CATALOGUE["empty"].found(end - start, evidence)]


def _missing(known: Analysis) -> list[Finding]:
    """What is known to be lost, by cause."""
    missing = known.found.of("gap")
    start, end = known.span
    low, high = np.clip(missing.start, start, end), np.clip(missing.end, start, end)
    lasts, causes = high - low, missing.cause.astype(str)
    lost = np.isin(causes, KNOWN_LOST) & (lasts > 0)
    seconds, expected = float(lasts[lost].sum()), expected_of(known)
    share = 100 * seconds / expected if expected > 0 else 0.0
    kind = CATALOGUE["missing"]
    if share < kind.threshold:
        return []
    by_cause = {cause: float(lasts[lost & (causes == cause)].sum()) for cause in KNOWN_LOST}
    ranked = sorted(by_cause.items(), key=lambda item: -item[1])
    told = ", ".join(f"{cause} {lasting:.2f} s" for cause, lasting in ranked if lasting > 0)
    gaps = counted(int(np.count_nonzero(lost)), "gap")
    evidence = f"{seconds:.2f} of {expected:.1f} s are missing in {gaps}: {told}"
    at = int(np.argmax(np.where(lost, lasts, -1)))
    return [kind.found(share, evidence, float(low[at]), float(high[at]))]


def _unexplained(known: Analysis) -> list[Finding]:
    """What is not there of the mixed stream, and nothing tells why."""
    missing = known.found.of("gap")
    start, end = known.span
    low, high = np.clip(missing.start, start, end), np.clip(missing.end, start, end)
    lasts = high - low
    some = (missing.cause.astype(str) == UNEXPLAINED) & (lasts > 0)
    seconds, expected = float(lasts[some].sum()), expected_of(known)
    share = 100 * seconds / expected if expected > 0 else 0.0
    kind = CATALOGUE["unexplained_gap"]
    if share < kind.threshold:
        return []
    at = int(np.argmax(np.where(some, lasts, -1)))
    gaps = counted(int(np.count_nonzero(some)), "gap")
    evidence = (
        f"{seconds:.2f} of {expected:.1f} s are not there in {gaps}, and nothing tells a loss "
        f"from the silence of all: {missing.evidence[at]}"
    )
    return [kind.found(share, evidence, float(low[at]), float(high[at]))]


def _stood(known: Analysis) -> list[Finding]:
    if not known.stood:
        return []
    seconds, expected = known.unexplained, expected_of(known)
    share = 100 * seconds / expected if expected > 0 else 100.0
    kind = CATALOGUE["media_clock_stood"]
    if share < kind.threshold:
        return []
    worst = max(known.stood, key=lambda one: one.seconds)
    at = float(known.standing["relative"].iloc[worst.after])
    evidence = (
        f"both wall clocks ran on while the media clock stood: {seconds:.2f} s in all, "
        f"{counted(len(known.stood), 'time')}"
    )
    return [kind.found(share, evidence, at, at)]


def _short(known: Analysis) -> list[Finding]:
    """A media clock that runs slower or faster than both others, by more than an oscillator."""
    rates = known.drift
    kind = CATALOGUE["clock_rate"]
    wall, low, high = (float(rates[name]["relative/absolute"]) for name in _DRIFT)
    if not abs(wall) > 1e6 * kind.threshold / 100 or not low * high > 0:
        return []
    ours = float(rates["drift"]["relative/received"])
    both = not known.replayed and abs(ours - wall) < abs(wall) / 2
    percent = abs(wall) / 1e4
    told = "slower" if wall < 0 else "faster"
    who = "both wall clocks" if both else "the sender's wall clock"
    evidence = f"the media clock runs {percent:.2f} % {told} than {who}"
    if wall < 0:
        lost = percent / 100 * (known.span[1] - known.span[0])
        evidence += f": {lost:.2f} s of the call are not in the audio"
    return [kind.found(percent, evidence)]


def _dropped(known: Analysis) -> list[Finding]:
    lost = unkept(known.capture)
    if not lost:
        return []
    packets = sum(one.packets for one in lost)
    why = lost[0].why
    evidence = f"{counted(packets, 'packet')} came and could not be kept: {why}"
    first, last = min(one.start for one in lost), max(one.end for one in lost)
    return [CATALOGUE["dropped"].found(packets, evidence, first, last)]


def _twice(known: Analysis) -> list[Finding]:
    told = []
    found = known.found
    conflicting = found.cause == "conflicting"
    if conflicting.any():
        count = int(np.count_nonzero(conflicting))
        at = int(np.flatnonzero(conflicting)[0])
        evidence = f"{counted(count, 'packet')} with other audio for a time that is there already"
        kind = CATALOGUE["conflicting_audio"]
        told.append(kind.found(count, evidence, float(found.start[at]), float(found.end[at])))
    start, end = known.span
    overlaps = found.of("overlap")
    seconds = float(overlaps.duration.sum())
    share = 100 * seconds / (end - start) if end > start else 0.0
    kind = CATALOGUE["overlap"]
    if share >= kind.threshold:
        who = counted(len(overlaps.start), "packet")
        evidence = f"{who} begin before the last has ended: {seconds:.2f} s are there twice"
        told.append(kind.found(share, evidence))
    again = found.of("duplicate")
    if len(again.start):
        packets = len(known.packets)
        share = 100 * len(again.start) / packets if packets else 0.0
        kind = CATALOGUE["duplicates"]
        if share >= kind.threshold:
            evidence = f"{len(again.start):,} of {packets:,} packets came twice"
            told.append(kind.found(share, evidence))
    return told


def _epochs(known: Analysis) -> list[Finding]:
    epochs = known.epochs
    if len(epochs) < 2:
        return []
    again = epochs.iloc[1]
    evidence = (
        f"relative begins again {counted(len(epochs) - 1, 'time')}: {again['evidence']} at "
        f"{again['start']:.2f} s"
    )
    begin = float(again["start"])
    return [CATALOGUE["epochs"].found(len(epochs), evidence, begin, float(epochs["end"].iloc[-1]))]


def _leaps(known: Analysis) -> list[Finding]:
    leaps = [one for one in known.capture.epochs.breaks if one.kind == "leap"]
    if not leaps:
        return []
    most = max(leaps, key=lambda one: abs(one.seconds))
    at = float(known.capture.media[most.at])
    evidence = (
        f"relative leaps {counted(len(leaps), 'time')} while the other clocks go on, once by "
        f"{most.seconds:,.2f} s"
    )
    return [CATALOGUE["clock_leap"].found(abs(most.seconds), evidence, at, at)]


def _clocks(known: Analysis) -> list[Finding]:
    told = []
    kind = CATALOGUE["wall_clock_set"]
    stood = [float(known.standing["relative"].iloc[one.after]) for one in known.stood]
    steps = [
        step
        for step in known.clock_steps
        if abs(step[2]) >= kind.threshold and not any(abs(step[1] - at) < 1 for at in stood)
    ]
    if steps:
        clock, at, by, *_ = max(steps, key=lambda step: abs(step[2]))
        whose = "the sender's" if clock == "absolute" else "our own"
        evidence = f"{whose} wall clock was set by {by:+.3f} s"
        told.append(kind.found(abs(by), evidence, float(at), float(at)))
    rate, low, high = (float(known.drift[name]["samples/relative"]) for name in _DRIFT)
    kind = CATALOGUE["sample_clock"]
    if abs(rate) >= kind.threshold and low * high > 0:
        evidence = f"the samples run {rate:+.1f} ppm against the media clock"
        told.append(kind.found(abs(rate), evidence))
    return told


def _arrival(known: Analysis) -> list[Finding]:
    if known.replayed:
        pace = known.pace
        fast = "all at once" if pace > 1e6 else f"{pace:.3g} times as fast as it was spoken"
        return [CATALOGUE["replayed"].found(min(pace, 1e9), f"packets came {fast}")]
    told = []
    late = known.delays[1]
    late = late[np.isfinite(late)]
    kind = CATALOGUE["late_packets"]
    worst = float(np.quantile(late, 0.99)) if len(late) else 0.0
    if worst >= kind.threshold:
        evidence = f"1 % of the packets came {worst:.2f} s later than the fastest, or more"
        told.append(kind.found(worst, evidence))
    own = [stall for stall in known.stalls if stall.cause == "receiver"]
    if own:
        most = max(own, key=lambda stall: stall.duration)
        evidence = f"the receiver was held up {counted(len(own), 'time')}, once for "
        evidence += f"{most.duration:.2f} s"
        kind = CATALOGUE["receiver_stalls"]
        told.append(kind.found(most.duration, evidence, most.start, most.end))
    return told


def _stamps(known: Analysis) -> list[Finding]:
    scatter = known.order.scatter
    if scatter <= HALF_SAMPLE or not len(known.order.starts):
        return []
    usual = float(np.median(known.order.samples)) / RATE
    least = min(scatter, usual / 2)
    rounded = known.order.quantum
    how = f"are rounded to {1e3 * rounded:g} ms" if rounded else "scatter"
    evidence = (
        f"stamps {how} and miss by up to {1e3 * scatter:.2f} ms: a loss shorter than about "
        f"{1e3 * max(least, _REAL):.0f} ms can't be told from that, and where one lies only to "
        f"{1e3 * scatter:.2f} ms"
    )
    return [CATALOGUE["stamps_scatter"].found(1e3 * scatter, evidence)]
