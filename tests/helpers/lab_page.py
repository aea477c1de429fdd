"""A real JupyterLab in a real Chromium, for tests and measurements: started, opened, driven."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip

_numbers = map("w{}".format, itertools.count())
_READY = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    const { context, sessionContext } = app.shell.currentWidget;
    await context.ready;
    await sessionContext.ready;
    await sessionContext.session.kernel.info;  // or a dialog asks which kernel it shall be
}"""
_CELLS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .filter((cell) => cell.type === "code")
    .map((cell) => ({ count: cell.executionCount, outputs: cell.outputs.toJSON() }))"""


def chromium() -> str | None:
    """Return the browser's program, or None where there is none."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def jupyterlab(folder: Path, private: Path) -> Iterator[str]:
    """Run a JupyterLab on `folder` that knows nothing of this user's; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("CONFIG", "DATA", "RUNTIME")
    homes = {f"JUPYTER_{name}_DIR": private / name.lower() for name in names}
    homes |= {"JUPYTERLAB_WORKSPACES_DIR": private / "workspaces", "IPYTHONDIR": private / "python"}
    settings = private / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    environment = {
        **os.environ, "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        **{name: str(path) for name, path in homes.items()},
    }  # fmt: skip
    environment.pop("MPLBACKEND", None)  # the notebook has its own
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
        "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    with (private / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api", timeout=5):
                break
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError((private / "log").read_text())
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


class Notebook:
    """A notebook open in a page of JupyterLab.

    Attributes:
        page: the page.
        errors: what the page's console and scripts complained about.
    """

    def __init__(self, page: Page, lab: str, name: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        # a workspace of its own: JupyterLab would open what was open in another page, too
        page.goto(f"{lab}/lab/workspaces/{next(_numbers)}/tree/{name}")
        page.wait_for_function(
            "(name) => window.jupyterapp?.shell.currentWidget?.context?.path === name",
            arg=name,
            timeout=60_000,
        )
        page.evaluate(_READY)

    def command(self, name: str) -> None:
        """Start one of JupyterLab's commands; do not wait for its end."""
        self.page.evaluate(f"() => {{ window.jupyterapp.commands.execute({name!r}); }}")

    def run_all(self, timeout: float = 60.0) -> None:
        """Run all cells, to the end."""
        self.command("notebook:run-all-cells")
        self.wait_until(lambda: all(cell["count"] for cell in self.cells()), timeout)
        self.wait_until_idle(timeout)

    def run(self, at: int) -> None:
        """Start one code cell; do not wait for its end."""
        self.page.evaluate(
            f"() => {{ window.jupyterapp.shell.currentWidget.content.activeCellIndex = {at}; }}"
        )
        self.command("notebook:run-cell")

    def cells(self) -> list[dict[str, Any]]:
        """Return count and outputs of the code cells."""
        cells: list[dict[str, Any]] = self.page.evaluate(_CELLS)
        return cells

    def text(self, at: int) -> str:
        """Return what a code cell printed."""
        outputs = self.cells()[at]["outputs"]
        return "".join("".join(one["text"]) for one in outputs if one["output_type"] == "stream")

    def status(self) -> str:
        """Return what the kernel is doing: ``idle``, ``busy``, ..."""
        kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        return str(self.page.evaluate(f"() => {kernel}.status"))

    def shut_down_kernel(self) -> None:
        """End the kernel."""
        context = "window.jupyterapp.shell.currentWidget.sessionContext"
        self.page.evaluate(f"async () => {{ await {context}.shutdown(); }}")

    def restart_kernel(self) -> None:
        """Restart the kernel and wait for the new one."""
        session = "window.jupyterapp.shell.currentWidget.sessionContext.session"
        self.page.evaluate(f"async () => {{ await {session}.kernel.restart(); }}")
        self.page.evaluate(f"async () => {{ await {session}.kernel.info; }}")

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate(
            "async () => { await window.jupyterapp.commands.execute('docmanager:save'); }"
        )

    def wait_until_idle(self, timeout: float = 60.0) -> None:
        """Wait until the kernel has nothing to do."""
        self.wait_until(lambda: self.status() == "idle", timeout)

    def wait_until(self, what: Any, timeout: float = 30.0) -> None:
        """Wait until `what` returns something true; the page goes on meanwhile."""
        until = time.monotonic() + timeout
        while not what():
            if time.monotonic() > until:
                raise TimeoutError("it did not happen in the notebook")
            self.page.wait_for_timeout(100)
