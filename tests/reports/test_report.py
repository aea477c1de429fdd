"""A report is whole, harmless, and true."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
import soundfile
from helpers.builders import NEW_YEAR, make_capture, make_events
from helpers.pages import HOSTILE, Page
from matplotlib.figure import Figure
from PIL import Image

from recall_lab.analysis.recording.export import save
from recall_lab.analysis.time import analysis
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.errors import InvalidArgument
from recall_lab.loading import load
from recall_lab.notebook.explore import explore
from recall_lab.plots.gaps import COLORS, plot_gap_histogram, plot_gaps
from recall_lab.plots.overview import plot_overview
from recall_lab.plots.style import BLUE, GREEN
from recall_lab.plots.timing import plot_clocks, plot_timing
from recall_lab.reports.report import report, worst_moments
from recall_lab.wire.messages import Participant


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report") / "r.html"
    assert report(load(root / "data/standup-broken.100.bin"), path) == path
    return Page(path)


def test_it_says_what_the_capture_holds(page: Page) -> None:
    for told in (
        "standup-broken.100", "Alice (100), 2026-11-23", "poor: 2.98 of 10.7 s are missing",
        "5.32 s in 5 gaps", "reconnect: 2.98 s in 1 gap", "31.880", "connection 1 broke",
        "wide-band", "30.4 s to 36.4 s: 2.98 s lost", "All measures", "jitter",
    ):  # fmt: skip
        assert told in page.text


def test_it_needs_nothing_else(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "srcset", "href", "action", "data"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy is not None and policy.startswith("default-src 'none'")
    assert any(m.get("name") == "viewport" for m in page.all("meta"))


def test_pictures_are_there_for_light_and_for_dark(page: Page) -> None:
    light = [i["src"] for i in page.all("img")]
    dark = [s["srcset"] for s in page.all("source")]
    assert len(light) == len(dark) == 4  # overview, one moment, timing, clocks
    for address, bright in [(a, True) for a in light] + [(a, False) for a in dark]:
        assert address is not None
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
        corner = picture.convert("L").getpixel((0, 0))
        assert isinstance(corner, int)
        assert (corner > 200) if bright else (corner < 60)
    assert all(i["alt"] for i in page.all("img"))


def test_causes_have_their_colours(page: Page) -> None:
    address = page.all("img")[0]["src"]
    assert address is not None
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB")
    pixels = np.asarray(picture, float) / 255
    for color in (COLORS["mute"], COLORS["reconnect"], BLUE, GREEN):
        near = np.abs(pixels - matplotlib.colors.to_rgb(color)).max(axis=-1) < 0.03
        assert np.count_nonzero(near) > 500


def test_the_worst_moment_can_be_heard(page: Page) -> None:
    (player,) = page.all("audio")
    assert player["src"] is not None
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(player["src"].split(",")[1])))
    assert rate == 16_000
    assert len(samples) == 6 * 16_000
    assert np.abs(samples).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert not samples[round(1.6 * 16_000) : round(4.4 * 16_000)].any()  # the outage


def test_names_from_the_network_are_only_text(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    plain = make([0.0, 2.0], 16_000, audio=np.full(32_000, 900, np.int16))
    info = CaptureInfo(recording="call", participant=Participant(1, HOSTILE))
    line = {"kind": "disconnected", "connection": 1, "detail": {"code": 1006, "reason": HOSTILE}}
    told = make_events(line)
    capture = Capture(plain.samples, plain.packets, info, events=lambda: told)
    path = report(capture, tmp_path / "r.html")
    page = Page(path)
    assert not page.all("script")
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in path.read_text()


def test_a_bare_capture_has_a_report_too(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 900, 48_000).astype(np.int16)
    page = Page(report(Capture(noise), tmp_path / "r.html"))
    assert "no packets beside this audio" in page.text
    assert "None: nothing is clipped" in page.text
    assert "Timing" not in page.text
    for samples in (0, 1):
        Page(report(Capture(noise[:samples]), tmp_path / "r.html"))


def test_a_capture_whose_audio_is_gone_says_so(tmp_path: Path, root: Path) -> None:
    (tmp_path / "a.idx").write_bytes((root / "data/standup-lossy.idx").read_bytes())
    page = Page(report(load(tmp_path / "a.idx"), tmp_path / "a.html"))
    assert "The audio of all" in page.text and "is gone from its file" in page.text
    assert "no packets beside" not in page.text


def test_the_worst_moments_are_where_most_was_lost(make) -> None:  # type: ignore[no-untyped-def]
    starts = np.arange(1000) * 0.1
    lost = ((starts > 20) & (starts < 20.95)) | ((starts > 60) & (starts < 62))
    lost |= (starts > 80) & (starts < 80.35)
    audio = np.full(1600 * int((~lost).sum()), 900, np.int16)
    audio[-16_000:-15_000] = 32_767
    capture = make(starts[~lost], 1600, audio=audio, participant=7)
    found = worst_moments(capture)
    assert [round((start + end) / 2) for start, end, _ in found] == [20, 80, 97]
    assert [why for *_, why in found] == ["0.90 s lost", "0.30 s lost", "1 clipped peak"]
    # two seconds on a participant's open connection are a mute: nobody spoke, nothing was lost


def test_a_mistake_is_named_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    lossy = load(root / "data/standup-lossy.bin")
    for path, told in (("r.pdf", r"ends in \.html"), ("none/r.html", "a folder that is there")):
        with pytest.raises(InvalidArgument, match=told):
            report(lossy, tmp_path / path)
    with pytest.raises(InvalidArgument, match="detector='ear'"):
        report(lossy, tmp_path / "r.html", detector="ear")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_shows_it_without_scrolling_sideways(
    tmp_path: Path, root: Path, width: int
) -> None:
    report(load(root / "data/standup-lossy.bin"), tmp_path / "r.html")
    # a page of the size of a phone in a frame, as headless browsers have a least width
    probe = tmp_path / "probe.html"
    probe.write_text(
        f'<iframe id="f" src="r.html" style="width:{width}px;height:800px"></iframe><script>'
        "onload=()=>{const d=document.getElementById('f').contentDocument.documentElement;"
        "document.title=d.scrollWidth+'/'+d.clientWidth}</script>"
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'u'}"]
    dom = subprocess.run(
        [*command, f"file://{probe}"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    found = re.search(r"<title>(\d+)/(\d+)</title>", dom)
    assert found is not None, dom[:500]
    assert int(found[1]) <= int(found[2])


def test_numbers_that_are_none_are_said_in_words(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    for starts, samples in (([5.0], 1), ([0.0, 0.0], 1600), ([0.0, np.nan], 1600), ([0.0], 0)):
        page = Page(report(make(starts, samples), tmp_path / "r.html"))
        assert "nan" not in page.text.lower().split()
        assert "-∞ dBFS" in page.text or "unknown" in page.text


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(4).integers(-900, 900, size).astype(np.int16)


def said(path: Path) -> str:
    """Return what a page says, in one line."""
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", path.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of what is computed from now on: the order of packets, and what is missing."""
    done: list[str] = []
    for name in ("find", "media_order"):
        true = getattr(analysis, name)

        def counting(*given: Any, _true: Any = true, _name: str = name, **options: Any) -> Any:
            done.append(_name)
            return _true(*given, **options)

        monkeypatch.setattr(analysis, name, counting)
    return done


