"""The command line: ``recall-lab demo``, ``receive``, ``simulate``, ``info``, ``gaps`` and more.

Exit codes: 0 done; 1 it could not be done, and the last line says why, or a threshold
is broken; 2 the command was not understood; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from recall_lab.cli import analysing, demo, faking, lab, receiving, service, surveying
from recall_lab.errors import RecallLabError
from recall_lab.version import __version__

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, by a service or by >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt as interrupt:
        print("\n".join(["interrupted", *getattr(interrupt, "__notes__", ())]), file=sys.stderr)
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

    for group in (receiving, service, analysing, surveying, demo, faking, lab):
        group.add(commands)
    return parser
