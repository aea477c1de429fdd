"""List the streams in folders and buckets without opening a file."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recall_lab.capture.capture import Capture
from recall_lab.capture.info import parse_stem
from recall_lab.errors import CaptureNotFound, InvalidArgument, StorageFailed
from recall_lab.remote.filesystem import (
    FileSystem,
    filesystem_of,
    is_url,
    local_path,
    missing_bucket,
    not_found,
    persistently,
    size_of,
    version_of,
)
from recall_lab.store.journal import SUFFIX as JOURNAL

AUDIO: Final = (".bin", ".flac")
"""What a stream's audio may be in; the first that is there counts."""

SUFFIXES: Final = (*AUDIO, ".idx", ".json", JOURNAL)
"""Of the files that a stream is made of."""

_WILD: Final = frozenset("*?[")


@dataclass(frozen=True)
class File:
    """One file of a stream.

    Attributes:
        suffix: one of :data:`SUFFIXES`.
        size: bytes.
        version: the store's tag of its content, or when it was changed last.
    """

    suffix: str
    size: int
    version: str


@dataclass(frozen=True)
class Stream:
    """One stream, as a listing tells of it. Small: it travels to workers.

    Attributes:
        source: what :func:`recall_lab.load` takes: path or URL of the audio, or of the index
            where there is no audio.
        files: what it is made of, in the order of :data:`SUFFIXES`; the journal is that of the
            whole recording.

    Example:
        >>> find_streams("data")[0].stem  # doctest: +SKIP
        'standup-broken.100'
    """

    source: str
    files: tuple[File, ...]

    @property
    def base(self) -> str:
        """The source without its suffix."""
        return self.source[: self.source.rindex(".")]

    @property
    def folder(self) -> str:
        """The folder, with the slash at its end."""
        return self.source[: self.source.rindex("/") + 1]

    @property
    def stem(self) -> str:
        """Name that the files share."""
        return self.base[self.base.rindex("/") + 1 :]

    @property
    def recording(self) -> str:
        """The recording's id; the whole name where it is none."""
        return (parse_stem(self.stem) or (self.stem, None))[0]

    @property
    def participant(self) -> int | None:
        """Whose stream it is; None for the mixed one."""
        return (parse_stem(self.stem) or (self.stem, None))[1]

    @property
    def version(self) -> str:
        """Text that is another as soon as any of the files is."""
        return ";".join(f"{file.suffix}={file.size},{file.version}" for file in self.files)

    def size(self, suffix: str) -> int | None:
        """Return the bytes of one of the files; None where it is not there."""
        return next((file.size for file in self.files if file.suffix == suffix), None)

    def url_of(self, suffix: str) -> str:
        """Return where one of the files is."""
        return f"{self.folder}{self.recording if suffix == JOURNAL else self.stem}{suffix}"


Source = str | os.PathLike[str] | Capture


def find_streams(source: Source | Iterable[Source]) -> list[Stream]:
    """Return the streams of a folder, a pattern, a bucket, or a list of such.

    Args:
        source: a folder, gone through to its depths; a pattern such as ``"captures/2026-*"``;
            one capture, by any of its files; a URL of any of these that fsspec knows
            (``s3://bucket/captures``); a capture that was loaded; or several of all that.

    Returns:
        Each stream once, sorted by source. Empty for an empty folder.

    Raises:
        CaptureNotFound: for a path or URL where nothing is.
        InvalidArgument: for what is no source.
        StorageFailed: when object storage does not answer.

    Example:
        >>> len(find_streams("data/*.bin"))  # doctest: +SKIP
        2
    """
    if isinstance(source, str | os.PathLike | Capture):
        source = [source]
    elif not isinstance(source, Iterable):
        raise InvalidArgument("source", source, "a folder, a pattern, a URL, or a list of them")
    found: dict[str, Stream] = {}
    for one in source:
        for stream in _streams_of(_place_of(one)):
            found[stream.source] = stream
    return [found[name] for name in sorted(found)]


def _place_of(source: Source) -> str:
    if isinstance(source, Capture):
        place = source.url or source.path
        if place is None:
            raise InvalidArgument("source", source, "captures that were loaded from files")
        return os.fspath(place)
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        raise InvalidArgument("source", source, "a folder, a pattern or a URL")
    return os.fspath(source)


def _streams_of(place: str) -> Iterator[Stream]:
    if not is_url(place):
        yield from _local(local_path(place))
        return
    fs, path = filesystem_of(place)
    # one name for what has several: s3a:// is s3://
    head = (fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]) + "://"
    found = persistently(lambda: _objects(fs, path), name=place)
    if found is None:
        if place.endswith("/") and not missing_bucket(fs, path):
            return  # a folder by its name, and a store has none that are empty
        nothing = "there is no such object, and no folder of that name with any in it"
        raise not_found(place, missing_bucket(fs, path) or nothing)
    # names in a listing are without the scheme, whatever was asked for
    yield from _grouped({head + name.lstrip("/"): told for name, told in found.items()})


def _objects(fs: FileSystem, path: str) -> dict[str, Mapping[str, Any]] | None:
    """Return size and version of every object that is meant; None where there is none."""
    found = _literal(fs, path)
    if found is not None or not _WILD & set(path):
        return found
    matches: dict[str, Mapping[str, Any]] = {}
    try:
        named = fs.glob(path, detail=True)
    except FileNotFoundError:  # no such bucket
        return None
    for name, told in named.items():
        inside = fs.find(name, detail=True) if told.get("type") == "directory" else {name: told}
        matches |= inside
    return _beside(fs, matches)


