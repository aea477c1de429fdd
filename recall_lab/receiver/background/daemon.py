"""A receiver in a process of its own: the server, a control socket, and when to end.

An :class:`Order` comes as one line of JSON on standard input, so that no secret is in an argument
or a file; one line of JSON goes back on standard
output when it listens, or says why it can't. From then on there is the control socket: a line
of JSON asks, a line of JSON answers.

==========  =====================================================================
ask         answer
==========  =====================================================================
attach      ``{"id", "clients"}``: the pids of all who are attached, until they hang up
status      a Status
access      ``{"token", "made"}``: what has to be in the URL, and whether we made it
ready       ``{"error"}``, once the tunnel is open or has failed
stays       ``{}``; it stays for ``value`` seconds without anybody, None: until it is stopped
expect      ``{}``; a bot is to come at ``value``, seconds since 1970, and it stays until then
stop        a Status, once every capture is closed; then the process ends
==========  =====================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import psutil

from recall_lab.control.settings import Settings
from recall_lab.control.status import Status
from recall_lab.errors import PortInUse, RecallLabError, ReceiverFailed, TunnelFailed
from recall_lab.receiver.access import Access
from recall_lab.receiver.background.registry import (
    State,
    log_path,
    remove_state,
    runtime_folder,
    write_end,
    write_state,
)
from recall_lab.receiver.server import Server


class Order(msgspec.Struct, frozen=True):
    """What a process is told to do."""

    settings: Settings
    access: Access


class Request(msgspec.Struct, frozen=True):
    """What is asked on the control socket."""

    ask: str
    pid: int = 0
    value: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """What comes back on standard output, once."""

    id: str = ""
    error: str = ""
    port_in_use: str = ""
    tunnel_failed: str = ""


class Daemon:
    """One receiver's life."""

    def __init__(self, order: Order) -> None:
        self.server = Server.of(order.settings, order.access)
        self.settings = self.server.settings
        self.stopping = asyncio.Event()
        self.why = ""  # it stops
        self.expected = 0.0  # when a bot is to come, seconds since 1970
        self.state: State | None = None
        self.controls: list[asyncio.Server] = []
        loop = asyncio.get_running_loop()
        self.stopped: asyncio.Future[Status] = loop.create_future()
        self.opened: asyncio.Future[str] = loop.create_future()  # what went wrong, or ""
        self.clients: dict[asyncio.StreamWriter, int] = {}
        self.answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until told to stop, or until nobody is there any more.

        Raises:
            RecallLabError: when it can't begin.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, f"it was told to by {number.name}")
        id_ = self.server.id
        await self.server.listen()
        try:
            state = State(
                id=id_,
                pid=os.getpid(),
                created=psutil.Process().create_time() - psutil.boot_time(),
                port=self.server.port,
                settings=self.settings,
                started=time.time_ns(),
            )
            await self._be_found(state)  # from here on another notebook finds us, and waits
            try:
                await self._publish()
                if not self.stopping.is_set():
                    _say(Answer(id=id_))
                    gc.freeze()  # what is there now stays: no need to look at it again
                    watching = asyncio.create_task(self._watch())
                    await self.stopping.wait()
                    watching.cancel()
            finally:
                for control in self.controls:
                    control.close()
                status, why = self.server.status, self.why or "it could not go on"
                self.server.note_end(why)
                write_end(self.state or state, why, status.packets)
                sys.stderr.write(f"ended, {status.packets} packets kept: {why}\n")
                await self.server.__aexit__(None, None, None)
                if not self.stopped.done():
                    self.stopped.set_result(self.server.status)
                await self._farewell()
        finally:
            remove_state(id_)

    async def _be_found(self, state: State) -> None:
        """Listen on a control socket, and note where that is."""
        state = self.state = msgspec.structs.replace(state, folder=str(runtime_folder()))
        state.socket.unlink(missing_ok=True)
        self.controls.append(await asyncio.start_unix_server(self._control, state.socket))
        state.socket.chmod(0o600)
        write_state(state)

    async def _stay_found(self) -> None:
        """Note it anew where the note is gone: a session's folder goes when its user logs out."""
        state = self.state
        if state is not None and not (state.note.exists() and state.socket.exists()):
            with contextlib.suppress(OSError, RecallLabError):  # the next look may go better
                await self._be_found(state)

    def stop(self, why: str) -> None:
        """Have it end; the first reason counts."""
        self.why = self.why or why
        self.stopping.set()

    async def _farewell(self) -> None:
        """Let those who asked for the stop be told."""
        await asyncio.sleep(0)
        for client in list(self.clients):
            with contextlib.suppress(OSError):
                await client.drain()
                client.close()
        if self.answering:
            await asyncio.wait(self.answering, timeout=1.0)

    async def _publish(self) -> None:
        """Open the tunnel, unless we are told to stop meanwhile."""
        opening = asyncio.create_task(self.server.publish())
        told = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({opening, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            raise ReceiverFailed("the receiver was told to stop while its tunnel was opening")
        try:
            opening.result()
        except RecallLabError as error:
            self.opened.set_result(str(error))
            raise
        self.opened.set_result("")

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it hangs up."""
        task = asyncio.current_task()
        assert task is not None
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)
        encode = msgspec.json.Encoder().encode
        try:
            while line := await reader.readline():
                answer: Any
                try:
                    request = msgspec.json.decode(line, type=Request)
                except ValueError as error:
                    answer = {"error": str(error)}
                else:
                    answer = await self._answer(request, writer)
                writer.write(encode(answer) + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # it hung up in the middle, or sent no line
            pass
        finally:
            self.clients.pop(writer, None)
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> object:
        if request.ask == "attach":
            self.clients[writer] = request.pid
            return {"id": self.server.id, "clients": sorted(set(self.clients.values()))}
        if request.ask == "status":
            return msgspec.structs.replace(self.server.status, stays=self._stays())
        if request.ask in ("stays", "expect"):
            self._stay(request)
            return {}
        if request.ask == "access":
            access = self.server.access
            return {"token": access.token, "made": access.made}
        if request.ask == "ready":
            return {"error": await asyncio.shield(self.opened)}
        if request.ask == "stop":
            self.clients.setdefault(writer, 0)
            self.stop(f"process {request.pid} stopped it" if request.pid else "it was stopped")
            return await self.stopped
        return {
            "error": f"{request.ask!r} is not attach, status, access, ready, stays, expect or stop"
        }

    def _stay(self, request: Request) -> None:
        """Stay longer than was thought: somebody asked for it, or a bot is to come."""
        if request.ask == "expect":
            self.expected = max(self.expected, request.value or 0.0)
            return
        self.settings = msgspec.structs.replace(self.settings, idle_timeout=request.value)
        if self.state is not None:
            self.state = msgspec.structs.replace(self.state, settings=self.settings)
            write_state(self.state)

    def _stays(self) -> str:
        """How long it stays, in words."""
        if self.settings.idle_timeout is None or self.expected < time.time():
            return self.settings.stays
        until = datetime.fromtimestamp(self.expected, UTC)
        return f"{self.settings.stays}; a bot is to come at {until:%Y-%m-%d %H:%M} UTC"

    async def _watch(self) -> None:
        """Stop once nobody has been attached, connected or expected for `idle_timeout` seconds."""
        alone_since: float | None = None
        while True:
            await self._stay_found()
            patience = self.settings.idle_timeout
            awaited = time.time() < self.expected
            if patience is None or awaited or self.clients or self.server.status.connections:
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > patience:
                self.stop(f"no notebook was attached and no bot connected for {patience:g} s")
            await asyncio.sleep(1.0 if patience is None else min(1.0, patience / 4))


def _say(answer: Answer) -> None:
    """Tell whoever started us how it went, then let go of the terminal's streams."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


async def _run(order: Order) -> None:
    daemon = Daemon(order)
    # what is printed from here on is for whoever asks why it ended
    log = os.open(log_path(daemon.server.id), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    os.close(log)
    await daemon.run()


def main() -> None:
    """Run from standard input and output as the module's head says."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    try:
        asyncio.run(_run(order))
    except PortInUse as error:
        _say(Answer(port_in_use=error.holder))
    except TunnelFailed as error:
        _say(Answer(tunnel_failed=str(error)))
    except RecallLabError as error:
        _say(Answer(error=str(error)))
    except OSError as error:  # no room for a socket, a path too long for one
        _say(Answer(error=f"the receiver can't start: {error}"))
        raise
