"""``recall-lab survey | archive``: thousands of captures, and where finished ones are kept."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import recall_lab as rl
from recall_lab.errors import InvalidArgument, MissingExtra, RecallLabError, StorageFailed
from recall_lab.text import counted, printable, sized

if TYPE_CHECKING:
    import pandas as pd

    from recall_lab.cli import Commands
    from recall_lab.surveys.workers import Client

_ADDRESS: Final = re.compile(r"(tcp|tls|wss?)://[^\s/]+:\d{1,5}/?")
_BAD: Final = {
    "failed": ("failed",),
    "damaged": ("failed", "damaged"),
    "poor": ("failed", "damaged", "poor"),
    "usable": ("failed", "damaged", "poor", "usable"),
}


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    survey = commands.add_parser(
        "survey",
        help="say which of many captures are bad, since when, and why",
        description="Measure every capture of folders, patterns or buckets, and list the worst. "
        "Ctrl-C ends it; with --dataset what was done by then is kept, and the next run goes on.",
    )
    survey.add_argument("source", nargs="+", help="folder, pattern, or URL such as s3://bucket/dir")
    survey.add_argument(
        "--measures", metavar="LIST", type=_names, default=["sound", "levels", "speech"],
        help="of sound, levels, speech, checksums, mos, with commas; quality alone reads no audio, "
        "says nothing of format and sound, and is always measured (sound,levels,speech)",
    )  # fmt: skip
    survey.add_argument("--dataset", metavar="DIR", help="keep rows in a Parquet dataset, or a URL")
    survey.add_argument(
        "--refresh", action="store_true", help="measure what is in --dataset already, too"
    )
    survey.add_argument("--html", metavar="FILE", help="write a page, and reports of the worst")
    survey.add_argument("--csv", metavar="FILE", type=Path, help="write every row")
    survey.add_argument("--plot", metavar="PNG", type=Path, help="draw the survey")
    survey.add_argument("--worst", type=int, metavar="N", default=10, help="how many to list (10)")
    who = survey.add_mutually_exclusive_group()
    who.add_argument("--workers", type=int, metavar="N", help="processes (one for each core)")
    who.add_argument("--dask", metavar="ADDRESS", help="of a dask scheduler, tcp://host:8786")
    survey.add_argument(
        "--fail-on", choices=tuple(_BAD),
        help="exit code 1 when a stream is as bad as that, or worse (failed is the worst)",
    )  # fmt: skip
    survey.set_defaults(run=_survey)

    archive = commands.add_parser(
        "archive",
        help="copy finished captures to object storage, or back",
        description="Copy finished captures to object storage or another folder: checksummed, "
        "resumed where it was broken off, and read back before it counts. A capture that is still "
        "being written is refused.",
    )
    archive.add_argument("capture", nargs="+", help="its .bin, a folder, a pattern, or a URL")
    archive.add_argument("url", help="a folder, or a URL such as s3://bucket/calls")
    archive.add_argument("--flac", action="store_true", help="audio as FLAC: the same, in half")
    archive.set_defaults(run=_archive)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _survey(options: argparse.Namespace) -> int:
    if options.worst < 0:
        raise InvalidArgument("--worst", options.worst, "a whole number, 0 or more")
    _check_targets(options)
    with _client(options) as client:
        frame = rl.survey(
            options.source,
            measures=["quality", *options.measures],
            client=client,
            dataset=options.dataset,
            refresh=options.refresh,
            progress=sys.stderr.isatty(),
        )
    if frame.empty:
        print(f"recall-lab: no captures in {' '.join(options.source)}", file=sys.stderr)
        return 1
    return _told(frame, options)


def _check_targets(options: argparse.Namespace) -> None:
    """Raise InvalidArgument for files that can't be written: before hours of work, not after."""
    if options.html is not None:
        from recall_lab.surveys.page import survey_path

        survey_path(options.html)
    for option, suffixes in (("csv", (".csv",)), ("plot", (".png", ".svg", ".pdf"))):
        path: Path | None = getattr(options, option)
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            valid = f"a name that ends in {' or '.join(suffixes)}"
            raise InvalidArgument(f"--{option}", str(path), valid)
        if not path.parent.is_dir() or path.is_dir():
            raise InvalidArgument(f"--{option}", str(path), "a file in a folder that is there")


