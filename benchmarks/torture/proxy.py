"""A bad network between bots and a receiver, that keeps books of every byte it passed on.

What it does to a connection is drawn, one deed after another: pass bytes on as they come, slowly,
one by one, late, not for a while; then cut it after any byte, reset it, or let one side vanish
without a word. Only what the receiver's side of the system has acknowledged counts as passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import random
import socket
import struct
import termios
import time
from collections import Counter, defaultdict, deque
from typing import Final, Self

_HELD: Final = 65_536  # bytes under way; beyond it the bot has to wait
_PIECE: Final = 16_384
_ABRUPT: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close resets

ENDS: Final = ("cut", "reset", "vanished")
"""The deeds that end a connection."""

_DEEDS: Final = {
    "passed": 4, "slowly": 2, "byte by byte": 2, "stalled": 1,
    "cut": 1, "reset": 1, "vanished": 1,
}  # fmt: skip


class Way:
    """One connection through the proxy.

    Attributes:
        passed: bytes of the bot that the receiver's side has.
        hung_up: the receiver ended it by itself, while the bot still sent.
    """

    def __init__(self, bot: socket.socket, out: socket.socket, latency: float) -> None:
        self.bot, self.out, self.latency = bot, out, latency
        self.passed = 0
        self.hung_up = False
        self._held: deque[tuple[float, bytes]] = deque()  # when it has travelled, and what
        self._bytes = 0
        self._moved = asyncio.Event()
        self._ended = False
        self._loop = asyncio.get_running_loop()

    async def read(self) -> None:
        """Take in what the bot sends, as far as there is room for it."""
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(self.bot, _PIECE):
                self._held.append((time.monotonic() + self.latency, data))
                self._bytes += len(data)
                self._moved.set()
                while self._bytes > _HELD:
                    await asyncio.sleep(0.002)
        self._ended = True
        self._moved.set()

    async def answer(self) -> None:
        """Bring the bot what the receiver says."""
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(self.out, _PIECE):
                await self._loop.sock_sendall(self.bot, data)
            self.bot.shutdown(socket.SHUT_WR)

    async def take(self, most: int) -> bytes:
        """Return the next bytes that have travelled; none when the bot has ended."""
        while not self._held:
            if self._ended:
                return b""
            self._moved.clear()
            await self._moved.wait()
        due, data = self._held.popleft()
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(data) > most:
            self._held.appendleft((due, data[most:]))
        self._bytes -= min(most, len(data))
        return data[:most]

    async def carry(self, count: int, most: int = _PIECE, rate: float = 0.0) -> bool:
        """Pass on so many bytes, in pieces of so many, at a rate; tell whether there are more."""
        while count:
            data = await self.take(min(count, most))
            if not data:
                return False
            try:
                await self._loop.sock_sendall(self.out, data)
            except OSError:
                self.hung_up = True
                return False
            self.passed += len(data)
            count -= len(data)
            await asyncio.sleep(len(data) / rate if rate else 0)
        return True

    async def settle(self) -> None:
        """Wait until the receiver's side has acknowledged all that was passed on."""
        while struct.unpack("i", fcntl.ioctl(self.out, termios.TIOCOUTQ, bytes(4)))[0]:
            await asyncio.sleep(0.001)


class Proxy:
    """Listens for bots, leads them to a port on this machine, and is no help.

    Attributes:
        port: where bots connect.
        ways: all connections ever, by the bot's port.
        deeds: how often each thing was done.
    """

    def __init__(self, target: int, draw: random.Random, longest: float) -> None:
        self.target, self.draw, self.longest = target, draw, longest
        self.ways: defaultdict[int, list[Way]] = defaultdict(list)
        self.deeds: Counter[str] = Counter()
        self._ghosts: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._start(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for left in (self._listening, *self._ghosts):
            left.close()

    def _start(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            bot, (_, port) = await loop.sock_accept(self._listening)
            out = socket.socket()
            for peer in (bot, out):
                peer.setblocking(False)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            way = Way(bot, out, self.draw.choice((0.0, 0.0, 0.01, 0.08)))
            self.ways[port].append(way)
            self._start(self._lead(way))

    async def _lead(self, way: Way) -> None:
        """Live through one connection, to its end."""
        await asyncio.get_running_loop().sock_connect(way.out, ("127.0.0.1", self.target))
        both = [self._start(way.read()), self._start(way.answer())]
        try:
            deed = await self._torment(way)
            if not deed:  # the bot said goodbye: so does the receiver
                with contextlib.suppress(OSError):
                    way.out.shutdown(socket.SHUT_WR)
                await asyncio.wait(both, timeout=5.0)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        await way.settle()
        if deed == "vanished":
            self._ghosts.append(way.out)  # the receiver hears nothing of it
        for side in (way.bot,) if deed == "vanished" else (way.bot, way.out):
            if deed == "reset" or (deed and side is way.bot and self.draw.random() < 0.5):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
            side.close()

    async def _torment(self, way: Way) -> str:
        """Do one thing after another; return how it was ended, or nothing if the bot did."""
        draw = self.draw
        while True:
            (deed,) = draw.choices(list(_DEEDS), list(_DEEDS.values()))
            self.deeds[deed] += 1
            more = True
            if deed == "passed":
                more = await way.carry(draw.randint(1, 40_000))
            elif deed == "slowly":  # a bot makes some 55,000 a second
                more = await way.carry(draw.randint(1, 20_000), 500, draw.uniform(3e4, 1.5e5))
            elif deed == "byte by byte":
                more = await way.carry(draw.randint(1, 3_000), 1)
            elif deed == "stalled":
                await asyncio.sleep(draw.uniform(0.01, self.longest))
            else:
                more = await way.carry(draw.randint(0, 3_000))
                if more and deed == "vanished":  # the bot sends on for a while, to nobody
                    await self._swallow(way, draw.uniform(0.0, self.longest))
            if not more:
                return ""
            if deed in ENDS:
                return deed

    async def _swallow(self, way: Way, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await way.take(_PIECE):
                    pass
