"""Answer health checks, and recognise sockets that come by mistake.

Whatever does not become a connection is counted by what it was (:mod:`recall_lab.control.visits`),
apart from bots that were refused: a proxy that speaks HTTP/2 is not a stranger with a wrong token.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import SecurityError
from websockets.http11 import Request, Response

from recall_lab.control.visits import kind_of
from recall_lab.errors import LimitReached
from recall_lab.receiver.connection import BotConnection
from recall_lab.receiver.ingest import Ingest

_START: Final = 32  # bytes by which it is told what a socket is
_LARGE: Final = 8_192  # bytes of a request that is not large


class Visitor(BotConnection):
    """A connection that tells what it was when it comes to nothing."""

    _start = b""
    _size = 0

    def data_received(self, data: bytes) -> None:
        if self.request is None:
            self._size += len(data)
            if len(self._start) < _START:
                self._start += data[: _START - len(self._start)]
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.request is None and self in self.shared.connections:
            why = self.protocol.handshake_exc
            large = isinstance(why, SecurityError) or self._size > _LARGE
            with self.shared.stall_reader:
                self.ingest.visited(self.peer, kind_of(self._start, large=large))
        super().connection_lost(exc)


def health(ingest: Ingest, bot: ServerConnection, request: Request) -> Response | None:
    """Answer a health check: ``/healthz``, that it runs; ``/readyz``, that it takes recordings.

    Nobody needs a token for it, and it tells nothing but that.
    """
    path = request.path.partition("?")[0]
    if path not in ("/healthz", "/readyz") or request.method not in ("GET", "HEAD"):
        return None
    status, text = HTTPStatus.OK, "ok\n"
    if path == "/readyz":
        wrong = unready(ingest)
        if wrong:
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, f"{wrong}\n"
    return bot.respond(status, "" if request.method == "HEAD" else text)


def unready(ingest: Ingest) -> str:
    """Return why no new recording would be taken, in one word; ``""`` where it would."""
    limits = ingest.limits
    if len(ingest.connections) >= limits.connections:
        return "connections"
    try:
        ingest.storage.budget.check_room()
        ingest.storage.budget.check_begin("")
    except LimitReached as error:
        return error.limit
    except OSError:
        return "storage"
    return ""


def mistaken(request: Request) -> str:
    """Return what a whole request is that asks for no websocket; ``""`` for one that does."""
    if request.method != "GET":
        return "method"
    upgrades = ",".join(request.headers.get_all("Upgrade")).lower()
    if "websocket" in upgrades:
        return "http/1.0" if request.protocol == "HTTP/1.0" else ""
    if not request.headers.get_all("Sec-WebSocket-Key"):
        return "plain get"
    return "http/1.0" if request.protocol == "HTTP/1.0" else "upgrade dropped"
