"""The explorer's side in the kernel: answers what the page asks to see and hear.

What comes from the page is as little trusted as what comes from the network: a question that
can't be answered is answered with what was wrong with it.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import anywidget
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets
from IPython.display import display
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from recall_lab.analysis.clocks.columns import times_of
from recall_lab.analysis.recording.export import as_int16
from recall_lab.analysis.sound.pyramid import BINS, Columns, pyramid
from recall_lab.analysis.time.analysis import Analysis
from recall_lab.analysis.time.arguments import crop_of
from recall_lab.arguments import whole
from recall_lab.capture.capture import Moment
from recall_lab.capture.frame import nanoseconds
from recall_lab.errors import InvalidArgument, RecallLabError
from recall_lab.plots.clip import wav_of
from recall_lab.plots.gaps import COLORS
from recall_lab.plots.people import ROW_COLORS, People, draw_speakers, people_of
from recall_lab.plots.sound import RANGE, hatch_missing
from recall_lab.plots.style import BLUE, LIGHT, bars, frequency_axis, png_of, time_axis
from recall_lab.plots.style import title as set_title
from recall_lab.text import counted, excerpt, player_time, printable, shortened, spoken
from recall_lab.wire.pcm import RATE

LONGEST_CLIP: Final = 10.0
"""Seconds that are played at once."""

MOST_GAPS: Final = 1_000
"""Gaps in the list: the longest."""

MOST_TALKS: Final = 1_000
"""Times of speech that are sent: the longest."""

MOST_WORDS: Final = 500
"""Words of a view that are sent: of more, which no screen has room for, how many they are."""

_MOST_COLUMNS = 4_000  # of a view
_MOST_MARKS = 10_000
_FIRST = 1000  # columns that the page has from the start, so that it need not ask
_STILL = 1200  # columns of the still picture


class Explorer(anywidget.AnyWidget):
    """A capture to look at and to listen to. Made by :func:`recall_lab.explore`.

    Attributes:
        span: what is shown, s on the relative clock; can be set.
    """

    _esm = (Path(__file__).parent / "explorer.js").read_text()

    facts: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    first: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    marked: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    span = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 1.0)).tag(
        sync=True
    )

    def __init__(
        self, known: Analysis, start: Moment | None = None, end: Moment | None = None
    ) -> None:
        capture = known.capture
        self._capture = capture
        self._pyramid = pyramid(known)
        line = self._pyramid.line
        self._clocks = _clocks(known)
        self._people = people_of(capture)
        missing = _gaps(known)
        lost = float(missing["duration"].sum())
        name = capture.info.participant.name if capture.info.participant else None
        told = [
            capture.info.stem,
            *([shortened(name)] if name else []),
            player_time(line.end - line.start),
        ]
        if len(missing):
            told.append(f"{lost:.2f} s missing in {counted(len(missing), 'gap')}")
        if not capture.packets.empty and known.unexplained:
            told.append(f"{known.unexplained:.2f} s unexplained")
        self._title = printable(", ".join(told))
        longest = missing.nlargest(MOST_GAPS, "duration").sort_values("start")
        facts = {
            "title": self._title,
            "start": line.start,
            "end": line.end,
            "palette": _palette(),
            "gapsInAll": len(missing),
            "gaps": [
                {
                    "start": row["start"],
                    "end": row["end"],
                    "cause": row["cause"],
                    "color": COLORS[row["cause"]],
                    "evidence": printable(row["evidence"]),
                }
                for row in longest.to_dict("records")
            ],
            **_talks(self._people),
        }
        self._missing = missing
        span = self._span(start, end)
        first, arrays = self._seen(*span, _FIRST) if len(line) else ({}, [])
        super().__init__(facts=facts, span=span, first={**first, "arrays": arrays})
        self.on_msg(self._asked)

    @property
    def marks(self) -> pd.DataFrame:
        """What was marked: ``relative`` (s), ``absolute`` (UTC; NaT where unknown), ``label``."""
        marks = sorted(self.marked, key=lambda mark: float(mark["time"]))
        relative = np.array([float(mark["time"]) for mark in marks], np.float64)
        absolute = self._on_clock(1, relative)
        known = np.isfinite(absolute)
        times = times_of(np.where(known, absolute, 0).astype(np.int64)).where(known)
        labels = pd.array([str(mark.get("label", "")) for mark in marks], dtype="str")
        return pd.DataFrame({"relative": relative, "absolute": times, "label": labels})

    def mark(self, time: float, label: str = "") -> None:
        """Set a mark at `time`, s on the relative clock."""
        self.marked = [*self.marked, {"time": float(time), "label": str(label)}]

    @traitlets.validate("span")
    def _checked_span(self, proposal: Any) -> tuple[float, float]:
        start, end = proposal["value"]
        return self._span(start, end)

    @traitlets.validate("marked")
    def _checked_marks(self, proposal: Any) -> list[dict[str, Any]]:
        try:
            marks: list[dict[str, Any]] = [
                {"time": float(mark["time"]), "label": str(mark.get("label", ""))[:200]}
                for mark in proposal["value"]
            ]
            fine = len(marks) <= _MOST_MARKS and all(abs(mark["time"]) < 1e9 for mark in marks)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            fine = False
        if not fine:
            valid = f"up to {_MOST_MARKS:,} marks, each with a time in s and a label"
            raise InvalidArgument("marks", proposal["value"], valid)
        return marks

    def _span(self, start: Any, end: Any) -> tuple[float, float]:
        line = self._pyramid.line
        low, high = crop_of(self._capture, start, end)
        span = (line.start if low is None else low, line.end if high is None else high)
        if not all(-1e9 < edge < 1e9 for edge in span) or (span[0] >= span[1] and len(line)):
            raise InvalidArgument("span", (start, end), "two times in s, the first one first")
        return float(span[0]), float(span[1])

    def _asked(self, widget: object, content: Any, buffers: object) -> None:
        """Answer the page."""
        number = content.get("id") if isinstance(content, dict) else None
        try:
            kind = content["kind"]
            start, end = float(content["start"]), float(content["end"])
            if kind == "view":
                answer, data = self._view(start, end, content["columns"])
            elif kind == "sound":
                answer, data = self._sound(start, end)
            else:
                raise InvalidArgument("kind", kind, "'view' or 'sound'")
        except (RecallLabError, KeyError, TypeError, ValueError, OverflowError) as error:
            answer, data = {"kind": "error", "text": excerpt(str(error), 300)[1:-1]}, []
        self.send({**answer, "id": number}, data)

    def _view(self, start: float, end: float, columns: Any) -> tuple[dict[str, Any], list[Any]]:
        whole("columns", columns, 1, _MOST_COLUMNS)
        answer, data = self._seen(start, end, columns)
        return {"kind": "view", **answer}, data

    def _seen(self, start: float, end: float, columns: int) -> tuple[dict[str, Any], list[Any]]:
        """Return a stretch as the page draws it: facts, and arrays as bytes."""
        seen = self._pyramid.view(start, end, columns)
        edges = seen.start + np.arange(len(seen) + 1, dtype=np.float64) * seen.width
        clocks = (
            [self._on_clock(at, edges) / 1e6 for at in (1, 2)] if self._clocks else [edges[:0]] * 2
        )
        arrays = (seen.codes, seen.low, seen.high, seen.rms, seen.missing, *clocks)
        data = [np.ascontiguousarray(array).tobytes() for array in arrays]
        facts = {"start": seen.start, "width": seen.width, "count": len(seen), "bins": BINS}
        return {**facts, **self._said(seen.start, seen.end)}, data

    def _said(self, start: float, end: float) -> dict[str, Any]:
        """Return the words of a stretch, unless they are too many to be read, and their number."""
        words = self._people.words
        low, high = np.searchsorted(words["start"], [start, end])
        few = words.iloc[low:high] if high - low <= MOST_WORDS else words[:0]
        told: list[dict[Any, Any]] = few[["text", "start", "row", "utterance"]].to_dict("records")
        said: dict[int, dict[Any, Any]] = {}  # the last word of each utterance
        for word, language in zip(told, few["language"], strict=True):
            before = said.get(word["utterance"], {"text": ""})["text"]
            # the page joins them, and knows nothing of scripts
            joined = spoken([before, word["text"]], language)
            word["blank"] = len(joined) > len(before) + len(word["text"])
            said[word["utterance"]] = word
        return {"words": told, "wordsInView": int(high - low)}

    def _sound(self, start: float, end: float) -> tuple[dict[str, Any], list[Any]]:
        line = self._pyramid.line
        low = min(max(round((start - line.start) * RATE), 0), len(line))
        high = min(max(round((end - line.start) * RATE), low), len(line))
        if not 0 < high - low <= LONGEST_CLIP * RATE:
            valid = f"a clip of up to {LONGEST_CLIP:g} s within the capture"
            raise InvalidArgument("start, end", (start, end), valid)
        clip = wav_of(as_int16(line.take(low, high)))
        return {"kind": "sound", "start": line.start + low / RATE}, [clip]

    def _on_clock(self, which: int, relative: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return relative times on another clock, in ns since 1970; NaN where nobody knows."""
        if not self._clocks:
            return np.full(len(relative), np.nan)
        known, values = self._clocks[0], self._clocks[which]
        # seconds from the first, or a float would round the nanoseconds of today to 256
        since = np.interp(relative, known, (values - values[0]).astype(np.float64))
        since += 1e9 * np.where(relative < known[0], relative - known[0], 0)
        since += 1e9 * np.where(relative > known[-1], relative - known[-1], 0)
        times: npt.NDArray[np.float64] = since + float(values[0])
        return times

    def __repr__(self) -> str:
        return f"<Explorer of {self._title}>"

    def _ipython_display_(self) -> None:
        """Show the live picture, and below it a still one for readers without a kernel."""
        bundle, metadata = self._repr_mimebundle_() or ({}, {})
        display(bundle, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        still = base64.b64encode(self._still()).decode()
        display({"image/png": still, "text/plain": repr(self)}, raw=True)  # type: ignore[no-untyped-call]

    def _still(self) -> bytes:
        """Return what is shown as a PNG: what stays in the saved notebook."""
        start, end = self.span
        with mpl.rc_context(LIGHT):
            rows = len(self._people.labels) if len(self._people.spans) else 0
            more = 0.15 * max(rows, 2) if rows else 0.0  # inches
            figure = Figure(figsize=(10, 4.2 + more))
            edges = 0.55 / (4.2 + more), 1 - 0.29 / (4.2 + more)
            figure.subplots_adjust(0.09, edges[0], 0.91, edges[1], hspace=0.14)  # quick
            heights = [1, 2.2, *([more] if rows else []), 0.18]
            wave, sound, *talk, lane = figure.subplots(
                len(heights), 1, height_ratios=heights, sharex=True
            )
            set_title(wave, self._title)
            if end > start:
                _draw(wave, sound, self._pyramid.view(start, end, _STILL))
            spans = self._missing[["start", "end"]].to_numpy(np.float64).clip(start, end)
            spans = spans[spans[:, 1] > spans[:, 0]]
            for ax in (wave, sound):
                hatch_missing(ax, spans, (end - start) / _STILL)
            line = self._pyramid.line
            lane.broken_barh([(line.start, line.end - line.start)], (0, 1), facecolor=BLUE)
            for cause in self._missing["cause"].unique():
                some = self._missing[self._missing["cause"] == cause]
                wide = bars(some["start"].to_numpy(), some["end"].to_numpy(), (end - start) / 600)
                lane.broken_barh(wide, (0, 1), facecolor=COLORS[cause])
            lane.set(yticks=[], ylim=(0, 1), ylabel="gaps")
            lane.yaxis.label.set(rotation=0, ha="right", va="center")
            for ax in talk:
                draw_speakers(ax, self._people, (start, end))
                ax.tick_params(axis="y", labelsize="x-small")
            for ax in (wave, sound, *talk, lane):
                time_axis(ax, start, end)
            for ax in (wave, sound, *talk):
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
            return png_of(figure, 100)


def _draw(wave: Any, sound: Any, seen: Columns) -> None:
    """Draw the waveform and the spectrogram of a stretch."""
    middles = seen.start + (np.arange(len(seen)) + 0.5) * seen.width
    wave.fill_between(middles, seen.low, seen.high, color=BLUE, linewidth=0.4, step="mid")
    peak = float(np.nanmax(np.abs([seen.low, seen.high]), initial=0.0)) or 1.0
    wave.set_ylim(-1.1 * peak, 1.1 * peak)
    wave.set_ylabel("amplitude\n(full scale = 1)")
    image = sound.imshow(
        seen.levels, extent=(seen.start, seen.end, 0, RATE / 2), origin="lower", aspect="auto",
        cmap="magma", vmin=RANGE[0], vmax=RANGE[1], interpolation="auto",
    )  # fmt: skip
    sound.set_facecolor("0.6")
    frequency_axis(sound, "linear")
    bar = sound.figure.colorbar(image, cax=sound.inset_axes((1.01, 0, 0.012, 1)), extend="both")
    bar.set_label("dBFS (sine = 0)")


def _palette() -> str:
    """Return the colour of each code of a column as six hexadecimal digits."""
    levels = np.arange(256) / 2 - 127.5
    shades = mpl.colormaps["magma"]((levels - RANGE[0]) / (RANGE[1] - RANGE[0]))
    return "".join(to_hex(color)[1:] for color in shades)


def _talks(people: People) -> dict[str, Any]:
    """Return who speaks when as the page draws it: rows, and the longest times of speech."""
    longest = people.spans.assign(length=people.spans["end"] - people.spans["start"])
    longest = longest.nlargest(MOST_TALKS, "length").sort_values("start")
    rows = zip(people.labels, ROW_COLORS, strict=False)
    return {
        "people": [{"name": name, "color": color} for name, color in rows],
        "talks": longest[["row", "start", "end"]].to_dict("records"),
        "talksInAll": len(people.spans),
        "wordsInAll": len(people.words),
    }


def _gaps(known: Analysis) -> pd.DataFrame:
    """Return the gaps of a capture, of which there are none without packets."""
    if known.capture.packets.empty:
        return pd.DataFrame({"start": [], "end": [], "duration": [], "cause": [], "evidence": []})
    return known.gaps


def _clocks(known: Analysis) -> tuple[npt.NDArray[Any], ...]:
    """Return relative times (s, rising), and absolute and received ones with them (ns)."""
    if known.capture.packets.empty:
        return ()
    packets = known.packets
    relative = packets["relative"].to_numpy()
    order = np.argsort(relative, kind="stable")
    return (
        relative[order],
        nanoseconds(packets["absolute"])[order],
        nanoseconds(packets["received"])[order],
    )
