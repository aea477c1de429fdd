"""Render the live panel as HTML and as text: pure functions of one look at a receiver.

The HTML has inline styles only and no colours of its own for text, so that it reads in a light
theme, in a dark one, and where styles are stripped. Everything that came from the network is
escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from recall_lab.notebook.followed import Stream
from recall_lab.notebook.live import Look
from recall_lab.plots.gaps import COLORS
from recall_lab.plots.style import GREEN, GREY, ORANGE, VERMILION
from recall_lab.text import counted, excerpt, player_time, printable, safe_html, shortened, tallied

MOST_ROWS: Final = 100
"""Streams in the table; where there are more, those that began last."""

_LINES = 20  # streams in the text
_FLOOR = -80.0  # dBFS at the meter's left end
_HOT, _CLIPPED = -6.0, -0.1  # dBFS of a peak
_UNTOLD = 5e-4  # s
_NAME = 40  # characters of a name

_CELL = "padding:2px 14px 2px 0;text-align:left;vertical-align:middle;white-space:nowrap"
_NUMBER = _CELL.replace("left", "right", 1) + ";font-variant-numeric:tabular-nums"
_WORDS = _CELL.replace("nowrap", "normal")
_NOW = ("packets/s", "level, 1 s (dBFS)")
"""Columns that make sense while something may come."""

_WHY = 200  # characters of a reason
_WORD_COLORS = {"good": GREEN, "usable": ORANGE, "poor": VERMILION}
_STATES = {"running": GREEN, "stopped": GREY, "failed": VERMILION}


def html_of(look: Look) -> str:
    """Return the panel as HTML."""
    health = look.health
    color = _STATES.get(health.state, VERMILION)
    parts = [
        '<div style="font-size:13px;line-height:1.45">'
        f'<div><span style="color:{color}">&#9679;</span> <b>{safe_html(_state(look))}</b></div>'
        f"<div>{safe_html(_totals(look))}</div>"
    ]
    parts += [
        f'<div><span style="color:{VERMILION}">&#9650;</span> {safe_html(wrong)}</div>'
        for wrong in _wrongs(look)
    ]
    shown = look.streams[-MOST_ROWS:]
    if shown:
        cells = [_cells(stream, running=health.state == "running") for stream in shown]
        heads = "".join(f'<th style="{style}">{name}</th>' for name, (style, _) in cells[0].items())
        parts.append(
            '<table style="border-collapse:collapse;margin-top:4px">'
            f"<thead><tr>{heads}</tr></thead><tbody>"
        )
        last = None
        for stream, row in zip(shown, cells, strict=True):
            if stream.recording != last:
                last = stream.recording
                parts.append(
                    f'<tr><td colspan="{len(row)}" style="{_CELL};border-top:1px solid #8886">'
                    f"recording <code>{safe_html(last)}</code></td></tr>"
                )
            inner = "".join(f'<td style="{style}">{cell}</td>' for style, cell in row.values())
            parts.append(f"<tr>{inner}</tr>")
            why = _why(stream)
            if why:
                parts.append(
                    f'<tr><td></td><td colspan="{len(row) - 1}" style="{_WORDS}">'
                    f"{safe_html(why)}</td></tr>"
                )
        parts.append("</tbody></table>")
    if len(look.streams) > len(shown):
        parts.append(
            f"<div>and {len(look.streams) - len(shown):,} streams that began earlier</div>"
        )
    return "".join(parts) + "</div>"


def text_of(look: Look) -> str:
    """Return the panel as plain text, for where HTML is not shown."""
    lines = [_state(look), _totals(look), *_wrongs(look)]
    for stream in look.streams[-_LINES:]:
        facts = [f"{stream.recording} {name_of(stream)}", player_time(stream.seconds)]
        facts += [f"{stream.rate:.1f} packets/s", _level(stream), *_missing_words(stream)]
        facts += [_replay(stream)] * stream.replayed
        facts += [stream.verdict if _why(stream) else stream.verdict.partition(":")[0]]
        lines.append("  " + ", ".join(filter(None, facts)))
    if len(look.streams) > _LINES:
        lines.append(f"  and {len(look.streams) - _LINES:,} streams that began earlier")
    return "\n".join(map(printable, lines))


def name_of(stream: Stream) -> str:
    """Return what to call a stream within its recording, short enough for a table."""
    if stream.participant is None:
        return "mixed"
    name = shortened(stream.name or "", _NAME)
    return f"{name} ({stream.participant})" if name else f"participant {stream.participant}"


def _state(look: Look) -> str:
    words = {"running": "receiving at", "stopped": "stopped, was at", "failed": "failed, was at"}
    state = f"{words.get(look.health.state, look.health.state)} {look.url}"
    return f"{state}, from outside {look.health.public_url}" if look.health.public_url else state


def _totals(look: Look) -> str:
    health = look.health
    at = np.datetime64(look.at // 1_000_000_000, "s").astype(str).replace("T", " ")
    missing = sum(stream.missing for stream in look.streams)
    gaps = sum(stream.gaps for stream in look.streams)
    return ", ".join(
        [
            f"{at} UTC: {counted(health.connections, 'connection')} open",
            counted(len(look.streams), "stream"),
            f"{health.packets:,} packets ({health.packets_per_second:g} a second)",
            f"{missing:.2f} s missing in {counted(gaps, 'gap')}" if gaps else "nothing missing",
        ]
    )


def _wrongs(look: Look) -> Iterator[str]:
    """Give what a person should know of, if anything."""
    if look.health.trouble:
        yield f"tunnel: {excerpt(look.health.trouble, 400)[1:-1]}"
    for what, counts in (
        ("messages came and were refused", look.health.rejected),
        ("connections refused", look.health.refused),
    ):
        if counts:
            yield f"{what}: {tallied(dict(sorted(counts.items())))}"
    yield from look.health.hints
    if look.health.last_error:
        yield f"last error: {excerpt(look.health.last_error, 400)[1:-1]}"


def _cells(stream: Stream, *, running: bool) -> dict[str, tuple[str, str]]:
    """Return style and content of a row's cells, by the name of their column."""
    cells = {
        "stream": (_CELL, safe_html(name_of(stream))),
        "audio": (_NUMBER, player_time(stream.seconds)[:-2]),
        "packets/s": (_NUMBER, f"{stream.rate:.1f}"),
        "level, 1 s (dBFS)": (_CELL, _meter(stream)),
        "delay": (_NUMBER, _delay(stream)),
        "missing": (_WORDS, _missing(stream)),
        "verdict": (_CELL, _verdict(stream)),
    }
    return cells if running else {name: cell for name, cell in cells.items() if name not in _NOW}


