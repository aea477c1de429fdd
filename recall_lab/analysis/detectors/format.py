"""Find bytes of another format: containers, byte order, alignment, channels, rate."""

from __future__ import annotations

from typing import Final

import numpy as np

from recall_lab.analysis.detectors.counted import WINDOW, Scan
from recall_lab.analysis.detectors.layouts import LAYOUTS
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.arrays import runs_of
from recall_lab.wire.pcm import RATE

RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Sample rates that senders use, Hz."""

_FITS: Final = 0.02  # of the rate; see wrong_rate in the catalogue
_SURE: Final = 4.0  # standard errors
_CHANCE: Final = 0.25  # bits, by which the two phases of one channel may differ
_FAULTS: Final = {"s16be": "byte_order", "shifted": "alignment", "mu-law": "companded",
                  "a-law": "companded"}  # fmt: skip


def layout_findings(found: Scan) -> list[Finding]:
    """Find bytes in another layout: a finding for each span of windows that are alike."""
    bits = found.bits
    best = np.where(np.isnan(bits).any(axis=1), 0, np.argmin(np.nan_to_num(bits, nan=0), axis=1))
    saved = bits[:, 0] - np.take_along_axis(bits, best[:, None], axis=1)[:, 0]
    wrong = np.nan_to_num(saved) >= CATALOGUE["byte_order"].threshold
    best = np.where(wrong & (best != LAYOUTS.index("two channels")), best, 0)  # told elsewhere
    wrong = best > 0
    told = ~np.isnan(saved)
    findings = []
    for layout in np.unique(best[wrong]).tolist():
        kind = CATALOGUE[_FAULTS[LAYOUTS[layout]]]
        for first, last in _spans(best, told, layout):
            some = slice(first, last)
            whole = bool((best[told] == layout).all())
            gain = float(np.nanmean(saved[some]))
            findings.append(
                kind.found(
                    gain,
                    f"{_SAID[layout]} (so it is sound, {np.nanmean(bits[some, layout]):.1f} bits a "
                    f"step; as it stands noise, {np.nanmean(bits[some, 0]):.1f})",
                    *_times(found, first, last, whole),
                )
            )
    return findings


_SAID: Final = (
    "it is 16-bit little-endian", "the two bytes of each sample are swapped: read it big-endian",
    "samples are off by a byte: read it from the next byte on",
    "it is mu-law, not 16-bit samples: decode it", "it is A-law, not 16-bit samples: decode it",
    "two channels take turns",
)  # fmt: skip
"""What is wrong, by :data:`recall_lab.analysis.detectors.layouts.LAYOUTS`."""


def not_audio(found: Scan) -> list[Finding]:
    """Find data that is no sound in any layout."""
    kind = CATALOGUE["not_audio"]
    bits = found.bits[~np.isnan(found.bits[:, 0])]
    if not len(bits):
        return []
    least = float(np.median(bits.min(axis=1)))
    if least < kind.threshold:
        return []
    return [
        kind.found(least, f"it is no sound, but noise however it is read: {least:.1f} bits a step")
    ]


def channels_apart(found: Scan) -> float:
    """Return by how many bits samples are less alike their neighbours than they would be in mono.

    Of one channel, even and odd samples follow one another alike, and a sample is more like the
    next than the one after. Returns 0 or less for mono, up to several bits for two channels; NaN
    where nothing was heard.
    """
    heard = ~np.isnan(found.phases[:, 0])
    if not heard.any():
        return np.nan
    within, across, error = found.phases[heard].T
    apart = found.bits[heard, LAYOUTS.index("two channels")]
    uneven = float(np.median(np.abs(within - across)))
    nearer = float(np.median((within + across) / 2 - apart))
    chance = _SURE * float(np.median(error)) / np.sqrt(len(error))
    return max(
        uneven - _CHANCE if uneven >= chance else -_CHANCE,
        nearer if nearer >= chance else min(nearer, 0.0),
    )


def two_channels(found: Scan) -> list[Finding]:
    """Find two channels that are sent as one."""
    kind = CATALOGUE["two_channels"]
    by = channels_apart(found)
    if not by >= kind.threshold or found.tonal:
        return []
    within, across = np.nanmedian(found.phases[:, :2], axis=0).tolist()
    apart = float(np.nanmedian(found.bits[:, LAYOUTS.index("two channels")]))
    return [
        kind.found(
            by,
            "two channels are sent as one: each sample is like the next but one "
            f"({apart:.1f} bits a step), not like the next ({within:.1f} from even to odd samples, "
            f"{across:.1f} from odd to even)",
        )
    ]


def rates_that_fit(ratio: float, *, stereo: bool) -> list[int]:
    """Return the sample rates, Hz, that explain so many samples for the time.

    Args:
        ratio: samples there are, by samples that 16 kHz mono has in the time.
        stereo: whether two channels take turns (:func:`two_channels` tells).

    Example:
        >>> rates_that_fit(1.5, stereo=False), rates_that_fit(2.0, stereo=True)
        ([24000], [16000])
    """
    rate = ratio * RATE / (2 if stereo else 1)
    return [one for one in RATES if abs(rate - one) <= _FITS * one]


def wrong_rate(found: Scan, ratio: float) -> list[Finding]:
    """Judge more or fewer samples than time allows.

    Args:
        found: of the same audio, which tells two channels from twice the rate.
        ratio: samples there are, by samples that 16 kHz mono has in the time.

    Returns:
        ``two_channels`` if the sound has two; ``wrong_rate`` if the rate differs from 16 kHz.
    """
    findings = two_channels(found)
    rate = ratio * RATE / (2 if findings else 1)
    off = 100 * abs(rate / RATE - 1)
    kind = CATALOGUE["wrong_rate"]
    if not off >= kind.threshold:
        return findings
    fits = rates_that_fit(ratio, stereo=bool(findings))
    named = " or ".join(f"{one / 1000:g} kHz" for one in fits)
    how = f"sampled at {named}, not at 16 kHz" if fits else "sampled at no usual rate"
    channels = " in each of two channels" if findings else ""
    findings.append(
        kind.found(
            off,
            f"it is {how}: there are {ratio:.3f} times the samples "
            f"that the time has, {rate:,.0f} a second{channels}",
        )
    )
    return findings


def _spans(best: np.ndarray, told: np.ndarray, layout: int) -> list[tuple[int, int]]:
    """Return runs of windows of a layout; silent ones between them belong to them."""
    at = np.flatnonzero(told)
    runs = runs_of(best[at] == layout)
    return [(int(at[first]), int(at[last - 1]) + 1) for first, last in runs.tolist()]


def _times(found: Scan, first: int, last: int, whole: bool) -> tuple[float, float]:
    if whole:
        return np.nan, np.nan
    return found.time(first * WINDOW), found.end_time(min(last * WINDOW, found.samples))
