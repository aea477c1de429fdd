"""The recordings that one receiver may write, and the numbers of their connections."""

from __future__ import annotations

import contextlib
from pathlib import Path

from recall_lab.capture.info import parse_stem
from recall_lab.errors import CaptureError, StorageFailed
from recall_lab.receiver.quota import Quota
from recall_lab.store.journal import SUFFIX as JOURNAL
from recall_lab.store.reader import last_connection


class Recordings:
    """Knows each recording that was claimed; as a container, their ids.

    Args:
        directory: where the files are.
        budget: is asked before a recording is begun.
    """

    def __init__(self, directory: Path, budget: Quota) -> None:
        self._directory = directory
        self._budget = budget
        self._numbers: dict[str, int] = {}  # highest connection number of each
        self._owners: dict[str, str] = {}  # by what a disk that folds case makes of an id
        self._earlier: dict[str, list[Path]] | None = None  # files of earlier runs

    def __contains__(self, recording: object) -> bool:
        return recording in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def claim(self, recording: str) -> None:
        """Make sure that files of a recording may be written.

        Raises:
            CaptureError: when limits are reached, or the disk takes its name for another's.
        """
        earlier = self._look_back()
        folded = recording.lower()
        owner = self._owners.get(folded, recording)
        if owner != recording and self._folds(owner):
            raise CaptureError(
                f"this disk does not tell {recording!r} from {owner!r}, which is here already: "
                "capture into a folder on another disk"
            )
        if recording in self._numbers:
            self._budget.check(recording)
            return
        paths = earlier.get(recording, [])
        if paths:
            self._budget.found(recording, sum(map(_size, paths)))
        else:
            try:
                self._budget.check_room()
            except OSError as error:
                raise StorageFailed(self._directory, error) from None
        self._budget.check_begin(recording)
        self._budget.begun(recording)
        indexes = [path for path in paths if path.suffix == ".idx"]
        self._numbers[recording] = max(map(last_connection, indexes), default=0)
        self._owners.setdefault(folded, recording)
        earlier.pop(recording, None)

    def number(self, recording: str) -> int:
        """Return the number of one more connection of a recording that was claimed."""
        number = self._numbers[recording] = self._numbers[recording] + 1
        return number

    def reached(self, recording: str, number: int) -> None:
        """Note that a recording has a connection of this number."""
        self._numbers[recording] = max(self._numbers[recording], number)

    def _look_back(self) -> dict[str, list[Path]]:
        """Return the files that earlier runs have left here; what comes later is ours."""
        if self._earlier is None:
            self._earlier = {}
            with contextlib.suppress(OSError):
                for path in self._directory.iterdir():
                    stem = path.name.removesuffix(JOURNAL) if path.suffix == ".jsonl" else path.stem
                    parsed = parse_stem(stem)
                    if parsed is not None:
                        self._earlier.setdefault(parsed[0], []).append(path)
                        self._owners.setdefault(parsed[0].lower(), parsed[0])
        return self._earlier

    def _folds(self, recording: str) -> bool:
        """Whether the disk takes small and capital letters for the same."""
        for suffix in (".idx", JOURNAL):
            name = f"{recording}{suffix}"
            with contextlib.suppress(OSError):
                return (self._directory / name).samefile(self._directory / name.swapcase())
        return False


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
