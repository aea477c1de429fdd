"""What headers say of a file's length, in bytes made by hand after the formats' standards."""

from __future__ import annotations

import io
import struct

import pytest

from recall_lab.errors import InvalidAudio
from recall_lab.store.containers import cut_off

AUDIO = bytes(range(1, 101)) * 20


def judge(content: bytes) -> str:
    return cut_off(io.BytesIO(content))


def chunk(kind: bytes, data: bytes, length: int | None = None, order: str = "<") -> bytes:
    said = struct.pack(order + "I", len(data) if length is None else length)
    return kind + said + data + b"\0" * (len(data) % 2)


def wav(*chunks: bytes, kind: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + chunk(b"fmt ", b"\1\0\1\0" + bytes(12)) + b"".join(chunks)
    return kind + struct.pack("<I", len(body)) + body


DATA = chunk(b"data", AUDIO)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        chunk(b"LIST", b"INFO" + bytes(20)),
        chunk(b"id3 ", b"ID3\4" + bytes(33)) + chunk(b"cue ", b"\1"),
        b"TAG" + b"x" * 125,
        bytes(70_000),  # filled up to some size
        b"\0",
        chunk(b"LIST", b"INFO" + bytes(20)) + bytes(512),
    ],
)
def test_a_wav_may_end_with_tags_chunks_and_padding(tail: bytes) -> None:
    assert judge(wav(DATA) + tail) == ""


@pytest.mark.parametrize(
    "tail",
    [
        AUDIO,  # the header is older than what follows
        bytes(70_000) + AUDIO,  # and so it is here, with silence in between
        wav(DATA),  # another one
        chunk(b"LIST", b"INFO") + AUDIO,
        b"LIST\xff\xff\xff\x7f" + AUDIO,
    ],
)
def test_a_wav_with_audio_behind_its_end_is_refused(tail: bytes) -> None:
    with pytest.raises(InvalidAudio, match=rf"2,000 bytes of audio, and {len(tail):,} more follow"):
        judge(wav(DATA) + tail)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFF0000])
def test_a_wav_of_unknown_length_has_all_that_follows(length: int) -> None:
    assert judge(wav(chunk(b"data", AUDIO, length))) == ""


def test_a_wav_that_promises_more_was_cut_off() -> None:
    assert judge(wav(chunk(b"data", AUDIO, 9_000))) == (
        "cut off: 2,000 of its 9,000 bytes of audio are there"
    )
    long = chunk(b"ds64", struct.pack("<QQQI", 0, 9_000, 0, 0))
    endless = chunk(b"data", AUDIO, 0xFFFFFFFF)
    assert "2,000 of its 9,000" in judge(wav(long, endless, kind=b"RF64"))
    exact = chunk(b"ds64", struct.pack("<QQQI", 0, 2_000, 0, 0))
    assert judge(wav(exact, endless, kind=b"RF64")) == ""
    assert judge(wav()) == ""  # nothing is promised


def box(kind: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(data) if length is None else length, kind) + data


FILM = box(b"ftyp", b"isom") + box(b"moov", box(b"trak")) + box(b"mdat", AUDIO)


def test_an_mp4_has_all_its_boxes_and_no_others() -> None:
    assert judge(FILM) == ""
    assert judge(FILM + bytes(100)) == ""
    assert judge(FILM + box(b"moof", box(b"traf")) * 50) == ""
    assert judge(box(b"ftyp", b"isom") + box(b"mdat", AUDIO, 0)) == ""  # to the end
    large = struct.pack(">I4sQ", 1, b"mdat", 16 + len(AUDIO)) + AUDIO
    assert judge(box(b"ftyp", b"isom") + large) == ""
    assert judge(box(b"ftyp", b"isom") + large[:-7]) == "cut off: 7 bytes of its 'mdat' are missing"
    assert judge(FILM[:-500]) == "cut off: 500 bytes of its 'mdat' are missing"
    with pytest.raises(InvalidAudio, match="holds two films, the second from byte 2,0"):
        judge(FILM * 2)


def test_an_mp4_of_too_many_boxes_or_samples_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, body in (
        (b"stsz", struct.pack(">III", 0, 1, 20_000_000)),
        (b"stsz", struct.pack(">III", 0, 0, 20_000_000)),
        (b"trun", struct.pack(">II", 0, 20_000_000)),
    ):
        within = box(b"minf", box(b"stbl", box(kind, body)))
        with pytest.raises(InvalidAudio, match="20,000,000 samples"):
            judge(FILM + box(b"moof", within))
    fits = box(b"stsz", struct.pack(">III", 0, 2, 1_000))
    assert judge(FILM + box(b"moof", box(b"traf", fits))) == ""
    monkeypatch.setattr("recall_lab.store.containers._BOXES", 50)
    with pytest.raises(InvalidAudio, match="more than 50 boxes"):
        judge(FILM + box(b"free") * 60)


def webm(length: bytes, data: bytes = AUDIO) -> bytes:
    return b"\x1a\x45\xdf\xa3\x84webm" + b"\x18\x53\x80\x67" + length + data


def test_a_webm_says_how_long_its_segment_is() -> None:
    told = (2_000 | 1 << 14).to_bytes(2, "big")
    assert judge(webm(told)) == ""
    assert judge(webm(told, AUDIO[:500])) == "cut off: 500 of its 2,000 bytes are there"
    assert judge(webm(b"\x01" + b"\xff" * 7, AUDIO[:500])) == ""  # unknown, as in a live one
    assert judge(webm(b"\xff", AUDIO[:500])) == ""
    assert judge(b"\x1a\x45\xdf\xa3") == ""
    assert judge(b"\x1a\x45\xdf\xa3\x00") == ""


def page(data: bytes, *, last: bool = False) -> bytes:
    count = -(-len(data) // 255)
    lacing = bytes([255] * (count - 1) + [len(data) - 255 * (count - 1)])
    return b"OggS\0" + bytes([4 * last]) + bytes(20) + bytes([count]) + lacing + data


def test_an_ogg_says_which_page_is_its_last() -> None:
    whole = page(AUDIO) + page(AUDIO, last=True)
    assert judge(whole) == ""
    assert judge(page(AUDIO) * 3) == "cut off: its last page is not there"
    assert judge(whole[:-1]) == "cut off: its last page is not there whole"
    assert judge(whole[: len(page(AUDIO)) + 10]) == "cut off: its last page is not there"


def test_an_mp3_with_a_xing_header_says_how_long_it_is() -> None:
    def mp3(flags: int, *fields: int) -> bytes:
        head = b"\xff\xfb\x90\x00" + bytes(32) + b"Xing" + struct.pack(">I", flags)
        return head + struct.pack(f">{len(fields)}I", *fields) + AUDIO

    size = len(mp3(3, 1, 1))
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    assert judge(mp3(3, 77, size)) == ""
    assert judge(tag + tag + mp3(3, 77, size)) == ""
    assert (
        judge(tag + mp3(3, 77, size + 1))
        == f"cut off: {size:,} of its {size + 1:,} bytes are there"
    )
    assert judge(mp3(2, size + 1)) != ""
    assert judge(mp3(1, size + 1)) == ""  # frames alone
    assert judge(b"\xff\xfb\x90\x00" + bytes(500)) == ""
    for short in (
        b"",
        b"ID3",
        tag[:9],
        b"\xff\xfb\x90\x00",
        b"RIFF",
        b"\xff\xfb" + bytes(59) + b"Xing",
    ):
        assert judge(short) == ""