def _literal(fs: FileSystem, path: str) -> dict[str, Mapping[str, Any]] | None:
    """Return the objects under a name, or of the capture of that name; None where none is."""
    found: dict[str, Mapping[str, Any]]
    try:
        found = fs.find(path, detail=True)
    except FileNotFoundError:
        found = {}
    if not found or list(found) == [path]:  # a file of a capture, or what several begin with
        folder, _, name = path.rpartition("/")
        if not folder:  # a bucket by itself
            return {} if fs.exists(path) else None
        stem = _parted(name)[0]
        try:
            near = fs.find(folder, maxdepth=1, detail=True, prefix=(parse_stem(stem) or (stem,))[0])
        except FileNotFoundError:
            return None
        wanted = _named({f"{folder}/{stem}"})
        found = {other: told for other, told in near.items() if _belongs(other, wanted)}
    return found or None


def _beside(
    fs: FileSystem, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]] | None:
    """Return the files that streams have beside what a pattern names of them."""
    wanted = _named({_stem_of(name) for name in found})
    all_of = dict(found)
    for folder in {name.rpartition("/")[0] for name in found}:
        near = fs.find(folder, maxdepth=1, detail=True)
        all_of |= {name: told for name, told in near.items() if _belongs(name, wanted)}
    return all_of or None


def _local(path: Path) -> Iterator[Stream]:
    stem = _stem_of(_absolute(path))
    literal = path.exists() or _files_of(os.path.dirname(stem), {stem})
    if _WILD & set(str(path)) and not literal:
        matches = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - absolute
        if not matches:
            raise CaptureNotFound(path, "nothing matches the pattern")
        folders = [match for match in matches if match.is_dir()]
        stems = {_stem_of(_absolute(match)) for match in matches if not match.is_dir()}
        for folder in folders:
            yield from _local(folder)
        for parent in sorted({os.path.dirname(stem) for stem in stems}):
            yield from _grouped(_files_of(parent, stems))
        return
    if path.is_dir():
        for deeper in _folders(path):
            yield from _grouped(_files_of(deeper))
        return
    streams = list(_grouped(_files_of(os.path.dirname(stem), {stem})))
    if not streams:
        raise CaptureNotFound(path, "there is neither a folder nor a capture of that name")
    yield from streams


def _folders(top: Path) -> Iterator[str]:
    """Return a folder and all in it, links to folders too; each once, so that loops end.

    Raises:
        StorageFailed: when it can't be read. One within it is passed over, with a warning.
    """

    def unreadable(error: OSError) -> None:
        if error.filename == str(top):
            raise StorageFailed(top, error, "read") from error
        told = f"the folder {error.filename!r} is passed over: {error.strerror}"
        warnings.warn(told, RuntimeWarning, stacklevel=2)

    seen: set[tuple[int, int]] = set()
    for folder, inside, _ in os.walk(top, followlinks=True, onerror=unreadable):
        try:
            about = os.stat(folder)
        except OSError as error:  # gone since
            unreadable(error)
            continue
        if (about.st_dev, about.st_ino) in seen:
            inside.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        yield folder


def _files_of(folder: str, stems: set[str] | None = None) -> dict[str, Mapping[str, Any]]:
    """Return size and time of change of the files in one folder, by their absolute paths."""
    found: dict[str, Mapping[str, Any]] = {}
    wanted = None if stems is None else _named(stems)
    try:
        entries = list(os.scandir(_absolute(folder)))
    except FileNotFoundError:
        return found
    for entry in entries:
        if wanted is not None and not _belongs(entry.path, wanted):
            continue
        if not entry.name.endswith(SUFFIXES):
            continue
        try:
            if entry.is_file():
                told = entry.stat()
                found[entry.path] = {"size": told.st_size, "mtime": told.st_mtime_ns}
        except OSError:  # gone since
            continue
    return found


def _grouped(files: Mapping[str, Mapping[str, Any]]) -> Iterator[Stream]:
    """Return the streams that files make up."""
    by_stem: dict[str, dict[str, File]] = {}
    journals: dict[str, File] = {}
    for name, told in files.items():
        folder, _, last = name.rpartition("/")
        stem, suffix = _parted(last)
        if suffix not in SUFFIXES or not stem:
            continue
        file = File(suffix, size_of(told), version_of(told))
        if suffix == JOURNAL:
            journals[f"{folder}/{stem}"] = file
        else:
            by_stem.setdefault(f"{folder}/{stem}", {})[suffix] = file
    for base, found in by_stem.items():
        first = next((suffix for suffix in (*AUDIO, ".idx") if suffix in found), None)
        if first is None:  # a .json that is none of ours
            continue
        folder, _, stem = base.rpartition("/")
        journal = journals.get(f"{folder}/{(parse_stem(stem) or (stem,))[0]}")
        if journal is not None:
            found[JOURNAL] = journal
        files_of = tuple(found[suffix] for suffix in SUFFIXES if suffix in found)
        yield Stream(f"{base}{first}", files_of)


def _parted(name: str) -> tuple[str, str]:
    """Return the stem and the suffix of a file's name; the suffix is empty for other files."""
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    return name.removesuffix(suffix), suffix


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links are left as they are


def _stem_of(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + _parted(name)[0]


def _named(stems: set[str]) -> set[str]:
    """Return streams' stems together with the journals of their recordings, all with the folder."""
    journals = set()
    for base in stems:
        folder, slash, stem = base.rpartition("/")
        journals.add(f"{folder}{slash}{(parse_stem(stem) or (stem,))[0]}{JOURNAL}")
    return stems | journals


def _belongs(path: str, wanted: set[str]) -> bool:
    return path in wanted or _stem_of(path) in wanted
