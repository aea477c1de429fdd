"""The command line: ``recall-lab receive | simulate | info | gaps | check | demo | status | stop``.

Exit codes: 0 done; 1 it could not be done, and the last line says why, or a threshold
is broken; 2 the command was not understood; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recall_lab as rl
from recall_lab.errors import RecallLabError
from recall_lab.text import counted
from recall_lab.version import __version__

if TYPE_CHECKING:
    from recall_lab.capture.capture import Capture
    from recall_lab.receiver.settings import Status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except RecallLabError as error:
        print(f"recall-lab: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 1
    except (OSError, ValueError) as error:  # a path that can't be written, a format unknown
        print(f"recall-lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recall-lab",
        description="The lab bench for meeting-bot audio: receive it, keep every packet, "
        "see what was lost.",
        epilog="Try 'recall-lab demo' first: it needs no account and no network.",
    )
    parser.add_argument("--version", action="version", version=f"recall-lab {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    receive = commands.add_parser(
        "receive", help="receive until Ctrl-C", description="Receive audio until Ctrl-C."
    )
    receive.add_argument("--port", type=int, default=3456, help="port to listen on (3456; 0: any)")
    receive.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    receive.add_argument(
        "--directory", default="captures", help="where captures go (captures)", metavar="DIR"
    )
    receive.add_argument(
        "--background", action="store_true", help="return at once; end it with 'recall-lab stop'"
    )
    receive.set_defaults(run=_receive)

    simulate = commands.add_parser(
        "simulate",
        help="play audio to a receiver, as a bot would",
        description="Be a stand-in bot: play audio to a receiver, faults included.",
    )
    simulate.add_argument("source", help="WAV, FLAC, OGG, MP3 or .bin file, or a capture's .idx")
    simulate.add_argument("url", help="of the receiver, such as ws://127.0.0.1:3456/")
    simulate.add_argument(
        "--speed", type=float, default=1.0, help="1 is real time (1); inf is as fast as it goes"
    )
    simulate.add_argument(
        "--packet", type=float, nargs="+", metavar="S", help="length of packets in seconds (0.2)"
    )
    simulate.add_argument("--recording", metavar="ID", help="id of the recording (drawn)")
    simulate.add_argument(
        "--participant", type=int, metavar="ID", help="send a participant's separate stream"
    )
    simulate.add_argument("--loss", type=float, default=0.0, help="share of packets lost (0)")
    simulate.add_argument("--burst", type=float, default=1.0, help="mean length of a loss (1)")
    simulate.add_argument("--duplicates", type=float, default=0.0, help="share sent twice (0)")
    simulate.add_argument("--reorder", type=float, default=0.0, help="share out of order (0)")
    simulate.add_argument("--jitter", type=float, default=0.0, help="mean delay in seconds (0)")
    simulate.add_argument(
        "--disconnect", type=float, nargs="+", default=[], metavar="S", help="break at S seconds"
    )
    simulate.add_argument("--drift", type=float, default=0.0, help="media clock's drift, ppm (0)")
    simulate.add_argument("--malformed", type=float, default=0.0, help="share of broken messages")
    simulate.add_argument("--seed", type=int, default=0, help="of the faults (0)")
    simulate.add_argument("--truth", metavar="CSV", help="write what was done to each packet")
    simulate.set_defaults(run=_simulate)

    info = commands.add_parser(
        "info", help="say what a capture holds", description="Say what a capture holds."
    )
    info.add_argument("capture", help="its .bin, or the name without a suffix")
    info.add_argument("--verify", action="store_true", help="read all audio and check it")
    info.add_argument("--plot", metavar="PNG", help="draw the waveform into a file")
    info.set_defaults(run=_info)

    gaps = commands.add_parser(
        "gaps",
        help="say what is missing, when and why",
        description="Say what is missing from a capture, when and why; what came twice or late.",
    )
    gaps.add_argument("capture", help="its .bin, or the name without a suffix")
    gaps.add_argument("--tolerance", type=float, metavar="S", help="seconds (read from the stamps)")
    gaps.add_argument(
        "--span", type=float, nargs=2, metavar="S", help="when the call began and ended, relative"
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
    check.add_argument("--span", type=float, nargs=2, metavar="S", help="of the call, relative")
    check.set_defaults(run=_check)

    demo = commands.add_parser(
        "demo",
        help="see it work: a stand-in bot, a receiver, the result",
        description="A stand-in bot plays a stand-up meeting with faults to a receiver; "
        "then you see what arrived and what did not. No account, no network.",
    )
    demo.add_argument("--directory", default="demo", help="where it all goes (demo)", metavar="DIR")
    demo.add_argument("--speed", type=float, default=10.0, help="times real time (10)")
    demo.set_defaults(run=_demo)

    status = commands.add_parser(
        "status",
        help="list receivers in the background",
        description="List the receivers in the background: those of notebooks, and of "
        "'receive --background'.",
    )
    status.set_defaults(run=_status)
    stop = commands.add_parser(
        "stop",
        help="stop receivers in the background",
        description="Stop the receivers in the background, or the one on a port.",
    )
    stop.add_argument("--port", type=int, help="only the one on this port")
    stop.set_defaults(run=_stop)
    return parser


def _receive(options: argparse.Namespace) -> int:
    if options.background:
        rx = rl.receive(options.port, options.directory, options.host)
        print(f"receiving at {rx.url} into {rx.directory}; end it with: recall-lab stop")
        return 0
    return asyncio.run(_receive_here(options))


async def _receive_here(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = rl.Server(options.directory, host=options.host, port=options.port)
    async with server:
        print(f"receiving at {server.url} into {server.settings.directory} (Ctrl-C to stop)")
        while not stop.is_set():
            _live(_line(server.status))
            try:
                await asyncio.wait_for(stop.wait(), 0.5)
            except TimeoutError:
                continue
    _live("")
    print(f"stopped: {_line(server.status)}")
    return 0


def _line(status: Status) -> str:
    since = int(time.time() - status.started / 1e9)
    rejected = sum(status.rejected.values())
    return (
        f"{since // 3600}:{since // 60 % 60:02d}:{since % 60:02d}  "
        f"{counted(status.connections, 'connection')}  {counted(status.recordings, 'recording')}  "
        f"{counted(status.packets, 'packet')}  {counted(status.gaps, 'gap')}"
        + (f" ({status.packets_per_second:g}/s)" if status.state == "running" else "")
        + f"  {rejected:,} rejected"
        + (f"  last error: {status.last_error}" if status.last_error else "")
    )


def _live(line: str) -> None:
    """Show a line in place of the last one; nothing where there is no terminal."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{line[:width]}", end="", file=sys.stderr, flush=True)


