"""Spectrograms: the power of each frequency, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import psutil

from recall_lab.analysis.sound.frames import Power, each_block, frames_of, on_all_cores
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.arguments import Duration, number, whole
from recall_lab.capture.capture import Moment
from recall_lab.errors import InvalidArgument
from recall_lab.text import html_table
from recall_lab.wire.pcm import RATE

_GROUP: Final = 16  # mel bands multiplied at once: more means more products with zero
_PIECE: Final = 2**15  # values: 128 KiB, which the cache holds

Floats: TypeAlias = npt.NDArray[np.float64]

SCALES: Final = ("power", "magnitude", "dB")
"""What the values of a spectrogram can be."""

FLOOR: Final = -200.0
"""Lowest level, dBFS: that of digital silence, which has none. One bit of 16 is far above it."""


@dataclass(frozen=True, eq=False, repr=False)
class Spectrogram:
    """Power over time and frequency. Made by :func:`spectrogram`.

    Attributes:
        times: middle of each frame, s on the relative clock, shape ``(frames,)``, float64.
        frequencies: Hz, shape ``(bins,)``, float64; of a mel band, its middle.
        values: shape ``(bins, frames)``, float32; in memory the bins of a frame lie together.
        missing: share of each frame that was not received and is taken as silence, 0 to 1, shape
            ``(frames,)``, float32.
        scale: ``"power"``, ``"magnitude"`` or ``"dB"``.
        reference: power of a full-scale sine in its bin: what 0 dBFS means.
        length: of a frame, s.
        hop: from one frame to the next, s.
        window: its name, and parameter if it has one.
        mel: number of mel bands; None for the bins of the FFT.
    """

    times: Floats
    frequencies: Floats
    values: Power
    missing: Power
    scale: str
    reference: float
    length: float
    hop: float
    window: str | tuple[str, float]
    mel: int | None

    def __repr__(self) -> str:
        rows, frames = self.values.shape
        span = f"{self.times[0]:.3f} s to {self.times[-1]:.3f} s, " if frames else ""
        unit = "dBFS" if self.scale == "dB" else self.scale
        return (
            f"<Spectrogram {rows} {'mel bands' if self.mel else 'bins'} x {frames:,} frames, "
            f"{span}every {self.hop * 1e3:g} ms, {unit}>"
        )

    def _repr_html_(self) -> str:
        rows, frames = self.values.shape
        facts = {
            "bands" if self.mel else "bins": f"{rows:,}, {self.frequencies[0]:g} to "
            f"{self.frequencies[-1]:,g} Hz",
            "frames": f"{frames:,} of {self.length * 1e3:g} ms, every {self.hop * 1e3:g} ms",
            "time": f"{self.times[0]:.3f} s to {self.times[-1]:.3f} s" if frames else "none",
            "missing": f"{float(self.missing.mean()):.2%}" if frames else "none",
            "values": "dBFS" if self.scale == "dB" else self.scale,
            "window": str(self.window),
        }
        return html_table("Spectrogram", facts)


def spectrogram(
    source: Any,
    *,
    window: str | tuple[str, float] = "hann",
    length: Duration = 0.025,
    hop: Duration = 0.010,
    fft: int | None = None,
    scale: str = "power",
    mel: int | None = None,
    mel_scale: str = "slaney",
    mel_norm: str | None = "slaney",
    center: bool = False,
    start: Moment | None = None,
    end: Moment | None = None,
) -> Spectrogram:
    """Work out the short-time spectrum on the true time axis.

    The samples have full scale 1 and the FFT is not scaled, so power is ``|X|**2`` of
    ``librosa.stft`` and of SciPy's ``ShortTimeFFT`` with ``scale_to=None``, to float32.
    What was not received counts as silence, and `missing` says where.

    The result holds every frame: 4 bytes a value, 290 MB an hour as set here. For
    the long view of many hours see :func:`recall_lab.overview`.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz,
            int16 or float with full scale 1.
        window: a name that ``scipy.signal.get_window`` knows, or name and parameter.
        length: of a frame, s.
        hop: from one frame to the next, s.
        fft: points of the FFT; the samples of a frame by default, zeros where it is longer.
        scale: ``"power"``; ``"magnitude"``, its root; ``"dB"``, dBFS with 0 for a sine of full
            scale and -200 at least.
        mel: number of mel bands to sum the power in; None for the bins of the FFT.
        mel_scale: ``"slaney"``, linear below 1 kHz, or ``"htk"`` (see :func:`mel_filters`).
        mel_norm: ``"slaney"``: bands have equal area; None: equal height.
        center: False: frame `k` begins at ``k * hop``, and only whole frames count, as in
            ``librosa.stft(center=False)``. True: its middle is at ``k * hop`` and zeros stand
            around the samples, as in ``librosa.stft`` and ``ShortTimeFFT`` by default.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.

    Raises:
        InvalidArgument: for an option that can't be, or more than the memory can hold.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> spectrogram(np.zeros(16_000, np.int16))
        <Spectrogram 201 bins x 98 frames, 0.013 s to 0.983 s, every 10 ms, power>
    """
    if scale not in SCALES:
        raise InvalidArgument("scale", scale, "'power', 'magnitude' or 'dB'")
    line = as_timeline(source, start, end)
    frames = frames_of(len(line), window, length, hop, fft, center)
    rows, groups = frames.bins, []
    if mel is not None:
        rows = mel
        groups = _grouped(mel_filters(mel, frames.fft, scale=mel_scale, norm=mel_norm))
    _check_room(frames.count * rows * 4, line.end - line.start)
    values = np.empty((frames.count, rows), np.float32)

    def keep(low: int, high: int, power: Power) -> None:
        out = values[low:high]
        for bands, bins, weights in groups:
            np.matmul(power[:, bins], weights, out=out[:, bands])
        if scale == "magnitude":
            np.sqrt(out, out=out)
        elif scale == "dB":
            _decibels(out)

    into = values if mel is None else None
    each_block(line, frames, keep, into=into, relative=scale == "dB")
    size = len(frames.window)
    return Spectrogram(
        times=line.start + (frames.starts + (size // 2 if center else size / 2)) / RATE,
        frequencies=frames.frequencies if mel is None else mel_edges(mel, mel_scale)[1:-1],
        values=values.T,
        missing=frames.missing(line),
        scale=scale,
        reference=frames.reference,
        length=size / RATE,
        hop=frames.hop / RATE,
        window=window,
        mel=mel,
    )


def decibels(power: npt.ArrayLike, reference: float = 1.0, *, inplace: bool = False) -> Power:
    """Return power as decibels, ``10 * log10(power / reference)``, and -200 at least.

    One natural logarithm, in pieces that fit the cache.

    Args:
        power: any shape.
        reference: the power that is 0 dB.
        inplace: write over `power`, which has to be a float32 array in one piece.

    Returns:
        float32, the shape of `power`.

    Example:
        >>> decibels([1.0, 0.01, 0.0])
        array([   0.,  -20., -200.], dtype=float32)
    """
    reference = number("reference", reference, 0, what="a power", above=True)
    if inplace:
        whole = isinstance(power, np.ndarray) and power.dtype == np.float32
        if not whole or not (power.flags.c_contiguous or power.flags.f_contiguous):  # type: ignore[union-attr]
            raise InvalidArgument("power", type(power), "a float32 array in one piece")
        values: Power = power  # type: ignore[assignment]
    else:
        values = np.array(power, np.float32, order="K")
    flat = values.ravel(order="K")  # a view, in the order of memory

    def work(blocks: range) -> None:
        for low in blocks:
            part = flat[low : low + _PIECE]
            if reference != 1.0:
                part *= np.float32(1 / reference)
            _decibels(part)

    on_all_cores(work, len(flat), _PIECE)
    return values


def _decibels(power: Power) -> None:
    np.maximum(power, np.float32(10 ** (FLOOR / 10)), out=power)
    np.log(power, out=power)
    power *= np.float32(10 / np.log(10))


def mel_filters(
    bands: int, fft: int, *, scale: str = "slaney", norm: str | None = "slaney"
) -> npt.NDArray[np.float32]:
    """Return triangular filters that sum the power of FFT bins in mel bands, 0 to 8 kHz.

    Each rises from the middle of the band below to its own and falls to that of the next.

    Args:
        bands: how many, 1 to 1,024.
        fft: points of the FFT.
        scale: ``"slaney"``, linear below 1 kHz and logarithmic above (Slaney, Auditory Toolbox,
            1998); ``"htk"``, ``2595 * log10(1 + f / 700)`` (O'Shaughnessy, 1987).
        norm: ``"slaney"``, each band of area 1 over Hz; None, each of height 1.

    Returns:
        float32, shape ``(bands, fft // 2 + 1)``, as ``librosa.filters.mel`` gives them.

    Raises:
        InvalidArgument: for a number, scale or norm that can't be.

    Example:
        >>> mel_filters(80, 400).shape
        (80, 201)
    """
    whole("mel", bands, 1, 1024, "a number of bands")
    if norm not in ("slaney", None):
        raise InvalidArgument("mel_norm", norm, "'slaney' or None")
    edges = mel_edges(bands, scale)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(fft // 2 + 1) * (RATE / fft)
    filters = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    filters = np.maximum(filters, 0)
    if norm:
        filters *= 2 / (high - low)
    return filters.astype(np.float32)


_LINEAR = 200 / 3  # Hz a mel, below 1 kHz
_LOG_STEP = np.log(6.4) / 27  # 27 mels from 1 kHz to 6.4 kHz


def mel_of(hertz: npt.ArrayLike, scale: str = "slaney") -> Floats:
    """Return frequencies, Hz, as mel: of any shape, and rising with them."""
    frequency = np.asarray(hertz, np.float64)
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + frequency / 700))
    above = 15 + np.log(np.maximum(frequency, 1000) / 1000) / _LOG_STEP
    return np.where(frequency < 1000, frequency / _LINEAR, above)


def hertz_of(mel: npt.ArrayLike, scale: str = "slaney") -> Floats:
    """Return mel as frequencies, Hz: the inverse of :func:`mel_of`."""
    value = np.asarray(mel, np.float64)
    if scale == "htk":
        return np.asarray(700 * (10 ** (value / 2595) - 1))
    above = 1000 * np.exp((np.maximum(value, 15) - 15) * _LOG_STEP)
    return np.where(value < 15, value * _LINEAR, above)


def mel_edges(bands: int, scale: str) -> Floats:
    """Return the frequencies at which bands begin, peak and end, evenly spaced in mel."""
    if scale not in ("slaney", "htk"):
        raise InvalidArgument("mel_scale", scale, "'slaney' or 'htk'")
    return hertz_of(np.linspace(0, float(mel_of(RATE / 2, scale)), bands + 2), scale)


def _grouped(filters: Power) -> list[tuple[slice, slice, Power]]:
    """Cut filters into groups, each with the few bins it needs: an eighth of the products."""
    groups = []
    for low in range(0, len(filters), _GROUP):
        some = filters[low : low + _GROUP]
        used = np.flatnonzero(some.any(axis=0))
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        weights = np.ascontiguousarray(some[:, first:last].T)
        groups.append((slice(low, low + len(some)), slice(first, last), weights))
    return groups


def _check_room(wanted: int, seconds: float) -> None:
    """Say so before the machine starts to swap."""
    free = psutil.virtual_memory().available
    if wanted > free:
        raise InvalidArgument(
            "start, end", f"{seconds / 3600:.1f} h of audio",
            f"a spectrogram that fits the {free / 2**30:.1f} GiB of free memory, not "
            f"{wanted / 2**30:.1f} GiB: choose a span, or take recall_lab.overview",
        )  # fmt: skip
