"""Peers that speak the protocol by hand, as badly as they like, and a siege to put them into.

Measures memory, journal and what a stream beside loses, for as long as a siege lasts; what the
peers do is in ``floods.py`` and ``deluge.py``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import ClassVar, Final, Self

import psutil

import recall_lab as rl
from benchmarks.torture.company import anonymous, pid_of
from benchmarks.torture.figures import Figure
from benchmarks.torture.steady import Steady

TEXT: Final = 0x1
BINARY: Final = 0x2
PING: Final = 0x9
FIN: Final = 0x80
RSV1: Final = 0x40
MASK: Final = b"\0\0\0\0"  # a key of zeros changes nothing, and is a key

MEMORY: Final = 100  # MB by which the receiver may grow
JOURNAL: Final = 1.0  # MB

REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)


def connected(
    port: int, address: str = "127.0.0.1", headers: bytes = b"", buffer: int = 0
) -> socket.socket:
    """Return a socket upgraded to a websocket.

    Args:
        port: of the receiver.
        address: of this machine, from which to come: all of 127.0.0.0/8 is.
        headers: more of the request, each with its CRLF.
        buffer: bytes that the system may hold unread for it; 0 for as many as it likes.

    Raises:
        ConnectionError: when the answer is another; it is in the message.
    """
    peer = socket.socket()
    peer.settimeout(10)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if buffer:  # before it connects: a window that shrinks wedges the system's own protocol
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    peer.bind((address, 0))
    peer.connect(("127.0.0.1", port))
    peer.sendall(REQUEST + headers + b"\r\n")
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in answer and (part := peer.recv(4_096)):
            answer += part
    if not answer.startswith(b"HTTP/1.1 101") or b"extensions" in answer.lower():
        peer.close()
        raise ConnectionError(answer.decode(errors="replace"))
    return peer


def head(first: int, length: int, *, masked: bool = True) -> bytes:
    """Return what stands before a frame's payload (RFC 6455, 5.2).

    Args:
        first: FIN, reserved bits and opcode.
        length: that is declared.
        masked: as a client's has to be.
    """
    bit = 0x80 if masked else 0
    key = MASK if masked else b""
    if length < 126:
        return bytes((first, bit | length)) + key
    if length < 1 << 16:
        return bytes((first, bit | 126)) + length.to_bytes(2, "big") + key
    return bytes((first, bit | 127)) + length.to_bytes(8, "big") + key


def frame(first: int, payload: bytes) -> bytes:
    """Return a whole masked frame."""
    return head(first, len(payload)) + payload


def push(peer: socket.socket, data: bytes) -> int:
    """Send until it is all sent or the other end has had enough; return the bytes sent."""
    view, sent = memoryview(data), 0
    with contextlib.suppress(OSError):
        while sent < len(view):
            sent += peer.send(view[sent : sent + 65_536])
    return sent


def farewell(peer: socket.socket) -> int:
    """Wait until a peer is let go; return the code it is told, 0 for none, -1 if it is not."""
    peer.settimeout(3)
    answer = b""
    try:
        while part := peer.recv(65_536):
            answer += part
    except ConnectionError:
        pass
    except TimeoutError:
        return -1
    finally:
        peer.close()
    at = answer.rfind(b"\x88")
    return int.from_bytes(answer[at + 2 : at + 4], "big") if at >= 0 else 0


def all_answered(peer: socket.socket, timeout: float = 120.0) -> bool:
    """Send a ping and wait for the pong: then all that was sent before has been dealt with."""
    peer.settimeout(timeout)
    answer = b""
    with contextlib.suppress(OSError):
        peer.sendall(frame(FIN | PING, b"done?"))
        while b"done?" not in answer and (part := peer.recv(65_536)):
            answer = answer[-16:] + part
    return b"done?" in answer


class Siege:
    """What happens to a receiver, and to a stream beside, while something is done to it.

    Args:
        rx: the receiver.
        what: is done to it.
    """

    _begun: ClassVar[dict[str, float]] = {}  # memory of each receiver before its first siege

    def __init__(self, rx: rl.Receiver, what: str) -> None:
        self.rx, self.what = rx, what
        self._process = psutil.Process(pid_of(rx))
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self.status = self.rx.status
        self.steady = Steady(self.rx.port, f"beside-{self.what.replace(' ', '-')}")
        self.steady.__enter__()
        self._most = anonymous(self._process)
        self._memory = self._begun.setdefault(self.rx.id, self._most)
        self._journals = self._written()
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()
        self.steady.__exit__(*error)
        self.after = self.rx.status

    @property
    def rejected(self) -> dict[str, int]:
        """Messages refused during the siege, by reason."""
        before, after = self.status.rejected, self.rx.status.rejected
        return {reason: count - before.get(reason, 0) for reason, count in after.items()}

    @property
    def counted(self) -> int:
        """Messages counted since the siege began, kept or not, without those of the stream."""
        totals = [
            status.packets + status.events + sum(status.rejected.values())
            for status in (self.status, self.after)
        ]
        return totals[1] - totals[0] - self.steady.sent

    def figures(self, journal: float = JOURNAL) -> Iterator[Figure]:
        """Give what has to hold whatever is done.

        Args:
            journal: MB that may be written of it.
        """
        lost = self.steady.lost(self.rx.directory)
        yield Figure(f"{self.what}: packets lost of a stream beside", lost, "=", 0)
        yield Figure(f"{self.what}: memory", self._most - self._memory, "<=", MEMORY, "MB")
        written = (self._written() - self._journals) / 1e6
        yield Figure(f"{self.what}: journals", written, "<=", journal, "MB")

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, anonymous(self._process))

    def _written(self) -> int:
        return sum(path.stat().st_size for path in self.rx.directory.glob("*.jsonl"))
