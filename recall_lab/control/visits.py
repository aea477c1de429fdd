"""Sockets that were no bot: what they were, and what to do where a bot was meant."""

from __future__ import annotations

from typing import Final

_NGINX: Final = (
    "(nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header "
    'Connection "upgrade")'
)

HINTS: Final[dict[str, str]] = {
    "tls": "TLS came to a plain port: connect with ws://, or let a proxy or a tunnel that ends "
    "TLS lead here",
    "proxy protocol": "a load balancer sends the PROXY protocol, which is not read here: switch it "
    "off for this port",
    "http/2": "HTTP/2 came, which has no upgrade: have the proxy speak HTTP/1.1 to this port",
    "http/1.0": f"HTTP/1.0 came, which has no upgrade: have the proxy speak HTTP/1.1 {_NGINX}",
    "upgrade dropped": "a websocket's request came without its Upgrade: have the proxy pass it on "
    f"{_NGINX}",
    "large request": "a request came with more headers than are taken (16 KiB in all, 8 KiB a "
    "line): have the proxy add fewer",
    "method": "a request came that was no GET: this is the address of a websocket, and no webhook",
    "plain get": "",
    "health check": "",
    "silent": "",
    "unfinished": "",
    "no http": "",
}
"""What there is, and a hint; ``""`` for what is as it should be, or a stranger's."""

HTTP2: Final = b"PRI * HTTP/2"
_PROXY: Final = (b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n")  # versions 1 and 2
_METHODS: Final = (
    b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ",
)  # fmt: skip


def kind_of(start: bytes, *, large: bool = False) -> str:
    """Return what a socket was whose request never came whole.

    Args:
        start: the first bytes that it sent.
        large: whether more came than a request may have.

    Example:
        >>> kind_of(b"\\x16\\x03\\x01"), kind_of(b"")
        ('tls', 'silent')
    """
    if not start:
        return "silent"
    if start[:2] == b"\x16\x03":
        return "tls"
    if start.startswith(_PROXY):
        return "proxy protocol"
    if start.startswith(HTTP2):
        return "http/2"
    if start.startswith(_METHODS):
        return "large request" if large else "unfinished"
    return "no http"
