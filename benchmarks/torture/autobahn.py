"""Autobahn's fuzzing client against the receiver's own connections.

Autobahn|Testsuite asks an echo server some 500 questions about RFC 6455: framing, control frames,
reserved bits, opcodes, fragments, UTF-8, closing, large and many messages. Ours does not echo;
so here ``BotConnection`` has an ingest that does, and refuses what is no UTF-8 as the real one
does. Beside it a plain echo server of `websockets` is asked the same: nowhere may ours be worse.

Two things are not as in the receiver, for the cases that echo up to 16 MB (9.*): the longest
message is 16 MiB, not 2, and what may lie unread in a socket's buffer is not bounded. Compression
(12.*, 13.*) is not offered, as in the receiver: those cases count as unimplemented.

The suite runs on Python 2.7 only. It is installed once, into build/autobahn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.protocol import State

from benchmarks.torture.figures import Figure, Scale, Unavailable
from recall_lab.control.limits import Limits
from recall_lab.receiver import connection as connections
from recall_lab.receiver.connection import BotConnection, Shared
from recall_lab.receiver.connection_limiter import ConnectionLimiter
from recall_lab.receiver.stall_reader import StallReader

HOME: Final = Path(__file__).resolve().parents[2] / "build" / "autobahn"
VIRTUALENV: Final = "virtualenv==20.15.1"  # the last that makes environments of Python 2.7
SUITE: Final = "autobahntestsuite==0.8.2"

SLOW: Final = ("5.19", "5.20", "6.4.*", "9.*", "12.*", "13.*")
"""Left out of the short form: they wait, send megabytes, or are about compression."""

LARGEST: Final = 16 << 20
ALLOWED: Final = ("OK", "INFORMATIONAL", "UNIMPLEMENTED", "NON-STRICT")
"""Verdicts from good to less so; any other is a failure."""

LAX: Final = frozenset(("6.4.1", "6.4.2", "6.4.3", "6.4.4"))
"""Not strict: what is no UTF-8 is seen when the message is whole, and the suite would have it seen
earlier; the RFC leaves it open. (websockets names 6.4.3, 6.4.4 and eight more of its own.)"""

LIBRARY: Final = frozenset(("7.1.5",))
"""websockets fails a connection that is closed within a fragmented message with 1002; the suite
would have 1000."""

_silent = logging.getLogger("benchmarks.torture.autobahn")  # it would tell of every case
_silent.setLevel(logging.CRITICAL)


@dataclass(eq=False)
class Talk:
    """What the ingest knows of a connection: here, the connection itself."""

    bot: BotConnection | None = None
    sequence: int = 0  # of its next message


class Echo:
    """Stands for Ingest: sends every message back, and refuses text that is no UTF-8."""

    def opened(self, peer: str) -> Talk:
        """Return what the connection will be known by."""
        return Talk()

    def text(self, talk: Talk, data: bytes | bytearray, received: int, monotonic: int) -> bool:
        """Send it back; tell whether it is UTF-8, as Ingest does."""
        try:
            bytes(data).decode()
        except UnicodeDecodeError:
            return False
        self._send(talk, data, "send_text")
        return True

    def binary(self, talk: Talk, data: bytes | bytearray) -> None:
        """Send it back."""
        self._send(talk, data, "send_binary")

    def flush(self) -> None:
        """Nothing is kept."""

    def refuse(self, peer: str, reason: str, id: str) -> None:
        """Nobody is refused here."""
        raise AssertionError(f"{peer} was refused: {reason}")

    def unfinished(self, talk: Talk, size: int) -> None:
        """No case leaves as much unfinished."""
        raise AssertionError(f"{size} bytes were left unfinished")

    def _send(self, talk: Talk, data: bytes | bytearray, how: str) -> None:
        assert talk.bot is not None
        talk.sequence += 1
        if talk.bot.protocol.state is State.OPEN:
            getattr(talk.bot.protocol, how)(bytes(data))
            talk.bot.send_data()


async def talk_ours(bot: ServerConnection) -> None:
    """Hold one of our connections, as ``Server`` does."""
    assert isinstance(bot, BotConnection)
    talk: Any = bot.begin()
    talk.bot = bot
    await bot.wait_closed()


async def talk_plainly(bot: ServerConnection) -> None:
    """Echo as the library's own example does."""
    async for message in bot:
        await bot.send(message)


