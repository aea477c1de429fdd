"""A receiver that the system runs: what is written for it runs, and keeps its secrets."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from helpers.terminal import run

from recall_lab.cli.service import keep_token, unit
from recall_lab.receiver.access import Access


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_a_token_is_made_once_for_its_owners_eyes_only(tmp_path: Path) -> None:
    printed = run("service", "--token", "--", "--port", "0", cwd=tmp_path)
    path = tmp_path / "config" / "recall-lab" / "env"
    name, _, token = path.read_text().strip().partition("=")
    assert name == "RECALL_LAB_TOKEN"
    assert Access.checked(token=token).tokens == (token,)
    assert token not in printed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    run("service", "--token", cwd=tmp_path)
    assert path.read_text() == f"RECALL_LAB_TOKEN={token}\n"
    path.write_text("RECALL_API_KEY=k")
    keep_token(path)
    assert path.read_text().startswith("RECALL_API_KEY=k\nRECALL_LAB_TOKEN=")


def test_what_a_plist_runs_is_a_receiver_with_that_token(tmp_path: Path) -> None:
    folder = "a folder's"
    run("service", "--launchd", "--token", "--directory", folder, "-o", "agent.plist",
        "--", "--port", "0", "--public-url", "https://x.example.org/", cwd=tmp_path)  # fmt: skip
    agent = plistlib.loads((tmp_path / "agent.plist").read_bytes())
    assert (agent["KeepAlive"], agent["RunAtLoad"]) == (True, True)
    with subprocess.Popen(
        agent["ProgramArguments"], cwd="/", stdout=subprocess.PIPE, text=True, bufsize=1
    ) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(2)]
        running.send_signal(signal.SIGTERM)
        rest, _ = running.communicate(timeout=30)
    assert str(tmp_path / folder) in lines[0]
    assert "a bot needs a token" in lines[1]
    assert "stopped" in rest
    assert running.returncode == 0


def test_a_unit_starts_it_again_and_reads_odd_names(tmp_path: Path) -> None:
    command = ["/opt/my env/python", "-P", "100%", "a$b", 'say "x"', "back\\slash"]
    text = unit(command, tmp_path / "50%" / "env")
    for line in ("Restart=always", "RestartSec=1", "StartLimitIntervalSec=0"):
        assert f"\n{line}\n" in text
    assert f"EnvironmentFile=-{tmp_path}/50%%/env\n" in text
    (started,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(started.removeprefix("ExecStart="))
    assert [word.replace("%%", "%").replace("$$", "$") for word in words] == command


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    run("service", "-o", "recall-lab.service", "--", "--port", "0", cwd=tmp_path)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(tmp_path / "recall-lab.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "recall-lab.service" not in checked.stderr
