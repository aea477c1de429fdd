"""Takes websocket connections and throws away what they bring: what the generator can do at most.

Measures nothing by itself: ``ingest.py`` runs it as ``python sink.py DIRECTORY``. It says its
port on stderr. It hangs up when the other side has said that nothing more comes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import selectors
import socket
import sys
from typing import Final

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
BUFFER: Final = 1 << 18  # stays in the processor's cache


def upgrade(peer: socket.socket) -> None:
    """Answer the handshake, the only words there will be."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += peer.recv(4_096)
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
    peer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def main() -> None:
    """Take connections until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], file=sys.stderr, flush=True)
    buffer = bytearray(BUFFER)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                found = key.fileobj
                assert isinstance(found, socket.socket)
                if found is listener:
                    peer, _ = listener.accept()
                    upgrade(peer)
                    selector.register(peer, selectors.EVENT_READ)
                elif not found.recv_into(buffer):
                    selector.unregister(found)
                    found.close()


if __name__ == "__main__":
    main()
