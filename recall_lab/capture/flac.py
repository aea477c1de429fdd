"""Audio of a capture as FLAC: half the bytes, and every sample comes back as it was."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import BinaryIO, Final

import numpy as np
import soundfile

from recall_lab.capture.remote import slice_of
from recall_lab.errors import InvalidAudio
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, SAMPLE_DTYPE, Samples

BLOCK: Final = 1 << 19
"""Samples decoded together: half a minute."""

_MOST: Final = 32  # blocks kept: 32 MiB


class FlacAudio:
    """The samples of a FLAC file: int16, decoded when they are read. For any number of threads.

    Args:
        file: the FLAC, readable and seekable; it is closed with this.
        name: what it is called in messages.

    Raises:
        InvalidAudio: when it is no FLAC of 16 bits, one channel and 16 kHz.
    """

    dtype: Final = SAMPLE_DTYPE

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        try:
            self._sound = soundfile.SoundFile(file)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise InvalidAudio(f"{name} can't be read as FLAC: {error}") from error
        kind = self._sound
        if (kind.format, kind.subtype, kind.channels, kind.samplerate) != (
            "FLAC", "PCM_16", 1, RATE,
        ):  # fmt: skip
            raise InvalidAudio(
                f"{name} is {kind.format} {kind.subtype}, {kind.channels} channels, "
                f"{kind.samplerate} Hz: the audio of a capture is FLAC of 16 bits, one channel, "
                f"{RATE} Hz; rl.from_audio reads others"
            )
        self._length = int(kind.frames)
        self._at = 0  # where the decoder stands
        self._blocks: OrderedDict[int, Samples] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Two for each sample."""
        return self._length * SAMPLE_BYTES

    def __getitem__(self, part: slice) -> Samples:
        low, high, _ = slice_of(part, self._length)
        first, last = low // BLOCK, -(-high // BLOCK)
        if last - first == 1:
            return self._block(first)[low - first * BLOCK : high - first * BLOCK]
        samples = np.empty(high - low, SAMPLE_DTYPE)
        for block in range(first, last):
            begin, end = max(low, block * BLOCK), min(high, (block + 1) * BLOCK)
            piece = self._block(block)[begin - block * BLOCK : end - block * BLOCK]
            samples[begin - low : end - low] = piece
        samples.flags.writeable = False
        return samples

    def __repr__(self) -> str:
        return f"<FlacAudio, {self._length:,} samples>"

    def _block(self, block: int) -> Samples:
        with self._lock:  # one decoder, which stands in one place
            if block in self._blocks:
                self._blocks.move_to_end(block)
                return self._blocks[block]
            try:
                if self._at != block * BLOCK:
                    self._sound.seek(block * BLOCK)
                samples: Samples = self._sound.read(BLOCK, dtype="int16")
            except (soundfile.LibsndfileError, RuntimeError) as error:
                self._at = -1
                raise InvalidAudio(
                    f"{self._name} is damaged near sample {block * BLOCK:,}: {error}"
                ) from error
            self._at = block * BLOCK + len(samples)
            expected = min(BLOCK, self._length - block * BLOCK)
            if len(samples) != expected:
                raise InvalidAudio(
                    f"{self._name} is damaged: {len(samples):,} of {expected:,} samples came "
                    f"from sample {block * BLOCK:,} on"
                )
            samples.flags.writeable = False
            self._blocks[block] = samples
            if len(self._blocks) > _MOST:
                self._blocks.popitem(last=False)
            return samples


def write_flac(file: BinaryIO, pieces: Iterable[Samples]) -> None:
    """Write samples as FLAC into a file that can be sought in, in bounded memory."""
    with soundfile.SoundFile(
        file, "w", samplerate=RATE, channels=1, format="FLAC", subtype="PCM_16"
    ) as sound:
        for piece in pieces:
            sound.write(piece)
