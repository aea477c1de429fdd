"""Lock a capture for writing, and recover what a crash left of it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from recall_lab.capture.record import (
    HEADER_BYTES,
    RECORD_BYTES,
    good_records,
    header_problem,
    pack_header,
)
from recall_lab.errors import CaptureError, CaptureLocked
from recall_lab.store.files import open_plain
from recall_lab.store.info_file import read_info
from recall_lab.store.probe import NO_LOCKS

_FAR: Final = 1 << 40  # a year of audio: a record that points beyond is no record of ours
_QUIET: Final = 60.0  # s without a packet, after which another machine's writer counts as gone


class Found(NamedTuple):
    """What is there already.

    Attributes:
        packets: records in the index, damaged ones included.
        bytes: where the next payload goes.
        connection: the highest connection number; 0 for none.
        relative: of the last packet, s; minus infinity for none.
    """

    packets: int
    bytes: int
    connection: int
    relative: float


def lock(index: int, index_path: Path, info_path: Path) -> None:
    """Take the lock of a capture; raise CaptureLocked when another writer has it.

    Whether a disk without locks will do has been settled before (:mod:`recall_lab.store.probe`).
    """
    try:
        fcntl.flock(index, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CaptureLocked(index_path, _holder(info_path)) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def raise_if_held(index_path: Path) -> None:
    """Raise CaptureLocked while a capture is written; whoever wants to write next still can.

    The lock tells it. That of another machine may not be seen here: then the capture counts as
    written for as long as its files change and its ``.json`` does not say that it was closed.
    """
    try:
        descriptor = open_plain(index_path)
    except FileNotFoundError:
        return
    info_path = index_path.with_suffix(".json")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CaptureLocked(index_path, _holder(info_path)) from None
    except OSError:  # a disk without locks: nobody of us can be writing there
        pass
    finally:
        changed = os.fstat(descriptor).st_mtime
        os.close(descriptor)
    info, _ = read_info(info_path)
    if info is None or info.writer is None or info.writer.closed is not None:
        return
    if info.writer.host != socket.gethostname() and time.time() - changed < _QUIET:
        raise CaptureLocked(index_path, _holder(info_path))


def _holder(info_path: Path) -> str:
    info, _ = read_info(info_path)
    if info is None or info.writer is None or info.writer.closed is not None:
        return "another process (which has not yet said who it is)"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(info.writer.since / 1e9))
    return f"process {info.writer.pid} on {info.writer.host!r} since {since}"


def recover(index: int, audio: int, index_path: Path) -> Found:
    """Make a capture ready to be appended to.

    Half a record at the end of the index is cut off, and so are zeros; an index without a whole
    header gets one. Nothing else is changed. Done twice, or killed in the middle and done again,
    it gives the same bytes.

    Args:
        index, audio: descriptors, locked by the caller.
        index_path: names the index in errors, and is read.

    Raises:
        CaptureError: for an index of another release.
        OSError: when the disk refuses.
    """
    size = os.fstat(index).st_size
    audio_end = os.fstat(audio).st_size
    if size < HEADER_BYTES:
        _write_header(index, index_path)
        size = HEADER_BYTES
    problem = header_problem(os.pread(index, HEADER_BYTES, 0))
    if problem is not None and "this release" in problem:
        raise CaptureError(f"{index_path.name} can't be appended to: {problem}")
    packets, torn = divmod(size - HEADER_BYTES, RECORD_BYTES)
    while packets and not any(
        os.pread(index, RECORD_BYTES, HEADER_BYTES + RECORD_BYTES * (packets - 1))
    ):
        packets, torn = packets - 1, 1  # a block that was filled up, when all was written anew
    if torn:
        os.ftruncate(index, HEADER_BYTES + packets * RECORD_BYTES)
    connection, relative = 0, -np.inf
    if packets:
        records, _ = good_records(index_path.read_bytes()[HEADER_BYTES:])
        if len(records):
            connection = int(records["connection"].max())
            relative = float(records["relative"][-1])
        # never write where a record already claims bytes, though they may be lost
        near = records[records["offset"] < _FAR]
        claimed = (near["offset"] + near["length"]).max(initial=0)
        audio_end = max(audio_end, int(claimed))
    return Found(packets, audio_end + (audio_end & 1), connection, relative)


def _write_header(index: int, index_path: Path) -> None:
    header = pack_header()
    os.ftruncate(index, 0)
    if os.pwrite(index, header, 0) != len(header):
        raise OSError(errno.ENOSPC, "no room for the header", str(index_path))
