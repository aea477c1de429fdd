"""Hosts of addresses: which of them is this machine."""

from __future__ import annotations

import ipaddress


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
