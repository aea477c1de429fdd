"""Settings: how a receiver runs, as a frozen value that travels as JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from recall_lab.arguments import Duration, duration, whole
from recall_lab.control.limits import Limits
from recall_lab.errors import InvalidArgument
from recall_lab.wire.urls import is_loopback, public_address

Mode = Literal["process", "thread"]
MODES: Final = ("process", "thread")
TUNNELS: Final = ("ngrok", "cloudflared")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}", re.ASCII)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver is to run. Two receivers with equal settings are the same receiver.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        directory: where captures go, absolute.
        mode: in a child process or in a thread.
        idle_timeout: seconds a child goes on without a notebook and without a bot; None: until it
            is stopped.
        sync: seconds between two syncs of a capture to the disk.
        tunnel: ``ngrok``, ``cloudflared`` or ``""``.
        domain: the tunnel's, where it has a lasting one.
        public_url: where bots connect when a tunnel of the user's own leads here.
        access: fingerprint of what is demanded of those who connect; ``""`` for nothing.
        limits: how much is taken.
        locks: whether the folder's file system has to have locks.
    """

    host: str = "127.0.0.1"
    port: int = 3456
    directory: str
    mode: Mode = "process"
    idle_timeout: float | None = 600.0
    sync: float = 1.0
    tunnel: str = ""
    domain: str = ""
    public_url: str = ""
    access: str = ""
    limits: Limits = Limits()
    locks: bool = True

    @property
    def exposure(self) -> str:
        """How a receiver with these settings can be reached from outside; ``""`` if it can't."""
        if self.tunnel:
            return f"the receiver is opened to the internet by {self.tunnel}"
        if self.public_url:
            return f"the receiver can be reached at {self.public_url}"
        if not is_loopback(self.host):
            return f"the receiver listens on {self.host}, which other machines can reach"
        return ""

    def url(self, port: int) -> str:
        """Where bots on this machine connect."""
        return f"ws://{f'[{self.host}]' if ':' in self.host else self.host}:{port}/"

    def same_as(self, other: Settings) -> bool:
        """Whether a receiver with these settings does for the other ones: how long it stays apart.

        Example:
            >>> Settings(directory="/a").same_as(Settings(directory="/a", idle_timeout=None))
            True
        """
        return self == msgspec.structs.replace(other, idle_timeout=self.idle_timeout)

    @property
    def stays(self) -> str:
        """How long a receiver with these settings stays, in words."""
        if self.mode == "thread":
            return "as long as this process"
        if self.idle_timeout is None:
            return "until it is stopped"
        return f"while it is in use, and {self.idle_timeout:g} s after"

    @classmethod
    def checked(
        cls,
        *,
        host: str,
        port: int,
        directory: str | Path,
        mode: str,
        idle_timeout: Duration | None,
        sync: Duration,
        tunnel: str | None = None,
        domain: str | None = None,
        public_url: str | None = None,
        limits: Limits | None = None,
        locks: bool = True,
    ) -> Settings:
        """Return settings, or raise for the first that can't be (as :func:`recall_lab.receive`)."""
        whole("port", port, 0, 65_535, "a port (0 for any free one)")
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise InvalidArgument("host", host, "an address or a host name, such as 127.0.0.1")
        if mode not in MODES:
            raise InvalidArgument("mode", mode, "'process' or 'thread'")
        if idle_timeout is not None:
            stay = "None to stay until it is stopped; or seconds"
            idle_timeout = duration("idle_timeout", idle_timeout, above=True, what=stay)
        sync = duration("sync", sync, above=True)
        if limits is not None and not isinstance(limits, Limits):
            raise InvalidArgument("limits", limits, "rl.Limits(...)")
        if tunnel is not None and tunnel not in TUNNELS:
            valid = "'ngrok' or 'cloudflared'; public_url= for others"
            raise InvalidArgument("tunnel", tunnel, valid)
        if domain and tunnel == "cloudflared":
            raise InvalidArgument(
                "domain", domain, "none: a quick tunnel of cloudflared has a new address each "
                "time; run a named tunnel yourself and give public_url=",
            )  # fmt: skip
        if domain is not None and (tunnel is None or not _HOST.fullmatch(str(domain))):
            raise InvalidArgument("domain", domain, "a host name, with a tunnel that can have one")
        if tunnel is not None and public_url is not None:
            raise InvalidArgument("public_url", public_url, "none beside a tunnel, which has one")
        return cls(
            host=host,
            port=port,
            directory=str(Path(directory).expanduser().absolute()),
            mode="process" if mode == "process" else "thread",
            idle_timeout=None if idle_timeout is None else float(idle_timeout),
            sync=float(sync),
            tunnel=tunnel or "",
            domain=domain or "",
            public_url="" if public_url is None else public_address(public_url),
            limits=Limits() if limits is None else limits.checked(),
            locks=bool(locks),
        )
