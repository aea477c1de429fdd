"""Keep the audio of a capture as FLAC, losslessly."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

import numpy as np
import soundfile

from recall_lab.arrays import slice_of
from recall_lab.errors import InvalidArgument, InvalidAudio
from recall_lab.threads import run_in_thread
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, SAMPLE_DTYPE, Samples

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

BLOCK: Final = 1 << 19
"""Samples decoded together: half a minute."""

_MOST: Final = 32  # blocks kept: 32 MiB
_ODD: Final = re.compile(r"recall_lab odd byte ([0-9a-f]{2})")

# what soundfile raises: the last for a count of libsndfile's that it did not expect
_REFUSED: Final = (soundfile.LibsndfileError, RuntimeError, AssertionError)

T = TypeVar("T")


class FlacAudio:
    """The samples of a FLAC file: int16, decoded when they are read. For any number of threads.

    Read in order, each byte of the file is read once and each part decoded once. Some blocks
    that were decoded are kept, those used last for the longest.

    Args:
        file: the FLAC, readable and seekable; it is closed with this.
        name: what it is called in messages.

    Raises:
        InvalidAudio: when it is no FLAC of 16 bits, one channel and 16 kHz.
        OSError: what reading `file` raises, then and later.
    """

    dtype: Final = SAMPLE_DTYPE
    ndim: Final = 1

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        self._file = _Told(file)
        self._at = 0  # where the decoder stands; -1 where nobody knows
        self._blocks: OrderedDict[int, Samples] = OrderedDict()
        self._lock = threading.Lock()
        kind = self._sound = undisturbed(lambda: self._asked(self._opened, "can't be read"))
        if (kind.format, kind.subtype, kind.channels, kind.samplerate) != (
            "FLAC", "PCM_16", 1, RATE,
        ):  # fmt: skip
            raise InvalidAudio(
                f"{name} is {kind.format} {kind.subtype}, {kind.channels} channels, "
                f"{kind.samplerate} Hz: the audio of a capture is FLAC of 16 bits, one channel, "
                f"{RATE} Hz; rl.from_audio reads others"
            )
        self._length = int(kind.frames)
        if not 0 <= self._length < 1 << 40:  # libsndfile's way to say that the header tells none
            raise InvalidAudio(f"{name} does not say how long it is: it was not written whole")
        told = _ODD.fullmatch(kind.comment or "")
        self.odd = bytes.fromhex(told[1]) if told else b""
        """Half a sample that stood at the end of the ``.bin`` this was made of."""

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
        with self._lock:
            if block in self._blocks:
                self._blocks.move_to_end(block)
                return self._blocks[block]
        return undisturbed(lambda: self._decoded(block))

    def _decoded(self, block: int) -> Samples:
        with self._lock:  # one decoder, which stands in one place
            if block in self._blocks:  # by another thread, meanwhile
                return self._blocks[block]
            stands, self._at = self._at, -1
            where = f"is damaged near sample {block * BLOCK:,}"
            samples = self._asked(lambda: self._read(block, stands), where)
            expected = min(BLOCK, self._length - block * BLOCK)
            if len(samples) != expected:
                raise InvalidAudio(
                    f"{self._name} is damaged: {len(samples):,} of {expected:,} samples came "
                    f"from sample {block * BLOCK:,} on"
                )
            self._at = block * BLOCK + len(samples)
            samples.flags.writeable = False
            self._blocks[block] = samples
            if len(self._blocks) > _MOST:
                self._blocks.popitem(last=False)
            return samples

    def _opened(self) -> soundfile.SoundFile:
        self._file.seek(0)
        return soundfile.SoundFile(self._file)

    def _read(self, block: int, stands: int) -> Samples:
        if stands < 0:  # after an error the decoder would refuse all that follows
            self._sound = self._opened()
        if stands != block * BLOCK:
            self._sound.seek(block * BLOCK)
        samples: Samples = self._sound.read(BLOCK, dtype="int16")
        return samples

    def _asked(self, call: Callable[[], T], otherwise: str) -> T:
        """Return what libsndfile does; raise what the file raised meanwhile, as it can't."""
        problem = None
        try:
            answer = call()
        except _REFUSED as error:
            problem = error
        self._file.tell_error()
        if problem is not None:
            # without the file's repr, which is another each time
            why = getattr(problem, "error_string", problem)
            raise InvalidAudio(f"{self._name} {otherwise} as FLAC: {why}") from problem
        return answer


def undisturbed(call: Callable[[], T]) -> T:
    """Return what a call does, in another thread where this is the main one.

    Ctrl-C is raised in the main thread alone. In a callback of libsndfile's it would be swallowed,
    and what the callback was to read or write be missing. The call goes on meanwhile: what it
    uses, it has to lock by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    return run_in_thread(call, name="recall_lab flac").result()


class _Told:
    """A file for libsndfile, whose callbacks can't raise: what they would is kept for later."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: Exception | None = None

    def tell_error(self) -> None:
        """Raise what went wrong, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer; with less than fits at the end, or after an error."""
        return self._kept(lambda: self._file.readinto(buffer), 0)  # type: ignore[attr-defined]

    def write(self, data: bytes) -> int:
        """Write; nothing after an error."""
        return self._kept(lambda: self._file.write(data), 0)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._kept(lambda: self._file.seek(offset, whence), -1)

    def tell(self) -> int:
        """Return where it stands."""
        return self._kept(self._file.tell, -1)

    def _kept(self, call: Callable[[], int], otherwise: int) -> int:
        if self._error is not None:
            return otherwise
        try:
            return call()
        except Exception as error:
            self._error = error
            return otherwise


def write_flac(file: BinaryIO, pieces: Iterable[Samples], *, odd: bytes = b"") -> None:
    """Write samples as FLAC into a file that can be sought in, in bounded memory.

    Args:
        file: empty, open for writing, seekable: its length is written at its head at the end.
        pieces: int16, one after another.
        odd: half a sample that follows them. It goes along as a comment, for FLAC has no place
            for it among the samples.

    Raises:
        InvalidArgument: when there are no samples: libsndfile makes no FLAC of none.
        OSError: when the file can't be written.
    """
    told, some, lock = _Told(file), False, threading.Lock()

    def apart(call: Callable[[], T]) -> T:
        def locked() -> T:
            with lock:
                return call()

        return undisturbed(locked)

    kind = {"samplerate": RATE, "channels": 1, "format": "FLAC", "subtype": "PCM_16"}
    try:
        sound = apart(lambda: soundfile.SoundFile(told, "w", **kind))
        try:
            if odd:
                sound.comment = f"recall_lab odd byte {odd.hex()}"
            for piece in pieces:
                some = some or bool(len(piece))
                apart(partial(sound.write, piece))
                told.tell_error()
        finally:
            apart(sound.close)
    except _REFUSED:
        told.tell_error()
        raise
    told.tell_error()
    if not some:
        raise InvalidArgument("pieces", "no samples", "one sample at least")
