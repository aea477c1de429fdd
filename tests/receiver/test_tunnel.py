"""Tunnels: against a stand-in of ngrok's SDK that forwards, and a program that speaks as
cloudflared does."""

from __future__ import annotations

import importlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from recall_lab.errors import (
    InvalidArgument,
    MissingExtra,
    MissingSetting,
    ReceiverFailed,
    TunnelFailed,
)
from recall_lab.receiver import tunnel as tunnel_module
from recall_lab.receiver.background.handle import Receiver
from recall_lab.receiver.background.registry import states
from recall_lab.receiver.background.start import receive
from recall_lab.simulator.api import simulate

STANDINS = Path(__file__).parent / "tunnels"
AUTHTOKEN = "2canaryAuthtokenOfNgrok"


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Put the stand-ins where the real ones are looked for; return what they note down."""
    monkeypatch.setenv("STANDIN_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("NGROK_AUTHTOKEN", AUTHTOKEN)
    monkeypatch.setenv("PYTHONPATH", str(STANDINS))
    monkeypatch.setenv("PATH", str(STANDINS), prepend=os.pathsep)
    real = sys.modules.pop("ngrok", None)
    monkeypatch.syspath_prepend(str(STANDINS))
    importlib.invalidate_caches()
    yield tmp_path / "notes"
    sys.modules.pop("ngrok", None)
    if real is not None:
        sys.modules["ngrok"] = real


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_a_call_through_ngrok(mode: str, notes: Path, tmp_path: Path, speech: np.ndarray) -> None:
    folder = tmp_path / "captures"
    with receive(0, folder, mode=mode, tunnel="ngrok", domain="kept.ngrok.app", token=True) as rx:
        assert rx.public_url.startswith("ws://127.0.0.1:")
        assert rx.public_url != rx.url
        assert rx.bot_url.get_secret_value().startswith(f"{rx.public_url}?token=")
        assert rx.public_url in repr(rx)
        truth = simulate(speech, rx.bot_url, speed=math.inf)
        rx.wait(packets=len(truth), timeout=10)
        again = receive(0, folder, mode=mode, tunnel="ngrok", domain="kept.ngrok.app", token=True)
        assert again.bot_url == rx.bot_url
        with pytest.raises(ReceiverFailed, match="401"):
            simulate(speech, rx.public_url, speed=math.inf)
    assert notes.read_text().split("\n") == [
        "domain kept.ngrok.app", "listener closed", "session closed", "",
    ]  # fmt: skip
    assert rx.status.state == "stopped"


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_what_ngrok_says_against_it_is_repeated_without_the_token(
    mode: str, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_NGROK", "fail")
    with pytest.raises(TunnelFailed, match=r"authtoken \*\*\* is not known ERR_NGROK_105") as e:
        receive(0, tmp_path / "captures", mode=mode, tunnel="ngrok", token=True)
    assert AUTHTOKEN not in str(e.value)


def test_a_tunnel_that_gives_no_address_is_given_up(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_module, "OPEN_TIMEOUT", 2.0)
    monkeypatch.setenv("STANDIN_NGROK", "hang")
    monkeypatch.setenv("STANDIN_CLOUDFLARED", "silent")
    for name in ("ngrok", "cloudflared"):
        with pytest.raises(TunnelFailed, match=f"{name} gave no address within"):
            receive(0, tmp_path / "captures", mode="thread", tunnel=name, token=True)
    assert ended(notes)


def test_a_connection_that_ngrok_loses_is_told(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_NGROK", "drop")
    with receive(0, tmp_path / "captures", mode="thread", tunnel="ngrok", token=True) as rx:
        wait_for(lambda: "lost its connection" in rx.status.trouble)
        assert "connection reset" in repr(rx)
        assert "connection reset" in rx._repr_html_()


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_cloudflared_tells_its_address_and_ends_with_the_receiver(
    mode: str, notes: Path, tmp_path: Path
) -> None:
    with receive(0, tmp_path / "captures", mode=mode, tunnel="cloudflared", token=True) as rx:
        assert rx.public_url == "wss://stand-in-only-here.trycloudflare.com/"
        assert psutil.pid_exists(pid_in(notes))
    assert ended(notes)


def test_cloudflared_that_fails_or_dies_is_told_with_its_own_words(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_CLOUDFLARED", "fail")
    with pytest.raises(TunnelFailed, match=r"has ended \(code 1\).*no such host"):
        receive(0, tmp_path / "captures", mode="thread", tunnel="cloudflared", token=True)
    monkeypatch.setenv("STANDIN_CLOUDFLARED", "die")
    with receive(0, tmp_path / "captures", tunnel="cloudflared", token=True) as rx:
        wait_for(lambda: "Serve tunnel error" in rx.status.trouble)
        assert rx.alive  # what comes over another way is received still
        from recall_lab.notebook.live import Live
        from recall_lab.notebook.panel import html_of, text_of

        look = Live(rx).look()
        assert "stand-in-only-here.trycloudflare.com" in text_of(look)
        assert "Serve tunnel error" in text_of(look)
        assert "Serve tunnel error" in html_of(look)


def test_cloudflared_does_not_outlive_a_receiver_that_was_killed(
    notes: Path, tmp_path: Path
) -> None:
    rx = receive(0, tmp_path / "captures", tunnel="cloudflared", token=True)
    os.kill(rx._host._state.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    wait_for(lambda: ended(notes))
    assert rx.stop().state == "failed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_ended_while_it_opens_leaves_nothing(
    number: int, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_CLOUDFLARED", "silent")
    command = [sys.executable, "-m", "recall_lab.cli", "receive", "--port", "0", "--token"]
    with subprocess.Popen([*command, "--tunnel", "cloudflared"], cwd=tmp_path) as running:
        wait_for(lambda: notes.exists() and "pid" in notes.read_text())
        running.send_signal(number)
        assert running.wait(10) == 0
    wait_for(lambda: ended(notes))


def test_an_interrupt_while_it_opens_leaves_nothing(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_CLOUDFLARED", "silent")
    for mode in ("process", "thread"):
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"import recall_lab as rl; rl.receive(0, 'captures', mode='{mode}', token=True, "
            "tunnel='cloudflared')"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE
        ) as running:
            wait_for(lambda: notes.exists() and "pid" in notes.read_text())
            running.send_signal(signal.SIGINT)
            assert b"KeyboardInterrupt" in running.communicate(timeout=10)[1]
        wait_for(lambda: ended(notes))
        wait_for(lambda: not list(states()))
        notes.unlink()


def test_a_second_notebook_waits_for_the_tunnel_that_the_first_opens(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_CLOUDFLARED", "slow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start() -> Receiver:
        return receive(port, tmp_path / "captures", tunnel="cloudflared", token=True)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(start)
        wait_for(lambda: any(state.port == port for state in states()))
        second = start()
        assert second.public_url == "wss://stand-in-only-here.trycloudflare.com/"
        with first.result() as rx:
            assert rx.id == second.id
            second.stop()


def test_the_tunnel_leads_to_where_the_receiver_listens(notes: Path, tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with receive(0, tmp_path / "captures", "::1", tunnel="cloudflared", token=True) as rx:
        assert f"--url http://[::1]:{rx.port}" in notes.read_text()


def test_a_session_of_ngrok_is_closed_when_the_rest_fails(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_NGROK", "no endpoint")
    with pytest.raises(TunnelFailed, match="limit of endpoints"):
        receive(0, tmp_path / "captures", mode="thread", tunnel="ngrok", token=True)
    assert "session closed" in notes.read_text()


def test_what_is_not_there_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidArgument, match="'ngrok' or 'cloudflared'"):
        receive(0, tmp_path, tunnel="pigeon", token=True)
    with pytest.raises(MissingSetting, match="NGROK_AUTHTOKEN"):
        receive(0, tmp_path, tunnel="ngrok", token=True)
    with pytest.raises(TunnelFailed, match="not on the PATH"):
        receive(0, tmp_path, tunnel="cloudflared", token=True)
    with pytest.raises(InvalidArgument, match="named tunnel"):
        receive(0, tmp_path, tunnel="cloudflared", domain="x.example.org", token=True)
    with pytest.raises(InvalidArgument, match="beside a tunnel"):
        monkeypatch.setenv("NGROK_AUTHTOKEN", AUTHTOKEN)
        receive(0, tmp_path, tunnel="ngrok", public_url="wss://x.example.org/", token=True)
    monkeypatch.setattr(tunnel_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"recall_lab\[tunnel\]"):
        receive(0, tmp_path, tunnel="ngrok", token=True)
    assert list(tmp_path.iterdir()) == []


def test_a_tunnel_needs_a_secret_or_a_token(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="opened to the internet by ngrok"):
        receive(0, tmp_path, tunnel="ngrok")


def test_the_stand_in_has_the_interface_of_the_real_sdk() -> None:
    real = pytest.importorskip("ngrok")
    assert not str(real.__file__).startswith(str(STANDINS))
    for name, methods in {
        "SessionBuilder": ("authtoken", "handle_heartbeat", "handle_disconnection", "connect"),
        "Session": ("http_endpoint", "close"),
        "HttpListenerBuilder": ("domain", "listen_and_forward"),
        "Listener": ("url", "close"),
    }.items():
        for method in methods:
            assert callable(getattr(getattr(real, name), method))
    builder = real.SessionBuilder().authtoken("x").handle_heartbeat(print)
    assert isinstance(builder.handle_disconnection(print), real.SessionBuilder)


def pid_in(notes: Path) -> int:
    [line] = [line for line in notes.read_text().splitlines() if line.startswith("pid ")]
    return int(line.split()[1])


def ended(notes: Path) -> bool:
    return "ended" in notes.read_text() and not psutil.pid_exists(pid_in(notes))


def wait_for(happened: object, timeout: float = 10.0) -> None:
    until = time.monotonic() + timeout
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)
