"""What an archive says of itself: ``{stem}.archive.json``."""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from recall_lab.capture.stores import Store
from recall_lab.version import __version__

SUFFIX: Final = ".archive.json"


class Copy(msgspec.Struct, frozen=True):
    """One file of an archive.

    Attributes:
        size: bytes.
        sha256: of them, hexadecimal.
        of: SHA-256 of the ``.bin`` that a ``.flac`` was made of; else empty.
        tag: by which the store knew the content when it was read back; empty where it has none.
    """

    size: int
    sha256: str
    of: str = ""
    tag: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """All files of an archive.

    Attributes:
        files: by name.
        complete: whether all are there, and were read back.
        software: what wrote it.
    """

    files: dict[str, Copy]
    complete: bool = False
    software: str = f"recall_lab {__version__}"


def read_manifest(store: Store, stem: str) -> Manifest | None:
    """Return what an archive says of a stream; None where there is none, or one of no sense.

    Raises:
        StorageFailed: when the store does not answer.
    """
    name = f"{stem}{SUFFIX}"
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.json.decode(found_in(store.read([name])[name]), type=Manifest)
    return None


def write_manifest(store: Store, stem: str, manifest: Manifest) -> None:
    """Write it, over the one that is there."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    store.write(f"{stem}{SUFFIX}", [text], len(text))


def found_in(answer: bytes | Exception) -> bytes:
    """Return what was read of a store; nothing for what is not there.

    Raises:
        OSError: what the store said for another reason.
    """
    if isinstance(answer, FileNotFoundError):
        return b""
    if isinstance(answer, Exception):
        raise answer
    return answer
