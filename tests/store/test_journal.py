"""The journal: one line a call, whatever is in it; and what holds lines back."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.analysis.causes.dropped import dropped_spans
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import info_by_name, parse_stem
from recall_lab.store import journal as journal_module
from recall_lab.store.journal import RECEIVER_STEM, SUFFIX, Journal, Throttle, read_events
from recall_lab.wire.messages import OtherEvent, decode_message, is_recording_id


def lines_of(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert data.count(b"\n") == len(data.splitlines())
    return [json.loads(line) for line in data.splitlines()]


def test_each_call_is_one_line_with_kind_and_both_times(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    before = (time.time_ns(), time.monotonic_ns())
    journal.write("r1", "connected", connection=1, peer="127.0.0.1")
    journal.write("r1", "disconnected", connection=1)
    after = (time.time_ns(), time.monotonic_ns())
    first, second = lines_of(tmp_path / "r1.events.jsonl")
    assert (first["kind"], first["connection"], first["peer"]) == ("connected", 1, "127.0.0.1")
    assert second["kind"] == "disconnected"
    for index, name in enumerate(("received", "monotonic")):
        assert before[index] <= first[name] <= second[name] <= after[index]


def test_each_recording_has_its_own_and_the_receiver_one_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("r1", "a")
    journal.write("r2", "b")
    journal.write(None, "c")
    assert {path.name: lines_of(path)[0]["kind"] for path in tmp_path.iterdir()} == {
        "r1.events.jsonl": "a",
        "r2.events.jsonl": "b",
        "_receiver.events.jsonl": "c",
    }


def test_no_recording_can_have_the_receivers_name() -> None:
    assert not is_recording_id(RECEIVER_STEM)
    assert parse_stem(f"r1{SUFFIX.removesuffix('.jsonl')}") is None


@pytest.mark.parametrize(
    "value",
    [
        "two\nlines\r\nand\u2028more\x85\x0b\x0c",
        '"quoted" \\ and \0',
        "é😀\x1b[31m",
        float("nan"),
        None,
        2**70,
        {"a": [1, {"b": "\n"}]},
        "x" * 100_000,
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_any_value_stays_on_one_line(tmp_path: Path, value: Any) -> None:
    Journal(tmp_path).write(None, "k", value=value)
    (line,) = lines_of(tmp_path / "_receiver.events.jsonl")
    assert line["value"] == (None if value != value else value)


def test_json_that_came_over_several_lines_stays_one_line(tmp_path: Path) -> None:
    # else a sender could put lines of its own making into the journal
    message = b'{"event": "x",\r\n"data": {}, "a":\n{"kind": "forged", "received": 1}\n}'
    journal = Journal(tmp_path)
    journal.write("r1", "event", message=msgspec.Raw(message))
    journal.write("r1", "next")
    first, second = lines_of(tmp_path / "r1.events.jsonl")
    assert first["message"] == json.loads(message)
    assert (first["kind"], second["kind"]) == ("event", "next")


@given(st.text(max_size=20), st.sampled_from([None, 0, 1, "\t", "\r\n"]))
def test_any_message_that_decodes_can_be_kept(text: str, indent: Any) -> None:
    laid_out = json.dumps({"event": "x", "data": {"text": text}}, indent=indent)
    event = decode_message(laid_out.encode())
    assert isinstance(event, OtherEvent)
    with tempfile.TemporaryDirectory() as folder:
        Journal(Path(folder)).write("r1", "event", message=msgspec.Raw(event.json))
        (line,) = lines_of(Path(folder, "r1.events.jsonl"))
    assert line["message"]["data"]["text"] == text


def test_pandas_reads_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        journal.write("r1", "event", number=number)
    frame = pd.read_json(tmp_path / "r1.events.jsonl", lines=True)
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["kind"].tolist() == ["event"] * 3


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def write(name: str) -> None:
        for number in range(50):
            journal.write("r1", name, number=number, text=name * 2_000)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = lines_of(tmp_path / "r1.events.jsonl")
    for name in "abcd":
        mine = [line for line in lines if line["kind"] == name]
        assert [line["number"] for line in mine] == list(range(50))
        assert {line["text"] for line in mine} == {name * 2_000}


def test_journals_are_for_their_owner_only(tmp_path: Path) -> None:
    Journal(tmp_path).write(None, "k")
    mode = (tmp_path / "_receiver.events.jsonl").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_link_in_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "r1.events.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        Journal(tmp_path).write("r1", "k")
    assert victim.read_text() == "precious"


def test_a_folder_that_is_gone_raises_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "gone").write("r1", "k")


# Throttle: the clock is passed in


def test_a_burst_passes_then_lines_are_held_back_and_counted() -> None:
    throttle = Throttle(burst=3, rate=1.0)
    assert [throttle.admit("a", 100.0) for _ in range(6)] == [0, 0, 0, None, None, None]
    assert throttle.admit("a", 100.5) is None
    assert throttle.admit("a", 101.0) == 4
    assert throttle.admit("a", 101.0) is None
    assert throttle.admit("a", 102.0) == 1


def test_a_long_rest_gives_no_more_than_a_burst() -> None:
    throttle = Throttle(burst=2, rate=10.0)
    for _ in range(2):
        assert throttle.admit("a", 0.0) == 0
    assert [throttle.admit("a", 1e6) for _ in range(4)] == [0, 0, None, None]


def test_keys_do_not_take_from_one_another() -> None:
    throttle = Throttle(burst=1, rate=0.1)
    assert throttle.admit("a", 0.0) == 0
    assert throttle.admit("a", 0.0) is None
    assert throttle.admit(("b", 2), 0.0) == 0


def test_only_so_many_keys_are_remembered_and_the_quietest_is_forgotten() -> None:
    throttle = Throttle(burst=1, rate=0.001, keys=3)
    for key in "abc":
        assert throttle.admit(key, 0.0) == 0
    assert throttle.admit("a", 0.0) is None  # a was heard of after b
    assert throttle.admit("d", 0.0) == 0  # so b is forgotten
    assert throttle.admit("a", 0.0) is None
    assert throttle.admit("b", 0.0) == 0  # and begins anew


def test_a_flood_of_keys_takes_no_more_memory_than_promised() -> None:
    throttle = Throttle(burst=1, rate=1.0, keys=10)
    for key in range(1_000):
        throttle.admit(key, 0.0)
    assert len(throttle._buckets) == 10


@given(
    st.integers(1, 5),
    st.floats(0.1, 10),
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
)
def test_never_more_than_burst_and_rate_and_nothing_goes_uncounted(
    burst: int, rate: float, waits: list[float]
) -> None:
    throttle = Throttle(burst, rate)
    now, admitted, held, counted = 0.0, 0, 0, 0
    for wait in waits:
        now += wait
        answer = throttle.admit("key", now)
        if answer is None:
            held += 1
        else:
            admitted += 1
            counted += answer
            assert counted == held
    assert 1 <= admitted <= burst + rate * now + 1e-6
    assert admitted + held == len(waits)


def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.write("r1", "connected")
    before = (tmp_path / "r1.events.jsonl").read_bytes()
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:20]))
        with pytest.raises(OSError, match="No space left"):
            journal.write("r1", "dropped", packets=5)
    assert (tmp_path / "r1.events.jsonl").read_bytes() == before
    journal.write("r1", "disconnected")
    assert len(read_events(tmp_path / "r1.bin")) == 2


def test_journals_of_earlier_versions_mean_the_same(tmp_path: Path) -> None:
    line = {
        "kind": "lost", "received": 1, "monotonic": 2, "stream": "r1", "packets": 3,
        "seconds": 0.06, "since": 1.0, "until": 1.06, "error": "No space left on device",
    }  # fmt: skip
    (tmp_path / "r1.events.jsonl").write_text(json.dumps(line) + "\n")
    found = read_events(tmp_path / "r1.bin")
    assert found["kind"].tolist() == ["dropped"]
    [span] = dropped_spans(Capture(np.zeros(0, np.int16), info=info_by_name("r1"), events=found))
    assert (span.start, span.end, span.packets) == (1.0, 1.06, 3)


def test_the_receivers_own_journal_is_turned_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "TURNED_OVER", 2_000)
    journal = Journal(tmp_path)
    journal.write(None, "stalled", seconds=1.5)
    for number in range(60):
        journal.write(None, "refused", reason="token", number=number)
        journal.write("r1", "event", number=number)
        if number == 10:
            journal.write(None, "stalled", seconds=2.5)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"_receiver.1.events.jsonl", "_receiver.events.jsonl", "r1.events.jsonl"}
    assert all(size < 2_200 for name, size in sizes.items() if name.startswith("_"))
    assert sizes["r1.events.jsonl"] > 4_000  # a recording's is not
    journal.write(None, "stalled", seconds=3.5)
    stalls = read_events(tmp_path / "r1.bin").query("kind == 'stalled'")
    assert stalls["seconds"].tolist()[-1:] == [3.5]
    numbers = [
        json.loads(line)["number"]
        for name in ("_receiver.1", "_receiver")
        for line in (tmp_path / f"{name}.events.jsonl").read_text().splitlines()
        if "token" in line
    ]
    assert numbers == list(range(numbers[0], 60))  # in order, and none in between is gone
    assert len(numbers) > 20
