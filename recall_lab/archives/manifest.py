"""The manifest of an archive: ``{stem}.archive.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from recall_lab.archives.destinations import Store
from recall_lab.text import as_unicode
from recall_lab.version import __version__

SUFFIX: Final = ".archive.json"

_WE: Final = "recall_lab"


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
        files: by name; bytes of a name that are no UTF-8 are escaped, as JSON is text.
        complete: whether all are there, and were read back.
        software: what wrote it.
    """

    files: dict[str, Copy]
    complete: bool = False
    software: str = f"{_WE} {__version__}"

    def copy_of(self, name: str) -> Copy | None:
        """Return what it says of a file; None for nothing."""
        return self.files.get(as_unicode(name))


def manifest_of(files: Mapping[str, Copy], *, complete: bool = False) -> Manifest:
    """Return the manifest of files by name, as the disk has it."""
    return Manifest({as_unicode(name): copy for name, copy in files.items()}, complete)


def read_manifest(store: Store, stem: str) -> Manifest | None:
    """Return what an archive says of a stream; None where there is nothing of that name.

    Raises:
        ValueError: when something is there, and it is no manifest of ours.
        StorageFailed: when the store does not answer.
    """
    text = read_one(store, f"{stem}{SUFFIX}")
    if text is None:
        return None
    try:
        told = msgspec.json.decode(text)
        if isinstance(told, dict) and str(told.get("software")).startswith(f"{_WE} "):
            return msgspec.convert(told, Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"it is no manifest: {error}") from error
    raise ValueError("it is no manifest: nothing in it says that recall_lab wrote it")


def write_manifest(store: Store, stem: str, manifest: Manifest) -> None:
    """Write it, over the one that is there."""
    text = _text_of(manifest)
    store.write(f"{stem}{SUFFIX}", [text], len(text))


def begin_manifest(store: Store, stem: str) -> None:
    """Write one that tells of no file yet.

    Raises:
        FileExistsError: when something is there by now.
    """
    text = _text_of(Manifest({}))
    store.create(f"{stem}{SUFFIX}", [text], len(text))


def _text_of(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def read_one(store: Store, name: str) -> bytes | None:
    """Return a file of a store; None where there is none.

    Raises:
        OSError: what the store says for another reason.
    """
    answer = store.read([name])[name]
    if isinstance(answer, FileNotFoundError):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer
