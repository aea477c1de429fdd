"""Recover from a failed fsync: rewrite the affected range and verify it.

When the disk refuses pages, the kernel tells it once, to one sync, and takes the pages for
clean: a second sync has nothing to write, succeeds, and means nothing (Rebello et al., Can
Applications Recover from fsync Failures?, USENIX ATC 2020). Writing the same bytes once more is
not enough either: ext4 then writes to blocks that it still holds for unwritten, and which are
zeros for whoever comes after the next boot. So it is written past the cache; and it is durable
only when it was read back past the cache, too, and its checksums are right.

All of it is still in the cache when it is read for this, most often; what is not was lost, and
its checksums tell.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from isal.isal_zlib import crc32

from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES, good_records
from recall_lab.store.files import write_all

_PIECE: Final = 1 << 20  # bytes; a multiple of any page
_BLOCK: Final = 4_096  # bytes; what disks are read by, or a multiple of it
_BATCH: Final = 1_024  # records at once
_LONGEST: Final = 4 << 20  # bytes of a payload; a message has 2 MiB at most

Read: TypeAlias = Callable[[int, int], bytes]
"""Returns bytes of a file: at, how many."""


def write_again(audio: int, index: int, first: int, end: int, audio_end: int) -> int:
    """Write packets anew, over themselves. Nobody may append meanwhile.

    Args:
        audio, index: descriptors of the ``.bin`` and the ``.idx``.
        first, end: which packets, by their position in the index, half-open.
        audio_end: length of the ``.bin``.

    Returns:
        How many can't be read back as they were written.

    Raises:
        OSError: when the disk refuses.
    """
    for descriptor in (audio, index):
        os.fdatasync(descriptor)  # only clean pages can be dropped

    def cached(descriptor: int) -> Read:
        return lambda at, size: os.pread(descriptor, size, at)

    wrong = _wrong(cached(audio), cached(index), first, end)
    begin, stop = (HEADER_BYTES + number * RECORD_BYTES for number in (first, end))
    records, _ = good_records(os.pread(index, stop - begin, begin))
    if len(records):
        _again(audio, int(records["offset"].min()), audio_end)
    _again(index, begin, stop)
    return wrong


def not_on_disk(audio: Path, index: Path, first: int, end: int) -> int:
    """Return how many packets the disk itself does not hold as they were written.

    Args:
        audio, index: the ``.bin`` and the ``.idx``, synced.
        first, end: which packets, by their position in the index, half-open.

    Returns:
        0, too, where a disk can't be read past the cache: one in memory, say.
    """
    try:
        return _wrong(_direct(audio), _direct(index), first, end)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP):
            return 0
        raise


def _wrong(read_audio: Read, read_index: Read, first: int, end: int) -> int:
    """Return how many packets are not what their checksums say."""
    wrong = 0
    for start in range(first, end, _BATCH):
        count = min(_BATCH, end - start)
        data = read_index(HEADER_BYTES + start * RECORD_BYTES, count * RECORD_BYTES)
        records, _ = good_records(data)
        wrong += count - len(records)
        for offset, length, crc in zip(
            records["offset"].tolist(),
            records["length"].tolist(),
            records["payload_crc"].tolist(),
            strict=True,
        ):
            wrong += length > _LONGEST or crc32(read_audio(offset, length)) != crc
    return wrong


def _again(descriptor: int, begin: int, end: int) -> None:
    """Write a file anew, from before `begin` on to its end, past the cache.

    Where that can't be, the pages are dropped from it first: which they are not while somebody
    has them mapped.
    """
    begin = begin // _BLOCK * _BLOCK
    try:
        # the very file that we hold, whatever has its name now
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except (OSError, AttributeError):
        _again_by_cache(descriptor, begin, end)
        return
    room = mmap.mmap(-1, _PIECE)  # its address is that of a page
    try:
        for at in range(begin, end, _PIECE):
            size = min(_PIECE, end - at)
            whole = -(-size // _BLOCK) * _BLOCK
            data = os.pread(descriptor, size, at)
            room[:whole] = data.ljust(whole, b"\0")
            with memoryview(room)[:whole] as piece, _put_back(descriptor, data, at):
                if os.pwritev(direct, [piece], at) != whole:
                    raise OSError(errno.EIO, "the disk took a part only")
    finally:
        os.close(direct)
        if os.fstat(descriptor).st_size > end:
            os.ftruncate(descriptor, end)  # what filled up the last block


def _again_by_cache(descriptor: int, begin: int, end: int) -> None:
    for at in range(begin, end, _PIECE):
        data = os.pread(descriptor, min(_PIECE, end - at), at)
        with _put_back(descriptor, data, at):
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, at, _PIECE, os.POSIX_FADV_DONTNEED)
            _, error = write_all(descriptor, data, at)
            if error is not None:
                raise error


@contextlib.contextmanager
def _put_back(descriptor: int, data: bytes, at: int) -> Iterator[None]:
    """Put a piece of a file back into the cache when it could not be written."""
    try:
        yield
    except OSError:
        write_all(descriptor, data, at)
        raise


def _direct(path: Path) -> Read:
    """Return what reads a file past the cache, a piece at a time."""
    have_from, have = 0, b""

    def read(at: int, size: int) -> bytes:
        nonlocal have_from, have
        if not have_from <= at <= at + size <= have_from + len(have):
            have_from = at // _BLOCK * _BLOCK
            blocks = -(-(at + size - have_from) // _BLOCK)
            room = mmap.mmap(-1, max(blocks * _BLOCK, _PIECE))  # its address is that of a page
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECT", 0))
            try:
                count = os.preadv(descriptor, [room], have_from)
            finally:
                os.close(descriptor)
            have = room[:count]
        return have[at - have_from : at - have_from + size]

    return read
