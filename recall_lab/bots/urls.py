"""Tell which addresses Recall.ai can use, without asking it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from pydantic import SecretStr

from recall_lab.text import redacted
from recall_lab.wire.urls import ip_of, is_loopback, split

MAKE_PUBLIC: Final = (
    "bots connect from the internet: start the receiver with "
    'rl.receive(tunnel="ngrok"), or with public_url="https://..." where a tunnel or a proxy of '
    "your own leads to it"
)
_INSIDE: Final = ("localhost", "local", "internal", "lan", "home.arpa", "intranet", "test")
_WORTH_HIDING: Final = 6  # characters: what is shorter may stand anywhere


def wrong_with_endpoint(url: SecretStr, *, local: bool) -> str:
    """Return why no bot could connect to a websocket URL, and what to do; ``""`` when it can.

    Never raises: an exception would carry the URL about in its traceback.

    Args:
        url: where a bot is to connect, token included.
        local: the API is a stand-in on this machine, whose bots can connect to this machine.
    """
    parts = split(url.get_secret_value())
    if parts is None or parts.scheme not in ("ws", "wss"):
        return f"a URL such as wss://host/path?token=...; {MAKE_PUBLIC}"
    if parts.query and not parts.path:
        return "a URL with a '/' before the '?', as Recall.ai demands: wss://host/?token=..."
    if parts.fragment or "@" in parts.netloc:
        return "a URL without '#' and without a user's name"
    host = parts.hostname or ""
    if local and is_loopback(host):
        return ""
    if parts.scheme != "wss":
        return f"a URL that begins with wss://, as Recall.ai connects by TLS only; {MAKE_PUBLIC}"
    why = _not_public(host)
    return f"a host that is reachable from outside, not {why}; {MAKE_PUBLIC}" if why else ""


def shown(url: SecretStr) -> str:
    """Return as much of a URL as may be seen: no user, no query, no fragment."""
    parts = split(url.get_secret_value())
    if parts is None:
        return "***"
    hidden = "?***" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{hidden}"


def secrets_in(url: SecretStr) -> tuple[SecretStr, ...]:
    """Return what is secret in a URL: the values that :func:`recall_lab.text.redacted` hides."""
    parts = split(url.get_secret_value())
    if parts is None:
        return ()
    found = set()
    for field in parts.query.split("&"):
        if redacted(f"?{field}") != f"?{field}" or "=" not in field:
            found.add(field.partition("=")[2] or field)
            found.update(value for _, value in parse_qsl(field))
    return tuple(SecretStr(value) for value in sorted(found) if len(value) >= _WORTH_HIDING)


def _not_public(host: str) -> str:
    """Return what is wrong with a host that can't be reached from outside; ``""`` if it can."""
    name = host.lower().rstrip(".")
    address = ip_of(name)
    if address is not None:
        return "" if address.is_global and not address.is_multicast else f"{host}, an inner address"
    labels = name.split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return f"{host}, which is no address in its usual form"
    if len(labels) < 2 or any(name == end or name.endswith(f".{end}") for end in _INSIDE):
        return f"{host}, a name of an inner network"
    if not all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", label) for label in labels):
        return f"{host}, which is no host name"
    return ""
