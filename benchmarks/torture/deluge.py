"""Floods of messages: the second half of ``floods.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import recall_lab as rl
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import payload
from benchmarks.torture.peers import BINARY, FIN, TEXT, Siege, all_answered, connected, frame, push
from benchmarks.torture.steady import packet

BLOCK: Final = 1_000  # messages sent at once
READ: Final = 256 << 10  # bytes that the receiver takes from a socket at once


def odd(path: str, value: Any) -> bytes:
    """Return a message of audio with another value at a dotted path."""
    message = at = json.loads(packet("odd", 0))
    *parents, last = path.split(".")
    for name in parents:
        at = at[name]
    at[last] = value
    return json.dumps(message).encode()


MALFORMED: Final = [
    b"", b"{", b"null", b"[]", b'"text"', b"0", b"{}", b'{"event": 1}', b"\xef\xbb\xbf{}", b"\0",
    b"GET / HTTP/1.1\r\n\r\n", b'{"event": "audio_mixed_raw.data"}', b'{"event": "x", "data": }',
    b'{"event": "audio_mixed_raw.data", "data": {"data": {"buffer": "AAAA"}}}', b"x" * 2_000,
    packet("odd", 0)[:-1], packet("odd", 0) + b"}", packet("odd", 0)[:300], b"{" * 500,
    odd("event", "x" * 200), odd("event", None), odd("data", []), odd("data.data", "text"),
    odd("data.recording.id", "../x"), odd("data.recording.id", ""), odd("data.recording.id", []),
    odd("data.recording.id", "x" * 65), odd("data.recording", None), odd("data.data.buffer", "AA="),
    odd("data.data.buffer", "-_-_"), odd("data.data.buffer", None), odd("data.data.buffer", "AAA"),
    odd("data.data.timestamp.relative", 1e10), odd("data.data.timestamp.relative", "soon"),
    odd("data.data.timestamp.relative", None), odd("data.data.timestamp", {}),
]  # fmt: skip
"""Text messages that are UTF-8, and no message."""


def malformed(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """A million messages of all wrong kinds, as fast as they are taken."""
    kinds = [frame(FIN | TEXT, text) for text in MALFORMED]
    kinds.append(frame(FIN | BINARY, bytes(range(256))))
    block = b"".join(kinds[n % len(kinds)] for n in range(BLOCK))
    count = scale.pick(20_000, 1_000_000)
    with Siege(rx, "malformed messages") as siege:
        peers = [connected(rx.port, f"127.0.0.{n + 2}") for n in range(4)]
        for number in range(count // BLOCK):
            push(peers[number % len(peers)], block)
        answered = sum(map(all_answered, peers))
        told = siege.rejected
        for peer in peers:
            peer.close()
    yield from siege.figures()
    yield Figure("malformed messages: peers still heard", answered, "=", len(peers))
    said = f"{len(told)} reasons"
    yield Figure("malformed messages: counted", sum(told.values()), "=", count, note=said)


def vast() -> list[bytes]:
    """Return JSON values of great depth, width and length: as long as a message may be."""
    deep = 100_000
    keys = b",".join(b'"k%d":0' % n for n in range(150_000))
    return [
        b"[" * deep + b"]" * deep,
        b'{"a":' * deep + b"0" + b"}" * deep,
        b"[" * deep,
        b"{%b}" % keys,
        b"[%b0]" % (b"0," * 900_000),
        b"[%b{}]" % (b"{}," * 600_000),
        b'"%b"' % (b"x" * 2_000_000),
        b'"%b"' % (b"\\u0041" * 300_000),
        b"1" * 2_000_000,
        b"0." + b"3" * 2_000_000,
        b"1e999999999",
        b"-1e-999999999",
        b"1" * 5_000 + b"e5000",
    ]


def places(value: bytes, name: str) -> Iterator[bytes]:
    """Yield messages with a JSON value in each place that takes one, and where none belongs."""
    for path in ("data.recording.metadata", "data.bot", "data.data.buffer", "data.unknown", "more"):
        yield odd(path, "@").replace(b'"@"', value).replace(b'"odd"', b'"%b"' % name.encode())
    yield odd("data.recording.metadata", {"@": "@"}).replace(b'"@": "@"', b'"wide": ' + value)
    yield b'{"event": "transcript.data", "data": %b}' % value
    yield value


def shapes(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """JSON that is deep, wide and long."""
    sent, size = 0, 0
    with Siege(rx, "vast JSON") as siege:
        peer = connected(rx.port)
        for turn in range(scale.pick(1, 4)):
            for number, value in enumerate(vast()):
                for message in places(value, f"vast-{turn}-{number}"):
                    size += push(peer, frame(FIN | TEXT, message))
                    sent += 1
        wide = b"{%b}" % b",".join(b'"k%d":0' % n for n in range(150_000))
        for number in range(scale.pick(10, 100)):  # each is as wide for as long as it is open
            message = next(places(wide, f"wide-{number}"))
            size += push(peer, frame(FIN | TEXT, message))
            sent += 1
        answered = all_answered(peer)
        peer.close()
    yield from siege.figures(size / 1e6)
    yield Figure("vast JSON: peers still heard", answered, "=", 1)
    yield Figure("vast JSON: messages counted", siege.counted, "=", sent)


def recordings(rx: rl.Receiver, scale: Scale) -> Iterator[Figure]:
    """One peer begins recordings without end."""
    count = scale.pick(200, 3_000)
    with Siege(rx, "new recordings") as siege:
        peer = connected(rx.port)
        for number in range(count):
            push(peer, frame(FIN | TEXT, packet(f"new-{number}", 0)))
        answered = all_answered(peer)
        peer.close()
    # two lines of each: that it came, and that it went
    yield from siege.figures(count * 600 / 1e6)
    yield Figure("new recordings: peers still heard", answered, "=", 1)
    kept = sum(
        (rx.directory / f"new-{number}.bin").read_bytes() == payload(f"new-{number}", 0)
        for number in range(count)
    )
    yield Figure("new recordings: kept, each in its file", kept, "=", count)


def quotas(folder: Path, scale: Scale) -> Iterator[Figure]:
    """Send more than is to be kept of one recording, in one day, and on this disk."""
    count, quota = scale.pick(1_000, 10_000), scale.pick(300_000, 3_000_000)
    limited = rl.receive(0, folder / "recording", limits=rl.Limits(recording=quota))
    with Siege(limited, "more than a recording may have") as siege:
        flood(limited, [packet("much", number) for number in range(count)])
    yield from siege.figures()
    yield Figure(f"{siege.what}: messages counted", siege.counted, "=", count)
    yield from kept_within(limited, "much", quota, siege.what)
    limited.stop()

    limited = rl.receive(0, folder / "day", limits=rl.Limits(day=quota))
    flood(limited, [packet(f"much-{number % 3}", number) for number in range(count)])
    yield from kept_within(limited, "", quota, "more than a day may have")
    limited.stop()

    # room for the legitimate recording and its stream alone
    limited = rl.receive(0, folder / "streams", limits=rl.Limits(streams=2))
    with Siege(limited, "vast messages of refused recordings") as siege:
        extra = b'{"x":"%b",' % (b"x" * 1_900_000)
        count = scale.pick(60, 150)
        flood(
            limited,
            [packet(f"no-{n}", 0).replace(b"{", extra, 1) for n in range(count)],
        )
    yield from siege.figures(count * 600 / 1e6)
    refused = limited.status.rejected.get("streams", 0)
    yield Figure(f"{siege.what}: refused and counted", refused, "=", count)
    limited.stop()

    (folder / "reserve").mkdir()
    (folder / "reserve" / "begun.idx").touch()  # or it would not start
    limited = rl.receive(0, folder / "reserve", limits=rl.Limits(reserve=2**62))
    flood(limited, [packet(f"new-{number}", 0) for number in range(10)])
    refused = limited.status.rejected.get("reserve", 0)
    yield Figure("no room for new recordings: refused and counted", refused, "=", 10)
    begun = len(list(limited.directory.glob("new-*")))
    yield Figure("no room for new recordings: files made", begun, "=", 0)
    limited.stop()


def flood(rx: rl.Receiver, messages: list[bytes]) -> None:
    """Send messages over one connection, and wait until they have been dealt with."""
    peer = connected(rx.port)
    for message in messages:
        push(peer, frame(FIN | TEXT, message))
    all_answered(peer)
    peer.close()


def kept_within(rx: rl.Receiver, prefix: str, quota: int, what: str) -> Iterator[Figure]:
    """Give how much was kept: more than it may be by what came in one read, at most."""
    files = [path for path in rx.directory.glob(f"{prefix}*") if path.suffix in (".bin", ".idx")]
    kept = sum(path.stat().st_size for path in files)
    yield Figure(f"{what}: kept", kept / 1e3, "<=", (quota + READ) / 1e3, "kB")
    yield Figure(f"{what}: kept all the same", kept / 1e3, ">=", quota / 2e3, "kB")
    refused = rx.status.rejected.get("quota", 0)
    yield Figure(f"{what}: refused and counted", refused, ">=", 1)
