"""What answers where a receiver should: strangers, and a receiver that was stopped."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recall_lab.control.settings import Settings
from recall_lab.receiver.background import hosts
from recall_lab.receiver.background.registry import State, remove_state, states, write_state
from recall_lab.receiver.background.start import receive, receivers


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hosts, "ANSWER_TIMEOUT", 0.5)
    yield
    for receiver in receivers():
        receiver.stop()


def answering(state: State, answer: bytes) -> socket.socket:
    """Listen at the socket of a note, and answer without end to whoever comes."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(state.socket))
    listening.listen()

    def serve() -> None:
        try:
            while True:
                peer, _ = listening.accept()
                with peer:
                    while True:
                        peer.sendall(answer)
                        time.sleep(0.01)
        except OSError:  # the test is over, or the other one has hung up
            pass

    threading.Thread(target=serve, daemon=True).start()
    return listening


@pytest.mark.parametrize("answer", [b'["id"]\n', b"7\n", b'"id"\n', b" " * 100, b" " * 200_000])
def test_a_stranger_at_the_socket_of_a_note_is_passed_over(answer: bytes, tmp_path: Path) -> None:
    settings = Settings.checked(
        port=4_567,
        directory=tmp_path,
        host="127.0.0.1",
        mode="process",
        idle_timeout=600.0,
        sync=1.0,
    )
    state = State(
        id="f0e1d2c3b4a59687", pid=os.getpid(), created=0, port=4_567, settings=settings, started=1
    )
    write_state(state)
    with answering(state, answer):
        began = time.monotonic()
        with receive(0, tmp_path) as rx:
            assert [found.id for found in receivers()] == [rx.id]
        assert time.monotonic() - began < 20
    remove_state(state.id)


def test_an_answer_that_is_no_status_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receive(0, tmp_path) as rx:
        with monkeypatch.context() as other:
            other.setattr(hosts.ProcessHost, "_ask", lambda *_: {"id": rx.id, "clients": []})
            assert rx.status.state == "failed"
            assert "another version" in rx.status.last_error
        assert rx.status.state == "running"


def test_a_receiver_that_was_stopped_says_how_it_goes_on(tmp_path: Path) -> None:
    with receive(0, tmp_path) as rx:
        (pid,) = [state.pid for state in states() if state.id == rx.id]
        os.kill(pid, signal.SIGSTOP)
        try:
            status = rx.status
        finally:
            os.kill(pid, signal.SIGCONT)
        assert status.state == "failed"
        assert f"kill -CONT {pid}" in status.last_error
        deadline = time.monotonic() + 10
        while rx.status.state != "running":
            assert time.monotonic() < deadline
