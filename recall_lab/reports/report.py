"""Write the report of a capture: one HTML file, for a phone and for a desk.

Nothing in it is loaded from anywhere, and its own policy forbids it to. All text that came from
the network is escaped. Pictures are there twice, for light and for dark pages.
"""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recall_lab.analysis.axis.axis import covered
from recall_lab.analysis.recording.comparison import Comparison
from recall_lab.analysis.sound.levels import levels
from recall_lab.analysis.sound.summary import sound_summary
from recall_lab.analysis.time.analysis import Analysis, Call, analyse
from recall_lab.analysis.time.loss import UNEXPLAINED
from recall_lab.analysis.verdict.quality import quality
from recall_lab.analysis.verdict.verdict import findings_of
from recall_lab.arguments import Duration
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.plots.clip import wav_bytes
from recall_lab.plots.compare import plot_compare
from recall_lab.plots.overview import plot_overview
from recall_lab.plots.sound import plot_spectrogram
from recall_lab.plots.terminal import clock_facts, replay
from recall_lab.plots.timing import plot_clocks, plot_timing
from recall_lab.reports.finding_list import MISSING, SOUND, TIMING, finding_list
from recall_lab.reports.page import facts, page, page_path, picture, write
from recall_lab.text import counted, printable
from recall_lab.wire.pcm import RATE

NOT_LOST: Final = ("mute", "silence", "pause")
"""Causes of gaps in which nothing was said that could have been lost."""

_LISTED = 50  # gaps in the table
_SPANS = 8  # stretches in one of the two only
_WORST, _CLIP = 3, 6.0  # how many moments, and how long each, s
_STEPS = 6  # that a moment is made of
_MOST_STEPS = 200_000  # that are looked at


