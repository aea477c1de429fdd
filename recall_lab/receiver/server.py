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
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import psutil
from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from recall_lab.control.limits import Limits
from recall_lab.control.settings import Settings
from recall_lab.control.status import Status
from recall_lab.errors import PortInUse, ReceiverFailed
from recall_lab.receiver.access import (
    Access,
    Authenticator,
    Secrets,
    hidden_all,
    with_access,
    with_token,
)
from recall_lab.receiver.connection import BotConnection, Shared, clocks
from recall_lab.receiver.connection_limiter import ConnectionLimiter
from recall_lab.receiver.ingest import Ingest
from recall_lab.receiver.stall_reader import StallReader
from recall_lab.receiver.tunnel import Tunnel, check_installed, open_tunnel
from recall_lab.receiver.visitors import Visitor, health, mistaken
from recall_lab.store.probe import probe
from recall_lab.text import RedactingFilter
from recall_lab.wire.messages import MAX_MESSAGE_BYTES
from recall_lab.wire.urls import local_address

PING_INTERVAL: Final = 20.0
"""Seconds between pings: idle proxies close silent sockets after 30 and more."""

_logger = logging.getLogger("recall_lab.server")
_logger.addFilter(RedactingFilter())
_logger.addHandler(logging.NullHandler())  # a server in a thread never prints by itself

STALL: Final = 0.1
"""Seconds by which the server may be held up before it is noted in the journal."""

STEP: Final = 0.5
"""Seconds by which the wall clock may jump before it is noted in the journal."""

_HEARTBEAT: Final = 0.05  # seconds
_FAREWELL: Final = 2.0  # seconds: one who is gone without a word is not waited for


class Server:
    """Receives on one port, into one folder, until it is left.

    Args:
        directory: where captures go; made if it is not there.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        sync: seconds between two syncs of a capture to the disk.
        secret, token, replay_check, tunnel, domain, public_url, limits, locks: as for
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
        limits: Limits | None = None,
        locks: bool = True,
    ) -> None:
        secret, token = hidden_all(secret), hidden_all(token)
        settings = Settings.checked(
            host=host, port=port, directory=directory, mode="thread", idle_timeout=600.0, sync=sync,
            tunnel=tunnel, domain=domain, public_url=public_url, limits=limits,
            locks=locks,
        )  # fmt: skip
        check_installed(settings.tunnel)
        self._begin(
            settings,
            Access.checked(secret, token, replay_check=replay_check, public=settings.exposure),
        )

    @classmethod
    def of(cls, settings: Settings, access: Access) -> Self:
        """Return a server with settings that have been checked."""
        server = cls.__new__(cls)
        server._begin(settings, access)
        return server

    def _begin(self, settings: Settings, access: Access) -> None:
        self.settings = with_access(settings, access)
        self.access = access
        self.id = secrets.token_hex(8)
        self.port = settings.port
        self._authenticator = Authenticator(access)
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
                stays=self.settings.stays,
                auth_required=self.access.words,
                trouble="" if self._tunnel is None else self._tunnel.trouble,
            )
        return self._last or Status(state="stopped", url=self.url)

    def note_end(self, why: str) -> None:
        """Journal that the receiver ends, and why."""
        if self._ingest is not None:
            self._ingest.ended(why)

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
            PortInUse, ReceiverFailed: when it could not be opened, or nothing could be kept.
        """
        settings = self.settings
        folder, limits = Path(settings.directory), settings.limits
        trouble = probe(folder, reserve=limits.reserve, locks=settings.locks)
        ingest = Ingest(folder, self.id, settings.sync, limits)
        ingest.last_error = trouble
        stall_reader = StallReader(ingest.flush)
        shared = Shared(ingest, ConnectionLimiter(settings.limits), stall_reader)
        # a factory will do, as the documentation says; the annotation asks for a class
        connection: Any = partial(Visitor, shared=shared)
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
                close_timeout=_FAREWELL,
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
        stall_reader.start()
        self._exit.callback(stall_reader.stop)
        for listening in server.sockets:
            self._exit.callback(hang_up, socket.socket(fileno=os.dup(listening.fileno())))
        await self._exit.enter_async_context(server)
        for task in (
            self._tick(ingest, stall_reader),
            self._listen_to_itself(ingest, stall_reader),
        ):
            self._exit.callback(asyncio.create_task(task).cancel)

    def _let_in(self, ingest: Ingest, bot: ServerConnection, request: Request) -> Response | None:
        """Answer those who may not connect, before anything of theirs is read."""
        assert isinstance(bot, BotConnection)
        checked = health(ingest, bot, request)
        if checked is not None:
            with bot.shared.stall_reader:
                ingest.visited(bot.peer, "health check")
            return checked
        why, id_ = self._authenticator.refusal(request.path, request.headers, time.time())
        mistake = mistaken(request)
        with bot.shared.stall_reader:
            if mistake:
                ingest.visited(bot.peer, mistake)
            elif why:
                ingest.refuse(bot.peer, why, id_)
        if not why:
            return None  # the library tells what is wrong with a request
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
        assert isinstance(bot, BotConnection)
        connection = bot.begin()
        try:
            await bot.wait_closed()
        finally:
            with bot.shared.stall_reader:
                bot.ingest.closed(connection, bot.close_code, bot.close_reason or "")

    async def _tick(self, ingest: Ingest, stall_reader: StallReader) -> None:
        while True:
            with stall_reader:
                try:
                    ingest.tick(time.monotonic())
                except Exception as error:  # the next one may go well, and has to come
                    ingest.last_error = f"an error of ours: {error!r}"
            await asyncio.sleep(1.0)

    async def _listen_to_itself(self, ingest: Ingest, stall_reader: StallReader) -> None:
        """Note when the loop was held up, and when the wall clock was set."""
        wall, monotonic = clocks()
        while True:
            ahead, due = wall - monotonic, monotonic + int(_HEARTBEAT * 1e9)
            await asyncio.sleep(_HEARTBEAT)
            wall, monotonic = clocks()
            late, step = (monotonic - due) / 1e9, (wall - monotonic - ahead) / 1e9
            with stall_reader:  # the journal lies on the same disk
                if late > STALL:
                    ingest.stalled(late)
                if abs(step) > STEP:
                    ingest.clock_set(step)


def hang_up(listening: socket.socket) -> None:
    """Stop listening for good: a process forked meanwhile may hold the socket too."""
    with listening, contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)


def who_listens(port: int) -> str:
    """Say which process listens on a port, as far as the machine tells us."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr[1:] == (port,) and found.pid:
                process = psutil.Process(found.pid)
                if any("recall_lab" in part or "recall-lab" in part for part in process.cmdline()):
                    return f"a receiver (process {found.pid}; 'recall-lab stop' ends it)"
                return f"{process.name()} (process {found.pid})"
    except (psutil.Error, OSError):
        pass
    return "another program"
