"""Our server in a process of its own, started in milliseconds: so it can be killed often.

Measures nothing by itself. The process is forked from one that has imported everything and done
nothing. It ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Self

from recall_lab.control.status import Status
from recall_lab.receiver.server import Server
from recall_lab.store.writer import StreamWriter

PROCESSES: Final = multiprocessing.get_context("forkserver")
"""Starts processes of which each begins with everything imported, and with nothing else."""

PROCESSES.set_forkserver_preload([__name__])


class Served:
    """A server in a process of its own, as a context manager.

    Args:
        directory: where captures go.
        port: to listen on; 0 for any.
        sync: seconds between two syncs.
        first: called in the process before anything else.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        sync: float = 1.0,
        first: Callable[[], None] | None = None,
    ) -> None:
        self._pipe, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(
            target=_serve, args=(theirs, directory, port, sync, first), daemon=True
        )
        self.process.start()
        theirs.close()
        self._port = port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def port(self) -> int:
        """The port it listens on; waits until there is one if it was free to choose."""
        if not self._port:
            self._port = self._answer()
        return self._port

    @property
    def pid(self) -> int | None:
        """Its process."""
        return self.process.pid

    def synced(self) -> dict[str, int]:
        """Return how many packets of each stream are durable by what its writer says now."""
        _ = self.port
        self._pipe.send("synced")
        return self._answer()

    def stop(self) -> Status:
        """Have it end as it should."""
        _ = self.port
        self._pipe.send("stop")
        return self._answer()

    def kill(self) -> None:
        """Kill -9; waits until it is gone."""
        self.process.kill()
        self.process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        if not self._pipe.poll(30):
            raise TimeoutError("the server does not answer")
        return self._pipe.recv()


def _serve(
    pipe: Connection, directory: Path, port: int, sync: float, first: Callable[[], None] | None
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if first is not None:
        first()
    asyncio.run(_answer(pipe, Server(directory, port=port, sync=sync)))


async def _answer(pipe: Connection, server: Server) -> None:
    end = asyncio.Event()
    writers = _all_writers()

    def answer() -> None:
        try:
            asked = pipe.recv()
        except EOFError:  # whoever started us is gone
            os._exit(1)
        if asked == "stop":
            end.set()
        else:
            pipe.send({writer.stem: writer.synced for writer in list(writers)})

    async with server:
        if not server.settings.port:
            pipe.send(server.port)
        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        await end.wait()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
    pipe.send(server.status)


def _all_writers() -> list[StreamWriter]:
    """Return a list that each writer made in this process from now on comes into."""
    writers: list[StreamWriter] = []
    begin = StreamWriter.__init__

    def init(writer: StreamWriter, *arguments: Any, **named: Any) -> None:
        begin(writer, *arguments, **named)
        writers.append(writer)

    StreamWriter.__init__ = init
    return writers
