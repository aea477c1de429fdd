"""Give a receiver on this machine a public address for as long as it runs.

=============  ==============================================================================
tunnel         what it takes
=============  ==============================================================================
``ngrok``      the extra ``tunnel`` and an account's token in NGROK_AUTHTOKEN; keeps its address
               with a ``domain``
``cloudflared``  the program on the PATH; a new address each time, without an account
=============  ==============================================================================

The tunnel lives in the process that serves, so that it goes on when a kernel restarts and ends
with the receiver. For every other tunnel there is ``public_url=``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import re
import shutil
from collections import deque
from typing import Any, Final, Protocol

from recall_lab import children, parent_watchdog
from recall_lab.configuration import secret_setting
from recall_lab.errors import MissingExtra, TunnelFailed
from recall_lab.text import excerpt, redacted
from recall_lab.wire.urls import public_address

OPEN_TIMEOUT: Final = 25.0
"""Seconds in which there has to be an address."""

_CLOSE_TIMEOUT = 5.0
_QUICK = re.compile(rb"https://[a-z0-9-]+\.trycloudflare\.com\b")
_REGISTERED = re.compile(rb"registered.*conn|conn.*registered", re.IGNORECASE)
_TAIL = 5  # lines of a program's last words
_WORDS = 300  # characters of them


class Tunnel(Protocol):
    """An open tunnel.

    Attributes:
        url: the address that bots reach, ``wss://.../``.
        trouble: what is wrong with it now, in words; ``""`` while it holds.
    """

    url: str
    trouble: str

    async def close(self) -> None:
        """Close it; never raises."""


def check_installed(name: str) -> None:
    """Raise at once for a tunnel that cannot be opened on this machine; ``""`` passes.

    Raises:
        MissingExtra: where ngrok's SDK is not installed.
        MissingSetting: where NGROK_AUTHTOKEN is not set.
        TunnelFailed: where cloudflared is not on the PATH.
    """
    if name == "ngrok":
        if importlib.util.find_spec("ngrok") is None:
            raise MissingExtra("tunnel", "ngrok")
        secret_setting("ngrok_authtoken", "the tunnel of ngrok")
    elif name == "cloudflared" and shutil.which("cloudflared") is None:
        raise TunnelFailed(
            "the program cloudflared is not on the PATH: install it from Cloudflare, or use "
            "tunnel='ngrok' or public_url="
        )


async def open_tunnel(name: str, address: str, domain: str = "") -> Tunnel:
    """Open a tunnel to an address of this machine, ``host:port``.

    Raises:
        TunnelFailed: when there is no address in time; says what the tunnel said.
    """
    check_installed(name)
    opening = _Ngrok.open if name == "ngrok" else _Cloudflared.open
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            return await opening(address, domain)
    except TimeoutError:
        raise TunnelFailed(
            f"{name} gave no address within {OPEN_TIMEOUT:.0f} s: is there a way to the internet?"
        ) from None


class _Ngrok:
    """A tunnel of ngrok's SDK, which forwards from threads of its own."""

    def __init__(self, session: Any) -> None:
        self.url = ""
        self.trouble = ""
        self._session = session
        self._listener: Any = None

    @classmethod
    async def open(cls, address: str, domain: str) -> _Ngrok:
        import ngrok  # noqa: PLC0415 - needs an extra

        made: list[_Ngrok] = []

        def lost(address: str, error: str) -> None:  # the SDK goes on trying by itself
            for tunnel in made:
                tunnel.trouble = f"ngrok lost its connection ({excerpt(error)}) and tries again"

        def held(latency: int) -> None:
            for tunnel in made:
                tunnel.trouble = ""

        token = secret_setting("ngrok_authtoken", "the tunnel of ngrok")
        builder: Any = ngrok.SessionBuilder()
        tunnel = None
        try:
            builder = builder.authtoken(token.get_secret_value()).handle_heartbeat(held)
            tunnel = cls(await builder.handle_disconnection(lost).connect())
            made.append(tunnel)
            endpoint = tunnel._session.http_endpoint()
            if domain:
                endpoint = endpoint.domain(domain)
            tunnel._listener = await endpoint.listen_and_forward(f"http://{address}")
            tunnel.url = public_address(tunnel._listener.url())
        except BaseException as error:
            if tunnel is not None:
                await tunnel.close()
            if not isinstance(error, OSError | RuntimeError | ValueError):
                raise  # ngrok's own are ValueErrors of several parts
            told = redacted(" ".join(str(part) for part in error.args)).replace(
                token.get_secret_value(), "***"
            )
            raise TunnelFailed(f"ngrok did not open a tunnel: {excerpt(told, _WORDS)}") from None
        return tunnel

    async def close(self) -> None:
        for part in filter(None, (self._listener, self._session)):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await part.close()


class _Cloudflared:
    """A quick tunnel of the program cloudflared, which tells its address on standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.url = ""
        self.trouble = ""
        self._process = process
        self._closing = False
        self._said: deque[str] = deque(maxlen=_TAIL)
        self._ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, address: str, domain: str) -> _Cloudflared:
        process = await asyncio.create_subprocess_exec(
            *children.command(parent_watchdog.__file__),
            "cloudflared", "tunnel", "--no-autoupdate", "--config", "/dev/null",
            "--url", f"http://{address}",
            env=children.environment(),
            stdin=asyncio.subprocess.PIPE,  # closed when we are gone, which ends it
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        tunnel = cls(process)
        try:
            await tunnel._ready.wait()
        except BaseException:  # out of time, or told to stop: the program must not stay
            await tunnel.close()
            raise
        if tunnel.trouble:
            await tunnel.close()
            raise TunnelFailed(tunnel.trouble)
        return tunnel

    async def _read(self) -> None:
        """Follow what the program says until it ends."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line without an end
                continue
            if not line:
                break
            self._said.append(line.decode(errors="replace").strip())
            found = _QUICK.search(line)
            if found and not self.url:
                self.url = public_address(found[0].decode())
            if self.url and _REGISTERED.search(line):
                self._ready.set()
        code = await self._process.wait()
        if not self._closing:
            told = excerpt(" / ".join(self._said)[-_WORDS:], _WORDS + 2)
            self.trouble = f"cloudflared has ended (code {code}): {told}"
        self._ready.set()

    async def close(self) -> None:
        self._closing = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._reading
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
