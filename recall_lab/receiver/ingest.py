"""Handle one message: a plain synchronous function of its bytes.

:class:`Ingest` knows nothing of sockets or event loops. It is told that a connection opened,
given each message with the time it arrived, and told that the connection closed; it decodes,
routes to the stream's one writer, counts, and journals what is refused. Nothing a peer sends
makes it raise.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from recall_lab.capture.events import CLOCK, PARTICIPANT, STALLED, UNREAD
from recall_lab.capture.info import stem_of, told_of
from recall_lab.capture.record import Flag
from recall_lab.control.limits import Limits
from recall_lab.control.status import Status
from recall_lab.control.visits import HINTS
from recall_lab.errors import CaptureError, InvalidMessage, LimitReached
from recall_lab.receiver.dropped import Key
from recall_lab.receiver.open_streams import OpenStream, Storage
from recall_lab.receiver.quarantine import Quarantine
from recall_lab.store.journal import Journal, StrangersThrottle, Throttle
from recall_lab.text import excerpt
from recall_lab.wire.messages import (
    ENDED_PROTOCOL,
    AudioPacket,
    OtherEvent,
    Participant,
    decode_message,
)
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES
from recall_lab.wire.timestamps import format_absolute

_ZONELESS, _UNSTAMPED, _UNREAD = int(Flag.ZONELESS), int(Flag.UNSTAMPED), int(Flag.UNREAD)
_VIDEO: Final = "video_"
_WAITING: Final = 64  # events that name no recording, of a socket that has not named one either
_WAITING_BYTES: Final = 16_384  # of each: what is longer does not wait
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
        recording: the last that it named; events that name none belong to it.
        waiting: events that came before it named any.
    """

    peer: str
    opened: int = field(default_factory=time.time_ns)
    sequence: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    streams: set[Key] = field(default_factory=set)
    recording: str | None = None
    waiting: list[dict[str, Any]] = field(default_factory=list)


