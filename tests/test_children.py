"""Our processes import nothing from the folder in which somebody works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT
from jupyter_client.manager import start_new_kernel

from recall_lab import children

PLANTED = (
    "queue", "random", "token", "json", "runpy", "ast", "inspect", "lazy_loader", "msgspec",
    "loky", "numpy", "multiprocessing", "concurrent", "sitecustomize", "psutil",
)  # fmt: skip
"""What a stranger, or a student, may have called a module."""

SPY = """
import os, sys
with open(os.environ["PLANTED_MARK"], "a") as mark:
    mark.write(f"{__name__} in {' '.join(sys.orig_argv)[:300]}\\n")
raise ImportError("planted")
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where modules that were planted tell that they ran."""
    mark = tmp_path / "mark"
    monkeypatch.setenv("PLANTED_MARK", str(mark))
    monkeypatch.setenv("RECALL_LAB_WORKERS", "2")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH") or str(ROOT))
    return mark


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    """A folder that somebody sent: captures, and modules that are none of theirs."""
    folder = tmp_path / "calls"
    folder.mkdir()
    for path in (root / "data").glob("standup-lossy.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    for name in PLANTED:
        (folder / f"{name}.py").write_text(SPY)
    return folder


def told(mark: Path) -> str:
    return mark.read_text() if mark.exists() else ""


def test_modules_that_were_planted_do_tell(folder: Path, mark: Path) -> None:
    subprocess.run([sys.executable, "-c", "import queue"], cwd=folder, check=False)
    assert told(mark).startswith("queue in ")


@pytest.mark.parametrize("command", [[sys.executable, "-m", "recall_lab.cli"], ["recall-lab"]])
def test_a_survey_in_a_folder_that_somebody_sent(
    command: list[str], folder: Path, mark: Path
) -> None:
    if command == ["recall-lab"]:
        command = [str(Path(sys.executable).parent / "recall-lab")]
    ran = subprocess.run(
        [*command, "survey", "."], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert told(mark) == ""
    assert ran.returncode == 0, ran.stderr
    assert "standup-lossy" in ran.stdout


@pytest.fixture
def cell(folder: Path, mark: Path) -> Iterator[Callable[[str], str]]:
    """Run a cell in a kernel that was started beside the modules; return what it printed."""
    manager, client = start_new_kernel(cwd=str(folder), kernel_name="python3")

    def run(code: str) -> str:
        printed: list[str] = []
        reply = client.execute_interactive(
            code, timeout=120, output_hook=lambda one: printed.append(json.dumps(one["content"]))
        )
        assert reply["content"]["status"] == "ok", printed
        return "".join(printed)

    try:
        run("import os, sys\nassert '' in sys.path\nimport queue, random, token, json")
        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_kernel_beside_a_students_modules(
    cell: Callable[[str], str], folder: Path, mark: Path
) -> None:
    # what the kernel itself imports is its own affair: it takes ours before it may take theirs
    cell("sys.path.remove('')\nimport recall_lab as rl\nrl.receive, rl.survey\nsys.path[:0] = ['']")
    printed = cell(
        "with rl.receive(0, '../kept') as rx:\n"
        "    rl.simulate('standup-lossy.bin', rx.url, speed=float('inf'))\n"
        "    print(rx.status.packets, 'packets')\n"
        "print(len(rl.survey('.')), 'surveyed')"
    )
    assert told(mark) == ""
    assert "packets" in printed
    assert "1 surveyed" in printed


def test_what_of_the_import_path_goes_to_a_worker(tmp_path: Path) -> None:
    here, other = str(tmp_path), str(tmp_path / "lib")
    assert children.import_path(["", ".", "lib", here, other], here, "/somewhere") == [other]
    # a checkout that is worked in: its package is wanted, and comes last
    assert children.import_path(["", other], here, here) == [other, here]
    (tmp_path / "lib" / "recall_lab").mkdir(parents=True)
    assert children.import_path(["/a", "", other], here, here) == ["/a", here, other]


def test_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), "."]))
    assert children.environment()["PYTHONPATH"] == str(tmp_path)
    assert children.environment()["PYTHONSAFEPATH"] == "1"
    monkeypatch.setenv("PYTHONPATH", "")
    assert "PYTHONPATH" not in children.environment()


def test_a_receiver_is_of_the_package_that_starts_it(tmp_path: Path, root: Path) -> None:
    """A checkout that is worked in, while another is installed."""
    shutil.copytree(root / "recall_lab", tmp_path / "recall_lab")
    (tmp_path / "recall_lab" / "version.py").write_text('__version__ = "99.1"\n')
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = (
        "import pathlib, recall_lab as rl\n"
        "with rl.receive(0, 'kept') as rx:\n"
        "    rl.simulate(rl.load('data/standup-lossy.bin'), rx.url, speed=float('inf'))\n"
        "print(*[path.read_text() for path in pathlib.Path('kept').glob('*.json')])"
    )
    (tmp_path / "data").symlink_to(root / "data")
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "99.1" in ran.stdout, ran.stderr
