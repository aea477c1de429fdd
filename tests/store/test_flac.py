"""Audio as FLAC: every sample comes back, read once, and what goes wrong is told as what it is."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.errors import InvalidArgument, InvalidAudio, StorageFailed
from recall_lab.store import flac as module
from recall_lab.store.flac import BLOCK, FlacAudio, write_flac


def flac_of(samples: np.ndarray, odd: bytes = b"", step: int = 100_000) -> bytes:
    file = io.BytesIO()
    pieces = (samples[at : at + step] for at in range(0, len(samples), step))
    write_flac(file, pieces, odd=odd)
    return file.getvalue()


@pytest.fixture(scope="module")
def long() -> np.ndarray:
    """Some four blocks of speech-like noise, with silence and full scale in it."""
    rng = np.random.default_rng(3)
    samples = rng.integers(-3000, 3000, 4 * BLOCK + 777).astype("<i2")
    samples[BLOCK : BLOCK + 90_000] = 0
    samples[2 * BLOCK : 2 * BLOCK + 50] = np.tile([32_767, -32_768], 25)
    return samples


class Counted(io.BytesIO):
    """A file that counts what is read of it, and that fails when told to."""

    read_bytes = 0
    fails: Exception | None = None

    def readinto(self, buffer):  # type: ignore[no-untyped-def]
        if self.fails is not None:
            raise self.fails
        count = super().readinto(buffer)
        self.read_bytes += count
        return count


@given(
    st.binary(min_size=2, max_size=10_000),
    st.sampled_from([b"", b"\x00", b"\x7f", b"\xff"]),
    st.integers(1, 6000),
)
def test_whatever_goes_in_comes_out(sent: bytes, odd: bytes, step: int) -> None:
    samples = np.frombuffer(sent, "<i2", len(sent) // 2)
    audio = FlacAudio(io.BytesIO(flac_of(samples, odd, step)), "it")
    assert (len(audio), audio.nbytes, audio.odd) == (len(samples), samples.nbytes, odd)
    assert (audio.dtype, audio.ndim) == (np.dtype("<i2"), 1)
    np.testing.assert_array_equal(audio[:], samples)


def test_another_decoder_and_another_encoder_agree(tmp_path: Path, long: np.ndarray) -> None:
    ours, theirs = tmp_path / "ours.flac", tmp_path / "theirs.flac"
    ours.write_bytes(flac_of(long, b"\x01"))
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"]
    quiet = ["ffmpeg", "-v", "error", "-y"]
    ran = subprocess.run([*quiet, "-i", ours, *raw, "-"], capture_output=True, check=True)
    assert ran.stdout == long.tobytes()
    command = [*quiet, *raw, "-i", "-", theirs]
    subprocess.run(command, input=long.tobytes(), capture_output=True, check=True)
    with theirs.open("rb") as file:
        audio = FlacAudio(file, "theirs")
        assert audio.odd == b""
        np.testing.assert_array_equal(audio[:], long)


@pytest.mark.parametrize(
    "part",
    [
        slice(None), slice(0, 0), slice(5, 3), slice(BLOCK - 1, BLOCK + 1), slice(-10, None),
        slice(10, 20), slice(2 * BLOCK, 3 * BLOCK), slice(100, 10**9), slice(10**9, None),
    ],
)  # fmt: skip
def test_slices_are_those_of_an_array(long: np.ndarray, part: slice) -> None:
    got = FlacAudio(io.BytesIO(flac_of(long)), "it")[part]
    assert got.dtype == np.int16
    assert not got.flags.writeable
    np.testing.assert_array_equal(got, long[part])


def test_other_indices_are_refused(long: np.ndarray) -> None:
    audio = FlacAudio(io.BytesIO(flac_of(long[:100])), "it")
    with pytest.raises(InvalidArgument):
        audio[3]  # type: ignore[index]
    with pytest.raises(InvalidArgument):
        audio[::2]


def test_read_in_order_each_byte_is_read_once_and_the_length_costs_little(long: np.ndarray) -> None:
    data = flac_of(long)
    file = Counted(data)
    audio = FlacAudio(file, "it")
    assert len(audio) == len(long)
    assert file.read_bytes < 20_000
    for at in range(0, len(long), 16_000):
        np.testing.assert_array_equal(audio[at : at + 16_000], long[at : at + 16_000])
    assert file.read_bytes < len(data) + 20_000
    before = file.read_bytes
    audio[:]
    assert file.read_bytes == before  # still there


def test_what_is_kept_is_bounded(long: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    file = Counted(flac_of(long))
    audio = FlacAudio(file, "it")
    audio[:]
    before = file.read_bytes
    audio[3 * BLOCK :]
    assert file.read_bytes == before
    np.testing.assert_array_equal(audio[: BLOCK + 5], long[: BLOCK + 5])
    assert file.read_bytes > before


def test_many_threads_read_as_one(long: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    audio = FlacAudio(io.BytesIO(flac_of(long)), "it")
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        wrong.extend(
            low
            for low in rng.integers(0, len(long), 15).tolist()
            if not np.array_equal(audio[low : low + 30_000], long[low : low + 30_000])
        )

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_store_that_fails_is_told_as_that_and_reading_goes_on_later(
    long: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    file = Counted(flac_of(long))
    audio = FlacAudio(file, "it")
    audio[:10]
    file.fails = StorageFailed("s3://bucket/it", OSError(5, "503"), "read")
    with pytest.raises(StorageFailed, match="503"):
        audio[2 * BLOCK : 2 * BLOCK + 10]
    with pytest.raises(StorageFailed, match="503"):
        FlacAudio(file, "it")
    file.fails = None
    np.testing.assert_array_equal(audio[:], long)
    assert capfd.readouterr().err == ""  # cffi would print what a callback raises


@pytest.mark.parametrize("keep", [0, 10, 60, 5_000, 1_000_000])
def test_one_that_was_cut_off_is_told_as_damaged(long: np.ndarray, keep: int) -> None:
    data = flac_of(long)[:keep]
    with pytest.raises(InvalidAudio, match=r"call\.flac (can't be read|is damaged)"):
        FlacAudio(io.BytesIO(data), "call.flac")[:]


def test_flipped_bytes_never_crash_nor_go_unseen(long: np.ndarray) -> None:
    part = long[: BLOCK // 4]
    data = flac_of(part)
    for at in np.random.default_rng(5).integers(0, len(data), 40).tolist():
        broken = bytearray(data)
        broken[at] ^= 0x55
        try:
            got = FlacAudio(io.BytesIO(bytes(broken)), "it")[:]
        except InvalidAudio:
            continue
        if at > 200:  # behind the header, where a comment may well change
            assert not np.array_equal(got, part) or at > len(data) - 20


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8_000, 1, "PCM_16"), (16_000, 2, "PCM_16"), (16_000, 1, "PCM_24")],
)
def test_flac_that_is_no_captures_is_refused(rate: int, channels: int, subtype: str) -> None:
    file = io.BytesIO()
    samples = np.zeros((100, channels), "int16")
    soundfile.write(file, samples, rate, subtype=subtype, format="FLAC")
    with pytest.raises(InvalidAudio, match=r"from_audio"):
        FlacAudio(io.BytesIO(file.getvalue()), "it")


def test_no_audio_is_no_flac() -> None:
    with pytest.raises(InvalidArgument, match="one sample at least"):
        write_flac(io.BytesIO(), [np.zeros(0, "<i2")])


class Full(io.BytesIO):
    """A disk with little room."""

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        if self.tell() > 50_000:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_full_disk_is_told(long: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_flac(Full(), [long])
    assert capfd.readouterr().err == ""


class Interrupting(io.BytesIO):
    """A file at whose reading or writing, one time, somebody presses Ctrl-C."""

    left = 0

    def press(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def readinto(self, buffer):  # type: ignore[no-untyped-def]
        self.press()
        return super().readinto(buffer)

    def write(self, data):  # type: ignore[no-untyped-def]
        self.press()
        return super().write(data)


@pytest.mark.parametrize("left", [1, 2, 5])
def test_an_interrupt_is_neither_swallowed_nor_taken_for_damage(
    long: np.ndarray, left: int
) -> None:
    file = Interrupting(flac_of(long))
    audio = FlacAudio(file, "long.flac")
    for _ in range(3):
        file.left = left
        with pytest.raises(KeyboardInterrupt):
            audio[:]
            audio._blocks.clear()
            audio[:]
        np.testing.assert_array_equal(audio[:], long)
        audio._blocks.clear()
    file = Interrupting()
    file.left = left
    with pytest.raises(KeyboardInterrupt):
        write_flac(file, (long[at : at + 50_000] for at in range(0, len(long), 50_000)))