def _simulate(options: argparse.Namespace) -> int:
    faults = rl.Faults(
        loss=options.loss,
        burst=options.burst,
        duplicates=options.duplicates,
        reorder=options.reorder,
        jitter=options.jitter,
        disconnects=tuple(options.disconnect),
        drift=options.drift,
        malformed=options.malformed,
        seed=options.seed,
    )
    source: Any = options.source
    if Path(source).suffix == ".idx":
        source = rl.load(source)
    truth = rl.simulate(
        source,
        options.url,
        speed=options.speed,
        packet=options.packet,
        faults=faults,
        recording=options.recording,
        participant=options.participant,
        progress=sys.stderr.isatty(),
    )
    if options.truth:
        truth.to_csv(options.truth, index=False)
    counts = truth["fate"].value_counts()
    print(", ".join(f"{count:,} {fate}" for fate, count in counts.items()))
    return 0


def _info(options: argparse.Namespace) -> int:
    from recall_lab.display.terminal import describe

    capture = rl.load(options.capture)
    print(describe(capture))
    if options.verify:
        wrong = rl.verify(capture)
        print(f"checked    {len(capture.packets):,} packets, {len(wrong)} of them damaged")
    if options.plot:
        _plot(capture, Path(options.plot))
        print(f"picture    {options.plot}")
    return 0


