"""Write a survey as one HTML file, with reports of the worst captures beside it."""

from __future__ import annotations

import hashlib
import html
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from recall_lab.analysis.causes.causes import CAUSES, missing_label
from recall_lab.arguments import whole
from recall_lab.errors import InvalidArgument
from recall_lab.loading import load
from recall_lab.reports.page import page, page_path, picture, write
from recall_lab.reports.report import report
from recall_lab.surveys.plot import plot_survey
from recall_lab.surveys.ranking import AVAILABLE, lasting, name_of, rank, summary
from recall_lab.text import counted, printable, redacted, safe_html, shortened

_LISTED: Final = 1000  # rows of the table: more is for a frame, not for a page
_TOLD: Final = 200  # characters of why there is no report
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")


def survey_report(
    frame: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    reports: int = 20,
    progress: bool | None = None,
) -> Path:
    """Write a survey into one HTML file, and reports of the worst captures into a folder beside.

    The file says in some sentences how good they are, shows :func:`recall_lab.plot_survey`, and
    lists the streams, the worst first (at most 1,000), each with what is wrong of it. The names
    of the worst lead to their own :func:`recall_lab.report`, in the folder ``{name}-reports``: of
    these the audio is read, from object storage too. A capture of which there can be no report is
    listed with the reason.

    Args:
        frame: of :func:`recall_lab.survey` with ``quality``, or rows of one.
        path: the file, ``.html``; replaced in one step, as are the reports.
        reports: how many captures get a report of their own.
        progress: show a bar; by default in a terminal.

    Returns:
        The path.

    Raises:
        InvalidArgument: for another suffix, frame or number, or a file in the folder's place.
        OSError: when the file can't be written.

    Example:
        >>> survey_report(rl.survey("captures/"), "week.html")  # doctest: +SKIP
        PosixPath('week.html')
    """
    path = survey_path(path)
    whole("reports", reports)
    rows = rank(frame)
    written = _reports(rows.head(reports), path, progress)
    write(path, _page(frame, rows, written, path))
    return path


def survey_path(path: str | os.PathLike[str]) -> Path:
    """Return where the page of a survey is to be written.

    Raises:
        InvalidArgument: for another suffix, a folder that is not there, or no room for reports.
    """
    path = page_path(path)
    folder = _folder(path)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("path", str(path), f"another name: {folder.name} is a file")
    return path


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.stem}-reports")


def _reports(rows: pd.DataFrame, path: Path, progress: bool | None) -> dict[str, str | Exception]:
    """Write the reports; return by source the file's name, or why there is none."""
    written: dict[str, str | Exception] = {}
    if rows.empty:
        return written
    folder = _folder(path)
    folder.mkdir(exist_ok=True)
    shown = sys.stderr.isatty() if progress is None else progress
    for source in tqdm(rows["source"], desc="reports", unit=" captures", disable=not shown):
        name = _file_of(source)
        try:
            report(load(source), folder / name)
            written[source] = name
        except Exception as error:  # whatever is wrong of one: the others are wanted all the same
            (folder / name).unlink(missing_ok=True)  # of an earlier survey: it is true no more
            written[source] = error
    return written


def _file_of(source: str) -> str:
    """Return the file of a report: the same each time, another for each source."""
    stem = _ODD.sub("_", name_of(source, None, "")).strip("_") or "capture"
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{stem}-{digest[:10]}.html"


def _page(
    frame: pd.DataFrame, rows: pd.DataFrame, written: Mapping[str, str | Exception], path: Path
) -> str:
    kinds = set(rows["kind"])
    kind = next((one for one in ("poor", "usable", "good") if one in kinds), "")
    kind = "poor" if kinds & {"failed", "damaged"} else kind
    parts = [
        "<h1>Survey</h1>",
        f"<div>{_of(frame)}</div>",
        f'<p class="verdict {kind}">{html.escape(summary(frame))}</p>',
    ]

    def draw(figure: Figure) -> None:
        plot_survey(rows, figure)

    if len(rows):
        told = "Availability by day and recording, its trend, what is missing, the worst captures"
        parts += [picture(draw, (11, 8.5), told), "<h2>The worst first</h2>"]
        parts.append(_table(rows.head(_LISTED), written, path))
    more = len(rows) - _LISTED
    if more > 0:
        parts.append(f"<p>... and {counted(more, 'stream')} more, none of them worse.</p>")
    return page(path.stem, parts, _NOTE)


def _of(frame: pd.DataFrame) -> str:
    """Return where the captures are, as far as they are in one place, in HTML."""
    alike = os.path.commonprefix(frame["source"].tolist())  # noqa: RUF071 - URLs too; cut below
    folder = alike.rpartition("/")[0]
    return f"captures in {safe_html(shortened(redacted(folder), 300))}" if folder else "captures"


_NOTE: Final = (
    "Availability is what is there of the audio that was expected: mutes and pauses are not held "
    "against a call. Days and times are UTC."
)
_HEADS: Final = (
    ("stream", "name"), ("begins", ""), ("there %", "number"), ("what is wrong", "told"),
    ("missing", "number"), ("lasts", "number"), ("jitter ms", "number"),
    ("level dBFS", "number"), ("speech", "number"),
)  # fmt: skip


def _table(rows: pd.DataFrame, written: Mapping[str, str | Exception], path: Path) -> str:
    heads = "".join(f'<th class="{kind}">{name}</th>' for name, kind in _HEADS)
    lines = []
    for values in rows.to_dict("records"):
        cells = _cells({str(name): value for name, value in values.items()}, written, path)
        line = "".join(
            f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in zip(cells, _HEADS, strict=True)
        )
        lines.append(f"<tr>{line}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def _cells(row: dict[str, Any], written: Mapping[str, str | Exception], path: Path) -> list[str]:
    """Return a stream's cells, in HTML."""
    name = html.escape(name_of(row["source"], row["participant"], row["name"]))
    place = html.escape(shortened(redacted(row["source"]), 300))
    name = f'<span title="{place}">{name}</span>'
    got = written.get(row["source"])
    why = html.escape(printable(redacted(row["why"])))
    if isinstance(got, str):
        name = f'<a href="{quote(os.fsencode(f"{_folder(path).name}/{got}"))}">{name}</a>'
    elif got is not None:
        told = shortened(redacted(f"{type(got).__name__}: {got}"), _TOLD)
        why += f"<br><small>no report: {html.escape(told)}</small>"
    causes = sorted(
        ((row[missing_label(cause)], cause) for cause in CAUSES), key=lambda one: -one[0]
    )
    of_it = ", ".join(f"{cause} {lasting(lost)}" for lost, cause in causes if lost > 0)
    start = row["start"]
    return [
        name,
        "unknown" if pd.isna(start) else f"{start:%Y-%m-%d %H:%M:%S}",
        _shown(row[AVAILABLE], "{:.2f}".format),
        why,
        f'<span title="{html.escape(of_it)}">{_shown(row["missing_s"], lasting)}</span>',
        _shown(row.get("duration"), lasting),
        _shown(row.get("jitter_ms"), "{:.1f}".format),
        _shown(row.get("rms_dbfs"), "{:.1f}".format).replace("-inf", "-∞"),
        _shown(row.get("speech_share"), "{:.0%}".format),
    ]


def _shown(value: Any, form: Any) -> str:
    return "" if value is None or np.isnan(value) else str(form(value))
