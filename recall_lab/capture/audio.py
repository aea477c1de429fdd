"""Audio files → samples as the protocol carries them: 16 kHz, mono, 16 bit."""

from __future__ import annotations

import os
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from recall_lab.capture.reader import map_samples
from recall_lab.errors import InvalidAudio
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, Samples


def read_audio(path: str | os.PathLike[str]) -> Samples:
    """Read a WAV, FLAC, OGG or MP3 file, or a bare ``.bin``, as 16 kHz mono int16.

    Channels are averaged; other rates are resampled by a polyphase filter
    (``scipy.signal.resample_poly``). A file that is 16 kHz mono 16-bit already, and a ``.bin``
    (taken as such), comes back sample for sample.

    Returns:
        int16, one dimension.

    Raises:
        InvalidAudio: when the file is not there or can't be read as audio.

    Example:
        >>> len(read_audio("data/standup.wav")) / 16_000  # doctest: +SKIP
        56.37
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidAudio(f"{str(path)!r} is not a file: expected WAV, FLAC, OGG, MP3 or .bin")
    if path.suffix == ".bin":
        samples, _ = map_samples(path)
        return samples
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            exact = rate == RATE and file.channels == 1 and file.subtype == "PCM_16"
            data = file.read(dtype="int16" if exact else "float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InvalidAudio(
            f"{str(path)!r} can't be read ({error}): expected WAV, FLAC, OGG, MP3 or .bin"
        ) from None
    if exact:
        return np.ascontiguousarray(data[:, 0], SAMPLE_DTYPE)
    mono = data.mean(axis=1)
    if rate != RATE:
        common = gcd(rate, RATE)
        mono = resample_poly(mono, RATE // common, rate // common)
    scaled = np.clip(np.rint(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    resampled: Samples = scaled.astype(SAMPLE_DTYPE)
    return resampled
