"""``recall-lab service``: a receiver that the system starts, and starts again whenever it ends."""

from __future__ import annotations

import argparse
import os
import plistlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recall_lab.store.files import replace_file
from recall_lab.wire.signature import make_token

if TYPE_CHECKING:
    from recall_lab.cli import Commands

NAME: Final = "recall-lab"
_AGAIN: Final = 1  # seconds until it is started again: bots come back for 90 s


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    service = commands.add_parser(
        "service",
        help="write what has the system run a receiver, and start it again whenever it ends",
        description="Write a unit for systemd, or a plist for launchd, that runs a receiver of "
        "yours and starts it again whenever it ends. Secrets are in a file for your eyes only, "
        "which is named in it; with --token a token is made there, and stays the same.",
        epilog="What comes after -- goes to 'recall-lab receive': -- --port 3456 --public-url "
        "https://bench.example.org/",
    )
    service.add_argument("--launchd", action="store_true", help="a plist for macOS")
    service.add_argument("--directory", default="captures", help="where captures go (captures)")
    service.add_argument("--token", action="store_true", help="have a token made, if there is none")
    service.add_argument("-o", "--output", metavar="FILE", help="(printed)")
    service.add_argument("receive", nargs="*", metavar="OPTION", help="options of receive")
    service.set_defaults(run=_service)


def _service(options: argparse.Namespace) -> int:
    secrets = secrets_file()
    if options.token:
        keep_token(secrets)
    directory = str(Path(options.directory).expanduser().absolute())
    command = [
        sys.executable, "-P", "-m", "recall_lab.cli", "receive", "--directory", directory,
        *options.receive,
    ]  # fmt: skip
    text = plist(command, secrets) if options.launchd else unit(command, secrets)
    if options.output is None:
        print(text, end="")
        return 0
    Path(options.output).write_text(text)
    print(f"{options.output} is written; secrets are read from {secrets}")
    if not options.launchd:
        print(f"systemctl --user enable --now {Path(options.output).stem}")
        print("loginctl enable-linger  # so that it runs while you are logged out")
    return 0


def secrets_file() -> Path:
    """Return the file that secrets of a service are read from, ``NAME=value`` a line."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / NAME / "env"


def keep_token(path: Path) -> None:
    """Have a token in a file of secrets, made if there is none; for its owner's eyes only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = path.read_text() if path.exists() else ""
    if any(line.startswith("RECALL_LAB_TOKEN=") for line in told.splitlines()):
        path.chmod(0o600)
        return
    told += "\n" * bool(told and not told.endswith("\n"))
    replace_file(path, f"{told}RECALL_LAB_TOKEN={make_token()}\n".encode(), durable=True)


def unit(command: list[str], secrets: Path) -> str:
    """Return a user unit of systemd (systemd.service(5))."""
    return (
        "[Unit]\n"
        "Description=recall_lab receives meeting-bot audio\n"
        "StartLimitIntervalSec=0\n"
        "\n"
        "[Service]\n"
        f"ExecStart={' '.join(map(_quoted, command))}\n"
        f"EnvironmentFile=-{str(secrets).replace('%', '%%')}\n"
        "Restart=always\n"
        f"RestartSec={_AGAIN}\n"
        "KillSignal=SIGTERM\n"
        "TimeoutStopSec=30\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def plist(command: list[str], secrets: Path) -> str:
    """Return a launch agent of macOS (launchd.plist(5))."""
    told = shlex.quote(str(secrets))
    script = f"if [ -r {told} ]; then set -a; . {told}; fi; exec {shlex.join(command)}"
    return plistlib.dumps(
        {
            "Label": NAME,
            "ProgramArguments": ["/bin/sh", "-c", script],
            "KeepAlive": True,
            "RunAtLoad": True,
            "ThrottleInterval": _AGAIN,
        }
    ).decode()


def _quoted(word: str) -> str:
    """Return a word as ExecStart= has it: no specifier, no variable, one word."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"'
