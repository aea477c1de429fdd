"""Find what is odd about the clocks: restarts, leaps, steps, late packets, scatter."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from recall_lab.analysis.detectors.format import rates_that_fit
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding, Severity
from recall_lab.analysis.time.analysis import Analysis
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.epochs import REPLAYED
from recall_lab.capture.record import Flag
from recall_lab.text import counted
from recall_lab.wire.pcm import RATE

NOT_OURS: Final = "not 16 kHz mono"
"""How the evidence of another sample rate begins, where the sound was not looked at."""

_ALIKE: Final = 0.8  # of the packets last as long, against their slots, as the median does
_SAME: Final = 0.02  # share by which two of them may differ
_LEAST: Final = 9  # packets below which no ratio is told
_REAL: Final = 1e-3  # s: nobody hears a shorter loss
_HELD_UP: Final = 5.0  # s, from which late audio is a warning
_NEAR: Final = 1.0  # s between a step and a place where the media clock stood: the same
_MOST: Final = 1e6  # times: all at once


def findings_of_clocks(known: Analysis) -> list[Finding]:
    """Find what the clocks tell of themselves; there are packets with a time."""
    return [
        one
        for find in (
            _epochs,
            _leaps,
            _set,
            _unstamped,
            _samples,
            _replayed,
            _late,
            _stalled,
            _stamps,
        )
        for one in find(known)
    ]


def ratio_of(known: Analysis) -> float | None:
    """Return the samples there are by those that 16 kHz has in the time, if all packets agree.

    None where they do not: then some are missing, or come twice, and the rate is right; and where
    no rate that senders use would explain it.
    """
    if known.capture.packets.empty or len(known.order.starts) < _LEAST:
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


def rate_by_clocks(known: Analysis) -> list[Finding]:
    """Find another sample rate from the packets' lengths alone; the sound would tell more."""
    ratio = ratio_of(known)
    if ratio is None:
        return []
    fits = [f"{one / 1000:g} kHz" for one in rates_that_fit(ratio, stereo=False)]
    fits += [f"two channels at {one / 1000:g} kHz" for one in rates_that_fit(ratio, stereo=True)]
    fits += ["audio with so much missing from each packet"] if ratio < 1 else []
    evidence = (
        f"{NOT_OURS}, but {' or '.join(fits)}: there are {ratio:.3f} times the samples that "
        "the time has"
    )
    return [CATALOGUE["wrong_rate"].found(100 * abs(ratio - 1), evidence)]


def _epochs(known: Analysis) -> list[Finding]:
    epochs = known.epochs
    if len(epochs) < 2:
        return []
    again = epochs.iloc[1]
    more = len(epochs) - 2
    rest = f", and {counted(more, 'time')} more" if more else ""
    evidence = (
        f"two calls in one file, or a bot that came back: {again['evidence']}, at "
        f"{again['start']:.2f} s{rest}"
    )
    begin, end = float(again["start"]), float(epochs["end"].iloc[-1])
    return [CATALOGUE["epochs"].found(len(epochs), evidence, begin, end)]


def _leaps(known: Analysis) -> list[Finding]:
    leaps = [one for one in known.capture.epochs.breaks if one.kind == "leap"]
    if not leaps:
        return []
    most = max(leaps, key=lambda one: abs(one.seconds))
    at = float(known.capture.media[most.at])
    times = "" if len(leaps) == 1 else f" ({counted(len(leaps), 'leap')} in all)"
    evidence = (
        f"the media clock leaps by {most.seconds:+,.2f} s while the other clocks go on{times}; "
        "no audio is missing there"
    )
    return [CATALOGUE["clock_leap"].found(abs(most.seconds), evidence, at, at)]


