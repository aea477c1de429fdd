"""A stand-in of ngrok's SDK: the same interface, and a tunnel that never leaves this machine.

What it is to do is told by its environment: STANDIN_NGROK is ``fail`` to refuse the token,
``hang`` to never answer, ``no endpoint`` to open a session and no more, ``drop`` to lose its
connection as soon as it is open.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BEHAVIOUR = os.environ.get("STANDIN_NGROK", "")
_NOTES = os.environ.get("STANDIN_NOTES", os.devnull)


def _note(line: str) -> None:
    with Path(_NOTES).open("a") as file:
        file.write(line + "\n")


class Listener:
    """Forwards connections from a port of its own."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    def url(self) -> str:
        """Where it can be reached."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Forward no more."""
        self._server.close()
        _note("listener closed")


class HttpListenerBuilder:
    """As in the SDK: each option returns the builder."""

    def domain(self, domain: str) -> HttpListenerBuilder:
        """Ask for an address that is kept."""
        _note(f"domain {domain}")
        return self

    async def listen_and_forward(self, url: str) -> Listener:
        """Begin to forward."""
        if _BEHAVIOUR == "no endpoint":
            raise ValueError("failed to start tunnel", "the limit of endpoints is reached", "324")
        host, _, port = url.removeprefix("http://").partition(":")

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection(host, int(port))

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65_536):
                        sink.write(data)
                        await sink.drain()
                except OSError:
                    pass
                finally:
                    sink.close()

            await asyncio.gather(pump(reader, back), pump(there, writer))

        return Listener(await asyncio.start_server(carry, "127.0.0.1", 0))


class Session:
    """An open session."""

    def http_endpoint(self) -> HttpListenerBuilder:
        """Begin an endpoint."""
        return HttpListenerBuilder()

    async def close(self) -> None:
        """End it."""
        _note("session closed")


class SessionBuilder:
    """As in the SDK: each option returns the builder."""

    def __init__(self) -> None:
        self._token = ""
        self._lost: Callable[[str, str], Any] = lambda address, error: None

    def authtoken(self, authtoken: str) -> SessionBuilder:
        """Say who we are."""
        self._token = authtoken
        return self

    def handle_heartbeat(self, handler: Callable[[int], Any]) -> SessionBuilder:
        """Be told that it holds."""
        return self

    def handle_disconnection(self, handler: Callable[[str, str], Any]) -> SessionBuilder:
        """Be told that it does not."""
        self._lost = handler
        return self

    async def connect(self) -> Session:
        """Open the session."""
        if _BEHAVIOUR == "fail":
            message = f"authentication failed: the authtoken {self._token} is not known"
            raise ValueError("failed to connect session", message, "ERR_NGROK_105")
        if _BEHAVIOUR == "hang":
            await asyncio.sleep(3600)
        if _BEHAVIOUR == "drop":
            asyncio.get_running_loop().call_later(0.2, self._lost, "addr", "connection reset")
        return Session()
