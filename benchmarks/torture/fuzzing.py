"""Messages, requests and files that somebody has tampered with.

A million messages, made of valid ones by changes that know JSON (``mutation.py``), go through
``decode`` and through ``Ingest``, as the server gives them to it. No exception but the documented
ones may come out; what is taken has to be what Python's own ``json`` and ``base64`` read there;
each message has to be counted, as what it is; and each event has to be found in the journal.

Then ten minutes of fuzzing led by coverage (Atheris on libFuzzer, ``guided.py``): of ``decode``,
of the signatures of requests, and of loading, judging and going on with the four files of a
stream. A crash is told with the input that made it, in base64.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.child import raise_descriptor_limit
from benchmarks.torture.figures import Figure, Scale, Unavailable
from benchmarks.torture.mutation import Mutator, seeds
from recall_lab.errors import InvalidMessage
from recall_lab.receiver.ingest import Ingest
from recall_lab.wire.messages import AudioPacket, OtherEvent, decode_message

FOLDER: Final = 50_000  # messages that go into one folder, by one ingest
CONNECTION: Final = 1_000  # messages of one connection
READ: Final = 8  # messages that come in one read of a socket, at most

SECONDS: Final = {"loader": 300, "wire": 180, "signature": 120}
"""How long each target is fuzzed; two at a time."""

EDGES: Final = {"loader": 300, "wire": 100, "signature": 40}
"""Reached within seconds, when the instruments are there at all."""

_COVERED: Final = re.compile(r"#\d+\s+\w+\s+cov: (\d+)")
_DONE: Final = re.compile(r"Done (\d+) runs in (\d+) second")


def run(scale: Scale) -> Iterator[Figure]:
    """Give the figures."""
    if importlib.util.find_spec("atheris") is None:
        raise Unavailable("needs Atheris: pip install atheris (Linux, CPython 3.11 to 3.13)")
    yield from mutated(scale)
    seconds = {name: 3 if scale.short else full for name, full in SECONDS.items()}
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(fuzz, seconds, seconds.values(), [scale.seed] * len(seconds)):
            yield from found.figures


class Books:
    """What came of mutated messages, and what should have."""

    def __init__(self) -> None:
        self.given = 0
        self.raised: list[str] = []  # what must never be
        self.misread: list[bytes] = []
        self.uncounted = self.miscounted = self.lost_events = 0

    def decoded(self, message: bytes) -> str:
        """Return what `decode` takes a message for: ``audio``, ``event``, or why it is refused."""
        try:
            value = decode_message(message)
        except InvalidMessage as error:
            return error.reason
        except Exception as error:
            self.raised.append(f"decode: {error!r} for {base64.b64encode(message).decode()}")
            return "raised"
        if not same(value, message):
            self.misread.append(message)
        return "audio" if isinstance(value, AudioPacket) else "event"

    def settle(self, ingest: Ingest, told: Counter[str]) -> None:
        """Compare what was counted with what `decode` said of each message."""
        status = ingest.status("")
        kept = Counter(audio=status.packets, event=status.events)
        for reason, count in status.rejected.items():
            kept[reason.split(" ")[0]] += count  # "field data.bot": the reason, and which field
        self.uncounted += abs(kept.total() - told.total())
        # what could not be kept was audio all the same
        for other in ("storage", "quota", "reserve"):
            kept["audio"] += kept.pop(other, 0)
        self.miscounted += sum(abs(kept[name] - told[name]) for name in kept | told)

    def journals(self, ingest: Ingest) -> None:
        """Look for every event in the journals, all but the pictures'."""
        found = 0
        for path in ingest.directory.glob("*.jsonl"):
            lines = [json.loads(line) for line in path.read_bytes().splitlines()]
            # one that waited to know its recording stands in the receiver's own journal, too
            own = [line for line in lines if "waited" not in line]
            found += sum(line["kind"] == "event" and "message" in line for line in own)
        status = ingest.status("")
        self.lost_events += abs(found - (status.events - status.video))


def same(value: AudioPacket | OtherEvent, message: bytes) -> bool:
    """Tell whether Python's own json and base64 read the same in a message."""
    try:
        given: Any = json.loads(message)
    except ValueError:
        return False
    if isinstance(value, OtherEvent):
        return bool(given["event"] == value.event and message == value.json)
    data = given["data"]["data"]
    who = None if value.participant is None else value.participant.id
    return bool(
        given["event"] == value.event
        and str(given["data"]["recording"]["id"]) == value.recording.id
        and base64.b64decode(data["buffer"], validate=True) == value.payload
        and float(data["timestamp"]["relative"]) == value.relative
        and (who is None or value.unread or data["participant"]["id"] == who)
    )


