"""Notes of receivers that can't be believed, and two notebooks at once: who gets what?

A note in the runtime folder names a process, a port and a socket. Here it is stale, cut off,
no JSON; it names a stranger's process, the port and socket of a stranger who answers with
nothing, nonsense, another's id, or without end; it is of another user; and its process is gone,
and the system has given its number to a stranger, who must not be signalled whatever the
notebook does. Then two notebooks run the same start cell at the same moment: there must be one
server, and both must have it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

import recall_lab as rl
from benchmarks.torture.abuse import Kernel
from benchmarks.torture.company import free_port, pid_of, place
from benchmarks.torture.figures import Figure, Scale
from recall_lab.control.settings import Settings
from recall_lab.receiver.background import hosts
from recall_lab.receiver.background.registry import State, runtime_folder, states, write_state

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_NOBODY = 65_534
_PATIENCE = hosts.ANSWER_TIMEOUT
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_CELL = "import recall_lab as rl; rx = rl.receive({port}, {folder!r}); out = rx.id"


def run(scale: Scale) -> Iterator[Figure]:
    """Forge notes, recycle a process's number, start two at once."""
    if scale.short:
        hosts.ANSWER_TIMEOUT = 1.0  # two of the strangers never answer
    yield from forged()
    hosts.ANSWER_TIMEOUT = _PATIENCE
    yield from recycled()
    yield from at_once(scale)


def forged() -> Iterator[Figure]:
    """Leave notes that lie; look whether a receiver is still started, found and stopped."""
    wrong, slowest = [], 0.0
    with place() as scratch, _stranger() as stranger:
        for name, forge in _FORGERIES.items():
            port = free_port()
            with contextlib.ExitStack() as stack:
                forge(stack, scratch / "captures", port, stranger.pid)
                began = time.monotonic()
                rx = rl.receive(port, scratch / "captures")
                slowest = max(slowest, time.monotonic() - began)
                found = [other.id for other in rl.receivers()]
                good = found == [rx.id] and rx.stop().state == "stopped"
                wrong += [] if good and stranger.poll() is None else [name]
            for path in runtime_folder().iterdir():
                path.unlink()
        refused = _foreign_folder(scratch)
    note = ", ".join(wrong) or f"{len(_FORGERIES)} kinds"
    yield Figure("notes that lie: receivers not started, found or stopped", len(wrong), "=", 0,
                 note=note)  # fmt: skip
    yield Figure("notes that lie: seconds until a receiver had started", slowest, "<=", 30, "s")
    yield Figure("a runtime folder of another user is used", int(not refused), "=", 0)


def _note(folder: Path, port: int, pid: int, id_: str = "f0e1d2c3b4a59687") -> State:
    """Leave a note of a receiver that does not run."""
    created = psutil.Process(pid).create_time() - psutil.boot_time() if pid else 1.0
    settings = Settings.checked(
        port=port, directory=folder, host="127.0.0.1", mode="process", idle_timeout=600.0, sync=1.0
    )
    state = State(
        id=id_, pid=pid or 4_000_000, created=created, port=port, settings=settings, started=1
    )
    write_state(state)
    return state


def _stale(stack: contextlib.ExitStack, folder: Path, port: int, pid: int) -> None:
    _note(folder, port, 0)


def _of_a_stranger(stack: contextlib.ExitStack, folder: Path, port: int, pid: int) -> None:
    _note(folder, port, pid)


def _cut_off(stack: contextlib.ExitStack, folder: Path, port: int, pid: int) -> None:
    path = runtime_folder() / f"{_note(folder, port, pid).id}.json"
    path.write_bytes(path.read_bytes()[:-9])
    path.with_name("0123456789abcdef.json").write_bytes(b"[" * 100_000)
    path.with_name("..json").write_bytes(b"\xff\xfe")


def _of_another_user(stack: contextlib.ExitStack, folder: Path, port: int, pid: int) -> None:
    state = _note(folder, port, pid)
    _answering(stack, state, b'{"id":"%b","clients":[]}\n' % state.id.encode())
    os.chown(runtime_folder() / f"{state.id}.json", _NOBODY, _NOBODY)


