"""Load many streams one after another, fetching from object storage ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from recall_lab.capture.capture import Capture
from recall_lab.errors import StorageFailed
from recall_lab.loading import load
from recall_lab.remote.filesystem import FileSystem, fetch, filesystem_of, is_url
from recall_lab.remote.listing import AUDIO, Stream
from recall_lab.remote.reader import HEAD, LARGEST, capture_of, journals_of, refuse_large, there
from recall_lab.store.journal import SUFFIX as JOURNAL
from recall_lab.text import redacted

_TOGETHER: Final = 32  # streams fetched in one round
_SMALL: Final = 8 << 20  # bytes of audio that come with the index; more is fetched by ranges
_MOST: Final = 32 << 20  # bytes fetched in one round, but for a single stream that has more


class _Fetched(NamedTuple):
    fs: FileSystem
    streams: list[tuple[Stream, str]]  # with the path in the store, without its suffix
    objects: dict[str, bytes | Exception]
    audio: bool


def load_many(
    streams: Sequence[Stream], *, audio: bool
) -> Iterator[tuple[Stream, Capture | Exception]]:
    """Load streams, in order; what can't be had of one is an error in its place.

    Those in object storage are fetched some tens at a time, while those before are worked on.

    Args:
        streams: as :func:`find_streams` has them; it is their sizes that are believed.
        audio: whether it will be read: then that of small ones comes along.
    """
    receivers: dict[str, bytes | Exception] = {}  # journals that all streams of a folder share
    with ThreadPoolExecutor(1) as ahead:
        rounds = iter(_rounds(streams, audio))
        coming = next(rounds, None)
        future = ahead.submit(_fetched, coming, receivers, audio) if coming else None
        while coming and future:
            done, some = future, coming
            coming = next(rounds, None)
            got = done.exception() or done.result()
            if coming:
                future = ahead.submit(_fetched, coming, receivers, audio)
            yield from _captures(some, got, receivers)


def _rounds(streams: Sequence[Stream], audio: bool) -> Iterator[list[Stream]]:
    """Cut streams into what is fetched at once: of one folder, not too many, not too large."""
    some: list[Stream] = []
    weight = 0
    for stream in streams:
        small = sum(_wanted(stream, audio).values())
        full = len(some) >= _TOGETHER or weight + small > _MOST
        if some and (full or stream.folder != some[0].folder):
            yield some
            some, weight = [], 0
        some.append(stream)
        weight += small
    if some:
        yield some


def _wanted(stream: Stream, audio: bool) -> dict[str, int]:
    """Return which files of a stream are fetched at once, and how many bytes of each."""
    wanted = {}
    for file in stream.files:
        if file.suffix not in AUDIO:
            if file.size <= LARGEST.get(file.suffix, file.size):
                wanted[file.suffix] = file.size
        elif stream.source.endswith(file.suffix):  # else it is none of the capture's
            whole = audio and file.size <= _SMALL
            if whole or (file.suffix == ".flac" and file.size):
                wanted[file.suffix] = file.size if whole else min(file.size, HEAD)
    return wanted


def _fetched(
    streams: list[Stream], receivers: dict[str, bytes | Exception], audio: bool
) -> _Fetched | None:
    """Fetch what streams need; None where they are files of this machine."""
    if not is_url(streams[0].source):
        return None
    placed = []
    for stream in streams:
        fs, path = filesystem_of(stream.source)
        placed.append((stream, path[: path.rindex(".")]))
    names, ends = set(), {}
    for stream, base in placed:
        for suffix, size in _wanted(stream, audio).items():
            name = journals_of(base)[0] if suffix == JOURNAL else f"{base}{suffix}"
            names.add(name)
            if suffix == ".flac" and size:
                ends[name] = size
    shared = journals_of(placed[0][1])[1]
    if shared not in receivers:
        names.add(shared)
    objects = dict(fetch(fs, sorted(names), streams[0].folder, ends))
    if shared in objects:
        receivers[shared] = objects.pop(shared)
    return _Fetched(fs, placed, objects, audio)


def _captures(
    streams: list[Stream],
    got: _Fetched | BaseException | None,
    receivers: dict[str, bytes | Exception],
) -> Iterator[tuple[Stream, Capture | Exception]]:
    if isinstance(got, BaseException) and not isinstance(got, Exception):
        raise got
    if isinstance(got, Exception):
        yield from ((stream, got) for stream in streams)
    elif got is None:
        for stream in streams:
            try:
                yield stream, load(stream.source)
            except Exception as error:
                yield stream, error
    else:
        for stream, base in got.streams:
            try:
                yield stream, _put_together(got, stream, base, receivers)
            except Exception as error:
                yield stream, error


def _put_together(
    got: _Fetched, stream: Stream, base: str, receivers: dict[str, bytes | Exception]
) -> Capture:
    wanted = _wanted(stream, got.audio)
    own, shared = journals_of(base)

    def of(suffix: str) -> bytes | None:
        if suffix not in wanted:
            return None
        found = there(got.objects[own if suffix == JOURNAL else f"{base}{suffix}"])
        if found is None:
            said = "it was listed, and is not there any more"
            raise StorageFailed(redacted(stream.url_of(suffix)), OSError(5, said), "read")
        return found

    for file in stream.files:
        refuse_large(stream.url_of(file.suffix), file.suffix, file.size)
    audio: bytes | tuple[str, int] | None = of(".bin")
    version = None
    for file in reversed(stream.files):  # the .bin counts before the .flac
        if file.suffix in AUDIO and not isinstance(audio, bytes):
            audio = (file.suffix, file.size)
            # other stores write it one way in a listing and another when asked for one object
            version = file.version if "s3" in got.fs.protocol else None
    journals = of(JOURNAL) or b"", there(receivers[shared]) or b""
    return capture_of(
        got.fs, base, stream.base, of(".idx"), of(".json"), audio, journals,
        head=of(".flac") or b"", version=version,
    )  # fmt: skip
