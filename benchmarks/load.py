"""The load generator: websocket frames made beforehand, pushed as fast as the peer takes them.

Measures nothing by itself; ``ingest.py`` and ``realtime.py`` are what one runs. The frames are
those of Recall.ai's mixed audio: masked text frames of JSON, a recording id for each connection,
running timestamps, seeded random audio. All frames of a connection have one length, so that a
block of them is an array with a row a frame, and moving its timestamps on, to send it once more,
means rewriting some forty columns: a few hundred megabytes of traffic need a megabyte a connection.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BLOCK_BYTES: Final = 1 << 20  # frames made for one connection; more than that are sent repeatedly
SEND_BYTES: Final = 1 << 20  # offered to the kernel in one call

RELATIVE_START: Final = 100_000  # s; large, so that the numbers keep their width
_RELATIVE: Final = b"100000.000000"
_ABSOLUTE: Final = b"2025-01-01T00:00:00.000000Z"
_CLOSE: Final = b"\x88\x82\x00\x00\x00\x00\x03\xe8"  # 1000, masked with a zero key


def message(recording: str, buffer: bytes, relative: bytes, absolute: bytes) -> bytes:
    """Return one message of mixed audio as JSON; `relative` and `absolute` go in as they are."""
    text = json.dumps(
        {
            "event": "audio_mixed_raw.data",
            "data": {
                "data": {
                    "buffer": buffer.decode(),
                    "timestamp": {"relative": "@R", "absolute": "@A"},
                },
                "realtime_endpoint": {"id": "5a1f7b0e-4c2d-4e8a-9f3b-6d7c8e9fa0b1", "metadata": {}},
                "recording": {"id": recording, "metadata": {}},
                "bot": {"id": "c4d5e6f7-0819-4a2b-8c3d-4e5f60718293", "metadata": {}},
                "audio_mixed_raw": {"id": "0f1e2d3c-4b5a-4697-8877-665544332211", "metadata": {}},
            },
        }
    ).encode()
    return text.replace(b'"@R"', relative).replace(b"@A", absolute)


def frame_head(length: int) -> bytes:
    """Return the start of a masked text frame, up to its key (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((0x81, 0x80 | length))
    if length < 1 << 16:
        return b"\x81\xfe" + length.to_bytes(2, "big")
    return b"\x81\xff" + length.to_bytes(8, "big")


class Stream:
    """What one connection sends.

    Args:
        recording: its recording id.
        size: bytes of audio in a message.
        count: messages to send.
        seed: of the audio and the mask keys.

    Attributes:
        frame_bytes: length of a frame.
        sent: messages sent since :meth:`rewind`.
    """

    def __init__(self, recording: str, size: int, count: int, seed: int) -> None:
        self.recording, self.size, self.count = recording, size, count
        self.sent = 0
        rng = np.random.default_rng(seed)
        first = message(recording, base64.b64encode(bytes(size)), _RELATIVE, _ABSOLUTE)
        head = frame_head(len(first)) + b"\0\0\0\0"
        self.frame_bytes = len(head) + len(first)
        rows = max(1, min(count, BLOCK_BYTES // self.frame_bytes))
        audio = rng.integers(0, 256, (rows, size), np.uint8)
        self._payload = audio.tobytes()

        keys = rng.integers(1, 256, (rows, 4), np.uint8)
        frames = np.empty((rows, self.frame_bytes), np.uint8)
        frames[:, : len(head)] = np.frombuffer(head, np.uint8)
        frames[:, len(head) - 4 : len(head)] = keys
        body = frames[:, len(head) :]
        body[:] = np.frombuffer(first, np.uint8)
        at = first.index(b'"buffer": "') + len(b'"buffer": "')
        encoded = b"".join(base64.b64encode(row) for row in audio)
        body[:, at : at + len(encoded) // rows] = np.frombuffer(encoded, np.uint8).reshape(rows, -1)
        body ^= keys[:, np.arange(len(first)) % 4]

        at = first.index(_RELATIVE)
        self._relative = slice(len(head) + at, len(head) + at + len(_RELATIVE))
        self._relative_keys = keys[:, np.arange(at, at + len(_RELATIVE)) % 4]
        at = first.index(_ABSOLUTE)
        self._absolute = slice(len(head) + at, len(head) + at + len(_ABSOLUTE) - 1)
        self._absolute_keys = keys[:, np.arange(at, at + len(_ABSOLUTE) - 1) % 4]
        self._frames = frames
        self._flat = memoryview(frames.reshape(-1))  # type: ignore[arg-type]  # a view, no copy
        self.rewind()

    def rewind(self) -> None:
        """Begin again with the first message."""
        self._start = np.datetime64(time.time_ns() // 1_000, "us")
        self.sent = self._at = 0
        self._end = self._load()

    def relative(self, first: int = 0, count: int | None = None) -> npt.NDArray[np.int64]:
        """Return the relative time of messages, in microseconds: exact, for comparing."""
        numbers = np.arange(first, self.count if count is None else first + count)
        return RELATIVE_START * 1_000_000 + numbers * self.size * 125 // 4

    def send(self, peer: socket.socket) -> bool:
        """Offer the next bytes; tell whether there are more."""
        try:
            self._at += peer.send(self._flat[self._at : min(self._end, self._at + SEND_BYTES)])
        except BlockingIOError:
            return True
        if self._at < self._end:
            return True
        self.sent += self._end // self.frame_bytes
        self._at = 0
        self._end = self._load()
        return self._end > 0

    def expected(self) -> Iterator[bytes]:
        """Yield the audio of all messages, piece by piece."""
        whole, rest = divmod(self.count, len(self._frames))
        for _ in range(whole):
            yield self._payload
        yield self._payload[: rest * self.size]

    def _load(self) -> int:
        """Make the block's timestamps those of the next messages; return the bytes to send."""
        rows = min(len(self._frames), self.count - self.sent)
        if not rows:
            return 0
        times = self.relative(self.sent, rows)
        digits = np.empty((rows, len(_RELATIVE)), np.uint8)
        powers = 10 ** np.arange(11, -1, -1)
        digits[:, [*range(6), *range(7, 13)]] = times[:, None] // powers % 10 + ord("0")
        digits[:, 6] = ord(".")
        self._frames[:rows, self._relative] = digits ^ self._relative_keys[:rows]
        stamps = self._start + (times - RELATIVE_START * 1_000_000)
        text = np.datetime_as_string(stamps).astype("S26").view(np.uint8).reshape(rows, -1)
        self._frames[:rows, self._absolute] = text ^ self._absolute_keys[:rows]
        return rows * self.frame_bytes


def streams(prefix: str, connections: int, messages: int, size: int) -> list[Stream]:
    """Return what each connection sends: `messages` in all, shared evenly and rounded down."""
    share = max(1, messages // connections)
    return [Stream(f"{prefix}-{n:04d}", size, share, seed=n) for n in range(connections)]


def connect(port: int) -> socket.socket:
    """Return a socket upgraded to a websocket, non-blocking."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=10)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        data = peer.recv(4_096)
        if not data:
            raise ConnectionError(f"the server hung up: {answer!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"the server refused: {answer!r}")
    peer.setblocking(False)
    return peer


def push(peers: Sequence[socket.socket], sources: Sequence[Stream], deadline: float) -> None:
    """Send everything that the sources have, as fast as it is taken.

    Args:
        peers: a socket for each source.
        sources: rewound.
        deadline: monotonic seconds at which to give up.

    Raises:
        TimeoutError: at the deadline.
    """
    with selectors.DefaultSelector() as selector:
        for peer, source in zip(peers, sources, strict=True):
            selector.register(peer, selectors.EVENT_WRITE, source)
        left = len(sources)
        while left:
            for key, _ in selector.select(1.0):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if not key.data.send(ready):
                    selector.unregister(ready)
                    left -= 1
            if time.monotonic() > deadline:
                raise TimeoutError("the receiver does not take the load in time")


def close(peers: Sequence[socket.socket]) -> None:
    """End websockets as the protocol wants it: a close frame, then wait for the other side."""
    for peer in peers:
        peer.settimeout(2)
        try:
            peer.sendall(_CLOSE)
            while peer.recv(65_536):
                pass
        except OSError:
            pass  # it is gone, or in no hurry
        peer.close()


def drain(peers: Sequence[socket.socket], deadline: float) -> None:
    """Say that nothing more comes, wait until the peer has read everything, and close."""
    for peer in peers:
        peer.shutdown(socket.SHUT_WR)
    for peer in peers:
        peer.settimeout(max(0.1, deadline - time.monotonic()))
        while peer.recv(65_536):
            pass
        peer.close()


def await_audio(directory: Path, sources: Sequence[Stream], deadline: float) -> None:
    """Wait until the ``.bin`` of every source has all bytes.

    Raises:
        TimeoutError: at the deadline.
    """
    for source in sources:
        path = directory / f"{source.recording}.bin"
        while not path.exists() or path.stat().st_size < source.count * source.size:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path.name} does not get all its audio")
            time.sleep(0.001)


def same_audio(path: Path, source: Stream) -> bool:
    """Compare a ``.bin`` with what was sent, byte for byte."""
    with open(path, "rb") as file:
        same = all(file.read(len(piece)) == piece for piece in source.expected())
        return same and not file.read(1)
