"""The server, over real sockets: frames of every kind, limits, several of everything."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from recall_lab.errors import InvalidArgument, PortInUse, ReceiverFailed
from recall_lab.loading import load, verify
from recall_lab.receiver.server import Server
from recall_lab.wire.messages import MAX_MESSAGE_BYTES, AudioPacket, Ref, encode_message

PAYLOADS = [bytes([i % 256]) * (2 * (i * 37 % 900)) for i in range(60)]


def message(number: int, payload: bytes, recording: str = "r1") -> bytes:
    return encode_message(
        AudioPacket(
            recording=Ref(recording), payload=payload, relative=number * 0.1, absolute=10**18
        )
    )


def run(main: Callable[[Server], Awaitable[None]], folder: Path) -> Server:
    """Run `main` against a server on a free port; return the server, stopped."""
    server = Server(folder, port=0)

    async def both() -> None:
        async with server:
            await main(server)

    asyncio.run(both())
    return server


async def settled(server: Server, packets: int) -> None:
    """Wait until so many packets are kept."""
    async with asyncio.timeout(10):
        while server.status.packets < packets:
            await asyncio.sleep(0.005)


def raw(port: int) -> socket.socket:
    """A bare socket after the upgrade."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=5)
    peer.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += peer.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101")
    return peer


