"""Relief: while the loop is held up a thread reads on; nothing twice, lost or out of order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from recall_lab.loading import load, verify
from recall_lab.receiver import stall_reader as module
from recall_lab.receiver.server import Server
from recall_lab.receiver.stall_reader import StallReader
from recall_lab.store.writer import StreamWriter
from recall_lab.wire.messages import AudioPacket, Ref, encode_message

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Kept:
    """A source that notes what it is fed."""

    def __init__(self) -> None:
        self.fed: list[tuple[bytes, int, int]] = []

    def feed(self, data: bytes, received: int, monotonic: int) -> None:
        self.fed.append((data, received, monotonic))

    def failed(self, error: Exception) -> None:
        raise AssertionError(error)

    @property
    def data(self) -> bytes:
        return b"".join(data for data, _, _ in self.fed)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def stall_reader() -> Iterator[StallReader]:
    stall_reader = StallReader(lambda: None)
    stall_reader.start()
    yield stall_reader
    stall_reader.stop()


def test_what_comes_while_the_loop_stands_still_keeps_its_time(
    stall_reader: StallReader, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    source, sent = Kept(), []
    stall_reader.add(ours.fileno(), source)

    def send() -> None:
        for number in range(5):
            sent.append(time.monotonic_ns())
            theirs.send(bytes([number]))
            time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    with stall_reader:
        time.sleep(0.6)
        assert source.fed == []  # the loop's own thread is to take it, when it can
    sender.join()
    assert source.data == bytes(range(5))
    late = [stamp - before for (_, _, stamp), before in zip(source.fed, sent, strict=True)]
    assert max(late) < 0.2e9  # the loop itself would have noted the first after 0.6 s
    assert all(abs(received - time.time_ns()) < 5e9 for _, received, _ in source.fed)


def test_a_loop_that_is_not_held_up_reads_for_itself(
    stall_reader: StallReader, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    source = Kept()
    stall_reader.add(ours.fileno(), source)
    theirs.send(b"x")
    for _ in range(100):
        with stall_reader:
            pass
        time.sleep(0.001)
    assert source.fed == []
    assert ours.recv(10) == b"x"


def test_an_end_is_left_for_the_loop_and_what_was_taken_out_is_not_read(
    stall_reader: StallReader, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    source, gone = Kept(), Kept()
    stall_reader.add(ours.fileno(), source)
    other, their_other = socket.socketpair()
    with other, their_other:
        stall_reader.add(other.fileno(), gone)
        stall_reader.remove(other.fileno())
        their_other.send(b"y")
        theirs.send(b"x")
        theirs.close()
        with stall_reader:
            time.sleep(0.2)
        assert (source.data, gone.data) == (b"x", b"")
        assert (ours.recv(10), other.recv(10)) == (b"", b"y")


def test_what_is_held_is_bounded_and_the_rest_waits(
    stall_reader: StallReader,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HELD_OF_ONE", 100_000)
    ours, theirs = pair
    source = Kept()
    stall_reader.add(ours.fileno(), source)
    theirs.setblocking(False)
    sent = bytearray()

    def push() -> None:
        for _ in range(40):
            piece = random.Random(len(sent)).randbytes(20_000)
            with contextlib.suppress(BlockingIOError):
                sent.extend(piece[: theirs.send(piece)])
            time.sleep(0.01)

    pusher = threading.Thread(target=push)
    pusher.start()
    with stall_reader:
        time.sleep(0.7)
    pusher.join()
    assert 100_000 <= len(source.data) < 100_000 + module._READ
    rest = b""
    with pytest.raises(BlockingIOError):
        while True:
            rest += ours.recv(1 << 20)
    assert rest
    assert source.data + rest == bytes(sent)


def test_all_together_hold_no_more_than_was_promised(
    stall_reader: StallReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", 1_000_000)
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(40)]
        for ours, theirs in pairs:
            stack.enter_context(ours)
            stack.enter_context(theirs)
            ours.setblocking(False)
            theirs.setblocking(False)
            theirs.send(bytes(100_000))
            stall_reader.add(ours.fileno(), Kept())
        with stall_reader:
            time.sleep(0.2)
            held = sum(len(entry[2]) for entry in stall_reader._held)
        assert 900_000 < held < 1_000_000 + module._READ
        assert (stall_reader._size, stall_reader._sizes) == (0, {})


def test_many_small_pieces_are_counted_for_what_they_take(
    stall_reader: StallReader,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HELD_OF_ONE", 10 * (1 + module._OVERHEAD))
    ours, theirs = pair
    stall_reader.add(ours.fileno(), Kept())

    def drip() -> None:
        for _ in range(40):
            theirs.send(b"x")
            time.sleep(0.01)

    dripping = threading.Thread(target=drip)
    dripping.start()
    with stall_reader:
        time.sleep(0.6)
        assert 5 < len(stall_reader._held) <= 11
    dripping.join()


def test_a_source_that_fails_is_told_and_the_others_get_theirs_in_order(
    stall_reader: StallReader, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Broken(Kept):
        errors: list[Exception] = []

        def feed(self, data: bytes, received: int, monotonic: int) -> None:
            raise MemoryError

        def failed(self, error: Exception) -> None:
            self.errors.append(error)

    ours, theirs = pair
    good, their_good = socket.socketpair()
    broken, source = Broken(), Kept()
    with good, their_good:
        good.setblocking(False)
        stall_reader.add(ours.fileno(), broken)
        stall_reader.add(good.fileno(), source)
        theirs.send(b"x")
        with stall_reader:
            time.sleep(0.15)
            their_good.send(b"1")
            time.sleep(0.15)
        their_good.send(b"2")
        time.sleep(0.1)
        assert source.data + good.recv(10) == b"12"
        assert [type(error) for error in broken.errors] == [MemoryError]


def test_a_thread_that_found_no_memory_goes_on(
    stall_reader: StallReader,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pair
    source = Kept()
    stall_reader.add(ours.fileno(), source)
    theirs.send(b"x")

    def short(*_: object) -> int:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(os, "readv", short)
        with stall_reader:
            time.sleep(0.15)
    assert ours.recv(10, socket.MSG_PEEK) == b"x"
    with stall_reader:
        time.sleep(0.15)
    assert source.data == b"x"


def test_on_a_disk_that_is_slow_for_long_the_loop_comes_back(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    settled = 0

    def slow() -> None:
        nonlocal settled
        settled += 1
        time.sleep(0.15)

    stall_reader = StallReader(slow)
    stall_reader.start()
    ours, theirs = pair
    source, over = Kept(), threading.Event()
    stall_reader.add(ours.fileno(), source)

    def drip() -> None:
        while not over.is_set():
            theirs.send(b"x")
            time.sleep(0.005)

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    with stall_reader:
        time.sleep(0.2)
    took = time.monotonic() - began
    over.set()
    dripping.join()
    stall_reader.stop()
    assert settled == 2  # once for all that was held, however many pieces it was
    assert took < 1.0


def test_the_loop_leaves_only_when_the_thread_does_not_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    source, reading = Kept(), threading.Event()

    class Slow(StallReader):
        def _read(self, descriptor: int, source: module.Source) -> bool:
            reading.set()
            time.sleep(0.2)  # the loop leaves meanwhile: what is read here comes before its own
            return super()._read(descriptor, source)

    stall_reader = Slow(lambda: None)
    stall_reader.start()
    stall_reader.add(ours.fileno(), source)
    theirs.send(b"1")
    with stall_reader:
        assert reading.wait(2)
    theirs.send(b"2")
    stall_reader.stop()
    assert source.data in (b"1", b"12")
    rest = b"" if source.data == b"12" else ours.recv(10)
    assert source.data + rest == b"12"


def test_what_a_peer_had_sent_before_it_died_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, go_on = threading.Event(), threading.Event()
    commit = StreamWriter.commit

    def once(writer: StreamWriter) -> int:
        if not stalled.is_set():
            stalled.set()
            go_on.wait(5)
        return commit(writer)

    monkeypatch.setattr(StreamWriter, "commit", once)

    def frames(start: int, end: int) -> bytes:
        packets = (
            AudioPacket(recording=Ref("r1"), payload=b"ab", relative=n / 10, absolute=10**18)
            for n in range(start, end)
        )
        return b"".join(
            Frame(Opcode.TEXT, encode_message(packet)).serialize(mask=True) for packet in packets
        )

    def bot(port: int) -> None:
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(REQUEST)
        peer.recv(4_096)
        peer.sendall(frames(0, 1))
        assert stalled.wait(5)
        for start in range(1, 16, 5):
            peer.sendall(frames(start, start + 5))
            peer.sendall(Frame(Opcode.PING, b"?").serialize(mask=True))
            time.sleep(0.1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        time.sleep(0.1)
        go_on.set()

    async def main() -> None:
        async with Server(tmp_path, port=0) as server:
            await asyncio.to_thread(bot, server.port)
            async with asyncio.timeout(5):
                while server.status.connections:
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    assert len(load(tmp_path / "r1").packets) == 16


def test_a_server_whose_writes_stall_at_random_keeps_everything_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(7)
    commit = StreamWriter.commit

    def slow(writer: StreamWriter) -> int:
        if draw.random() < 0.1:
            time.sleep(draw.choice([0.01, 0.05, 0.15]))
        return commit(writer)

    monkeypatch.setattr(StreamWriter, "commit", slow)
    payloads = [random.Random(n).randbytes(2 * (1 + n * 37 % 4_000)) for n in range(150)]

    async def send(server: Server, name: str) -> None:
        async with connect(server.url, compression=None) as bot:
            for number, payload in enumerate(payloads):
                packet = AudioPacket(
                    recording=Ref(name), payload=payload, relative=number / 10,
                    absolute=time.time_ns(),
                )  # fmt: skip
                await bot.send(encode_message(packet), text=True)
                if number % 5 == 0:
                    await bot.ping()
                await asyncio.sleep(0.005)

    async def main() -> None:
        # the bots in a loop of their own: they go on while the server's stands still
        async with Server(tmp_path, port=0) as server:

            def bots() -> None:
                async def all_of_them() -> None:
                    await asyncio.gather(*(send(server, f"r{n}") for n in range(4)))

                asyncio.run(all_of_them())

            await asyncio.to_thread(bots)
            async with asyncio.timeout(20):
                while server.status.packets < 4 * len(payloads):
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    for n in range(4):
        capture = load(tmp_path / f"r{n}.bin")
        assert capture.samples.tobytes() == b"".join(payloads)
        assert capture.packets["sequence"].tolist() == list(range(150))
        assert (capture.packets["monotonic"].diff().dropna() >= 0).all()
        assert verify(capture).empty
