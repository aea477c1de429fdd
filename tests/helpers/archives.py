"""A capture to archive, and what is in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.paths import DATA

STEM = "standup-broken.100"
FILES = (f"{STEM}.bin", f"{STEM}.idx", f"{STEM}.json", "standup-broken.events.jsonl")


def captured(folder: Path) -> Path:
    """Put one stream of a participant into a new folder; return that."""
    into = folder / "captures"
    into.mkdir()
    for name in FILES:
        shutil.copy(DATA / name, into)
    return into


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what is in each file of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
