"""The stand-in bot's connection: opened, signed and retried as the bot does."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Final

from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from recall_lab.configuration import hidden
from recall_lab.errors import InvalidArgument, ReceiverFailed
from recall_lab.simulator.faults import RETRY
from recall_lab.text import RedactingFilter, redacted
from recall_lab.wire.signature import SECRET_VALID, is_secret, signed_headers

ATTEMPTS: Final = 30
"""How often the bot tries to connect before it gives up."""

_SHORTEST_RETRY: Final = 0.2  # seconds between attempts, however fast the call is played
_HANGING: Final = 5.0  # seconds that all attempts together may take, beside the waits
_REFUSED: Final = range(400, 500)

_logger = logging.getLogger("recall_lab.simulator")
_logger.addFilter(RedactingFilter())
_logger.addHandler(logging.NullHandler())


class Line:
    """A connection to one address, which may break and be opened anew.

    Args:
        url: of the receiver, with the token if it demands one.
        speed: of the call; waiting times shrink alike.
        secret: signs each upgrade request.

    Attributes:
        connections: how often it has been opened.
        given_up: whether it has tried for as long as the bot does, and does so no more.
    """

    def __init__(self, url: str | SecretStr, speed: float, secret: str | SecretStr | None) -> None:
        url, secret = hidden(url), None if secret is None else hidden(secret)
        self._url = url
        self.shown = redacted(self._url.get_secret_value())
        try:
            parse_uri(self._url.get_secret_value())
        except InvalidURI as error:
            valid = f"a websocket address, ws://... ({error.msg})"
            raise InvalidArgument("url", self.shown, valid) from None
        if secret is not None and not is_secret(secret.get_secret_value()):
            raise InvalidArgument("secret", secret, SECRET_VALID)
        self._secret = secret
        self._retry = max(RETRY / speed, _SHORTEST_RETRY)
        self._connection: ClientConnection | None = None
        self.connections = 0
        self.given_up = False

    @property
    def open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    async def connect(self) -> None:
        """Connect, trying as long as the bot would: 90 s in all, or so much less as it is faster.

        Raises:
            ReceiverFailed: when nobody has answered after the last attempt, or the receiver
                refused to let us in the first time; and at once after that.
        """
        last: Exception | None = None
        until = time.monotonic() + ATTEMPTS * self._retry + _HANGING
        attempts = 0
        while not self.given_up:
            if attempts:
                await asyncio.sleep(self._retry)
            if attempts == ATTEMPTS or time.monotonic() > until:
                self.given_up = True
                break
            attempts += 1
            try:
                self._connection = await connect(
                    self._url.get_secret_value(),
                    additional_headers=self._signed(),
                    compression=None,
                    proxy=None,
                    logger=_logger,
                    max_size=2**16,
                    open_timeout=max(1.0, until - time.monotonic()),
                )
            except InvalidStatus as error:
                last = error
                status = error.response.status_code
                if status in _REFUSED and not self.connections:
                    raise ReceiverFailed(
                        f"the receiver at {self.shown} did not let us in (HTTP {status}): it may "
                        "want the token (give rx.bot_url), or a signature (give secret=)"
                    ) from None
            except (OSError, TimeoutError, WebSocketException) as error:
                last = error
            else:
                self.connections += 1
                return
        raise ReceiverFailed(
            f"no receiver at {self.shown} after {attempts} attempts (the last: {last}); "
            "start one first, for example with rl.receive()"
        )

    async def send(self, message: bytes) -> int:
        """Send one message; return when, in ns since 1970 UTC, or 0 if the line was broken."""
        assert self._connection is not None
        now = time.time_ns()
        try:
            await self._connection.send(message, text=True)
        except (WebSocketException, OSError):
            self._connection = None
            await asyncio.sleep(self._retry)
            return 0
        return now

    async def disconnect(self, *, clean: bool = False) -> None:
        """Hang up: in good order, or as when the line breaks."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not clean:  # the line breaks: what was sent still arrives, no farewell does
            connection.transport.close()
        await connection.close()

    def _signed(self) -> dict[str, str]:
        if self._secret is None:
            return {}
        id_ = f"msg_{secrets.token_hex(12)}"
        return signed_headers(self._secret.get_secret_value(), id_, int(time.time()))
