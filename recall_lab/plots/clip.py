"""Make a WAV of a few seconds of sound, for a page."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import soundfile

from recall_lab.analysis.recording.export import as_int16
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Moment
from recall_lab.errors import InvalidArgument
from recall_lab.wire.pcm import RATE, Samples

LONGEST: Final = 60.0
"""Longest clip, s. The sound is put into the page as text, 2.6 MB a minute."""

_NORMALIZED = 10 ** (-1 / 20)  # of full scale: -1 dBFS


def wav_bytes(
    source: Any,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    normalize: bool = False,
) -> bytes:
    """Return up to a minute of sound as the bytes of a WAV file."""
    line = as_timeline(source, start, end)
    seconds = line.end - line.start
    if not seconds:
        whole = as_timeline(source)
        raise InvalidArgument(
            "start, end", (start, end),
            f"times within the audio, which lasts from {whole.start:.3f} to {whole.end:.3f} s",
        )  # fmt: skip
    if seconds > LONGEST:
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