@contextlib.asynccontextmanager
async def servers() -> AsyncIterator[dict[str, int]]:
    """Run both servers; give their ports."""
    echo = Echo()
    stall_reader = StallReader(echo.flush)
    shared = Shared(echo, ConnectionLimiter(Limits()), stall_reader)  # type: ignore[arg-type]
    ours: Any = partial(BotConnection, shared=shared)
    options: dict[str, Any] = {"compression": None, "max_size": LARGEST, "logger": _silent}
    stall_reader.start()
    try:
        async with (
            serve(talk_ours, "127.0.0.1", 0, create_connection=ours, **options) as one,
            serve(talk_plainly, "127.0.0.1", 0, **options) as other,
        ):
            yield {
                name: next(iter(server.sockets)).getsockname()[1]
                for name, server in (("ours", one), ("plain", other))
            }
    finally:
        stall_reader.stop()


async def ask(port: int, without: tuple[str, ...], folder: Path) -> dict[str, dict[str, Any]]:
    """Have the suite ask a server; return its verdict on each case."""
    folder.mkdir()
    spec = {
        "outdir": str(folder / "report"),
        "servers": [{"url": f"ws://127.0.0.1:{port}", "agent": "asked"}],
        "cases": ["*"],
        "exclude-cases": without,
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    with open(folder / "said", "wb") as said:
        suite = await asyncio.create_subprocess_exec(
            HOME / "bin" / "wstest", "-m", "fuzzingclient", "-s", "spec.json",
            cwd=folder, stdout=said, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            await suite.wait()
        finally:
            if suite.returncode is None:  # the other one has failed
                suite.kill()
                await suite.wait()
    if suite.returncode:
        raise RuntimeError((folder / "said").read_text(errors="replace")[-2_000:])
    verdicts: dict[str, dict[str, Any]] = json.loads(
        (folder / "report" / "index.json").read_text()
    )["asked"]
    return verdicts


async def ask_both(without: tuple[str, ...], folder: Path) -> list[dict[str, dict[str, Any]]]:
    """Ask both servers at once."""
    connections._UNREAD = 1 << 40  # type: ignore[misc]
    async with servers() as ports, asyncio.TaskGroup() as group:
        asked = [
            group.create_task(ask(port, without, folder / name)) for name, port in ports.items()
        ]
    return [task.result() for task in asked]


def worst(verdict: dict[str, Any]) -> int:
    """Return how bad a verdict is, on the case and on how it was closed: 0 is good."""
    return max(
        ALLOWED.index(word) if word in ALLOWED else len(ALLOWED)
        for word in (verdict["behavior"], verdict["behaviorClose"])
    )


def run(scale: Scale) -> Iterator[Figure]:
    """Give the figures."""
    install()
    folder = HOME / f"run-{os.getpid()}"
    try:
        folder.mkdir()
        ours, plain = asyncio.run(ask_both(SLOW if scale.short else (), folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    words = Counter(verdict["behavior"] for verdict in ours.values())
    said = ", ".join(f"{count} {word}" for word, count in words.most_common())
    yield Figure("cases of Autobahn's client", len(ours), ">=", scale.pick(230, 500), note=said)
    failed = {case for case in ours if worst(ours[case]) == len(ALLOWED)}
    yield _counted("cases failed, but for the library's 7.1.5", failed - LIBRARY)
    lax = {case for case in ours if ours[case]["behavior"] == "NON-STRICT"}
    yield _counted("cases not strict, but for 6.4", lax - LAX)
    worse = {case for case in ours if case not in plain or worst(ours[case]) > worst(plain[case])}
    yield _counted("cases in which plain websockets does better", worse)


def _counted(promise: str, cases: set[str]) -> Figure:
    return Figure(promise, len(cases), "=", 0, note=", ".join(sorted(cases)[:20]))


def install() -> None:
    """Install the suite where it is not.

    Raises:
        Unavailable: where there is no Python 2.7, or no package index.
    """
    ready = HOME / "ready"
    if ready.exists():
        return
    python = python27()
    if python is None:
        raise Unavailable("needs Python 2.7 (pyenv install 2.7.18)")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    tools = HOME / "tools"  # beside the rest: nothing else on the machine is changed
    there, here = {**os.environ, "PYTHONPATH": str(tools)}, {**os.environ}
    print(f"installing {SUITE} into {HOME}, once ...", file=sys.stderr, flush=True)
    for environment, *command in (
        (there, python, "-m", "pip", "install", "--target", tools, VIRTUALENV),
        (there, python, "-m", "virtualenv", HOME),
        (here, HOME / "bin" / "pip", "install", SUITE),
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise Unavailable(f"needs {SUITE}, which can't be installed: {lines[-1]}")
    ready.touch()


def python27() -> str | None:
    """Return a Python 2.7 that runs, where there is one: pyenv's stand-in alone does not."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*sorted(map(str, root.glob("versions/2.7*/bin/python2.7")), reverse=True)]
    for python in ["python2.7", *candidates]:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run([python, "-c", "import pip"], capture_output=True, timeout=30)
            if done.returncode == 0:
                return python
    return None
