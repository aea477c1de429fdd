"""The REST API of the stand-in: real HTTP on loopback, as strict as the real one, or stricter.

with rl.FakeRecall("data/standup.wav", speed=10) as fake:
    client = rl.bots.Client(fake.key, base_url=fake.base_url)
    bot = client.create("https://meet.example.org/standup", rx)
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from recall_lab.arguments import number
from recall_lab.configuration import hidden
from recall_lab.errors import InvalidArgument, PortInUse
from recall_lab.fake_recall.create_request import read_order, wrong
from recall_lab.fake_recall.fake_bot import FakeBot, Script
from recall_lab.fake_recall.http import Content, Refused, Web
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.meeting import Meeting, read_meeting
from recall_lab.wire.signature import SECRET_VALID, is_secret

API: Final = "/api/v1"
PAGE: Final = 10
"""Bots on a page of a list."""

_REMEMBERED = 3600.0  # seconds for which an Idempotency-Key is good
_OVER = ("done", "fatal")


class FakeRecall:
    """A stand-in of Recall.ai. A context manager: leaving it ends its bots.

    It walks bots through the documented lifecycle, has the stand-in bot stream a meeting to the
    address that each was given, with signed connections, and serves the final recording.

    Args:
        meeting: what is said in every meeting: an audio file with a ``.csv`` beside it that says
            who speaks when, or a Meeting.
        port: to listen on, on this machine only; 0 for any free one.
        speed: of the call; 1 is real time.
        pace: seconds between two steps of a bot's life.
        faults: what goes wrong on the way, in every stream alike; or by participant id, None being
            the mixed stream, such as ``{None: rl.Faults(loss=0.02), 101: rl.Faults()}``.
        fatal: sub code with which bots fail instead of joining, such as ``meeting_not_found``;
            ``""`` for none.
        lead: seconds by which the final recording begins before the audio that is sent.
        gain: of the final recording over what is sent, in dB.
        local_urls: bots may connect to this machine. Recall.ai's own can't: False answers 403.
        key: the API key that is right; made by default.
        secret: of the workspace, signs the bots' connections; made by default.

    Attributes:
        base_url: of the API.
        key, secret: SecretStr, which show as ``***``.

    Example:
        >>> fake = FakeRecall("data/standup.wav", speed=10)
        >>> fake.base_url  # doctest: +SKIP
        'http://127.0.0.1:40123/api/v1/'
        >>> fake.stop()
    """

    def __init__(
        self,
        meeting: str | os.PathLike[str] | Meeting,
        *,
        port: int = 0,
        speed: float = 1.0,
        pace: float = 0.2,
        faults: Faults | Mapping[int | None, Faults] | None = None,
        fatal: str = "",
        lead: float = 0.0,
        gain: float = 0.0,
        local_urls: bool = True,
        key: SecretStr | str | None = None,
        secret: SecretStr | str | None = None,
    ) -> None:
        for name, value, least, most in (
            ("speed", speed, 1e-3, 1e6), ("pace", pace, 1e-3, 1e6), ("lead", lead, 0, 3600),
            ("gain", gain, -100, 100), ("port", port, 0, 65_535),
        ):  # fmt: skip
            number(name, value, least, most)
        if not isinstance(fatal, str):
            raise InvalidArgument("fatal", fatal, "the sub code of a failure, or ''")
        self.key = hidden(key or secrets.token_hex(20))
        self.secret = hidden(secret or "whsec_" + secrets.token_hex(16))
        if not is_secret(self.secret.get_secret_value()):
            raise InvalidArgument("secret", self.secret, SECRET_VALID)
        heard = meeting if isinstance(meeting, Meeting) else read_meeting(meeting)
        self._script = Script(
            meeting=heard, speed=speed, pace=pace, faults=faults, fatal=fatal, lead=lead, gain=gain
        )
        self._local_urls = local_urls
        self._lives: dict[str, FakeBot] = {}
        self._keys: dict[str, tuple[float, bytes, str]] = {}  # Idempotency-Key: when, body, bot
        self._scripted: deque[tuple[str, str, Refused]] = deque()
        self._lock = threading.Lock()
        self._stopped = False
        self._signature = secrets.token_hex(16)  # of the URLs of recordings
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        """What has been asked: method, target, headers (without the key) and body."""
        try:
            self._http = Web(port, self.answer)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(port, "another program") from None
            raise
        self._folder = Path(tempfile.mkdtemp(prefix="recall-lab-fake-"))
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="stand-in of Recall.ai", daemon=True
        )
        self._thread.start()

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}{API}/"

    def fail(
        self,
        status: int,
        body: dict[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        method: str = "",
        path: str = "",
    ) -> None:
        """Answer the next requests with an error.

        Args:
            status: of HTTP.
            body: of the answer.
            headers: such as ``{"Retry-After": "7"}``.
            times: how many requests.
            method, path: only of this method, and whose path has this in it.
        """
        refused = Refused(status, body or {"detail": "as told"}, dict(headers or {}))
        with self._lock:
            self._scripted.extend([(method, path, refused)] * times)

    def stop(self) -> None:
        """End its bots and forget their recordings; stopping twice is no mistake."""
        with self._lock:
            self._stopped = True
        for fake_bot in list(self._lives.values()):
            fake_bot.leave()
        for fake_bot in list(self._lives.values()):
            fake_bot.join(10)
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<FakeRecall at {self.base_url}: {len(self._lives)} bots>"

    # ---- answers

    def answer(
        self, method: str, target: str, headers: Message, body: bytes
    ) -> tuple[int, Content]:
        """Return status and content of the answer to a request.

        Raises:
            Refused: with another answer.
        """
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        plain = {name: v for name, v in headers.items() if name.lower() != "authorization"}
        with self._lock:
            self.requests.append((method, target, plain, body))
        if parts.path.startswith("/media/"):
            return 200, self._media(parts.path, query)
        self._check_key(headers.get("Authorization", ""))
        with self._lock:
            for at, (of, where, refused) in enumerate(self._scripted):
                if of in ("", method) and where in parts.path:
                    del self._scripted[at]
                    raise refused
        path = parts.path.removeprefix(API) if parts.path.startswith(f"{API}/") else ""
        for of, pattern, action in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and of == method:
                return action(self, found.groupdict(), query, headers, body)
        known = any(re.fullmatch(pattern, path) for _, pattern, _ in _ROUTES)
        raise Refused(405 if known else 404, {"detail": "Not allowed." if known else "Not found."})

    def _check_key(self, given: str) -> None:
        key = given.removeprefix("Token ")
        right = self.key.get_secret_value()
        if not secrets.compare_digest(key.encode(errors="replace"), right.encode()):
            raise Refused(401, {"code": "authentication_failed", "detail": "Invalid API token."})

    def _create(
        self, path: object, query: object, headers: Message, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if "json" not in headers.get("Content-Type", ""):
            raise Refused(415, {"detail": "Unsupported media type in request."})
        create_request = read_order(body, local=self._local_urls)
        key = headers.get("Idempotency-Key", "")
        with self._lock:
            when, before, bot = self._keys.get(key, (-_REMEMBERED, b"", ""))
            if key and time.monotonic() - when < _REMEMBERED:
                if before != body:
                    raise Refused(409, {"detail": "This Idempotency-Key was another request's."})
                if bot in self._lives:  # else it has been deleted since
                    return 201, self._told(self._lives[bot])
            if self._stopped:
                raise Refused(503, {"detail": "Stopped."})
            fake_bot = FakeBot(create_request, self._script, self._folder, self.secret)
            self._lives[fake_bot.id] = fake_bot
            if key:
                self._keys[key] = time.monotonic(), body, fake_bot.id
        return 201, self._told(fake_bot)

    def _list(
        self, path: object, query: Mapping[str, str], headers: object, body: object
    ) -> tuple[int, dict[str, Any]]:
        try:
            page = int(query.get("page", "1"))
        except ValueError:
            page = 0
        fake_bots = [
            fake_bot
            for fake_bot in self._lives.values()
            if query.get("status", "") in ("", fake_bot.code)
        ]
        fake_bots.reverse()
        if page < 1 or (page - 1) * PAGE > len(fake_bots):
            raise Refused(404, {"detail": "Invalid page."})
        rest = f"&status={query['status']}" if "status" in query else ""
        links = [f"{self.base_url}bot/?page={at}{rest}" for at in (page - 1, page + 1)]
        return 200, {
            "count": len(fake_bots),
            "previous": links[0] if page > 1 else None,
            "next": links[1] if page * PAGE < len(fake_bots) else None,
            "results": [
                self._told(fake_bot) for fake_bot in fake_bots[(page - 1) * PAGE : page * PAGE]
            ],
        }

    def _get(self, path: Mapping[str, str], *rest: object) -> tuple[int, dict[str, Any]]:
        return 200, self._told(self._life(path))

    def _leave(self, path: Mapping[str, str], *rest: object) -> tuple[int, dict[str, Any]]:
        fake_bot = self._life(path)
        if not fake_bot.dispatched or fake_bot.code in (*_OVER, "call_ended"):
            raise Refused(400, {"code": "cannot_command_unstarted_bot", "detail": "Not in a call."})
        fake_bot.leave()
        return 200, self._told(fake_bot)

    def _delete_media(self, path: Mapping[str, str], *rest: object) -> tuple[int, dict[str, Any]]:
        fake_bot = self._life(path)
        if fake_bot.code not in _OVER:
            raise Refused(400, {"detail": "The bot is still in its call."})
        fake_bot.delete_media()
        return 200, self._told(fake_bot)

    def _delete(self, path: Mapping[str, str], *rest: object) -> tuple[int, None]:
        fake_bot = self._life(path)
        if fake_bot.dispatched:
            raise Refused(
                405, {"detail": "Only a bot that has not been dispatched can be deleted."}
            )
        fake_bot.leave()
        with self._lock:
            del self._lives[fake_bot.id]
        return 204, None

    def _endpoints(
        self, path: object, query: Mapping[str, str], *rest: object
    ) -> tuple[int, dict[str, Any]]:
        found = [
            {
                "id": sent.id,
                "type": sent.endpoint.type,
                "url": sent.endpoint.url,
                "events": sent.endpoint.events,
                "status": {"code": sent.status, "sub_code": None},
                "recording": {
                    "id": fake_bot.recording_id,
                    "metadata": fake_bot.create_request.metadata,
                },
            }
            for fake_bot in self._of_recording(query)
            for sent in fake_bot.sent
        ]
        return 200, {"next": None, "previous": None, "results": found}

    def _audio(
        self, path: object, query: Mapping[str, str], *rest: object
    ) -> tuple[int, dict[str, Any]]:
        found = [
            shortcut["audio_mixed"]
            for fake_bot in self._of_recording(query)
            for recording in self._told(fake_bot)["recordings"]
            if (shortcut := recording["media_shortcuts"])["audio_mixed"] is not None
        ]
        return 200, {"next": None, "previous": None, "results": found}

    def _media(self, path: str, query: Mapping[str, str]) -> Path:
        """Return a recording to whoever has its URL: without a key, as a bucket does."""
        given = query.get("X-Amz-Signature", "").encode(errors="replace")
        if not secrets.compare_digest(given, self._signature.encode()):
            raise Refused(403, {"detail": "The signature does not match."})
        for fake_bot in self._lives.values():
            if path == f"/media/{fake_bot.recording_id}.mp3" and fake_bot.media is not None:
                return fake_bot.media
        raise Refused(404, {"detail": "Not found."})

    def _told(self, fake_bot: FakeBot) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/media/{fake_bot.recording_id}.mp3"
        return fake_bot.told(f"{url}?X-Amz-Signature={self._signature}")

    def _life(self, path: Mapping[str, str]) -> FakeBot:
        fake_bot = self._lives.get(path["id"])
        if fake_bot is None:
            raise Refused(404, {"code": "not_found", "detail": "Not found."})
        return fake_bot

    def _of_recording(self, query: Mapping[str, str]) -> list[FakeBot]:
        if "recording_id" not in query:
            raise wrong("recording_id", "This filter is required here.")
        return [
            fake_bot for fake_bot in self._lives.values()
            if fake_bot.recording is not None and fake_bot.recording_id == query["recording_id"]
        ]  # fmt: skip


_BOT: Final = r"/bot/(?P<id>[A-Za-z0-9-]+)/"
_ROUTES: Final[list[tuple[str, str, Callable[..., tuple[int, dict[str, Any] | None]]]]] = [
    ("POST", r"/bot/", FakeRecall._create),
    ("GET", r"/bot/", FakeRecall._list),
    ("GET", _BOT, FakeRecall._get),
    ("DELETE", _BOT, FakeRecall._delete),
    ("POST", _BOT + r"leave_call/", FakeRecall._leave),
    ("POST", _BOT + r"delete_media/", FakeRecall._delete_media),
    ("GET", r"/realtime_endpoint/", FakeRecall._endpoints),
    ("GET", r"/audio_mixed/", FakeRecall._audio),
]
