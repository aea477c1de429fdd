"""One connection of the websocket server: its bytes become messages, which go to Ingest.

The library does the handshake, control frames, fragments, limits and closing. The one frame that
matters, a whole text message, is recognised here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, cast

import websockets.frames
from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from recall_lab.receiver.connection_limiter import ConnectionLimiter
from recall_lab.receiver.ingest import Connection, Ingest
from recall_lab.receiver.stall_reader import StallReader

# the library's own, in C where it was built; takes anything with a buffer
_unmask: Callable[[memoryview, memoryview], bytes] = websockets.frames.apply_mask  # type: ignore

_DATA: Final = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)

# RFC 6455, 5.2: FIN and opcode; mask bit and 7 bits of length; 16 or 64 bits more of length
_FIN_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LENGTH_BYTES: Final = {126: 2, 127: 8}

_BUFFER: Final = 256 * 1024
_LARGE: Final = _BUFFER // 2
_REQUEST: Final = 16 * 1024  # bytes before the handshake is done
_UNREAD: Final = 64 * 1024
_AT_ONCE: Final = 1_000_000  # ns

UNFINISHED: Final = 24 << 20
"""Bytes of messages that have not come whole, of all connections together."""


def clocks() -> tuple[int, int]:
    """Return both our clocks at one moment, wall and monotonic, ns.

    Whoever is preempted between two readings would note a step of the wall clock.
    """
    for _ in range(5):
        before = time.monotonic_ns()
        received = time.time_ns()
        monotonic = time.monotonic_ns()
        if monotonic - before < _AT_ONCE:
            break
    return received, monotonic


@dataclass
class Shared:
    """What the connections of one server have in common.

    Attributes:
        ingest, limiter, stall_reader: the server's.
        buffer: what is read from a socket comes in here; whoever reads next may write over it.
        connections: those that are open.
        unfinished: bytes of messages that have not come whole.
    """

    ingest: Ingest
    limiter: ConnectionLimiter
    stall_reader: StallReader
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(_BUFFER)))
    connections: set[BotConnection] = field(default_factory=set)
    unfinished: int = 0


class BotConnection(ServerConnection, asyncio.BufferedProtocol):
    """A connection whose messages go straight to Ingest, in the loop's own callback.

    ``recv`` would hand each message over through a queue and a task, and could not tell text
    from binary without decoding it. Here a message's time of arrival is that at which its last
    byte came out of the socket.

    A whole text message is unmasked in place, in a buffer that all connections of the loop
    share: nothing is allocated but the message. Every other frame (control, fragments, binary,
    large, wrong) is given byte for byte to the library, which so sees a valid stream from which
    whole text messages are missing.
    """

    def __init__(self, *args: Any, shared: Shared, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shared = shared
        self.ingest = shared.ingest
        self.connection: Connection | None = None  # until the handshake is done
        self._address = ""  # by which the limiter counts it; "" for one that it turned away
        self._descriptor = -1
        self._request = 0  # bytes before the handshake was done
        self._head = b""  # of a frame that has not come whole
        self._owed = 0  # bytes of the frame at hand that go to the library
        self._given = 0  # bytes of it that the library has
        self._opcode = Opcode.TEXT
        self._partial: bytearray | None = None
        self._unfinished = 0
        self._sequence = 0
        self._begun = time.monotonic_ns()  # to wait for the message that is unfinished
        self._aborted = False
        self._received = self._monotonic = 0

    @property
    def peer(self) -> str:
        """The address of the other end, as far as it is still known."""
        host, port, *_ = self.remote_address or ("unknown", 0)
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host = (transport.get_extra_info("peername") or ("unknown",))[0]
        why = self.shared.limiter.enter(host)
        if not why:
            self._address = host
            self.shared.connections.add(self)
            super().connection_made(transport)
            return
        self.transport = cast(asyncio.Transport, transport)
        with self.shared.stall_reader:
            self.ingest.refuse(self.peer, why, "")
        status = HTTPStatus.SERVICE_UNAVAILABLE
        answer = (
            f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nRetry-After: 10\r\n\r\n"
        )
        self.transport.write(answer.encode())
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._address:  # was never let in
            return
        self.shared.stall_reader.remove(self._descriptor)
        self.shared.limiter.leave(self._address)
        self.shared.connections.discard(self)
        self._let_go()
        super().connection_lost(exc)

    def begin(self) -> Connection:
        """Take messages from here on: the handshake is done."""
        self.connection = self.ingest.opened(self.peer)
        self._descriptor = self.transport.get_extra_info("socket").fileno()
        self.shared.stall_reader.add(self._descriptor, self)
        return self.connection

    def eof_received(self) -> None:
        if self._address:
            super().eof_received()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.shared.buffer[len(self._head) :]

    def buffer_updated(self, nbytes: int) -> None:
        if not self._address:
            return
        self._received, self._monotonic = clocks()
        with self.shared.stall_reader:
            try:
                self._took(nbytes)
            except MemoryError as error:
                self.failed(error)
            finally:
                self.ingest.flush()

    def failed(self, error: Exception) -> None:
        """Give the connection up: what it sent could not be taken. The next may need less."""
        self.ingest.given_up(self.peer, self._unfinished, error)
        self._abort()

    def feed(self, data: bytearray, received: int, monotonic: int) -> None:
        """Take bytes that were read earlier, with our clocks at that time, in ns.

        The peer may be gone by now: what it had sent is taken all the same.
        """
        self._received, self._monotonic = received, monotonic
        while data and not self._aborted:
            room = self.get_buffer(-1)
            part = data[: len(room)]
            room[: len(part)] = part
            self._took(len(part))
            data = data[len(part) :]

    def _took(self, nbytes: int) -> None:
        """Deal with bytes that are in the buffer, after what was left of those before."""
        head = self._head
        end = len(head) + nbytes
        data = self.shared.buffer[:end]
        if head:
            data[: len(head)] = head
        self._head = bytes(data[self._take(data, end) :])
        unfinished = len(self._head) + self._given + len(self._partial or b"")
        sequence = self.connection.sequence if self.connection else 0
        if sequence != self._sequence:  # one has come whole: what is unfinished now is the next
            self._sequence, self._begun = sequence, self._monotonic
        if unfinished != self._unfinished:
            self.shared.unfinished += unfinished - self._unfinished
            self._unfinished = unfinished
            while self.shared.unfinished > UNFINISHED:
                waiting = (bot for bot in self.shared.connections if bot._unfinished)
                min(waiting, key=lambda bot: bot._begun)._give_up()

    def _take(self, data: memoryview, end: int) -> int:
        """Deal with all frames that are whole; return where the first that is not begins."""
        at = 0
        while at < end:
            if self.connection is None or self.protocol.state is not State.OPEN:
                self._pass_on(data[at:])
                return end
            if self._owed:
                given = data[at : at + self._owed]
                self._owed -= len(given)
                self._given = self._given + len(given) if self._owed else 0
                at += len(given)
                self._pass_on(given)
                continue
            left = end - at
            if left < 2:
                break
            length = data[at + 1] & 0x7F
            body = at + 2 + _LENGTH_BYTES.get(length, 0) + 4
            if body > end:
                break
            if length > 125:
                length = int.from_bytes(data[at + 2 : body - 4], "big")
            after = body + length
            if (
                data[at] != _FIN_TEXT
                or data[at + 1] < _MASKED
                or length > _LARGE
                or self._partial is not None
            ):
                self._owed = after - at - (0 if data[at + 1] & _MASKED else 4)
                continue
            if after > end:
                break
            message = _unmask(data[body:after], data[body - 4 : body])
            self._text(message)
            at = after
        return at

    def _text(self, message: bytes | bytearray) -> None:
        assert self.connection is not None
        if not self.ingest.text(self.connection, message, self._received, self._monotonic):
            self.protocol.fail(CloseCode.INVALID_DATA, "a text message that is no UTF-8")
            self.data_received(b"")  # has it sent

    def _pass_on(self, data: memoryview) -> None:
        """Give bytes to the library, which may answer: so what came before is kept first."""
        self.ingest.flush()
        if self.connection is None:
            self._request += len(data)
            if self._request > _REQUEST:
                self._abort()
                return
        self.data_received(bytes(data))
        # a peer that asks (pings) and never reads the answers would have us hold them all
        if self.transport.get_write_buffer_size() > _UNREAD:
            self._abort()

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            return
        if self.connection is None:  # sent without waiting to be let in
            self._abort()
            return
        data: Any = event.data
        if event.opcode is not Opcode.CONT:
            self._opcode = event.opcode
        if not event.fin or self._partial is not None:
            # the library has checked the order of the fragments and the size of the whole
            if self._partial is None:
                self._partial = bytearray()
            self._partial += data
            if not event.fin:
                return
            data, self._partial = self._partial, None
        if self._opcode is Opcode.TEXT:
            self._text(data)
        else:
            self.ingest.binary(self.connection, data)

    def _give_up(self) -> None:
        """Let go of a connection whose message has not come whole for the longest."""
        if self.connection is not None:
            self.ingest.unfinished(self.connection, self._unfinished)
        self._let_go()
        self._abort()

    def _abort(self) -> None:
        self._aborted = True
        self.transport.abort()

    def _let_go(self) -> None:
        self.shared.unfinished -= self._unfinished
        self._unfinished = self._given = 0
        self._head, self._partial = b"", None