def report(
    source: Any,
    path: str | os.PathLike[str],
    *,
    call: Call | None = None,
    mute: Duration | None = None,
    tolerance: Duration | None = None,
    detector: str = "level",
    comparison: Comparison | None = None,
) -> Path:
    """Write all there is to say of a capture into one HTML file.

    A verdict, what is missing and why, one picture of it all, the timing, the levels, and the
    three worst moments to listen to. It needs no network, and opens on a phone as at a desk, in
    light and in dark.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without.
        path: the file, ``.html``; replaced in one step.
        call, mute, tolerance: as for :func:`recall_lab.analyse`: one set of options for all that
            the page tells.
        detector: of speech, as for :func:`recall_lab.speech`.
        comparison: of the capture with its recording, as :func:`recall_lab.compare` returns it:
            then the page has where the one lies in the other, and what can be had back.

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
    path = page_path(path)
    known = analyse(source, call=call, mute=mute, tolerance=tolerance)
    if comparison is not None and not isinstance(comparison, Comparison):
        raise InvalidArgument("comparison", type(comparison), "what rl.compare() returned, or None")
    write(path, _page(known, detector, comparison))
    return path


def _page(known: Analysis, detector: str, comparison: Comparison | None) -> str:
    capture = known.capture
    timed = not capture.packets.empty
    measured = quality(known) if timed else None
    heard = sound_summary(known)
    parts = [_head(capture)]
    if measured is not None:
        verdict = str(measured["verdict"])
        kind = verdict.split(":")[0]
        parts.append(f'<p class="verdict {html.escape(kind)}">{html.escape(verdict)}</p>')
    else:
        lost = capture.damage.missing_payloads
        why = (
            f"The audio of all {counted(lost, 'packet')} is gone from its file."
            if lost
            else "There are no packets beside this audio, so nothing can be said of what is "
            "missing, nor of when it was."
        )
        parts.append(f'<p class="verdict {"poor" if lost else ""}">{why}</p>')
    parts.append(finding_list(findings_of(known)))
    parts.append(facts(_summary(known, measured)))
    told = "Waveform, spectrogram, level, speech and gaps over relative time"
    parts.append("<h2>Overview</h2>")

    def draw(figure: Figure) -> None:
        plot_overview(known, figure, detector=detector)

    parts.append(picture(draw, (11, 7), told))
    if timed:
        parts += [f'<h2 id="{MISSING}">What is missing</h2>', _gap_table(known)]
    if comparison is not None:
        parts += _compared(comparison)
    parts += ["<h2>Worst moments</h2>", _moments(known)]
    if timed:
        parts.append(f'<h2 id="{TIMING}">Timing</h2>')
        parts += [f"<p>{html.escape(_sentence(told))}</p>" for told in clock_facts(known)]
        plots = [(plot_timing, "How late each packet came")] if not known.replayed else []
        for plot, told in (*plots, (plot_clocks, "How far the clocks came apart")):
            parts.append(picture(lambda f, p=plot: p(known, f.subplots()), (11, 3.6), told))  # type: ignore[misc]
    parts += [f'<h2 id="{SOUND}">Sound</h2>', facts(_sound_facts(heard))]
    if measured is not None:
        rows = "".join(
            f'<tr><td>{html.escape(str(name))}</td><td class="number">'
            f"{html.escape(_measure(known, str(name), value))}</td></tr>"
            for name, value in measured.drop("verdict").items()
        )
        parts.append(
            "<details><summary>All measures</summary>"
            f'<div class="wide"><table>{rows}</table></div></details>'
        )
    return page(
        capture.info.stem,
        parts,
        "Levels are dBFS, 0 for a sine of full scale. Times are seconds of the sender's relative "
        "clock, and UTC.",
    )


def _compared(comparison: Comparison) -> list[str]:
    """Return what the recording tells: facts, the picture, and what cannot be had back."""

    def draw(figure: Figure) -> None:
        plot_compare(comparison, figure)

    told = "Pieces, lags, similarity, level and gaps over relative time"
    parts = ["<h2>In the recording</h2>", facts(comparison.facts()), picture(draw, (11, 7), told)]
    for side, rows in comparison.unmatched.groupby("side"):
        spans = ", ".join(
            f"{low:.1f} to {high:.1f} s"
            for low, high in rows[["start", "end"]].head(_SPANS).to_numpy().tolist()
        )
        more = " and more" if len(rows) > _SPANS else ""
        parts.append(f"<p>In the {side} only: {spans}{more}.</p>")
    why = comparison.gaps["why"]
    for reason, count in why[why != ""].value_counts().items():
        told = f"{counted(int(count), 'gap')} can't be filled, or not whole: {reason}."
        parts.append(f"<p>{html.escape(told)}</p>")
    return parts


def _head(capture: Capture) -> str:
    participant = capture.info.participant
    who = "mixed audio"
    if participant is not None:
        who = f"{printable(participant.name or 'participant')} ({participant.id})"
    when = ""
    if not capture.packets.empty:
        when = f", {capture.packets['absolute'].min():%Y-%m-%d %H:%M:%S} UTC"
    return f"<h1>{html.escape(capture.info.stem)}</h1><div>{html.escape(who + when)}</div>"


def _summary(known: Analysis, measured: pd.Series[Any] | None) -> dict[str, str]:
    """Return the first things one asks for."""
    capture = known.capture
    if measured is None:
        return {"audio": f"{capture.duration:,.1f} s", "damage": str(capture.damage)}
    missing = f"{measured['missing_s']:,.2f} s in {counted(int(measured['gaps']), 'gap')}"
    told = {
        "length of the call": f"{measured['span_s']:,.1f} s",
        "audio received": f"{measured['audio_s']:,.1f} s in "
        + counted(int(measured["packets"]), "packet"),
        "missing": missing,
        "longest gap": f"{measured['longest_gap_s']:.2f} s",
    }
    if known.unexplained:
        told["unexplained"] = f"{known.unexplained:,.2f} s: the media clock stood"
    if measured["epochs"] > 1:
        told["epochs"] = f"{measured['epochs']:,}: relative begins again"
    told["connections"] = f"{measured['connections']:,}"
    if known.replayed:
        told["jitter, latest packet"] = f"not told: {replay(known)}"
    else:
        told["jitter"] = _number(measured["jitter_ms"], "ms")
        told["latest packet"] = _number(measured["delay_max_ms"], "ms above the fastest")
    return told | {"damage of the files": str(measured["damage"])}


_OF_ARRIVAL: Final = ("jitter", "delay", "stalls", "receiver_stalls", "longest_stall")


def _measure(known: Analysis, name: str, value: Any) -> str:
    """Return a measure in words: what arrival tells is none for a replay."""
    drift = name.startswith("drift") and "_received_" in name
    if known.replayed and (drift or name.startswith(_OF_ARRIVAL)):
        return "not told: a replay"
    return _number(value)


def _sentence(told: str) -> str:
    return f"{told[:1].upper()}{told[1:]}."


def _sound_facts(heard: pd.Series[Any]) -> dict[str, str]:
    """Return what it sounds like, in words and units."""
    return {
        "level (RMS)": _number(heard["rms_dbfs"], "dBFS"),
        "peak": _number(heard["peak_dbfs"], "dBFS"),
        "loudness (EBU R 128)": _number(heard["integrated_lufs"], "LUFS"),
        "loudness range": _number(heard["range_lu"], "LU"),
        "noise floor": _number(heard["noise_floor_dbfs"], "dBFS"),
        "bandwidth": f"{_number(heard['bandwidth_hz'], 'Hz')}, {heard['band']}",
        "speech": _share(heard["speech_share"]),
        "digital silence": _share(heard["silence_share"]),
        "missing": _share(heard["missing_share"]),
        "clipping": counted(int(heard["clips"]), "run") if heard["clips"] > 0 else "none",
        "DC offset": _number(1e3 * heard["dc"], "thousandths of full scale"),
    }


def _gap_table(known: Analysis) -> str:
    found = known.discontinuities
    rows = found[found["kind"].isin(["gap", "unexplained"])]
    if rows.empty:
        return "<p>Nothing.</p>"
    by_cause = rows.groupby(["kind", "cause"])["duration"].agg(["sum", "count"])
    by_cause = by_cause.sort_values("sum", ascending=False)
    causes = ", ".join(
        f"{cause}: {seconds:,.2f} s in {counted(int(count), 'gap')}"
        if kind == "gap"
        else f"unexplained ({cause}): {seconds:,.2f} s in {counted(int(count), 'place')}"
        for (kind, cause), seconds, count in by_cause.itertuples()
    )
    shown = rows.head(_LISTED)
    cells = "".join(
        f'<tr><td class="number">{start:,.3f}</td><td class="number">{lasts:.3f}</td>'
        f'<td>{html.escape(str(cause))}</td><td class="told">{html.escape(str(told))}</td></tr>'
        for start, lasts, cause, told in zip(
            shown["start"], shown["duration"], shown["cause"], shown["evidence"], strict=True
        )
    )
    more = len(rows) - len(shown)
    rest = f"<p>... and {more:,} more.</p>" if more else ""
    return (
        f'<p>{html.escape(causes)}</p><div class="wide"><table><thead><tr>'
        '<th class="number">start (s)</th><th class="number">lasts (s)</th><th>cause</th>'
        f"<th>told by</th></tr></thead><tbody>{cells}</tbody></table></div>{rest}"
    )


def _moments(known: Analysis) -> str:
    """Return the moments in which most was lost or clipped, each to be seen and heard."""
    worst = worst_moments(known)
    if not worst:
        lost = "" if known.capture.packets.empty else "nothing was lost, and "
        return f"<p>None: {lost}nothing is clipped.</p>"
    parts = []
    for start, end, why in worst:
        told = f"{start:,.1f} s to {end:,.1f} s: {why}"

        def draw(figure: Figure, low: float = start, high: float = end) -> None:
            ax = figure.subplots()
            plot_spectrogram(known, ax, start=low, end=high, title="", colorbar=False)

        clip = base64.b64encode(wav_bytes(known, start, end, normalize=True)).decode()
        parts.append(
            f"<div><h3>{html.escape(told)}</h3>{picture(draw, (6, 2.6), told, scroll=False)}"
            f'<audio controls src="data:audio/wav;base64,{clip}"></audio></div>'
        )
    return f'<div class="moments">{"".join(parts)}</div><p>Played with the peak at -1 dBFS.</p>'


def worst_moments(source: Any) -> list[tuple[float, float, str]]:
    """Return begin, end (s) and what is wrong of the worst few seconds, the worst first.

    Windows are compared by what was lost in them or is unexplained (not what nobody said), and
    then by clipping.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without.
    """
    known = analyse(source)
    timed = not known.capture.packets.empty
    start, end = known.extent if timed else known.capture.span
    level = levels(known, max(_CLIP / _STEPS, (end - start) / _MOST_STEPS))
    if level.empty:
        return []
    edges = np.append(level["start"].to_numpy(), end)
    lost, untold = np.zeros(len(level)), np.zeros(len(level))
    if timed:
        gaps, stood = known.found.of("gap"), known.found.of("unexplained")
        kept = ~np.isin(gaps.cause.astype(str), (*NOT_LOST, UNEXPLAINED))
        lost = np.diff(covered(gaps.start[kept], gaps.end[kept], edges))
        open_ = gaps.cause == UNEXPLAINED
        untold = np.diff(covered(gaps.start[open_], gaps.end[open_], edges))
        at = np.clip(np.searchsorted(edges, stood.start, "right") - 1, 0, len(level) - 1)
        np.add.at(untold, at, stood.duration)  # no time at all on the axis
    clipped, clips = level["clipped"].to_numpy() / RATE, level["clips"].to_numpy()
    taken = np.zeros(len(level), bool)
    moments: list[tuple[float, float, str]] = []
    while len(moments) < _WORST:
        wrong = np.where(taken, 0, lost + untold + clipped)
        score = np.convolve(wrong, np.ones(_STEPS), "full")
        last = int(score.argmax())  # of the steps of the moment
        some = slice(max(last - _STEPS + 1, 0), last + 1)
        if score[last] < 1 / RATE:
            break
        # what is worst stands in the middle, as far as the capture goes
        middles = edges[:-1][some] + np.diff(edges)[some] / 2
        middle = float(np.average(middles, weights=wrong[some]))
        low = min(max(middle - _CLIP / 2, start), max(end - _CLIP, start))
        why = [
            f"{seconds[some].sum():.2f} s {told}"
            for seconds, told in ((lost, "lost"), (untold, "unexplained"))
            if seconds[some].any()
        ]
        if clips[some].any():
            why.append(counted(int(clips[some].sum()), "clipped peak"))
        moments.append((low, min(low + _CLIP, end), ", ".join(why)))
        taken[max(some.start - _STEPS // 2, 0) : some.stop + _STEPS // 2] = True
    return moments


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
