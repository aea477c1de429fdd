"""Names that mean harm, through everything that shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.builders import make_events
from matplotlib.text import Text

import recall_lab as rl
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.notebook.followed import Stream
from recall_lab.notebook.live import Look
from recall_lab.notebook.live_picture import Picture
from recall_lab.notebook.panel import html_of, name_of, text_of
from recall_lab.wire.messages import Participant

NAMES = {
    "html": "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;&amp;",
    "mathematics": "$\\frac{$ \\undefined $x^2$ _^{}",
    "control": "a\x00b\x07c\x1b[31md\x1b]0;title\x07\r\n\t\x85e",
    "direction": "abc\u202egnp.exe\u2066\u2069\u200b\u200f",
    "endless": "\N{FULL BLOCK}" * 100_000,
    "marks": "Z" + "\u0301" * 500,
    "surrogate": "broken \ud800 half",
    "format": "%s %n {0} {} {x!r} %(y)d",
    "markup": "[link](javascript:alert(1)) `code` **bold** </td></table></div>",
}
HARMLESS_TAGS = re.compile(
    r"</?(?:table|caption|tbody|thead|tr|th|td|div|span|b|code)\b[^<>]*>|<br>", re.ASCII
)


@pytest.fixture(params=NAMES.values(), ids=NAMES.keys())
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def hostile(name: str, make) -> Capture:  # type: ignore[no-untyped-def]
    """A capture with gaps whose every text is the name."""
    audio = np.random.default_rng(1).integers(-3000, 3000, 16_000 * 3).astype(np.int16)
    shape = make([0.0, 1.0, 2.5], 16_000, audio=audio)
    who = Participant(7, name, platform=name, email=name, extra_data={name: name})
    info = CaptureInfo(recording="call", participant=who, metadata={name: name})
    events = told_by(name)
    return Capture(shape.samples, shape.packets, info, events=lambda: events)


def told_by(name: str) -> pd.DataFrame:
    """Return events of participants and words of that name, and a chat."""
    someone = {"id": 7, "name": name, "platform": name, "email": name}
    payloads: list[tuple[str, dict[str, Any]]] = [
        ("participant_events.speech_on", {"timestamp": {"relative": 0.2}}),
        ("participant_events.speech_off", {"timestamp": {"relative": 0.8}}),
        ("participant_events.chat_message", {"data": {"text": name, "to": name}}),
        (
            "transcript.data",
            {
                "words": [
                    {"text": name, "start_timestamp": {"relative": at}, "end_timestamp": None}
                    for at in (0.3, 0.9, 2.6)
                ]
            },
        ),
    ]
    return make_events(
        *(
            {
                "event": event,
                "participant": 7,
                "relative": payload.get("timestamp", {}).get("relative", np.nan),
                "detail": {"message": {"data": {"data": {"participant": someone, **payload}}}},
            }
            for event, payload in payloads
        )
    )


def harmless(page: str) -> None:
    """Fail unless HTML has nothing in it but our own tags, and no character that acts."""
    left = HARMLESS_TAGS.sub("", page)
    assert "<" not in left, left[:500]
    for tag in HARMLESS_TAGS.findall(page):
        assert not re.search(r"\bon\w+\s*=|javascript:|src=", tag), tag
    printed(page)


def printed(text: str) -> None:
    """Fail if a text has a character that moves a cursor, turns the line, or can't be written."""
    acts = [c for c in text if not c.isprintable() and c != "\n"]
    assert not acts, [hex(ord(c)) for c in acts[:10]]
    text.encode()


def test_every_repr_is_one_line_and_every_table_is_harmless(hostile: Capture) -> None:
    quality = rl.quality(hostile)
    explorer = rl.explore(hostile)
    spectrogram = rl.spectrogram(hostile)
    for shown in (hostile, quality, explorer, spectrogram, rl.Faults(loss=0.1)):
        text = repr(shown)
        printed(text)
        assert "\n" not in text
        assert len(text) < 1_000
    for table in (hostile, quality, spectrogram, rl.Faults(loss=0.1)):
        harmless(table._repr_html_())
        assert len(table._repr_html_()) < 20_000
    printed(explorer.facts["title"])
    for shown in (*explorer.facts["people"], *explorer.first["words"]):
        text = shown.get("name", shown.get("text"))
        printed(text)
        assert len(text) <= 40


