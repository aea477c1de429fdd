"""An S3 server on loopback, with a proxy before it that is slow, counts, and says 503 at times."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import boto3

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NAME = "captures"
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Bucket:
    """A bucket that is reached through the proxy.

    Attributes:
        latency: seconds by which each answer is late.
        busy: share of requests that are answered with 503, 0 to 1.
        requests: how many came, by ``METHOD name``.
        served: bytes of objects that were sent, by name.
        refused: how many were answered with 503.
    """

    def __init__(self, server: int, *, latency: float = 0.0, busy: float = 0.0) -> None:
        self.latency, self.busy = latency, busy
        self.requests: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.refused = 0
        self._server = server
        self._large: dict[str, Path] = {}
        self._chance = random.Random(1)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def url(self, name: str = "") -> str:
        """Return where an object is."""
        return f"s3://{NAME}/{name}"

    def upload(self, folder: Path, prefix: str = "") -> None:
        """Put the files of a folder into it, past the proxy."""
        client = self.client()
        for path in sorted(folder.iterdir()):
            if path.is_file():
                client.put_object(Bucket=NAME, Key=f"{prefix}{path.name}", Body=path.read_bytes())
        client.close()

    def link(self, path: Path, name: str) -> None:
        """Have the proxy give a file by itself: moto copies all of an object for each range."""
        self._large[name] = path

    def empty(self) -> None:
        """Delete all that is in it."""
        client = self.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=NAME):
            for one in page.get("Contents", []):
                client.delete_object(Bucket=NAME, Key=one["Key"])
        client.close()

    def client(self):  # type: ignore[no-untyped-def]
        """Return a client that goes past the proxy."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self._server}",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name="us-east-1",
        )

    def forget(self) -> None:
        """Count from zero."""
        self.requests.clear()
        self.served.clear()
        self.refused = 0

    @staticmethod
    def reconnect() -> None:
        """Have s3fs connect anew: it keeps a filesystem for as long as the process lives."""
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()

    def close(self) -> None:
        """Stop the proxy."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass one request on, and its answer back; return whether more may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target = head.split(b" ", 2)[:2]
        name = unquote(target.split(b"?")[0].decode()).removeprefix(f"/{NAME}/")
        self.requests[f"{method.decode()} {name}"] += 1
        if b"100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?i)expect: 100-continue\r\n", b"", head)
        body = await reader.readexactly(_length(head))
        if self.busy and self._chance.random() < self.busy:
            self.refused += 1
            await asyncio.sleep(self.latency)
            size = b"Content-Length: %d\r\n\r\n" % len(_BUSY)
            writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n" + size)
            writer.write(b"" if method == b"HEAD" else _BUSY)
            await writer.drain()
            return True
        if name in self._large:
            await asyncio.sleep(self.latency)
            return await self._give(writer, method, name, head)
        back, upstream = await asyncio.open_connection("127.0.0.1", self._server, limit=1 << 20)
        try:
            upstream.write(head + body)
            answer = await back.readuntil(b"\r\n\r\n")
            await asyncio.sleep(self.latency)
            # moto's server speaks HTTP/1.0 and hangs up after each answer; a store does not
            answer = re.sub(rb"(?i)\r\nconnection: *close", b"", answer)
            writer.write(answer.replace(b"HTTP/1.0", b"HTTP/1.1", 1))
            empty = method == b"HEAD" or answer[9:12] in (b"204", b"304")
            left = 0 if empty else _length(answer)
            if method == b"GET" and answer[9:10] == b"2":
                self.served[name] += left
            while left:
                data = await back.read(min(left, 1 << 18))
                if not data:
                    return False
                left -= len(data)
                writer.write(data)
                await writer.drain()
            await writer.drain()
        finally:
            upstream.close()
        return b"connection: close" not in head.lower()

    async def _give(
        self, writer: asyncio.StreamWriter, method: bytes, name: str, head: bytes
    ) -> bool:
        """Answer for an object that is a file of this machine, with a range of it."""
        size = self._large[name].stat().st_size
        wanted = re.search(rb"(?i)\r\nrange: *bytes=(\d+)-(\d+)", head)
        start, stop = (int(wanted[1]), int(wanted[2]) + 1) if wanted else (0, size)
        lines = [
            "HTTP/1.1 206 Partial Content" if wanted else "HTTP/1.1 200 OK",
            f"Content-Length: {stop - start}", 'ETag: "large"', "Accept-Ranges: bytes",
            "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
        ]  # fmt: skip
        if wanted:
            lines.append(f"Content-Range: bytes {start}-{stop - 1}/{size}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if method == b"GET":
            self.served[name] += stop - start
            with self._large[name].open("rb") as file:
                file.seek(start)
                while start < stop and (data := file.read(min(stop - start, 1 << 20))):
                    writer.write(data)
                    start += len(data)
                    await writer.drain()
        await writer.drain()
        return True


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """Run moto's S3 server, with one empty bucket; yield its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c",
         "import logging; logging.getLogger('werkzeug').disabled = True\n"
         "from moto.server import main; import sys; main(sys.argv[1:])",
         "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 40
        while True:
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/{NAME}", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def bucket(server: int, *, latency: float = 0.0, busy: float = 0.0) -> Iterator[Bucket]:
    """Run the proxy before a server, and have this process and its children find it."""
    one = Bucket(server, latency=latency, busy=busy)
    before = {name: os.environ.get(name) for name in one.environment}
    os.environ.update(one.environment)
    one.reconnect()  # one without credentials may be kept from a test that has no bucket
    try:
        yield one
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        one.reconnect()
        one.close()
