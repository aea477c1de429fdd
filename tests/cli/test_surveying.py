"""The commands `survey` and `archive`, run as a person runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from helpers.bucket import Bucket
from helpers.cluster import cluster
from helpers.many import write_captures
from helpers.paths import DATA
from helpers.terminal import COMMAND, run

from recall_lab.cli import main
from recall_lab.errors import StorageFailed


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surveying")
    write_captures(folder / "calls", 12, 5, damaged=1)
    return folder


def test_the_worst_are_listed_and_everything_is_written(calls: Path) -> None:
    told = run(
        "survey", "calls", "--worst", 1, "--csv", "x.csv", "--plot", "x.png", "--html", "x.html",
        "--dataset", "kept", cwd=calls,
    )  # fmt: skip
    lines = told.splitlines()
    assert lines[0].split() == ["stream", "begins", "there", "%", "why"]
    assert "s are missing in" in lines[1]
    assert lines[2].startswith("and ") and "--worst" in lines[2]
    assert lines[4].startswith("12 streams of 12 recordings, 2026-01-01 to 2026-01-12 (UTC)")
    assert len(pd.read_csv(calls / "x.csv")) == 12
    assert (calls / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert "<table>" in (calls / "x.html").read_text()
    assert len(list((calls / "x-reports").iterdir())) == 1
    assert len(pd.read_parquet(calls / "kept")) == 12


def test_it_needs_no_terminal_and_no_output(calls: Path) -> None:
    command = [*COMMAND, "survey", "calls", "--measures", "quality", "--csv", "silent.csv"]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], cwd=calls, timeout=60)
    assert done.returncode == 0
    assert len(pd.read_csv(calls / "silent.csv")) == 12


def test_a_stream_that_is_too_bad_is_exit_code_1(calls: Path) -> None:
    quick = ("survey", "calls", "--measures", "quality")
    assert "poor or worse" in run(*quick, "--fail-on", "poor", cwd=calls, code=1)
    run(*quick, "--fail-on", "failed", "--workers", 1, cwd=calls)


def test_an_archived_file_with_a_wrong_byte_is_exit_code_1(tmp_path: Path) -> None:
    (_, path) = write_captures(tmp_path / "calls", 2, 5)
    run("archive", path, "kept", "--flac", cwd=tmp_path)
    for kind in ("usable", "damaged"):
        assert "1 good" in run("survey", "kept", "--fail-on", kind, "--workers", 1, cwd=tmp_path)
    file = tmp_path / "kept" / "call-00001.flac"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)
    for kind in ("usable", "damaged"):
        told = run("survey", "kept", "--fail-on", kind, "--workers", 1, cwd=tmp_path, code=1)
        assert "call-00001" in told.splitlines()[1]
        assert "good" not in told
        assert f"1 stream is {kind} or worse" in told


def test_a_cluster_does_it_too(calls: Path) -> None:
    with cluster(1) as dask:
        told = run("survey", "calls", "--measures", "levels", "--dask", dask.address, cwd=calls)
    assert "12 streams of 12 recordings" in told


def test_what_a_disk_has_not_kept_is_found_and_not_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in DATA.glob("standup-lossy.*"):
        shutil.copy(path, tmp_path / path.name)
    audio = tmp_path / "standup-lossy.bin"
    before = audio.stat()

    def told(*more: str, code: int = 0) -> str:
        place, into = str(tmp_path), str(tmp_path / "kept")
        assert main(["survey", place, "--dataset", into, "--fail-on", "damaged", *more]) == code
        return capsys.readouterr().out

    told("--measures", "checksums")
    with audio.open("r+b") as file:
        file.write(b"\x55\xaa" * 4)
    os.utime(audio, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk does it
    told("--measures", "checksums")
    said = told("--measures", "checksums, quality", "--refresh", code=1)
    assert "damage: 1 packet with other audio than received" in said
    assert "1 stream is damaged or worse" in said
    assert "1 packet with other audio" in told(code=1)  # of another survey, with other measures


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("survey", "nothing"), "no capture at 'nothing'"),
        (("survey", "none"), "no captures in none"),
        (
            ("survey", "calls", "--measures", "loudness"),
            "quality, sound, levels, speech, checksums, mos",
        ),
        (("survey", "calls", "--measures", "quality,", "--dataset", "x"), "measures=''"),
        (("survey", "calls", "--csv", "no/x.csv"), "--csv='no/x.csv' is not valid"),
        (("survey", "calls", "--csv", "x.xlsx"), "ends in .csv"),
        (("survey", "calls", "--plot", "x.jpeg"), "ends in .png or .svg or .pdf"),
        (("survey", "calls", "--html", "no/x.html"), "a file in a folder that is there"),
        (("survey", "calls", "--html", "s3://bucket/x.html"), "a file on this machine"),
        (("survey", "calls", "--html", "taken.html"), "another name: taken-reports is a file"),
        (("survey", "calls", "--workers", "0"), "--workers=0 is not valid: expected 1 to 1,024"),
        (("survey", "calls", "--worst", "-1"), "0 or more"),
        (("survey", "calls", "--dask", "nonsense://x"), "an address such as tcp://"),
        (("survey", "calls", "--dask", "tcp://127.0.0.1:abc"), "an address such as tcp://"),
        (("survey", "calls", "--dataset", "calls/call-00001.idx/sub"), "Not a directory"),
        (("survey", "calls", "--html", ""), "ends in .html"),
        (("archive", "none", "kept"), "no captures in none"),
        (("archive", "calls", "memory://kept"), "a place that outlasts this command"),
    ],
)
def test_a_mistake_gets_a_sentence(
    calls: Path,
    arguments: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())  # --workers sets a variable
    monkeypatch.chdir(calls)
    Path("none").mkdir(exist_ok=True)
    Path("taken-reports").touch()
    assert main(arguments) == 1
    assert told in capsys.readouterr().err


def test_an_interrupt_says_what_is_kept(tmp_path: Path) -> None:
    write_captures(tmp_path / "one", 1, 60)
    first = next((tmp_path / "one").glob("*.bin")).with_suffix("")
    (tmp_path / "many").mkdir()
    for number in range(1500):
        for suffix in (".bin", ".idx"):
            os.link(f"{first}{suffix}", tmp_path / f"many/call-{number:04}{suffix}")
    with subprocess.Popen(
        [*COMMAND, "survey", "many", "--dataset", "kept"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as survey:  # fmt: skip
        deadline = time.monotonic() + 40
        while not list(tmp_path.glob("kept/*/*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(survey.pid, signal.SIGINT)  # as a terminal does
        assert survey.stderr is not None
        told = survey.stderr.read()
    assert survey.returncode == 130
    assert told.splitlines()[0] == "interrupted"
    assert "of 1,500 streams are measured, and kept in dataset=: run it again to go on" in told
    assert 0 < len(pd.read_parquet(tmp_path / "kept")) < 1500


def test_a_file_whose_name_is_no_text_is_a_row_like_others(calls: Path) -> None:
    (calls / "odd").mkdir()
    odd = os.fsencode(calls / "odd")
    for suffix in (b".bin", b".idx"):
        os.link(os.fsencode(calls / "calls/call-00001") + suffix, odd + b"/caf\xe9" + suffix)
    quick = ("survey", "odd", "--measures", "quality", "--dataset", "kept-odd")
    for _ in range(2):
        assert "1 stream of 1 recording" in run(*quick, cwd=calls)
    assert pd.read_parquet(calls / "kept-odd")["source"].str.endswith("caf\\udce9.bin").all()


def test_captures_are_archived_and_come_back(calls: Path) -> None:
    shutil.rmtree(calls / "archive", ignore_errors=True)
    one = "calls/call-00001.bin"
    assert "3 of 3 streams" in run(
        "archive", one, "calls/call-0000[23].bin", "archive", "--flac", cwd=calls
    )
    assert "there already, the same when read back" in run(
        "archive", one, "archive", "--flac", cwd=calls
    )
    run("archive", "archive/call-00001.flac", "back", cwd=calls)
    assert (calls / "back/call-00001.bin").read_bytes() == (calls / one).read_bytes()


def test_what_is_refused_is_told_and_the_others_are_archived(calls: Path) -> None:
    (calls / "taken").mkdir()
    (calls / "taken/call-00001.bin").write_bytes(b"something else")
    told = run("archive", "calls/call-0000[12].bin", "taken", cwd=calls, code=1)
    assert "move that away, or choose another" in told
    assert "1 of 2 streams are archived" in told
    assert (calls / "taken/call-00001.bin").read_bytes() == b"something else"


def test_names_are_safe_to_print_and_one_bad_capture_does_not_end_it_for_the_others(
    calls: Path,
) -> None:
    bad = calls / "bad"
    bad.mkdir()
    for name in (b"caf\xe9", b"esc\x1b[31m", b"a**b", b"new\nline", b"x.archive", b"y" * 243, b"z"):
        for suffix in (b".bin", b".idx"):
            path = os.fsencode(bad) + b"/" + name + suffix
            os.link(os.fsencode(calls / "calls/call-00001") + suffix, path)
    told = run("archive", "bad", "from-bad", cwd=calls, code=1)
    assert "5 of 7 streams are archived" in told
    assert "does not end in .archive" in told
    assert "up to 242 bytes" in told
    assert "\x1b" not in told
    assert all(
        line.startswith(("recall-lab: ", "from-bad/", "5 of 7")) for line in told.splitlines()
    )
    assert len(list((calls / "from-bad").glob("*.bin"))) == 5


def test_what_is_wrong_with_the_destination_is_told_once(
    calls: Path, store: Bucket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(calls)
    assert main(["archive", "calls", "s3://nobucket/x"]) == 1
    told = capsys.readouterr().err
    assert told.count("there is no bucket 'nobucket'") == 1

    asked = []

    def gone(self: object) -> None:  # after it was asked for the first time
        asked.append(self)
        if len(asked) > 1:
            raise StorageFailed(store.url("gone"), OSError(5, "nobody answers"))

    def fail(*_: object, **__: object) -> None:
        raise StorageFailed(store.url("gone"), OSError(5, "cut off"))

    monkeypatch.setattr("recall_lab.archives.buckets.RemoteFolder.ask", gone)
    monkeypatch.setattr("recall_lab.archive", fail)
    assert main(["archive", "calls", store.url("gone")]) == 1
    assert capsys.readouterr().err.count("recall-lab: ") == 2
