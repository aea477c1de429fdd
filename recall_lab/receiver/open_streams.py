"""The streams that one receiver is writing: open, commit, close.

Everything here that touches the disk is called from the loop's thread, but for the syncs.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from recall_lab.capture.continuity.live import Continuity
from recall_lab.capture.events import UNSYNCED
from recall_lab.capture.info import CaptureInfo, info_from, stem_of, told_of
from recall_lab.capture.record import RECORD_BYTES
from recall_lab.control.limits import Limits
from recall_lab.errors import CaptureError, LimitReached, StorageFailed
from recall_lab.receiver.connection_limiter import streams_at_once
from recall_lab.receiver.dropped import Dropped, Key, keep_newest
from recall_lab.receiver.quota import Quota
from recall_lab.receiver.recordings import Recordings
from recall_lab.receiver.sync import Syncer
from recall_lab.store.follower import Follower
from recall_lab.store.journal import Throttle
from recall_lab.store.writer import StreamWriter
from recall_lab.text import sized
from recall_lab.wire.messages import AudioPacket, Participant

IDLE_CLOSE: Final = 300.0
"""Seconds without a packet after which a stream's files are closed; it is reopened on demand."""

RETRY: Final = 1.0
"""Seconds before a stream that could not be opened is tried again."""

_TELL: Final = 10.0  # seconds between two lines about a loss that goes on
_RETRY: Final = 10.0  # seconds between two tries to sync closed streams whose sync failed
_CLOSED_AT_ONCE: Final = 16  # idle streams closed a second: each waits for the disk
_REMEMBERED: Final = 4_096  # streams whose gaps are at hand, refusals, and such


Staged = tuple[float, int, int, int, int]
"""A packet: relative (s), samples, absolute (ns), checksum, arrival by our monotonic clock (ns)."""


@dataclass(eq=False)
class OpenStream:
    """A stream while it is open."""

    key: Key
    writer: StreamWriter
    continuity: Continuity
    last: float  # monotonic seconds of the last packet
    told: Participant | None = None  # whose it is, as messages told it last
    unread: set[str] = field(default_factory=set)  # fields that were named as unreadable
    staged: list[Staged] = field(default_factory=list)  # not written


class Unsynced(NamedTuple):
    """A stream that was closed, and whose last sync had failed.

    Attributes:
        info: of its capture.
        synced, packets: how many are durable, of how many.
    """

    info: CaptureInfo
    synced: int
    packets: int


