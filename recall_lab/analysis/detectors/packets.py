"""Find what is wrong from packet to packet: repeated payloads, and leaps at joins."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.detectors.counted import Scan
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.capture.capture import Capture
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, Samples

_MOST_PERIOD: Final = 8  # packets in the ring of a sender that goes round and round
_LATER: Final = 0.5  # of a packet: what comes again under the same time is a duplicate
_QUIET: Final = 8  # a payload that never exceeds it may be alike by chance
_TONES: Final = 8  # that sound together: of a dial or ringing tone, with harmonics
_TONE: Final = 0.999  # of the power is theirs
_MOST_READ: Final = 100  # payloads read to see whether they sound: each is a request, far away
_STUCK: Final = 1.0  # s, from which it is bad
_LEAST_LEAPS: Final = 4  # three came in 2 of 600 clean calls of which nothing was known before


def clicks(found: Scan) -> list[Finding]:
    """Find leaps of the wave at joins of packets: steps such as there are none around."""
    kind = CATALOGUE["clicks"]
    count = len(found.leaps)
    share = 100 * count / found.joins if found.joins else 0.0
    if count < _LEAST_LEAPS or share < kind.threshold:
        return []
    return [
        kind.found(
            share,
            f"the wave leaps at {count:,} of {found.joins:,} joins of packets, by twice what it "
            "does within 1 ms around",
            found.time(int(found.leaps[0])),
            found.end_time(int(found.leaps[-1])),
        )
    ]


def stuck_packets(capture: Capture) -> list[Finding]:
    """Find payloads that come again and again, each under a later time.

    Silence and tones are alike from packet to packet by nature, and left out; so are duplicates,
    which come under the time that they had. What has no CRC is not looked at.
    """
    kind = CATALOGUE["stuck_packet"]
    packets = capture.packets.assign(relative=capture.media)
    packets = packets[(packets["samples"] > 0) & packets["relative"].notna()]
    again = _again(packets)
    kept = again & _sounding(capture, packets, again)
    rows = np.flatnonzero(kept)
    if len(rows) < kind.threshold:
        return []
    samples, relative = packets["samples"].to_numpy(), packets["relative"].to_numpy()
    seconds = float(samples[rows].sum()) / RATE
    last = rows[-1]
    return [
        kind.found(
            len(rows),
            f"the sender repeats itself: {len(rows):,} packets, {seconds:.2f} s, bring again what "
            "an earlier one brought",
            float(relative[rows[0]]),
            float(relative[last] + samples[last] / RATE),
            severity="bad" if seconds >= _STUCK else None,
        )
    ]


def _again(packets: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which packets bring what one of the few before them has brought, later."""
    crcs, samples = packets["payload_crc"].to_numpy(), packets["samples"].to_numpy()
    relative = packets["relative"].to_numpy()
    again = np.zeros(len(crcs), bool)
    for period in range(1, min(_MOST_PERIOD, len(crcs) - 1) + 1):
        alike = (crcs[period:] == crcs[:-period]) & (samples[period:] == samples[:-period])
        if alike.any():
            later = relative[period:] - relative[:-period] >= _LATER * samples[period:] / RATE
            again[period:] |= alike & later
    for size in np.unique(samples[again]).tolist():
        again &= crcs != zlib.crc32(bytes(SAMPLE_BYTES * size))
    return np.asarray(again & (crcs != 0))


def _sounding(
    capture: Capture, packets: pd.DataFrame, again: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which packets have a payload that sounds; of many, as most of those read do."""
    crcs = packets["payload_crc"].to_numpy()
    offset, samples = packets["offset"].to_numpy(), packets["samples"].to_numpy()
    kinds, first = np.unique(np.where(again, crcs, 0), return_index=True)
    some = kinds != 0
    kinds, first = kinds[some], first[some]
    read = np.unique(np.linspace(0, len(kinds) - 1, min(len(kinds), _MOST_READ)).astype(int))
    sounds = np.ones(len(kinds), bool)
    for one in read.tolist():
        at, size = int(offset[first[one]]), int(samples[first[one]])
        sounds[one] = _sounds(capture.audio[at : at + size])
    if len(read) and sounds[read].mean() < 0.5:
        sounds[np.setdiff1d(np.arange(len(kinds)), read)] = False
    return np.isin(crcs, kinds[sounds])


def _sounds(payload: Samples) -> bool:
    """Whether a payload is neither quiet nor a tone, which would be alike by nature."""
    step = max(int(np.gcd.reduce(payload)), 1)  # more than one, where it has less than 16 bits
    floats = payload.astype(np.float64)
    floats -= floats.mean()
    if np.abs(floats).max() <= _QUIET * step:
        return False
    # tones that come out alike in the next packet go through it a whole number of times
    power = np.sort(np.square(np.abs(np.fft.rfft(floats))))
    return bool(power[-_TONES:].sum() < _TONE * power.sum())
