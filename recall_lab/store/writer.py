"""Write a stream: append, roll back, recover, sync.

The order is payload, then record: the record is the commit. Nothing is buffered here, so a
packet that :meth:`StreamWriter.append` has returned for survives the death of the process;
:meth:`StreamWriter.sync` is what makes it survive the death of the machine.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import socket
import threading
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from isal.isal_zlib import crc32

from recall_lab.capture.info import CaptureInfo, Writer
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES, Flag, pack_record
from recall_lab.errors import CaptureError, StorageFailed
from recall_lab.store.files import open_own, sync_path, write_all
from recall_lab.store.fsync_recovery import not_on_disk, write_again
from recall_lab.store.info_file import read_info, write_info
from recall_lab.store.lock import lock, recover
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES

_DAY_NS: Final = 86_400_000_000_000

# plain ints: combining members of an IntFlag takes longer than the write itself
_ODD, _CARRIED, _EMPTY = int(Flag.ODD), int(Flag.CARRIED), int(Flag.EMPTY)
_BACKWARD, _NEGATIVE = int(Flag.BACKWARD), int(Flag.NEGATIVE)
_IMPLAUSIBLE, _RESUMED = int(Flag.IMPLAUSIBLE), int(Flag.RESUMED)
_DROPPED, _HALF_LOST = int(Flag.DROPPED), int(Flag.HALF_LOST)
_NEAR: Final = 0.02  # s by which stamps may miss one another, however short packets are


class StreamWriter:
    """The one writer of a stream, shared by all its connections.

    Opening takes an exclusive lock and repairs: half a record at the end of the index is cut
    off (it was never committed), everything else stays. A capture that exists is appended to.

    Args:
        directory: an existing folder.
        info: whose stream it is.
        receiver: id of the receiver's run, told to whoever finds the capture locked.

    Attributes:
        packets: records in the index, damaged ones included.
        bytes: length of the ``.bin``.
        synced: how many of the packets are known to be durable.
        half_samples: half a sample that waits for the next packet, by connection.
        checksum: CRC-32 of the payload that was staged last, as it is kept.
        last_connection: the highest connection number in the index; 0 for a new capture.

    Raises:
        CaptureLocked: when another writer, here or in another process, holds the stream.
        StorageFailed: when the files can't be opened.
    """

    def __init__(self, directory: Path, info: CaptureInfo, receiver: str = "") -> None:
        self.directory = Path(directory)
        self.stem = info.stem
        self.index_path = self.directory / f"{self.stem}.idx"
        self.audio_path = self.directory / f"{self.stem}.bin"
        self.info_path = self.directory / f"{self.stem}.json"
        self.packets = self.bytes = self.synced = 0
        self.last_connection = 0
        self.dropped = 0
        self._payloads: list[bytes] = []
        self._records: list[bytes] = []
        self._staged = 0  # bytes of payloads
        self.half_samples: dict[int, bytes] = {}
        self._half_at: dict[int, tuple[float, float]] = {}  # where its packet ends, how long it is
        self.checksum = 0
        self._last_relative = -np.inf
        self._flags_next = 0
        self._named = False  # are the files' names durable?
        self._sync_failed = False  # has a sync failed since the last that succeeded?
        self._spoiled = 0  # packets that such a one has cost
        self._syncing = threading.Lock()  # sync runs in another thread than append and close
        self._appending = threading.Lock()
        self._index = self._audio = -1
        try:
            self._index = open_own(self.index_path, os.O_RDWR)
            lock(self._index, self.index_path, self.info_path)
            self._audio = open_own(self.audio_path, os.O_RDWR)
            found = recover(self._index, self._audio, self.index_path)
            self.packets, self.bytes = found.packets, found.bytes
            self.last_connection, self._last_relative = found.connection, found.relative
            self._info = msgspec.json.encode(self._take_over(info, receiver))
        except OSError as error:
            self._release()
            raise StorageFailed(error.filename or self.index_path, error) from error
        except (RecursionError, ValueError) as error:  # metadata nested as deeply as it goes
            self._release()
            raise CaptureError(f"{self.stem}.json can't be written: {error}") from None
        except BaseException:
            self._release()
            raise

    @property
    def info(self) -> CaptureInfo:
        """What the ``.json`` says; kept as text, which takes a twentieth of the memory."""
        return msgspec.json.decode(self._info, type=CaptureInfo)

    @property
    def gone(self) -> bool:
        """Whether our files are no longer those of that name: what is kept there, nobody finds.

        They were deleted, moved or replaced, or their disk was unmounted.
        """
        try:
            return not all(
                os.path.samestat(os.fstat(descriptor), os.lstat(path))
                for descriptor, path in (
                    (self._index, self.index_path),
                    (self._audio, self.audio_path),
                )
            )
        except OSError:
            return True

    def append(
        self,
        payload: bytes,
        *,
        relative: float,
        absolute: int,
        received: int,
        monotonic: int,
        connection: int,
        sequence: int,
        flags: int = 0,
    ) -> None:
        """Keep one packet: :meth:`stage` and :meth:`commit` in one.

        Raises:
            StorageFailed: nothing of the packet is kept then, and all before it still is.
        """
        self.stage(payload, relative, absolute, received, monotonic, connection, sequence, flags)
        self.commit()

    def stage(
        self,
        payload: bytes,
        relative: float,
        absolute: int,
        received: int,
        monotonic: int,
        connection: int,
        sequence: int,
        flags: int = 0,
    ) -> int:
        """Take one packet, to be kept by the next :meth:`commit`; writes nothing.

        Half a sample at the end of an odd payload waits for the next packet of the same
        connection, so that every packet begins on a sample.

        Args:
            payload: PCM bytes, any number.
            relative: sender's media clock, s.
            absolute: sender's wall clock, ns since 1970 UTC.
            received, monotonic: our clocks at arrival, ns.
            connection: number of the connection within the recording, from 1.
            sequence: number of the message within the connection.
            flags: what is known to be odd about it already (:class:`Flag`).

        Returns:
            Samples it holds: half a sample may have come from the packet before, or gone on.
        """
        flags |= 0 if self._records else self._flags_next
        if not payload:
            flags |= _EMPTY
        elif len(payload) & 1 or self.half_samples:
            payload, flags = self._align(payload, relative, connection, flags)
        if relative < self._last_relative:
            flags |= _BACKWARD
        if relative < 0:
            flags |= _NEGATIVE
        if not -_DAY_NS < absolute - received < _DAY_NS:
            flags |= _IMPLAUSIBLE
        self._last_relative = relative
        checksum = crc32(payload)
        self._records.append(
            pack_record(
                self.bytes + self._staged,
                len(payload),
                flags,
                relative,
                absolute,
                received,
                monotonic,
                connection & 0xFFFFFFFF,
                sequence & 0xFFFFFFFF,
                checksum,
            )
        )
        self._payloads.append(payload)
        self._staged += len(payload)
        self.checksum = checksum
        return len(payload) // SAMPLE_BYTES

    def skip(self, payload: bytes, relative: float, connection: int) -> None:
        """Pass over a packet that is not to be kept, so that its connection stays in step."""
        if payload and (len(payload) & 1 or self.half_samples):
            self._align(payload, relative, connection, 0)

    def commit(self) -> int:
        """Write what is staged, audio before records; return how many packets that kept.

        Several packets at once cost little more than one: that is what staging is for.

        Raises:
            StorageFailed: :attr:`dropped` says how many of the staged packets are not kept.
                All before them still is.
        """
        count = len(self._records)
        with self._appending:
            kept, path, error = self._append_staged()
        self.dropped = count - kept
        if kept:
            self._flags_next = 0
        # half samples stay too: they are in step with what their connections send next
        self._payloads.clear()
        self._records.clear()
        self._staged = 0
        if error is not None:
            self._cut()
            self.note_loss()
            raise StorageFailed(path, error) from error
        return kept

    def _append_staged(self) -> tuple[int, Path, OSError | None]:
        """Write what is staged; return how many packets are kept, and what stopped it where."""
        if self._staged:
            _, error = write_all(self._audio, b"".join(self._payloads), self.bytes)
            if error is not None:
                return 0, self.audio_path, error
        done, error = write_all(self._index, b"".join(self._records), self._index_end)
        kept = done // RECORD_BYTES  # whole records stay: someone may have read them already
        self.packets += kept
        self.bytes += sum(map(len, self._payloads[:kept]))
        return kept, self.index_path, error

    def note_loss(self) -> None:
        """Have the next packet that is kept say that others before it could not be."""
        self._flags_next |= _DROPPED

    def sync(self) -> None:
        """Make everything appended so far durable: audio before index. Any thread may call it.

        Raises:
            OSError: then nothing since the last success may be taken as durable, and
                :attr:`synced` stays. The next call writes all of that anew before it syncs
                (see :mod:`recall_lab.store.fsync_recovery`); packets that it can't read back for
                that are told by another one, once.
        """
        with self._syncing:
            if self._index < 0:
                return
            packets, spoiled = self.packets, 0
            first, sync_failed, self._sync_failed = self.synced, self._sync_failed, True
            if sync_failed:
                with self._appending:
                    packets, end = self.packets, self.bytes
                    spoiled = write_again(self._audio, self._index, first, packets, end)
                write_info(self.info_path, self.info)
                self._named = False
            os.fdatasync(self._audio)
            os.fdatasync(self._index)
            if not self._named:
                sync_path(self.info_path)
                sync_path(self.directory)
                self._named = True
            if sync_failed:
                found = not_on_disk(self.audio_path, self.index_path, first, packets)
                if found > spoiled:
                    raise OSError(errno.EIO, f"the disk does not hold {found} packets rightly")
            self._sync_failed = False
            self.synced = packets
            self._spoiled += spoiled
        if spoiled:
            raise OSError(errno.EIO, f"a failed sync has spoiled {spoiled} packets")

    @property
    def unsynced(self) -> int:
        """How many packets are not known to be durable, those included that never will be."""
        return self.packets - self.synced + self._spoiled

    @property
    def sync_failed(self) -> bool:
        """Whether the last sync failed: then only :attr:`synced` packets are durable."""
        return self._sync_failed

    def resume_unsynced(self, synced: int) -> None:
        """Take over from a writer of this capture whose last sync had failed."""
        self.synced, self._sync_failed = min(synced, self.packets), True

    def close(self) -> None:
        """Sync, note the end in the ``.json`` and let go of the lock; idempotent.

        Raises:
            StorageFailed: when that could not be synced, and not when it was written anew either.
        """
        if self._index < 0:
            return
        try:
            try:
                self._note_end()
            finally:
                self._sync_at_last()
        except OSError as error:
            raise StorageFailed(error.filename or self.audio_path, error) from error
        finally:
            self._release()

    def _note_end(self) -> None:
        info = self.info
        if info.writer is not None and not self.gone:
            ended = msgspec.structs.replace(info.writer, closed=time.time_ns())
            with self._syncing:
                info = msgspec.structs.replace(info, writer=ended)
                self._info = msgspec.json.encode(info)
                self._named = False
                write_info(self.info_path, info)

    def _sync_at_last(self) -> None:
        """Sync, and where that fails, once more: then all is written anew first."""
        try:
            self.sync()
        except OSError:
            if not self._sync_failed:
                raise
            self.sync()

    def _align(
        self, payload: bytes, relative: float, connection: int, flags: int
    ) -> tuple[bytes, int]:
        if len(payload) & 1:
            flags |= _ODD
        carried = self.half_samples.pop(connection, None)
        if carried is not None:
            end, lasts = self._half_at.pop(connection, (relative, math.inf))
            if abs(relative - end) <= max(lasts / 2, _NEAR):
                payload = carried + payload
                flags |= _CARRIED
            else:  # others lie between: before a stranger it would put all that follows off
                flags |= _HALF_LOST
        if len(payload) & 1:
            self.half_samples[connection] = payload[-1:]
            lasts = len(payload) / SAMPLE_BYTES / RATE
            self._half_at[connection] = relative + lasts, lasts
            payload = payload[:-1]
        return payload, flags

    @property
    def _index_end(self) -> int:
        return HEADER_BYTES + self.packets * RECORD_BYTES

    def _cut(self) -> None:
        """Cut off what no record claims, so that the ``.bin`` is what a plain appender has.

        If even that fails, no matter: the next write covers it.
        """
        for descriptor, length in ((self._audio, self.bytes), (self._index, self._index_end)):
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, length)

    def _take_over(self, info: CaptureInfo, receiver: str) -> CaptureInfo:
        """Write the ``.json``: what an earlier one knew stays, we are the writer."""
        known, _ = read_info(self.info_path)
        if known is not None and known.stem != info.stem:
            raise CaptureError(
                f"the files {self.stem}.* are those of {known.stem!r}: this disk does not tell "
                "capital letters from small ones, or they were renamed; move them away"
            )
        last = known.writer if known is not None else None
        if self.packets and (last is None or last.receiver != receiver):
            self._flags_next = _RESUMED
        now = time.time_ns()
        if known is not None:
            inherited = {
                name: getattr(known, name)
                for name in ("participant", "bot", "endpoint", "artifact", "metadata")
                if getattr(info, name) is None
            }
            info = msgspec.structs.replace(info, **inherited)
            if known.participant is not None:
                # whose it was at first: what is told of them since is in the journal
                info = msgspec.structs.replace(info, participant=known.participant)
        info = msgspec.structs.replace(
            info,
            created=known.created if known is not None and known.created else now,
            writer=Writer(receiver=receiver, pid=os.getpid(), host=socket.gethostname(), since=now),
        )
        write_info(self.info_path, info)
        return info

    def _release(self) -> None:
        with self._syncing:
            if self._index >= 0:  # by name: a forked process may hold the descriptor too
                with contextlib.suppress(OSError):
                    fcntl.flock(self._index, fcntl.LOCK_UN)
            held = self._audio, self._index
            self._audio = self._index = -1
            for descriptor in held:
                if descriptor >= 0:
                    with contextlib.suppress(OSError):  # it is closed all the same
                        os.close(descriptor)
