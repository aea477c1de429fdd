"""The ``.json`` beside the audio, and how files are named."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.capture.info import CaptureInfo, Writer, info_from, parse_stem, stem_of
from recall_lab.capture.record import VERSION
from recall_lab.errors import InvalidArgument
from recall_lab.store.files import replace_file
from recall_lab.store.info_file import read_info, sync_info, write_info
from recall_lab.version import __version__
from recall_lab.wire.messages import MAX_PARTICIPANT, AudioPacket, Participant, Ref

FULL = CaptureInfo(
    recording="9f3c",
    participant=Participant(7, "Zoë", True, "desktop", {"a": [1, None]}, "z@example.org"),
    bot=Ref("b1", {"k": "v"}),
    endpoint=Ref("e1"),
    artifact=Ref("a1", {}),
    metadata={"team": "blue"},
    created=1_735_689_600_000_000_000,
    writer=Writer("run-1", 42, "host", 5, 6),
)

HOSTILE_IDS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/x",
    "a\0",
    "a\n",
    "a.b",
    ".a",
    "-a",
    "_receiver",
    "é",
    "a b",
    "a" * 65,
]


# Names


@pytest.mark.parametrize(
    ("recording", "participant", "stem"),
    [
        ("9f3c", None, "9f3c"),
        ("9f3c", 0, "9f3c.0"),
        ("a-b_c", 100, "a-b_c.100"),
        ("a" * 64, MAX_PARTICIPANT, f"{'a' * 64}.{MAX_PARTICIPANT}"),
    ],
)
def test_stem_both_ways(recording: str, participant: int | None, stem: str) -> None:
    assert stem_of(recording, participant) == stem
    assert parse_stem(stem) == (recording, participant)


@given(
    st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"),
    st.none() | st.integers(0, MAX_PARTICIPANT),
)
def test_any_stem_comes_back_and_stays_in_its_folder(
    recording: str, participant: int | None
) -> None:
    stem = stem_of(recording, participant)
    assert parse_stem(stem) == (recording, participant)
    assert Path("folder", f"{stem}.bin").resolve().parent == Path("folder").resolve()


@pytest.mark.parametrize("recording", HOSTILE_IDS, ids=ascii)
def test_hostile_ids_do_not_become_names(recording: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        stem_of(recording, 1)
    assert caught.value.name == "recording"
    assert "starting with a letter or a digit" in str(caught.value)
    assert recording == "a.b" or parse_stem(recording) is None


def test_participant_below_zero_does_not_become_a_name() -> None:
    with pytest.raises(InvalidArgument, match="participant=-1 is not valid"):
        stem_of("a", -1)


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "not a stream",
        "a.b",
        "a.1.2",
        "a.",
        ".1",
        "a.-1",
        "a.+1",
        "a.1\n",
        "a.01",  # would be found again as a.1
        "a.00",
        "a." + "9" * 20,
        "a.\N{ARABIC-INDIC DIGIT ONE}",
        "_receiver",
        "9f3c.events",
    ],
)
def test_what_is_no_stem(stem: str) -> None:
    assert parse_stem(stem) is None


@given(st.text(max_size=12) | st.from_regex(r"\A[a-z0-9]{1,3}\.\d{1,21}\Z"))
def test_what_parses_is_exactly_what_is_written(text: str) -> None:
    parsed = parse_stem(text)
    if parsed is not None:
        assert stem_of(*parsed) == text


def test_info_names_its_files() -> None:
    assert FULL.stem == "9f3c.7"
    assert CaptureInfo(recording="9f3c").stem == "9f3c"
    with pytest.raises(InvalidArgument):
        _ = CaptureInfo(recording="../x").stem


# Reading and writing


def test_info_survives_the_way(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_info(path, FULL)
    sync_info(path)
    assert read_info(path) == (FULL, None)
    read = json.loads(path.read_bytes())
    assert read["participant"]["name"] == "Zoë"
    assert read["format"] == VERSION
    assert read["software"] == f"recall_lab {__version__}"


def test_fields_of_a_newer_release_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"recording": "r1", "new": {"x": [1]}}')
    assert read_info(path) == (CaptureInfo(recording="r1"), None)


def test_no_file_is_no_problem(tmp_path: Path) -> None:
    assert read_info(tmp_path / "x.json") == (None, None)


def test_a_file_that_cannot_be_read_is_a_problem_in_words(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    assert read_info(tmp_path / "x.json") == (None, "x.json can't be read (Is a directory)")


def test_truncated_at_every_length_never_raises(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_info(path, FULL)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        info, problem = read_info(path)
        assert info is None, length
        assert problem is not None
        assert problem.startswith("x.json is damaged ("), length


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{}",
        b'{"recording": 5}',
        b'{"recording": "../../etc/passwd"}',
        b'{"recording": "a\\n"}',
        b'{"recording": "\\ud800"}',
        b'{"recording": "r1", "created": -1}',
        b'{"recording": "r1", "created": %s}' % (b"9" * 40),
        b'{"recording": "r1", "created": 1e400}',
        b'{"recording": "r1", "participant": {"id": -1}}',
        b'{"recording": "r1", "participant": {"id": %s}}' % (b"9" * 5_000),
        b'{"recording": "r1", "writer": {"receiver": "", "pid": 1, "host": "h", "since": 1e30}}',
        b'{"recording": "r1", "writer": {"receiver": "", "pid": 1, "host": "h", "since": %s}}'
        % (b"9" * 30),
        b'{"recording": "r1", "metadata": %s}' % (b'{"a":' * 100_000),
        b"[" * 100_000,
    ],
    ids=lambda text: ascii(text[:60]),
)
def test_damaged_or_hostile_text_is_a_problem_and_never_raises(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    info, problem = read_info(path)
    assert info is None
    assert problem is not None
    assert problem.startswith("x.json is damaged (")


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_info(path, FULL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_but_the_file_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for durable in (False, True):
        replace_file(path, b"text", durable=durable)
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_a_reader_sees_the_old_text_or_the_new_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    texts = [b"a" * 100_000, b"b" * 150_000]
    replace_file(path, texts[0])
    done = threading.Event()

    def rewrite() -> None:
        for turn in range(200):
            replace_file(path, texts[turn % 2])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = {path.read_bytes()}
    while not done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(texts)


@pytest.mark.parametrize("call", ["sync", "replace"])
def test_when_the_disk_refuses_the_old_text_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x.json"
    write_info(path, FULL)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "sync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new", durable=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_a_link_in_place_of_the_file_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "x.json"
    path.symlink_to(victim)
    write_info(path, FULL)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert read_info(path) == (FULL, None)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_in_place_of_the_temporary_file_is_removed_not_followed(
    tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = tmp_path / ".x.json.tmp"
    planted.symlink_to(victim) if kind == "symbolic" else planted.hardlink_to(victim)
    write_info(tmp_path / "x.json", FULL)
    assert victim.read_text() == "precious"
    assert read_info(tmp_path / "x.json") == (FULL, None)
    assert not planted.is_symlink()


def test_what_is_kept_beside_a_stream_is_bounded() -> None:
    def packet(**metadata: object) -> AudioPacket:
        return AudioPacket(
            recording=Ref("r1", dict(metadata)), payload=b"", relative=0.0, absolute=0,
            participant=Participant(7, "Ada" * 40_000, extra_data={"a": 1}), bot=Ref("b", {"c": 1}),
        )  # fmt: skip

    info, size = info_from(packet(team="x"))
    assert size > 120_000
    assert info == CaptureInfo(
        recording="r1", participant=Participant(7, ("Ada" * 40_000)[:1_000]), bot=Ref("b")
    )
    small = msgspec.structs.replace(packet(team="x"), participant=Participant(7, "Ada"))
    info, size = info_from(small)
    assert (size, info.metadata, info.bot) == (0, {"team": "x"}, Ref("b", {"c": 1}))
    deep: object = 1
    for _ in range(5_000):
        deep = {"a": deep}
    info, size = info_from(msgspec.structs.replace(small, recording=Ref("r1", {"a": deep})))
    assert size > 0
    assert info.metadata is None
