"""``recall-lab lab``: the notebooks, copied to a folder of the user's, in JupyterLab."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recall_lab.cli.bundled import bundled
from recall_lab.errors import MissingExtra
from recall_lab.text import counted

if TYPE_CHECKING:
    from recall_lab.cli import Commands

_DATA = ("standup.wav", "standup.csv", "standup-lossy.*", "standup-broken.*")


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    lab = commands.add_parser(
        "lab",
        help="copy the notebooks to a folder of yours and open JupyterLab there",
        description="Copy the notebooks to a folder of yours and open JupyterLab there. A file "
        "that is there already is left as it is.",
    )
    lab.add_argument("folder", nargs="?", default="recall-lab", help="(recall-lab)")
    lab.add_argument("--copy-only", action="store_true", help="do not open JupyterLab")
    lab.set_defaults(run=_lab)


def _lab(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    copied, kept = copy_notebooks(folder)
    print(
        f"{folder}: {counted(copied, 'file')} copied" + (f", {kept} left as they are" * (kept > 0))
    )
    notebooks = folder / "notebooks"
    if options.copy_only:
        print(f"open them with: jupyter lab {notebooks}")
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtra("lab", "jupyterlab")
    # the server imports nothing from here; kernels do, as everywhere
    command = [sys.executable, "-P", "-m", "jupyterlab", "--notebook-dir", str(notebooks)]
    return subprocess.run(command, check=False).returncode


def copy_notebooks(folder: Path) -> tuple[int, int]:
    """Copy notebooks, and the data they use, to where they find one another.

    Returns:
        How many files were copied, and how many were there already and left alone.
    """
    files = [(path, "notebooks") for path in sorted(bundled("notebooks").glob("*.ipynb"))]
    files += [(path, "data") for pattern in _DATA for path in sorted(bundled("data").glob(pattern))]
    copied = 0
    for path, place in files:
        target = folder / place / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(target):  # nor through a link of theirs
            shutil.copyfile(path, target)
            copied += 1
    return copied, len(files) - copied
