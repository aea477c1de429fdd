"""Run the server in a child process or in a thread, behind one face.

A host can be asked how the server is and to stop. Everything else a receiver shows comes from
the files on disk, whichever way it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import Future
from typing import Any, Final, Protocol

import msgspec
import psutil

from recall_lab import children
from recall_lab.control.settings import Settings
from recall_lab.control.status import Status
from recall_lab.errors import PortInUse, ReceiverFailed, TunnelFailed
from recall_lab.receiver.access import Access
from recall_lab.receiver.background import launch
from recall_lab.receiver.background.daemon import Answer, Order, Request
from recall_lab.receiver.background.registry import (
    State,
    ends,
    forget_logs,
    log_path,
    remove_state,
    states,
    write_end,
)
from recall_lab.receiver.server import Server

START_TIMEOUT: Final = 45.0  # seconds; a tunnel takes its time
ANSWER_TIMEOUT: Final = 5.0
STOP_TIMEOUT: Final = 20.0
_GONE: Final = "it ended without a word: it was killed, or the machine went down"
_LONGEST: Final = 1 << 20  # bytes of an answer


class Host(Protocol):
    """What a receiver needs of whatever runs its server."""

    id: str
    port: int
    settings: Settings
    started: int

    def alive(self) -> bool:
        """Tell whether the server runs, without asking it."""

    def others(self) -> list[int]:
        """Ask which other processes use the same server; return their pids."""

    def status(self) -> Status:
        """Ask how it is; raises ReceiverFailed when there is no answer."""

    def token(self) -> tuple[str, bool]:
        """Ask what has to be in the URL, and whether it was made for the user.

        Raises ReceiverFailed when there is no answer.
        """

    def stay(self, idle_timeout: float | None) -> None:
        """Have it stay so long without anybody, where it would stay shorter."""

    def expect(self, when: float) -> None:
        """Have it stay until then, seconds since 1970."""

    def ready(self) -> None:
        """Wait until its tunnel is open; raises TunnelFailed when it could not be opened."""

    def stop(self) -> Status:
        """End it; every capture is closed when this returns."""

    def close(self) -> None:
        """Let go of it; it goes on."""


class ProcessHost:
    """A server in a detached child process, spoken to over its control socket."""

    def __init__(self, state: State) -> None:
        self._socket: socket.socket | None = None
        self.id = state.id
        self.port = state.port
        self.settings = state.settings
        self.started = state.started
        self._state = state
        self._asking = threading.Lock()
        self._pid = os.getpid()
        if self._ask("attach", ANSWER_TIMEOUT).get("id") != state.id:
            self.close()
            raise ReceiverFailed(f"another receiver than {state.id} answers at {state.socket}")

    @classmethod
    def start(cls, settings: Settings, access: Access) -> ProcessHost:
        """Start a server in a new process.

        Raises:
            PortInUse: when its port is taken.
            ReceiverFailed: when it could not start for any other reason.
        """
        forget_logs()
        with subprocess.Popen(
            children.command(launch.__file__),
            env=children.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            try:
                said, errors = child.communicate(
                    msgspec.json.encode(Order(settings, access)) + b"\n", timeout=START_TIMEOUT
                )
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # the session that it began
                child.kill()
                said, errors = child.communicate()
            except BaseException:  # interrupted: nobody would hold what is starting
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
                raise
        try:
            answer = msgspec.json.decode(said, type=Answer)
        except ValueError:
            told = errors.decode(errors="replace").strip()
            raise ReceiverFailed(
                f"the receiver's process did not start within {START_TIMEOUT:.0f} s", told
            ) from None
        if answer.port_in_use:
            raise PortInUse(settings.port, answer.port_in_use)
        if answer.tunnel_failed:
            raise TunnelFailed(answer.tunnel_failed)
        if answer.error:
            raise ReceiverFailed(answer.error)
        state = next((state for state in states() if state.id == answer.id), None)
        if state is None:
            raise ReceiverFailed("the receiver ended as soon as it had started", _tail(answer.id))
        return cls(state)

    @classmethod
    def running(cls) -> list[ProcessHost]:
        """Return the receivers of this user that run and answer; forget those that have died."""
        found = []
        for state in states():
            try:
                found.append(cls(state))
            except ReceiverFailed:
                if _process(state) is None:
                    write_end(state, _GONE)
                    remove_state(state.id)
        return found

    def alive(self) -> bool:
        return _process(self._state) is not None

    def others(self) -> list[int]:
        clients = self._ask("attach", ANSWER_TIMEOUT)["clients"]
        return [pid for pid in clients if pid not in (0, os.getpid())]

    def status(self) -> Status:
        return _status(self._ask("status", ANSWER_TIMEOUT))

    def token(self) -> tuple[str, bool]:
        told = self._ask("access", ANSWER_TIMEOUT)
        return str(told.get("token", "")), bool(told.get("made"))

    def stay(self, idle_timeout: float | None) -> None:
        now = self.settings.idle_timeout
        if now is not None and (idle_timeout is None or idle_timeout > now):
            self._ask("stays", ANSWER_TIMEOUT, idle_timeout)
            self.settings = msgspec.structs.replace(self.settings, idle_timeout=idle_timeout)

    def expect(self, when: float) -> None:
        self._ask("expect", ANSWER_TIMEOUT, when)

    def ready(self) -> None:
        if self.settings.tunnel:
            error = self._ask("ready", START_TIMEOUT).get("error")
            if error:
                raise TunnelFailed(str(error))

    def stop(self) -> Status:
        try:
            status = _status(self._ask("stop", STOP_TIMEOUT))
        except ReceiverFailed:
            status = None
        self.close()
        if not _ends(self._state, STOP_TIMEOUT if status else 0.1):
            process = _process(self._state)
            if process is not None:  # it does not listen: what it has kept is on the disk
                process.kill()
                _ends(self._state, STOP_TIMEOUT)
        remove_state(self.id)
        return status or Status(
            state="failed",
            url="",
            last_error="it did not answer and was ended; what it had kept is on the disk",
        )

    def close(self) -> None:
        """Hang up; the receiver goes on."""
        with self._asking:
            self._hang_up()

    def __del__(self) -> None:
        self._hang_up()  # two cells that started one receiver have a connection each

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, what: str, timeout: float, value: float | None = None) -> dict[str, Any]:
        request = msgspec.json.encode(Request(what, os.getpid(), value)) + b"\n"
        with self._asking:
            if self._pid != os.getpid():  # forked: the socket is our parent's
                self._pid, self._socket = os.getpid(), None
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.settimeout(ANSWER_TIMEOUT)
                    self._socket.connect(str(self._state.socket))
                self._socket.settimeout(timeout)
                self._socket.sendall(request)
                line = _line(self._socket, time.monotonic() + timeout)
                answer = msgspec.json.decode(line, type=dict[str, Any])
            except (OSError, ValueError) as error:
                self._hang_up()
                raise ReceiverFailed(self._why(error), _tail(self.id)) from None
            except BaseException:  # interrupted: the answer must not be taken for the next one
                self._hang_up()
                raise
        return answer

    def _why(self, error: Exception) -> str:
        pid = self._state.pid
        process = _process(self._state)
        if process is None:
            told = next((one.why for one in ends() if one.id == self.id), _GONE)
            return (
                f"the receiver's process {pid} is gone; run the start cell again to go on ({told})"
            )
        why = f"the receiver's process {pid} does not answer ({error or 'timed out'})"
        with contextlib.suppress(psutil.Error):
            if process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
                return (
                    f"{why}: it was stopped, by a debugger or a signal; 'kill -CONT {pid}' lets it "
                    "go on, and what bots send meanwhile waits for it"
                )
        return f"{why}: ask again in a moment; stop() ends it, and what it has kept stays"


class ThreadHost(threading.Thread):
    """A server in a daemon thread of this process, with an event loop of its own."""

    port: int
    started: int

    def __init__(self, settings: Settings, access: Access) -> None:
        super().__init__(name="recall_lab receiver", daemon=True)
        self.server = Server.of(settings, access)
        self.settings = self.server.settings
        self.id = self.server.id
        self._abandoned = False
        self._ready: Future[int] = Future()
        self._failure = ""

    @classmethod
    def start_with(cls, settings: Settings, access: Access) -> ThreadHost:
        """Start a server in a new thread; raises as :meth:`ProcessHost.start` does."""
        host = cls(settings, access)
        host.start()
        try:
            host.port = host._ready.result(START_TIMEOUT)
        except BaseException:  # an interrupt too: nobody would hold the thread that has the port
            host._abandoned = True
            with contextlib.suppress(RuntimeError, AttributeError):  # it has not begun, or ended
                host._loop.call_soon_threadsafe(host._task.cancel)
            raise
        host.started = time.time_ns()
        return host

    def run(self) -> None:
        """Run the server's loop; this is the thread."""
        with asyncio.Runner() as runner:
            try:
                runner.run(self._main())
            except BaseException as error:
                self._failure = f"{type(error).__name__}: {error}"
                if not self._ready.done():
                    self._ready.set_exception(error)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        if self._abandoned:
            return
        async with self.server:
            self._ready.set_result(self.server.port)
            while not (self._abandoned or self._stopping.is_set()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), 1.0)

    def alive(self) -> bool:
        return self.is_alive()

    def others(self) -> list[int]:
        return []

    def status(self) -> Status:
        if not self.is_alive():
            if self._failure:
                raise ReceiverFailed(f"the receiver's thread has died: {self._failure}")
            return self.server.status
        answer: Future[Status] = Future()

        def ask() -> None:
            answer.set_result(self.server.status)

        try:
            self._loop.call_soon_threadsafe(ask)
            return answer.result(ANSWER_TIMEOUT)
        except (RuntimeError, TimeoutError) as error:
            raise ReceiverFailed(f"the receiver's thread does not answer ({error})") from None

    def stay(self, idle_timeout: float | None) -> None:
        """It stays as long as this process."""

    def expect(self, when: float) -> None:
        """It stays as long as this process."""

    def token(self) -> tuple[str, bool]:
        return self.server.access.token, self.server.access.made

    def ready(self) -> None:
        """Nothing to wait for: it was, when it started."""

    def stop(self) -> Status:
        with contextlib.suppress(RuntimeError):  # its loop has ended already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self.join(STOP_TIMEOUT)
        if self.is_alive():
            raise ReceiverFailed(f"the receiver's thread did not end within {STOP_TIMEOUT:.0f} s")
        return self.server.status

    def close(self) -> None:
        """Nothing to hang up."""