class Ingest:
    """Takes messages, keeps packets.

    Args:
        directory: where captures go; made if it is not there, for its owner only.
        receiver: id of this run.
        sync: seconds between two syncs of a stream.
        limits: how much is kept.

    All methods are called from one thread.
    """

    def __init__(
        self, directory: Path, receiver: str, sync: float = 1.0, limits: Limits | None = None
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.receiver = receiver
        self.started = time.time_ns()
        self.journal = Journal(self.directory)
        self.connections: set[Connection] = set()
        self.connected = self.events = self.video = 0
        self.limits = limits or Limits()
        self.visits: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.last_error = ""
        self._last_refusal = ""  # of a message: it is told where nothing worse has happened
        self._throttle = Throttle(burst=20, rate=1.0)
        self._strangers = StrangersThrottle()
        self._ticks: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)
        self.storage = Storage(
            self.directory, receiver, sync, self.limits, self._note, self._trouble
        )
        self._quarantine = Quarantine(self.directory, receiver, self.limits, self.storage.budget)

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

    def visited(self, peer: str, what: str) -> None:
        """Note a socket that came to nothing, and what it was."""
        self.visits[what] += 1
        hint = HINTS[what]
        if hint:
            held = self._strangers.admit(peer, what, time.monotonic())
            if held is not None:
                self._note(None, "visit", what=what, hint=hint, peer=peer, held_back=held)

    def text(
        self, connection: Connection, data: bytes | bytearray, received: int, monotonic: int
    ) -> bool:
        """Take one text message. Audio is kept once :meth:`flush` has been called.

        Args:
            connection: where it came from.
            data: its bytes, undecoded.
            received, monotonic: our clocks when it arrived, in ns.

        Returns:
            False when it was no text: then the connection is to be failed (RFC 6455, 8.1).
        """
        sequence = connection.sequence
        connection.sequence = sequence + 1
        try:
            message = decode_message(data)
            if type(message) is AudioPacket:
                self._keep(connection, message, received, monotonic, sequence)
            else:
                assert isinstance(message, OtherEvent)
                self._event(connection, message, sequence)
        except InvalidMessage as error:
            where = f" {error.field}" if error.field and error.reason in ("field", "number") else ""
            self._reject(connection, error.reason + where, str(error), data, sequence)
            self._keep_aside(connection, error.reason, str(error), data)
            return error.reason != "utf8"
        except CaptureError as error:
            self.last_error = str(error)
            reason = error.reason if isinstance(error, LimitReached) else "storage"
            self._reject(connection, reason, str(error), data, sequence)
        return True

    def flush(self) -> None:
        """Write the audio of all messages taken since the last call, stream by stream."""
        self.storage.flush()

    def binary(self, connection: Connection, data: bytes | bytearray) -> None:
        """Take a binary message that holds JSON; count any other, and journal its start."""
        if data[:64].lstrip()[:1] == b"{":
            self.text(connection, data, time.time_ns(), time.monotonic_ns())
            return
        sequence = connection.sequence
        connection.sequence = sequence + 1
        problem = f"a binary message that is no JSON: bare audio is of {ENDED_PROTOCOL}"
        self._reject(connection, "binary", problem, data, sequence)
        self._keep_aside(connection, "binary", problem, data)

    def unfinished(self, connection: Connection, size: int) -> None:
        """Count a message of which so much had come, and which is waited for no longer."""
        problem = f"{size} bytes of a message that did not come whole, and no room to wait for it"
        self._reject(connection, "unfinished", problem, b"", connection.sequence)

    def given_up(self, peer: str, size: int, error: Exception) -> None:
        """Note that what a peer sent could not be taken, and that it is let go."""
        short = isinstance(error, MemoryError)
        self.rejected["memory" if short else "error"] += 1
        what = "out of memory" if short else f"an error of ours ({error!r})"
        self._trouble(
            f"{what}: the connection of {peer} was given up, with {size} bytes of a message"
            + ("; lower limits.connections, or give the receiver's process more" if short else "")
        )

    def closed(self, connection: Connection, code: int | None, reason: str) -> None:
        """Note that a connection has ended; never raises."""
        self.connections.discard(connection)
        half_samples: dict[str, dict[str, str]] = {}
        for key in connection.streams:
            half = self.storage.forget(key, connection.numbers[key[0]])
            if half:
                half_samples.setdefault(key[0], {})[stem_of(*key)] = half.hex()
        for recording, number in connection.numbers.items():
            self._note(
                recording,
                "disconnected",
                connection=number,
                messages=connection.sequence,
                code=code,
                reason=excerpt(reason),
                half_samples=half_samples.get(recording, {}),
            )

    def tick(self, now: float) -> None:
        """Do what is due about once a second: rates, idle streams.

        Args:
            now: monotonic seconds.
        """
        self._ticks.append((now, self.storage.packets))
        self.storage.tick(now)

    def stalled(self, seconds: float) -> None:
        """Note that this process was held up until now, and for so long."""
        if self._throttle.admit(STALLED, time.monotonic()) is not None:
            self._note(None, STALLED, seconds=round(seconds, 6))

    def clock_set(self, seconds: float) -> None:
        """Note that our wall clock was set, and by how much."""
        if self._throttle.admit(CLOCK, time.monotonic()) is not None:
            self._note(None, CLOCK, seconds=round(seconds, 6))

    def ended(self, why: str) -> None:
        """Note that this run of the receiver ends."""
        self._note(None, "ended", receiver=self.receiver, packets=self.storage.packets, reason=why)

    def status(self, url: str) -> Status:
        """Return how things are."""
        storage = self.storage
        gaps, missing = storage.missing
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
            recordings=len(storage.recordings),
            streams=storage.seen,
            gaps=gaps,
            missing=round(missing, 6),
            packets=storage.packets,
            packets_per_second=round(rate, 1),
            bytes=storage.bytes,
            dropped=storage.dropped.packets,
            dropped_s=round(storage.dropped.samples / RATE, 6),
            events=self.events,
            video=self.video,
            rejected=dict(self.rejected + Counter(storage=storage.refused_by_disk)),
            quarantined=self._quarantine.kept,
            refused=dict(self.refused),
            visits=dict(self.visits),
            unsynced=storage.unsynced,
            last_error=self.last_error or self._last_refusal,
        )

    def close(self) -> None:
        """Close every stream; what was kept is durable when this returns without an error noted."""
        for connection in list(self.connections):
            self.closed(connection, None, "the receiver stopped")
        self.storage.close()

    def _keep(
        self,
        connection: Connection,
        packet: AudioPacket,
        received: int,
        monotonic: int,
        sequence: int,
    ) -> None:
        recording = packet.recording.id
        try:
            stream = self.storage.stream(packet, monotonic / 1e9)
        except CaptureError as error:
            key = recording, None if packet.participant is None else packet.participant.id
            samples = len(packet.payload) // SAMPLE_BYTES
            if recording in connection.numbers:
                self.storage.skipped(
                    key, connection.numbers[recording], packet.payload, packet.relative
                )
            if recording in self.storage.recordings:
                self.storage.dropped.add(key, packet.relative, samples, error)
            else:
                self.storage.dropped.count(samples)
            raise
        number = connection.numbers.get(recording)
        if number is None:
            number = self._number(connection, recording)
        connection.streams.add(stream.key)
        if connection.recording != recording:
            self._names(connection, recording)
        if stream.told is not None and _differs(packet.participant, stream.told):
            self._participant(stream, packet, number, sequence)
        absolute, flags = packet.absolute, _ZONELESS if packet.zoneless else 0
        if absolute is None:
            absolute, flags = received, _UNSTAMPED
        if packet.unread:
            flags |= _UNREAD
            self._unread(stream, packet, number, sequence)
        samples = stream.writer.stage(
            packet.payload, packet.relative, absolute, received, monotonic, number, sequence, flags
        )
        stream.last = monotonic / 1e9
        told = packet.relative, samples, absolute, stream.writer.checksum, monotonic
        self.storage.touched(stream, told)

    def _unread(self, stream: OpenStream, packet: AudioPacket, number: int, sequence: int) -> None:
        """Name what could not be read of a packet that is kept: each field once a stream."""
        if not stream.unread.issuperset(packet.unread):
            stream.unread.update(packet.unread)
            self._note(
                stream.key[0], UNREAD, connection=number, sequence=sequence,
                stream=stem_of(*stream.key), relative=packet.relative, fields=packet.unread,
            )  # fmt: skip

    def _number(self, connection: Connection, recording: str) -> int:
        """Give the connection its number within the recording, and journal that it is there."""
        number = connection.numbers[recording] = self.storage.recordings.number(recording)
        self._note(
            recording, "connected", connection=number, peer=connection.peer,
            opened=connection.opened, receiver=self.receiver,
        )  # fmt: skip
        return number

    def _names(self, connection: Connection, recording: str) -> None:
        """Note which recording a connection carries; what came before it named any is its, too.

        Such events stand in the receiver's own journal since they came; here they have `waited`.
        """
        connection.recording = recording
        for fields in connection.waiting:
            number = connection.numbers.get(recording)
            self._note(recording, "event", **fields, connection=number, waited=True)
        connection.waiting.clear()

    def _participant(
        self, stream: OpenStream, packet: AudioPacket, number: int, sequence: int
    ) -> None:
        """Note what a packet tells of its participant, where the one before told otherwise.

        What is not told takes nothing back. The ``.json`` has what the first packet told.
        """
        assert packet.participant is not None
        assert stream.told is not None
        told, was = told_of(packet.participant), msgspec.structs.asdict(stream.told)
        now = {
            name: value for name, value in msgspec.structs.asdict(told).items() if value is not None
        }
        if now.items() <= was.items():
            return
        if self._throttle.admit((PARTICIPANT, stream.key), time.monotonic()) is None:
            return  # the next that tells it is tried again
        stream.told = Participant(**(was | now))
        absolute = None if packet.absolute is None else format_absolute(packet.absolute)
        stamp = {"relative": packet.relative, "absolute": absolute}
        message = {
            "event": packet.event,
            "data": {"data": {"participant": now, "timestamp": stamp}},
        }
        self._note(
            stream.key[0], PARTICIPANT, connection=number, sequence=sequence, event=packet.event,
            message=message,
        )  # fmt: skip

    def _event(self, connection: Connection, event: OtherEvent, sequence: int) -> None:
        named = None if event.recording is None else event.recording.id
        recording = named or connection.recording
        if recording is not None:
            self.storage.recordings.claim(recording)
        if named is not None and connection.recording != named:
            self._names(connection, named)
        self.events += 1
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
        waits = len(event.json) <= _WAITING_BYTES and len(connection.waiting) < _WAITING
        if recording is None and waits and "message" in fields:
            del fields["connection"]
            fields |= {"received": time.time_ns(), "monotonic": time.monotonic_ns()}
            connection.waiting.append(fields)

    def _reject(
        self,
        connection: Connection,
        reason: str,
        problem: str,
        data: bytes | bytearray,
        sequence: int,
    ) -> None:
        self.rejected[reason] += 1
        self._last_refusal = f"a message was refused: {problem}"
        held = self._strangers.admit(connection.peer, reason, time.monotonic())
        if held is not None:
            self._note(
                None, "rejected", reason=reason, problem=problem, peer=connection.peer,
                sequence=sequence, size=len(data), start=excerpt(bytes(data[:200]), 200),
                held_back=held,
            )  # fmt: skip

    def _keep_aside(
        self, connection: Connection, reason: str, problem: str, data: bytes | bytearray
    ) -> None:
        try:
            self._quarantine.keep(connection.peer, reason, problem, data)
        except OSError as error:
            self._trouble(f"a refused message could not be kept aside: {error}")

    def _note(self, recording: str | None, kind: str, **fields: Any) -> bool:
        """Write a line into the journal; tell whether it could be written."""
        try:
            size = self.journal.write(recording, kind, **fields)
        except OSError as error:  # the journal is a service: audio goes on without it
            self._trouble(f"the journal could not be written: {error}")
            return False
        self.storage.budget.spend(recording, size)
        return True

    def _trouble(self, problem: str) -> None:
        self.last_error = problem


def _differs(who: Participant | None, told: Participant) -> bool:
    """Whether a packet may tell something else of somebody than was told before; it is quick."""
    return who is not None and (
        who.name != told.name
        or who.is_host != told.is_host
        or who.platform != told.platform
        or who.email != told.email
    )
