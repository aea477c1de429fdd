"""What is done with a message: one plain synchronous function of its bytes.

:class:`Ingest` knows nothing of sockets or event loops. It is told that a connection opened,
given each message with the time it arrived, and told that the connection closed; it decodes,
routes to the stream's one writer, counts, and journals what is refused. Nothing a peer sends
makes it raise.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pandas as pd

from recall_lab.capture.continuity import Continuity
from recall_lab.capture.events import STALLED
from recall_lab.capture.follower import Follower
from recall_lab.capture.info import CaptureInfo, parse_stem, stem_of
from recall_lab.capture.journal import Journal, StrangersThrottle, Throttle
from recall_lab.capture.reader import last_connection
from recall_lab.capture.writer import StreamWriter
from recall_lab.errors import CaptureError, InvalidMessage, StorageFailed
from recall_lab.receiver.settings import Status
from recall_lab.receiver.sync import Syncer
from recall_lab.text import excerpt
from recall_lab.wire.messages import AudioPacket, OtherEvent, decode

IDLE_CLOSE: Final = 300.0
"""Seconds without a packet after which a stream's files are closed; it is reopened on demand."""

RETRY: Final = 1.0
"""Seconds before a stream that could not be opened is tried again."""

_VIDEO: Final = "video_"
_CLOSED_AT_ONCE: Final = 16  # idle streams closed a second: each waits for the disk
_WINDOW: Final = 5  # seconds over which packets_per_second is taken


@dataclass(eq=False)
class Connection:
    """One open socket.

    Attributes:
        peer: its address.
        opened: when, in ns since 1970 UTC.
        sequence: number of the next message.
        numbers: this connection's number within each recording it has brought.
        streams: the streams it has brought.
    """

    peer: str
    opened: int = field(default_factory=time.time_ns)
    sequence: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    streams: dict[tuple[str, int | None], _Stream] = field(default_factory=dict)


@dataclass
class _Stream:
    """A stream while it is open."""

    writer: StreamWriter
    continuity: Continuity
    last: float  # monotonic seconds of the last packet
    staged: list[tuple[float, int]] = field(default_factory=list)  # relative, samples: not written


