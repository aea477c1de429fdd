"""Decode audio files with ffmpeg's libraries, through PyAV.

What decoders leave unsaid is found here: that something could not be decoded, that a header
promised more, that time passed of which there is no audio, and how much of the beginning is the
encoder's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import av
import numpy as np
import numpy.typing as npt
from av.audio.fifo import AudioFifo
from av.stream import Discard

from recall_lab.errors import InvalidAudio
from recall_lab.store.containers import cut_off
from recall_lab.text import counted

KINDS: Final = "WAV, FLAC, MP3, M4A, MP4, WebM, Opus, OGG, AAC, AIFF, CAF, AU or a bare .bin"
"""What can be read, in words."""

LONGEST: Final = 24 * 3600
"""Seconds of audio that a file may hold: a small one can unpack to any length."""

DELAYS: Final = {
    "mp3": 1_160 + 529,  # that of FhG's encoder and every decoder's; LAME's technical FAQ
    "aac": 2_112,  # Apple's technical note TN2258
    "opus": 312,  # libopus' look-ahead of 6.5 ms, at 48 kHz
}
"""Samples that encoders put in front, at most; lossless formats and Vorbis have none."""

_DELAY_SBR: Final = 2 * 2_112 + 2 * 481  # samples of HE-AAC, which doubles AAC's rate
_LOSSY: Final = frozenset({*DELAYS, "vorbis"})
_CODECS: Final = _LOSSY | {"flac", "alac", "adpcm_ima_wav", "adpcm_ms"}  # and pcm_*
_FORMATS: Final = "aac,aiff,au,caf,flac,matroska,mov,mp3,ogg,w64,wav"
_TIMED: Final = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg"})
_COUNTED: Final = frozenset({"aiff", "au", "caf", "flac", "w64"})  # say how long they are

_RATES: Final = (1_000, 768_000)  # Hz
_BLOCK: Final = 2**18  # samples of a block
_HOLE: Final = 0.1  # s without audio from which time has passed: less is a clock's jitter
_LOST: Final = 0.004  # s, likewise, where something could not be decoded
_AAC_FRAME: Final = 1_024  # samples, of each channel
_PLANES: Final = 7  # of more, PyAV 18.1 reads past the end and crashes
_REFUSED: Final = (av.FFmpegError, OSError, ValueError)
_TAGS: Final = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # between two MP3s, and no audio

Array = npt.NDArray[Any]


class Decoder:
    """One audio file, to be decoded once, from its beginning to its end. A context manager.

    Of several audio streams the first is decoded; pictures are not.

    Args:
        path: of a file that is there.

    Attributes:
        delay: seconds of the beginning that may be the encoder's own, at most. 0 where it has
            none, or where the file says how much it is, so that it is left out. Known once all
            was decoded, as are the notes.
        notes: what is wrong, in words.

    Raises:
        InvalidAudio: when it can't be read as audio, here or while it is decoded; the message is
            to follow the file's name.

    Example:
        >>> with Decoder(Path("data/standup.wav")) as file:  # doctest: +SKIP
        ...     lengths = [block.shape[1] / rate for block, rate in file.blocks()]
    """

    def __init__(self, path: Path) -> None:
        self.delay = 0.0
        self.notes: list[str] = []
        self._surplus = 0  # samples of the beginning that are the encoder's, and not left out
        self._decoded = 0  # packets
        self._failed = 0
        self._broken: list[float] = []  # when, s, packets failed that stand between good ones
        self._cut = ""
        try:
            with open(path, "rb") as file:
                self._cut = cut_off(file)
            self._container = av.open(
                f"file:{path}",  # else a name such as "12:30.mp3" is taken for an address
                container_options={
                    # no playlists nor scripts, which would open other files and addresses
                    "format_whitelist": _FORMATS,
                    "protocol_whitelist": "file",
                },
                metadata_errors="replace",
            )
        except _REFUSED as error:
            raise self._refused(error) from None
        try:
            self._stream = self._chosen()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def blocks(self) -> Iterator[tuple[Array, int]]:
        """Decode: yield samples of shape ``(channels, n)``, as they are coded, and their rate.

        Integers have their full range, floats a full scale of 1. Where time passed without any
        audio, in a container that has times, silence stands for it.
        """
        seconds = 0.0
        try:
            for block, rate in _joined(self._timed()):
                surplus = min(self._surplus, block.shape[1])
                self._surplus -= surplus
                seconds += (block.shape[1] - surplus) / rate
                yield block[:, surplus:], rate
        except _REFUSED as error:
            raise self._refused(error) from None
        self._judge(seconds)

    def _chosen(self) -> av.AudioStream:
        """Return the stream to decode; the others are passed over."""
        if not self._container.streams.audio:
            raise InvalidAudio("holds no audio")
        stream = self._container.streams.audio[0]
        for other in self._container.streams:
            if other is not stream:
                other.discard = Discard.all
        context = stream.codec_context
        self._codec = "unknown" if context is None else context.codec.canonical_name
        if self._codec not in _CODECS and not self._codec.startswith("pcm_"):
            raise InvalidAudio(f"holds audio coded as {self._codec}: expected {KINDS}")
        if not context.sample_rate:  # of what begins like an MP3, and is none
            raise InvalidAudio(f"holds nothing that can be decoded: expected {KINDS}")
        if not _RATES[0] <= context.sample_rate <= _RATES[1]:
            low, high = _RATES
            valid = f"{low:,} to {high:,}"
            raise InvalidAudio(f"has {context.sample_rate:,} samples a second: expected {valid}")
        if self._codec == "flac":  # frames whose checksum is wrong are left out
            context.options = {"err_detect": "crccheck+explode"}
        context.thread_count = 1
        return stream

    def _frames(self) -> Iterator[tuple[av.AudioFrame, bool]]:
        """Decode: yield frames, and whether something was lost right before them."""
        waiting: list[float] = []  # failed since the last frame
        time = 0.0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if not bytes(packet).startswith(_TAGS):
                    self._failed += 1
                    waiting.append(time)
                continue
            for frame in frames:
                if not self._decoded:
                    self._begin(frame)
                elif waiting:
                    self._broken += waiting
                self._decoded += 1
                time += frame.samples / frame.sample_rate
                yield frame, bool(waiting)
                waiting = []

    def _packets(self) -> Iterator[av.Packet[av.AudioStream]]:
        """Read: yield packets; what follows a place that can't be read is told as missing."""
        packets = self._container.demux(self._stream)
        try:
            for at, packet in enumerate(packets):
                if not at:
                    self._first = packet
                yield packet
        except av.FFmpegError as error:
            if not self._decoded:
                raise
            self._cut = self._cut or f"cut off, it seems: {_reason(error)}"

    def _begin(self, frame: av.AudioFrame) -> None:
        """Find out how much of the beginning is the encoder's own."""
        told = 0
        if self._first.has_sidedata("skip_samples"):
            told = int.from_bytes(bytes(self._first.get_sidedata("skip_samples"))[:4], "little")
        if not told:
            doubled = self._codec == "aac" and frame.samples > _AAC_FRAME
            delay = _DELAY_SBR if doubled else DELAYS.get(self._codec, 0)
            self.delay = delay / frame.sample_rate
        head = bytes(self._stream.codec_context.extradata or b"")
        if told and self._codec == "opus" and head[:8] == b"OpusHead":
            # some versions of libavformat count it at the rate that a WebM names, not at the
            # 48 kHz that Opus always has; RFC 7845, section 5.1
            self._surplus = max(0, int.from_bytes(head[10:12], "little") - told)

    def _timed(self) -> Iterator[av.AudioFrame | float]:
        """Decode: yield frames, and how long nothing is between two of them, s."""
        timed = self._container.format.name in _TIMED
        end = 0.0 if self._container.format.name == "flac" else None  # where it begins
        for frame, lost in self._frames():
            hole = 0.0 if frame.time is None or end is None else frame.time - end
            if self._codec == "flac" and (hole > _LOST or self._broken):
                raise InvalidAudio(f"is damaged {end or 0:.3f} s from its beginning")
            if timed and hole > LONGEST:
                raise InvalidAudio(f"has a hole of {hole:,.0f} s in its times")
            if timed and hole >= (_LOST if lost else _HOLE):
                yield hole
            begin = frame.time if frame.time is not None else end or 0.0
            end = begin + frame.samples / frame.sample_rate
            yield frame

    def _judge(self, seconds: float) -> None:
        """Say what is wrong with all that was decoded."""
        if self._failed > self._decoded or (not self._decoded and self._codec in _LOSSY):
            packets = counted(self._failed + self._decoded, "packet")
            raise InvalidAudio(f"can't be decoded: {self._failed} of {packets} failed")
        stream, cut = self._stream, self._cut
        if not cut and self._container.format.name in _COUNTED and stream.duration is not None:
            length = float(stream.duration * (stream.time_base or 0))
            if seconds < length - 0.5 / stream.sample_rate:
                cut = f"cut off: {seconds:.3f} of its {length:.3f} s are there"
        if self._broken:
            timed = self._container.format.name in _TIMED
            self.notes.append(
                f"damaged: {counted(len(self._broken), 'packet')} can't be decoded, the first "
                f"{self._broken[0]:.3f} s from the beginning: "
                + ("silence stands there" if timed else "what follows lies too early by them")
            )
        if cut:
            self.notes.append(cut)

    def _refused(self, error: Exception) -> InvalidAudio:
        """Return what to raise instead of an error of somebody else's."""
        if isinstance(error, InvalidAudio):
            return error
        cut = f", and is {self._cut}" if self._cut else f": expected {KINDS}"
        return InvalidAudio(f"can't be read ({_reason(error)}){cut}")


def _joined(items: Iterator[av.AudioFrame | float]) -> Iterator[tuple[Array, int]]:
    """Put frames together to blocks, and silence where nothing is."""
    fifo, kind = AudioFifo(), ("", 0, 0)
    for item in items:
        if isinstance(item, float):
            yield from _rest(fifo)
            left = round(item * kind[2])
            while left > 0:
                yield np.zeros((1, min(left, _BLOCK)), np.int16), kind[2]
                left -= _BLOCK
            continue
        # the queue itself does not look at the channels, and would read past their end
        now = (item.format.name, item.layout.nb_channels, item.sample_rate)
        if now != kind:
            if item.format.is_planar and now[1] > _PLANES:
                raise InvalidAudio(f"has {now[1]} channels: expected {_PLANES} at most")
            yield from _rest(fifo)
            fifo, kind = AudioFifo(), now
        item.pts = None
        fifo.write(item)
        if fifo.samples >= _BLOCK:
            yield from _rest(fifo)
    yield from _rest(fifo)


def _rest(fifo: AudioFifo) -> Iterator[tuple[Array, int]]:
    """Yield what a queue holds, if anything."""
    frame = fifo.read()
    if frame is None:
        return
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    yield samples, frame.sample_rate


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
