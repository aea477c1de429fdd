"""The notebooks: each runs from top to bottom, and is committed as it ran."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import nbformat
import numpy as np
import pytest
from helpers.paths import ROOT
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from recall_lab.plots.style import BLUE

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS][:7] == [
        "00_quickstart", "01_capture", "02_gaps", "03_spectrogram", "04_sound", "05_live",
        "06_async",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def running(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[nbformat.NotebookNode]]]:
    """All notebooks being executed, two at a time: mostly they wait for their bots."""

    def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook,
            timeout=90,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder / "notebooks")}},
        )
        asyncio.run(client.async_execute())  # execute() leaves its loop open in a thread
        return notebook

    with ThreadPoolExecutor(2) as pool:
        started = {}
        for path in NOTEBOOKS:
            folder = tmp_path_factory.mktemp(path.stem)
            (folder / "notebooks").mkdir()
            shutil.copytree(root / "data", folder / "data")
            started[path] = pool.submit(execute, path, folder)
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_without_a_warning(
    path: Path, running: dict[Path, Future[nbformat.NotebookNode]]
) -> None:
    executed = running[path].result()
    assert not [out for out in outputs(executed) if out.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_executed_small_and_without_a_trace_of_the_machine(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 1_000_000
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.execution_count is not None
    assert any("image/png" in out.get("data", {}) for out in outputs(notebook))
    assert not any(out.get("name") == "stderr" for out in outputs(notebook))
    assert not re.search(r'"/(home|root|work|tmp|Users)/', text)
    before = {"markdown"}
    for cell in notebook.cells:  # a sentence before each cell
        assert not (cell.cell_type == "code" and before == {"code"}), cell.source
        before = {cell.cell_type}
    assert "What to try next" in notebook.cells[-1].source


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_pictures_are_there_to_see_in_a_browser(path: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium (.ci/run installs it)")
    page, _ = HTMLExporter().from_filename(str(path))
    (tmp_path / "page.html").write_text(page)
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,6000",
        f"--screenshot={tmp_path / 'page.png'}", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    pixels = np.asarray(matplotlib.image.imread(tmp_path / "page.png"))[..., :3]
    wave = np.abs(pixels - matplotlib.colors.to_rgb(BLUE)).max(axis=-1) < 0.02
    assert np.count_nonzero(wave) > 5_000
