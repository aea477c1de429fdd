"""Find and follow a receiver's streams by their files alone."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from recall_lab.capture.info import parse_stem, stem_of
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES
from recall_lab.errors import StreamNotFound
from recall_lab.store.follower import Follower
from recall_lab.store.info_file import read_info
from recall_lab.wire.pcm import SAMPLE_BYTES, seconds_of

_COLUMNS = ["recording", "participant", "name", "packets", "seconds", "created", "path"]


class Streams:
    """The streams in a folder that one run of a receiver has written to.

    Which they are, each stream's ``.json`` tells: it names the run that wrote last.

    Args:
        directory: the folder.
        receiver: id of the run.
    """

    def __init__(self, directory: Path, receiver: str) -> None:
        self.directory = directory
        self._receiver = receiver
        self._followers: dict[str, Follower] = {}
        self._since: dict[str, int] = {}  # when each was opened, in ns since 1970 UTC
        self._foreign: dict[str, int] = {}  # streams of other runs: when they were last looked at

    def found(self) -> dict[str, Follower]:
        """Return a follower for each stream there is by now."""
        try:
            entries = list(os.scandir(self.directory))
        except FileNotFoundError:
            entries = []
        for entry in entries:
            stem, _, suffix = entry.name.rpartition(".")
            if suffix != "idx" or stem in self._followers or parse_stem(stem) is None:
                continue
            touched = entry.stat(follow_symlinks=False).st_mtime_ns
            if self._foreign.get(stem) == touched:
                continue
            info, _ = read_info(self.directory / f"{stem}.json")
            writer = None if info is None else info.writer
            if writer is not None and writer.receiver == self._receiver:
                self._followers[stem] = Follower(self.directory / f"{stem}.bin")
                self._since[stem] = writer.since
            else:
                self._foreign[stem] = touched
        return self._followers

    def one(self, recording: str | None, participant: int | None) -> Follower:
        """Return the follower of the stream that is meant; by default, of the newest recording.

        Raises:
            StreamNotFound: when there is no such stream, or it has to be said whose.
        """
        streams = self.found()
        if recording is not None:
            stem = stem_of(recording, participant)
            if stem in streams:
                return streams[stem]
            raise StreamNotFound(f"there is no stream {stem!r}", list(streams))
        if not streams:
            raise StreamNotFound("there is no stream", [])
        newest, _, _ = max(streams, key=self._since.__getitem__).partition(".")
        whose = [stem for stem in streams if stem.partition(".")[0] == newest]
        stem = stem_of(newest, participant)
        if stem in whose:
            return streams[stem]
        if participant is None and len(whose) == 1:
            return streams[whose[0]]
        wanted = "name the participant" if participant is None else f"there is no stream {stem!r}"
        raise StreamNotFound(f"{wanted} of the newest recording", whose)

    def kept(self) -> tuple[int, float]:
        """Return the packets in all streams, and the seconds of audio in the longest."""
        streams = self.found().values()
        packets = sum(_packets_in(stream) for stream in streams)
        return packets, max((_seconds_in(stream) for stream in streams), default=0.0)

    def table(self) -> pd.DataFrame:
        """Return one row a stream (see ``Receiver.recordings``)."""
        rows = []
        for stem, follower in self.found().items():
            info, _ = read_info(follower.audio_path.with_suffix(".json"))
            recording, participant = parse_stem(stem) or (stem, None)
            name = info.participant.name if info is not None and info.participant else None
            rows.append(
                {
                    "recording": recording,
                    "participant": participant,
                    "name": name,
                    "packets": _packets_in(follower),
                    "seconds": _seconds_in(follower),
                    "created": pd.Timestamp(info.created if info else 0, tz="UTC"),
                    "path": str(follower.audio_path),
                }
            )
        frame = pd.DataFrame(rows, columns=_COLUMNS).astype(
            {"participant": "Int64", "packets": "int64", "seconds": "float64"}
        )
        frame["created"] = frame["created"].astype("datetime64[ns, UTC]")
        return frame.sort_values("created", ignore_index=True)


def _packets_in(follower: Follower) -> int:
    """Return the number of records on disk, from the size of the index alone."""
    return max(0, _size(follower.index_path) - HEADER_BYTES) // RECORD_BYTES


def _seconds_in(follower: Follower) -> float:
    return seconds_of(_size(follower.audio_path) // SAMPLE_BYTES * SAMPLE_BYTES)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
