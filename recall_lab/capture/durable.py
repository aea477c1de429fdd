"""What is done after a sync has failed: all that it may have cost is written anew.

When the disk refuses pages, the kernel tells it once, to one sync, and takes the pages for
clean: a second sync has nothing to write, succeeds, and means nothing (P. Rebello et al., Can
Applications Recover from fsync Failures?, USENIX ATC 2020). What was in them is most often still
in memory. So the packets since the last sync that did succeed are read back, held against their
checksums, and written once more: then there is something to sync again.
"""

from __future__ import annotations

import os
from typing import Final

from isal.isal_zlib import crc32

from recall_lab.capture.files import write_all
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES, good_records

_BATCH: Final = 1_024  # records at once


def write_again(audio: int, index: int, first: int, end: int) -> int:
    """Write packets anew, over themselves.

    Args:
        audio, index: descriptors of the ``.bin`` and the ``.idx``.
        first, end: which packets, by their position in the index, half-open.

    Returns:
        How many can't be read back as they were written: these are left as they are, for their
        checksums to tell.

    Raises:
        OSError: when the disk refuses.
    """
    spoiled = 0
    for start in range(first, end, _BATCH):
        count = min(_BATCH, end - start)
        at = HEADER_BYTES + start * RECORD_BYTES
        data = os.pread(index, count * RECORD_BYTES, at)
        records, _ = good_records(data)
        spoiled += count - len(records)
        for offset, length, crc in zip(
            records["offset"].tolist(),
            records["length"].tolist(),
            records["payload_crc"].tolist(),
            strict=True,
        ):
            payload = os.pread(audio, length, offset)
            if crc32(payload) == crc:
                _put(audio, payload, offset)
            else:
                spoiled += 1
        _put(index, data, at)
    return spoiled


def _put(descriptor: int, data: bytes, at: int) -> None:
    _, error = write_all(descriptor, data, at)
    if error is not None:
        raise error
