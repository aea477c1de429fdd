"""Parse URLs, and tell which hosts are this machine."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from recall_lab.errors import InvalidArgument
from recall_lab.text import redacted

_SCHEMES: Final = {"wss": "wss", "https": "wss", "ws": "ws", "http": "ws"}


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that a host is; None for a name.

    Example:
        >>> ip_of("::ffff:127.0.0.1"), ip_of("example.org")
        (IPv4Address('127.0.0.1'), None)
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, which no other can reach.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    address = ip_of(host)
    return address is not None and address.is_loopback


def split(url: str) -> SplitResult | None:
    """Return the parts of a URL with a host; None for what is none."""
    if not url.isascii() or not url.isprintable() or re.search(r"[\s<>\"\\]", url):
        return None
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address that is none
        return None
    return parts if usable else None


def local_address(host: str, port: int) -> str:
    """Return where this machine reaches a port of its own that listens on a host.

    Example:
        >>> local_address("0.0.0.0", 80), local_address("::1", 80)
        ('127.0.0.1:80', '[::1]:80')
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def public_address(url: str) -> str:
    """Return an address from which bots can reach us, as ``wss://host/path``.

    Raises:
        InvalidArgument: for what is no such address.

    Example:
        >>> public_address("https://bench.example.org")
        'wss://bench.example.org/'
    """
    parts = split(url) if isinstance(url, str) else None
    scheme = _SCHEMES.get(parts.scheme) if parts is not None else None
    if parts is None or scheme is None or parts.query or parts.fragment or "@" in parts.netloc:
        given = "***" if "@" in str(url) else redacted(str(url))
        valid = "the address that bots can reach, such as wss://bench.example.org/, without a query"
        raise InvalidArgument("public_url", given, valid)
    return f"{scheme}://{parts.netloc}{parts.path or '/'}"
