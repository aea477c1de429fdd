"""Everything that may go wrong, done on purpose: is what was received still there?

    python -m benchmarks.torture [trial ...] [--short] [--seed 0] [--markdown]

Each trial runs in a process of its own and gives figures beside their limits; all of them are
printed as one table. The exit code is 1 when a promise was broken, 0 when all hold; a trial that
this machine can't have (no root, no loop devices, a program that is not there) is told as such.
What each one does stands at the head of its module.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.torture.figures import Figure, Scale, Unavailable

TRIALS: Final = (
    "kills", "corruption", "full_disk", "io_errors", "power_loss", "stalled_disk", "locks",
    "floods", "fuzzing", "names", "autobahn", "clocks", "reconnects", "hosts", "soak", "chaos",
)  # fmt: skip
"""The modules beside this one, in the order of the table."""

_UNAVAILABLE: Final = 77  # exit code, as Automake's tests have it


@dataclass(frozen=True)
class Outcome:
    """What became of one trial."""

    trial: str
    seconds: float
    figures: tuple[Figure, ...] = ()
    missing: str = ""  # why it could not be had
    failure: str = ""  # what it said when it broke down

    @property
    def good(self) -> bool:
        """Whether no promise was broken."""
        return not self.failure and all(figure.holds for figure in self.figures)


def alone(trial: str, scale: Scale) -> int:
    """Run one trial here; its figures go to standard output as lines of JSON."""
    module = importlib.import_module(f"benchmarks.torture.{trial}")
    try:
        for figure in module.run(scale):
            print(json.dumps(asdict(figure)), flush=True)
    except Unavailable as missing:
        print(json.dumps({"missing": str(missing)}), flush=True)
        return _UNAVAILABLE
    return 0


def outcome_of(trial: str, scale: Scale, timeout: float | None = None) -> Outcome:
    """Run one trial in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.torture", "--alone", trial]
    command += ["--seed", str(scale.seed), *(["--short"] if scale.short else [])]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    took = time.monotonic() - began
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == _UNAVAILABLE:
        return Outcome(trial, took, missing=lines[-1]["missing"])
    figures = tuple(Figure(**line) for line in lines)
    failure = done.stdout + done.stderr if done.returncode else ""
    return Outcome(trial, took, figures, failure=failure)


def table(outcomes: list[Outcome], *, markdown: bool) -> str:
    """Return all figures as one table, for a terminal or as Markdown."""
    rows = [("trial", "promise", "limit", "measured", "holds")]
    for outcome in outcomes:
        if outcome.missing:
            rows.append((outcome.trial, outcome.missing, "", "", "not here"))
        if outcome.failure:
            rows.append((outcome.trial, outcome.failure.strip().splitlines()[-1], "", "", "NO"))
        rows += [(outcome.trial, *figure.cells) for figure in outcome.figures]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> int:
    """Run, print, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("trials", nargs="*", metavar="trial", help=f"of {', '.join(TRIALS)}")
    parser.add_argument("--short", action="store_true", help="seconds each: what make test runs")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.trials) - set(TRIALS)
    if unknown:
        parser.error(f"no trial {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    scale = Scale(options.short, options.seed)
    if options.alone:
        return alone(options.trials[0], scale)
    outcomes = []
    for trial in options.trials or TRIALS:
        outcome = outcome_of(trial, scale)
        outcomes.append(outcome)
        how = "not here" if outcome.missing else "holds" if outcome.good else "BROKEN"
        print(f"{trial}: {how}, {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
        if outcome.failure:
            print(outcome.failure, file=sys.stderr, flush=True)
    print(table(outcomes, markdown=options.markdown))
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
