"""The panel's thread: it keeps the page current, ends by itself, and says why if it must."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

import recall_lab as rl
from recall_lab.errors import InvalidArgument, NoNotebook
from recall_lab.notebook import watch as module
from recall_lab.notebook.live import Live

pytestmark = pytest.mark.alone


class Published(DisplayPublisher):
    """What a notebook would have been sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[tuple[bool, str, dict[str, Any]]] = []

    def publish(  # type: ignore[override]
        self, data: dict[str, Any], metadata: Any = None, *, transient: Any = None,
        update: bool = False, **_: object,
    ) -> None:  # fmt: skip
        self.sent.append((update, (transient or {}).get("display_id", ""), data))

    def last(self, kind: str) -> Any:
        return next((data[kind] for _, _, data in reversed(self.sent) if kind in data), None)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    """A notebook's page, as far as the kernel knows of it."""
    shell = InteractiveShell.instance()
    published = Published(shell=shell)
    monkeypatch.setattr(shell, "display_pub", published)
    monkeypatch.setattr(module, "EVERY", 0.1)
    yield published
    InteractiveShell.clear_instance()


def wait_for(what: Any, timeout: float = 10.0) -> None:
    until = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def test_it_keeps_itself_current_and_ends_with_the_receiver(
    tmp_path: Path, page: Published, speech: np.ndarray
) -> None:
    with rl.receive(0, tmp_path, mode="thread") as rx:
        panel = rl.watch(rx)
        # both outputs are there at once, so they stand under the cell that asked for them
        first = [(update, name) for update, name, _ in page.sent if not update]
        assert len(first) == 2
        assert panel.alive
        with rl.start_simulation(speech, rx.url, speed=6, packet=0.1, recording="r") as bot:
            wait_for(lambda: panel.updates > 5)
            assert "receiving at" in page.last("text/html")
            bot.wait()
        rx.wait(packets=120, timeout=10)
    wait_for(lambda: not panel.alive)
    assert panel.error == ""
    assert {name for _, name, _ in page.sent} == {name for _, name in first}
    html, text = page.last("text/html"), page.last("text/plain")
    assert "stopped, was at" in html
    assert "0:00:12.0" in html
    assert "the last 30 s of mixed" in text
    assert base64.b64decode(page.last("image/png"))[:4] == b"\x89PNG"
    count = len(page.sent)
    time.sleep(0.4)
    assert len(page.sent) == count
    assert repr(panel) == f"<Panel of {rx.url}: ended>"


def test_it_works_while_the_main_thread_is_busy(
    tmp_path: Path, page: Published, speech: np.ndarray
) -> None:
    with rl.receive(0, tmp_path) as rx:
        panel = rl.watch(rx)
        with rl.start_simulation(speech, rx.url, speed=6, packet=0.1):
            before, until = panel.updates, time.monotonic() + 20
            while panel.updates < before + 5 and time.monotonic() < until:
                sum(range(1000))  # how quickly they come is for benchmarks/panel.py
        assert panel.updates >= before + 5
        panel.stop()
        assert not panel.alive
        assert rx.alive


def test_it_ends_after_so_many_seconds_and_tells_every_cause(
    tmp_path: Path, page: Published, speech: np.ndarray
) -> None:
    with rl.receive(0, tmp_path, mode="thread") as rx:
        faults = rl.Faults(loss=0.2, seed=1)
        rl.simulate(speech, rx.url, speed=100, packet=0.05, faults=faults)
        panel = rl.watch(rx, seconds=0.5)
        wait_for(lambda: not panel.alive, 5)
        assert rx.alive
    assert "not told yet" not in page.last("text/html")
    assert "loss" in page.last("text/html")


def test_a_receiver_has_one_panel(tmp_path: Path, page: Published) -> None:
    with rl.receive(0, tmp_path, mode="thread") as rx:
        one = rl.watch(rx)
        other = rl.watch(rx)
        assert not one.alive
        assert other.alive
        other.stop()


def test_what_breaks_it_is_said_in_its_place(
    tmp_path: Path, page: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rl.receive(0, tmp_path, mode="thread") as rx:
        panel = rl.watch(rx)

        def broken(self: Live) -> None:
            raise ZeroDivisionError("of our own making")

        with monkeypatch.context() as patched:
            patched.setattr(Live, "look", broken)
            wait_for(lambda: "could not be" in page.sent[-1][2]["text/plain"])
            assert panel.error == "ZeroDivisionError: of our own making"
            told = page.sent[-1][2]["text/plain"]
            assert told.startswith("the panel could not be brought up to date: ZeroDivisionError")
            assert "Traceback" in told
        wait_for(lambda: not panel.error)  # and it tries again
        assert panel.alive
        assert "receiving at" in page.last("text/html")


def test_a_receiver_that_dies_is_said_to_have_failed(tmp_path: Path, page: Published) -> None:
    import psutil

    rx = rl.receive(0, tmp_path)
    panel = rl.watch(rx)
    (child,) = [p for p in psutil.process_iter(["pid"]) if p.pid == rx._host._state.pid]  # type: ignore[attr-defined]
    child.kill()
    wait_for(lambda: not panel.alive)
    assert "failed, was at" in page.last("text/html")
    assert "is gone; run the start cell again" in page.last("text/html")
    rx.stop()


def test_a_terminal_is_told_what_to_do_instead(tmp_path: Path) -> None:
    with (
        rl.receive(0, tmp_path, mode="thread") as rx,
        pytest.raises(NoNotebook, match="recall-lab status"),
    ):
        rl.watch(rx)
    assert not [thread for thread in threading.enumerate() if thread.name == "recall_lab panel"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5"])
def test_a_time_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidArgument, match="seconds"):
        rl.watch(None, seconds)  # type: ignore[arg-type]