def test_one_page_is_one_analysis(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = load(root / "data/standup-lossy.bin")
    done = counted(monkeypatch)
    report(lossy, tmp_path / "r.html", tolerance=0.15)
    assert sorted(done) == ["find", "media_order"]
    done.clear()
    plot_overview(lossy, Figure(layout="constrained"), tolerance=0.15, clock="absolute")
    assert sorted(done) == ["find", "media_order"]
    done.clear()
    known = analysis.analyse(lossy)
    for plot in (plot_gaps, plot_timing, plot_clocks):
        plot(known, Figure().subplots())
    plot_overview(known, Figure(layout="constrained"))
    report(known, tmp_path / "r.html")
    assert sorted(done) == ["find", "media_order"]


def test_what_a_tolerance_leaves_is_told_everywhere(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = load(root / "data/standup-lossy.bin")
    titles = []
    draw = plot_overview

    def drawn(known: object, figure: Figure, **options: Any) -> object:
        lanes = draw(known, figure, **options)
        keys = [text.get_text() for text in lanes["gaps"].get_legend().get_texts()]
        titles.append([lanes["waveform"].get_title(loc="left"), *keys])
        return lanes

    monkeypatch.setattr("recall_lab.reports.report.plot_overview", drawn)
    told = said(report(lossy, tmp_path / "r.html", tolerance=5))
    assert "good: nothing is missing by its clocks, nothing is wrong with its sound" in told
    assert "missing 0.00 s in 0 gaps" in told
    assert "What is missing Nothing." in told
    assert "None: nothing was lost, and nothing is clipped." in told
    # what is not told apart is laid together: 11.5 s, of which 0.6 came twice
    assert "length of the call 10.9 s" in told
    assert titles == [["standup-lossy: 10.9 s", "audio"]] * 2  # light and dark
    titles.clear()
    told = said(report(lossy, tmp_path / "r.html"))
    assert "1.10 s in 6 gaps" in told
    assert "loss: 1.10 s in 6 gaps" in told
    assert titles[0] == ["standup-lossy: 12.0 s, 1.10 s missing in 6 gaps", "audio", "loss: 1.10 s"]


@pytest.mark.parametrize("speed", [10.0, np.inf])
def test_of_a_replay_nothing_is_told_by_arrival(tmp_path: Path, speed: float) -> None:
    """Once: drift +9,005,670 ppm."""
    relative = np.delete(np.arange(700) * 0.1, [300])
    arrived = np.rint(relative / speed * 1e9)
    replay = make_capture(
        relative, 1600, received=NEW_YEAR + arrived, monotonic=arrived, audio=noise(699 * 1600)
    )
    told = said(report(replay, tmp_path / "r.html"))
    words = "all at once" if np.isinf(speed) else "at 10 times its speed"
    assert f"jitter, latest packet not told: a replay{',' * bool(np.isinf(speed))} {words}" in told
    assert "jitter, delay and drift against our clock tell nothing" in told
    shown = told.split("All measures", 1)[1]
    for name in (
        "jitter_ms", "jitter_max_ms", "delay_p50_ms", "delay_max_ms", "stalls", "longest_stall_s",
        "drift_relative_received_ppm", "drift_absolute_received_ppm",
    ):  # fmt: skip
        assert f"{name} not told: a replay" in shown
    assert "drift_relative_absolute_ppm 0" in shown
    assert "missing 0.10 s in 1 gap" in told
    assert "How late each packet came" not in (tmp_path / "r.html").read_text()


def test_unexplained_time_and_epochs_are_told_and_heard_first(tmp_path: Path) -> None:
    relative = np.arange(900) * 0.1
    wall = relative + np.where(relative >= 40, 18.0, 0.0)
    stamps = relative - np.where(relative >= 70, 70.0, 0.0)
    clocks = {"absolute": NEW_YEAR, "received": NEW_YEAR, "monotonic": 10**9}
    clocks = {name: np.rint(wall * 1e9) + first for name, first in clocks.items()}
    capture = make_capture(stamps, 1600, audio=noise(900 * 1600), **clocks)
    (moment,) = worst_moments(capture)
    assert moment == (pytest.approx(37, abs=1), pytest.approx(43, abs=1), "18.00 s unexplained")
    told = said(report(capture, tmp_path / "r.html"))
    assert "poor: 18.00 s passed of which there is no audio" in told
    assert "unexplained 18.00 s: the media clock stood" in told
    assert "epochs 2: relative begins again" in told
    assert "unexplained (pause or hidden loss): 18.00 s in 1 place" in told
    assert "40.000 18.000 pause or hidden loss both wall clocks ran on for 18.000 s" in told
    assert "Relative begins again at 70.000 s: 2 epochs." in told


def test_what_nothing_tells_a_loss_is_not_called_one() -> None:
    kept = np.delete(np.arange(600), np.r_[100:120, 400:403]) * 0.1
    capture = make_capture(kept, 1600, audio=noise(577 * 1600))
    found = worst_moments(capture)
    assert [why for *_, why in found] == ["2.00 s unexplained", "0.30 s lost"]


def astray(at: int, stamp: float) -> Capture:
    """Half a minute in which one packet has another stamp of the media clock."""
    relative = np.arange(300) * 0.1
    clocks = {"absolute": NEW_YEAR, "received": NEW_YEAR, "monotonic": 10**9}
    clocks = {name: np.rint(relative * 1e9) + first for name, first in clocks.items()}
    relative[at] = stamp
    return make_capture(relative, 1600, audio=noise(300 * 1600), **clocks)


@pytest.mark.parametrize("stamp", [9.9e8, -9.9e8, np.inf, -np.inf, np.nan, 1e300])
@pytest.mark.parametrize("at", [0, 150, 299])
def test_one_impossible_stamp_costs_itself(tmp_path: Path, stamp: float, at: int) -> None:
    capture = astray(at, stamp)
    lanes = plot_overview(capture, Figure(layout="constrained"), clock="absolute")
    low, high = lanes["gaps"].get_xlim()
    assert high - low == pytest.approx(30, abs=0.2)
    for plot in (plot_gaps, plot_timing, plot_clocks):
        low, high = plot(capture, Figure().subplots()).get_xlim()
        assert (low, high) == (pytest.approx(0, abs=0.2), pytest.approx(30, abs=0.2))
    plot_gap_histogram(capture, Figure().subplots())
    seen = explore(capture)
    assert seen.span == (pytest.approx(0, abs=0.2), pytest.approx(30, abs=0.2))
    seen._still()
    save(capture, tmp_path / "all.wav", progress=False)
    assert soundfile.info(tmp_path / "all.wav").duration == pytest.approx(30, abs=0.2)


@pytest.mark.parametrize("stamp", [9.9e8, np.inf])
def test_a_report_of_one_impossible_stamp_is_of_the_rest(tmp_path: Path, stamp: float) -> None:
    capture = astray(150, stamp)
    told = said(report(capture, tmp_path / "r.html"))
    assert "length of the call 30.0 s" in told
    assert ("missing 0.10 s in 1 gap" if np.isinf(stamp) else "missing 0.00 s in 0 gaps") in told
