"""A report of a capture: one HTML file that needs nothing else, for a phone and for a desk.

Nothing in it is loaded from anywhere, and its own policy forbids it to. All text that came from
the network is escaped. Pictures are there twice, for light and for dark pages.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recall_lab.analysis.export import whole_or_nothing
from recall_lab.analysis.gaps import gaps
from recall_lab.analysis.levels import levels
from recall_lab.analysis.quality import quality
from recall_lab.analysis.sound import sound
from recall_lab.analysis.timeline import covered
from recall_lab.capture.capture import Capture
from recall_lab.display.overview_plot import plot_overview
from recall_lab.display.player import wav_bytes
from recall_lab.display.sound_plots import plot_spectrogram
from recall_lab.display.style import DARK, LIGHT, png_of
from recall_lab.display.timing_plots import plot_clocks, plot_timing
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, printable
from recall_lab.version import __version__
from recall_lab.wire.pcm import RATE

NOT_LOST: Final = ("mute", "silence", "pause")
"""Causes of gaps in which nothing was said that could have been lost."""

_LISTED = 50  # gaps in the table
_WORST, _CLIP = 3, 6.0  # how many moments, and how long each, s
_STEPS = 6  # that a moment is made of
_MOST_STEPS = 200_000  # that are looked at

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #009e73;
        --usable: #e69f00; --poor: #d55e00; --empty: #999; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem;
       background: #fff; color: #1b1b1b; }
@media (prefers-color-scheme: dark) { body { background: #16191d; color: #e6e6e6; } }
h1 { font-size: 1.5rem; margin: .2rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
img { width: 100%; height: auto; display: block; }
.verdict { border-left: .5rem solid var(--empty); background: var(--soft); padding: .6rem 1rem;
           font-size: 1.1rem; margin: 1rem 0; }
.good { border-color: var(--good); } .usable { border-color: var(--usable); }
.poor { border-color: var(--poor); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .5rem; }
.facts div { background: var(--soft); padding: .4rem .7rem; overflow-wrap: anywhere; }
.facts small { display: block; opacity: .75; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line);
         vertical-align: top; white-space: nowrap; }
td:last-child { white-space: normal; min-width: 16rem; }
.number { text-align: right; }
audio { width: 100%; max-width: 30rem; display: block; margin: .4rem 0; }
.moments { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
.scroll { overflow-x: auto; } .scroll img { min-width: 40rem; }
footer { margin: 2rem 0; font-size: .85rem; opacity: .75; }
"""


