"""A scripted API on this machine, clocks that jump, and both clients behind one face."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recall_lab.bots.async_client import AsyncClient
from recall_lab.bots.client import Client
from recall_lab.bots.retries import Timing

KEY = "canary-key-5f1d9e"
TOKEN = "canary-token-77aa"


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """One answer to give; status 0 closes the connection instead."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Api:
    """A server that gives the answers it was told to, in their order, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.replies: list[Reply | Callable[[Asked], Reply]] = []
        self.connections = 0
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                api.asked.append(asked)
                reply = api.replies.pop(0) if api.replies else Reply(418, {"detail": "no script"})
                if callable(reply):
                    reply = reply(asked)
                if reply.status == 0:
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                length = len(reply.content) if reply.length is None else reply.length
                for name, value in ({"Content-Length": str(length)} | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)
                self.close_connection = length != len(reply.content)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                api.connections += 1
                try:
                    super().handle()
                except ConnectionError:  # a client that had enough
                    self.close_connection = True

            def finish(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().finish()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.base = f"{self.origin}/api/v1/"

    def script(self, *replies: Reply | Callable[[Asked], Reply] | dict[str, Any] | int) -> None:
        """Give these answers next; a dict for 200 with that JSON, a number for a bare status."""
        for reply in replies:
            if isinstance(reply, int):
                reply = Reply(reply, {"detail": "scripted"})
            self.replies.append(Reply(200, reply) if isinstance(reply, dict) else reply)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.now = 1_735_689_600.0  # 2025-01-01
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def timing(self, *, asynchronous: bool = False, chance: float = 1.0) -> Timing:
        return Timing(
            sleep=self.sleep_async if asynchronous else self.sleep,
            clock=lambda: self.time,
            now=lambda: self.now,
            random=lambda: chance,
        )


class Driver:
    """Either client, called in the same way; ``list`` gives a list."""

    def __init__(self, kind: str, clock: Clock, **options: Any) -> None:
        self.asynchronous = kind == "async"
        options.setdefault("timing", clock.timing(asynchronous=self.asynchronous))
        self.client: Any = (AsyncClient if self.asynchronous else Client)(**options)
        self._runner = asyncio.Runner() if self.asynchronous else None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        def call(*args: Any, **options: Any) -> Any:
            made = method(*args, **options)
            if self._runner is None:
                return list(made) if name == "list" else made
            return self._runner.run(collect(made) if name == "list" else made)

        return call

    def end(self) -> None:
        if self._runner is None:
            self.client.close()
        else:
            self._runner.run(self.client.close())
            self._runner.close()


async def collect(bots: Any) -> list[Any]:
    return [bot async for bot in bots]


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest, api: Api, clock: Clock) -> Iterator[Any]:
    """Make either client, of the scripted API unless told otherwise."""
    made: list[Driver] = []

    def make(**options: Any) -> Driver:
        given = {"api_key": KEY, "base_url": api.base, "retry_timeout": 100.0} | options
        made.append(Driver(request.param, clock, **given))
        return made[-1]

    yield make
    for driver in made:
        driver.end()


@pytest.fixture
def client(make_client: Any) -> Driver:
    """Either client, of the scripted API."""
    made: Driver = make_client()
    return made


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key of the one who runs the tests is read."""
    for name in ("RECALL_API_KEY", "RECALL_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def bot_json() -> Callable[..., dict[str, Any]]:
    """A bot as the API tells of it."""

    def make(*codes: str, id: str = "b-1", recordings: Any = (), **more: Any) -> dict[str, Any]:
        return {
            "id": id,
            "meeting_url": "https://zoom.us/j/123",
            "bot_name": "Notetaker",
            "metadata": {"team": "lab"},
            "status_changes": [
                {"code": code, "sub_code": None, "message": None, "created_at": STAMP}
                for code in codes
            ],
            "recordings": [
                {"id": recording, "started_at": STAMP, "completed_at": None, "status": None}
                if isinstance(recording, str)
                else recording
                for recording in recordings
            ],
        } | more

    return make


STAMP = "2025-01-01T00:00:00.123456Z"
