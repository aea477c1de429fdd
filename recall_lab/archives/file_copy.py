"""Copy one file into an archive: as it is, as FLAC, or back out of FLAC."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import numpy as np

from recall_lab.errors import StorageFailed
from recall_lab.remote.filesystem import filesystem_of, is_url
from recall_lab.remote.range_reader import RemoteBytes
from recall_lab.store.files import open_plain
from recall_lab.store.flac import FlacAudio, write_flac
from recall_lab.text import redacted
from recall_lab.wire.pcm import SAMPLE_BYTES, SAMPLE_DTYPE, Samples

PIECE: Final = 8 << 20
"""Bytes read at once."""

Read = Callable[[int], object]
"""Is told how many bytes were read."""


class Content:
    """The bytes of a file, which can be read more than once, and their SHA-256.

    Attributes:
        size: bytes.
        sha256: of them, hexadecimal.
    """

    def __init__(self, file: BinaryIO, stack: contextlib.ExitStack) -> None:
        self.file = file
        self._stack = stack
        digest, self.size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            self.size += len(piece)
        self.sha256 = digest.hexdigest()

    def pieces(self, read: Read = lambda count: None) -> Iterator[bytes]:
        """Return all of it, piece by piece; `read` is told the bytes of each."""
        self.file.seek(0)
        while piece := self.file.read(PIECE):
            yield piece
            read(len(piece))

    def as_flac(self, name: str, read: Read) -> Content:
        """Return the FLAC of a ``.bin``, once it was decoded and compared.

        Args:
            name: of the ``.bin``, for messages.
            read: told the bytes of each piece that was encoded.

        Raises:
            StorageFailed: when it does not decode to the same bytes.
        """
        odd = b""
        if self.size % SAMPLE_BYTES:
            self.file.seek(self.size - 1)
            odd = self.file.read(1)
        file = temporary(self._stack)
        write_flac(file, self._samples(read), odd=odd)
        made = Content(file, self._stack)
        digest = hashlib.sha256()
        for piece in made.decoded(name):
            digest.update(piece)
        if digest.hexdigest() != self.sha256:
            raise differs(name, "its FLAC does not decode to the same samples, or it is changing")
        return made

    def as_bin(self, name: str) -> Content:
        """Return the ``.bin`` that a FLAC was made of.

        Raises:
            InvalidAudio: when it is no FLAC of a capture, or damaged.
        """
        file = temporary(self._stack)
        file.writelines(self.decoded(name))
        return Content(file, self._stack)

    def decoded(self, name: str) -> Iterator[bytes]:
        """Return what is in a FLAC, piece by piece."""
        self.file.seek(0)
        audio = FlacAudio(self.file, name)
        step = PIECE // SAMPLE_BYTES
        for at in range(0, len(audio), step):
            yield audio[at : at + step].tobytes()
        yield audio.odd

    def _samples(self, read: Read) -> Iterator[Samples]:
        for piece in self.pieces(read):
            yield np.frombuffer(piece, SAMPLE_DTYPE, len(piece) // SAMPLE_BYTES)


def content_of(place: str, size: int, stack: contextlib.ExitStack) -> Content:
    """Return what is in a file of this machine, or of object storage: that is fetched once.

    Args:
        place: its path or URL.
        size: bytes, as the listing told.
        stack: closes what is opened.

    Raises:
        StorageFailed: when object storage does not give it.
        FileNotFoundError: when a file is not there any more.
    """
    if not is_url(place):
        return Content(stack.enter_context(open(open_plain(place), "rb")), stack)
    fs, path = filesystem_of(place)
    source, file = RemoteBytes(fs, path, size), temporary(stack)
    for at in range(0, size, PIECE):
        file.write(source.read(at, at + PIECE))
    return Content(file, stack)


def temporary(stack: contextlib.ExitStack) -> BinaryIO:
    """Return a file without a name: nothing of it is left, not even by a kill."""
    file: BinaryIO = stack.enter_context(tempfile.TemporaryFile(prefix="recall_lab-"))  # noqa: SIM115
    return file


def differs(place: str, why: str) -> StorageFailed:
    """Return the error for a copy that did not come to be what it should."""
    return StorageFailed(redacted(place), OSError(5, why), "copy")
