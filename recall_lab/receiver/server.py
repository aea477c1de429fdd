"""The websocket server, for asyncio programs: sockets and limits; the rest is Ingest's.

async with rl.Server("captures", port=3456) as server:
    await asyncio.sleep(3600)
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import websockets.frames
from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State

from recall_lab.errors import PortInUse, ReceiverFailed
from recall_lab.receiver.access import Access, Gate, Redacting, Secrets, hidden_all, with_token
from recall_lab.receiver.ingest import Connection, Ingest
from recall_lab.receiver.ports import hang_up, who_listens
from recall_lab.receiver.settings import Settings, Status
from recall_lab.receiver.tunnel import Tunnel, open_tunnel
from recall_lab.wire.addresses import local_address
from recall_lab.wire.messages import MAX_MESSAGE_BYTES

PING_INTERVAL: Final = 20.0
"""Seconds between pings: idle proxies close silent sockets after 30 and more."""

_logger = logging.getLogger("recall_lab.server")
_logger.addFilter(Redacting())
_logger.addHandler(logging.NullHandler())  # a server in a thread never prints by itself

# the library's own, in C where it was built; takes anything with a buffer
_unmask: Callable[[memoryview, memoryview], bytes] = websockets.frames.apply_mask  # type: ignore

STALL: Final = 0.1
"""Seconds by which the server may be held up before it is noted in the journal."""

_HEARTBEAT: Final = 0.05  # seconds
_DATA: Final = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)

# RFC 6455, 5.2: FIN and opcode; mask bit and 7 bits of length; 16 or 64 bits more of length
_FIN_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LENGTH_BYTES: Final = {126: 2, 127: 8}
_BUFFER: Final = 256 * 1024
_UNREAD: Final = 64 * 1024
_LARGE: Final = _BUFFER // 2


class _BotConnection(ServerConnection, asyncio.BufferedProtocol):
    """A connection whose messages go straight to Ingest, in the loop's own callback.

    ``recv`` would hand each message over through a queue and a task, and could not tell text
    from binary without decoding it. Here a message's time of arrival is that at which its last
    byte came out of the socket.

    The one frame that matters, a whole text message, is unmasked in place, in a buffer that all
    connections of the loop share: nothing is allocated but the message. Every other frame
    (control, fragments, binary, large, wrong) is given byte for byte to the library, which so
    sees a valid stream from which whole text messages are missing.
    """

    def __init__(self, *args: Any, ingest: Ingest, buffer: memoryview, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ingest = ingest
        self.connection: Connection | None = None  # until the handshake is done
        self._buffer = buffer
        self._head = b""  # of a frame that has not come whole
        self._owed = 0  # bytes of the frame at hand that go to the library
        self._opcode = Opcode.TEXT
        self._partial: bytearray | None = None
        self._received = self._monotonic = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[len(self._head) :]

    def buffer_updated(self, nbytes: int) -> None:
        self._received = time.time_ns()
        self._monotonic = time.monotonic_ns()
        head = self._head
        end = len(head) + nbytes
        data = self._buffer[:end]
        if head:
            data[: len(head)] = head
        try:
            self._head = bytes(data[self._take(data, end) :])
        finally:
            self.ingest.flush()

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
            self.ingest.text(self.connection, message, self._received, self._monotonic)
            at = after
        return at

    def _pass_on(self, data: memoryview) -> None:
        """Give bytes to the library, which may answer: so what came before is kept first."""
        self.ingest.flush()
        self.data_received(bytes(data))
        # a peer that asks (pings) and never reads the answers would have us hold them all
        if self.transport.get_write_buffer_size() > _UNREAD:
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            return
        if self.connection is None:  # sent without waiting to be let in
            self.transport.abort()
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
            self.ingest.text(self.connection, data, self._received, self._monotonic)
        else:
            self.ingest.binary(self.connection, data)


class Server:
    """Receives on one port, into one folder, until it is left.

    Args:
        directory: where captures go; made if it is not there.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        sync: seconds between two syncs of a capture to the disk.
        secret, token, replay_check, tunnel, domain, public_url: as for
            :func:`recall_lab.receive`.

    Attributes:
        id: of this run, made anew each time.
        port: the port it listens on.

    Raises:
        InvalidArgument: for a setting that can't be, or a receiver open to all.
        PortInUse: on entering, when another program has the port.
        TunnelFailed: on entering, when the tunnel could not be opened.
    """

    def __init__(
        self,
        directory: str | Path = "captures",
        *,
        host: str = "127.0.0.1",
        port: int = 3456,
        sync: float = 1.0,
        secret: Secrets = None,
        token: Secrets | bool = None,
        replay_check: bool = False,
        tunnel: str | None = None,
        domain: str | None = None,
        public_url: str | None = None,
    ) -> None:
        secret, token = hidden_all(secret), hidden_all(token)
        settings = Settings.checked(
            host=host, port=port, directory=directory, mode="thread", linger=600.0, sync=sync,
            tunnel=tunnel, domain=domain, public_url=public_url,
        )  # fmt: skip
        self._begin(
            settings,
            Access.checked(secret, token, replay_check=replay_check, public=settings.reach),
        )

    @classmethod
    def of(cls, settings: Settings, access: Access) -> Self:
        """Return a server with settings that have been checked."""
        server = cls.__new__(cls)
        server._begin(settings, access)
        return server

    def _begin(self, settings: Settings, access: Access) -> None:
        self.settings = settings.demanding(access)
        self.access = access
        self.id = secrets.token_hex(8)
        self.port = settings.port
        self._gate = Gate(access)
        self._tunnel: Tunnel | None = None
        self._address = ""  # that a tunnel leads to
        self._ingest: Ingest | None = None
        self._last: Status | None = None
        self._exit = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """Where bots on this machine connect; without the token."""
        return self.settings.url(self.port)

    @property
    def public_url(self) -> str:
        """Where bots elsewhere connect, without the token; ``""`` for nowhere."""
        return self.settings.public_url if self._tunnel is None else self._tunnel.url

    @property
    def bot_url(self) -> SecretStr:
        """What a bot is told to connect to: the public address if there is one, and the token."""
        return with_token(self.public_url or self.url, self.access.token)

    @property
    def status(self) -> Status:
        """How things are now."""
        if self._ingest is not None:
            return msgspec.structs.replace(
                self._ingest.status(self.url),
                public_url=self.public_url,
                demands=self.access.words,
                trouble="" if self._tunnel is None else self._tunnel.trouble,
            )
        return self._last or Status(state="stopped", url=self.url)

    def __repr__(self) -> str:
        if not hasattr(self, "_exit"):  # a traceback may show one that was not to be
            return "<Server not begun>"
        where = self.public_url or self.url
        return f"<Server {self.status.state} at {where} into {self.settings.directory}>"

    async def __aenter__(self) -> Self:
        await self.listen()
        try:
            await self.publish()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def publish(self) -> None:
        """Open the tunnel, if one was asked for. Entering the server does it.

        Raises:
            TunnelFailed: when it could not be opened.
        """
        if self.settings.tunnel:
            self._tunnel = await open_tunnel(
                self.settings.tunnel, self._address, self.settings.domain
            )
            self._exit.push_async_callback(self._tunnel.close)

    async def listen(self) -> None:
        """Open the port. Entering the server does it.

        Raises:
            PortInUse, ReceiverFailed: when it could not be opened.
        """
        settings = self.settings
        try:
            ingest = Ingest(Path(settings.directory), self.id, settings.sync)
        except OSError as error:
            raise ReceiverFailed(
                f"the folder {settings.directory!r} can't be used: {error.strerror}; "
                "name one that you may write to"
            ) from error
        # a factory will do, as the documentation says; the annotation asks for a class
        connection: Any = partial(
            _BotConnection, ingest=ingest, buffer=memoryview(bytearray(_BUFFER))
        )
        try:
            server = await serve(
                self._serve,
                settings.host,
                settings.port,
                create_connection=connection,
                process_request=partial(self._let_in, ingest),
                compression=None,  # audio in base64 gains little, and a bomb could be in it
                max_size=MAX_MESSAGE_BYTES,
                ping_interval=PING_INTERVAL,
                ping_timeout=PING_INTERVAL,
                logger=_logger,
                server_header=None,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(settings.port, who_listens(settings.port)) from None
            raise ReceiverFailed(
                f"can't listen on {settings.host}:{settings.port}: {error.strerror or error}"
            ) from error
        self._ingest = ingest
        host, self.port, *_ = next(iter(server.sockets)).getsockname()
        self._address = local_address(host, self.port)
        self._exit.callback(ingest.close)
        for listening in server.sockets:
            self._exit.callback(hang_up, socket.socket(fileno=os.dup(listening.fileno())))
        await self._exit.enter_async_context(server)
        for task in (self._tick(ingest), self._listen_to_itself(ingest)):
            self._exit.callback(asyncio.create_task(task).cancel)

    def _let_in(self, ingest: Ingest, bot: ServerConnection, request: Request) -> Response | None:
        """Answer those who may not connect, before anything of theirs is read."""
        why, id_ = self._gate.refusal(request.path, request.headers, time.time())
        if not why:
            return None
        ingest.refuse(_peer(bot), why, id_)
        status = HTTPStatus.FORBIDDEN if why == "origin" else HTTPStatus.UNAUTHORIZED
        return bot.respond(status, f"{status.phrase}\n")  # why is for the journal, not for them

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exit.aclose()
        self._last = msgspec.structs.replace(self.status, state="stopped")
        self._ingest = None

    async def _serve(self, bot: ServerConnection) -> None:
        """Stay until the connection has ended: its messages come in by process_event."""
        assert isinstance(bot, _BotConnection)
        connection = bot.connection = bot.ingest.opened(_peer(bot))
        try:
            await bot.wait_closed()
        finally:
            bot.ingest.closed(connection, bot.close_code, bot.close_reason or "")

    async def _tick(self, ingest: Ingest) -> None:
        while True:
            ingest.tick(time.monotonic())
            await asyncio.sleep(1.0)

    async def _listen_to_itself(self, ingest: Ingest) -> None:
        """Note when the loop was held up: what then came late is no fault of the network."""
        while True:
            due = time.monotonic() + _HEARTBEAT
            await asyncio.sleep(_HEARTBEAT)
            late = time.monotonic() - due
            if late > STALL:
                ingest.stalled(late)


def _peer(bot: ServerConnection) -> str:
    """Return the address of a peer, as far as it is still known."""
    host, port, *_ = bot.remote_address or ("unknown", 0)
    return f"{host}:{port}"
