"""Read and replace the ``.json`` beside a capture."""

from __future__ import annotations

from pathlib import Path

import msgspec

from recall_lab.capture.info import CaptureInfo, parse_info
from recall_lab.store.files import read_small, replace_file, sync_path


def read_info(path: Path) -> tuple[CaptureInfo | None, str | None]:
    """Return what a ``.json`` says, and what is wrong with it in words; never raises for damage."""
    try:
        data = read_small(path)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"{path.name} can't be read ({error.strerror})"
    return parse_info(data, path.name)


def write_info(path: Path, info: CaptureInfo) -> None:
    """Replace `path` in one step: whoever reads sees the old text or the new, never a part.

    Only whoever holds the lock of the capture may.

    Not yet durable: :func:`sync_info` makes it so, and may be called from another thread.

    Raises:
        OSError: when the disk refuses; the old text then stands.
    """
    replace_file(path, msgspec.json.format(msgspec.json.encode(info), indent=2), alone=True)


def sync_info(path: Path) -> None:
    """Make the last :func:`write_info` durable: the file, then the folder that names it."""
    sync_path(path)
    sync_path(path.parent)
