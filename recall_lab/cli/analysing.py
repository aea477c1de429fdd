"""``recall-lab info | gaps | check | save | report | compare``: what a capture holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import recall_lab as rl
from recall_lab.text import counted

if TYPE_CHECKING:
    from recall_lab.analysis.recording.comparison import Comparison
    from recall_lab.capture.capture import Capture
    from recall_lab.cli import Commands


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    info = commands.add_parser(
        "info", help="say what a capture holds", description="Say what a capture holds."
    )
    info.add_argument("capture", help="its .bin, or the name without a suffix")
    info.add_argument("--verify", action="store_true", help="read all audio and check it")
    info.add_argument("--plot", metavar="PNG", help="draw all there is to see into a file")
    info.set_defaults(run=_info)

    gaps = commands.add_parser(
        "gaps",
        help="say what is missing, when and why",
        description="Say what is missing from a capture, when and why; what came twice or late.",
    )
    gaps.add_argument("capture", help="its .bin, or the name without a suffix")
    gaps.add_argument("--tolerance", type=float, metavar="S", help="seconds (read from the stamps)")
    gaps.add_argument(
        "--call", type=float, nargs=2, metavar="S", help="when the call began and ended, relative"
    )
    gaps.add_argument("--all", action="store_true", help="list every row, duplicates too")
    gaps.add_argument("--csv", metavar="FILE", help="write every row into a file")
    gaps.add_argument("--json", action="store_true", help="print rows and quality as JSON")
    gaps.add_argument("--plot", metavar="PNG", help="draw them into a file")
    gaps.set_defaults(run=_gaps)

    check = commands.add_parser(
        "check",
        help="hold a capture against thresholds; exit code 1 when one is broken",
        description="Hold a capture against thresholds: exit code 1 when one is broken.",
    )
    check.add_argument("capture", help="its .bin, or the name without a suffix")
    check.add_argument("--policy", metavar="FILE", help="thresholds, TOML (a usual set)")
    check.add_argument("--baseline", metavar="CAPTURE", help="an earlier one, for 'worse' limits")
    check.add_argument("--call", type=float, nargs=2, metavar="S", help="of the call, relative")
    check.set_defaults(run=_check)

    save = commands.add_parser(
        "save",
        help="save as WAV, FLAC, OGG or MP3",
        description="Save a capture as an audio file: on the true time axis, with silence for "
        "what is missing.",
    )
    save.add_argument("capture", help="its .bin, or the name without a suffix")
    save.add_argument("file", help="ends in .wav, .flac, .ogg or .mp3")
    save.add_argument("--start", type=float, metavar="S", help="seconds, relative (the beginning)")
    save.add_argument("--end", type=float, metavar="S", help="seconds, relative (the end)")
    save.add_argument("--raw", action="store_true", help="as it arrived, gaps squeezed out")
    save.set_defaults(run=_save)

    compare = commands.add_parser(
        "compare",
        help="hold a capture against the final recording; fill its gaps from it",
        description="Find a capture in the recording of the same meeting: offset, drift, level, "
        "and what its gaps hold. Exit code 1 when it does not lie in it.",
    )
    compare.add_argument("capture", help="its .bin, or the name without a suffix")
    compare.add_argument("recording", help="an audio file, such as the MP3 that Recall.ai makes")
    compare.add_argument("--repair", metavar="FILE", help="save with gaps filled: .flac, .wav, ...")
    compare.add_argument("--plot", metavar="PNG", help="draw it into a file")
    compare.set_defaults(run=_compare)

    report = commands.add_parser(
        "report",
        help="write all there is to say into one HTML file",
        description="Write all there is to say of a capture into one HTML file: verdict, "
        "pictures, gaps, timing, levels, the worst moments to listen to.",
    )
    report.add_argument("capture", help="its .bin, or the name without a suffix")
    report.add_argument("-o", "--output", metavar="HTML", help="the file (the capture's name)")
    report.add_argument("--call", type=float, nargs=2, metavar="S", help="of the call, relative")
    report.add_argument("--tolerance", type=float, metavar="S", help="of gaps, seconds")
    report.add_argument("--recording", metavar="FILE", help="to compare it with")
    report.add_argument(
        "--detector", choices=("level", "neural"), default="level", help="of speech"
    )
    report.set_defaults(run=_report)


def _info(options: argparse.Namespace) -> int:
    from recall_lab.plots.terminal import describe

    capture = rl.load(options.capture)
    print(describe(capture))
    if options.verify:
        wrong = rl.verify(capture)
        print(f"checked    {len(capture.packets):,} packets, {len(wrong)} of them damaged")
    if options.plot:
        draw_overview(capture, Path(options.plot))
        print(f"picture    {options.plot}")
    return 0


def _gaps(options: argparse.Namespace) -> int:
    from recall_lab.plots.terminal import gap_table

    span = None if options.call is None else tuple(options.call)
    known = rl.analyse(options.capture, call=span, tolerance=options.tolerance)
    found = known.discontinuities
    quality = rl.quality(known)
    if options.csv:
        found.to_csv(options.csv, index=False)
    if options.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 2.2), layout="constrained")
        rl.plot_gaps(known, figure.subplots())
        figure.savefig(options.plot, dpi=150)
    if options.json:
        rows, every = (
            frame.to_json(orient="records", date_format="iso", double_precision=9)
            for frame in (known.gaps, found)
        )
        told = quality.to_json(double_precision=9)
        print(f'{{"quality": {told}, "gaps": {rows}, "discontinuities": {every}}}')
        return 0
    print(gap_table(found, everything=options.all))
    print(f"\n{quality['verdict']}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from recall_lab.plots.terminal import table

    baseline = None if options.baseline is None else rl.load(options.baseline)
    span = None if options.call is None else tuple(options.call)
    capture = rl.load(options.capture)
    found = rl.check(capture, options.policy, baseline=baseline, call=span)
    print(
        table(
            {
                "measure": found["measure"],
                "value": found["value"].map("{:.6g}".format),
                "limit": found["limit"],
                "bound": found["bound"].map("{:.6g}".format),
                "kept": found["kept"].map({True: "yes", False: "NO"}),
            }
        )
    )
    broken = int((~found["kept"]).sum())
    print(f"\n{counted(broken, 'limit')} broken" if broken else "\nall limits are kept")
    return 1 if broken else 0


def _save(options: argparse.Namespace) -> int:
    path = rl.save(
        rl.load(options.capture),
        options.file,
        aligned=not options.raw,
        start=options.start,
        end=options.end,
        progress=None if sys.stderr.isatty() else False,
    )
    print(f"saved {path} ({path.stat().st_size / 1e6:,.1f} MB)")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from recall_lab.analysis.detectors.comparison import findings_of_comparison
    from recall_lab.plots.terminal import table

    capture = rl.load(options.capture)
    found = rl.compare(capture, options.recording)
    facts = found.facts()
    print("\n".join(f"{name:<22}{fact}" for name, fact in facts.items()))
    for one in findings_of_comparison(found):
        print(f"\n{one.severity}: {one.evidence}. {one.advice}")
    worst = found.gaps.nlargest(10, "speech")
    if len(worst):
        print(f"\nthe {counted(len(worst), 'gap')} with the most speech in the recording:\n")
        print(
            table(
                {
                    "start s": worst["start"].map("{:.3f}".format),
                    "duration s": worst["duration"].map("{:.3f}".format),
                    "cause": worst["cause"],
                    "recorded s": worst["recorded_seconds"].map("{:.3f}".format),
                    "speech s": worst["speech"].map("{:.2f}".format),
                }
            )
        )
    _pieces(found)
    if options.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 7), layout="constrained")
        rl.plot_compare(found, figure)
        figure.savefig(options.plot, dpi=150)
    if options.repair:
        whole = rl.repair(capture, options.recording, comparison=found)
        path = rl.save(whole, options.repair, progress=None if sys.stderr.isatty() else False)
        print(f"\nsaved {path}, with what was missing filled in from the recording")
    return 0


def _pieces(found: Comparison) -> None:
    """Print the pieces in which a capture lies in a recording, and what can't be told or had."""
    from recall_lab.plots.terminal import table

    if len(found.pieces) > 1:
        print(f"\nit lies in the recording in {counted(len(found.pieces), 'piece')}:\n")
        columns = {"start s": "start", "end s": "end", "offset s": "offset", "level dB": "level"}
        shown = {name: found.pieces[key].map("{:.3f}".format) for name, key in columns.items()}
        print(table(shown | {"similarity": found.pieces["similarity"].map("{:.3f}".format)}))
    for side, rows in found.unmatched.groupby("side"):
        spans = ", ".join(f"{row.start:.1f}-{row.end:.1f}" for row in rows.head(5).itertuples())
        more = ", ..." if len(rows) > 5 else ""
        print(f"\nin the {side} only: {rows['duration'].sum():.1f} s ({spans}{more} s)")
    left = found.gaps[found.gaps["why"] != ""]
    if len(left):
        print(f"\n{counted(len(left), 'gap')} can't be filled, or not whole:\n")
        for why, count in left["why"].value_counts().items():
            print(f"  {count:>5,}  {why}")


def _report(options: argparse.Namespace) -> int:
    capture = rl.load(options.capture)
    path = rl.report(
        capture,
        options.output or f"{capture.info.stem}.html",
        call=None if options.call is None else tuple(options.call),
        tolerance=options.tolerance,
        detector=options.detector,
        comparison=rl.compare(capture, options.recording) if options.recording else None,
    )
    print(f"the report: {path}")
    return 0


def draw_overview(source: Capture | rl.Analysis, path: Path) -> None:
    """Draw one picture of it all into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    rl.plot_overview(source, figure)
    figure.savefig(path, dpi=150)
