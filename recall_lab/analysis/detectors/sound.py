"""Find what is wrong with the sound: silence, level, clipping, DC, hum, band, zeros for losses."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.detectors.counted import (
    FRAME,
    SLOT,
    SLOW,
    SPECTRUM,
    Scan,
    dbfs,
)  # fmt: skip
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.arrays import runs_of
from recall_lab.text import counted
from recall_lab.wire.pcm import FULL_SCALE, RATE

Mask = npt.NDArray[np.bool_]

_WHOLE: Final = 0.999  # of the call: what is all of it, but for a blip when somebody joins
_RUNS: Final = 10  # flat tops, in windows that have them; a single one may be a door
_MAINS: Final = (50.0, 60.0)
_HARMONICS: Final = 6
_LINE: Final = 10.0  # times the power beside it that a line of hum has
_HUM_WINDOWS: Final = 2  # of ten seconds: in less a voice or music may hold a tone
_BESIDE: Final = 0.05  # square of a sample: a line of hum is no thousandth of the last bit
_FAINTEST: Final = -85.0  # dBFS, of hum
_TEN_MS: Final = RATE // 100
_EDGE: Final = 0.1  # of the peak around: an edge so loud cuts a word
_SURE_EDGE: Final = 0.3
_EVERY: Final = 60.0  # s of speech, in which one may be by chance: a gate that closes too soon
_SPOKEN: Final = 15.0  # dB that peaks of words may lie below the RMS of the loudest second
_STEPS: Final = 32  # of the smallest there is: an edge so low may be rounding
_LOW: Final = -60.0  # dBFS of the loudest second
_AROUND: Final = 40  # frames of 5 ms on either side of a loss: 0.2 s
_LONGEST: Final = 5 * RATE  # samples: somebody may mute and unmute within words, but not so soon
_FAINT: Final = 1e-5  # of the loudest frequency, 50 dB: as in analysis/sound/summary.py
_ROUNDING: Final = 10 / 12 * 0.375 * SPECTRUM / (SPECTRUM / 4) ** 2 / 2  # ten times its power
_TOP: Final = 7_900.0  # Hz: what resamplers leave of rounding gathers above
_VOICE: Final = 200.0  # Hz: hum lies below


def silences(found: Scan, *, participant: bool = False) -> list[Finding]:
    """Find calls and stretches of zeros, or of nothing but the last bit.

    Args:
        found: of the call.
        participant: whether it is one participant's stream: who listens sends zeros, too, so a
            stretch is a note only, and a whole call of it a warning.
    """
    if not len(found.peak):
        return []
    findings = []
    for key, quiet in (
        ("digital_silence", found.peak == 0),
        ("last_bit_only", found.peak <= 1),
    ):
        kind = CATALOGUE[key]
        share = float(quiet.mean())
        if share >= _WHOLE:
            severity: Literal["bad", "warning", "note"] = "warning" if participant else "bad"
            seconds = len(quiet) * FRAME / RATE
            return [
                kind.found(
                    seconds,
                    f"{_QUIET[key]}: {100 * share:.4g} % of {seconds:.1f} s",
                    severity=severity,
                )
            ]
        for first, last in _runs(quiet, round(kind.threshold * RATE / FRAME)):
            if key == "last_bit_only" and (found.peak[first:last] == 0).mean() > _WHOLE:
                continue  # told already
            seconds = (last - first) * FRAME / RATE
            findings.append(
                kind.found(
                    seconds,
                    f"{_QUIET[key]} for {seconds:.1f} s without a break",
                    found.time(first * FRAME),
                    found.end_time(last * FRAME),
                    severity="note" if participant else None,
                )
            )
    return findings


_QUIET: Final = {
    "digital_silence": "nothing but zeros",
    "last_bit_only": "nothing but the last bit moves (-1, 0 and 1)",
}


def low_level(found: Scan) -> list[Finding]:
    """Find a call whose loudest second is too low to be worked with."""
    kind = CATALOGUE["level_low"]
    if len(found.power) < RATE // SLOT or not (found.peak > 1).any():
        return []  # less than a second, or silence, which is told elsewhere
    if found.loud >= kind.threshold:
        return []
    return [
        kind.found(
            found.loud,
            f"it is very low: the loudest second has {found.loud:.1f} dBFS, and no sample exceeds "
            f"{int(found.peak.max())} of {FULL_SCALE:,}",
        )
    ]


def clipping(found: Scan) -> list[Finding]:
    """Find peaks that are cut off, at full scale or below."""
    kind = CATALOGUE["clipping"]
    cut = sum(one.samples for one in found.clips)
    spoken = int(found.sounding.sum()) * SLOT
    share = 100 * cut / spoken if spoken else 0.0
    if cut < 3 * _RUNS or share < kind.threshold:
        return []
    longest = max(found.clips, key=lambda one: one.longest)
    top = 20 * np.log10(longest.top / FULL_SCALE)
    seconds = sum(one.samples > 0 for one in found.clips) * 10
    return [
        kind.found(
            share,
            f"peaks are cut off at {top:.1f} dBFS: {share:.2g} % of what sounds, {cut:,} samples "
            f"within {seconds} s of the call, the longest run {longest.longest}",
        )
    ]


_CUT: Final = 10  # samples at an end of the scale for each leap: the wave is cut off, and steep


def wrap_around(found: Scan) -> list[Finding]:
    """Find sums that were too large for 16 bits, and went on at the other end of the scale."""
    kind = CATALOGUE["wrap_around"]
    count = sum(found.wraps)
    if count < kind.threshold or count < sum(one.samples for one in found.clips) / _CUT:
        return []
    seconds = sum(one > 0 for one in found.wraps) * 10
    return [
        kind.found(
            count,
            f"the wave leaps from one end of the scale to the other {count:,} times within "
            f"{seconds} s of the call",
        )
    ]


def dc_offset(found: Scan) -> list[Finding]:
    """Find a mean that is not zero."""
    kind = CATALOGUE["dc_offset"]
    heard = found.energy > 0
    if not heard.any():
        return []
    mean = float(found.mean[heard].mean(dtype=np.float64))
    share = 100 * abs(mean) / FULL_SCALE
    if share < kind.threshold:
        return []
    return [
        kind.found(
            share,
            f"the wave does not swing about zero: its mean is {mean:+,.0f} of {FULL_SCALE:,}",
        )
    ]


def hum_of(found: Scan) -> tuple[float, float, int]:
    """Return the mains' frequency, Hz, the level of their hum, dBFS, and how many lines it has."""
    slow = found.slow[np.isfinite(found.slow).all(axis=1)]
    best = 0.0, -np.inf, 0
    if len(slow) < _HUM_WINDOWS:
        return best
    middle = np.percentile(slow, 25, axis=0)
    bins = np.arange(len(middle)) * (SLOW / 2 / (len(middle) - 1))
    for mains in _MAINS:
        total, lines = 0.0, 0
        for number in range(1, _HARMONICS + 1):
            hertz = mains * number
            near = np.abs(bins - hertz)
            line = float(middle[near <= 1].max())
            beside = float(np.median(middle[(near >= 3) & (near <= 12)]))
            if line > _LINE * max(beside, _BESIDE):
                total += line
                lines += 1
        level = dbfs(total)
        if lines >= 2 and level > best[1]:
            best = mains, level, lines
    return best