def report(
    capture: Capture,
    path: str | os.PathLike[str],
    *,
    span: tuple[float, float] | None = None,
    tolerance: float | None = None,
    detector: str = "level",
) -> Path:
    """Write all there is to say of a capture into one HTML file.

    A verdict, what is missing and why, one picture of it all, the timing, the levels, and the
    three worst moments to listen to. It needs no network, and opens on a phone as at a desk, in
    light and in dark.

    Args:
        capture: live or loaded, with packets or without.
        path: the file, ``.html``; replaced in one step.
        span: beginning and end of the call, s on the relative clock (see
            :func:`recall_lab.quality`).
        tolerance: as for :func:`recall_lab.gaps`.
        detector: of speech, as for :func:`recall_lab.speech`.

    Returns:
        The path.

    Raises:
        InvalidArgument: for another suffix, or an option that can't be.
        MissingTimestamps: for a capture that has packets, but no times.
        OSError: when the file can't be written.

    Example:
        >>> report(rl.load("captures/9f3c.bin"), "standup.html")  # doctest: +SKIP
        PosixPath('standup.html')
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument("path", str(path), "a name that ends in .html")
    if not path.parent.is_dir() or path.is_dir():
        raise InvalidArgument("path", str(path), "a file in a folder that is there")
    page = _page(capture, span, tolerance, detector)
    with whole_or_nothing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _page(
    capture: Capture, span: tuple[float, float] | None, tolerance: float | None, detector: str
) -> str:
    timed = not capture.packets.empty
    found = gaps(capture, tolerance, span=span) if timed else None
    measured = quality(capture, span=span) if timed else None
    heard = sound(capture)
    parts = [_head(capture)]
    if measured is not None:
        verdict = str(measured["verdict"])
        kind = verdict.split(":")[0]
        parts.append(f'<p class="verdict {html.escape(kind)}">{html.escape(verdict)}</p>')
    else:
        parts.append(
            '<p class="verdict">There are no packets beside this audio, so nothing can be said '
            "of what is missing, nor of when it was.</p>"
        )
    parts.append(_facts(_summary(capture, measured)))
    told = "Waveform, spectrogram, level, speech and gaps over relative time"
    parts.append("<h2>Overview</h2>")

    def draw(figure: Figure) -> None:
        plot_overview(capture, figure, detector=detector, tolerance=tolerance)

    parts.append(_picture(draw, (11, 7), told))
    if found is not None:
        parts += ["<h2>What is missing</h2>", _gap_table(found)]
    parts += ["<h2>Worst moments</h2>", _moments(capture, found)]
    if timed:
        parts.append("<h2>Timing</h2>")
        for plot, told in (
            (plot_timing, "How late each packet came"),
            (plot_clocks, "How far the clocks came apart"),
        ):
            parts.append(_picture(lambda f, p=plot: p(capture, f.subplots()), (11, 3.6), told))  # type: ignore[misc]
    parts += ["<h2>Sound</h2>", _facts(_sound_facts(heard))]
    if measured is not None:
        rows = "".join(
            f'<tr><td>{html.escape(str(name))}</td><td class="number">'
            f"{html.escape(_number(value))}</td></tr>"
            for name, value in measured.drop("verdict").items()
        )
        parts.append(
            "<details><summary>All measures</summary>"
            f'<div class="wide"><table>{rows}</table></div></details>'
        )
    name = html.escape(printable(capture.info.stem))
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<footer>Made by recall_lab {__version__}. Levels are dBFS, 0 for a sine of full "
        "scale. Times are seconds of the sender's relative clock, and UTC.</footer>\n"
        "</body></html>\n"
    )


def _head(capture: Capture) -> str:
    participant = capture.info.participant
    who = "mixed audio"
    if participant is not None:
        who = f"{printable(participant.name or 'participant')} ({participant.id})"
    when = ""
    if not capture.packets.empty:
        when = f", {capture.packets['absolute'].min():%Y-%m-%d %H:%M:%S} UTC"
    return f"<h1>{html.escape(capture.info.stem)}</h1><div>{html.escape(who + when)}</div>"


def _summary(capture: Capture, measured: pd.Series[Any] | None) -> dict[str, str]:
    """Return the first things one asks for."""
    if measured is None:
        return {"audio": f"{capture.duration:,.1f} s", "damage": str(capture.damage)}
    missing = f"{measured['missing s']:,.2f} s in {counted(int(measured['gaps']), 'gap')}"
    return {
        "length of the call": f"{measured['span s']:,.1f} s",
        "audio received": f"{measured['audio s']:,.1f} s in "
        + counted(int(measured["packets"]), "packet"),
        "missing": missing,
        "longest gap": f"{measured['longest gap s']:.2f} s",
        "connections": f"{measured['connections']:,}",
        "jitter": _number(measured["jitter ms"], "ms"),
        "latest packet": _number(measured["delay max ms"], "ms above the fastest"),
        "damage of the files": str(measured["damage"]),
    }


def _sound_facts(heard: pd.Series[Any]) -> dict[str, str]:
    """Return what it sounds like, in words and units."""
    return {
        "level (RMS)": _number(heard["rms"], "dBFS"),
        "peak": _number(heard["peak"], "dBFS"),
        "loudness (EBU R 128)": _number(heard["integrated"], "LUFS"),
        "loudness range": _number(heard["range"], "LU"),
        "noise floor": _number(heard["noise_floor"], "dBFS"),
        "bandwidth": f"{_number(heard['bandwidth'], 'Hz')}, {heard['band']}",
        "speech": _share(heard["speech"]),
        "digital silence": _share(heard["silence"]),
        "missing": _share(heard["missing"]),
        "clipping": counted(int(heard["clips"]), "run") if heard["clips"] > 0 else "none",
        "DC offset": _number(1e3 * heard["dc"], "thousandths of full scale"),
    }


def _gap_table(found: pd.DataFrame) -> str:
    rows = found[found["kind"] == "gap"]
    if rows.empty:
        return "<p>Nothing.</p>"
    by_cause = rows.groupby("cause")["duration"].agg(["sum", "count"])
    by_cause = by_cause.sort_values("sum", ascending=False)
    causes = ", ".join(
        f"{cause}: {seconds:,.2f} s in {counted(int(count), 'gap')}"
        for cause, seconds, count in by_cause.itertuples()
    )
    shown = rows.head(_LISTED)
    cells = "".join(
        f'<tr><td class="number">{start:,.3f}</td><td class="number">{lasts:.3f}</td>'
        f"<td>{html.escape(str(cause))}</td><td>{html.escape(str(told))}</td></tr>"
        for start, lasts, cause, told in zip(
            shown["start"], shown["duration"], shown["cause"], shown["evidence"], strict=True
        )
    )
    more = len(rows) - len(shown)
    rest = f"<p>... and {counted(more, 'gap')} more.</p>" if more else ""
    return (
        f'<p>{html.escape(causes)}</p><div class="wide"><table><thead><tr>'
        '<th class="number">start (s)</th><th class="number">lasts (s)</th><th>cause</th>'
        f"<th>told by</th></tr></thead><tbody>{cells}</tbody></table></div>{rest}"
    )


def _moments(capture: Capture, found: pd.DataFrame | None) -> str:
    """Return the moments in which most was lost or clipped, each to be seen and heard."""
    worst = worst_moments(capture, found)
    if not worst:
        return "<p>None: nothing was lost, and nothing is clipped.</p>"
    parts = []
    for start, end, why in worst:
        told = f"{start:,.1f} s to {end:,.1f} s: {why}"

        def draw(figure: Figure, low: float = start, high: float = end) -> None:
            ax = figure.subplots()
            plot_spectrogram(capture, ax, start=low, end=high, title="", colorbar=False)

        clip = base64.b64encode(wav_bytes(capture, start, end, normalize=True)).decode()
        parts.append(
            f"<div><h3>{html.escape(told)}</h3>{_picture(draw, (6, 2.6), told, scroll=False)}"
            f'<audio controls src="data:audio/wav;base64,{clip}"></audio></div>'
        )
    return f'<div class="moments">{"".join(parts)}</div><p>Played with the peak at -1 dBFS.</p>'


def worst_moments(capture: Capture, found: pd.DataFrame | None) -> list[tuple[float, float, str]]:
    """Return begin, end (s) and what is wrong of the worst few seconds, the worst first.

    Windows are compared by what was lost in them (not what nobody said), and then by clipping.

    Args:
        capture: whose moments.
        found: its gaps; None where there are no packets.
    """
    start, end = capture.span
    level = levels(capture, max(_CLIP / _STEPS, (end - start) / _MOST_STEPS))
    if level.empty:
        return []
    edges = np.append(level["start"].to_numpy(), end)
    lost = np.zeros(len(level))
    if found is not None:
        rows = found[(found["kind"] == "gap") & ~found["cause"].isin(NOT_LOST)]
        lost = np.diff(covered(rows["start"].to_numpy(), rows["end"].to_numpy(), edges))
    clipped, clips = level["clipped"].to_numpy() / RATE, level["clips"].to_numpy()
    taken = np.zeros(len(level), bool)
    moments: list[tuple[float, float, str]] = []
    while len(moments) < _WORST:
        score = np.convolve(np.where(taken, 0, lost + clipped), np.ones(_STEPS), "full")
        last = int(score.argmax())  # of the steps of the moment
        some = slice(max(last - _STEPS + 1, 0), last + 1)
        if score[last] < 1 / RATE:
            break
        # what is worst stands in the middle, as far as the capture goes
        weights = np.where(taken[some], 0, lost[some] + clipped[some])
        middle = float(np.average(edges[:-1][some] + np.diff(edges)[some] / 2, weights=weights))
        low = min(max(middle - _CLIP / 2, start), max(end - _CLIP, start))
        why = [f"{lost[some].sum():.2f} s lost"] if lost[some].any() else []
        if clips[some].any():
            why.append(counted(int(clips[some].sum()), "clipped peak"))
        moments.append((low, min(low + _CLIP, end), ", ".join(why)))
        taken[max(some.start - _STEPS // 2, 0) : some.stop + _STEPS // 2] = True
    return moments


def _picture(
    draw: Callable[[Figure], object], size: tuple[float, float], told: str, *, scroll: bool = True
) -> str:
    """Return a picture for light and for dark pages; a wide one scrolls on a phone."""
    light, dark = (_png(draw, size, style) for style in (LIGHT, DARK))
    return (
        f'<div class="{"scroll" if scroll else ""}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{html.escape(told)}" src="{light}"></picture></div>'
    )


def _png(draw: Callable[[Figure], object], size: tuple[float, float], style: dict[Any, str]) -> str:
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        png = png_of(figure, 110)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _facts(facts: Mapping[str, str]) -> str:
    cells = "".join(
        f"<div><small>{html.escape(name)}</small>{html.escape(fact)}</div>"
        for name, fact in facts.items()
    )
    return f'<div class="facts">{cells}</div>'


def _number(value: Any, unit: str = "") -> str:
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return "unknown" if np.isnan(value) else f"{value:+} {unit}".replace("inf", "∞").strip()
        text = f"{value:,.0f}" if value % 1 == 0 else f"{value:,.2f}"
    else:
        text = f"{value:,}" if isinstance(value, int | np.integer) else str(value)
    return f"{text} {unit}".strip()


def _share(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.1%}"
