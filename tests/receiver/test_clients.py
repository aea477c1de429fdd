"""Every byte of many packets on many connections, from clients we did not write."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect

from recall_lab.loading import load, verify
from recall_lab.receiver.background.start import receive
from recall_lab.wire.messages import AudioPacket, Ref, encode_message

CONNECTIONS, PACKETS, BYTES = 50, 2_000, 320


def payload(bot: int, number: int) -> bytes:
    """The audio of one packet, known to both sides."""
    return hashlib.sha256(f"{bot}:{number}".encode()).digest() * (BYTES // 32)


def check(folder: Path, prefix: str) -> None:
    """Every capture is the payloads, one after another."""
    for bot in range(CONNECTIONS):
        expected = b"".join(payload(bot, number) for number in range(PACKETS))
        assert (folder / f"{prefix}-{bot}.bin").read_bytes() == expected
        capture = load(folder / f"{prefix}-{bot}.bin")
        assert not capture.damage
        assert verify(capture).empty
        np.testing.assert_array_equal(capture.packets["relative"], np.arange(PACKETS) / 50)
        np.testing.assert_array_equal(capture.packets["sequence"], np.arange(PACKETS))


@pytest.mark.slow
def test_a_hundred_thousand_packets_from_python(tmp_path: Path) -> None:
    async def play(bot: int, url: str) -> None:
        async with connect(url, compression=None, proxy=None) as socket:
            for number in range(PACKETS):
                packet = AudioPacket(
                    recording=Ref(f"python-{bot}"),
                    payload=payload(bot, number),
                    relative=number / 50,
                    absolute=10**18,
                )
                await socket.send(encode_message(packet), text=True)

    async def play_all(url: str) -> None:
        await asyncio.gather(*(play(bot, url) for bot in range(CONNECTIONS)))

    with receive(0, tmp_path) as rx:
        asyncio.run(play_all(rx.url))
        assert rx.wait(packets=CONNECTIONS * PACKETS, timeout=60) == CONNECTIONS * PACKETS
        assert rx.status.rejected == {}
    check(tmp_path, "python")


@pytest.mark.slow
def test_a_hundred_thousand_packets_from_node(tmp_path: Path, root: Path) -> None:
    modules = root / "benchmarks" / "node" / "node_modules"
    node = shutil.which("node")
    if node is None or not (modules / "ws").is_dir():
        pytest.skip("needs Node and 'npm install' in benchmarks/node (.ci/run does both)")
    with receive(0, tmp_path) as rx:
        arguments = [str(rx.port), str(CONNECTIONS), str(PACKETS), str(BYTES)]
        done = subprocess.run(
            [node, str(Path(__file__).parent / "client.js"), *arguments],
            env=os.environ | {"NODE_PATH": str(modules)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.stdout == "done\n", done.stderr
        assert rx.wait(packets=CONNECTIONS * PACKETS, timeout=60) == CONNECTIONS * PACKETS
        assert rx.status.rejected == {}
    check(tmp_path, "node")
