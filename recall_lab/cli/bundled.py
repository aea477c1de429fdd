"""Find the files that come with recall_lab, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from recall_lab.errors import RecallLabError


def bundled(name: str) -> Path:
    """Return a bundled file or folder, such as ``data/standup.wav``."""
    package = Path(__file__).parent.parent
    for place in (package / name, package.parent / name):
        if place.exists():
            return place
    raise RecallLabError(f"{name} did not come with this installation: install recall_lab anew")
