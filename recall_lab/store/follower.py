"""Follow a stream while it is written, in this process or another; never writes.

Reading needs no lock. A record is visible once it is whole, and its audio was written before
it, so a follower that looks at the index first and at the ``.bin`` second always finds both.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.capture.damage import Damage
from recall_lab.capture.frame import COLUMNS, INDEX_NAME, column_of, frame_of, storage_dtype
from recall_lab.capture.record import HEADER_BYTES, RECORD, RECORD_BYTES, Records, find_damaged
from recall_lab.store.files import open_plain
from recall_lab.store.journal import read_events
from recall_lab.store.reader import audio_path_of, info_of, map_samples
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, SAMPLE_DTYPE, Samples

_BATCH: Final = 1 << 15  # records read at once: 2 MiB
_MANY: Final = 1 << 19  # packets, and room for them: two weeks at 50 a second
_WEEKS: Final = 1 << 26


class Follower:
    """Follows a capture that is being written, in this process or another.

    Each :meth:`poll` reads only what is new, and the frame grows in place, so that asking every
    second all day costs what the new second costs.

    Args:
        path: as for :func:`load`; the files need not be there yet.

    Attributes:
        packets: packets seen so far.
        damaged: records skipped because their checksum is wrong.
        begun: how often it has begun: once, and again whenever the files are found to be another
            capture's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.audio_path = audio_path_of(Path(path), must_exist=False)
        self.index_path = self.audio_path.with_suffix(".idx")
        self._first = b""  # the first record
        self.begun = 0
        self._start_over()

    def _start_over(self) -> None:
        """Know of no packet."""
        self.begun += 1
        self.packets = 0
        self.damaged = 0
        self._read = 0  # records read, damaged ones included
        self._columns = {name: np.empty(0, storage_dtype(name)) for name in COLUMNS}
        self._whole: pd.DataFrame | None = None

    def poll(self) -> int:
        """Read what has been committed since the last call; return the number of new packets.

        A damaged record is skipped once a good one follows it: at the very end it might be one
        that is just being written.
        """
        before = self.packets
        try:
            descriptor = open_plain(self.index_path)
        except FileNotFoundError:
            return 0
        try:
            self._start_over_if_replaced(descriptor)
            while data := self._read_batch(descriptor):
                records: Records = np.frombuffer(data, RECORD)
                usable = len(records)
                damaged = find_damaged(data)
                if len(damaged):
                    good = np.delete(np.arange(usable), damaged)
                    usable = int(good[-1]) + 1 if len(good) else 0
                    if not usable and len(records) == _BATCH:  # nobody writes that much at once
                        usable = _BATCH
                    self.damaged += usable - len(good)
                    records = records[good]
                self._read += usable
                self._extend(records)
                if not usable or len(data) < _BATCH * RECORD_BYTES:
                    break
        finally:
            os.close(descriptor)
        return self.packets - before

    def frame(self) -> pd.DataFrame:
        """Return the packets frame so far, without reading anything new."""
        if self._whole is None:
            self._whole = frame_of(self._columns)
        # a share of the frame that is kept: writing to it copies, whatever has arrived since
        return self._whole.iloc[: self.packets]

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column of the frame so far, without the cost of a frame; times in ns.

        Not to be written to: it is the memory that all frames of this follower share.
        """
        return self._columns[name][: self.packets]

    def last(self, seconds: float) -> Capture:
        """Return the packets that brought the last `seconds` of audio, as a capture of their own.

        Costs what they cost, however long the capture is.
        """
        samples, _ = map_samples(self.audio_path)
        info, _ = info_of(self.audio_path)
        offsets, counts = self.column("offset"), self.column("samples")
        end = int(offsets[-1]) + int(counts[-1]) if self.packets else 0
        # audio is appended, so packets lie in the file as they arrived
        first = max(int(np.searchsorted(offsets, end - seconds * RATE, "right")) - 1, 0)
        begin = int(offsets[first:].min(initial=end))
        if begin < end:  # unless somebody has changed the order of records
            end = max(end, int((offsets[first:] + counts[first:]).max()))
        if not end or end > len(samples):  # cut from outside, or gone
            return Capture(samples[:0], None, info)
        columns = {name: self.column(name)[first:] for name in COLUMNS}
        columns["offset"] = offsets[first:] - begin
        return Capture(samples[begin:end], frame_of(columns), info)

    def capture(self) -> Capture:
        """Return the capture so far; later packets do not change it."""
        frame = self.frame()
        samples, odd = map_samples(self.audio_path)
        info, problem = info_of(self.audio_path)
        ends = (frame["offset"] + frame["samples"]).to_numpy()
        missing = int(np.count_nonzero(ends > len(samples)))
        if missing:
            frame = frame[ends <= len(samples)]
            frame.index = pd.RangeIndex(len(frame), name=INDEX_NAME)
        damage = Damage(
            damaged_records=self.damaged,
            missing_payloads=missing,
            odd_byte=odd,
            notes=(problem,) if problem else (),
        )
        if len(frame):
            samples = samples[: int((frame["offset"] + frame["samples"]).max())]
        events = partial(read_events, self.audio_path)
        return Capture(samples, frame, info, damage, self.audio_path, events)

    def _start_over_if_replaced(self, descriptor: int) -> None:
        """Forget what was read if this is another capture now, or less of it."""
        known, self._first = self._first, os.pread(descriptor, RECORD_BYTES, HEADER_BYTES)
        shrunk = os.fstat(descriptor).st_size < HEADER_BYTES + self._read * RECORD_BYTES
        if self._read and (known != self._first or shrunk):
            self._start_over()

    def _read_batch(self, descriptor: int) -> bytes:
        start = HEADER_BYTES + self._read * RECORD_BYTES
        data = os.pread(descriptor, _BATCH * RECORD_BYTES, start)
        return data[: len(data) // RECORD_BYTES * RECORD_BYTES]

    def _extend(self, records: Records) -> None:
        if not len(records):
            return
        size = self.packets + len(records)
        for name, array in self._columns.items():
            if size > len(array):
                grown = _room_for(size, array.dtype)
                grown[: self.packets] = array[: self.packets]
                self._columns[name] = array = grown
                self._whole = None
            array[self.packets : size] = column_of(records, name)
        self.packets = size


def last_samples(path: Path, count: int) -> Samples:
    """Return up to `count` samples from the end of a ``.bin``; a mapping costs more than so few."""
    try:
        descriptor = open_plain(path)
    except FileNotFoundError:
        return np.empty(0, SAMPLE_DTYPE)
    try:
        size = os.fstat(descriptor).st_size // SAMPLE_BYTES
        first = max(size - count, 0)
        data = os.pread(descriptor, (size - first) * SAMPLE_BYTES, first * SAMPLE_BYTES)
    finally:
        os.close(descriptor)
    return np.frombuffer(data[: len(data) // SAMPLE_BYTES * SAMPLE_BYTES], SAMPLE_DTYPE)


def _room_for(count: int, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """Return an array with room to spare, straight from the system, to which it goes back.

    malloc keeps what arrays of up to 32 MiB leave behind: over a day, a tenth of the whole.
    Pages that are not written to take no memory: from some size on there is room at once for
    weeks, as moving it all takes longer and longer.
    """
    wanted = max(1_024, count + count // 2)
    if count >= _MANY:
        with contextlib.suppress(OSError):  # little is promised here: then it is moved now and then
            return _pages(max(wanted, _WEEKS), dtype)
    return _pages(wanted, dtype)


def _pages(count: int, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype)
