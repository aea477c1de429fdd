"""Fuzzing that is led by coverage: one target in a process of its own. ``fuzzing.py`` starts it.

    python -m benchmarks.torture.guided wire FOLDER [-max_total_time=60 ...]

Atheris (libFuzzer) keeps what reaches new branches of recall_lab and changes that further. Its
own changes know nothing of what they change, so half of them are made here instead: JSON is
changed as JSON, and the checksum of an index record is set right again, or else all that lies
behind it would never be reached. FOLDER is for the corpus, and for the files of the loader.
"""

from __future__ import annotations

import hmac
import json
import random
import re
import shutil
import struct
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import unquote
from zlib import crc32

import atheris
from msgspec.structs import replace
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderValue

with atheris.instrument_imports(include=["recall_lab"]):
    from benchmarks.torture.mutation import Mutator, Text, seeds  # imports what is instrumented
    from recall_lab.analysis.time.gaps import gaps
    from recall_lab.capture.frame import check_frame
    from recall_lab.capture.info import CaptureInfo
    from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES
    from recall_lab.errors import InvalidMessage, RecallLabError
    from recall_lab.loading import load, verify
    from recall_lab.receiver.access import Access, Authenticator
    from recall_lab.store.writer import StreamWriter
    from recall_lab.wire.messages import AudioPacket, OtherEvent, decode_message, encode_message
    from recall_lab.wire.signature import sign, signed_headers

Target = Callable[[bytes], None]
Change = Callable[[bytes], bytes | None]

NOW: Final = 1_735_689_600
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN: Final = "fuzzing-fuzzing-fuzzing-fuzzing"
SUFFIXES: Final = (".idx", ".bin", ".json", ".events.jsonl")
_LENGTHS: Final = struct.Struct("<HHHH")
_FIELDS: Final = [(0, 8), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 8), (48, 4), (52, 4)]
"""Where the fields of an index record are, and their lengths, up to its checksums."""
_EDGES: Final = [
    0, 4, 60, 2**15, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, 0x7FF0 << 48, 0x7FF8 << 48,
    0x412E848 << 36, NOW * 10**9, 10**18,
]  # fmt: skip


def wire(data: bytes) -> None:
    """A message: it is refused as documented, or comes out the same after being sent again."""
    try:
        message = decode_message(data)
    except InvalidMessage as error:
        assert str(error).isprintable()
        assert len(str(error)) < 600
        return
    again = decode_message(encode_message(message))
    if isinstance(message, AudioPacket):
        assert again == replace(message, unread=())  # what was read is sent as documented
    else:
        assert isinstance(again, OtherEvent)
        assert again.json == data


def signature(data: bytes) -> None:
    """Target and headers of a request: let in only if somebody else's arithmetic agrees."""
    target, *lines = data.decode("latin-1").split("\n")
    fields = [line.partition(":") for line in lines]
    try:
        headers = Headers([(name, value) for name, _, value in fields])
    except InvalidHeaderValue:  # as the library would, before we are asked
        return
    for access in (Access(secrets=(SECRET,)), Access(secrets=(SECRET,), tokens=(TOKEN,))):
        why, id_ = Authenticator(access).refusal(target, headers, NOW)
        if why:
            continue
        assert not access.tokens or f"token={TOKEN}" in unquote(target)
        assert any(_fits(headers, family, id_) for family in ("webhook", "svix"))


def _fits(headers: Headers, family: str, id_: str) -> bool:
    """Compute the signature by the standard's text alone (HMAC-SHA256 of ``id.timestamp.body``)."""
    when = next(iter(headers.get_all(f"{family}-timestamp")), "").partition(", ")[0]
    key = b64decode(SECRET.removeprefix("whsec_"))
    right = b64encode(hmac.new(key, f"{id_}.{when}.".encode(), sha256).digest()).decode()
    given = re.split(" +| *, *(?=v)", " ".join(headers.get_all(f"{family}-signature")))
    return f"v1,{right}" in given and abs(int(when) - NOW) <= 300


