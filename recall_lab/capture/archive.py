"""A finished capture copied to where it is kept: checksummed, resumed, and compared afterwards.

Beside the copies stands ``{stem}.archive.json``, which says of each file its size and SHA-256,
and ``complete`` once all is there and was read back. Nothing at the destination is ever replaced
by something else, and nothing at the source is changed.

The journal is shared by the streams of a recording and may grow after the call: lines that are
not at the destination yet are added to it, and none is taken away. Stalls of the receiver, which
stand in its own journal, go along (see :func:`recall_lab.capture.copies.stalls_within`).
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from tqdm import tqdm

from recall_lab.capture.copies import Content, Read, content_of, differs
from recall_lab.capture.journal import RECEIVER_STEM
from recall_lab.capture.journal import SUFFIX as JOURNAL
from recall_lab.capture.journals import lines_missing, lines_of, stalls_within
from recall_lab.capture.listing import AUDIO, SUFFIXES, File, Source, Stream, find_streams
from recall_lab.capture.manifest import Copy, Manifest, found_in, read_manifest, write_manifest
from recall_lab.capture.opening import raise_if_held
from recall_lab.capture.remote import is_url, together
from recall_lab.capture.stores import Store, store_of
from recall_lab.errors import CaptureError, CaptureNotFound, InvalidArgument
from recall_lab.text import redacted
from recall_lab.wire.pcm import SAMPLE_BYTES

_LARGE: Final = 8 << 20  # bytes of a file after which it is noted that it was copied
_LONG: Final = 256 << 20  # bytes that take long enough to want to see them move
_UNLIKE: Final = "what comes back is not what was sent"
_ROTTEN: Final = "it is not what was archived there: take it from another copy"
_RECEIVERS: Final = f"{RECEIVER_STEM}{JOURNAL}"


@dataclass(frozen=True)
class Archived:
    """What :func:`archive` has done.

    Attributes:
        source: what :func:`recall_lab.load` takes at the destination.
        files: size and SHA-256 of each file by name.
        copied: names of those that were copied now; the others were there already.
        bytes: that were written now.
    """

    source: str
    files: dict[str, Copy]
    copied: tuple[str, ...]
    bytes: int


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
        raise InvalidArgument("capture", capture, f"one stream; these are {len(streams)}")
    if isinstance(url, str | os.PathLike) and os.fspath(url).endswith(SUFFIXES):
        raise InvalidArgument("url", redacted(os.fspath(url)), "a folder, not a file in it")
    target = store_of(url)
    _raise_if_written(streams[0])
    with contextlib.ExitStack() as stack:
        return _Copying(streams[0], target, flac, progress, stack).run()


def _raise_if_written(stream: Stream) -> None:
    """Raise while any stream of the recording is written: it is not finished.

    No lock is kept: a bot that comes back has to find its capture free.
    """
    if is_url(stream.source):
        return
    folder = Path(stream.folder)
    for index in {
        folder / f"{stream.stem}.idx",
        *folder.glob(f"{glob.escape(stream.recording)}.*idx"),
    }:
        raise_if_held(index)


class _Done(NamedTuple):
    """What became of one file; `new` where it was written now."""

    name: str
    copy: Copy
    new: bool


class _Copying:
    """One stream on its way."""

    def __init__(
        self,
        stream: Stream,
        target: Store,
        flac: bool,
        progress: bool | None,
        stack: contextlib.ExitStack,
    ) -> None:
        self._stream, self._target, self._flac, self._stack = stream, target, flac, stack
        both = stream.size(".bin") is not None  # then a .flac beside it is none of the capture's
        self._files = [file for file in stream.files if not (both and file.suffix == ".flac")]
        total = sum(file.size for file in self._files)
        shown = total > _LONG if progress is None else progress
        self._bar = stack.enter_context(
            tqdm(total=total, unit="B", unit_scale=True, desc=stream.stem, disable=not shown)
        )
        self._source = store_of(stream.folder)
        calls = [partial(read_manifest, store, stream.stem) for store in (self._source, target)]
        told = [partial(target.told, self._named(suffix)) for suffix in SUFFIXES]
        origin, before, *there = _all([*calls, *told])
        self._begun = before is not None
        self._origin, self._before = origin or Manifest({}), before or Manifest({})
        self._there: dict[str, tuple[int, str] | None] = dict(zip(SUFFIXES, there, strict=True))

    def run(self) -> Archived:
        """Copy what is not there yet."""
        self._refuse()
        if not self._begun:  # whoever finds it like this knows that something is missing
            self._write(Manifest({}))
        done: list[_Done] = []
        for file in self._files:
            if file.suffix in AUDIO:
                done.append(self._audio(file))
                if done[-1].new and file.size > _LARGE:
                    self._write(Manifest(self._before.files | {done[-1].name: done[-1].copy}))
        # the index last: it is what makes a capture of the others
        others = [file for file in self._files if file.suffix not in (*AUDIO, ".idx")]
        index = [file for file in self._files if file.suffix == ".idx"]
        for some in (others, index):
            done += _all([partial(self._beside, file) for file in some])
            self._bar.update(sum(file.size for file in some))
        try:
            self._raise_if_changed()
        except CaptureError:  # what was copied is of no use: the next call shall find room for it
            self._target.delete([one.name for one in done if one.new and JOURNAL not in one.name])
            raise
        manifest = Manifest({one.name: one.copy for one in done}, complete=True)
        if manifest != self._before:
            self._write(manifest)
        new = [one for one in done if one.new]
        return Archived(
            source=self._target.place(self._named(self._suffix(self._files[0]))),
            files=manifest.files,
            copied=tuple(one.name for one in new),
            bytes=sum(one.copy.size for one in new),
        )

    def _refuse(self) -> None:
        """Raise before anything is written, where sizes alone tell that it can't be."""
        for file in self._files:
            suffix = self._suffix(file)
            there = self._there[suffix]
            if suffix in AUDIO:
                other = AUDIO[1 - AUDIO.index(suffix)]
                if self._there[other] is not None:
                    place = redacted(self._target.place(self._named(other)))
                    valid = f"{not self._flac}, as {place} is there already; or another folder"
                    raise InvalidArgument("flac", self._flac, valid)
            if suffix == file.suffix != JOURNAL and there and there[0] != file.size:
                raise self._occupied(suffix, file.size)

    def _audio(self, file: File) -> _Done:
        """Copy the audio, unless it is there: as it is, as FLAC, or out of FLAC."""
        content, suffix = self._content(file), self._suffix(file)
        place, of = self._stream.url_of(file.suffix), ""
        made = self._origin.files.get(self._named(".flac")) if file.suffix == ".flac" else None
        if suffix == ".flac":
            of = content.sha256 if file.suffix == ".bin" else made.of if made else ""
            known = self._before.files.get(self._named(suffix))
            same = known and of and known.of == of and self._same(suffix, known.sha256, known.size)
            if known and same:  # it need not be made again
                self._bar.update(file.size)
                return _Done(self._named(suffix), known, new=False)
            if file.suffix == ".bin":
                content = content.as_flac(redacted(place), self._bar.update)
        elif file.suffix == ".flac":
            content = content.as_bin(redacted(place))
            self._bar.update(file.size)
            if made and made.of and made.of != content.sha256:
                raise differs(place, _ROTTEN)
        if suffix != file.suffix:  # which took longer than the copying
            return self._copied(suffix, content, of)
        return self._copied(suffix, content, of, self._bar.update)

    def _beside(self, file: File) -> _Done:
        """Copy what stands beside the audio, unless it is there."""
        content = self._content(file)
        if file.suffix == JOURNAL:
            return self._journal(content)
        return self._copied(file.suffix, content)

    def _copied(
        self, suffix: str, content: Content, of: str = "", read: Read = lambda count: None
    ) -> _Done:
        """Write a file and compare what comes back; or compare what is there."""
        name, there = self._named(suffix), self._there[suffix]
        if there is not None:
            if not self._same(suffix, content.sha256, content.size):
                raise self._occupied(suffix, content.size)
            return _Done(name, Copy(content.size, content.sha256, of, there[1]), new=False)
        self._target.write(name, content.pieces(read), content.size)
        told = self._target.told(name) or (-1, "")
        if told[0] != content.size or self._target.sha256(name, told[0]) != content.sha256:
            self._target.delete([name])  # it was not there before
            self._raise_if_changed()
            raise differs(self._target.place(name), _UNLIKE)
        return _Done(name, Copy(content.size, content.sha256, of, told[1]), new=True)

    def _same(self, suffix: str, sha256: str, size: int) -> bool:
        """Return whether what is there has this content: by the store's word, or by reading it."""
        name, there = self._named(suffix), self._there[suffix]
        if there is None or there[0] != size:
            return False
        known = self._before.files.get(name)
        if known and there[1] and (known.tag, known.sha256) == (there[1], sha256):
            return True  # it was read back when it had this tag
        return self._target.sha256(name, size) == sha256

    def _journal(self, content: Content) -> _Done:
        """Add what lines of the journal are not there yet."""
        name = self._named(JOURNAL)
        ours, stalls = b"".join(content.pieces()), self._stalls()
        names = [name, _RECEIVERS] if stalls or b"stalled" in ours else [name]
        got = self._target.read(names)
        theirs, elsewhere = found_in(got[name]), lines_of(found_in(got.get(_RECEIVERS, b"")))
        elsewhere = [line for line in elsewhere if b"stalled" in line]
        more = lines_missing(theirs, ours, stalls, elsewhere)
        new = bool(more) or not (theirs or self._there[JOURNAL])
        if theirs and more:
            self._target.extend(name, theirs, more)
        elif new:
            self._target.write(name, [more], len(more))
        back = found_in(self._target.read([name])[name]) if new else theirs
        if more and lines_missing(back, ours, stalls, elsewhere):
            raise differs(self._target.place(name), _UNLIKE)
        return _Done(name, Copy(len(back), hashlib.sha256(back).hexdigest()), new)

    def _stalls(self) -> list[bytes]:
        """Return the lines of the receiver's own journal that concern this recording."""
        lines = found_in(self._source.read([_RECEIVERS])[_RECEIVERS]).split(b"\n")
        index = next((file for file in self._files if file.suffix == ".idx"), None)
        if index is None or not any(b"stalled" in line for line in lines):
            return []
        return stalls_within(lines, b"".join(self._content(index).pieces()))

    def _content(self, file: File) -> Content:
        """Return what is in a file of the source, if it is what was archived there."""
        place = self._stream.url_of(file.suffix)
        try:
            content = content_of(place, file.size, self._stack)
        except FileNotFoundError as error:
            raise differs(place, "it is not there any more") from error
        told = self._origin.files.get(self._named(file.suffix))
        # one that is longer went on being written since
        if told is None or told.sha256 == content.sha256 or file.suffix not in (*AUDIO, ".idx"):
            return content
        if told.size == content.size or file.suffix == ".flac":
            raise differs(place, _ROTTEN)
        return content

    def _suffix(self, file: File) -> str:
        """Return what a file becomes; there is no FLAC of no samples."""
        if file.suffix == ".bin" and self._flac and file.size >= SAMPLE_BYTES:
            return ".flac"
        return ".bin" if file.suffix == ".flac" and not self._flac else file.suffix

    def _named(self, suffix: str) -> str:
        return f"{self._stream.recording if suffix == JOURNAL else self._stream.stem}{suffix}"

    def _occupied(self, suffix: str, size: int) -> InvalidArgument:
        has = (self._there[suffix] or (0, ""))[0]
        valid = (
            f"a folder that has no other {self._named(suffix)} (it has {has:,} bytes there, the "
            f"capture {size:,}): move that away, or choose another folder"
        )
        return InvalidArgument("url", redacted(str(self._target)), valid)

    def _write(self, manifest: Manifest) -> None:
        write_manifest(self._target, self._stream.stem, manifest)

    def _raise_if_changed(self) -> None:
        """Raise if the source is another by now; its journal may go on."""
        _raise_if_written(self._stream)
        now = find_streams(self._stream.source)
        if [_but_journal(one) for one in now] != [_but_journal(self._stream)]:
            said = "it was changed while it was copied: copy it again when it is finished"
            raise differs(self._stream.source, said)


def _but_journal(stream: Stream) -> Stream:
    return Stream(stream.source, tuple(one for one in stream.files if one.suffix != JOURNAL))


def _all(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return what all calls return, which are under way at once; raise what the first raises."""
    answers = together(*calls) if calls else []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers
