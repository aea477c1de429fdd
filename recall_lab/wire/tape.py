"""Read and write a tape of messages: each as it came, with when and from whom.

An entry is a line of JSON that says how many bytes follow, those bytes, and a line's end. A line
that is itself a message (a JSON object with an ``event``) stands for itself: so a file with a
message a line, as other receivers write one, is a tape too.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A message on a tape.

    Attributes:
        message: its bytes.
        peer: who sent it; ``""`` where not told.
        binary: whether it came as a binary message.
        received: our wall clock when it came, ns since 1970 UTC; 0 where not told.
        reason: why it was rejected, in one word; ``""`` where it was not.
        problem: the same in words.
    """

    message: bytes
    peer: str = ""
    binary: bool = False
    received: int = 0
    reason: str = ""
    problem: str = ""


class _Head(msgspec.Struct):
    size: int
    peer: str
    binary: bool
    received: int
    reason: str
    problem: str


_decode_head = msgspec.json.Decoder(_Head).decode


def _is_object(line: bytes) -> bool:
    try:
        return line[:1] == b"{" and bool(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, RecursionError):
        return False


def pack_entry(entry: Entry) -> bytes:
    """Return an entry as it stands on a tape.

    Example:
        >>> list(read_tape(pack_entry(Entry(message=b"x\\ny", peer="p")))) == [
        ...     Entry(message=b"x\\ny", peer="p")
        ... ]
        True
    """
    fields = msgspec.structs.asdict(entry) | {"size": len(entry.message)}
    del fields["message"]
    return msgspec.json.encode(fields) + b"\n" + entry.message + b"\n"


def read_tape(tape: bytes) -> Iterator[Entry]:
    """Give the messages on a tape, in order, to where it is torn; passes over other lines."""
    at = 0
    while at < len(tape):
        end = tape.find(b"\n", at)
        end = len(tape) if end < 0 else end
        line, at = tape[at:end].strip(), end + 1
        try:
            head = _decode_head(line)
        except (msgspec.DecodeError, RecursionError):
            if _is_object(line):
                yield Entry(message=line)
            continue
        if not 0 <= head.size <= len(tape) - at:
            return
        message, at = tape[at : at + head.size], at + head.size + 1
        told = {name: getattr(head, name) for name in head.__struct_fields__ if name != "size"}
        yield Entry(message=message, **told)
