"""Live sources in Recall.ai's wire format: a packet is due every 20 ms, sent or not.

Measures nothing by itself. What falls due while a bot has no connection is lost, as it is with
the real one; nothing is ever sent twice. Each payload follows from its bot and number, and each
absolute stamp is the moment it was sent, so that a capture can be held against both.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import random
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.protocol import State
from websockets.uri import parse_uri

import recall_lab as rl

STEP: Final = 0.02
"""Seconds of a packet."""

SAMPLES: Final = 320
"""The same in samples."""

SIZE: Final = 640
"""And in bytes."""

_PATIENCE: Final = 5.0  # seconds for a handshake or a farewell
_RUN: Final = 20  # packets that a source leaves out at once, at most: no second, or it is a mute
_counter = itertools.count()


def payload(bot: int | str, number: int) -> bytes:
    """Return the audio of a bot's packet; of a bot by its number, or by its name."""
    return hashlib.blake2b(f"{bot}:{number}".encode()).digest() * (SIZE // 64)


def recording(bot: int) -> str:
    """Return the recording of a bot."""
    return f"live-{bot}"


@dataclass
class Session:
    """One connection of a bot.

    Attributes:
        port: the bot's own port.
        written: bytes of it so far, the handshake included.
        packets: number and last byte of each packet.
        order: of all sessions in this process.
    """

    port: int
    written: int = 0
    packets: list[tuple[int, int]] = field(default_factory=list)
    order: int = field(default_factory=lambda: next(_counter))


class Bot:
    """One source.

    Args:
        number: names it and its recording.
        port: where it connects.
        skips: draws which packets it leaves out by itself; None for none.
        rest: seconds before it connects again.
        absent: packets that it leaves out.
        exact: absolute stamps are when packets were due, not when they were sent.
    """

    def __init__(
        self,
        number: int,
        port: int,
        skips: random.Random | None = None,
        rest: float = 0.05,
        absent: frozenset[int] = frozenset(),
        exact: bool = False,
    ) -> None:
        self.number, self.port, self.skips, self.rest = number, port, skips, rest
        self.absent, self.exact = absent, exact
        self.sessions: list[Session] = []
        self.next = 0
        self.ending = False
        self._ghosts: list[socket.socket] = []
        self._vanishing = False

    @property
    def sent(self) -> list[int]:
        """The packets that were given to a socket whole."""
        return [number for session in self.sessions for number, _ in session.packets]

    async def play(self, seconds: float) -> None:
        """Send what is due, for so long or until told to end."""
        self._begin, self._epoch = time.monotonic(), time.time_ns()
        self._total = math.ceil(seconds / STEP)
        while self.next < self._total and not self.ending:
            try:
                await self._connection()
            except (OSError, TimeoutError, WebSocketException):
                await asyncio.sleep(self.rest)
            due = math.ceil((time.monotonic() - self._begin) / STEP)
            self.next = max(self.next, due)  # the rest was due when there was no connection

    def vanish(self) -> None:
        """Leave the connection open and silent, and open another after a rest."""
        self._vanishing = True

    async def _connection(self) -> None:
        """Connect and send until the end, or until the line breaks."""
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(peer, ("127.0.0.1", self.port))
            self._peer, self._lock = peer, asyncio.Lock()
            self._session = Session(peer.getsockname()[1])
            self.sessions.append(self._session)
            self._line = ClientProtocol(parse_uri(f"ws://127.0.0.1:{self.port}/"))
            self._line.send_request(self._line.connect())
            await asyncio.wait_for(self._shake(), _PATIENCE)
            due = math.ceil((time.monotonic() - self._begin) / STEP)
            self.next = max(self.next, due)
            tasks = {asyncio.create_task(self._send()), asyncio.create_task(self._listen())}
            _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended

    async def _shake(self) -> None:
        await self._flush()
        while self._line.state is State.CONNECTING:
            await self._hear()

    async def _send(self) -> None:
        while self.next < self._total and not self.ending:
            wait = self._begin + self.next * STEP - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if self.skips is not None and self.skips.random() < 0.01:
                self.next += self.skips.randint(1, _RUN)
                continue
            if self.next in self.absent:
                self.next += 1
                continue
            if self._vanishing:
                self._vanishing = False
                self._ghosts.append(self._peer.dup())  # so that closing ours says nothing
                raise ConnectionAbortedError("gone without a word")
            number, self.next = self.next, self.next + 1
            self._line.send_text(rl.wire.encode_message(self._packet(number)))
            self._session.packets.append((number, await self._flush()))
        self._line.send_close(1000)
        await self._flush()
        await asyncio.sleep(_PATIENCE)  # the answer ends the other task, and with it this one

    async def _listen(self) -> None:
        """Answer pings until the line ends."""
        while True:
            await self._hear()
            await self._flush()

    async def _hear(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._peer, 4_096)
        if not data:
            raise ConnectionResetError("the other side hung up")
        self._line.receive_data(data)
        self._line.events_received()
        if self._line.handshake_exc is not None:
            raise ConnectionRefusedError(str(self._line.handshake_exc))

    async def _flush(self) -> int:
        """Send what the protocol has to say; return where in the stream it ends."""
        data = b"".join(self._line.data_to_send())
        end = self._session.written = self._session.written + len(data)
        async with self._lock:
            await asyncio.get_running_loop().sock_sendall(self._peer, data)
        return end

    def _packet(self, number: int) -> rl.wire.AudioPacket:
        due = self._epoch + number * int(STEP * 1e9)
        return rl.wire.AudioPacket(
            recording=rl.wire.Ref(recording(self.number)),
            payload=payload(self.number, number),
            relative=number * STEP,
            absolute=due if self.exact else time.time_ns(),
        )


class Bots:
    """Several bots in a thread of their own, as a context manager: they end when it is left."""

    def __init__(self, count: int, port: int, seconds: float = 3_600.0, **options: Any) -> None:
        self.all = [Bot(number, port, **options) for number in range(count)]
        self._seconds = seconds
        self._thread = threading.Thread(target=lambda: asyncio.run(self._play()))

    async def _play(self) -> None:
        await asyncio.gather(*(bot.play(self._seconds) for bot in self.all))

    def __enter__(self) -> Bots:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let them say goodbye."""
        for bot in self.all:
            bot.ending = True
        self._thread.join()

    @property
    def sent(self) -> int:
        """Packets sent so far."""
        return sum(len(session.packets) for bot in self.all for session in bot.sessions)


def main() -> None:
    """Be some bots in a process of their own: port, how many, seconds; say how many packets."""
    port, count, seconds = sys.argv[1:]
    with Bots(int(count), int(port), float(seconds)) as bots:
        bots._thread.join()
    print(bots.sent)


if __name__ == "__main__":
    main()