def signature_seeds() -> list[bytes]:
    """Return requests as Recall.ai makes them, in both families of headers, and odd ones."""
    requests = []
    for family in ("webhook", "svix"):
        sent = signed_headers(SECRET, "msg_1", NOW, family)
        lines = [f"/?token={TOKEN}", *(f"{name}:{value}" for name, value in sent.items())]
        requests.append("\n".join(lines))
    several = sign(SECRET, "msg_2", NOW - 299)
    requests.append(
        f"/?a=b&token=%66{TOKEN[1:]}#x\nwebhook-id:msg_2\nwebhook-timestamp:{NOW - 299}\n"
        f"webhook-signature:v1a,AAAA v1,AAAA {several} v2,\nOrigin:"
    )
    return [request.encode() for request in requests]


class Loader:
    """The four files of a stream: load, frame, events, gaps, checksums; then go on writing them.

    Args:
        folder: where the files are put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "captures"

    def __call__(self, data: bytes) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for suffix, part in zip(SUFFIXES, unpacked(data), strict=True):
            if part:
                (self.folder / f"r1{suffix}").write_bytes(part)
        try:
            self._read()
            self._go_on()
        except RecallLabError:
            return

    def _read(self) -> None:
        capture = load(self.folder / "r1.bin")
        check_frame(capture.packets)
        assert repr(capture).isprintable()
        assert len(verify(capture)) <= len(capture.packets)
        assert list(capture.events.columns)[:2] == ["kind", "received"]
        assert (gaps(capture)["duration"] >= 0).all()

    def _go_on(self) -> None:
        """What was found damaged is written on: what is kept then has to be there."""
        writer = StreamWriter(self.folder, CaptureInfo(recording="r1"), "fuzzing")
        try:
            writer.append(
                b"\1\0\2\0", relative=0.0, absolute=0, received=0, monotonic=0, connection=1,
                sequence=0,
            )  # fmt: skip
        finally:
            writer.close()
        capture = load(self.folder / "r1.bin")
        last = capture.packets.iloc[-1]
        held = capture.samples[last["offset"] : last["offset"] + last["samples"]]
        assert held.tolist() == [1, 2]


def loader_seeds(folder: Path) -> list[bytes]:
    """Return captures as the receiver writes them: whole, torn, without an index, empty."""
    info = CaptureInfo(recording="r1", metadata={"team": "blue"})
    folder.mkdir()
    writer = StreamWriter(folder, info, "seed")
    for number in range(4):
        writer.append(
            bytes([number, 0]) * 20 * number, relative=number * 0.02, absolute=NOW * 10**9,
            received=NOW * 10**9, monotonic=number, connection=1 + number // 3, sequence=number,
        )  # fmt: skip
    writer.close()
    lines = [
        {"kind": "connected", "received": 1, "monotonic": 1, "connection": 1, "receiver": "x"},
        {"kind": "stalled", "received": 2, "monotonic": 2, "seconds": 0.5},
    ]
    events = [json.loads(seed) for seed in seeds()[-4:]]
    lines += [{"kind": "event", "received": 3, "monotonic": 3, "message": one} for one in events]
    journal = "".join(json.dumps(line) + "\n" for line in lines).encode()
    idx, audio, about = ((folder / f"r1{suffix}").read_bytes() for suffix in SUFFIXES[:3])
    shutil.rmtree(folder)
    return [
        packed([idx, audio, about, journal]),
        packed([idx[:-30], audio[:-10], about[:-10], journal[:-20]]),
        packed([b"", audio, about, b""]),
        packed([idx, b"", b"", journal]),
    ]


def packed(parts: list[bytes]) -> bytes:
    """Return files as one input."""
    parts = [part[:65_535] for part in parts]
    return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)


def unpacked(data: bytes) -> list[bytes]:
    """Return the files in any input at all."""
    if len(data) < _LENGTHS.size:
        return [data, b"", b"", b""]
    parts, at = [], _LENGTHS.size
    for length in _LENGTHS.unpack(data[: _LENGTHS.size]):
        parts.append(data[at : at + length])
        at += length
    return parts


class Changes:
    """What is done to an input, half of the time, instead of what libFuzzer would do.

    Args:
        target: whose inputs they are.
    """

    def __init__(self, target: str) -> None:
        self._change: Change = getattr(self, f"_{target}")
        self._draw = random.Random()
        self._mutator = Mutator(seeds(), self._draw)

    def __call__(self, data: bytes, longest: int, seed: int) -> bytes:
        self._draw.seed(seed)
        changed = self._change(data) if self._draw.random() < 0.5 else None
        return bytes(atheris.Mutate(data, longest) if changed is None else changed[:longest])

    def _wire(self, data: bytes) -> bytes | None:
        try:
            text = Text.of(data)
            return self._mutator.change(text) if text.members else None
        except (ValueError, RecursionError):  # it is JSON no more
            return None

    def _signature(self, data: bytes) -> bytes | None:
        """Lines twice, gone, in another order, or with the value of another."""
        lines = data.split(b"\n")
        one, other = self._draw.randrange(len(lines)), self._draw.randrange(len(lines))
        name, _, value = lines[one].partition(b":")
        lines[other:other] = self._draw.choice(
            [[lines[one]], [name.swapcase() + b":" + value], [name + b":" + value * 2], []]
        )
        if self._draw.random() < 0.3:
            del lines[one]
        return b"\n".join(lines)

    def _loader(self, data: bytes) -> bytes | None:
        """One of the files: a field of a record, with its checksum; or a line of JSON."""
        parts = unpacked(data)
        which = self._draw.choice([0, 0, 2, 3])
        if which == 0:
            parts[0] = self._record(parts[0])
        else:
            lines = parts[which].splitlines() if which == 3 else [parts[which]]
            at = self._draw.randrange(len(lines) or 1)
            lines[at : at + 1] = [self._wire(line) or line for line in lines[at : at + 1]]
            parts[which] = b"\n".join(lines)
        return packed(parts)

    def _record(self, index: bytes) -> bytes:
        count = (len(index) - HEADER_BYTES) // RECORD_BYTES
        if count < 1:
            return index
        begin = HEADER_BYTES + self._draw.randrange(count) * RECORD_BYTES
        record = bytearray(index[begin : begin + RECORD_BYTES - 4])
        at, length = self._draw.choice(_FIELDS)
        number = self._draw.choice(_EDGES) + self._draw.choice([-2, -1, 0, 0, 1, 2])
        record[at : at + length] = (number % 2 ** (8 * length)).to_bytes(length, "little")
        whole = bytes(record) + crc32(record).to_bytes(4, "little")
        if self._draw.random() < 0.2:  # one record more
            return index[:begin] + whole + index[begin:]
        return index[:begin] + whole + index[begin + RECORD_BYTES :]


def main() -> None:
    """Fuzz until libFuzzer's own options end it; never returns."""
    name, folder, *options = sys.argv[1:]
    scratch = Path(folder)
    corpus = scratch / "corpus"
    corpus.mkdir()
    targets: dict[str, tuple[Target, list[bytes]]] = {
        "wire": (wire, seeds()),
        "signature": (signature, signature_seeds()),
        "loader": (Loader(scratch), loader_seeds(scratch / "seeds")),
    }
    target, inputs = targets[name]
    for number, data in enumerate(inputs):
        (corpus / f"seed-{number}").write_bytes(data)
    arguments = [sys.argv[0], f"-artifact_prefix={scratch}/", "-print_final_stats=1", *options]
    atheris.Setup([*arguments, str(corpus)], target, custom_mutator=Changes(name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