def _delay(stream: Stream) -> str:
    """Return how late packets come; of a replay, that it is one."""
    if stream.replayed:
        return f"none: {_replay(stream)}"
    return f"{1e3 * stream.delay:.0f} ms" if math.isfinite(stream.delay) else ""


def _replay(stream: Stream) -> str:
    return "a replay, all at once" if stream.pace > 1e6 else f"a replay, {stream.pace:.3g} times"


def _meter(stream: Stream) -> str:
    """Return a bar as long as the level is high, with the level beside it."""
    share = 0.0
    if stream.rms > _FLOOR:
        share = min(100.0, 100 * (stream.rms - _FLOOR) / -_FLOOR)
    hot = stream.peak >= _HOT
    color = VERMILION if stream.peak >= _CLIPPED else ORANGE if hot else GREEN
    return (
        '<span style="display:inline-block;width:90px;height:9px;background:#8883;'
        'margin-right:6px"><span style="display:block;height:9px;'
        f'width:{share:.0f}%;background:{color}"></span></span>{_level(stream)}'
    )


def _level(stream: Stream) -> str:
    if math.isnan(stream.rms):
        return "no packets"
    return "digital silence" if math.isinf(stream.rms) else f"{stream.rms:.0f} dBFS"


def _verdict(stream: Stream) -> str:
    """Return what a stream is called, marked by a colour; nothing before that is known."""
    word = stream.verdict.partition(":")[0]
    if not word:
        return ""
    mark = f'<span style="color:{_WORD_COLORS.get(word, GREY)}">&#9679;</span>'
    return f"{mark} <b>{safe_html(word)}</b>"


def _why(stream: Stream) -> str:
    """Return why a stream is not good."""
    word, _, why = stream.verdict.partition(": ")
    return "" if word == "good" else shortened(why, _WHY)


def _missing(stream: Stream) -> str:
    words = _missing_words(stream)
    if not words:
        return "nothing"
    dots = [
        f'<span style="white-space:nowrap"><span style="color:{color}">&#9632;</span> '
        f"{safe_html(word)}</span>"
        for word in words[1:]
        for color in [COLORS.get(word.partition(":")[0], GREY)]
    ]
    return f"{safe_html(words[0])} {' '.join(dots)}"


def _missing_words(stream: Stream) -> list[str]:
    """Return what is missing in all, then by cause."""
    if not stream.gaps:
        return []
    told = [f"{cause}: {lost:.2f} s" for cause, lost in stream.causes.items()]
    rest = stream.missing - sum(stream.causes.values())
    if rest > _UNTOLD:
        told.append(f"cause not told yet: {rest:.2f} s")
    return [f"{stream.missing:.2f} s in {counted(stream.gaps, 'gap')}", *told]