def mains_hum(found: Scan) -> list[Finding]:
    """Find a hum of the mains that is there all the time."""
    kind = CATALOGUE["mains_hum"]
    mains, level, lines = hum_of(found)
    below = level - found.loud
    if not (below >= kind.threshold and level >= _FAINTEST):
        return []
    return [
        kind.found(
            below,
            f"it hums at {mains:g} Hz and multiples: {lines} lines of {level:.1f} dBFS together, "
            f"{-below:.0f} dB below the loudest second",
        )
    ]


def bandwidth_of(found: Scan) -> float:
    """Return the highest frequency that is used, Hz; NaN where there is none.

    DC and hum are no measure of what is loud: both lie below 200 Hz, and are left out.
    """
    spectra = found.spectra[np.isfinite(found.spectra).all(axis=1)]
    if not len(spectra):
        return np.nan
    loud = np.percentile(spectra, 95, axis=0)
    hertz = np.arange(len(loud)) * (RATE / SPECTRUM)
    least = max(_FAINT * float(loud[hertz >= _VOICE].max()), _ROUNDING)
    used = np.flatnonzero((loud > least) & (hertz >= _VOICE) & (hertz <= _TOP))
    return float(hertz[used[-1]]) if len(used) else np.nan


def narrow_band(found: Scan) -> list[Finding]:
    """Find sound that ends where a telephone's does."""
    kind = CATALOGUE["narrow_band"]
    edge = bandwidth_of(found)
    if not edge <= kind.threshold:
        return []
    return [kind.found(edge, f"the sound ends at {edge:,.0f} Hz: what is above lies 50 dB lower")]