class Storage:
    """Keeps packets, stream by stream.

    Args:
        directory: an existing folder.
        receiver: id of this run.
        sync: seconds between two syncs of a stream.
        limits: how much is kept.
        note: writes a line into the journal, of a recording, a kind and fields; tells whether
            it could.
        trouble: is told what went wrong, in words, by any thread.

    Attributes:
        packets, bytes: kept since the start.
        recordings: whose files may be written.
        dropped: what was received and could not be kept.
        refused_by_disk: packets of it that the disk refused as they were written.
    """

    def __init__(
        self,
        directory: Path,
        receiver: str,
        sync: float,
        limits: Limits,
        note: Callable[..., bool],
        trouble: Callable[[str], None],
    ) -> None:
        self.directory = directory
        self.receiver = receiver
        self.budget = Quota(limits, directory)
        self.packets = self.bytes = 0
        self.recordings = Recordings(directory, self.budget)
        self.dropped = Dropped(note)
        self.refused_by_disk = 0
        self.seen = 0  # streams
        self._note = note
        self._trouble = trouble
        self._open: dict[Key, OpenStream] = {}  # the one that was opened the longest ago first
        self._most = streams_at_once(limits)
        self._touched: list[OpenStream] = []
        self._continuity: dict[Key, Continuity] = {}
        self._forgotten = (0, 0.0)  # gaps and seconds of streams that are no longer remembered
        self._half_samples: dict[
            Key, dict[int, bytes]
        ] = {}  # of samples, of streams closed for a while
        self._unsynced: dict[Key, Unsynced] = {}
        self._settled: dict[Key, int] = {}  # closed, and so many packets durable
        self._refusals: dict[Key, tuple[float, CaptureError]] = {}
        self._told = 0.0  # when drops under way were told, monotonic s
        self._retried = 0.0  # when that was last tried, monotonic s
        self._failures = Throttle(burst=5, rate=0.1)  # of syncs
        self._syncer = Syncer(sync, self._sync_failed)

    def stream(self, packet: AudioPacket, now: float) -> OpenStream:
        """Return the stream of a packet, opened if it was not.

        Args:
            packet: the one to be kept.
            now: monotonic seconds.

        Raises:
            CaptureError: when nothing more is to be kept of it, or it can't be written.
        """
        recording, participant = packet.recording.id, packet.participant
        key = (recording, None if participant is None else participant.id)
        stream = self._open.get(key)
        if stream is None:
            return self._opened(key, packet, now)
        try:
            self.budget.check(recording)
        except LimitReached:
            stream.writer.note_loss()
            raise
        return stream

    def touched(self, stream: OpenStream, packet: Staged) -> None:
        """Note that a packet was staged: :meth:`flush` is to commit it."""
        if not stream.staged:
            self._touched.append(stream)
        stream.staged.append(packet)

    def flush(self) -> None:
        """Commit what was staged, stream by stream."""
        for stream in self._touched:
            writer = stream.writer
            packets, audio = writer.packets, writer.bytes
            error: CaptureError | None = None
            try:
                writer.commit()
            except CaptureError as failure:
                error = failure
            kept = writer.packets - packets
            for packet in stream.staged[:kept]:
                stream.continuity.add(*packet)
            size = writer.bytes - audio
            self.packets += kept
            self.bytes += size
            self.budget.spend(stream.key[0], size + RECORD_BYTES * kept)
            if kept:
                self.dropped.tell(stream.key)
            if error is not None:
                self._trouble(str(error))
                for relative, samples, *_ in stream.staged[kept:]:
                    self.dropped.add(stream.key, relative, samples, error)
                self.refused_by_disk += writer.dropped
            stream.staged.clear()
        self._touched.clear()

    def forget(self, key: Key, connection: int) -> bytes:
        """Return what is left of a connection that has ended: b"" or half a sample."""
        stream = self._open.get(key)
        half_samples = (
            self._half_samples.get(key, {}) if stream is None else stream.writer.half_samples
        )
        return half_samples.pop(connection, b"")

    def skipped(self, key: Key, connection: int, payload: bytes, relative: float) -> None:
        """Note that a packet of a connection is not kept: half a sample may have waited for it."""
        stream = self._open.get(key)
        if stream is None:
            self.forget(key, connection)
        else:
            stream.writer.skip(payload, relative, connection)

    def tick(self, now: float) -> None:
        """Do what is due about once a second: idle streams, files that were deleted, a new day.

        Args:
            now: monotonic seconds.
        """
        self.budget.tick()
        if now - self._retried > _RETRY and self._unsynced:
            self._retried = now
            self._sync_again(next(iter(self._unsynced)))
        if now - self._told > _TELL:  # a kill is to cost little of what there is to tell
            self._told = now
            self.dropped.tell_all(self.recordings)
        idle = (key for key, stream in self._open.items() if now - stream.last > IDLE_CLOSE)
        for key in list(itertools.islice(idle, _CLOSED_AT_ONCE)):
            self._close(key)
        for key in [key for key, stream in self._open.items() if stream.writer.gone]:
            self._close(key)
            self._unsynced.pop(key, None)  # there is nothing left to be durable
            self._settled.pop(key, None)
            self._continuity[key] = Continuity()
            self._trouble(
                f"the files of {stem_of(*key)} are gone (deleted, moved, or their disk unmounted) "
                "and new ones are begun: if that was not meant, put the folder "
                f"{str(self.directory)!r} back, or start the receiver with another directory "
                "and replace=True"
            )

    def close(self) -> None:
        """Close every stream; what was kept is durable when this returns without trouble."""
        self.flush()
        open_ = [(key, self._taken_out(key)) for key in list(self._open)]
        # each waits for the disk, which takes many at once in little more time than one
        with ThreadPoolExecutor(_CLOSED_AT_ONCE) as pool:
            for (key, writer), error in zip(
                open_, pool.map(_close, [writer for _, writer in open_]), strict=True
            ):
                self._closed(key, writer, error)
        self.dropped.tell_all(self.recordings)
        self._syncer.stop()

    @property
    def missing(self) -> tuple[int, float]:
        """Gaps in all streams since the start, and how long they are together, s."""
        totals = [self._forgotten, *(stream.total() for stream in self._continuity.values())]
        return sum(count for count, _ in totals), sum(seconds for _, seconds in totals)

    @property
    def unsynced(self) -> int:
        """Packets kept that are not yet known to be durable."""
        waiting = sum(one.packets - one.synced for one in self._unsynced.values())
        return waiting + sum(stream.writer.unsynced for stream in self._open.values())

    def _opened(self, key: Key, packet: AudioPacket, now: float) -> OpenStream:
        tried, error = self._refusals.get(key, (0.0, None))
        if error is not None and now - tried < RETRY:
            raise _bare(error)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may have been moved
            stream = self._begin(key, packet, now)
        except (CaptureError, OSError) as failure:
            if not isinstance(failure, CaptureError):
                failure = StorageFailed(self.directory, failure)
            self._refusals[key] = (now, _bare(failure))
            keep_newest(self._refusals, _REMEMBERED)
            raise failure from None
        self._refusals.pop(key, None)
        return stream

    def _begin(self, key: Key, packet: AudioPacket, now: float) -> OpenStream:
        recording = key[0]
        self.recordings.claim(recording)
        new = not (self.directory / f"{stem_of(*key)}.idx").exists()
        if new:
            self.budget.check_begin(recording)
        while len(self._open) >= self._most:  # descriptors are few: the quietest has to wait
            self.flush()
            self._close(min(self._open, key=lambda key: self._open[key].last))
        info, size = info_from(packet)
        if size:
            self._trouble(f"metadata of {info.stem} is not kept: it has {sized(size)}, of 16 KiB")
        writer = StreamWriter(self.directory, info, self.receiver)
        if new:
            self.budget.begun(recording)
        if key in self._unsynced:
            writer.resume_unsynced(self._unsynced.pop(key).synced)
        else:
            writer.synced = min(self._settled.pop(key, 0), writer.packets)
        if self.dropped.mark(key):
            writer.note_loss()
        writer.half_samples.update(self._half_samples.pop(key, {}))
        self.recordings.reached(recording, writer.last_connection)
        told = writer.info.participant
        told = None if told is None else told_of(told)
        stream = OpenStream(key, writer, self._continuity_of(key, writer), now, told)
        self._open[key] = stream
        self._syncer.add(writer)
        return stream

    def _continuity_of(self, key: Key, writer: StreamWriter) -> Continuity:
        continuity = self._continuity.get(key)
        if continuity is None:
            self.seen += 1
            continuity = self._continuity[key] = Continuity()
            if writer.packets:
                continuity.start_over(_kept(writer))
            if len(self._continuity) > _REMEMBERED:
                self._forget_one()
        return continuity

    def _forget_one(self) -> None:
        """Remember of the stream that came first, and is closed, only what it adds to the sum."""
        first = next((key for key in self._continuity if key not in self._open), None)
        if first is not None:
            count, seconds = self._continuity.pop(first).total()
            self._forgotten = self._forgotten[0] + count, self._forgotten[1] + seconds

    def _close(self, key: Key) -> None:
        writer = self._taken_out(key)
        self._closed(key, writer, _close(writer))

    def _taken_out(self, key: Key) -> StreamWriter:
        """Return the writer of a stream that is open no more, and is to be closed."""
        writer = self._open.pop(key).writer
        self._syncer.remove(writer)
        if writer.half_samples:
            self._half_samples[key] = writer.half_samples
        return writer

    def _closed(self, key: Key, writer: StreamWriter, error: CaptureError | None) -> None:
        """Note what became of a writer that was closed."""
        if error is not None:
            self._trouble(str(error))
        if writer.sync_failed:
            self._unsynced[key] = Unsynced(writer.info, writer.synced, writer.packets)
        else:
            self._settled[key] = writer.synced
            keep_newest(self._settled, _REMEMBERED)
        self.dropped.tell(key)

    def _sync_again(self, key: Key) -> None:
        """Try once more to sync a stream that was closed after a sync had failed."""
        one = self._unsynced.pop(key)
        try:
            writer = StreamWriter(self.directory, one.info, self.receiver)
        except CaptureError as error:
            self._unsynced[key] = one
            self._trouble(str(error))
            return
        writer.resume_unsynced(one.synced)
        self._closed(key, writer, _close(writer))

    def _sync_failed(self, writer: StreamWriter, error: Exception) -> None:
        """Note it; this is the syncing thread."""
        self._trouble(
            f"{writer.stem} could not be synced to the disk: {error}; it is written anew and tried "
            "again, and status.unsynced says how much is not durable"
        )
        if self._failures.admit(writer.stem, time.monotonic()) is not None:
            self._note(None, UNSYNCED, stream=writer.stem, error=str(error))


def _bare(error: CaptureError) -> CaptureError:
    """Return an error like this one, without the frames of calls, and the messages in them."""
    bare = copy.copy(error)
    if isinstance(bare, StorageFailed):
        bare.cause = OSError(*bare.cause.args)
    return bare


def _close(writer: StreamWriter) -> CaptureError | None:
    """Close a writer; return what went wrong. Any thread."""
    try:
        writer.close()
    except CaptureError as error:
        return error
    return None


def _kept(writer: StreamWriter) -> pd.DataFrame:
    """Return the packets that a writer has on the disk."""
    kept = Follower(writer.audio_path)
    with contextlib.suppress(OSError):  # out of descriptors: gaps are counted from here on, then
        kept.poll()
    return kept.frame()
