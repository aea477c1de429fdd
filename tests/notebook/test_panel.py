"""The panel as a page and as text: pure functions of one look."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import pytest

from recall_lab.control.status import Status
from recall_lab.notebook.followed import Stream
from recall_lab.notebook.live import Look
from recall_lab.notebook.panel import MOST_ROWS, html_of, name_of, text_of

NOON = 1_767_268_800_000_000_000  # 2026-01-01 12:00 UTC


def stream(**given: Any) -> Stream:
    usual: dict[str, Any] = {
        "recording": "daily", "participant": None, "name": None, "seconds": 63.25, "end": 63.25,
        "packets": 316, "rate": 5.0, "rms": -23.4, "peak": -12.0, "gaps": 0, "missing": 0.0,
        "causes": {}, "delay": 0.012, "loudness": 0.01,
    }  # fmt: skip
    return Stream(**{**usual, **given})


def look(*streams: Stream, **status: Any) -> Look:
    health = Status(
        **{"state": "running", "url": "ws://127.0.0.1:3456/", "connections": 2, "packets": 1234,
           "packets_per_second": 5.5, **status}
    )  # fmt: skip
    return Look(at=NOON, url=health.url, health=health, streams=list(streams))


class Page(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_a_receiver_at_work() -> None:
    seen = look(
        stream(),
        stream(
            participant=7, name="Ada", gaps=3, missing=1.5, causes={"loss": 0.5, "reconnect": 0.8},
            rms=-math.inf, peak=-math.inf, verdict="poor: 1.50 of 63.2 s are missing <in 3 gaps>",
        ),
        stream(recording="weekly", rms=math.nan, peak=math.nan, delay=math.nan),
    )  # fmt: skip
    page = Page(html_of(seen))
    told = " ".join(page.text.split())
    assert "receiving at ws://127.0.0.1:3456/" in told
    assert "2026-01-01 12:00:00 UTC: 2 connections open, 3 streams, 1,234 packets" in told
    assert "1.50 s missing in 3 gaps" in told
    assert "recording daily mixed 0:01:03.2 5.0 -23 dBFS 12 ms nothing" in told
    assert "Ada (7) 0:01:03.2 5.0 digital silence 12 ms" in told
    assert "■ loss: 0.50 s ■ reconnect: 0.80 s ■ cause not told yet: 0.20 s" in told
    assert "● poor 1.50 of 63.2 s are missing <in 3 gaps> recording weekly" in told
    assert "recording weekly mixed 0:01:03.2 5.0 no packets nothing" in told
    assert page.tags.count("tr") == 1 + 2 + 3 + 1
    assert {name for name, _ in page.attributes} <= {"style", "colspan"}


def test_a_replay_has_no_delay_but_says_that_it_is_one() -> None:
    seen = look(stream(pace=4.02, delay=math.nan), stream(pace=math.inf, participant=2))
    told = " ".join(Page(html_of(seen)).text.split())
    assert "-23 dBFS none: a replay, 4.02 times nothing" in told
    assert "-23 dBFS none: a replay, all at once nothing" in told
    assert " ms" not in told
    assert text_of(seen).splitlines()[2].endswith("-23 dBFS, a replay, 4.02 times")
    for pace in (1.0, 1.04, math.nan):  # a call, or too short to tell
        assert "replay" not in html_of(look(stream(pace=pace)))
        assert "12 ms" in html_of(look(stream(pace=pace)))


def test_the_same_as_text() -> None:
    text = text_of(look(stream(gaps=1, missing=0.2, causes={"loss": 0.2}), stream(participant=3)))
    lines = text.splitlines()
    assert lines[0] == "receiving at ws://127.0.0.1:3456/"
    assert lines[2] == (
        "  daily mixed, 0:01:03.250, 5.0 packets/s, -23 dBFS, 0.20 s in 1 gap, loss: 0.20 s"
    )
    assert lines[3].startswith("  daily participant 3, ")


def test_the_meter_is_as_long_as_the_level() -> None:
    for rms, peak, width, color in (
        (-80.0, -70.0, 0, "#009E73"), (-40.0, -20.0, 50, "#009E73"),
        (-8.0, -5.0, 90, "#E69F00"), (3.0, 0.0, 100, "#D55E00"),
    ):  # fmt: skip
        assert f"width:{width}%;background:{color}" in html_of(look(stream(rms=rms, peak=peak)))


def test_what_went_wrong_is_said() -> None:
    seen = look(rejected={"json": 3, "base64": 1}, last_error="disk <full>\nat once")
    page = Page(html_of(seen))
    assert "messages came and were refused: 1 base64, 3 json" in page.text
    assert "last error: disk <full>\\nat once" in page.text
    assert "last error: disk <full>\\nat once" in text_of(seen)
    assert "failed, was at" in text_of(look(state="failed"))


def test_once_it_has_stopped_nothing_is_said_of_now() -> None:
    page = Page(html_of(look(stream(), state="stopped")))
    assert "stopped, was at" in page.text
    assert "packets/s" not in page.text
    assert "dBFS" not in page.text


def test_of_very_many_streams_the_newest_are_shown() -> None:
    many = [stream(recording=f"r{n}") for n in range(MOST_ROWS + 30)]
    page = Page(html_of(look(*many)))
    assert "and 30 streams that began earlier" in page.text
    assert f"r{MOST_ROWS + 29} " in page.text
    assert "r29 " not in page.text
    assert len(html_of(look(*many))) < 150_000
    assert "and 110 streams that began earlier" in text_of(look(*many))


@pytest.mark.parametrize(
    ("participant", "name", "called"),
    [(None, None, "mixed"), (5, "Ada", "Ada (5)"), (5, " ", "participant 5"),
     (5, "x" * 500, "x" * 39 + "… (5)"), (5, "a\nb\u202e", "a\ufffdb\ufffd (5)")],
)  # fmt: skip
def test_names(participant: int | None, name: str | None, called: str) -> None:
    assert name_of(stream(participant=participant, name=name)) == called