def _set(known: Analysis) -> list[Finding]:
    kind = CATALOGUE["wall_clock_set"]
    stood = [float(known.standing["relative"].iloc[one.after]) for one in known.stood]
    steps = [
        step
        for step in known.clock_steps
        if abs(step[2]) >= kind.threshold and not any(abs(step[1] - at) < _NEAR for at in stood)
    ]
    if not steps:
        return []
    clock, at, by, *_ = max(steps, key=lambda step: abs(step[2]))
    whose = "the sender's" if clock == "absolute" else "our own"
    times = "" if len(steps) == 1 else f" ({counted(len(steps), 'step')} in all)"
    evidence = f"{whose} wall clock was set by {by:+.3f} s{times}"
    return [kind.found(abs(by), evidence, float(at), float(at))]


def _unstamped(known: Analysis) -> list[Finding]:
    kind = CATALOGUE["no_absolute_time"]
    flags = known.packets["flags"].to_numpy()
    count = np.count_nonzero(flags & int(Flag.UNSTAMPED))
    percent = 100 * count / len(flags) if count else 0.0
    if percent < kind.threshold:
        return []
    evidence = f"{count:,} of {counted(len(flags), 'packet')} told no absolute time"
    return [kind.found(percent, evidence)]


def _samples(known: Analysis) -> list[Finding]:
    kind = CATALOGUE["sample_clock"]
    rate, low, high = (
        float(known.drift[name]["samples/relative"]) for name in ("drift", "low", "high")
    )
    if not (abs(rate) >= kind.threshold and low * high > 0):
        return []
    told = "faster" if rate > 0 else "slower"
    evidence = f"the samples run {abs(rate):,.0f} ppm {told} than the media clock"
    return [kind.found(abs(rate), evidence)]


def _replayed(known: Analysis) -> list[Finding]:
    if not known.replayed:
        return []
    pace, rate = known.pace, known.clock_rate
    if rate is not None and abs(pace / (1 + 1e-6 * rate.ppm) - 1) <= REPLAYED:
        return []  # the sender's wall clock went as arrival did: told as the media clock's rate
    how = "all at once" if pace > _MOST else f"{pace:.3g} times as fast as they were spoken"
    evidence = f"a replay: packets came {how}"
    return [CATALOGUE["replayed"].found(min(pace, _MOST), evidence)]


def _late(known: Analysis) -> list[Finding]:
    if known.replayed:
        return []
    late = known.delays[1]
    late = late[np.isfinite(late)]
    kind = CATALOGUE["late_packets"]
    worst = float(np.quantile(late, 0.99)) if len(late) else 0.0
    if worst < kind.threshold:
        return []
    evidence = f"1 % of the packets came {worst:.2f} s or more later than the fastest"
    severity: Severity = "warning" if worst >= _HELD_UP else "note"
    return [kind.found(worst, evidence, severity=severity)]


def _stalled(known: Analysis) -> list[Finding]:
    own = [stall for stall in known.stalls if stall.cause == "receiver"]
    if not own:
        return []
    most = max(own, key=lambda stall: stall.duration)
    times = "" if len(own) == 1 else f", the longest of {counted(len(own), 'stall')}"
    evidence = f"the receiver was held up for {most.duration:.2f} s{times}"
    kind = CATALOGUE["receiver_stalls"]
    severity: Severity = "warning" if most.duration >= _HELD_UP else "note"
    return [kind.found(most.duration, evidence, most.start, most.end, severity=severity)]


def _stamps(known: Analysis) -> list[Finding]:
    scatter = known.order.scatter
    if scatter <= HALF_SAMPLE or not len(known.order.starts):
        return []
    usual = float(np.median(known.order.samples)) / RATE
    least = max(min(scatter, usual / 2), _REAL)
    rounded = known.order.quantum
    how = f"are rounded to {1e3 * rounded:g} ms" if rounded else "scatter"
    evidence = (
        f"stamps {how} and miss by up to {1e3 * scatter:.2f} ms: a single loss shorter than about "
        f"{1e3 * least:.0f} ms can't be told, and where a longer one lies only so nearly"
    )
    return [CATALOGUE["stamps_scatter"].found(1e3 * scatter, evidence)]
