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
access      ``{"token"}``: what has to be in the URL, for whoever is to connect
stop        a Status, once every capture is closed; then the process ends
==========  =====================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import time
from typing import Any, Final

import msgspec
import psutil

from recall_lab.errors import PortInUse, RecallLabError, TunnelFailed
from recall_lab.receiver.access import Access
from recall_lab.receiver.server import Server
from recall_lab.receiver.settings import Settings, Status
from recall_lab.receiver.state import State, log_path, remove_state, write_state

_DESCRIPTORS: Final = 65_536
"""Descriptors asked for: two a stream, one a socket."""


class Order(msgspec.Struct, frozen=True):
    """What a process is told to do."""

    settings: Settings
    access: Access


class Request(msgspec.Struct, frozen=True):
    """What is asked on the control socket."""

    ask: str
    pid: int = 0


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
        self.stopped: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self.clients: dict[asyncio.StreamWriter, int] = {}
        self.answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until told to stop, or until nobody is there any more."""
        id_ = self.server.id
        try:
            async with self.server:
                state = State(
                    id=id_,
                    pid=os.getpid(),
                    created=psutil.Process().create_time() - psutil.boot_time(),
                    port=self.server.port,
                    settings=self.settings,
                    started=time.time_ns(),
                )
                control = await asyncio.start_unix_server(self._control, state.socket)
                write_state(state)
                _say(Answer(id=id_))
                loop = asyncio.get_running_loop()
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self.stopping.set)
                gc.freeze()  # what is there now stays: no need to look at it again
                watching = asyncio.create_task(self._watch())
                await self.stopping.wait()
                watching.cancel()
                control.close()
            self.stopped.set_result(self.server.status)
            await asyncio.sleep(0)  # let those who asked for the stop be told
            for client in list(self.clients):
                with contextlib.suppress(OSError):
                    await client.drain()
                    client.close()
            if self.answering:
                await asyncio.wait(self.answering, timeout=1.0)
        finally:
            remove_state(id_)

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
            return self.server.status
        if request.ask == "access":
            return {"token": self.server.access.token}
        if request.ask == "stop":
            self.clients.setdefault(writer, 0)
            self.stopping.set()
            return await self.stopped
        return {"error": f"{request.ask!r} is not attach, status, access or stop"}

    async def _watch(self) -> None:
        """Stop once nobody has been attached or connected for as long as it was asked to linger."""
        alone_since: float | None = None
        while True:
            if self.clients or self.server.status.connections:
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > self.settings.linger:
                self.stopping.set()
            await asyncio.sleep(min(1.0, self.settings.linger / 4))


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
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
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
