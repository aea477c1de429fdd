"""Connections that ask for too much: turned away at the door, let go, and nobody else is hurt."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from recall_lab.control.limits import Limits
from recall_lab.loading import load
from recall_lab.receiver import connection as module
from recall_lab.receiver.server import Server
from recall_lab.wire.messages import AudioPacket, Ref, encode_message

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def message(number: int, recording: str = "r1") -> bytes:
    return encode_message(
        AudioPacket(
            recording=Ref(recording), payload=b"\1\0", relative=number * 0.1, absolute=10**18
        )
    )


def run(folder: Path, main: Callable[[Server], Awaitable[None]], **limits: int) -> Server:
    server = Server(folder, port=0, limits=Limits(**limits))

    async def both() -> None:
        async with server, asyncio.timeout(20):
            await main(server)

    asyncio.run(both())
    return server


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("limits", "reason"), [({"connections": 2}, "connections"), ({"per_address": 2}, "address")]
)
def test_over_the_cap_one_is_told_so_and_let_in_once_there_is_room(
    tmp_path: Path, limits: dict[str, int], reason: str
) -> None:
    async def main(server: Server) -> None:
        async with connect(server.url) as first, connect(server.url):
            for _ in range(3):
                with pytest.raises((InvalidStatus, InvalidMessage, OSError)) as told:
                    async with asyncio.timeout(5):
                        await connect(server.url, open_timeout=5)
                if isinstance(told.value, InvalidStatus):
                    assert told.value.response.status_code == 503
            assert server.status.refused == {reason: 3}
            assert server.status.connections == 2
            await first.send(message(0), text=True)
        await until(lambda: server.status.connections == 0)
        async with connect(server.url) as again:
            await again.send(message(1), text=True)

    server = run(tmp_path, main, **limits)
    assert server.status.packets == 2


def test_sockets_without_a_handshake_count_too(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            await asyncio.sleep(0.1)
            with pytest.raises((InvalidStatus, InvalidMessage, OSError)):
                await connect(server.url, open_timeout=5)
        await asyncio.sleep(0.1)
        async with connect(server.url) as again:
            await again.send(message(1), text=True)

    assert run(tmp_path, main, connections=3).status.packets == 1


def test_a_request_without_end_is_not_listened_to(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for number in range(1_000):
                writer.write(b"X-Filler-%d: %s\r\n" % (number, b"x" * 1_000))
                await writer.drain()
                await asyncio.sleep(0)
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await until(lambda: server.status.connections == 0)

    run(tmp_path, main)


@pytest.mark.parametrize("where", ["in a value", "passed over", "in two fragments"])
def test_text_that_is_no_utf8_ends_its_connection_and_no_other(tmp_path: Path, where: str) -> None:
    async def main(server: Server) -> None:
        async with connect(server.url) as good, connect(server.url) as bad:
            bad.protocol.max_size = None
            good_one = message(0, "r2")
            wrong = good_one.replace(b'"r2"', b'"r\xff"')
            if where == "passed over":
                wrong = good_one.replace(b'{"event"', b'{"n\xffew":1,"event"', 1)
            await bad.send(good_one, text=True)
            if where == "in two fragments":
                await bad.send([wrong[:50], wrong[50:]], text=True)
            else:
                await bad.send(wrong, text=True)
            with pytest.raises(ConnectionClosed) as ended:
                await bad.recv()
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == 1007
            await good.send(message(0), text=True)

    server = run(tmp_path, main)
    assert server.status.rejected == {"utf8": 1}
    assert server.status.packets == 2


def test_of_messages_that_do_not_end_the_oldest_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNFINISHED", 1_000_000)

    async def main(server: Server) -> None:
        async with connect(server.url) as good:
            peers = []
            for _ in range(4):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(REQUEST)
                await reader.readuntil(b"\r\n\r\n")
                peers.append((reader, writer))
                # of a message of 1.9 MB that never comes whole
                head = b"\x81\xff" + (1_900_000).to_bytes(8, "big") + bytes(4)
                writer.write(head + bytes(240_000))
                await writer.drain()
                await asyncio.sleep(0.05)
                await good.send(message(len(peers)), text=True)
            # larger than each of theirs, in two parts, and young
            large = message(9).replace(b'{"event"', b'{"x":"%s","event"' % (b"y" * 300_000), 1)
            await good.send([large[:280_000], large[280_000:]], text=True)
            await until(lambda: server.status.packets == 5)
            gone = [asyncio.create_task(reader.read()) for reader, _ in peers]
            await asyncio.sleep(0.2)
            done = [task.done() for task in gone]
            assert done == sorted(done, reverse=True)
            assert (done[0], done[-1]) == (True, False)
            for _, writer in peers:
                writer.close()
            await asyncio.gather(*gone, return_exceptions=True)
            for _, writer in peers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    server = run(tmp_path, main)
    assert server.status.rejected.keys() == {"unfinished"}
    assert len(load(tmp_path / "r1").packets) == 5


def test_what_is_left_unfinished_is_forgotten_with_its_connection(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        shared: list[module.Shared] = []
        begin = module.BotConnection.begin

        def note(bot: module.BotConnection) -> object:
            shared.append(bot.shared)
            return begin(bot)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module.BotConnection, "begin", note)
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(REQUEST)
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"\x81\xff" + (1_900_000).to_bytes(8, "big") + bytes(100_004))
                await writer.drain()
                await until(lambda: bool(shared) and shared[0].unfinished > 100_000)
                writer.close()
                await until(lambda: server.status.connections == 0)
                assert shared[0].unfinished == 0
                assert shared[0].stall_reader._sources == {}
                assert not shared[0].connections

    run(tmp_path, main)


def test_out_of_memory_costs_the_connection_that_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.BotConnection.data_received

    def starved(bot: module.BotConnection, data: bytes) -> None:
        if len(data) > 100_000:
            raise MemoryError
        real(bot, data)

    monkeypatch.setattr(module.BotConnection, "data_received", starved)

    async def main(server: Server) -> None:
        async with connect(server.url) as good, connect(server.url) as bad:
            await good.send(message(0), text=True)
            with pytest.raises(ConnectionClosed):
                await bad.send(b"x" * 1_000_000, text=True)
                await bad.recv()
            await good.send(message(1), text=True)

    server = run(tmp_path, main)
    assert server.status.packets == 2
    assert server.status.rejected == {"memory": 1}
    assert "out of memory" in server.status.last_error
