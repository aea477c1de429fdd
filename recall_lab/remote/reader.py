"""Read captures from object storage: the index at once, the audio when it is used."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from recall_lab.capture.assembly import assemble, events_alone
from recall_lab.capture.capture import Audio, Capture
from recall_lab.capture.events import events_of
from recall_lab.capture.info import CaptureInfo, info_by_name, parse_info, parse_stem
from recall_lab.errors import CaptureNotFound, InvalidAudio, StorageFailed
from recall_lab.remote.filesystem import (
    FileSystem,
    fetch,
    filesystem_of,
    missing_bucket,
    not_found,
    persistently,
    size_of,
    together,
    version_of,
)
from recall_lab.remote.listing import AUDIO, SUFFIXES, find_streams
from recall_lab.remote.range_reader import RemoteAudio, RemoteBytes
from recall_lab.store.flac import FlacAudio
from recall_lab.store.journal import RECEIVER_STEM
from recall_lab.store.journal import SUFFIX as JOURNAL
from recall_lab.text import redacted
from recall_lab.wire.pcm import SAMPLE_BYTES, SAMPLE_DTYPE, Samples

HEAD: Final = 16 << 10
"""Bytes at the beginning of a FLAC in which it says how long it is."""

LARGEST: Final = {".idx": 1 << 30, ".json": 1 << 20}
"""Bytes of what is fetched into memory whole; a stream of 38 days has an index of 1 GiB."""


def load_url(url: str) -> Capture:
    """Load a capture from object storage; see :func:`recall_lab.load`."""
    fs, path = filesystem_of(url)
    suffix = next((suffix for suffix in SUFFIXES if path.endswith(suffix)), "")
    base, base_url = path.removesuffix(suffix), url.removesuffix(suffix)
    kinds = (*AUDIO, *LARGEST)
    # all in one round: each waits for the store some tens of milliseconds
    answers = together(
        *(partial(persistently, partial(fs.info, base + kind), name=url) for kind in kinds)
    )
    told: dict[str, Mapping[str, Any]] = {}
    for kind, answer in zip(kinds, answers, strict=True):
        if not isinstance(answer, Exception):
            told[kind] = answer
            refuse_large(url, kind, size_of(answer))
        elif not isinstance(answer, FileNotFoundError):
            raise answer
    if not told.keys() - {".json"}:
        hint = "there is no such object: name a .bin, .flac or .idx, or what these have in common"
        raise not_found(url, missing_bucket(fs, path) or hint)
    kind = next((kind for kind in AUDIO if kind in told), "")
    audio = (kind, size_of(told[kind])) if kind else None
    version = version_of(told[kind]) if kind else None
    wanted = [kind for kind in LARGEST if kind in told]
    if audio is not None and audio[0] == ".flac" and audio[1]:
        wanted.append(".flac")
    small = fetch(fs, [base + kind for kind in wanted], url, {f"{base}.flac": HEAD})
    index, info, head = (
        there(small.get(base + kind, FileNotFoundError())) for kind in (*LARGEST, ".flac")
    )
    return capture_of(fs, base, base_url, index, info, audio, head=head or b"", version=version)


def refuse_large(name: str, suffix: str, size: int) -> None:
    """Raise StorageFailed for what is fetched into memory whole, and is larger than any of ours."""
    most = LARGEST.get(suffix, size)
    if size > most:
        said = f"the {suffix} has {size:,} bytes, at most {most:,} are read: is it one of ours?"
        raise StorageFailed(redacted(name), OSError(errno.EFBIG, said), "read")


def load_recording_url(url: str) -> list[Capture]:
    """Load every stream of a recording; see :func:`recall_lab.load_recording`."""
    suffix = next((suffix for suffix in SUFFIXES if url.endswith(suffix)), "")
    folder, _, stem = url.removesuffix(suffix).rpartition("/")
    recording = (parse_stem(stem) or (stem, None))[0]
    try:
        found = find_streams(f"{folder}/{recording}*")
    except CaptureNotFound:
        found = []
    streams = [one for one in found if one.recording == recording]
    if not streams:
        fs, base = filesystem_of(f"{folder}/{recording}")
        if persistently(partial(fs.exists, f"{base}{JOURNAL}"), name=url):
            return [events_alone(recording, partial(_fetch_events, fs, base))]
        raise not_found(url, "name a recording, as s3://bucket/folder/recording")
    streams.sort(key=lambda one: (one.participant is not None, one.participant or 0))
    return [load_url(one.source) for one in streams]


def capture_of(
    fs: FileSystem,
    base: str,
    base_url: str,
    index: bytes | None,
    info: bytes | None,
    audio: tuple[str, int] | bytes | None,
    journals: tuple[bytes, bytes] | None = None,
    *,
    head: bytes = b"",
    version: str | None = None,
) -> Capture:
    """Put together what was fetched of a stream.

    Args:
        fs, base: where its objects are, without the suffix.
        base_url: the same as a URL.
        index, info: the ``.idx`` and the ``.json``; None where there is none.
        audio: suffix and size of the audio; or all of the ``.bin``; None where there is none.
        journals: the recording's and the receiver's; None: they are fetched when they are needed.
        head: of a FLAC: how it begins, or all of it.
        version: of the audio; reading fails once the store has another. None: not watched.
    """
    name = base.rpartition("/")[2]
    known, problem = _info_of(info, name)
    try:
        samples, odd, suffix = _audio_of(fs, base, audio, head, version)
    except InvalidAudio as error:  # a FLAC that is none
        samples, odd, suffix = np.empty(0, SAMPLE_DTYPE), False, ".flac"
        problem = "; ".join(filter(None, [problem, str(error)]))
    read: Callable[[], pd.DataFrame] = partial(_fetch_events, fs, base)
    if journals is not None:
        own, receivers = journals
        read = partial(_events_in, own, receivers)
    url = f"{base_url}{suffix}"
    return assemble(index, samples, odd, known, problem, events=read, url=url)


def there(answer: bytes | Exception) -> bytes | None:
    """Return what was fetched; None for what does not exist.

    Raises:
        StorageFailed: when the store did not give it.
    """
    if isinstance(answer, FileNotFoundError):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer


def journals_of(stream_base: str) -> tuple[str, str]:
    """Return where the two journals of a stream are."""
    folder, slash, stem = stream_base.rpartition("/")
    recording = (parse_stem(stem) or (stem, None))[0]
    return f"{folder}{slash}{recording}{JOURNAL}", f"{folder}{slash}{RECEIVER_STEM}{JOURNAL}"


def _info_of(data: bytes | None, stem: str) -> tuple[CaptureInfo, str | None]:
    if data is None:
        return info_by_name(stem), None
    info, problem = parse_info(data, f"{stem}.json")
    return info or info_by_name(stem), problem


def _audio_of(
    fs: FileSystem,
    base: str,
    audio: tuple[str, int] | bytes | None,
    head: bytes,
    version: str | None,
) -> tuple[Samples | Audio, bool, str]:
    """Return the samples, whether half of one is left over, and the suffix of what they are in."""
    if audio is None:
        return np.empty(0, SAMPLE_DTYPE), False, ".idx"
    if isinstance(audio, bytes):
        samples = np.frombuffer(audio, SAMPLE_DTYPE, len(audio) // SAMPLE_BYTES)
        return samples, bool(len(audio) % SAMPLE_BYTES), ".bin"
    suffix, size = audio
    source = RemoteBytes(fs, f"{base}{suffix}", size, head=head, version=version)
    if suffix == ".bin":
        return RemoteAudio(source), bool(size % SAMPLE_BYTES), suffix
    flac = FlacAudio(source.file(), redacted(f"{base}{suffix}"))
    return flac, bool(flac.odd), suffix


def _fetch_events(fs: FileSystem, base: str) -> pd.DataFrame:
    names = journals_of(base)
    got = fetch(fs, names, base)
    own, receivers = (there(got[name]) or b"" for name in names)
    return _events_in(own, receivers)


def _events_in(own: bytes, receivers: bytes) -> pd.DataFrame:
    return events_of(own.split(b"\n"), receivers.split(b"\n"))
