"""Where running receivers are noted, and found again: sessions that end, folders that differ."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from recall_lab.receiver.background import registry
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE, runtime_folder, states
from recall_lab.receiver.background.start import receive, receivers

SHORT = registry._short


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder whose name is short: a socket's path may not be long."""
    with tempfile.TemporaryDirectory(prefix="rl-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """A machine of one's own: no runtime folder given, temporary files in the test's folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.delenv(RUNTIME_VARIABLE)
    monkeypatch.setattr(registry.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    # what of this user's receivers runs elsewhere is none of the test's
    monkeypatch.setattr(registry, "_short", lambda folder=str(tmp_path / "tmp"): SHORT(folder))
    monkeypatch.setattr(registry, "_usual", lambda: tmp_path / "none")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def enter(folder: str) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)

    yield enter
    for found in receivers():
        found.stop()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_receiver_is_found_after_a_logout_and_a_login(
    tmp_path: Path, session: Callable[[str], None]
) -> None:
    (tmp_path / "run").mkdir()
    session(str(tmp_path / "run"))
    rx = receive(0, tmp_path / "a")
    assert runtime_folder() == tmp_path / "run" / "recall-lab"
    shutil.rmtree(tmp_path / "run")  # nobody is logged in
    until(lambda: rx.id in [state.id for state in states()])
    (tmp_path / "run").mkdir()  # and comes back
    assert [one.id for one in receivers()] == [rx.id]
    pid = next(state.pid for state in states())
    assert rx.stop().state == "stopped"
    until(lambda: not psutil.pid_exists(pid))
    assert list(states()) == []


def test_a_shell_without_the_session_finds_it_too(
    tmp_path: Path, session: Callable[[str], None]
) -> None:
    with receive(0, tmp_path / "a") as rx:  # in a folder of temporary files
        (tmp_path / "run").mkdir()
        session(str(tmp_path / "run"))
        assert [one.id for one in receivers()] == [rx.id]


@pytest.mark.parametrize("told", ["", "relative", "/nowhere/at/all", "/proc"])
def test_a_session_that_is_none(
    told: str, tmp_path: Path, session: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if told == "/proc" and os.geteuid() == 0:
        pytest.skip("it is root's, and so ours")
    session(told)
    assert runtime_folder() == tmp_path / "tmp" / f"recall-lab-{os.getuid()}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tmp"]


def test_a_path_too_long_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv(RUNTIME_VARIABLE, str(deep))
    monkeypatch.setattr(registry, "_short", SHORT)  # as the child has it
    with receive(0, tmp_path / "a") as rx:
        (state,) = states()
        assert state.note.parent == deep
        assert len(os.fsencode(state.socket)) < 104
        assert [one.id for one in receivers()] == [rx.id]
        socket = state.socket
    assert not socket.exists()