def _status(told: dict[str, Any]) -> Status:
    """Return what was told as a status; raises ReceiverFailed when it is none."""
    try:
        return msgspec.convert(told, Status)
    except msgspec.ValidationError as error:
        raise ReceiverFailed(
            f"what the receiver answers is no status ({error}): was it started by another version "
            "of recall_lab? stop() ends it, and what it has kept stays"
        ) from None


def _line(peer: socket.socket, deadline: float) -> bytes:
    """Return the next line, which somebody else may have written, and not to end it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        peer.settimeout(max(0.001, deadline - time.monotonic()))
        part = peer.recv(65_536)
        if not part:
            raise ConnectionError("it hung up")
        line += part
        if len(line) > _LONGEST or time.monotonic() > deadline:
            raise TimeoutError("its answer does not end")
    return bytes(line)


def _process(state: State) -> psutil.Process | None:
    """Return the process of a note if it is still the same process, else None."""
    try:
        process = psutil.Process(state.pid)
        # both since boot: the times of day they are told in move when the clock is set
        same = abs(process.create_time() - psutil.boot_time() - state.created) < 1.5
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _ends(state: State, timeout: float) -> bool:
    """Wait for a process to end; one that only waits to be reaped by its parent has ended."""
    until = time.monotonic() + timeout
    while _process(state) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _tail(receiver: str, lines: int = 20) -> str:
    """Return the last lines of a receiver's log."""
    try:
        text = log_path(receiver).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
