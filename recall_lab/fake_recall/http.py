"""The HTTP of the stand-in: kept connections, bounded bodies, errors as JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

Content: TypeAlias = dict[str, Any] | Path | None
Answer: TypeAlias = Callable[[str, str, Message, bytes], tuple[int, Content]]

_LONGEST = 1024 * 1024  # bytes of a request


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        body: of the answer.
        headers: of the answer, besides the usual ones.
    """

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None):
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


class Web(ThreadingHTTPServer):
    """Answers on this machine, each connection in a thread.

    Args:
        port: 0 for any free one.
        answer: returns status and content of the answer to method, target, headers and body; a
            Path is sent as an MP3. May raise :class:`Refused`.
    """

    daemon_threads = True

    def __init__(self, port: int, answer: Answer) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    server_version = "FakeRecall"
    timeout = 30
    server: Web

    def _answer(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= _LONGEST:
                raise ValueError
        except ValueError:
            self.close_connection = True
            self._send(413, {"detail": "Request too large."}, {})
            return
        body = self.rfile.read(length)
        try:
            status, content = self.server.answer(self.command, self.path, self.headers, body)
        except Refused as refused:
            self._send(refused.status, refused.body, refused.headers)
            return
        except Exception as error:  # a fault of the stand-in is an answer too
            self._send(500, {"detail": f"{type(error).__name__}: {error}"}, {})
            return
        self._send(status, content, {})

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _answer

    def _send(self, status: int, content: Content, headers: Mapping[str, str]) -> None:
        kind = "application/json"
        if isinstance(content, Path):
            data, kind = content.read_bytes(), "audio/mpeg"
        else:
            data = b"" if content is None else msgspec.json.encode(content)
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a thread never prints."""
