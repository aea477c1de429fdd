"""Read objects in storage by ranges: as bytes, and as an array of samples.

An object is cut into blocks of 1 MiB. A block is fetched when something in it is first touched,
together with all others that the same reading needs; reading on from one block to the next
fetches some more ahead, as each request costs tens of milliseconds whatever its size. Blocks are
kept in bounded memory, those used last for the longest. Two threads never fetch the same block.

After each fetch the store is asked whether the object is still the one that was loaded, so that
two versions are never mixed. (Not all stores that speak S3 take ``If-Match`` with the fetch.)
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import numpy as np

from recall_lab.arrays import slice_of
from recall_lab.errors import StorageFailed
from recall_lab.remote.filesystem import FileSystem, failed, persistently, size_of, version_of
from recall_lab.text import redacted
from recall_lab.wire.pcm import SAMPLE_BYTES, SAMPLE_DTYPE, Samples

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

BLOCK: Final = 1 << 20
"""Bytes of a block."""

CACHE: Final = 64 << 20
"""Bytes of an object's blocks that are kept, at most."""

_AHEAD: Final = 8  # blocks fetched beyond what was asked for, where reading goes on in order
_PIECE: Final = 16 << 20  # bytes joined at once when a long stretch is read


class RemoteBytes:
    """An object's bytes, fetched when they are read. For any number of threads.

    Args:
        fs: where it is.
        path: its path there.
        size: its size, bytes.
        head: its first bytes, where they were fetched before: they are not fetched again.
        version: which version it is, see :func:`version_of`; None: that is not watched.
        block: bytes of a block.
        cache: bytes of blocks kept, at most.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        size: int,
        *,
        head: bytes = b"",
        version: str | None = None,
        block: int = BLOCK,
        cache: int = CACHE,
    ) -> None:
        self._fs, self._path, self.size, self._version = fs, path, size, version
        self._block = block
        self._head = (
            head if len(head) >= size else head[: block // 2]
        )  # all of it, or its beginning
        self._most = max(cache // block, _AHEAD + 1)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._coming: dict[int, Future[dict[int, bytes]]] = {}
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop`, as many of them as there are.

        Raises:
            StorageFailed: when the store does not give them, or has another object there by now.
        """
        start, stop = max(start, 0), min(stop, self.size)
        if start >= stop:
            return b""
        if stop <= len(self._head):
            return self._head[start:stop]
        first, last = start // self._block, (stop - 1) // self._block + 1
        if last - first > _PIECE // self._block:
            pieces = range(start, stop, _PIECE)
            return b"".join(self.read(at, min(at + _PIECE, stop)) for at in pieces)
        blocks = self._got(first, last)
        if len(blocks) == 1:
            return blocks[0][start - first * self._block : stop - first * self._block]
        blocks[-1] = blocks[-1][: stop - (last - 1) * self._block]
        blocks[0] = blocks[0][start - first * self._block :]
        return b"".join(blocks)

    @property
    def head(self) -> int:
        """How many bytes at its beginning need not be fetched."""
        return len(self._head)

    def file(self) -> io.BufferedReader:
        """Return the object as a file that can be read and sought in."""
        return io.BufferedReader(_File(self), self._block // 16)

    def _got(self, first: int, last: int) -> list[bytes]:
        """Return whole blocks, fetching those that are neither here nor coming."""
        with self._lock:
            have = {at: self._blocks[at] for at in range(first, last) if at in self._blocks}
            for at in have:
                self._blocks.move_to_end(at)
            waits = {at: self._coming[at] for at in range(first, last) if at in self._coming}
            mine = [at for at in range(first, last) if at not in have and at not in waits]
            future: Future[dict[int, bytes]] = Future()
            if mine:
                before = mine[0] - 1
                if before in self._blocks or before in self._coming:  # reading goes on in order
                    end = min(last + _AHEAD, -(-self.size // self._block))
                    ahead = range(last, end)
                    mine += [at for at in ahead if not {at} & (self._blocks.keys() | self._coming)]
                self._coming |= dict.fromkeys(mine, future)
        if mine:
            try:
                fetched = self._fetched(mine)
            except BaseException as error:
                with self._lock:
                    for at in mine:
                        del self._coming[at]
                future.set_exception(error)
                raise
            with self._lock:
                for at in mine:
                    del self._coming[at]
                self._blocks.update(fetched)
                while len(self._blocks) > self._most:
                    self._blocks.popitem(last=False)
            future.set_result(fetched)
            have |= fetched
        for at, other in waits.items():
            have[at] = other.result()[at]
        return [have[at] for at in range(first, last)]

    def _fetched(self, blocks: list[int]) -> dict[int, bytes]:
        starts = [at * self._block if at else len(self._head) for at in blocks]
        stops = [min((at + 1) * self._block, self.size) for at in blocks]
        paths = [self._path] * len(blocks)

        def call() -> dict[int, bytes]:
            data = self._fs.cat_ranges(paths, starts, stops, on_error="raise")
            return dict(zip(blocks, data, strict=True))

        try:
            got = persistently(call, name=self._path)
        except StorageFailed:
            self._still_there()  # else its range is "not satisfiable", which says little
            raise
        except FileNotFoundError as error:
            self._still_there()
            raise failed(self._path, error) from error
        self._still_there()
        for at, start, stop in zip(blocks, starts, stops, strict=True):
            if len(got[at]) != stop - start:
                said = f"{len(got[at])} bytes came of {stop - start} at {start}: it has changed"
                raise StorageFailed(redacted(self._path), OSError(5, said), "read")
        if 0 in got:
            got[0] = self._head + got[0]
        return got

    def _still_there(self) -> None:
        """Raise StorageFailed when the object is no longer the one that was loaded."""
        if self._version is None:
            return
        try:
            told = persistently(lambda: self._fs.info(self._path), name=self._path)
        except FileNotFoundError:
            said = "it was deleted after it was loaded"
        else:
            if (size_of(told), version_of(told)) == (self.size, self._version):
                return
            said = "it was replaced after it was loaded: load it again"
        raise StorageFailed(redacted(self._path), OSError(5, said), "read")


class _File(io.RawIOBase):
    """An object as a file."""

    def __init__(self, source: RemoteBytes) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        stop = self._at + len(view)
        if self._at < self._source.head:  # what is here already is given by itself
            stop = min(stop, self._source.head)
        data = self._source.read(self._at, stop)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class RemoteAudio:
    """The samples of a ``.bin`` in object storage: int16, fetched when they are read."""

    dtype: Final = SAMPLE_DTYPE

    def __init__(self, source: RemoteBytes) -> None:
        self._source = source

    def __len__(self) -> int:
        return self._source.size // SAMPLE_BYTES

    @property
    def nbytes(self) -> int:
        """Two for each sample."""
        return len(self) * SAMPLE_BYTES

    def __getitem__(self, part: slice) -> Samples:
        low, high, _ = slice_of(part, len(self))
        piece = _PIECE // SAMPLE_BYTES
        if high - low <= piece:
            data = self._source.read(low * SAMPLE_BYTES, high * SAMPLE_BYTES)
            return np.frombuffer(data, SAMPLE_DTYPE)
        samples = np.empty(high - low, SAMPLE_DTYPE)
        for at in range(low, high, piece):
            samples[at - low : at - low + piece] = self[at : min(at + piece, high)]
        samples.flags.writeable = False
        return samples

    def __repr__(self) -> str:
        return f"<RemoteAudio, {len(self):,} samples>"
