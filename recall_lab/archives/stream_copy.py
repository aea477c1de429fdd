"""Copy one stream into an archive; see :mod:`recall_lab.archives.archive`."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from tqdm import tqdm

from recall_lab.archives.destinations import NO_FILE, Store, store_of
from recall_lab.archives.file_copy import Content, Read, content_of, differs
from recall_lab.archives.journals import lines_missing, lines_of, stalls_within
from recall_lab.archives.manifest import SUFFIX as MANIFEST
from recall_lab.archives.manifest import (
    Copy,
    Manifest,
    begin_manifest,
    manifest_of,
    read_manifest,
    read_one,
    write_manifest,
)
from recall_lab.errors import CaptureError, InvalidArgument
from recall_lab.remote.filesystem import is_url, together
from recall_lab.remote.listing import AUDIO, SUFFIXES, File, Stream, find_streams
from recall_lab.store.journal import RECEIVER_STEM, RECEIVERS
from recall_lab.store.journal import SUFFIX as JOURNAL
from recall_lab.store.lock import raise_if_held
from recall_lab.text import printable, redacted
from recall_lab.wire.pcm import SAMPLE_BYTES

_LARGE: Final = 8 << 20  # bytes of a file after which it is noted that it was copied
_LONG: Final = 256 << 20  # bytes that take long enough to want to see them move
_UNLIKE: Final = "what comes back is not what was sent: delete it there, unless it is another's"
_REPLACED: Final = "somebody else has replaced it there meanwhile: see what it is, then try again"
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


def raise_if_written(stream: Stream) -> None:
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


class Copying:
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
            tqdm(
                total=total,
                unit="B",
                unit_scale=True,
                desc=printable(stream.stem),
                disable=not shown,
            )
        )
        self._source = store_of(stream.folder)
        calls = [self._manifest_beside, self._manifest_there]
        told = [partial(target.told, self._named(suffix)) for suffix in SUFFIXES]
        origin, before, *there = _all([*calls, *told])
        self._begun = before is not None
        self._origin, self._before = origin or Manifest({}), before or Manifest({})
        self._done: list[_Done] = []
        self._there: dict[str, tuple[int, str] | None] = dict(zip(SUFFIXES, there, strict=True))

    def run(self) -> Archived:
        """Copy what is not there yet."""
        self._refuse()
        if not self._begun:  # whoever finds it like this knows that something is missing
            self._begin()
        try:
            self._copy()
            self._raise_if_replaced()
        except InvalidArgument:
            self._take_back()
            raise
        try:
            self._raise_if_changed()
        except CaptureError:
            self._take_back()
            raise
        self._journals()
        done = sorted(self._done, key=lambda one: one.name)
        manifest = manifest_of({one.name: one.copy for one in done}, complete=True)
        if manifest != self._before:
            self._raise_if_replaced()
            write_manifest(self._target, self._stream.stem, manifest)
        new = [one for one in self._done if one.new]
        return Archived(
            source=self._target.place(self._named(self._suffix(self._files[0]))),
            files={one.name: one.copy for one in done},
            copied=tuple(one.name for one in new),
            bytes=sum(one.copy.size for one in new),
        )

    def _copy(self) -> None:
        """Copy all but the journal; the index last: it makes a capture of the others."""
        for file in self._files:
            if file.suffix in AUDIO:
                one = self._audio(file)
                self._done.append(one)
                if one.new and file.size > _LARGE:
                    files = self._before.files | manifest_of({one.name: one.copy}).files
                    write_manifest(self._target, self._stream.stem, Manifest(files))
        for file in sorted(self._files, key=lambda one: one.suffix == ".idx"):
            if file.suffix not in (*AUDIO, JOURNAL):
                self._done.append(self._copied(file.suffix, self._content(file)))
                self._bar.update(file.size)

    def _journals(self) -> None:
        """Bring the journals together, once nothing else can be refused."""
        for file in self._files:
            if file.suffix == JOURNAL:
                self._done.append(self._journal(self._content(file)))
                self._bar.update(file.size)

    def _manifest_beside(self) -> Manifest | None:
        """Return what is told of the source, if that is an archive."""
        with contextlib.suppress(ValueError):
            return read_manifest(self._source, self._stream.stem)
        return None

    def _manifest_there(self) -> Manifest | None:
        """Return what is told of the destination.

        Raises:
            InvalidArgument: when something else has the manifest's name.
        """
        try:
            return read_manifest(self._target, self._stream.stem)
        except ValueError as error:
            raise self._no_manifest(str(error)) from None

    def _no_manifest(self, why: str) -> InvalidArgument:
        name = f"{self._stream.stem}{MANIFEST}"
        valid = f"a folder that has no other {name} ({why:.200}): move that away, or choose another"
        return InvalidArgument("url", redacted(str(self._target)), valid)

    def _begin(self) -> None:
        try:
            begin_manifest(self._target, self._stream.stem)
        except FileExistsError:  # somebody who copies the same began too, or it is none of ours
            if self._manifest_there() is None:
                raise self._no_manifest("it is no plain file") from None

    def _raise_if_replaced(self) -> None:
        """Raise if what was compared is not there any more, or the audio stands twice."""
        audio = next(one for one in self._files if one.suffix in (*AUDIO, ".idx"))
        suffix = self._suffix(audio)
        other = [AUDIO[1 - AUDIO.index(suffix)]] if suffix in AUDIO else []
        mine = [one for one in self._done if JOURNAL not in one.name]
        names = [*(one.name for one in mine), *map(self._named, other)]
        answers = dict(
            zip(names, _all([partial(self._target.told, n) for n in names]), strict=True)
        )
        for one in mine:
            if answers[one.name] != (one.copy.size, one.copy.tag):
                raise differs(self._target.place(one.name), _REPLACED)
        if other and answers[self._named(other[0])] is not None:
            raise self._both(other[0])

    def _take_back(self) -> None:
        """Delete what was copied now: of no use, it would be in the way of the next call.

        Not what is another by now, nor what somebody else relies on who has archived the same.
        """
        with contextlib.suppress(OSError, InvalidArgument):
            now = self._manifest_there() or Manifest({})
            for one in self._done:
                needed = now.complete and now.copy_of(one.name) is not None
                if not one.new or needed or JOURNAL in one.name:
                    continue
                if self._target.told(one.name) == (one.copy.size, one.copy.tag) and (
                    self._target.sha256(one.name, one.copy.size) == one.copy.sha256
                ):
                    self._target.delete([one.name])

    def _refuse(self) -> None:
        """Raise before anything is written, where sizes alone tell that it can't be."""
        for file in self._files:
            suffix = self._suffix(file)
            there = self._there[suffix]
            if suffix in AUDIO:
                other = AUDIO[1 - AUDIO.index(suffix)]
                if self._there[other] is not None:
                    raise self._both(other)
            known = suffix == file.suffix != JOURNAL  # how large it is going to be
            if there and (there[0] == NO_FILE or (known and there[0] != file.size)):
                raise self._occupied(suffix, file.size)

    def _both(self, other: str) -> InvalidArgument:
        place = redacted(self._target.place(self._named(other)))
        valid = f"{not self._flac}, as {place} is there already; or another folder"
        return InvalidArgument("flac", self._flac, valid)

    def _audio(self, file: File) -> _Done:
        """Copy the audio, unless it is there: as it is, as FLAC, or out of FLAC."""
        content, suffix = self._content(file), self._suffix(file)
        place, of = self._stream.url_of(file.suffix), ""
        made = self._origin.copy_of(self._named(".flac")) if file.suffix == ".flac" else None
        if suffix == ".flac":
            of = content.sha256 if file.suffix == ".bin" else made.of if made else ""
            known = self._before.copy_of(self._named(suffix))
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

    def _copied(
        self, suffix: str, content: Content, of: str = "", read: Read = lambda count: None
    ) -> _Done:
        """Write a file and compare what comes back; or compare what is there."""
        name = self._named(suffix)
        new = self._there[suffix] is None
        if new:
            try:
                self._target.create(name, content.pieces(read), content.size)
            except FileExistsError:  # somebody has put it there since: it may be the same
                new = False
            self._there[suffix] = self._target.told(name)
        if not self._same(suffix, content.sha256, content.size):
            if not new:
                raise self._occupied(suffix, content.size)
            # it stays there: it may be another's who came in between
            self._raise_if_changed()
            raise differs(self._target.place(name), _UNLIKE)
        tag = (self._there[suffix] or (0, ""))[1]
        return _Done(name, Copy(content.size, content.sha256, of, tag), new)

    def _same(self, suffix: str, sha256: str, size: int) -> bool:
        """Return whether what is there has this content: by the store's word, or by reading it."""
        name, there = self._named(suffix), self._there[suffix]
        if there is None or there[0] != size:
            return False
        known = self._before.copy_of(name)
        if known and there[1] and (known.tag, known.sha256) == (there[1], sha256):
            return True  # it was read back when it had this tag
        return self._target.sha256(name, size) == sha256

    def _journal(self, content: Content) -> _Done:
        """Add what lines of the journal are not there yet."""
        name = self._named(JOURNAL)
        ours, stalls = b"".join(content.pieces()), self._stalls()
        elsewhere = []
        if stalls or b"stalled" in ours:
            receivers = read_one(self._target, _RECEIVERS) or b""
            elsewhere = [line for line in lines_of(receivers) if b"stalled" in line]
        more = partial(lines_missing, ours=ours, more=stalls, elsewhere=elsewhere)
        now, new = self._target.extend(name, more)
        back = (read_one(self._target, name) or b"") if new else now
        if more(back):
            raise differs(self._target.place(name), _UNLIKE)
        return _Done(name, Copy(len(back), hashlib.sha256(back).hexdigest()), new)

    def _stalls(self) -> list[bytes]:
        """Return the lines of the receiver's own journal that concern this recording."""
        journals = (read_one(self._source, name) or b"" for name in RECEIVERS)
        lines = b"\n".join(journals).split(b"\n")
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
        told = self._origin.copy_of(self._named(file.suffix))
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
        what = f"it has {has:,} bytes there, the capture {size:,}"
        if has == NO_FILE:
            what = "what is there is no plain file"
        elif has == size:
            what = "of the same size, and with other bytes in it"
        name = self._named(suffix)
        valid = f"a folder that has no other {name} ({what}): move that away, or choose another"
        return InvalidArgument("url", redacted(str(self._target)), valid)

    def _raise_if_changed(self) -> None:
        """Raise if the source is another by now; its journal may go on."""
        raise_if_written(self._stream)
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
