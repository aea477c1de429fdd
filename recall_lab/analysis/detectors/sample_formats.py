"""Samples of another format than 16-bit integers: floats, 24, 32 and 8 bits; and text.

Each of these looks like another fault, as two channels or another rate, and the cure for that would
make it worse. It is asked only where there is such a fault: what is right, a pure tone for one, may
look like them, too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.detectors.layouts import COMPANDED, RANDOM, step_bits
from recall_lab.analysis.findings.catalogue import CATALOGUE, FORMATS
from recall_lab.analysis.findings.values import Finding
from recall_lab.capture.capture import Capture

Bytes = npt.NDArray[np.uint8]

STRETCH: Final = 3_072
"""Bytes of a stretch that is looked at: whole samples of 2, 3 and 4 bytes."""

_STRETCHES: Final = 64
_ALIKE: Final = 0.6  # of the bytes of a stretch: silence, which tells nothing
_TEXT: Final = 0.999  # of the bytes are printable
_FLOATS: Final = 0.99  # of the values are of a size that samples have, or zero
_SMALLEST, _LARGEST = 1e-6, 2.0**17  # as floats are scaled to 1, or to 32,768
_FEWER: Final = 2.0  # bits of a step: so much smoother than as 16 bits
_NOISE: Final = 12.5  # bits of a step: the lower half of 32 bits is noise, or so
_LESS: Final = 0.5  # bits by which linear samples of 8 bits are smoother than all else
_FEW: Final = 8  # values of every fourth byte
_MOST: Final = 0.95  # of the bytes are as near to 128: both bytes of larger samples never are
_ABOUT: Final = 32  # of 256 levels: how far from zero their middle may be


def sample_format(audio: Capture | npt.ArrayLike) -> list[Finding]:
    """Find out what the bytes are, if they are samples of another format, or text.

    Args:
        audio: live or loaded; or int16 samples, as the bytes were read.
    """
    stretches = _stretches(audio)
    if not stretches:
        return []
    kind = CATALOGUE["sample_format"]
    for told, text, cure in _FORMATS:
        if np.mean([told(one) for one in stretches]) > 0.5:
            advice = f"{cure} Make the sender send {FORMATS}."
            return [kind.found(1, f"the bytes are {text}", advice=advice)]
    return []


def _stretches(audio: Capture | npt.ArrayLike) -> list[Bytes]:
    """Return stretches that are no silence, each from the start of a packet on."""
    if isinstance(audio, Capture):
        samples, packets = audio.audio, audio.packets
        starts = packets["offset"].to_numpy()[packets["samples"].to_numpy() > 0]
    else:
        samples, starts = np.asarray(audio), np.empty(0, np.int64)
    if samples.dtype != np.int16:
        return []
    if not len(starts):
        starts = np.arange(0, len(samples), STRETCH // 2)
    starts = starts[starts + STRETCH // 2 <= len(samples)]
    if not len(starts):
        return []
    found: list[tuple[int, Bytes]] = []
    for at in np.unique(starts[np.linspace(0, len(starts) - 1, _STRETCHES).astype(np.int64)]):
        octets = np.ascontiguousarray(samples[at : at + STRETCH // 2]).view(np.uint8)
        alike = int(np.bincount(octets, minlength=256).max())
        if alike < _ALIKE * STRETCH:
            found.append((alike, octets))
    found.sort(key=lambda one: one[0])
    return [octets for _, octets in found[: max(len(found) // 2, 1)]]  # what sounds most


def _is_text(octets: Bytes) -> bool:
    printable = (octets >= 0x20) & (octets < 0x7F) | (octets == 0x0A) | (octets == 0x0D)
    return bool(printable.mean() >= _TEXT)


def _is_float(octets: Bytes) -> bool:
    with np.errstate(invalid="ignore"):
        size = np.abs(octets.view("<f4").astype(np.float64))
    fits = (size == 0) | ((size >= _SMALLEST) & (size <= _LARGEST))
    return bool(fits.mean() >= _FLOATS and np.count_nonzero(size) > len(size) / 2)


def _is_24_bit(octets: Bytes) -> bool:
    triples = octets.reshape(-1, 3).astype(np.int32)
    upper = [
        ((one | other << 8) ^ 0x8000) - 0x8000
        for one, other in ((triples[:, a], triples[:, b]) for a, b in ((0, 1), (1, 2)))
    ]
    upper.append(((triples[:-1, 2] | triples[1:, 0] << 8) ^ 0x8000) - 0x8000)
    least = min(step_bits(one) for one in upper)
    return least < step_bits(octets.view("<i2")) - _FEWER


def _is_32_bit(octets: Bytes) -> bool:
    pairs = octets.view("<i2").reshape(-1, 2)
    low, high = (step_bits(pairs[:, at]) for at in (0, 1))
    return low > _NOISE and high < low - _FEWER


def _is_unsigned_8(octets: Bytes) -> bool:
    values = octets.astype(np.int32) - 128
    return bool((np.abs(values) < _ABOUT).mean() >= _MOST) or _is_8_bit(octets, values)


def _is_signed_8(octets: Bytes) -> bool:
    return _is_8_bit(octets, octets.view(np.int8).astype(np.int32))


def _is_8_bit(octets: Bytes, values: npt.NDArray[np.int32]) -> bool:
    """Tell whether values of 8 bits swing about zero, smoother than read in any other way."""
    if min(len(np.unique(octets[at::4])) for at in range(4)) < _FEW:
        return False  # zeros take turns with samples
    linear = 2 * step_bits(values) + RANDOM
    others = [2 * step_bits(law[octets]) + RANDOM for law in COMPANDED.values()]
    others.append(step_bits(octets.view("<i2")))
    return linear < min(others) - _LESS and abs(float(np.median(values))) < _ABOUT


_FORMATS: Final = (
    (
        _is_text, "text: base64 or JSON that was not decoded, all of it printable",
        "Decode the text before you keep it: base64.b64decode.",
    ),
    (
        _is_float, "32-bit floats: read so, all have a size that samples have",
        "Read them so: np.frombuffer(capture.samples.tobytes(), '<f4').",
    ),
    (
        _is_24_bit, "24-bit integers: every third byte goes on from the one three before",
        "Write the bytes to a file and read it with soundfile (format 'RAW', subtype 'PCM_24').",
    ),
    (
        _is_32_bit, "32-bit integers: the upper half of each is sound, and the lower noise",
        "Read them so: np.frombuffer(capture.samples.tobytes(), '<i4').",
    ),
    (
        _is_unsigned_8, "unsigned 8-bit samples: bytes swing about 128",
        "Read them so: np.frombuffer(capture.samples.tobytes(), 'u1').",
    ),
    (
        _is_signed_8, "signed 8-bit samples: bytes swing about 0",
        "Read them so: np.frombuffer(capture.samples.tobytes(), 'i1').",
    ),
)  # fmt: skip
"""What tells a format, what is said of it, and what to do."""
