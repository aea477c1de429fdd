"""Audio files → samples as the protocol carries them, 16 kHz mono 16 bit, or a capture of them."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import soxr

from recall_lab.capture.capture import Capture
from recall_lab.capture.damage import Damage
from recall_lab.capture.info import CaptureInfo, stem_of
from recall_lab.errors import InvalidAudio
from recall_lab.store.decoding import KINDS, LONGEST, Array, Decoder
from recall_lab.store.reader import map_samples
from recall_lab.store.scratch import Scratch
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_BYTES, SAMPLE_DTYPE, Samples

Floats = npt.NDArray[np.float32]


class _Read(NamedTuple):
    """What a file holds: its samples, where they are mapped; s that may be an encoder's; faults."""

    samples: Samples | None
    delay: float
    notes: tuple[str, ...]


def read_audio(path: str | os.PathLike[str]) -> Samples:
    """Read an audio file whole, as 16 kHz mono int16.

    WAV, FLAC, MP3, M4A and MP4 (AAC, ALAC), WebM and Matroska, Opus, OGG, AAC, AIFF, CAF and AU,
    and a bare ``.bin``, which is taken as such. ffmpeg's libraries decode it, which come with
    recall_lab: no program is needed. Of a file with several audio streams the first is read;
    pictures are passed over.

    Channels are averaged, and other rates are resampled (libsoxr, high quality), block by block,
    so that hours need little more memory than the result. A file that is 16 kHz mono 16-bit
    already comes back sample for sample.

    All audio of a file is read: of an MP3 without a Xing header, of several MP3s in one file, of a
    WAV whose writer was killed or wrote to a pipe, and so could not say how long it is. Time that
    passes without audio, which WebM, MP4 and OGG can tell, becomes silence. Of a file that was
    cut off, or has parts that can't be decoded, all the rest is returned, with a warning that
    says so; a FLAC with a wrong checksum is refused.

    Returns:
        int16, one dimension.

    Raises:
        InvalidAudio: when the file is not there or can't be read as audio, when decoders would
            read the first part of it only (a WAV or MP4 with something added to it), or when it
            is longer than 24 h.

    Warns:
        RuntimeWarning: when some of the audio is missing.

    Example:
        >>> len(read_audio("data/standup.wav")) / 16_000  # doctest: +SKIP
        56.37
    """
    data = io.BytesIO()  # grows in place: an array would have to be put together in the end
    read = _read(path, data)
    return np.frombuffer(data.getbuffer(), SAMPLE_DTYPE) if read.samples is None else read.samples


class _Sink(Protocol):
    """What takes samples, or the bytes of some."""

    def write(self, data: memoryview, /) -> object: ...


def _read(path: str | os.PathLike[str], sink: _Sink) -> _Read:
    """Read a file into a sink; warn the caller's caller of what is missing."""
    path = Path(path)
    if not path.is_file():
        raise InvalidAudio(f"{str(path)!r} is not a file: expected {KINDS}")
    if path.suffix == ".bin":
        return _Read(map_samples(path)[0], 0.0, ())
    try:
        with Decoder(path) as file:
            _convert(file, sink)
    except InvalidAudio as error:
        raise InvalidAudio(f"{str(path)!r} {error}") from None
    for note in file.notes:
        warnings.warn(f"{str(path)!r} is {note}", RuntimeWarning, stacklevel=3)
    return _Read(None, file.delay, tuple(file.notes))


def _convert(file: Decoder, sink: _Sink) -> None:
    """Write all of a file of any rate and number of channels."""
    resampler, current, size = None, RATE, 0

    def put(data: memoryview) -> None:
        nonlocal size
        sink.write(data)
        size += data.nbytes
        if size > LONGEST * RATE * SAMPLE_BYTES:
            raise InvalidAudio(f"holds more than {LONGEST / 3600:g} h of audio: cut it to pieces")

    for block, rate in file.blocks():
        if rate != current:
            if resampler is not None:
                put(_as_int16(resampler.resample_chunk(np.empty(0, np.float32), True)))
            current, resampler = rate, None
            if rate != RATE:
                resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
        if resampler is not None:
            put(_as_int16(resampler.resample_chunk(_mono(block))))
        elif block.dtype == SAMPLE_DTYPE and len(block) == 1:
            put(np.ascontiguousarray(block[0], SAMPLE_DTYPE).data)
        else:
            put(_as_int16(_mono(block)))
    if resampler is not None:
        put(_as_int16(resampler.resample_chunk(np.empty(0, np.float32), True)))


def _mono(block: Array) -> Floats:
    """Return the average of the channels, full scale 1."""
    samples: Floats = block.astype(np.float32, copy=False)
    if block.dtype == np.uint8:  # the one integer format that has zero in its middle
        samples -= 128
        samples /= 128
    elif block.dtype.kind == "i":
        samples /= -float(np.iinfo(block.dtype).min)
    return np.ascontiguousarray(samples.mean(axis=0), np.float32)


def _as_int16(samples: Floats) -> memoryview:
    """Return samples of full scale 1 as bytes of int16; what is no number is silence."""
    scaled = np.rint(np.nan_to_num(samples, posinf=1.0, neginf=-1.0) * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(SAMPLE_DTYPE).data


def from_audio(path: str | os.PathLike[str], recording: str | None = None) -> Capture:
    """Make a capture of an audio file, to compare with what a bot sent, or to be played by one.

    Hours of it take disk, in an unnamed temporary file, and not memory.

    It has no packets: nothing was received, so nothing is said of when. Its time is counted from
    0; all that concerns sound works with it. What is missing of the file is in its ``damage``, and
    what may be the encoder's of its beginning in ``encoder_delay``.

    Args:
        path: WAV, FLAC, MP3, M4A, MP4, WebM, Opus, OGG, AAC, AIFF, CAF, AU or a bare ``.bin``, of
            any rate and number of channels; of several audio streams the first is taken (see
            :func:`read_audio`).
        recording: its id; by default made of the file's name.

    Raises:
        InvalidAudio: when the file is not there or can't be read, as for :func:`read_audio`.
        InvalidArgument: for an id that can't be.

    Warns:
        RuntimeWarning: when some of the audio is missing.

    Example:
        >>> from_audio("data/standup.wav")  # doctest: +SKIP
        <Capture standup, audio: 0:00:56.370, packets: no index>
    """
    with Scratch() as scratch:
        read = _read(path, scratch)
        samples = scratch.samples() if read.samples is None else read.samples
    if recording is None:
        recording = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path).stem)[:64].strip("-_") or "audio"
    stem_of(recording)  # says what is wrong with an id
    return Capture(
        samples,
        info=CaptureInfo(recording=recording),
        damage=Damage(notes=read.notes),
        encoder_delay=read.delay,
    )
