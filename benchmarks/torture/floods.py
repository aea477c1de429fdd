"""What strangers send to bring a receiver down, while a stream that does nothing wrong runs.

Compression bombs to a server that never said it would decompress; messages longer than any may
be, declared or sent; messages in crumbs of a byte, and such as never end; pings whose answers
nobody reads; requests that come a byte a second; as many idle sockets as there are places, and
more. Then, in ``deluge.py``: malformed messages, JSON of great depth and width, recordings
without end, and more than the quotas allow.

Of each: the stream beside loses nothing (every byte is compared), the memory that the receiver
has for itself (RssAnon, looked at 50 times a second) grows by less than 100 MB, and the journals
by little; and what is sent is refused as it should be.
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import recall_lab as rl
from benchmarks.child import raise_descriptor_limit
from benchmarks.torture import deluge
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import payload
from benchmarks.torture.peers import (
    BINARY,
    FIN,
    PING,
    REQUEST,
    RSV1,
    TEXT,
    Siege,
    all_answered,
    connected,
    farewell,
    frame,
    head,
    push,
)
from benchmarks.torture.steady import packet
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE
from recall_lab.wire.messages import MAX_MESSAGE_BYTES

BOMB: Final = 100_000_000  # bytes that one would become
CRUMBS: Final = 100_000  # frames of a byte each, of one message
SLOW: Final = 12.0  # seconds after which a request that has not come is not waited for
LENGTHS: Final = [MAX_MESSAGE_BYTES + 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
PIECE: Final = 65_536


def run(scale: Scale) -> Iterator[Figure]:
    """Give the figures."""
    raise_descriptor_limit()
    scratch = Path(tempfile.mkdtemp(prefix="rl-"))
    os.environ[RUNTIME_VARIABLE] = str(scratch / "run")
    try:
        rx = rl.receive(0, scratch / "floods")
        slow = Slow(rx.port, scale.pick(100, 500))  # they take their time: meanwhile, the rest
        slow.start()
        for flood in (bombs, oversize, crumbs, unfinished, pings):
            yield from flood(rx, scale)
        for flood in (deluge.malformed, deluge.shapes, deluge.recordings):
            yield from flood(rx, scale)
        yield from idle(scratch / "idle", scale)
        yield from deluge.quotas(scratch / "quotas", scale)
        yield from slow.figures()
    finally:
        for left in rl.receivers():
            left.stop()
        shutil.rmtree(scratch)


def bombs(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """Offer compression and send compressed zeros, agreed upon or not."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1_000_000)
    bomb = b"".join(squeezer.compress(zeros) for _ in range(BOMB // len(zeros)))
    bomb += squeezer.flush(zlib.Z_SYNC_FLUSH)[:-4]  # RFC 7692, 7.2.1
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    count, codes = scale.pick(10, 300), []
    with Siege(rx, "compression bombs") as siege:
        for _ in range(count):
            peer = connected(rx.port, headers=offer)
            push(peer, frame(FIN | RSV1 | TEXT, bomb))
            codes.append(farewell(peer))
    yield from siege.figures()
    yield Figure("compression bombs: let go with 1002", codes.count(1002), "=", count)


def oversize(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """Declare messages that are too long, and send 4 MB of them; or send them in pieces."""
    more = bytes(4_000_000)
    codes = []
    pieces = [TEXT, *[0] * 40, FIN]
    whole = b"".join(frame(first, b" " * PIECE) for first in pieces)
    with Siege(rx, "oversize messages") as siege:
        for _ in range(scale.pick(1, 30)):
            for first in (FIN | TEXT, FIN | BINARY, TEXT):
                for length in LENGTHS:
                    peer = connected(rx.port)
                    push(peer, head(first, length) + more)
                    codes.append(farewell(peer))
            peer = connected(rx.port)
            push(peer, whole)
            codes.append(farewell(peer))
    yield from siege.figures()
    yield Figure("oversize messages: let go with 1009", codes.count(1009), "=", len(codes))


def crumbs(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """Messages of a hundred thousand frames, a byte each: slow, and right."""
    data = packet("crumbs", 0)
    data = data[:-1] + b" " * (CRUMBS - len(data)) + data[-1:]
    frames = [frame(0, bytes((byte,))) for byte in data]
    frames[0] = frame(TEXT, data[:1])
    frames[-1] = frame(FIN, data[-1:])
    count, stream = scale.pick(1, 8), b"".join(frames)
    with Siege(rx, "crumbs") as siege:
        peer = connected(rx.port)
        for _ in range(count):
            push(peer, stream)
        assert all_answered(peer)
        peer.close()
    yield from siege.figures()
    held = (rx.directory / "crumbs.bin").read_bytes()
    right = held.count(payload("crumbs", 0)) if len(held) == count * 640 else 0
    yield Figure("crumbs: messages kept, byte for byte", right, "=", count)


def unfinished(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """On many connections, messages that never end: large frames, pieces, and crumbs."""
    large = head(FIN | TEXT, MAX_MESSAGE_BYTES) + bytes(MAX_MESSAGE_BYTES - 1_000)
    pieces = frame(TEXT, b" " * PIECE) + frame(0, b" " * PIECE) * 30
    bits = frame(TEXT, b" ") + frame(0, b" ") * scale.pick(2_000, 20_000)
    small = head(FIN | TEXT, 100_000) + bytes(99_000)
    with Siege(rx, "unfinished messages") as siege:
        peers = []
        for _ in range(scale.pick(20, 100)):
            for stream in (large, pieces, bits, small):
                peers.append(connected(rx.port, f"127.0.0.{2 + len(peers) % 50}"))
                push(peers[-1], stream)
        time.sleep(0.5)
        for peer in peers:
            peer.close()
    yield from siege.figures()
    given_up = siege.rejected.get("unfinished", 0)
    yield Figure("unfinished messages: no longer waited for", given_up, ">=", 1)


def pings(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """Ask without end, and read no answer."""
    ask = frame(FIN | PING, b"x" * 125) * 500
    count, sent, let_go = scale.pick(3, 50), 0, 0
    with Siege(rx, "pings") as siege:
        while let_go < count:
            peer = connected(rx.port, buffer=65_536)
            sent = max(sent, push(peer, ask * 1_500))  # 100 MB, if nobody stops it
            if farewell(peer) < 0:
                break
            let_go += 1
    yield from siege.figures()
    yield Figure("pings: peers let go", let_go, "=", count)
    yield Figure("pings: sent before", sent / 1e6, "<=", 32, "MB")


class Slow(threading.Thread):
    """Peers whose requests come a byte a second.

    Args:
        port: where they connect.
        count: of them.
    """

    def __init__(self, port: int, count: int) -> None:
        super().__init__(name="slow handshakes")
        self._port, self._count = port, count
        self.waited: list[float] = []

    def run(self) -> None:
        """Send, until all have been let go or it has taken far too long."""
        with selectors.DefaultSelector() as selector:
            for _ in range(self._count):
                peer = socket.create_connection(("127.0.0.1", self._port), 10)
                selector.register(peer, selectors.EVENT_READ, time.monotonic())
            for byte in REQUEST[: int(2 * SLOW)]:
                due = time.monotonic() + 1
                for key in list(selector.get_map().values()):
                    push(key.fileobj, bytes((byte,)))  # type: ignore[arg-type]
                while (left := due - time.monotonic()) > 0:
                    for key, _ in selector.select(left):
                        self.waited.append(time.monotonic() - key.data)
                        selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
                if not selector.get_map():
                    return
            for key in list(selector.get_map().values()):
                self.waited.append(time.monotonic() - key.data)
                key.fileobj.close()  # type: ignore[union-attr]

    def figures(self) -> Iterator[Figure]:
        """Wait for the end; give what came of it."""
        self.join()
        yield Figure("slow handshakes: let go", len(self.waited), "=", self._count)
        longest = max(self.waited, default=0.0)
        yield Figure("slow handshakes: longest wait for a request", longest, "<=", SLOW, "s")


def idle(folder: Path, scale: Scale) -> Iterator[Figure]:
    """Sit in every place there is, and knock for more."""
    limits = rl.Limits(connections=200, per_address=100) if scale.short else rl.Limits()
    rx = rl.receive(0, folder, limits=limits)
    knocks = scale.pick(300, 5_000)
    with Siege(rx, "idle connections") as siege:
        inside: list[socket.socket] = []
        refused: list[str] = []
        for number in range(limits.connections + knocks):
            try:
                inside.append(connected(rx.port, f"127.0.0.{2 + number // limits.per_address % 3}"))
            except ConnectionError as error:
                refused.append(str(error))
        inside[0].sendall(frame(FIN | TEXT, packet("patient", 0)))
        heard = all_answered(inside[0])
        told = rx.status.refused
        for peer in inside:
            peer.close()
    yield from siege.figures()
    yield Figure("idle connections: let in", len(inside) + 1, "=", limits.connections)
    unavailable = sum(answer.startswith("HTTP/1.1 503") for answer in refused)
    yield Figure("idle connections: refused with 503", unavailable, "=", knocks + 1)
    counted = told.get("connections", 0) + told.get("address", 0)
    yield Figure("idle connections: refused and counted", counted, "=", knocks + 1)
    yield Figure("idle connections: heard after all the same", heard, "=", 1)
    rx.stop()
