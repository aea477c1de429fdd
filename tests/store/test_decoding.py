"""Audio files decoded whole: held against ffmpeg's program, and against what was encoded."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from helpers.encoded import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import recall_lab.store.audio_files
from recall_lab.errors import InvalidAudio
from recall_lab.store.audio_files import from_audio, read_audio
from recall_lab.store.decoding import DELAYS, Decoder

RATE = 16_000

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    """Six seconds of the bundled conversation, int16."""
    samples: np.ndarray = soundfile.read(root / "data" / "standup.wav", dtype="int16")[0]
    return samples[: 6 * RATE]


@pytest.fixture(scope="module")
def talk_wav(tmp_path_factory: pytest.TempPathFactory, talk: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, talk, RATE, subtype="PCM_16")
    return path


def ffmpeg(*arguments: object) -> bytes:
    """Run the program; return what it wrote to stdout."""
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def oracle(path: Path, rate: int, channels: int) -> np.ndarray:
    """Return ffmpeg's decode, averaged and resampled by what is not ours, int16."""
    raw = ffmpeg("-i", path, "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "-")
    mono = np.frombuffer(raw, np.float32).reshape(-1, channels).mean(axis=1)
    mono = mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")
    return np.clip(np.rint(mono * 32_768), -32_768, 32_767).astype(np.int16)


def lag(one: np.ndarray, other: np.ndarray, reach: int = 2200) -> int:
    """Return by how many samples the other is later: where the two correlate best."""
    size = min(len(one), len(other)) - 2 * reach
    mine, theirs = one[reach : reach + size].astype(float), other[: size + 2 * reach].astype(float)
    return int(np.argmax(signal.correlate(theirs, mine, "valid", method="fft"))) - reach


VBR = ("-ar", 44_100, "-ac", 2, "-c:a", "libmp3lame", "-q:a", 2, "-f", "mp3")
KINDS = {
    # name: arguments, rate of the decode, channels, whether written to a pipe, late by
    "vbr-pipe.mp3": (VBR, 44_100, 2, True, 1105 * RATE / 44_100),
    "vbr-file.mp3": (VBR, 44_100, 2, False, 0),
    "cbr-pipe.mp3": (("-ar", 48_000, "-b:a", "96k", "-f", "mp3"), 48_000, 1, True, 1105 / 3),
    "cbr-file.mp3": (("-b:a", "48k"), 16_000, 1, False, 0),
    "abr-file.mp3": (("-ar", 22_050, "-ac", 2, "-abr", 1, "-b:a", "64k"), 22_050, 2, False, 0),
    "abr-pipe.mp3": (
        ("-ar", 32_000, "-abr", 1, "-b:a", "64k", "-f", "mp3"), 32_000, 1, True, 1105 / 2,
    ),
    "pipe.wav": (("-f", "wav"), 16_000, 1, True, 0),
    "stereo-24.flac": (("-ar", 48_000, "-ac", 2, "-sample_fmt", "s32"), 48_000, 2, False, 0),
    "pipe.flac": (("-f", "flac"), 16_000, 1, True, 0),
    "aac.m4a": (("-c:a", "aac", "-b:a", "96k"), 16_000, 1, False, 0),
    "alac.m4a": (("-c:a", "alac"), 16_000, 1, False, 0),
    "opus.opus": (("-c:a", "libopus", "-b:a", "64k"), 48_000, 1, False, 0),
    "opus.webm": (("-c:a", "libopus", "-ar", 16_000), 48_000, 1, False, 0),
    "pipe.webm": (("-c:a", "libopus", "-ar", 48_000, "-ac", 2, "-f", "webm"), 48_000, 2, True, 0),
    "vorbis.ogg": (("-c:a", "libvorbis", "-ar", 44_100, "-ac", 2), 44_100, 2, False, 0),
}  # fmt: skip
EXACT = {"pipe.wav", "pipe.flac", "alac.m4a"}


@needs_ffmpeg
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_what_ffmpeg_decodes(
    name: str, talk: np.ndarray, talk_wav: Path, tmp_path: Path
) -> None:
    arguments, rate, channels, pipe, late = KINDS[name]
    path = tmp_path / name
    written = ffmpeg("-i", talk_wav, *arguments, "pipe:1" if pipe else path)
    if pipe:
        path.write_bytes(written)
    read = read_audio(path)
    expected = oracle(path, rate, channels)
    assert len(read) == len(expected) >= len(talk)
    assert np.corrcoef(read, expected)[0, 1] > 0.999  # asked for
    assert lag(expected, read) == 0
    assert np.abs(read.astype(int) - expected).max() <= 2  # of 32,768: another rounding
    # the program may be wrong as well: what was encoded is where it should be
    assert lag(talk, read) == pytest.approx(late, abs=1)
    if name in EXACT:
        np.testing.assert_array_equal(read, talk)


@needs_ffmpeg
def test_the_audio_of_a_film_is_read_and_of_two_the_first(
    talk: np.ndarray, talk_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    second = tmp_path / "second.wav"
    soundfile.write(second, talk[::-1], RATE)
    picture = "testsrc=size=64x64:rate=5:duration=6"
    maps = ("-map", "0:v", "-map", "1:a", "-map", "2:a")
    coded = ("-c:v", "mpeg4", "-c:a", "aac", "-ar", 48_000)
    ffmpeg("-f", "lavfi", "-i", picture, "-i", talk_wav, "-i", second, *maps, *coded, path)
    read = read_audio(path)
    expected = oracle(path, 48_000, 1)
    assert len(read) == len(expected)
    assert np.corrcoef(read, expected)[0, 1] > 0.999
    assert lag(talk, read) == 0
    ffmpeg("-i", path, "-map", "0:v", "-c", "copy", tmp_path / "mute.mp4")
    with pytest.raises(InvalidAudio, match=r"mute\.mp4' holds no audio"):
        read_audio(tmp_path / "mute.mp4")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["vbr-pipe.mp3", "vbr-file.mp3"])
def test_two_mp3s_in_one_file_are_both_read(
    name: str, talk: np.ndarray, talk_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "joined.mp3"
    pipe = "pipe" in name
    once = ffmpeg("-i", talk_wav, *VBR, "pipe:1" if pipe else tmp_path / name)
    path.write_bytes(2 * (once if pipe else (tmp_path / name).read_bytes()))
    read, expected = read_audio(path), oracle(path, 44_100, 2)
    assert len(read) == len(expected) > 1.99 * len(talk)
    assert np.corrcoef(read, expected)[0, 1] > 0.999
    # the second begins where the first ends, but for what encoders put around each
    assert abs(lag(talk, read[-len(talk) - 1800 :])) <= 1800


@needs_ffmpeg
def test_mp3s_of_other_rates_and_channels_go_on_at_ours(
    talk: np.ndarray, talk_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.mp3"
    slow = ffmpeg("-i", talk_wav, "-b:a", "48k", "-f", "mp3", "pipe:1")
    fast = ffmpeg("-i", talk_wav, *VBR, "pipe:1")
    path.write_bytes(slow + fast)
    read = read_audio(path)
    assert len(read) == pytest.approx(2 * len(talk), abs=3 * 1152)
    assert lag(talk, read[: len(talk) + 4000]) == 1105
    assert abs(lag(talk, read[-len(talk) :])) < 1800


@needs_ffmpeg
@pytest.mark.parametrize("name", ["vbr-file.mp3", "stereo-24.flac", "opus.opus", "opus.webm"])
def test_of_a_file_that_was_cut_off_all_the_rest_is_read_and_told(
    name: str, talk: np.ndarray, talk_wav: Path, tmp_path: Path
) -> None:
    arguments, rate, channels, _, _ = KINDS[name]
    path = tmp_path / name
    ffmpeg("-i", talk_wav, *arguments, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(RuntimeWarning, match=rf"{name}' is cut off: ") as told:
        capture = from_audio(path)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert capture.damage.notes[0].startswith("cut off: ")
    assert "cut off" in repr(capture)
    expected = oracle(path, rate, channels)
    assert len(capture.samples) == len(expected)
    assert np.corrcoef(capture.samples, expected)[0, 1] > 0.999
    assert 0.3 < len(expected) / len(talk) < 0.7


@needs_ffmpeg
def test_time_without_audio_becomes_silence(
    talk: np.ndarray, talk_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "holes.webm"
    # seconds 2 to 4 are not sent, and the times say so
    kept = "aselect='lt(t,2)+gte(t,4)'"
    ffmpeg("-i", talk_wav, "-af", kept, "-fps_mode", "passthrough", "-c:a", "libopus", path)
    read = read_audio(path)
    raw = ffmpeg("-i", path, "-af", "aresample=async=1", "-ar", RATE, "-f", "s16le", "-")
    filled = np.frombuffer(raw, np.int16)
    assert len(read) == pytest.approx(len(filled), abs=0.02 * RATE)
    assert len(read) == pytest.approx(len(talk), abs=0.1 * RATE)
    assert not read[int(2.1 * RATE) : int(3.9 * RATE)].any()
    assert lag(talk[4 * RATE :], read[4 * RATE :], 1000) == pytest.approx(0, abs=320)


def wav(data: bytes, length: int, extra: bytes = b"", riff: int | None = None) -> bytes:
    """Return a WAV of 16 kHz mono 16 bit that says it has so many bytes."""
    riff = length + 36 if riff is None else riff
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", riff & 0xFFFFFFFF, b"WAVE", b"fmt ", 16,
                       1, 1, RATE, 2 * RATE, 2, 16)  # fmt: skip
    return head + struct.pack("<4sI", b"data", length) + data + extra


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_whose_writer_could_not_say_how_long_it_is_comes_back_whole(
    tmp_path: Path, talk: np.ndarray, length: int
) -> None:
    (tmp_path / "a.wav").write_bytes(wav(talk.tobytes(), length, riff=length))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), talk)
    if shutil.which("ffmpeg"):
        np.testing.assert_array_equal(oracle(tmp_path / "a.wav", RATE, 1), talk)


def test_a_wav_that_goes_on_after_its_end_is_refused(tmp_path: Path, talk: np.ndarray) -> None:
    data = talk.tobytes()
    killed = wav(data, 10_000)  # its header was written now and then
    for name, content in {"killed": killed, "joined": wav(data, len(data)) * 2}.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
        with pytest.raises(InvalidAudio, match=rf"{name}\.wav' says that it has .* more follow"):
            read_audio(tmp_path / f"{name}.wav")


def test_a_wav_that_was_cut_off_is_read_up_to_there(tmp_path: Path, talk: np.ndarray) -> None:
    (tmp_path / "a.wav").write_bytes(wav(talk.tobytes(), 2 * len(talk))[: 44 + 20_001])
    with pytest.warns(RuntimeWarning, match="cut off: 20,001 of its 192,000 bytes"):
        read = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(read, talk[:10_000])


def test_a_flac_with_a_flipped_bit_is_refused_wherever_it_is(
    tmp_path: Path, talk: np.ndarray
) -> None:
    soundfile.write(tmp_path / "a.flac", talk, RATE)
    good = (tmp_path / "a.flac").read_bytes()
    begins = good.index(b"\xff\xf8")  # the first frame
    for at in np.linspace(begins + 20, len(good) - 3, 20).astype(int).tolist():
        bad = bytearray(good)
        bad[at] ^= 0x10
        (tmp_path / "b.flac").write_bytes(bad)
        with warnings.catch_warnings():  # the last frame may as well have been cut off
            warnings.simplefilter("ignore")
            try:
                read = read_audio(tmp_path / "b.flac")
            except InvalidAudio as error:
                assert "is damaged" in str(error)
                continue
        assert at > len(good) - 5_000
        np.testing.assert_array_equal(read, talk[: len(read)])
        assert from_warned(tmp_path / "b.flac")


def from_warned(path: Path) -> bool:
    """Return whether reading a file warns that it was cut off."""
    with pytest.warns(RuntimeWarning, match="cut off"):
        read_audio(path)
    return True


def test_a_packet_that_can_not_be_decoded_is_told(tmp_path: Path, talk: np.ndarray) -> None:
    path = encode(tmp_path / "a.aac", talk, "aac", kind="adts")
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xf1", len(data) // 2)
    data[at + 7 : at + 60] = b"\xff" * 53  # the header stands, what follows is nonsense
    path.write_bytes(data)
    with pytest.warns(
        RuntimeWarning, match=r"damaged: 1 packet can't be decoded, the first 3\.\d+ s"
    ):
        read = read_audio(path)
    assert len(read) == pytest.approx(len(talk), abs=3 * 1024)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "options"),
    [
        ("told.mp3", "libmp3lame", 16_000, {}),
        ("pipe.mp3", "libmp3lame", 16_000, {"pipe": True}),
        ("wide.mp3", "libmp3lame", 44_100, {"pipe": True}),
        ("none.aac", "aac", 16_000, {"kind": "adts"}),
        ("part.m4a", "aac", 48_000, {"options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("told.webm", "libopus", 16_000, {}),
        ("none.flac", "flac", 16_000, {}),
    ],
)
def test_what_an_encoder_put_in_front_is_left_out_or_bounded(
    tmp_path: Path, talk: np.ndarray, name: str, codec: str, rate: int, options: dict[str, object]
) -> None:
    path = encode(tmp_path / name, talk, codec, rate, **options)  # type: ignore[arg-type]
    capture = from_audio(path)
    late = lag(talk, capture.samples) / RATE
    assert 0 <= late <= capture.encoder_delay
    told = name.startswith(("told", "none.flac"))
    assert (capture.encoder_delay == 0) == told
    if not told:
        assert late > 0.02  # else the bound would tell nothing
        assert capture.encoder_delay == DELAYS[path.suffix[1:] if codec != "aac" else "aac"] / rate
        assert capture.slice(1, 2).encoder_delay == capture.encoder_delay


@pytest.mark.parametrize("content", [b"", b"RI", b"\0" * 5000, b"#EXTM3U\nfile:a.wav\n", b"ID3"])
def test_what_is_no_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    for suffix in ("wav", "mp3", "m4a", "webm", "ogg", "flac", "aac"):
        (tmp_path / f"a.{suffix}").write_bytes(content)
        with pytest.raises(InvalidAudio, match=rf"a\.{suffix}' "):
            read_audio(tmp_path / f"a.{suffix}")


def test_no_other_file_is_opened_for_a_playlist(tmp_path: Path, talk: np.ndarray) -> None:
    encode(tmp_path / "a.aac", talk, "aac", kind="adts")
    soundfile.write(tmp_path / "a.wav", talk, RATE)
    lists = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/a.aac\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {tmp_path}/a.wav\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ]
    for text in lists:
        for name in ("a.mp3", "a.m3u8", "a.ffconcat", "a.sdp"):
            (tmp_path / name).write_text(text)
            with pytest.raises(InvalidAudio, match="can't be read"):
                read_audio(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_folder_and_a_named_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    for path in (tmp_path, tmp_path / "a.wav", "/dev/zero"):
        with pytest.raises(InvalidAudio, match="is not a file"):
            read_audio(path)


def test_a_name_is_never_taken_for_an_address(tmp_path: Path, talk: np.ndarray) -> None:
    for name in ("12:30 call.wav", "http:x.wav", "concat:a|b.wav", "100%d.wav"):
        soundfile.write(tmp_path / name, talk, RATE)
        np.testing.assert_array_equal(read_audio(tmp_path / name), talk)


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def test_declared_sizes_never_make_room_that_the_file_does_not_fill(tmp_path: Path) -> None:
    table = box(b"stsz", struct.pack(">III", 0, 1, 100_000_000))
    nested = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", table)))))
    run = box(b"moof", box(b"traf", box(b"trun", struct.pack(">III", 0, 100_000_000, 0))))
    for tail in (nested, run):
        (tmp_path / "a.mp4").write_bytes(box(b"ftyp", b"isom\0\0\0\0") + tail)
        with pytest.raises(InvalidAudio, match=r"100,000,000 samples, in \d+ bytes"):
            read_audio(tmp_path / "a.mp4")


def test_a_rate_and_channels_that_can_not_be_are_refused(
    tmp_path: Path, talk: np.ndarray, talk_wav: Path
) -> None:
    for rate in (1, 999, 800_000):
        soundfile.write(tmp_path / "a.wav", talk, rate)
        with pytest.raises(InvalidAudio, match=f"has {rate:,} samples a second: expected 1,000"):
            read_audio(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", np.repeat(talk[:, None], 12, axis=1), RATE)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), talk)
    if shutil.which("ffmpeg"):
        wide = ("-af", "aformat=channel_layouts=7.1", "-c:a", "aac")
        ffmpeg("-i", talk_wav, *wide, tmp_path / "a.m4a")
        with pytest.raises(InvalidAudio, match="has 8 channels: expected 7 at most"):
            read_audio(tmp_path / "a.m4a")


def test_what_unpacks_to_more_than_a_day_is_refused(
    tmp_path: Path, talk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(10 * RATE, np.int16), RATE)
    assert len(read_audio(tmp_path / "a.flac")) == 10 * RATE
    monkeypatch.setattr(recall_lab.store.audio_files, "LONGEST", 9)
    with pytest.raises(InvalidAudio, match=r"a\.flac' holds more than .* h of audio"):
        read_audio(tmp_path / "a.flac")


def test_other_codecs_are_named(tmp_path: Path, talk: np.ndarray) -> None:
    encode(tmp_path / "a.mkv", talk, "ac3", 48_000, kind="matroska")
    with pytest.raises(InvalidAudio, match=r"a\.mkv' holds audio coded as ac3: expected WAV"):
        read_audio(tmp_path / "a.mkv")


Hurt = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def samples_of_kinds(tmp_path_factory: pytest.TempPathFactory, talk: np.ndarray) -> list[Path]:
    """A second of speech in each container, to be hurt."""
    folder, short = tmp_path_factory.mktemp("kinds"), talk[20_000:36_000]
    return [
        encode(folder / "a.wav", short, "pcm_s16le"),
        encode(folder / "a.mp3", short, "libmp3lame"),
        encode(folder / "b.mp3", short, "libmp3lame", pipe=True),
        encode(folder / "a.flac", short, "flac"),
        encode(folder / "a.m4a", short, "aac"),
        encode(folder / "a.aac", short, "aac", kind="adts"),
        encode(folder / "a.opus", short, "libopus", 48_000),
        encode(folder / "a.webm", short, "libopus", 48_000),
    ]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_hostile_files_are_refused_or_decoded(
    samples_of_kinds: list[Path], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(samples_of_kinds))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.one_of(
        st.binary(min_size=1, max_size=40),
        st.sampled_from([b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\0" * 4, b"\0\0\0\1", b"\xff" * 8]),
    ))  # fmt: skip
    content[start : start + len(new)] = new
    end = data.draw(st.one_of(st.just(len(content)), st.integers(2, len(content))))
    hurt = path.with_name(f"hurt{path.suffix}")
    hurt.write_bytes(content[:end])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            read = read_audio(hurt)
        except InvalidAudio as error:
            assert str(hurt) in str(error)
            return
    assert read.dtype == np.int16
    assert read.ndim == 1


def test_random_bytes_are_refused_whatever_they_are_called(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for suffix in ("wav", "mp3", "flac", "m4a", "webm", "ogg", "aac", "opus"):
        for size in (2, 100, 20_000):
            (tmp_path / f"a.{suffix}").write_bytes(rng.bytes(size))
            with pytest.raises(InvalidAudio):
                read_audio(tmp_path / f"a.{suffix}")


def test_nothing_is_written_to_the_terminal(
    tmp_path: Path, talk: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    path = encode(tmp_path / "a.mp3", talk, "libmp3lame")
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        read_audio(path)
    assert capfd.readouterr() == ("", "")


def test_a_decoder_yields_what_is_coded(tmp_path: Path, talk: np.ndarray) -> None:
    stereo = np.column_stack([talk, -talk])
    soundfile.write(tmp_path / "a.wav", stereo, 48_000, subtype="PCM_16")
    with Decoder(tmp_path / "a.wav") as file:
        blocks = list(file.blocks())
    assert {rate for _, rate in blocks} == {48_000}
    np.testing.assert_array_equal(np.hstack([block for block, _ in blocks]), stereo.T)
    assert file.notes == []