def mutated(scale: Scale) -> Iterator[Figure]:
    """Give what came of so many mutated messages."""
    raise_descriptor_limit()
    draw = random.Random(scale.seed)
    mutator, books = Mutator(seeds(), draw), Books()
    count = scale.pick(20_000, 1_000_000)
    kinds: Counter[str] = Counter()
    while books.given < count:
        with tempfile.TemporaryDirectory(prefix="recall_lab_fuzzing_") as folder:
            kinds += through_ingest(Path(folder), mutator, draw, books, min(count, FOLDER))
    said = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common(4))
    for text in [*books.raised, *(repr(message) for message in books.misread)][:5]:
        print(text, file=sys.stderr)
    yield Figure("mutated messages", books.given, ">=", count, note=said)
    yield Figure("exceptions other than the documented", len(books.raised), "=", 0)
    yield Figure("messages taken for what they are not", len(books.misread), "=", 0)
    yield Figure("messages counted nowhere", books.uncounted, "=", 0)
    yield Figure("messages counted as something else", books.miscounted, "=", 0)
    yield Figure("events not found in a journal", books.lost_events, "=", 0)


def through_ingest(
    folder: Path, mutator: Mutator, draw: random.Random, books: Books, count: int
) -> Counter[str]:
    """Give messages to an ingest in a folder of its own; return what `decode` says of them."""
    ingest, told = Ingest(folder / "captures", "fuzzing"), Counter[str]()
    connection = ingest.opened("127.0.0.1:1")
    try:
        for number in range(count):
            message = mutator.message()
            told[books.decoded(message)] += 1
            if number % CONNECTION == CONNECTION - 1:
                ingest.closed(connection, 1000, "")
                connection = ingest.opened("127.0.0.1:1")
                ingest.tick(time.monotonic())
            ingest.text(connection, message, time.time_ns(), time.monotonic_ns())
            if draw.randrange(READ) == 0:
                ingest.flush()
        ingest.flush()
    except Exception as error:
        books.raised.append(f"ingest: {error!r} for {base64.b64encode(message).decode()}")
    finally:
        ingest.close()
    books.given += told.total()
    books.settle(ingest, told)
    books.journals(ingest)
    return told


@dataclass(frozen=True)
class Found:
    """What one target's process said."""

    target: str
    asked: int  # seconds
    seconds: int
    executions: int
    edges: int
    crash: str

    @property
    def figures(self) -> Iterator[Figure]:
        """The figures of this target."""
        note = self.crash or f"{self.executions:,} executions, {self.edges} edges covered"
        yield Figure(f"crashes of the {self.target}", bool(self.crash), "=", 0, note=note)
        yield Figure(f"edges covered in the {self.target}", self.edges, ">=", EDGES[self.target])
        yield Figure(f"fuzzing of the {self.target}", self.seconds, ">=", self.asked, "s")


def fuzz(target: str, seconds: int, seed: int) -> Found:
    """Fuzz one target, in a process of its own: it ends itself, as Atheris wants it."""
    with tempfile.TemporaryDirectory(prefix="recall_lab_guided_", dir=_memory()) as folder:
        command = [
            sys.executable, "-m", "benchmarks.torture.guided", target, folder, f"-seed={seed + 1}",
            f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=8192",
        ]  # fmt: skip
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + 90
        )
        text = done.stdout.decode(errors="replace")
        crash = ""
        if done.returncode:
            crash = _told(text, Path(folder))
            print(text[-4_000:], file=sys.stderr)
    ended = _DONE.search(text)
    executions, took = map(int, ended.groups()) if ended else (0, 0)
    edges = max(map(int, _COVERED.findall(text)), default=0)
    return Found(target, seconds, took, executions, edges, crash)


def _memory() -> str | None:
    """Return a folder in memory, where there is one: the loader's files change all the time."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _told(text: str, folder: Path) -> str:
    """Return what went wrong, and the input that made it, in base64."""
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if "Uncaught Python exception" in line), -2)
    inputs = [path for path in folder.glob("*-*") if path.is_file()]
    made = base64.b64encode(inputs[0].read_bytes()).decode() if inputs else "nothing that was kept"
    said = lines[at + 1] if lines else "nothing said"
    return f"{said}; of {made}"
