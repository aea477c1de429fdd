"""``recall-lab receive | simulate | replay | status | stop``: how audio comes in."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

import recall_lab as rl
from recall_lab.cli.faults import add_faults, faults_of
from recall_lab.configuration import secret_setting
from recall_lab.receiver.background.registry import ends
from recall_lab.text import counted, printable

if TYPE_CHECKING:
    from recall_lab.cli import Commands
    from recall_lab.control.status import Status


_ENDS = 5  # receivers that have ended, of which status tells


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
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
    receive.add_argument(
        "--idle-timeout", type=float, metavar="S",
        help="with --background: end after so many seconds without a bot (never)",
    )  # fmt: skip
    receive.add_argument(
        "--token", action="store_true", help="demand a token in the URL; one is made"
    )
    receive.add_argument(
        "--tunnel", choices=("ngrok", "cloudflared"), help="open it to the internet"
    )
    receive.add_argument("--domain", help="the address that ngrok keeps for you")
    receive.add_argument("--public-url", metavar="URL", help="where a tunnel of your own begins")
    receive.add_argument(
        "--limit", type=_limit, action="append", default=[], metavar="NAME=N",
        help=f"of {', '.join(rl.Limits.__struct_fields__)}: how much is taken, as day=20G "
        "(several times, if need be)",
    )  # fmt: skip
    receive.add_argument(
        "--replace", action="store_true",
        help="with --background: stop a receiver that has the port, whoever uses it",
    )  # fmt: skip
    receive.add_argument(
        "--without-locks", action="store_true",
        help="write where the file system has no locks, if no other receiver writes there",
    )  # fmt: skip
    receive.add_argument(
        "--show-url", action="store_true", help="print what a bot has to be told, token included"
    )
    receive.epilog = (
        "What can be reached from outside demands the secret in "
        "RECALL_WORKSPACE_VERIFICATION_SECRET or the token in RECALL_LAB_TOKEN, from the "
        "environment or .env, or a token that --token makes."
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
    add_faults(simulate)
    simulate.add_argument(
        "--signed", action="store_true",
        help="sign with the secret in RECALL_WORKSPACE_VERIFICATION_SECRET",
    )  # fmt: skip
    simulate.add_argument("--truth", metavar="CSV", help="write what was done to each packet")
    simulate.set_defaults(run=_simulate)

    replay = commands.add_parser(
        "replay",
        help="send messages again that a receiver refused",
        description="Send the messages of a tape to a receiver: what another one has kept aside in "
        "_quarantine of its folder, or a file with a message a line.",
    )
    replay.add_argument("tape", help="such as captures/_quarantine/8f2c.tape")
    replay.add_argument("url", help="of the receiver, such as ws://127.0.0.1:3456/")
    replay.set_defaults(run=_replay)

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


def _limit(text: str) -> tuple[str, int]:
    """Return a limit's name and value, from text such as ``day=20G``."""
    name, _, value = text.partition("=")
    power = {"K": 10, "M": 20, "G": 30, "T": 40}.get(value[-1:].upper(), 0)
    number = value[:-1] if power else value
    if name not in rl.Limits.__struct_fields__:
        names = ", ".join(rl.Limits.__struct_fields__)
        raise argparse.ArgumentTypeError(f"{text!r}: expected one of {names}, as day=20G")
    if not (number.isascii() and number.isdigit()):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a whole number, or one with K, M, G or T (powers of 1024), "
            f"as {name}=20G"
        )
    return name, int(number) << power


def _receive(options: argparse.Namespace) -> int:
    if options.background:
        rx = rl.receive(
            options.port, options.directory, options.host, idle_timeout=options.idle_timeout,
            replace=options.replace, **_access(options),
        )  # fmt: skip
        where = rx.bot_url.get_secret_value() if options.show_url else rx.public_url or rx.url
        print(f"receiving at {where} into {rx.directory}; end it with: recall-lab stop")
        _demands(rx.status, options)
        return 0
    return asyncio.run(_receive_here(options))


def _access(options: argparse.Namespace) -> dict[str, Any]:
    """Return who may connect, from where, and how much, as rl.receive takes it."""
    return {
        "token": options.token or None,
        "tunnel": options.tunnel,
        "domain": options.domain,
        "public_url": options.public_url,
        "limits": rl.Limits(**dict(options.limit)),
        "locks": not options.without_locks,
    }