def test_every_byte_in_order_with_both_clocks(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        async with connect(server.url) as bot:
            for number, payload in enumerate(PAYLOADS):
                await bot.send(message(number, payload), text=True)
            await settled(server, len(PAYLOADS))
        status = server.status
        assert (status.recordings, status.streams, status.connected) == (1, 1, 1)

    server = run(main, tmp_path)
    assert server.status.state == "stopped"
    assert server.status.packets == len(PAYLOADS)
    assert (tmp_path / "r1.bin").read_bytes() == b"".join(PAYLOADS)
    capture = load(tmp_path / "r1.bin")
    assert capture.packets["monotonic"].is_monotonic_increasing
    assert capture.packets["sequence"].tolist() == list(range(len(PAYLOADS)))
    assert not capture.damage
    assert verify(capture).empty


def test_several_sockets_of_a_recording_share_one_writer(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        async with connect(server.url) as one, connect(server.url) as two:
            for number in range(20):
                bot = (one, two)[number % 2]
                await bot.send(message(number, bytes([number, 0])), text=True)
                await bot.send(message(number, b"\0\0", recording=f"r{number % 3 + 2}"), text=True)
                await settled(server, 2 * number + 2)

    run(main, tmp_path)
    capture = load(tmp_path / "r1.bin")
    assert capture.samples.tolist() == list(range(20))
    assert capture.packets["connection"].tolist() == [1, 2] * 10
    assert len(list(tmp_path.glob("r*.bin"))) == 4


def test_fragments_binary_control_and_large_frames_between_whole_ones(tmp_path: Path) -> None:
    large = os.urandom(600_000)

    async def main(server: Server) -> None:
        async with connect(server.url, max_size=None) as bot:
            await bot.send(message(0, b"\1\0"), text=True)
            whole = message(1, b"\2\0" * 500)
            await bot.send([whole[:7], whole[7:300], whole[300:]], text=True)
            await (await bot.ping(b"are you there"))
            await bot.send(b"binary \0\1\2", text=False)
            await bot.send(message(2, large), text=True)
            await bot.send(message(3, b"\3\0"), text=True)
            await settled(server, 4)
        assert server.status.rejected == {"binary": 1}

    run(main, tmp_path)
    expected = b"\1\0" + b"\2\0" * 500 + large + b"\3\0"
    assert (tmp_path / "r1.bin").read_bytes() == expected
    assert load(tmp_path / "r1.bin").packets["sequence"].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_messages_cut_anywhere_by_the_network(tmp_path: Path, step: int) -> None:
    payloads = PAYLOADS[:8]
    stream = b"".join(
        Frame(Opcode.TEXT, message(n, p)).serialize(mask=True)
        + Frame(Opcode.PING, b"!" * n).serialize(mask=True)
        for n, p in enumerate(payloads)
    )

    async def main(server: Server) -> None:
        peer = await asyncio.to_thread(raw, server.port)
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(stream), step):
                peer.sendall(stream[at : at + step])
                if at % (50 * step) == 0:
                    await asyncio.sleep(0)
            await settled(server, len(payloads))

    run(main, tmp_path)
    assert (tmp_path / "r1.bin").read_bytes() == b"".join(payloads)


def _unmasked() -> bytes:
    return Frame(Opcode.TEXT, message(9, b"\0\0")).serialize(mask=False)


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [
        pytest.param(_unmasked(), 1002, id="unmasked"),
        pytest.param(b"\xc1\x80" + bytes(4), 1002, id="reserved bit"),
        pytest.param(b"\x83\x80" + bytes(4), 1002, id="unknown opcode"),
        pytest.param(b"\x80\x80" + bytes(4), 1002, id="continuation of nothing"),
        pytest.param(b"\x09\x80" + bytes(4), 1002, id="fragmented ping"),
        pytest.param(
            b"\x81\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big") + bytes(4), 1009, id="too big"
        ),
        pytest.param(b"\x81\xff" + b"\xff" * 8 + bytes(4), 1009, id="absurdly big"),
        pytest.param(
            b"\x01\x81" + bytes(4) + b"{" + b"\x81\x81" + bytes(4) + b"{", 1002, id="text in text"
        ),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_let_go_and_nobody_else(
    tmp_path: Path, bytes_: bytes, code: int
) -> None:
    async def main(server: Server) -> None:
        async with connect(server.url) as good:
            await good.send(message(0, b"\1\0", "good"), text=True)
            peer = await asyncio.to_thread(raw, server.port)
            with peer:
                peer.sendall(Frame(Opcode.TEXT, message(0, b"\2\0", "bad")).serialize(mask=True))
                peer.sendall(bytes_)
                answer = await asyncio.to_thread(_until_closed, peer)
            assert answer[:1] == b"\x88"
            assert int.from_bytes(answer[2:4], "big") == code
            await good.send(message(1, b"\3\0", "good"), text=True)
            await settled(server, 3)

    run(main, tmp_path)
    assert load(tmp_path / "good.bin").samples.tolist() == [1, 3]
    assert load(tmp_path / "bad.bin").samples.tolist() == [2]


def _until_closed(peer: socket.socket) -> bytes:
    parts = []
    while part := peer.recv(4096):
        parts.append(part)
    return b"".join(parts)


def test_a_peer_that_pings_and_never_reads_is_let_go(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        async with connect(server.url) as good:
            await good.send(message(0, b"\1\0"), text=True)
            peer = await asyncio.to_thread(raw, server.port)
            ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 500

            def flood() -> int:
                for number in range(2_000):  # 120 MB if nobody stopped it
                    try:
                        peer.sendall(ping)
                    except (ConnectionResetError, BrokenPipeError):
                        return number
                return 2_000

            with peer:
                assert await asyncio.to_thread(flood) < 1_000
            await good.send(message(1, b"\2\0"), text=True)
            await settled(server, 2)

    run(main, tmp_path)
    assert load(tmp_path / "r1.bin").samples.tolist() == [1, 2]


def test_an_answer_says_that_what_came_before_is_kept(tmp_path: Path) -> None:
    frames = b"".join(
        Frame(Opcode.TEXT, message(n, b"\1\0")).serialize(mask=True) for n in range(20)
    )

    async def main(server: Server) -> None:
        def ask() -> int:
            with raw(server.port) as peer:
                peer.sendall(frames + Frame(Opcode.PING, b"?").serialize(mask=True))
                assert peer.recv(100)[:1] == b"\x8a"
                return len(load(tmp_path / "r1.bin").packets)

        assert await asyncio.to_thread(ask) == 20

    run(main, tmp_path)


def test_frames_sent_before_being_let_in_are_refused(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        request = (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        frame = Frame(Opcode.TEXT, message(0, b"\1\0")).serialize(mask=True)

        def push() -> None:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
                peer.sendall(request + frame)
                try:
                    _until_closed(peer)
                except ConnectionResetError:
                    return

        await asyncio.to_thread(push)
        assert server.status.packets == 0

    run(main, tmp_path)
    assert not list(tmp_path.glob("*.bin"))


def test_what_is_no_websocket_gets_an_answer_and_no_capture(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        def ask(request: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
                peer.sendall(request)
                return _until_closed(peer)

        answer = await asyncio.to_thread(ask, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 426")
        await asyncio.to_thread(ask, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")
        assert server.status.connected == 0
        while "tls" not in server.status.visits:  # told once the socket is gone
            await asyncio.sleep(0.01)
        assert server.status.visits == {"plain get": 1, "tls": 1}

    run(main, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["_receiver.events.jsonl"]


def test_stopping_tells_the_bot_and_keeps_what_came(tmp_path: Path) -> None:
    async def both() -> None:
        async with Server(tmp_path, port=0) as server:
            bot = await connect(server.url)
            await bot.send(message(0, b"\1\0"), text=True)
            await settled(server, 1)
        with pytest.raises(ConnectionClosed) as caught:
            await bot.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001

    asyncio.run(both())
    assert load(tmp_path / "r1.bin").samples.tolist() == [1]


def test_a_port_that_is_taken_names_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        async def start() -> None:
            async with Server(tmp_path, port=port):
                raise AssertionError("the port was free")

        with pytest.raises(PortInUse, match=rf"port {port} .*process {os.getpid()}") as caught:
            asyncio.run(start())
        assert caught.value.port == port


def test_a_folder_or_host_that_can_not_be_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def start(folder: Path, host: str = "127.0.0.1") -> None:
        async with Server(folder, host=host, port=0, token=True):
            raise AssertionError("it started")

    with pytest.raises(ReceiverFailed, match="nothing can be kept"):
        asyncio.run(start(tmp_path / "file"))
    with pytest.raises(ReceiverFailed, match=r"192\.0\.2\.1"):  # an address of nobody (RFC 5737)
        asyncio.run(start(tmp_path / "there", host="192.0.2.1"))
    with pytest.raises(InvalidArgument, match="port"):
        Server(tmp_path, port=70_000)