def zero_filled(found: Scan) -> npt.NDArray[np.int64]:
    """Return losses within words that were filled with zeros: first and last sample, half-open.

    They last from 10 ms to 5 s. Words are where the peak within 0.2 s is at most 15 dB below the
    RMS of the loudest second; an edge cuts into them where the last 5 ms are within 20 dB of that
    peak. A loss has two such edges, and lasts a multiple of 10 ms, as packets do (up to three
    samples more may be zero by chance). Where both edges are within 10 dB it may last anything;
    where the first is, the second may lie in a pause. A gate closes when it has been quiet, and
    opens at once. One that closes within 10 ms cuts into words as losses do, and is told as such.
    """
    runs, peak = found.zeros, found.peak
    if found.loud < _LOW:
        return runs[:0, :2]  # every pause is zeros, for want of bits
    length = runs[:, 1] - runs[:, 0]
    runs = runs[(length >= _TEN_MS) & (length <= _LONGEST)]
    if not len(runs):
        return runs[:, :2]
    steps = np.arange(_AROUND)
    before = peak[np.maximum((runs[:, 0] // FRAME)[:, None] - steps, 0)].max(axis=1)
    after = peak[np.minimum((runs[:, 1] // FRAME)[:, None] + steps, len(peak) - 1)].max(axis=1)
    least = int(np.gcd.reduce(peak))  # more than one, where the sound has less than 16 bits
    share = runs[:, 2:] / np.maximum(np.column_stack([before, after]), 1)
    spoken = dbfs_of_peak(np.column_stack([before, after])) >= found.loud - _SPOKEN
    spoken &= runs[:, 2:] >= _STEPS * least
    whole = (runs[:, 1] - runs[:, 0]) % _TEN_MS <= 3
    cut = (spoken & (share >= _EDGE)).all(axis=1) & (whole | (share >= _SURE_EDGE).all(axis=1))
    cut |= whole & (spoken & (share >= _SURE_EDGE))[:, 0]
    return runs[cut, :2]


def dbfs_of_peak(peak: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return peaks as dBFS."""
    level: npt.NDArray[np.float64] = 20 * np.log10(np.maximum(peak, 1) / FULL_SCALE)
    return level


def zero_filled_losses(found: Scan) -> list[Finding]:
    """Find losses that the sender filled with zeros."""
    kind = CATALOGUE["zero_filled_losses"]
    losses = zero_filled(found)
    if len(losses) < max(kind.threshold, float(found.sounding.sum()) * SLOT / RATE / _EVERY):
        return []
    seconds = float((losses[:, 1] - losses[:, 0]).sum()) / RATE
    spoken = float(found.sounding.sum()) * SLOT / RATE + seconds
    share = 100 * seconds / spoken
    first, last = int(losses[0, 0]), int(losses[-1, 1])
    return [
        kind.found(
            len(losses),
            f"words are cut by zeros {counted(len(losses), 'time')}: {seconds:.2f} s in all, "
            f"{share:.2g} % of what sounds",
            found.time(first),
            found.end_time(last),
            severity="bad" if share >= 1 else None,
        )
    ]


def _runs(mask: Mask, least: int) -> list[tuple[int, int]]:
    return [(first, last) for first, last in runs_of(mask).tolist() if last - first >= least]


DETECTORS: Final = (
    low_level, wrap_around, clipping, dc_offset, mains_hum, narrow_band, zero_filled_losses,
)  # fmt: skip
"""What looks at a scan of the sound, beside :func:`silences`."""
