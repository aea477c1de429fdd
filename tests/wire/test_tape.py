"""Messages on a tape: what is packed is read, and nothing on it stands in the way of the rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recall_lab.wire.tape import Entry, pack_entry, read_tape

ENTRIES = st.builds(
    Entry,
    message=st.binary(max_size=200),
    peer=st.text(max_size=20),
    binary=st.booleans(),
    received=st.integers(0, 2**62),
    reason=st.text(max_size=10),
    problem=st.text(max_size=30),
)


@given(st.lists(ENTRIES, max_size=5))
def test_what_is_packed_is_read(entries: list[Entry]) -> None:
    assert list(read_tape(b"".join(map(pack_entry, entries)))) == entries


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.integers(1, 100))
def test_a_tape_that_ends_too_early_has_what_was_whole(entries: list[Entry], cut: int) -> None:
    tape = b"".join(map(pack_entry, entries))
    read = list(read_tape(tape[: max(0, len(tape) - cut)]))
    assert read == entries[: len(read)]
    assert cut > 1 or read == entries  # the last line's end is not missed


def test_a_message_a_line_is_a_tape() -> None:
    tape = b'{"event":"a"}\n\n{"event":"b","data":{"size":7}}\r\nnoise\n[1]\n{"event":"c"}'
    assert [one.message for one in read_tape(tape)] == [
        b'{"event":"a"}', b'{"event":"b","data":{"size":7}}', b'{"event":"c"}',
    ]  # fmt: skip


@given(st.binary(max_size=300))
def test_any_bytes_are_read(tape: bytes) -> None:
    list(read_tape(tape))
