"""``recall-lab demo``: see it work, with no account and no network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import recall_lab as rl
from recall_lab.cli.analysing import draw_overview
from recall_lab.cli.bundled import bundled

if TYPE_CHECKING:
    from recall_lab.cli import Commands


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    demo = commands.add_parser(
        "demo",
        help="see it work: a stand-in bot, a receiver, the result",
        description="A stand-in bot plays a stand-up meeting with faults to a receiver; "
        "then you see what arrived and what did not. No account, no network.",
    )
    demo.add_argument("--directory", default="demo", help="where it all goes (demo)", metavar="DIR")
    demo.add_argument("--speed", type=float, default=10.0, help="times real time (10)")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from recall_lab.plots.terminal import describe, gap_table

    sample = bundled("data/standup.wav")
    folder = Path(options.directory)
    folder.mkdir(parents=True, exist_ok=True)
    faults = rl.Faults(loss=0.03, burst=2, jitter=0.01, disconnects=(25.0,), seed=7)
    print("A stand-in bot plays a stand-up meeting of 56 s to a receiver in the background.")
    print(f"It loses 3 % of the packets and, at 25 s, its connection. Speed: {options.speed:g}x\n")
    with rl.receive(0, folder / "captures") as rx:
        print(f"receiving at {rx.url} into {rx.directory}")
        truth = rl.simulate(
            sample, rx.url, speed=options.speed, packet=0.1, faults=faults, progress=True
        )
        rx.wait(packets=int((truth["outcome"] == "sent").sum()), timeout=10)
        recording = rx.recordings()["recording"].iloc[-1]
    capture = rl.load(folder / "captures" / f"{recording}.bin")

    print("\n--- What was kept\n")
    print(describe(capture))
    print(f"files      {folder}/captures/{recording}.bin, .idx, .json, .events.jsonl")
    print("\n--- The first packets, as a pandas frame\n")
    first = capture.packets.head(5)
    times = {name: first[name].dt.strftime("%H:%M:%S.%f") for name in ("absolute", "received")}
    columns = ["relative", "absolute", "received", "samples", "connection", "sequence"]
    print(first.assign(**times)[columns].to_string())  # without the date it fits a terminal

    print("\n--- What is missing, and why\n")
    span = (0.0, float(truth["samples"].sum()) / 16_000)
    known = rl.analyse(capture, call=span)
    print(gap_table(known.discontinuities))
    lost = truth.loc[truth["outcome"] != "sent", "samples"].groupby(truth["outcome"]).sum() / 16_000
    print("the bot:", ", ".join(f"{seconds:.3f} s {outcome}" for outcome, seconds in lost.items()))
    print(f"\n{rl.quality(known)['verdict']}")

    picture = folder / "overview.png"
    draw_overview(known, picture)
    print(f"\nThe picture: {picture}")
    print(f"The report, for a browser: {rl.report(known, folder / 'report.html')}")
    print("Next: make lab, and open notebooks/00_quickstart.ipynb")
    return 0
