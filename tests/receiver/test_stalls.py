"""Who held the packets up: the receiver, which knows it of itself, or the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import recall_lab as rl
from recall_lab.receiver.background.registry import states

pytestmark = pytest.mark.alone


def test_a_receiver_that_was_held_up_says_so(tmp_path: Path, speech: np.ndarray) -> None:
    with rl.receive(0, tmp_path) as rx:
        (pid,) = [state.pid for state in states() if state.port == rx.port]
        with rl.start_simulation(speech[: 4 * 16_000], rx.url, packet=0.05) as bot:
            rx.wait(packets=20, timeout=20)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.0)
            os.kill(pid, signal.SIGCONT)
            sent = bot.wait(20)
        rx.wait(packets=len(sent), timeout=20)
        capture = rx.capture()
    assert rl.gaps(capture).empty  # held up, not lost
    found = rl.stalls(capture, 0.5)
    assert found["cause"].tolist() == ["receiver"], (found, capture.events)
    assert found["duration"][0] == pytest.approx(1.0, abs=0.3)
    assert "held up for" in found["evidence"][0]


class Proxy:
    """Hands bytes on, or holds them back while told to."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.flowing = threading.Event()
        self.flowing.set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        started = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop
        )
        self.server = started.result(10)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, out = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self.pump(reader, out, hold=True), self.pump(to, writer, hold=False))

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, hold: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                while hold and not self.flowing.is_set():
                    await asyncio.sleep(0.005)
                sink.write(data)
                await sink.drain()
        sink.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        time.sleep(0.05)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def test_a_network_that_held_packets_up_is_told_from_it(tmp_path: Path, speech: np.ndarray) -> None:
    with rl.receive(0, tmp_path) as rx:
        proxy = Proxy(rx.port)
        url = f"ws://127.0.0.1:{proxy.port}/"
        with rl.start_simulation(speech[: 4 * 16_000], url, packet=0.05) as bot:
            rx.wait(packets=20, timeout=20)
            proxy.flowing.clear()
            time.sleep(1.0)
            proxy.flowing.set()
            sent = bot.wait(20)
        rx.wait(packets=len(sent), timeout=20)
        capture = rx.capture()
        proxy.stop()
    found = rl.stalls(capture, 0.5)
    assert found["cause"].tolist() == ["network"]
    assert found["duration"][0] == pytest.approx(1.0, abs=0.3)
