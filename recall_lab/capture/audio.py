"""Audio files → samples as the protocol carries them, 16 kHz mono 16 bit, or a capture of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import soundfile
import soxr

from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo, stem_of
from recall_lab.capture.reader import map_samples
from recall_lab.errors import InvalidAudio
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, Samples

_BLOCK = 2**20  # frames read at once


def read_audio(path: str | os.PathLike[str]) -> Samples:
    """Read a WAV, FLAC, OGG or MP3 file, or a bare ``.bin``, as 16 kHz mono int16.

    Channels are averaged, and other rates are resampled (libsoxr, high quality), block by block,
    so that hours need little more memory than the result. A file that is 16 kHz mono 16-bit
    already, and a ``.bin`` (taken as such), comes back sample for sample.

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
            if rate == RATE and file.channels == 1 and file.subtype == "PCM_16":
                return np.ascontiguousarray(file.read(dtype="int16"), SAMPLE_DTYPE)
            return _converted(file)
    except (soundfile.LibsndfileError, OSError, ValueError, RuntimeError) as error:
        raise InvalidAudio(
            f"{str(path)!r} can't be read ({error}): expected WAV, FLAC, OGG, MP3 or .bin"
        ) from None


def _converted(file: soundfile.SoundFile) -> Samples:
    """Return all of a file of any rate and number of channels."""
    resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32", quality="HQ")
    blocks = []
    while True:
        block = file.read(_BLOCK, dtype="float32", always_2d=True)
        last = len(block) < _BLOCK
        mono = np.ascontiguousarray(block.mean(axis=1))
        if file.samplerate != RATE:
            mono = resampler.resample_chunk(mono, last)
        scaled = np.rint(np.nan_to_num(mono, posinf=1.0, neginf=-1.0) * FULL_SCALE)
        blocks.append(np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(SAMPLE_DTYPE))
        if last:
            return np.concatenate(blocks)


def from_audio(path: str | os.PathLike[str], recording: str | None = None) -> Capture:
    """Make a capture of an audio file, to compare with what a bot sent, or to be played by one.

    It has no packets: nothing was received, so nothing is said of when. Its time is counted from
    0; all that concerns sound works with it.

    Args:
        path: WAV, FLAC, OGG or MP3, of any rate and number of channels (see :func:`read_audio`).
        recording: its id; by default made of the file's name.

    Raises:
        InvalidAudio: when the file is not there or can't be read as audio.
        InvalidArgument: for an id that can't be.

    Example:
        >>> from_audio("data/standup.wav")  # doctest: +SKIP
        <Capture standup, audio: 0:00:56.370, packets: no index>
    """
    samples = read_audio(path)
    if recording is None:
        recording = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path).stem)[:64].strip("-_") or "audio"
    stem_of(recording)  # says what is wrong with an id
    return Capture(samples, info=CaptureInfo(recording=recording))
