"""A report is whole, harmless, and true."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest
import soundfile
from builders import make_events
from PIL import Image

from recall_lab.analysis.gaps import gaps
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.reader import load
from recall_lab.display.gap_plots import COLORS
from recall_lab.display.report import report, worst_moments
from recall_lab.display.style import BLUE, GREEN
from recall_lab.errors import InvalidArgument
from recall_lab.wire.messages import Participant

HOSTILE = "<script>alert(1)</script>\"'&\u202e<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What is in a page: tags and attributes, texts, and whether every tag is closed."""

    VOID = {"meta", "img", "source", "br", "hr", "input", "link"}

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report") / "r.html"
    assert report(load(root / "data/standup-broken.100.bin"), path) == path
    return Page(path)


def test_it_says_what_the_capture_holds(page: Page) -> None:
    for told in (
        "standup-broken.100", "Alice (100), 2026-11-23", "poor: 72.05 % of the audio is there",
        "5.32 s in 5 gaps", "reconnect: 2.98 s in 1 gap", "31.880", "connection 1 broke",
        "wide-band", "30.4 s to 36.4 s: 2.98 s lost", "All measures", "jitter",
    ):  # fmt: skip
        assert told in page.text


def test_it_needs_nothing_else(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "srcset", "href", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
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