def _gaps(options: argparse.Namespace) -> int:
    from recall_lab.display.terminal import gap_table

    capture = rl.load(options.capture)
    span = None if options.span is None else tuple(options.span)
    found = rl.gaps(capture, options.tolerance, span=span)
    quality = rl.quality(capture, span=span)
    if options.csv:
        found.to_csv(options.csv, index=False)
    if options.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 2.2), layout="constrained")
        rl.plot_gaps(capture, figure.subplots(), span=span, tolerance=options.tolerance)
        figure.savefig(options.plot, dpi=150)
    if options.json:
        rows = found.to_json(orient="records", date_format="iso", double_precision=9)
        print(f'{{"quality": {quality.to_json(double_precision=9)}, "gaps": {rows}}}')
        return 0
    print(gap_table(found, everything=options.all))
    print(f"\n{quality['verdict']}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from recall_lab.display.terminal import table

    baseline = None if options.baseline is None else rl.load(options.baseline)
    span = None if options.span is None else tuple(options.span)
    capture = rl.load(options.capture)
    found = rl.check(capture, options.policy, baseline=baseline, span=span)
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


def _plot(capture: Capture, path: Path, span: tuple[float, float] | None = None) -> None:
    """Draw the waveform, and below it what is missing and why."""
    from matplotlib.figure import Figure

    timed = len(capture.packets) > 0
    figure = Figure(figsize=(11, 4.6 if timed else 3), layout="constrained")
    if timed:
        top, bottom = figure.subplots(2, 1, height_ratios=[3, 2])
        rl.plot_gaps(capture, bottom, span=span, title="")
    else:
        top = figure.subplots()
    rl.plot_waveform(capture, top)
    if timed:
        top.set_xlim(bottom.get_xlim())
        top.set_xlabel("")
    figure.savefig(path, dpi=150)


def _demo(options: argparse.Namespace) -> int:
    from recall_lab.display.terminal import describe, gap_table

    sample = _sample()
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
        rx.wait(packets=int((truth["fate"] == "sent").sum()), timeout=10)
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
    found = rl.gaps(capture, span=span)
    print(gap_table(found))
    lost = truth.loc[truth["fate"] != "sent", "samples"].groupby(truth["fate"]).sum() / 16_000
    print("the bot:", ", ".join(f"{seconds:.3f} s {fate}" for fate, seconds in lost.items()))
    print(f"\n{rl.quality(capture, span=span)['verdict']}")

    picture = folder / "gaps.png"
    _plot(capture, picture, span)
    print(f"\nThe picture: {picture}")
    print("Next: make lab, and open notebooks/01_capture.ipynb, then 02_gaps.ipynb")
    return 0


def _sample() -> Path:
    """Return the bundled conversation: inside the package when installed, else in the checkout."""
    package = Path(__file__).parent
    for place in (package / "data", package.parent / "data"):
        if (place / "standup.wav").is_file():
            return place / "standup.wav"
    raise RecallLabError(
        "the sample standup.wav is not there: run data/make_conversation.py in the checkout"
    )


def _status(options: argparse.Namespace) -> int:
    found = rl.running()
    for rx in found:
        print(f"{rx.url} into {rx.directory}\n    {_line(rx.status)}")
    if not found:
        print("no receiver is running in the background")
    return 0


def _stop(options: argparse.Namespace) -> int:
    found = [rx for rx in rl.running() if options.port in (None, rx.port)]
    for rx in found:
        url = rx.url
        print(f"stopped {url}: {_line(rx.stop())}")
    if not found:
        where = "" if options.port is None else f" on port {options.port}"
        print(f"no receiver is running in the background{where}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
