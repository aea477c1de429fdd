"""The receiver as a notebook sees it, over both ways of running the server."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from IPython.terminal.interactiveshell import TerminalInteractiveShell

import recall_lab as rl
from recall_lab.bots.client import Client
from recall_lab.capture.record import Flag
from recall_lab.errors import (
    InvalidArgument,
    PortInUse,
    ReceiverFailed,
    StreamNotFound,
    WaitTimeout,
)
from recall_lab.fake_recall.api import FakeRecall
from recall_lab.loading import load
from recall_lab.receiver.background import start as start_module
from recall_lab.receiver.background.handle import Receiver
from recall_lab.receiver.background.registry import State, ends, log_path, states
from recall_lab.receiver.background.start import receive, receivers
from recall_lab.simulator.api import simulate, start_simulation


@pytest.fixture(params=["process", "thread"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    for receiver in receivers():
        receiver.stop()


def play(rx: Receiver, speech: np.ndarray, recording: str = "r1", **options: object) -> int:
    """Send it all as fast as it goes, and wait until it is kept."""
    before = rx.status.packets
    truth = simulate(speech, rx.url, speed=math.inf, recording=recording, **options)  # type: ignore[arg-type]
    deadline = time.monotonic() + 10
    while rx.status.packets < before + len(truth):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return len(truth)


def pid_of(rx: Receiver) -> int:
    return next(state.pid for state in states() if state.id == rx.id)


def test_from_the_first_packet_to_the_files(mode: str, tmp_path: Path, speech: np.ndarray) -> None:
    with receive(0, tmp_path / "captures", mode=mode) as rx:
        assert rx.packets().empty
        assert rx.alive
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/", rx.url)
        count = play(rx, speech)
        assert rx.status.recordings == 1
        assert rx.status.bytes == speech.nbytes
        assert len(rx.packets()) == count
        np.testing.assert_array_equal(rx.capture().samples, speech)
        row = rx.recordings().iloc[0]
        assert (row["recording"], row["packets"], row["seconds"]) == ("r1", count, 12.0)
    assert rx.status.state == "stopped"
    assert not rx.alive
    np.testing.assert_array_equal(load(tmp_path / "captures" / "r1.bin").samples, speech)
    assert len(rx.packets()) == count  # what was kept can still be looked at


def test_the_frame_grows_while_it_runs(mode: str, tmp_path: Path, speech: np.ndarray) -> None:
    with receive(0, tmp_path, mode=mode) as rx:
        bot = start_simulation(speech, rx.url, speed=12, packet=0.02, recording="live")
        rx.wait(packets=50, timeout=10)
        early = rx.packets()
        kept = early.copy()
        rx.wait(packets=len(early) + 50, timeout=10)
        assert len(rx.packets()) > len(early)
        assert early.equals(kept)
        truth = bot.wait(20)
        rx.wait(packets=len(truth), timeout=10)
        assert len(rx.capture("live").packets) == len(truth)


def test_running_the_cell_again_gives_the_same_receiver(
    mode: str, tmp_path: Path, speech: np.ndarray
) -> None:
    rx = receive(0, tmp_path, mode=mode)
    count = play(rx, speech)
    again = receive(0, str(tmp_path), mode=mode)
    assert again is rx
    assert len(again.packets()) == count
    rx.stop()
    assert rx.stop().state == "stopped"


def test_other_settings_restart_it_on_the_same_port(
    mode: str, tmp_path: Path, speech: np.ndarray
) -> None:
    rx = receive(0, tmp_path / "one", mode=mode)
    play(rx, speech)
    other = receive(rx.port, tmp_path / "two", mode=mode)
    assert other.id != rx.id
    assert other.port == rx.port
    assert not rx.alive
    play(other, speech)
    for folder in ("one", "two"):
        np.testing.assert_array_equal(load(tmp_path / folder / "r1.bin").samples, speech)
    third = receive(rx.port, tmp_path / "two", mode="thread" if mode == "process" else "process")
    assert third.port == rx.port
    assert not other.alive


def test_it_survives_autoreload(mode: str, tmp_path: Path, speech: np.ndarray) -> None:
    rx = receive(0, tmp_path, mode=mode)
    play(rx, speech)
    importlib.reload(start_module)  # what %autoreload does with a changed file
    again = start_module.receive(0, tmp_path, mode=mode)
    assert again.id == rx.id
    assert len(again.packets()) == len(rx.packets())


def test_a_kernel_that_restarts_finds_its_receiver_and_loses_nothing(
    tmp_path: Path, speech: np.ndarray
) -> None:
    wanted = free_port()
    cell = (
        "import recall_lab as rl, sys\n"
        f"rx = rl.receive({wanted}, {str(tmp_path)!r})\n"
        "print(rx.id, rx.port, len(rx.packets()), flush=True)\n"
        "sys.stdin.readline()\n"
    )

    def kernel() -> tuple[subprocess.Popen[str], list[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", cell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, process.stdout.readline().split()

    first, (id_, port, _) = kernel()
    url = f"ws://127.0.0.1:{port}/"
    bot = start_simulation(speech, url, speed=8, packet=0.02, recording="call")
    time.sleep(0.4)
    first.kill()  # as a kernel's restart or crash does
    first.wait()
    time.sleep(0.2)
    second, (again, port_again, seen) = kernel()
    assert (again, port_again) == (id_, port)
    assert int(seen) > 0
    truth = bot.wait(20)
    assert (truth["outcome"] == "sent").all()
    rx = receive(wanted, tmp_path)
    rx.wait(packets=len(truth), timeout=10)
    np.testing.assert_array_equal(rx.capture().samples, speech)
    for process in (first, second):
        with process:
            process.kill()


def test_the_child_ends_when_nobody_is_there_any_more(tmp_path: Path) -> None:
    rx = receive(0, tmp_path, idle_timeout=0.4)
    pid = pid_of(rx)
    time.sleep(0.8)
    assert rx.alive  # somebody is: this test
    rx._host.close()
    assert ended(pid)
    assert rx.id not in {state.id for state in states()}


def ended(pid: int, within: float = 10) -> bool:
    """Wait for a process that is not our child to end."""
    deadline = time.monotonic() + within
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_its_end_is_told_in_the_journal_the_log_and_the_status(tmp_path: Path) -> None:
    rx = receive(0, tmp_path, idle_timeout=0.4)
    assert rx.status.stays == "while it is in use, and 0.4 s after"
    assert "stays while it is in use" in repr(rx)
    log = log_path(rx.id)
    rx._host.close()
    assert ended(pid_of(rx))
    why = "no notebook was attached and no bot connected for 0.4 s"
    journal = (tmp_path / "_receiver.events.jsonl").read_text()
    lines = [json.loads(line) for line in journal.splitlines()]
    assert [(line["kind"], line["reason"]) for line in lines] == [("ended", why)]
    assert log.read_text() == f"ended, 0 packets kept: {why}\n"
    told = ends()[0]
    assert (told.id, told.why, told.packets, told.directory) == (rx.id, why, 0, str(tmp_path))
    assert why in rx.status.last_error


def test_it_stays_until_it_is_stopped(tmp_path: Path) -> None:
    rx = receive(free_port(), tmp_path, idle_timeout=0.2)
    pid = pid_of(rx)
    again = receive(rx.port, tmp_path, idle_timeout=None)  # longer, and the same receiver
    assert again.id == rx.id
    assert again.status.stays == "until it is stopped"
    shorter = receive(rx.port, tmp_path, idle_timeout=5)
    assert (shorter.id, shorter.status.stays) == (rx.id, "until it is stopped")
    for one in (rx, again, shorter):
        one._host.close()
    assert not ended(pid, within=1.5)
    rx.stop()
    assert ended(pid)
    assert ends()[0].why == f"process {os.getpid()} stopped it"


def test_it_waits_for_a_bot_that_is_scheduled(tmp_path: Path, root: Path) -> None:
    rx = receive(0, tmp_path, idle_timeout=0.2)
    with FakeRecall(root / "data" / "standup.wav", speed=8) as fake:
        when = datetime.now(UTC) + timedelta(seconds=3)
        with Client(fake.key, base_url=fake.base_url) as client:
            client.create("https://meet.example.org/x", rx, join_at=when)
    assert "a bot is to come at" in rx.status.stays
    pid = pid_of(rx)
    rx._host.close()
    assert not ended(pid, within=1.5)
    assert ended(pid)


def test_one_that_was_killed_is_told_as_such(tmp_path: Path) -> None:
    rx = receive(0, tmp_path)
    os.kill(pid_of(rx), signal.SIGKILL)
    assert ended(pid_of(rx))
    assert rx.id not in [one.id for one in receivers()]
    assert "it was killed" in ends()[0].why
    assert ends()[0].id == rx.id


def test_the_child_loads_nothing_of_arrow(tmp_path: Path) -> None:
    importlib.import_module("pyarrow")  # it is there to be loaded
    rx = receive(0, tmp_path)
    mapped = {Path(file.path).name for file in psutil.Process(pid_of(rx)).memory_maps()}
    assert any("python" in name for name in mapped)
    assert not {name for name in mapped if "arrow" in name}


def test_killed_it_says_so_and_the_next_one_goes_on(tmp_path: Path, speech: np.ndarray) -> None:
    rx = receive(0, tmp_path)
    count = play(rx, speech)
    os.kill(pid_of(rx), signal.SIGKILL)
    with pytest.raises(ReceiverFailed, match="has stopped"):
        rx.wait(packets=count + 1, timeout=10)
    assert rx.status.state == "failed"
    assert "is gone; run the start cell again" in rx.status.last_error
    assert "failed" in repr(rx)
    assert len(rx.packets()) == count
    again = receive(rx.port, tmp_path)
    assert again.id != rx.id
    play(again, speech)
    packets = again.packets("r1")
    assert len(packets) == 2 * count
    assert packets["connection"].unique().tolist() == [1, 2]
    assert np.flatnonzero(packets["flags"] & int(Flag.RESUMED)).tolist() == [count]
    assert not again.capture("r1").damage
    assert rx.stop().state == "failed"


def test_it_is_never_mistaken_for_a_stranger(tmp_path: Path, runtime: Path) -> None:
    rx = receive(0, tmp_path)
    state = next(state for state in states() if state.id == rx.id)
    forged = {
        "id": "feedface",
        "pid": os.getpid(),  # alive, but began at another time than the note says
        "created": state.created + 1000,
        "port": state.port,
        "settings": json.loads((runtime / f"{rx.id}.json").read_text())["settings"],
        "started": state.started,
    }
    (runtime / "feedface.json").write_text(json.dumps(forged))
    (runtime / "broken.json").write_text("{")
    (runtime / "0badcafe.json").write_text(json.dumps(forged | {"id": "../../x"}))
    assert [found.id for found in receivers()] == [rx.id]
    assert not (runtime / "feedface.json").exists()
    # a note with a living pid whose socket is answered by another receiver
    same = State(
        id="deadbeef",
        pid=state.pid,
        created=state.created,
        port=1,
        settings=state.settings,
        started=0,
    )
    os.link(state.socket, runtime / "deadbeef.sock")
    (runtime / "deadbeef.json").write_text(json.dumps(forged | {"id": "deadbeef", "pid": same.pid}))
    assert [found.id for found in receivers()] == [rx.id]
    assert psutil.pid_exists(os.getpid())


def test_one_that_does_not_answer_is_ended_all_the_same(
    tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recall_lab.receiver.background import hosts

    rx = receive(0, tmp_path)
    count = play(rx, speech)
    os.kill(pid_of(rx), signal.SIGSTOP)
    monkeypatch.setattr(hosts, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(hosts, "STOP_TIMEOUT", 0.3)
    assert rx.status.state == "failed"
    assert "does not answer" in rx.status.last_error
    status = rx.stop()
    assert status.state == "failed"
    assert status.packets == count
    assert len(load(tmp_path / "r1.bin").packets) == count


def test_a_port_of_another_program_is_not_taken_and_no_other_is_used(
    mode: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} is in use by .*process {os.getpid()}"):
            receive(port, tmp_path, mode=mode)


@contextlib.contextmanager
def another_notebook(folder: Path, port: int = 0) -> Iterator[tuple[int, str, int]]:
    """A second process that receives into `folder`: its pid, and the receiver's id and port."""
    cell = (
        "import recall_lab as rl, sys\n"
        f"rx = rl.receive({port}, {str(folder)!r})\n"
        "print(rx.id, rx.port, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", cell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as notebook:
        assert notebook.stdout is not None
        id_, port = notebook.stdout.readline().split()
        yield notebook.pid, id_, int(port)
        notebook.communicate("\n")


def test_another_notebooks_receiver_is_shared_or_left_alone(tmp_path: Path) -> None:
    port = free_port()
    with another_notebook(tmp_path / "a", port) as (pid, id_, _):
        with receive(port, tmp_path / "a") as shared:
            assert shared.id == id_
        assert [one.id for one in receivers()] == [id_]  # it is left, and not stopped
        with pytest.raises(PortInUse, match=f"process {pid} uses too") as caught:
            receive(port, tmp_path / "b")
        assert f"the same settings would share it: directory='{tmp_path / 'a'}'" in str(
            caught.value
        )
        assert receive(port, tmp_path / "b", replace=True).id != id_


def test_who_else_uses_it_is_asked_when_it_matters(tmp_path: Path) -> None:
    rx = receive(free_port(), tmp_path / "a")
    with another_notebook(tmp_path / "a", rx.port) as (pid, id_, _):
        assert id_ == rx.id
        with pytest.raises(PortInUse, match=f"process {pid} uses too"):
            receive(rx.port, tmp_path / "b")
    other = receive(rx.port, tmp_path / "b")  # it has gone: now we may
    assert other.port == rx.port


def test_any_free_port_is_one_that_no_other_script_has(tmp_path: Path) -> None:
    with another_notebook(tmp_path) as (_, id_, port):
        with receive(0, tmp_path) as rx:
            assert (rx.id != id_, rx.port != port) == (True, True)
            assert receive(0, tmp_path).id == rx.id  # a cell that is run again
        assert [one.id for one in receivers()] == [id_]


def test_a_receiver_with_bots_is_not_taken_over(
    mode: str, tmp_path: Path, speech: np.ndarray
) -> None:
    rx = receive(free_port(), tmp_path / "a", mode=mode)
    bot = start_simulation(speech, rx.url, speed=4, recording="call")
    rx.wait(packets=2, timeout=10)
    with pytest.raises(PortInUse, match="that 1 bot is connected to"):
        receive(rx.port, tmp_path / "b", mode=mode)
    truth = bot.wait(20)
    assert (truth["outcome"] == "sent").all()
    assert truth["connection"].nunique() == 1
    bot = start_simulation(speech, rx.url, speed=4, recording="other")
    rx.wait(packets=len(truth) + 2, timeout=10)
    other = receive(rx.port, tmp_path / "b", mode=mode, replace=True)
    assert other.id != rx.id
    bot.wait(20)


def test_two_hosts_do_not_stop_one_another(tmp_path: Path) -> None:
    one = receive(free_port(), tmp_path, "127.0.0.1")
    other = receive(one.port, tmp_path, "127.0.0.2")
    assert one.alive
    assert other.port == one.port
    again = receive(one.port, tmp_path / "b", "localhost")  # the same address by its name
    assert not one.alive
    assert other.alive
    assert again.port == one.port


def test_the_default_folder_is_where_the_kernel_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell = TerminalInteractiveShell.instance()
    try:
        (tmp_path / "deep").mkdir()
        shell.run_line_magic("cd", "-q deep")
        with receive(0) as rx:
            assert rx.directory == tmp_path / "captures"
    finally:
        TerminalInteractiveShell.clear_instance()
    with receive(0) as rx:  # a program's own folder
        assert rx.directory == tmp_path / "deep" / "captures"


def test_a_clock_that_is_set_does_not_make_it_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rx = receive(0, tmp_path)
    boot, began = psutil.boot_time, psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: boot() + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) + 3600)
    assert rx.alive
    assert [found.id for found in receivers()] == [rx.id]