def _answered(answer: bytes) -> Callable[[contextlib.ExitStack, Path, int, int], None]:
    def forge(stack: contextlib.ExitStack, folder: Path, port: int, pid: int) -> None:
        _answering(stack, _note(folder, port, pid), answer)

    return forge


def _answering(stack: contextlib.ExitStack, state: State, answer: bytes) -> None:
    """Answer at the socket of a note: once, or without end where there is no end of line."""
    listening = stack.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(str(state.socket))
    listening.listen()

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while answer:
                peer.recv(4_096) if answer.endswith(b"\n") else time.sleep(0.1)
                peer.sendall(answer)
            time.sleep(20)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listening.accept()
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    stack.callback(listening.shutdown, socket.SHUT_RDWR)


_FORGERIES = {
    "stale": _stale,
    "a stranger's process": _of_a_stranger,
    "cut off": _cut_off,
    "of another user": _of_another_user,
    "another id": _answered(b'{"id":"0000000000000000","clients":[]}\n'),
    "no answer": _answered(b""),
    "nonsense": _answered(b'\xff\xfe{"id":\n'),
    "no object": _answered(b'["id"]\n'),
    "no end": _answered(b" " * 1_000),
}


def _foreign_folder(scratch: Path) -> bool:
    """Give the runtime folder to another user; tell whether it is refused with a way out."""
    folder = runtime_folder()
    os.chown(folder, _NOBODY, _NOBODY)
    try:
        rl.receive(0, scratch / "captures").stop()
    except rl.errors.ReceiverFailed as error:
        return "remove it, or set RECALL_LAB_RUNTIME" in str(error)
    finally:
        os.chown(folder, os.getuid(), os.getgid())
    return False


def recycled() -> Iterator[Figure]:
    """Kill a child, have a stranger get its number, and do all that a notebook can do."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)  # the number is free once somebody has waited for it
    with place() as scratch:
        folder = scratch / "captures"
        rx = rl.receive(free_port(), folder)
        pid = pid_of(rx)
        time.sleep(2.0)  # a number comes round after many others, not within two seconds
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with _stranger(pid) as stranger:
            told = rx.status.last_error
            rl.receivers()
            again = rl.receive(rx.port, folder)
            rx.stop()
            again.stop()
            signalled = stranger.poll() is not None
    if stranger.pid == pid:
        yield Figure("strangers with a dead receiver's number: ended", int(signalled), "=", 0)
        helps = "run the start cell again" in told
        yield Figure("strangers with that number: taken for it", int(not helps), "=", 0)


@contextlib.contextmanager
def _stranger(pid: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that has nothing to do with us; with a certain number where that can be."""
    for _ in range(200):
        if pid:
            with contextlib.suppress(OSError):
                _LAST_PID.write_text(str(pid - 1))
        stranger = subprocess.Popen(["sleep", "600"])
        if not pid or stranger.pid == pid or not os.access(_LAST_PID, os.W_OK):
            break
        stranger.kill()
        stranger.wait()
    try:
        yield stranger
    finally:
        stranger.kill()
        stranger.wait()


def at_once(scale: Scale) -> Iterator[Figure]:
    """Have two notebooks run the same cell at the same moment, again and again."""
    rounds = scale.pick(5, 20)
    alone = other = servers = 0
    errors = []
    with place() as scratch, Kernel() as one, Kernel() as two:
        for number in range(rounds):
            folder = scratch / f"captures-{number}"
            cell = _CELL.format(port=free_port(), folder=str(folder))
            one.begin(cell)
            time.sleep(0.01 * (number % 5))
            two.begin(cell)
            ids = {one.end(), two.end()}
            errors += [id_ for id_ in ids if not id_.isalnum()]
            alone += len(ids) != 1
            running = [state for state in states() if psutil.pid_exists(state.pid)]
            servers += len(running) != 1
            other += one.run("out = rx.status.state") != two.run("out = rx.status.state")
            one.run("rx.stop()")
            shutil.rmtree(folder, ignore_errors=True)
    note = errors[0][:120] if errors else f"{rounds} rounds"
    yield Figure("two at once: notebooks that have not the same", alone + other, "=", 0, note=note)
    yield Figure("two at once: rounds without exactly one server", servers, "=", 0)
