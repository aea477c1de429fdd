"""Load a capture from a folder, a file or object storage: the one way in."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from isal.isal_zlib import crc32

from recall_lab.capture.capture import Capture
from recall_lab.capture.record import Flag
from recall_lab.errors import InvalidArgument
from recall_lab.remote.filesystem import is_url, local_path
from recall_lab.remote.reader import load_recording_url, load_url
from recall_lab.store.reader import load_file, load_recording_files


def load(path: str | os.PathLike[str]) -> Capture:
    """Load a capture: complete, still being written, torn, damaged, or a bare ``.bin``.

    The audio is mapped, not read, so a day of it opens at once. Loading never changes a file and
    never fails for damage: what is wrong is in ``Capture.damage``.

    From object storage the index is fetched at once, and the audio when it is touched, by ranges
    (see :mod:`recall_lab.remote.range_reader`); that needs ``pip install 'recall_lab[scale]'``.

    Args:
        path: the ``.bin``, the ``.flac`` of :func:`recall_lab.archive`, the ``.idx``, the
            ``.json``, or their common name without a suffix; or a URL of them that fsspec
            knows: ``s3://bucket/captures/9f3c.bin``.

    Raises:
        CaptureNotFound: when there is neither audio nor an index.
        StorageFailed: when the object storage does not answer, or refuses.
        MissingExtra: for a URL where the packages for it are not installed.

    Example:
        >>> load("captures/9f3c.bin").duration  # doctest: +SKIP
        3600.0
    """
    if is_url(path):
        return load_url(str(path))
    return load_file(local_path(path))


def load_recording(path: str | os.PathLike[str]) -> list[Capture]:
    """Load every stream of a recording: the mixed one first, then each participant's.

    Of a recording that has events alone, without any audio, it is one capture with these and no
    samples: participants, transcript and chat can be told of it as of any other.

    Args:
        path: any file of the recording, or the common name: ``folder/recording``.

    Raises:
        CaptureNotFound: when there is none.

    Example:
        >>> [cap.info.stem for cap in load_recording("captures/9f3c")]  # doctest: +SKIP
        ['9f3c', '9f3c.100', '9f3c.101']
    """
    if is_url(path):
        return load_recording_url(str(path))
    return load_recording_files(local_path(path))


def verify(capture: Capture | str | os.PathLike[str]) -> pd.DataFrame:
    """Read all audio of a capture and return the packets whose payload checksum is wrong.

    Loading does not read the audio; this does. Packets cut by ``Capture.slice`` are passed over.

    Args:
        capture: live or loaded; or a path, which is loaded.

    Returns:
        The rows of ``capture.packets`` that are damaged: empty when all is well.

    Raises:
        InvalidArgument: for anything else.
    """
    if isinstance(capture, str | os.PathLike):
        capture = load(capture)
    if not isinstance(capture, Capture):
        raise InvalidArgument("capture", capture, "a capture, or the path of one")
    packets = capture.packets
    audio = capture.audio
    begins = packets["offset"].tolist()
    counts = packets["samples"].tolist()
    found = [crc32(audio[at : at + count].data) for at, count in zip(begins, counts, strict=True)]
    wrong = packets["payload_crc"].to_numpy() != np.array(found, np.uint32)
    trimmed = (packets["flags"].to_numpy() & int(Flag.TRIMMED)) != 0
    damaged: pd.DataFrame = packets.loc[wrong & ~trimmed]
    return damaged