def test_a_process_forked_from_a_thread_receiver_holds_neither_port_nor_capture(
    tmp_path: Path, speech: np.ndarray
) -> None:
    script = (
        "import os, math, sys, time, numpy as np, recall_lab as rl\n"
        "from recall_lab.receiver.background.start import receive\n"
        f"folder = {str(tmp_path / 'c')!r}\n"
        "rx = rl.receive(0, folder, mode='thread')\n"
        "audio = np.ones(3200, '<i2')\n"
        "rl.simulate(audio, rx.url, speed=math.inf, recording='r')\n"
        "rx.wait(packets=1, timeout=5)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(30); os._exit(0)\n"
        "rx.stop()\n"
        "again = rl.receive(rx.port, folder, mode='thread')\n"
        "rl.simulate(audio, again.url, speed=math.inf, recording='r')\n"
        "again.wait(packets=2, timeout=5)\n"
        "print(again.stop().rejected)\n"
        "os.kill(child, 9); os.waitpid(child, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "{}\n", done.stderr


def test_two_cells_at_once_start_one_receiver(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found: list[Receiver] = []
    cells = [
        threading.Thread(target=lambda: found.append(receive(port, tmp_path))) for _ in range(2)
    ]
    for cell in cells:
        cell.start()
    for cell in cells:
        cell.join()
    assert len({rx.id for rx in found}) == 1


def test_streams_are_named_when_there_are_several(
    mode: str, tmp_path: Path, speech: np.ndarray
) -> None:
    with receive(0, tmp_path, mode=mode) as rx:
        with pytest.raises(StreamNotFound, match="nothing has been received yet"):
            rx.capture()
        play(rx, speech[:8000], "r1", participant=5)
        assert len(rx.packets()) == 3
        play(rx, speech[:16_000], "r1")
        assert len(rx.packets()) == 5  # the mixed stream speaks for the recording
        assert len(rx.packets(participant=5)) == 3
        play(rx, speech[:3200], "r2")
        assert len(rx.packets()) == 1  # of the newest recording
        with pytest.raises(StreamNotFound, match=r"no stream 'r2\.5' of the newest"):
            rx.packets(participant=5)
        assert len(rx.packets("r1", 5)) == 3
        play(rx, speech[:3200], "r3", participant=1)
        play(rx, speech[:3200], "r3", participant=2)
        with pytest.raises(StreamNotFound, match="name the participant") as caught:
            rx.packets()
        assert sorted(caught.value.choices) == ["r3.1", "r3.2"]
        with pytest.raises(StreamNotFound, match=r"no stream 'r4'"):
            rx.packets("r4")
        with pytest.raises(InvalidArgument):
            rx.packets("../r1")
        assert len(rx.packets("r2")) == 1


def test_captures_of_earlier_runs_in_the_folder_are_not_this_receivers(
    tmp_path: Path, speech: np.ndarray
) -> None:
    with receive(0, tmp_path, mode="thread") as rx:
        play(rx, speech, "old")
    with receive(0, tmp_path, mode="thread") as rx:
        assert rx.recordings().empty
        play(rx, speech[:3200], "new")
        assert rx.recordings()["recording"].tolist() == ["new"]
        play(rx, speech[:3200], "old")  # resumed: now it is
        assert set(rx.recordings()["recording"]) == {"old", "new"}


def test_waiting_has_three_ends_and_a_limit(mode: str, tmp_path: Path, speech: np.ndarray) -> None:
    with receive(0, tmp_path, mode=mode) as rx:
        with pytest.raises(WaitTimeout, match="0 packets"):
            rx.wait(packets=1, timeout=0.1)
        with pytest.raises(InvalidArgument):
            rx.wait()
        with pytest.raises(InvalidArgument):
            rx.wait(packets=1, idle=1)
        bot = start_simulation(speech, rx.url, speed=24, packet=0.1)
        assert rx.wait(packets=10, timeout=10) >= 10
        assert rx.wait(seconds=6.0, timeout=10) >= 60
        assert rx.wait(idle=0.3, timeout=10) == 120
        bot.wait()


def test_an_interrupt_ends_waiting_cleanly(tmp_path: Path) -> None:
    with receive(0, tmp_path, mode="thread") as rx:
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            rx.wait(packets=1, timeout=10)
        timer.join()
        assert rx.alive
        assert rx.status.state == "running"


def test_an_interrupt_of_the_kernels_group_does_not_reach_the_child(tmp_path: Path) -> None:
    rx = receive(0, tmp_path)
    assert os.getpgid(pid_of(rx)) != os.getpgid(0)
    assert os.getsid(pid_of(rx)) != os.getsid(0)


def test_reprs_are_one_line_and_escape_what_is_foreign(tmp_path: Path) -> None:
    folder = tmp_path / "<b>captures"
    with receive(0, folder, mode="thread") as rx:
        assert "\n" not in repr(rx)
        assert "<b>" not in rx._repr_html_()
        assert "&lt;b&gt;captures" in rx._repr_html_()


def test_a_start_that_fails_says_why(mode: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReceiverFailed, match="nothing can be kept"):
        receive(0, tmp_path / "file", mode=mode)
    with pytest.raises(InvalidArgument, match="mode"):
        receive(0, tmp_path, mode="fork")


def test_nothing_is_left_open(tmp_path: Path, speech: np.ndarray) -> None:
    with receive(0, tmp_path, mode="thread") as rx:
        play(rx, speech)
    gc.collect()
    before = psutil.Process().num_fds()
    threads = threading.active_count()
    for _ in range(3):
        for mode in ("process", "thread"):
            with receive(0, tmp_path, mode=mode) as rx, contextlib.suppress(StreamNotFound):
                play(rx, speech)
                rx.capture("r1")
    del rx
    gc.collect()
    assert psutil.Process().num_fds() <= before
    assert threading.active_count() <= threads


def test_gaps_are_counted_live_by_the_rule_of_the_analysis(tmp_path: Path, root: Path) -> None:
    with rl.receive(0, tmp_path) as rx:
        for name in ("standup-lossy", "standup-broken.100"):
            old = rl.load(root / f"data/{name}.bin")
            rl.simulate(old, rx.url, speed=math.inf, recording=name.split(".")[0])
        rx.wait(idle=0.5, timeout=20)
        kept = [rl.load(path) for path in rx.recordings()["path"]]
        found = pd.concat([rl.gaps(one) for one in kept]).query("kind == 'gap'")
        assert len(found) == 11
        assert rx.status.gaps == len(found)
        assert rx.status.missing == pytest.approx(found["duration"].sum(), abs=1e-5)
    # a second run goes on where the first one stopped
    with rl.receive(0, tmp_path) as rx:
        rl.simulate(
            np.ones(16_000, np.int16),
            rx.url,
            speed=math.inf,
            recording="standup-lossy",
            relative=20,
        )
        rx.wait(idle=0.5, timeout=20)
        rows = rl.gaps(rl.load(tmp_path / "standup-lossy.bin")).query("kind == 'gap'")
        assert rows["cause"].tolist()[-1] == "receiver restart"
        assert rx.status.gaps == len(rows)
