"""The command line, run as a person runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.terminal import COMMAND, run

import recall_lab as rl
from recall_lab.analysis.time.gaps import discontinuities
from recall_lab.loading import load


@pytest.fixture
def audio(tmp_path: Path, speech: np.ndarray) -> Path:
    path = tmp_path / "speech.bin"
    speech.tofile(path)
    return path


def test_receive_and_simulate_and_info(tmp_path: Path, audio: Path, speech: np.ndarray) -> None:
    with subprocess.Popen(
        [*COMMAND, "receive", "--port", "0", "--directory", "kept"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as receiver:
        assert receiver.stdout is not None
        url = receiver.stdout.readline().split()[2]
        printed = run(
            "simulate", audio, url, "--speed", "inf", "--recording", "r1", "--loss", "0.1",
            "--seed", "3", "--truth", "truth.csv", cwd=tmp_path,
        )  # fmt: skip
        receiver.send_signal(signal.SIGINT)
        last = receiver.stdout.read()
    assert receiver.returncode == 0
    truth = pd.read_csv(tmp_path / "truth.csv")
    sent = int((truth["outcome"] == "sent").sum())
    assert f"{sent} sent" in printed
    assert f"{sent} packets" in last
    assert len(load(tmp_path / "kept" / "r1.bin").packets) == sent
    told = run("info", "kept/r1.bin", "--verify", "--plot", "r1.png", cwd=tmp_path)
    assert f"in {sent} packets" in told
    assert "0 of them damaged" in told
    assert (tmp_path / "r1.png").read_bytes()[:4] == b"\x89PNG"


def test_in_the_background_until_told_to_stop(tmp_path: Path) -> None:
    assert "end it with" in run("receive", "--background", "--port", "0", cwd=tmp_path)
    listed = run("status", cwd=tmp_path)
    assert str(tmp_path / "captures") in listed
    port = listed.split("ws://127.0.0.1:")[1].split("/")[0]
    assert "no receiver" in run("stop", "--port", "1", cwd=tmp_path, code=1)
    assert "stays until it is stopped" in listed
    assert "stopped" in run("stop", "--port", port, cwd=tmp_path)
    after = run("status", cwd=tmp_path)
    assert "no receiver" in after
    assert f"0 packets kept: ws://127.0.0.1:{port}/ into {tmp_path / 'captures'}" in after
    run("receive", "--background", "--port", "0", "--idle-timeout", "0.3", cwd=tmp_path)
    time.sleep(1.5)
    after = run("status", cwd=tmp_path)
    assert "no receiver" in after
    assert "no notebook was attached and no bot connected for 0.3 s" in after


def test_messages_of_a_tape_are_sent(tmp_path: Path) -> None:
    (tmp_path / "tape").write_text('{"event": "transcript.data", "data": {}}\n' * 3)
    with rl.receive(0, tmp_path / "kept") as rx:
        assert run("replay", "tape", rx.url, cwd=tmp_path) == "3 messages sent\n"
        deadline = time.monotonic() + 10
        while rx.status.events < 3:
            assert time.monotonic() < deadline


def test_the_demo_shows_what_is_missing_and_why(tmp_path: Path) -> None:
    printed = run("demo", "--speed", "40", cwd=tmp_path)
    for part in ("What was kept", "told by", "poor: 4.70 of 56.4 s are missing", "damage     none"):
        assert part in printed
    assert (tmp_path / "demo" / "overview.png").stat().st_size > 20_000
    # what the analysis says is what the bot did
    found = re.search(r"reconnect ([\d.]+) s, loss ([\d.]+) s", printed)
    truth = re.search(r"the bot: ([\d.]+) s lost, ([\d.]+) s outage", printed)
    assert found is not None
    assert truth is not None
    assert found.groups() == truth.groups()[::-1]
    # it is a replay: once its report said drift +9,005,670 ppm
    page = (tmp_path / "demo" / "report.html").read_text()
    for told in (printed, page):
        assert "a replay at" in told
        assert not re.search(r"[+-]\d[\d,]{3,}(\.\d+)? ppm", told)
    assert '<td>jitter_ms</td><td class="number">not told: a replay</td>' in page


def test_gaps_as_a_table_as_csv_as_json_and_as_a_picture(tmp_path: Path, root: Path) -> None:
    capture = root / "data/standup-broken.100"
    told = run("gaps", capture, "--csv", "g.csv", "--plot", "g.png", cwd=tmp_path)
    assert re.search(r"31\.880 +34\.860 +2\.980  reconnect  connection 1 broke", told)
    assert "missing: 5.320 s in 5 gaps (reconnect 2.980 s, mute 1.920 s, silence 0.420 s)" in told
    found = discontinuities(load(capture))
    assert pd.read_csv(tmp_path / "g.csv")["cause"].tolist() == found["cause"].tolist()
    assert (tmp_path / "g.png").read_bytes()[:4] == b"\x89PNG"
    parsed = json.loads(run("gaps", capture, "--json", "--call", "20", "40", cwd=tmp_path))
    assert parsed["quality"]["span_s"] == 20
    assert [row["cause"] for row in parsed["gaps"]][::6] == ["unknown", "unknown"]
    lossy = run("gaps", root / "data/standup-lossy", "--all", "--csv", "l.csv", cwd=tmp_path)
    kinds = ["duplicate", "gap", "reordered"]
    assert sorted(pd.read_csv(tmp_path / "l.csv")["kind"].unique()) == kinds
    parsed = json.loads(run("gaps", root / "data/standup-lossy", "--json", cwd=tmp_path))
    assert {row["kind"] for row in parsed["gaps"]} == {"gap"}
    assert sorted({row["kind"] for row in parsed["discontinuities"]}) == kinds
    assert lossy.count("duplicate") == 7
    assert "also: 6 duplicate, 6 reordered" in lossy
    (tmp_path / "bare.bin").write_bytes(bytes(32_000))
    assert "no packets" in run("gaps", "bare.bin", cwd=tmp_path, code=1)


def test_save_and_report(tmp_path: Path, root: Path) -> None:
    lossy = root / "data/standup-lossy"
    assert "saved a.flac (0." in run("save", lossy, "a.flac", "--start", "2", cwd=tmp_path)
    assert soundfile.info(tmp_path / "a.flac").duration == 10
    run("save", lossy, "raw.wav", "--raw", cwd=tmp_path)
    assert soundfile.info(tmp_path / "raw.wav").duration == load(lossy).duration
    assert "ends in .wav" in run("save", lossy, "a.xyz", cwd=tmp_path, code=1)
    assert "the report: r.html" in run("report", lossy, "-o", "r.html", cwd=tmp_path)
    assert "1.10 of 12.0 s are missing in 6 gaps" in (tmp_path / "r.html").read_text()
    assert "the report: standup-lossy.html" in run("report", lossy, cwd=tmp_path)


def test_compare_and_repair(tmp_path: Path, root: Path) -> None:
    capture, recording = root / "data" / "standup-lossy.bin", root / "data" / "standup.wav"
    told = run(
        "compare", capture, recording, "--repair", "whole.flac", "--plot", "c.png", cwd=tmp_path
    )
    assert re.search(r"^offset +[+-]0\.0000 s", told, re.MULTILINE)
    assert "gaps in the recording 6 of 6" in told
    assert (tmp_path / "c.png").stat().st_size > 10_000
    audio, _ = soundfile.read(tmp_path / "whole.flac", dtype="int16")
    original, _ = soundfile.read(recording, dtype="int16")
    assert np.corrcoef(audio, original[: len(audio)])[0, 1] > 0.999
    assert "polarity" not in told
    soundfile.write(tmp_path / "turned.wav", -original, 16_000)
    told = run("compare", capture, tmp_path / "turned.wav", cwd=tmp_path)
    assert re.search(r"^polarity +inverted$", told, re.MULTILINE)
    assert "note: the recording's wave is upside down: " in told
    np.random.default_rng(1).integers(-99, 99, 64_000).astype("<i2").tofile(tmp_path / "x.bin")
    told = run("compare", capture, tmp_path / "x.bin", cwd=tmp_path, code=1)
    assert "can't be aligned with this recording" in told


def test_a_broken_limit_is_exit_code_1(tmp_path: Path, root: Path) -> None:
    capture = root / "data/standup-lossy.bin"
    told = run("check", capture, cwd=tmp_path, code=1)
    assert re.search(r"finding: missing +9\.16667 +worst: warning +0\.1 +NO", told)
    assert "1 limit broken" in told
    (tmp_path / "p.toml").write_text('["longest_gap_s"]\nmax = 0.5\n[gaps]\nworse = 0\n')
    kept = run("check", capture, "--policy", "p.toml", "--baseline", capture, cwd=tmp_path)
    assert "all limits are kept" in kept
    assert "give a baseline" in run("check", capture, "--policy", "p.toml", cwd=tmp_path, code=1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["info", "nothing.bin"], "no capture at 'nothing.bin'"),
        (["simulate", "nothing.wav", "ws://127.0.0.1:9/"], "not a file"),
        (["simulate", "speech.bin", "http://example.org"], "url="),
        (["simulate", "speech.bin", "ws://127.0.0.1:9/", "--loss", "2"], "loss=2.0 is not valid"),
        (["receive", "--port", "99999"], "port=99999 is not valid"),
        (["receive", "--port", "0", "--directory", "speech.bin"], "nothing can be kept"),
    ],
)
def test_a_mistake_gets_a_sentence_and_exit_code_1(
    tmp_path: Path, audio: Path, arguments: list[str], told: str
) -> None:
    assert told in run(*arguments, cwd=tmp_path, code=1)


def test_a_command_not_understood_gets_usage_and_exit_code_2(tmp_path: Path) -> None:
    assert "usage: recall-lab" in run("recieve", cwd=tmp_path, code=2)
    assert "usage: recall-lab" in run(cwd=tmp_path, code=2)


def test_lab_copies_the_notebooks_and_never_over_yours(tmp_path: Path, root: Path) -> None:
    said = run("lab", "mine", "--copy-only", cwd=tmp_path)
    names = {path.name for path in (tmp_path / "mine" / "notebooks").iterdir()}
    assert names == {path.name for path in (root / "notebooks").glob("*.ipynb")}
    assert (tmp_path / "mine" / "data" / "standup.wav").is_file()
    assert "files copied" in said
    mine = tmp_path / "mine" / "notebooks" / "00_quickstart.ipynb"
    mine.write_text("my own work")
    (tmp_path / "mine" / "data" / "standup.csv").unlink()
    said = run("lab", "mine", "--copy-only", cwd=tmp_path)
    assert "1 file copied" in said
    assert "left as they are" in said
    assert mine.read_text() == "my own work"


def test_help_names_every_command(tmp_path: Path) -> None:
    told = run("--help", cwd=tmp_path)
    for command in (
        "receive",
        "simulate",
        "info",
        "gaps",
        "check",
        "compare",
        "save",
        "report",
        "demo",
        "fake-recall",
        "status",
        "stop",
    ):
        assert command in told
        assert "usage" in run(command, "--help", cwd=tmp_path)


def test_a_receiver_that_can_be_reached_from_outside_demands_something(tmp_path: Path) -> None:
    told = run("receive", "--port", 0, "--host", "0.0.0.0", cwd=tmp_path, code=1)
    assert "token=True" in told
    assert list(tmp_path.iterdir()) == []
    try:
        told = run("receive", "--port", 0, "--token", "--background", cwd=tmp_path)
        assert "token=" not in told
        shown = run("receive", "--port", 0, "--token", "--background", "--show-url", cwd=tmp_path)
        url = re.search(r"ws://\S+\?token=[\w-]{43}", shown)
        assert url is not None  # the same receiver, found again
        assert told.split()[2] == url[0].partition("?")[0]
    finally:
        run("stop", cwd=tmp_path)


def test_a_stand_in_of_recall_as_its_help_says(tmp_path: Path) -> None:
    """What it prints is a program that works."""
    with subprocess.Popen(
        [*COMMAND, "fake-recall", "--port", "0", "--speed", "30"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as fake:
        assert fake.stdout is not None
        lines = []
        while "client.create" not in "".join(lines):
            lines.append(fake.stdout.readline())
            assert lines[-1], lines
        program = textwrap.dedent("".join(lines[2:])) + (
            "bot = client.wait_until(bot, 'done', poll=0.1, progress=False)\n"
            "rx.wait(idle=0.2, timeout=10)\n"
            "print(bot.codes, rx.stop().packets)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        fake.send_signal(signal.SIGINT)
        assert "stopped" in fake.stdout.read()
    assert done.returncode == 0, done.stderr
    assert "'in_call_recording', 'call_ended', 'done'] 282" in done.stdout
    assert fake.returncode == 0
