"""A few seconds of sound, in a notebook or a report."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from recall_lab.analysis.export import as_int16
from recall_lab.analysis.timeline import axis_of
from recall_lab.errors import InvalidArgument, MissingExtra
from recall_lab.wire.pcm import RATE, Samples

if TYPE_CHECKING:
    from IPython.display import Audio

LONGEST: Final = 60.0
"""Longest clip, s. The sound is put into the page as text, 2.6 MB a minute."""

_NORMALIZED = 10 ** (-1 / 20)  # of full scale: -1 dBFS


def play(
    source: Any,
    start: float | None = None,
    end: float | None = None,
    *,
    normalize: bool = False,
) -> Audio:
    """Put a player for up to a minute of sound into the notebook.

    On the true time axis: what was not received is silence. As loud as it was received, so that
    two clips can be compared; bots record quietly, and ``normalize=True`` makes them easy to hear.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        start, end: s on the relative clock; None for the beginning and the end.
        normalize: bring the peak to -1 dBFS.

    Raises:
        InvalidArgument: for more than 60 s, or none.
        MissingExtra: where there is no IPython.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> play(rl.load("captures/9f3c.bin"), 60, 70)  # doctest: +SKIP
    """
    try:
        from IPython.display import Audio  # noqa: PLC0415 - comes with an extra only
    except ImportError as error:
        raise MissingExtra("lab", "IPython") from error
    clip = wav_bytes(source, start, end, normalize=normalize)
    return Audio(data=clip)  # type: ignore[no-untyped-call]


def wav_bytes(
    source: Any,
    start: float | None = None,
    end: float | None = None,
    *,
    normalize: bool = False,
) -> bytes:
    """Return up to a minute of sound as the bytes of a WAV file: what :func:`play` plays."""
    line = axis_of(source, start, end)
    seconds = line.end - line.start
    if not 0 < seconds <= LONGEST:
        raise InvalidArgument(
            "start, end", (start, end),
            f"a clip of up to {LONGEST:g} s, not {seconds:.1f} s: give start and end, or save "
            "the whole with recall_lab.save",
        )  # fmt: skip
    samples = as_int16(line.take(0, len(line)))
    peak = float(np.abs(samples.astype(np.float64)).max())
    if normalize and peak:
        samples = as_int16(samples * (_NORMALIZED / peak))
    return wav_of(samples)


def wav_of(samples: Samples) -> bytes:
    """Return samples as the bytes of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