async def _receive_here(options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    server = rl.Server(options.directory, host=options.host, port=options.port, **_access(options))
    with contextlib.suppress(asyncio.CancelledError):  # also while the tunnel is opening
        async with server:
            where = server.bot_url.get_secret_value() if options.show_url else ""
            where = where or server.public_url or server.url
            print(f"receiving at {where} into {server.settings.directory} (Ctrl-C to stop)")
            _demands(server.status, options)
            while True:
                _live(_line(server.status))
                await asyncio.sleep(0.5)
    _live("")
    print(f"stopped: {_line(server.status)}")
    return 0


def _demands(status: Status, options: argparse.Namespace) -> None:
    """Say what a bot has to have, and where the token is to be had."""
    if status.auth_required:
        told = options.show_url or "token" not in status.auth_required
        where = "" if told else " (--show-url prints the URL with it)"
        print(f"a bot needs {status.auth_required}{where}")


def _line(status: Status) -> str:
    since = int(time.time() - status.started / 1e9)
    rejected = sum(status.rejected.values())
    return (
        f"{since // 3600}:{since // 60 % 60:02d}:{since % 60:02d}  "
        f"{counted(status.connections, 'connection')}  {counted(status.recordings, 'recording')}  "
        f"{counted(status.packets, 'packet')}  {counted(status.gaps, 'gap')}"
        + (f" ({status.packets_per_second:g}/s)" if status.state == "running" else "")
        + (f"  {status.dropped:,} lost ({status.dropped_s:.1f} s)" if status.dropped else "")
        + f"  {rejected:,} rejected"
        + (f"  {sum(status.refused.values()):,} refused" if status.refused else "")
        + (f"  tunnel: {status.trouble}" if status.trouble else "")
        + (f"  last error: {status.last_error}" if status.last_error else "")
    )


def _live(line: str) -> None:
    """Show a line in place of the last one; nothing where there is no terminal."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{line[:width]}", end="", file=sys.stderr, flush=True)


def _simulate(options: argparse.Namespace) -> int:
    source: Any = options.source
    if Path(source).suffix == ".idx":
        source = rl.load(source)
    truth = rl.simulate(
        source,
        options.url,
        speed=options.speed,
        packet=options.packet,
        faults=faults_of(options),
        recording=options.recording,
        participant=options.participant,
        secret=_own_secret() if options.signed else None,
        progress=sys.stderr.isatty(),
    )
    if options.truth:
        truth.to_csv(options.truth, index=False)
    counts = truth["outcome"].value_counts()
    print(", ".join(f"{count:,} {outcome}" for outcome, count in counts.items()))
    return 0


def _replay(options: argparse.Namespace) -> int:
    print(f"{counted(rl.simulator.replay(options.tape, options.url), 'message')} sent")
    return 0


def _own_secret() -> SecretStr:
    """Return the workspace's secret, the first while it is replaced."""
    several = secret_setting("recall_workspace_verification_secret", "--signed")
    return SecretStr(several.get_secret_value().split()[0])


def _status(options: argparse.Namespace) -> int:
    found = rl.receivers()
    for rx in found:
        status = rx.status
        print(f"{rx.url} into {rx.directory}\n    {_line(status)}\n    stays {status.stays}")
        for hint in status.hints:
            print(f"    {hint}")
    if not found:
        print("no receiver is running in the background")
    for one in ends()[:_ENDS]:
        at = datetime.fromtimestamp(one.ended / 1e9).astimezone()
        kept = "" if one.packets is None else f" with {counted(one.packets, 'packet')} kept"
        print(f"ended at {at:%Y-%m-%d %H:%M:%S}{kept}: {one.url} into {one.directory}")
        print(f"    {printable(one.why)}")
    return 0


def _stop(options: argparse.Namespace) -> int:
    found = [rx for rx in rl.receivers() if options.port in (None, rx.port)]
    for rx in found:
        url = rx.url
        print(f"stopped {url}: {_line(rx.stop())}")
    if not found:
        where = "" if options.port is None else f" on port {options.port}"
        print(f"no receiver is running in the background{where}", file=sys.stderr)
        return 1
    return 0