def _told(frame: pd.DataFrame, options: argparse.Namespace) -> int:
    """Print what a survey has found, draw it, and say whether it is good enough."""
    from recall_lab.analysis.recording.export import whole_or_nothing
    from recall_lab.surveys.ranking import summary

    rows = rl.rank(frame)
    told = rows[rows["why"] != ""]
    worst = told.head(options.worst)
    if len(worst):
        print(_table(worst))
        left = len(told) - len(worst)
        print(f"and {left:,} more: --worst {len(told)} lists them all\n" if left else "")
    print(summary(frame))
    if options.csv:
        with whole_or_nothing(options.csv) as file:
            frame.to_csv(file, index=False)
    if options.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 8.5), layout="constrained")
        rl.plot_survey(frame, figure)
        with whole_or_nothing(options.plot) as file:
            figure.savefig(file, dpi=150, format=options.plot.suffix[1:].lower())
    if options.html:
        print(f"the page: {rl.survey_report(frame, options.html, reports=options.worst)}")
    kinds = _BAD.get(options.fail_on, ())
    as_bad = rows["kind"].isin(kinds)
    if "damaged" in kinds:
        as_bad |= rows["damage"] != ""  # of poor ones, too
    bad = int(as_bad.sum())
    if bad:
        print(f"{counted(bad, 'stream')} {'is' if bad == 1 else 'are'} {options.fail_on} or worse")
    return 1 if bad else 0


def _table(worst: pd.DataFrame) -> str:
    """Return the worst as a table for a terminal."""
    import numpy as np
    import pandas as pd

    from recall_lab.plots.terminal import table
    from recall_lab.surveys.ranking import AVAILABLE, name_of
    from recall_lab.text import shortened

    names = zip(worst["source"], worst["participant"], worst["name"], strict=True)
    columns = {
        "stream": [name_of(*one) for one in names],
        "begins": ["unknown" if pd.isna(at) else f"{at:%Y-%m-%d %H:%M}" for at in worst["start"]],
        "there %": ["unknown" if np.isnan(x) else f"{x:.2f}" for x in worst[AVAILABLE]],
        "why": [shortened(why, 100) for why in worst["why"]],
    }
    return table({name: pd.Series(texts, dtype="str") for name, texts in columns.items()})


@contextlib.contextmanager
def _client(options: argparse.Namespace) -> Iterator[Client | None]:
    """Give who does the work: processes, so many of them, or a cluster."""
    if options.workers is not None:
        from recall_lab.surveys.workers import MOST, WORKERS

        if not 1 <= options.workers <= MOST:
            raise InvalidArgument("--workers", options.workers, f"1 to {MOST:,}")
        os.environ[WORKERS] = str(options.workers)
    if options.dask is None:
        yield None
        return
    if not _ADDRESS.fullmatch(options.dask):
        raise InvalidArgument("--dask", options.dask, "an address such as tcp://host:8786")
    try:
        from distributed import Client as DaskClient
    except ImportError as error:
        raise MissingExtra("scale", "distributed") from error
    client: Any = DaskClient(options.dask, set_as_default=False, timeout=10)  # type: ignore[no-untyped-call]
    with client:
        yield client


def _archive(options: argparse.Namespace) -> int:
    from recall_lab.archives.destinations import store_of
    from recall_lab.remote.listing import find_streams

    if options.url.startswith("memory:"):
        valid = "a place that outlasts this command, whose memory is gone with it"
        raise InvalidArgument("url", options.url, valid)
    streams = find_streams(options.capture)
    if not streams:
        print(f"recall-lab: no captures in {printable(' '.join(options.capture))}", file=sys.stderr)
        return 1
    store_of(options.url).ask()
    refused = 0
    for stream in streams:
        try:
            done = rl.archive(
                stream.source,
                options.url,
                flac=options.flac,
                progress=None if sys.stderr.isatty() else False,
            )
        except (RecallLabError, OSError, ValueError) as error:  # the others can be had all the same
            print(f"recall-lab: {printable(f'{stream.stem}: {error}')}", file=sys.stderr)
            refused += 1
            if isinstance(error, StorageFailed):  # unless it would be the same for each of them
                store_of(options.url).ask()
            continue
        files = counted(len(done.copied), "file")
        said = f"{files}, {sized(done.bytes)}" if done.copied else "there already"
        print(f"{printable(done.source)}: {said}, the same when read back")
    if len(streams) > 1:
        print(f"{len(streams) - refused:,} of {counted(len(streams), 'stream')} are archived")
    return 1 if refused else 0