def test_what_is_told_of_them_is_kept_whole_and_can_be_written(hostile: Capture, name: str) -> None:
    written = name.encode("utf-8", "replace").decode()
    assert rl.participants(hostile)["name"].tolist() == [written]
    assert rl.participants(hostile)["email"].tolist() == [written]
    assert rl.participants(hostile, by="interval")["name"].tolist() == [written]
    assert rl.speakers(hostile)["name"].tolist() == [written]
    assert rl.transcript(hostile)["text"].tolist() == [written] * 3
    assert rl.chat(hostile)[["to", "text"]].to_numpy().tolist() == [[written] * 2]
    mixed = rl.mix([hostile])
    printed(repr(mixed))
    harmless(mixed._repr_html_())


@pytest.mark.parametrize("words", [False, True])
def test_their_words_can_be_drawn(hostile: Capture, words: bool) -> None:
    rl.plot_speakers(hostile, words=words)
    figure = plt.gcf()
    figure.canvas.draw()
    for text in figure.findobj(Text):
        printed(text.get_text())
    plt.close("all")
    rl.plot_overview(hostile)
    plt.gcf().canvas.draw()
    plt.close("all")
    rl.explore(hostile)._still()


def test_the_receiver_and_its_panel(name: str) -> None:
    status = rl.Status(
        state="failed", url="ws://127.0.0.1:1/", rejected={"json": 2}, last_error=name
    )
    stream = Stream(
        recording="call", participant=7, name=name, seconds=1.0, end=1.0, packets=5, rate=5.0,
        rms=-20.0, peak=-3.0, gaps=1, missing=0.1, causes={"loss": 0.1}, delay=0.1, loudness=0.1,
    )  # fmt: skip
    look = Look(at=1_767_268_800_000_000_000, url=status.url, health=status, streams=[stream])
    harmless(html_of(look))
    printed(text_of(look))
    assert len(html_of(look)) < 10_000
    assert name_of(stream).endswith("(7)") or name_of(stream) == "participant 7"
    Picture([name_of(stream), name[:300]])


def test_a_live_receiver_with_such_participants(tmp_path: Path, name: str) -> None:
    if "\ud800" in name:
        pytest.skip("JSON can't carry half a surrogate: the wire refuses it")
    speech = np.random.default_rng(1).integers(-3000, 3000, 16_000).astype("<i2")
    with rl.receive(0, tmp_path, mode="thread") as rx:
        truth = rl.simulate(
            speech, rx.url, speed=100, recording="r", participant=Participant(7, name[:1000])
        )
        rx.wait(packets=len(truth), timeout=10)
        printed(repr(rx))
        harmless(rx._repr_html_())
        capture = rx.capture()
    printed(repr(capture))
    harmless(capture._repr_html_())


@pytest.mark.parametrize("name", [NAMES["mathematics"], NAMES["control"], NAMES["endless"]])
def test_every_plot_can_be_drawn(hostile: Capture) -> None:
    plots = (
        rl.plot_waveform, rl.plot_levels, rl.plot_spectrogram, rl.plot_gaps, rl.plot_timing,
        rl.plot_clocks, rl.plot_gap_histogram, rl.plot_overview,
        rl.plot_speakers,
    )  # fmt: skip
    for plot in plots:
        plot(hostile)  # type: ignore[operator]
        plt.gcf().canvas.draw()
        plt.close("all")


def test_a_title_of_such_a_kind_can_be_drawn(name: str, make) -> None:  # type: ignore[no-untyped-def]
    capture = make([0.0, 1.0], 16_000)
    for plot in (rl.plot_waveform, rl.plot_spectrogram, rl.plot_levels):
        plot(capture, title=name[:200])
        plt.gcf().canvas.draw()
        plt.close("all")


def test_every_export_is_written_and_read_back(hostile: Capture, tmp_path: Path) -> None:
    for suffix in (".wav", ".flac", ".ogg", ".mp3"):
        path = rl.save(hostile, tmp_path / f"x{suffix}")
        assert soundfile.info(path).frames > 0


@pytest.mark.parametrize(
    "name", [NAMES["html"], NAMES["control"] + NAMES["direction"]], ids=["html", "characters"]
)
def test_the_report_holds(hostile: Capture, tmp_path: Path) -> None:
    text = rl.report(hostile, tmp_path / "r.html").read_text()
    assert "<script" not in text
    assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", text)
    body = re.sub(r'"data:[^"]*"', '""', text.split("</style>")[1])
    printed(body)
    assert len(body) < 300_000
