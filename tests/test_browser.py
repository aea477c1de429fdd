"""The notebook as a person has it: a real JupyterLab in a real Chromium.

Screenshots go to ``build/screenshots``, to be looked at.
"""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.paths import ROOT

import recall_lab as rl

lab_page = pytest.importorskip("helpers.lab_page", reason="needs Playwright: make .venv/.full")

pytestmark = [
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        lab_page.chromium() is None and not os.environ.get("CI"),
        reason="needs Chromium (.ci/run installs it)",
    ),
]
PLAYED = "document.querySelector('.rl-explore audio').currentTime"
PICTURES = ROOT / "build" / "screenshots"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's notebooks, as `recall-lab lab` puts them there."""
    from recall_lab.cli.lab import copy_notebooks

    folder = tmp_path_factory.mktemp("lab")
    copy_notebooks(folder)
    return folder / "notebooks"


@pytest.fixture(scope="module")
def lab(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lab_page.jupyterlab(folder, tmp_path_factory.mktemp("private")) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with lab_page.browser() as running:
        yield running


@pytest.fixture
def open_notebook(lab: str, chromium, request) -> Iterator[object]:  # type: ignore[no-untyped-def]
    """Open a notebook in a page of its own; take its picture at the end, whatever happened."""
    opened = []

    def open_it(name: str):  # type: ignore[no-untyped-def]
        page = chromium.new_page(viewport={"width": 1200, "height": 1000})
        opened.append(page)
        return lab_page.Notebook(page, lab, name)

    yield open_it
    for number, page in enumerate(opened):
        shoot(page, f"{request.node.name}-{number}")
        page.close()


def shoot(page, name: str) -> None:  # type: ignore[no-untyped-def]
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def note(what: str, seconds: float) -> None:
    """Keep a time beside the pictures; what holds is for the benchmarks to say."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (PICTURES / "times.txt").open("a") as file:
        file.write(f"{what}: {seconds:.3f} s\n")


def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_quickstart_from_open_to_picture(open_notebook) -> None:  # type: ignore[no-untyped-def]
    notebook = open_notebook("00_quickstart.ipynb")
    notebook.command("notebook:clear-all-cell-outputs")
    begin = time.monotonic()
    notebook.run_all()
    outputs = [one for cell in notebook.cells() for one in cell["outputs"]]
    assert not [one for one in outputs if one["output_type"] == "error"]
    assert not [one for one in outputs if one.get("name") == "stderr"]
    picture = notebook.page.locator(".jp-RenderedImage img").last
    picture.scroll_into_view_if_needed()
    notebook.wait_until(lambda: picture.evaluate("(img) => img.complete && img.naturalWidth") > 800)
    assert notebook.page.locator("audio").count() == 1
    assert notebook.errors == []
    note("quickstart, from run to picture", time.monotonic() - begin)


def test_capture_through_busy_cells_interrupts_and_restarts(  # type: ignore[no-untyped-def]
    open_notebook, folder: Path
) -> None:
    port = free_port()
    start = (
        "import recall_lab as rl\n"
        f"rx = rl.receive(port={port}, directory='meeting')\n"
        "rl.watch(rx)\n"
        "print(rx.id)"
    )
    busy = "n = 0\nwhile True: n += 1"
    lab_page.write_notebook(folder / "b.ipynb", [start, busy, "rx.stop()"])
    notebook = open_notebook("b.ipynb")
    speech = np.random.default_rng(3).integers(-3000, 3000, 48 * 16_000).astype("<i2")
    notebook.run(0)
    notebook.wait_until(lambda: len(notebook.text(0)) > 10)
    first = notebook.text(0).strip()
    panel = notebook.page.locator(".jp-RenderedHTMLCommon").first

    def packets() -> int:
        told = panel.inner_text().split(" packets")[0].split()[-1]
        return int(told.replace(",", ""))

    with rl.start_simulation(
        speech, f"ws://127.0.0.1:{port}/", speed=2, packet=0.1, recording="m"
    ) as bot:
        notebook.wait_until(lambda: packets() > 20)
        notebook.run(1)
        notebook.wait_until(lambda: notebook.status() == "busy")
        seen = set()
        until = time.monotonic() + 6
        while time.monotonic() < until:  # the cell computes, and the panel goes on
            seen.add(packets())
            notebook.page.wait_for_timeout(200)
        assert notebook.status() == "busy"
        assert len(seen) >= 4, seen
        shoot(notebook.page, "panel-while-a-cell-is-busy")
        notebook.command("kernelmenu:interrupt")
        notebook.wait_until_idle()
        assert notebook.cells()[1]["outputs"][-1]["ename"] == "KeyboardInterrupt"
        before = packets()
        notebook.wait_until(lambda: packets() > before)
        notebook.run(0)  # the start cell again: the same receiver, a new panel
        notebook.wait_until(lambda: notebook.text(0).strip() == first)
        before = packets()
        notebook.wait_until(lambda: packets() > before)
        notebook.restart_kernel()
        notebook.run(0)  # and after a restart: still the same, and the same recording
        notebook.wait_until(lambda: notebook.text(0).strip() == first)
        notebook.wait_until(lambda: "recording m" in panel.inner_text())
        before = packets()
        notebook.wait_until(lambda: packets() > before)
        truth = bot.wait()
    notebook.wait_until(lambda: packets() == len(truth))
    notebook.run(2)
    notebook.wait_until(lambda: "stopped, was at" in panel.inner_text())
    kept = rl.load(folder / "meeting" / "m.bin")
    assert kept.packets["payload_crc"].tolist() == truth["payload_crc"].tolist()
    assert rl.gaps(kept).empty
    assert kept.packets["connection"].nunique() == 1
    notebook.save()
    # what stays in the file is the last state, without any kernel
    import nbformat

    saved = nbformat.read(folder / "b.ipynb", as_version=4)
    shown = [one["data"] for one in saved.cells[0].outputs if "data" in one]
    assert any("stopped, was at" in one.get("text/html", "") for one in shown)
    assert any("image/png" in one for one in shown)
    assert notebook.errors == []


@pytest.fixture(scope="module")
def eight_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight hours of 100 ms packets, of which some are lost; mostly zeros, which take no disk."""
    from helpers.builders import write_long

    return write_long(tmp_path_factory.mktemp("long") / "long.bin", hours=8)


def test_explore_zoom_click_and_hear(  # type: ignore[no-untyped-def]
    open_notebook, folder: Path, eight_hours: Path
) -> None:
    lab_page.write_notebook(
        folder / "c.ipynb",
        [
            "import recall_lab as rl",
            f"cap = rl.load({str(eight_hours)!r})",
            "seen = rl.explore(cap)\nseen",
            "print(seen.marks.to_csv())",
            "print(seen.span)",
        ],
    )
    notebook = open_notebook("c.ipynb")
    page = notebook.page
    for at in (0, 1):
        notebook.run(at)
    notebook.wait_until_idle()
    notebook.run(2)
    shown = page.locator(".rl-explore[data-shown]")
    shown.wait_for(timeout=30_000)
    capture = rl.load(eight_hours)
    span = [float(edge) for edge in shown.get_attribute("data-shown").split()]
    assert span[0] <= 0
    assert span[1] >= 8 * 3600
    assert not page.locator(".jp-OutputArea-output img").first.is_visible()  # the still picture
    shoot(page, "explore-eight-hours")

    def heard(start: float | None = None) -> float:
        """Return where what is in the sound element begins, once it is what the capture holds."""
        notebook.wait_until(lambda: shown.get_attribute("data-heard"))
        begin, seconds = map(float, shown.get_attribute("data-heard").split())
        fetched = page.evaluate(
            """async () => {
                const audio = document.querySelector(".rl-explore audio");
                const bytes = new Uint8Array(await (await fetch(audio.src)).arrayBuffer());
                return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
            }"""
        )
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(fetched)), dtype="int16")
        expected = rl.timeline(capture, call=(begin, begin + len(samples) / rate)).samples
        assert rate == 16_000
        assert 0 < len(samples) <= 10 * rate
        np.testing.assert_array_equal(samples, expected)
        waits.append(seconds / 1e3)
        return begin

    waits: list[float] = []
    box = page.locator(".rl-picture").bounding_box()
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 150
    page.mouse.click(x, y)
    middle = heard()
    assert middle == pytest.approx(4 * 3600, rel=0.1)  # the axis has labels on its left
    # zoom with the keyboard, around the middle, and with the wheel, around the pointer
    for _ in range(6):
        page.keyboard.press("+")
    notebook.wait_until(lambda: width(shown) < 8 * 3600 / 50)
    page.mouse.wheel(0, -600)
    notebook.wait_until(lambda: width(shown) < 8 * 3600 / 150)
    shoot(page, "explore-zoomed")
    # the third gap of the list
    gaps = rl.gaps(capture)
    page.locator(".rl-gaps tr").nth(2).click()
    notebook.wait_until(
        lambda: (
            float(shown.get_attribute("data-heard").split()[0])
            == pytest.approx(gaps["start"].iloc[2] - 2, abs=1e-3)
        )
    )
    heard()
    notebook.wait_until(lambda: page.evaluate(PLAYED) > 0.2)
    shoot(page, "explore-a-gap")
    page.mouse.move(x, y)
    page.keyboard.press("m")
    readout = page.locator(".rl-readout").inner_text()
    assert "relative" in readout
    assert "absolute 2026-01-01" in readout
    page.locator(".rl-marks input").fill("<b>here</b>")
    page.locator(".rl-marks input").press("Enter")
    for share in (0.1, 0.3, 0.7, 0.9, 0.2):  # how long does a click take to be heard?
        page.keyboard.press("Home")
        before = shown.get_attribute("data-heard")
        page.mouse.click(box["x"] + share * box["width"], y)
        notebook.wait_until(lambda before=before: shown.get_attribute("data-heard") != before)
        heard()
    for at in (3, 4):
        notebook.run(at)
    notebook.wait_until(lambda: notebook.text(4))
    assert "<b>here</b>" in notebook.text(3)
    assert notebook.errors == []
    note(f"click to sound, median of {len(waits)}", float(np.median(waits)))
    notebook.save()
    # without its kernel the still picture is what is seen
    page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown() }"
    )
    page.reload()
    notebook.wait_until(lambda: page.locator(".jp-OutputArea-output img").first.is_visible())


