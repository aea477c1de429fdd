"""Bots that send in real time, and the watch for their packets on the disk.

Measures for ``realtime.py``, which is what one runs.
"""

from __future__ import annotations

import base64
import gc
import os
import select
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import load
import numpy as np

from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES

POLL_NS: Final = 200_000
POLL_LEAST: Final = 8  # packets looked at in one go, more only as long as no send is due
ANSWER_NS: Final = 50_000_000  # pings wait no longer than this
PATIENCE_SECONDS: Final = 20.0  # for the last packets
SLACK_NS: Final = 100_000  # a sleep ends late: what is nearer than this is waited for awake

NUMBER: Final = struct.Struct(">HI")  # bot and packet, the first six bytes of each payload
_RELATIVE: Final = b"100000.000000"
_ABSOLUTE: Final = b"2025-01-01T00:00:00.000000Z"
_PING, _PONG, _CLOSE = 0x89, 0x8A, 0x88


class Overrun(Exception):
    """The receiver has fallen behind by all that the kernel holds for a socket, or is gone."""


class Bot:
    """One socket, one recording, one frame whose times and first bytes change."""

    def __init__(self, number: int, size: int, port: int, directory: Path) -> None:
        self.number = number
        self.path = directory / f"live-{number:05d}.bin"
        self.payload = np.random.default_rng(number).bytes(size)
        buffer = base64.b64encode(self.payload)
        text = load.message(self.path.stem, buffer, _RELATIVE, _ABSOLUTE)
        # an all-zero key is a valid one, and makes splicing a matter of copying
        self.frame = bytearray(load.frame_head(len(text)) + bytes(4) + text)
        self.at_buffer = self.frame.index(buffer)
        self.at_relative = self.frame.index(_RELATIVE)
        self.at_absolute = self.frame.index(_ABSOLUTE)
        self.peer = load.connect(port)
        self.index = -1
        self._index_path = str(self.path.with_suffix(".idx"))
        self.due = HEADER_BYTES  # size of the index when all that was sent is visible

    def send(self, packet: int, relative: float, absolute: bytes) -> None:
        """Send one packet."""
        frame = self.frame
        number = base64.b64encode(NUMBER.pack(self.number, packet))
        frame[self.at_buffer : self.at_buffer + 8] = number
        frame[self.at_relative : self.at_relative + 13] = b"%.6f" % relative
        frame[self.at_absolute : self.at_absolute + 27] = absolute
        try:
            sent = self.peer.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Overrun(f"bot {self.number}: {error}") from error
        if sent < len(frame):
            raise Overrun(f"bot {self.number}, packet {packet}: the socket takes no more")
        self.due += RECORD_BYTES

    def visible(self) -> int:
        """Return the size of the index, 0 as long as there is none."""
        if self.index < 0:
            try:
                self.index = os.open(self._index_path, os.O_RDONLY)
            except FileNotFoundError:
                return 0
        return os.fstat(self.index).st_size

    def answer(self) -> None:
        """Answer pings."""
        data = self.peer.recv(4_096)
        while data:
            end = 2 + (data[1] & 0x7F)
            if data[0] == _CLOSE:
                raise Overrun(f"bot {self.number}: the server closed the connection: {data[2:]!r}")
            if data[0] == _PING:
                self.peer.send(bytes((_PONG, 0x80 | end - 2)) + bytes(4) + data[2:end])
            data = data[end:]
            if not data:
                return
        raise Overrun(f"bot {self.number}: the server hung up")

    def close(self) -> None:
        """Let go of everything."""
        load.close([self.peer])
        if self.index >= 0:
            os.close(self.index)


class _Pending:
    """A packet that was sent and not yet seen."""

    __slots__ = ("bot", "due", "index", "looked", "sent")

    def __init__(self, index: int, bot: Bot, sent: int) -> None:
        self.index, self.bot, self.sent = index, bot, sent
        self.due = bot.due
        self.looked = sent


class Drive:
    """Sends all packets at their times, and watches for them.

    Attributes:
        interval: between two sends, all bots in turn, ns.
        count: packets sent.
        sent: wall clock at each send, ns since 1970 UTC.
        late: how late each send was, ns.
        delay: send to visible, ns; -1 where it never was seen.
        blind: how long before each was seen it had last been looked for, ns.
    """

    def __init__(self, bots: list[Bot], rate: float, seconds: float, step: float) -> None:
        self.bots, self.step = bots, step
        self.total = int(rate * seconds) * len(bots)
        self.interval = 1e9 / (rate * len(bots))
        self.count = 0
        self.sent, self.late, self.delay, self.blind = (
            array("q", [-1]) * self.total for _ in range(4)
        )
        self._pending: deque[_Pending] = deque()
        self._second, self._prefix = -1, b""

    def run_with(self, call: Callable[[], None], every: float) -> None:
        """Send everything and watch for it, and do something else now and then.

        Args:
            call: what to do, between two sends; brief, or the sends will be late.
            every: seconds between two calls, the first being so long after the first send.

        Raises:
            Overrun: when the receiver no longer takes what is sent.
        """
        clock = time.perf_counter_ns
        by_descriptor = {bot.peer.fileno(): bot for bot in self.bots}
        poller = select.epoll(len(self.bots))
        for descriptor in by_descriptor:
            poller.register(descriptor, select.EPOLLIN)
        gc.collect()
        gc.disable()  # nothing here makes cycles, and a collection would look like a late receiver
        begin = looked = answered = clock() + 100_000_000
        calling = begin + int(every * 1e9)
        give_up = begin + int(self.total * self.interval + PATIENCE_SECONDS * 1e9)
        try:
            while self.count < self.total or self._pending:
                now = clock()
                due = begin + int(self.count * self.interval)
                if self.count < self.total and now >= due:
                    self._send(now - due)
                    now = clock()
                if now - looked >= POLL_NS:
                    looked = now
                    self._look(begin + int(self.count * self.interval))
                if now - answered >= ANSWER_NS:
                    answered = now
                    for descriptor, _ in poller.poll(0):
                        by_descriptor[descriptor].answer()
                if now >= calling:
                    calling += int(every * 1e9)
                    call()
                if now > give_up:
                    break
                due = begin + int(self.count * self.interval)
                wait = min(due, looked + POLL_NS) - clock()
                if wait > SLACK_NS:
                    time.sleep((wait - SLACK_NS) / 1e9)
        finally:
            gc.enable()
            poller.close()

    def _send(self, late: int) -> None:
        packet, number = divmod(self.count, len(self.bots))
        bot = self.bots[number]
        begun = time.perf_counter_ns()
        wall = time.time_ns()
        bot.send(packet, load.RELATIVE_START + packet * self.step, self._stamp(wall))
        self.sent[self.count] = wall
        self.late[self.count] = late
        self._pending.append(_Pending(self.count, bot, begun))
        self.count += 1

    def _look(self, until: int) -> None:
        pending = self._pending
        now = 0
        for turn in range(len(pending)):
            if turn >= POLL_LEAST and now > until:
                break
            item = pending.popleft()
            visible = item.bot.visible()
            now = time.perf_counter_ns()
            if visible < item.due:
                item.looked = now
                pending.append(item)
            else:
                self.delay[item.index] = now - item.sent
                self.blind[item.index] = now - item.looked

    def _stamp(self, wall: int) -> bytes:
        second, rest = divmod(wall, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
        return b"%b%06dZ" % (self._prefix, rest // 1_000)
