"""What comes to a receiver and is no bot: told by what it was, and health checks answered."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from recall_lab.control.limits import Limits
from recall_lab.control.visits import HINTS
from recall_lab.errors import WaitTimeout
from recall_lab.receiver.background.handle import Receiver
from recall_lab.receiver.background.start import receive

TOKEN = "t" * 32
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(params=["open", "token"])
def rx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Receiver]:
    token = TOKEN if request.param == "token" else None
    with receive(0, tmp_path, mode="thread", token=token) as rx:
        yield rx


def say(rx: Receiver, data: bytes, *, end: bool = True) -> bytes:
    """Send bytes, and nothing after them where they are to `end`; return all that is answered."""
    with socket.create_connection(("127.0.0.1", rx.port), timeout=10) as peer:
        peer.sendall(data)
        if end:
            peer.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := peer.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def get(rx: Receiver, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", rx.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def came(rx: Receiver, what: str) -> None:
    """Wait until one is counted as this, and as nothing else."""
    deadline = time.monotonic() + 10
    while not rx.status.visits:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert rx.status.visits == {what: 1}
    assert rx.status.refused == {}


REQUESTS = {
    "tls": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(100),
    "proxy protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 3456\r\nGET / HTTP/1.1\r\n\r\n",
    "http/2": H2,
    "http/1.0": f"GET / HTTP/1.0\r\nHost: x\r\n{UPGRADE}{KEY}\r\n".encode(),
    "upgrade dropped": f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{KEY}\r\n".encode(),
    "method": b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "plain get": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "large request": b"GET / HTTP/1.1\r\nCookie: " + b"x" * 9_000 + b"\r\n\r\n",
    "unfinished": b"GET / HTTP/1.1\r\nHost:",
    "silent": b"",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("what", REQUESTS)
def test_what_comes_to_nothing_is_counted_by_what_it_was(rx: Receiver, what: str) -> None:
    say(rx, REQUESTS[what])
    came(rx, what)
    lines = [json.loads(line) for line in journal(rx).splitlines()]
    assert [line["what"] for line in lines] == [what] * bool(HINTS[what])
    assert len(rx.status.hints) == bool(HINTS[what])


def journal(rx: Receiver) -> str:
    path = rx.directory / "_receiver.events.jsonl"
    return path.read_text() if path.exists() else ""


def test_every_kind_is_tried() -> None:
    assert REQUESTS.keys() | {"health check"} == HINTS.keys()


def test_the_second_version_of_the_proxy_protocol(rx: Receiver) -> None:
    say(rx, b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12))
    came(rx, "proxy protocol")


def test_real_tls_on_a_plain_port_is_told_where_one_waits(rx: Receiver) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        connect(f"wss://127.0.0.1:{rx.port}/", ssl=ssl._create_unverified_context(), proxy=None)
    came(rx, "tls")
    with pytest.raises(WaitTimeout, match="1 socket came to nothing: TLS came to a plain port"):
        rx.wait(packets=1, timeout=0.1)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz?x=1"])
def test_health_checks_need_no_token_and_are_no_refusal(rx: Receiver, path: str) -> None:
    assert get(rx, path) == (200, "ok\n")
    came(rx, "health check")
    assert get(rx, path, "HEAD") == (200, "")
    assert rx.status.visits == {"health check": 2}
    assert journal(rx) == ""


def test_it_is_not_ready_where_it_takes_no_recording(tmp_path: Path) -> None:
    (tmp_path / "begun.idx").touch()
    with receive(0, tmp_path, mode="thread", limits=Limits(reserve=2**62)) as rx:
        assert get(rx, "/readyz") == (503, "reserve\n")
        assert get(rx, "/healthz") == (200, "ok\n")


def test_a_page_with_a_right_token_is_let_in_and_no_other(rx: Receiver) -> None:
    url = rx.bot_url.get_secret_value()
    demanding = "token" in url
    if demanding:
        with connect(url, origin="https://example.org", proxy=None):  # type: ignore[arg-type]
            assert rx.status.connections == 1
    page = f"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://a.b\r\n{UPGRADE}{KEY}\r\n"
    answer = say(rx, page.encode(), end=False)
    assert answer.startswith(b"HTTP/1.1 401" if demanding else b"HTTP/1.1 403")
    assert rx.status.refused == {"token" if demanding else "origin": 1}
