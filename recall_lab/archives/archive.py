"""Archive a finished capture: copy, checksum, resume, compare.

Beside the copies stands ``{stem}.archive.json``, which says of each file its size and SHA-256,
and ``complete`` once all is there and was read back. Nothing at the destination is ever replaced
by something else, and nothing at the source is changed: files are created, so that what somebody
else puts there meanwhile is found, compared, and left alone.

The journal is shared by the streams of a recording and may grow after the call: lines that are
not at the destination yet are added to it, last of all, and none is taken away. Stalls of the
receiver, which stand in its own journal, go along
(see :func:`recall_lab.archives.journals.stalls_within`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from typing import Final

from recall_lab.archives.destinations import Store, store_of
from recall_lab.archives.manifest import SUFFIX as MANIFEST
from recall_lab.archives.stream_copy import Archived, Copying, raise_if_written
from recall_lab.errors import CaptureNotFound, InvalidArgument, RecallLabError, StorageFailed
from recall_lab.remote.listing import SUFFIXES, Source, Stream, find_streams
from recall_lab.text import redacted

__all__ = ["Archived", "archive"]

_LONGEST: Final = 255 - len(MANIFEST)  # bytes of a stem, of which all names are made
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def archive(
    capture: Source,
    url: str | os.PathLike[str],
    *,
    flac: bool = False,
    progress: bool | None = None,
) -> Archived:
    """Copy a finished capture to object storage, or to another folder, or back.

    What was copied is read back and compared before it counts. Called again, it goes on where it
    was broken off, and copies nothing twice. FLAC, and what comes from object storage, stands in
    a temporary file meanwhile (``TMPDIR`` says where).

    Args:
        capture: one stream: loaded, or its path or URL.
        url: the folder for it: ``s3://bucket/captures``, any URL that fsspec knows, or a path.
        flac: whether the audio is kept as FLAC, about half the size. It comes back bit for bit:
            archived from there to a folder without ``flac``, it is the same ``.bin``.
        progress: show a bar; by default for more than 256 MiB.

    Raises:
        CaptureNotFound: when there is no such capture.
        CaptureLocked: when it, or another stream of its recording, is still being written.
        InvalidArgument: for several streams, a capture that is in no file, or a destination that
            has something else under one of the names.
        StorageFailed: when the store does not take it, or gives back something else; when the
            source changed meanwhile, or is not any more what was archived there.
        MissingExtra: for a URL where the packages for it are not installed.

    Example:
        >>> done = archive("captures/9f3c.bin", "s3://bucket/captures", flac=True)
        ... # doctest: +SKIP
        >>> rl.load(done.source)  # doctest: +SKIP
    """
    streams = find_streams(capture)
    if len(streams) != 1:
        if not streams:
            raise CaptureNotFound(capture, "the folder has no captures")
        valid = f"one stream; these are {len(streams)} (the command recall-lab archive copies all)"
        raise InvalidArgument("capture", capture, valid)
    if isinstance(url, str | os.PathLike) and os.fspath(url).endswith(SUFFIXES):
        raise InvalidArgument("url", redacted(os.fspath(url)), "a folder, not a file in it")
    stream = streams[0]
    try:
        target = store_of(url)
        _refuse_place(stream, target)
        raise_if_written(stream)
        with contextlib.ExitStack() as stack:
            return Copying(stream, target, flac, progress, stack).run()
    except RecallLabError:
        raise
    except OSError as error:  # stores tell of themselves: it is the source, or a temporary file
        full = error.errno in _FULL
        place = (
            f"{tempfile.gettempdir()} (TMPDIR)" if full else str(error.filename or stream.source)
        )
        doing = "write" if full else "read"
        raise StorageFailed(redacted(place), error, doing) from error


def _refuse_place(stream: Stream, target: Store) -> None:
    """Raise where the names of a capture do not go with the place."""
    if stream.stem.endswith(MANIFEST.removesuffix(".json")):
        valid = f"a name that does not end in .archive: its .json would be a manifest, {MANIFEST}"
        raise InvalidArgument("capture", stream.stem, f"{valid}; rename its files")
    if len(os.fsencode(stream.stem)) > _LONGEST:
        valid = f"a name of up to {_LONGEST} bytes, so that {MANIFEST} fits: rename its files"
        raise InvalidArgument("capture", stream.stem, valid)
    if target.identity() == store_of(stream.folder).identity():
        raise InvalidArgument("url", redacted(str(target)), "another folder than the capture's own")