def width(shown) -> float:  # type: ignore[no-untyped-def]
    start, end = map(float, shown.get_attribute("data-shown").split())
    return end - start


def test_two_tabs_on_one_kernel(open_notebook, folder: Path, root: Path) -> None:  # type: ignore[no-untyped-def]
    lossy = root / "data" / "standup-lossy.bin"
    port = free_port()
    lab_page.write_notebook(
        folder / "d.ipynb",
        [f"import recall_lab as rl\nseen = rl.explore(rl.load({str(lossy)!r}))\nseen",
         f"rx = rl.receive(port={port}, directory='two')\nrl.watch(rx)", "rx.stop()"],
    )  # fmt: skip
    one = open_notebook("d.ipynb")
    for at in (0, 1):
        one.run(at)
    one.page.locator(".rl-explore[data-shown]").wait_for(timeout=30_000)
    one.wait_until_idle()
    one.save()
    other = open_notebook("d.ipynb")
    explored = other.page.locator(".rl-explore[data-shown]")
    explored.wait_for(timeout=30_000)
    # what is heard in one page is not heard in the other; marks are in both
    box = other.page.locator(".rl-picture").bounding_box()
    other.page.mouse.click(box["x"] + 500, box["y"] + 150)
    other.wait_until(lambda: explored.get_attribute("data-heard"))
    other.page.keyboard.press("m")
    one.wait_until(lambda: one.page.locator(".rl-marks input").count() == 1)
    assert one.page.locator(".rl-explore").get_attribute("data-heard") is None
    # the panel of the first page goes on; the other page can show one of its own
    speech = np.random.default_rng(3).integers(-3000, 3000, 8 * 16_000).astype("<i2")
    with rl.start_simulation(speech, f"ws://127.0.0.1:{port}/", speed=2, recording="t") as bot:
        first = one.page.locator(".jp-RenderedHTMLCommon").last
        one.wait_until(lambda: "recording t" in first.inner_text())
        other.run(1)
        second = other.page.locator(".jp-RenderedHTMLCommon").last
        other.wait_until(lambda: "recording t" in second.inner_text())
        bot.wait()
    other.run(2)
    other.wait_until(lambda: "stopped, was at" in second.inner_text())
    assert one.errors == other.errors == []


def test_explore_says_who_speaks_and_what(  # type: ignore[no-untyped-def]
    open_notebook, folder: Path
) -> None:
    lab_page.write_notebook(
        folder / "e.ipynb",
        [
            f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
            "from helpers import standup\n"
            "import recall_lab as rl",
            "rl.explore(standup.recording(1)[0])",
        ],
    )
    notebook = open_notebook("e.ipynb")
    page = notebook.page
    notebook.run(0)
    notebook.run(1)
    shown = page.locator(".rl-explore[data-shown]")
    shown.wait_for(timeout=30_000)
    box = page.locator(".rl-picture").bounding_box()
    whole = [float(edge) for edge in shown.get_attribute("data-shown").split()]

    def said_at(seconds: float) -> str:
        """Return the readout with the pointer at a time of the whole."""
        share = (seconds - whole[0]) / (whole[1] - whole[0])
        left, right = 56, 8  # of the picture in its box, as explorer.js has them
        page.mouse.move(box["x"] + left + share * (box["width"] - left - right), box["y"] + 150)
        return str(page.locator(".rl-readout").inner_text())

    notebook.wait_until(lambda: "Alice" in said_at(2.0))  # 0.7 to 2.94 s
    notebook.wait_until(lambda: "Bob" in said_at(8.0))  # 6.88 to 10.69 s
    notebook.wait_until(lambda: "Alice" not in said_at(35.0) and "Bob" not in said_at(35.0))
    shoot(page, "explore-speakers")
    assert notebook.errors == []