class Ingest:
    """Takes messages, keeps packets.

    Args:
        directory: where captures go; made if it is not there, for its owner only.
        receiver: id of this run.
        sync: seconds between two syncs of a stream.

    All methods are called from one thread.
    """

    def __init__(self, directory: Path, receiver: str, sync: float = 1.0) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.receiver = receiver
        self.started = time.time_ns()
        self.journal = Journal(self.directory)
        self.connections: set[Connection] = set()
        self.connected = self.packets = self.bytes = self.events = self.video = 0
        self.rejected: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.last_error = ""
        self._streams: dict[tuple[str, int | None], _Stream] = {}
        self._touched: list[_Stream] = []
        self._seen: dict[tuple[str, int | None], Continuity] = {}
        self._earlier: dict[str, list[Path]] | None = None  # indexes of earlier runs
        self._numbers: dict[str, int] = {}  # highest connection number of each recording
        self._refused: dict[tuple[str, int | None], tuple[float, CaptureError]] = {}
        self._throttle = Throttle(burst=20, rate=1.0)
        self._strangers = StrangersThrottle()
        self._ticks: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)
        self._syncer = Syncer(sync, self._sync_failed)

    def opened(self, peer: str) -> Connection:
        """Note a new connection."""
        connection = Connection(peer)
        self.connections.add(connection)
        self.connected += 1
        return connection

    def refuse(self, peer: str, reason: str, id: str) -> None:
        """Note that somebody was not let in. Nothing of what they sent is kept but an id."""
        self.refused[reason] += 1
        held = self._strangers.admit(peer, reason, time.monotonic())
        if held is not None:
            self._note(
                None, "refused", reason=reason, peer=peer, id=excerpt(id) if id else "",
                held_back=held,
            )  # fmt: skip

    def text(
        self, connection: Connection, data: bytes | bytearray, received: int, monotonic: int
    ) -> None:
        """Take one text message. Audio is kept once :meth:`flush` has been called.

        Args:
            connection: where it came from.
            data: its bytes, undecoded.
            received, monotonic: our clocks when it arrived, in ns.
        """
        sequence = connection.sequence
        connection.sequence = sequence + 1
        try:
            message = decode(data)
            if type(message) is AudioPacket:
                self._keep(connection, message, received, monotonic, sequence)
            else:
                assert isinstance(message, OtherEvent)
                self._event(connection, message, sequence)
        except InvalidMessage as error:
            self._reject(connection, error.reason, str(error), data, sequence)
        except CaptureError as error:
            self.last_error = str(error)
            self._reject(connection, "storage", str(error), data, sequence)

    def flush(self) -> None:
        """Write the audio of all messages taken since the last call, stream by stream."""
        for stream in self._touched:
            writer = stream.writer
            packets, audio = writer.packets, writer.bytes
            try:
                writer.commit()
            except CaptureError as error:
                self.rejected["storage"] += writer.dropped
                self.last_error = str(error)
                self._note(None, "lost", stream=writer.stem, packets=writer.dropped)
            kept = writer.packets - packets
            for relative, samples in stream.staged[:kept]:
                stream.continuity.add(relative, samples)
            stream.staged.clear()
            self.packets += kept
            self.bytes += writer.bytes - audio
        self._touched.clear()

    def binary(self, connection: Connection, data: bytes | bytearray) -> None:
        """Count a binary message: an outdated protocol, or a stranger. Its start is journalled."""
        sequence = connection.sequence
        connection.sequence = sequence + 1
        self._reject(connection, "binary", "a binary message", data, sequence)

    def closed(self, connection: Connection, code: int | None, reason: str) -> None:
        """Note that a connection has ended; never raises."""
        self.connections.discard(connection)
        halves: dict[str, dict[str, str]] = {}
        for key, stream in connection.streams.items():
            half = stream.writer.forget(connection.numbers[key[0]])
            if half:
                halves.setdefault(key[0], {})[stem_of(*key)] = half.hex()
        for recording, number in connection.numbers.items():
            self._note(
                recording,
                "disconnected",
                connection=number,
                messages=connection.sequence,
                code=code,
                reason=excerpt(reason),
                half_samples=halves.get(recording, {}),
            )

    def tick(self, now: float) -> None:
        """Do what is due about once a second: rates, idle streams.

        Args:
            now: monotonic seconds.
        """
        self._ticks.append((now, self.packets))
        idle = (key for key, stream in self._streams.items() if now - stream.last > IDLE_CLOSE)
        for key in list(itertools.islice(idle, _CLOSED_AT_ONCE)):
            self._close(key)
        for key in [key for key, stream in self._streams.items() if stream.writer.gone]:
            self._close(key)  # the next packet begins a new capture
            self._seen[key] = Continuity()
            self.last_error = f"the files of {stem_of(*key)} were deleted while it was received"

    def stalled(self, seconds: float) -> None:
        """Note that this process was held up until now, and for so long."""
        if self._throttle.admit(STALLED, time.monotonic()) is not None:
            self._note(None, STALLED, seconds=round(seconds, 6))

    def status(self, url: str) -> Status:
        """Return how things are."""
        totals = [stream.total() for stream in self._seen.values()]
        rate = 0.0
        if len(self._ticks) > 1:
            (start, before), (end, after) = self._ticks[0], self._ticks[-1]
            rate = (after - before) / max(end - start, 1e-9)
        return Status(
            state="running",
            url=url,
            started=self.started,
            connections=len(self.connections),
            connected=self.connected,
            recordings=len({recording for recording, _ in self._seen}),
            streams=len(self._seen),
            gaps=sum(count for count, _ in totals),
            missing=round(sum(seconds for _, seconds in totals), 6),
            packets=self.packets,
            packets_per_second=round(rate, 1),
            bytes=self.bytes,
            events=self.events,
            video=self.video,
            rejected=dict(self.rejected),
            refused=dict(self.refused),
            unsynced=sum(s.writer.packets - s.writer.synced for s in self._streams.values()),
            last_error=self.last_error,
        )

    def close(self) -> None:
        """Close every stream; what was kept is durable when this returns without an error noted."""
        for connection in list(self.connections):
            self.closed(connection, None, "the receiver stopped")
        for key in list(self._streams):
            self._close(key)
        self._syncer.stop()

    def _keep(
        self,
        connection: Connection,
        packet: AudioPacket,
        received: int,
        monotonic: int,
        sequence: int,
    ) -> None:
        recording = packet.recording.id
        participant = packet.participant
        key = (recording, None if participant is None else participant.id)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._open(key, packet)
        number = connection.numbers.get(recording)
        if number is None:
            number = self._number(connection, recording)
        if connection.streams.get(key) is not stream:
            connection.streams[key] = stream
        samples = stream.writer.stage(
            packet.payload,
            packet.relative,
            packet.absolute,
            received,
            monotonic,
            number,
            sequence,
            packet.zoneless,
        )
        stream.last = monotonic / 1e9
        if not stream.staged:
            self._touched.append(stream)
        stream.staged.append((packet.relative, samples))

    def _open(self, key: tuple[str, int | None], packet: AudioPacket) -> _Stream:
        now = time.monotonic()
        tried, error = self._refused.get(key, (0.0, None))
        if error is not None and now - tried < RETRY:
            raise error
        recording = packet.recording.id
        info = CaptureInfo(
            recording=recording,
            participant=packet.participant,
            bot=packet.bot,
            endpoint=packet.endpoint,
            artifact=packet.artifact,
            metadata=packet.recording.metadata,
        )
        try:
            if recording not in self._numbers:
                self._numbers[recording] = self._last_connection(recording)
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may have been moved
            writer = StreamWriter(self.directory, info, self.receiver)
        except (CaptureError, OSError) as failure:
            if not isinstance(failure, CaptureError):
                failure = StorageFailed(self.directory, failure)
            self._refused[key] = (now, failure)
            raise failure from None
        self._refused.pop(key, None)
        self._numbers[recording] = max(self._numbers[recording], writer.last_connection)
        continuity = self._seen.get(key)
        if continuity is None:
            continuity = self._seen[key] = Continuity()
            if writer.packets:
                continuity.start_over(_kept(writer))
        stream = self._streams[key] = _Stream(writer, continuity, now)
        self._syncer.add(writer)
        return stream

    def _close(self, key: tuple[str, int | None]) -> None:
        writer = self._streams.pop(key).writer
        self._syncer.remove(writer)
        try:
            writer.close()
        except CaptureError as error:
            self.last_error = str(error)

    def _number(self, connection: Connection, recording: str) -> int:
        """Give the connection its number within the recording, and journal that it is there."""
        number = self._numbers[recording] = self._numbers[recording] + 1
        connection.numbers[recording] = number
        self._note(
            recording, "connected", connection=number, peer=connection.peer,
            opened=connection.opened, receiver=self.receiver,
        )  # fmt: skip
        return number

    def _last_connection(self, recording: str) -> int:
        """Return the highest connection number that earlier runs gave in this recording."""
        if self._earlier is None:  # one look at the folder; what comes later is ours
            self._earlier = {}
            for path in self.directory.glob("*.idx"):
                parsed = parse_stem(path.stem)
                if parsed is not None:
                    self._earlier.setdefault(parsed[0], []).append(path)
        return max(map(last_connection, self._earlier.pop(recording, ())), default=0)

    def _event(self, connection: Connection, event: OtherEvent, sequence: int) -> None:
        self.events += 1
        recording = None if event.recording is None else event.recording.id
        number = None if recording is None else connection.numbers.get(recording)
        fields: dict[str, Any] = {"connection": number, "sequence": sequence, "event": event.event}
        if event.event.startswith(_VIDEO):  # pictures are not ours to keep: that they came is
            self.video += 1
            if self._throttle.admit(("video", recording), time.monotonic()) is None:
                return
            fields["bytes"] = len(event.json)
        else:
            fields["message"] = msgspec.Raw(event.json)
        self._note(recording, "event", **fields)

    def _reject(
        self,
        connection: Connection,
        reason: str,
        problem: str,
        data: bytes | bytearray,
        sequence: int,
    ) -> None:
        self.rejected[reason] += 1
        held = self._strangers.admit(connection.peer, reason, time.monotonic())
        if held is not None:
            self._note(
                None, "rejected", reason=reason, problem=problem, peer=connection.peer,
                sequence=sequence, size=len(data), start=excerpt(bytes(data[:200]), 200),
                held_back=held,
            )  # fmt: skip

    def _note(self, recording: str | None, kind: str, **fields: Any) -> None:
        try:
            self.journal.write(recording, kind, **fields)
        except OSError as error:  # the journal is a service: audio goes on without it
            self.last_error = f"the journal could not be written: {error}"

    def _sync_failed(self, writer: StreamWriter, error: OSError) -> None:
        self.last_error = f"{writer.stem} could not be synced to the disk: {error}"


def _kept(writer: StreamWriter) -> pd.DataFrame:
    """Return the packets that a writer has on the disk."""
    kept = Follower(writer.audio_path)
    with contextlib.suppress(OSError):  # out of descriptors: gaps are counted from here on, then
        kept.poll()
    return kept.frame()
