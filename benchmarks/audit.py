"""Is anything among the pinned packages known to be vulnerable?

    python benchmarks/audit.py

``make audit`` runs pip-audit, which asks PyPI about each pinned release. A mirror may have no
pages of single releases, and pip-audit can then say nothing of any. This asks for the same
advisories where there is another way: the page of the project, which speaks of its newest
release. Pins that are older are listed as not told, so that nobody takes silence for an answer.
The exit code is 1 when a pin is vulnerable.
"""

from __future__ import annotations

import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pip._internal.models.index import PyPI  # where it is

PINS: Final = Path(__file__).parent.parent / "constraints.txt"


def page(path: str) -> dict[str, Any] | None:
    """Return a page of PyPI's JSON API; None where there is none."""
    connection = http.client.HTTPSConnection(PyPI.netloc, timeout=30)
    try:
        connection.request("GET", f"/pypi/{path}/json")
        answer = connection.getresponse()
        found: dict[str, Any] | None = json.load(answer) if answer.status == 200 else None
        return found
    finally:
        connection.close()


def advisories(pin: tuple[str, str]) -> list[str] | None:
    """Return the advisories about a pinned release; None where nobody says."""
    name, version = pin
    found = page(f"{name}/{version}")
    if found is None:
        found = page(name)
        if found is None or found["info"]["version"] != version:
            return None
    # one that was withdrawn says that there was nothing
    return [told["id"] for told in found["vulnerabilities"] if not told.get("withdrawn")]


def main() -> int:
    """Ask about every pin; return the exit code."""
    lines = (line.partition("#")[0].strip() for line in PINS.read_text().splitlines())
    pins = [
        (name, version) for name, _, version in (line.partition("==") for line in lines if line)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(pins, pool.map(advisories, pins), strict=True))
    bad = {pin: told for pin, told in found.items() if told}
    unknown = [f"{name} {version}" for (name, version), told in found.items() if told is None]
    print(f"{len(pins)} pins, of {len(pins) - len(unknown)} it is known, {len(bad)} are vulnerable")
    for (name, version), told in bad.items():
        print(f"  {name} {version}: {', '.join(told)}")
    if unknown:
        print(f"nobody says of: {', '.join(unknown)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
